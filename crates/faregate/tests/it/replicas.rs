//! Replicas that share one PostgreSQL and no Redis.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use faregate::adapters::shared_sql::{SqlClaims, SqlCounters, SqlLog};
use faregate_state::suite;
use faregate_store::{Settings, Store};
use faregate_terms::UtcMillis;
use faregate_testkit::postgres::Database;
use serde_json::json;
use tempfile::tempdir;

use crate::process::{Running, faregate};

const MASTER: &str = "sk-replicas-master-key-0123456789";

async fn stores() -> Vec<(Store, Option<Database>, Option<tempfile::TempDir>)> {
    let (folder, database) = (tempdir().unwrap(), Database::create().await);
    let sqlite = Settings::sqlite(folder.path().join("db"));
    let postgres = Settings::from_url("TEST", &database.url()).unwrap();
    let mut stores = Vec::new();
    for (settings, database, folder) in [(sqlite, None, Some(folder)), (postgres, Some(database), None)] {
        let store = Store::connect(&settings).await.unwrap();
        store.migrate(UtcMillis::from_millis(0)).await.unwrap();
        stores.push((store, database, folder));
    }
    stores
}

#[tokio::test]
async fn a_database_keeps_every_promise_of_a_shared_store() {
    for (store, ..) in stores().await {
        suite::shared_log(&SqlLog { store: store.clone(), topic: "suite" }).await;
        suite::shared_claims(&SqlClaims(store.clone()), "suite").await;
        suite::shared_counters(&SqlCounters(store.clone()), "suite").await;
        store.close().await;
    }
}

fn replica(folder: &Path, url: &str) -> Running {
    let mut command = faregate(folder, &[]);
    command.env("DATABASE_URL", url).env("LITELLM_MASTER_KEY", MASTER);
    Running::of(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_blocked_on_one_replica_is_blocked_on_all_within_a_second() {
    let database = Database::create().await;
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let (a, b) = (replica(one.path(), &database.url()), replica(two.path(), &database.url()));
    let post = |running: &Running, path: &str, body: serde_json::Value| {
        let answer = running.call("POST", path, MASTER, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    };
    let key = post(&a, "/key/generate", json!({}))["key"].as_str().unwrap().to_owned();
    assert_eq!(a.chat("demo", &key).status, 200);
    assert_eq!(b.chat("demo", &key).status, 200);
    post(&a, "/key/block", json!({"key": key}));
    let since = Instant::now();
    while b.chat("demo", &key).status != 401 {
        assert!(since.elapsed() < Duration::from_secs(5), "still open after {:?}", since.elapsed());
    }
    // The promise is a second; a busy test machine gets some more before this fails.
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert!(fs::exists(two.path().join("data/journal")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_over_two_replicas() {
    let database = Database::create().await;
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let (a, b) = (replica(one.path(), &database.url()), replica(two.path(), &database.url()));
    // A store that has only begun gives no leases for two seconds: each replica then decides for itself.
    std::thread::sleep(Duration::from_millis(2_500));
    let body = json!({"rpm_limit": 10}).to_string();
    let made = a.call("POST", "/key/generate", MASTER, body.as_bytes());
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let answered = |running: &Running| (0..12).filter(|_| running.chat("demo", &key).status == 200).count();
    let (first, second) = (answered(&a), answered(&b));
    assert_eq!(first + second, 10, "{first} on one, {second} on the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_rests_on_one_replica_rests_on_all() {
    let database = Database::create().await;
    let folders = [tempdir().unwrap(), tempdir().unwrap()];
    let deployment = |id: &str, answer: &str| {
        let params = json!({"model": "openai/gpt-4o", "api_key": "sk-up", "mock_response": answer});
        json!({"model_name": "a", "litellm_params": params, "model_info": {"id": id}})
    };
    let list = [deployment("tired", "litellm.RateLimitError"), deployment("well", "hello")];
    let config = json!({"model_list": list, "router_settings": {"cooldown_time": 60}}).to_string();
    let [a, b] = folders.each_ref().map(|folder| {
        fs::write(folder.path().join("config.yaml"), &config).unwrap();
        let mut command = faregate(folder.path(), &["--config", "config.yaml"]);
        command.env("DATABASE_URL", database.url()).env("LITELLM_MASTER_KEY", MASTER);
        Running::of(command)
    });
    let plan = |running: &Running| {
        let body = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}]}).to_string();
        let answer = running.call("POST", "/route/explain", MASTER, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["plan"].clone()
    };
    assert_eq!(plan(&b)[0].as_array().unwrap().len(), 2);
    while plan(&a) != json!([["well"]]) {
        assert_eq!(a.chat("a", MASTER).status, 200, "the sibling answers");
    }
    let since = Instant::now();
    while plan(&b) != json!([["well"]]) {
        assert!(since.elapsed() < Duration::from_secs(3), "the other replica has not heard of it");
    }
}
