//! Started while the database is away, and what a process that died beside a living one leaves.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_store::{ListQuery, Settings, SpendLog, Store};
use faregate_testkit::line::State;
use faregate_testkit::postgres::Database;
use serde_json::json;
use tempfile::tempdir;

use crate::outage::line;
use crate::process::{Running, faregate};

const MASTER: &str = "sk-away-master-key-0123456789";
const PATIENCE: Duration = Duration::from_secs(60);

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn start(folder: &Path, database: &str) -> Running {
    let config = json!({
        "model_list": [{"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k", "mock_response": "hi"}}],
        "general_settings": {
            "allow_requests_on_db_unavailable": true, "store_model_in_db": true, "database_connection_timeout": 1,
        },
    });
    fs::write(folder.join("config.yaml"), config.to_string()).unwrap();
    let mut command = faregate(folder, &["--config", "config.yaml"]);
    command.env("DATABASE_URL", database).env("LITELLM_MASTER_KEY", MASTER);
    Running::of(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_without_its_database_where_it_may_and_catches_up_when_that_answers() {
    let database = Database::create().await;
    // Something is stored before: a model and a key that only the database knows.
    let first = tempdir().unwrap();
    let key = {
        let running = start(first.path(), &database.url());
        let model = json!({
            "model_name": "stored",
            "litellm_params": {"model": "openai/y", "api_key": "k", "mock_response": "stored"},
        });
        let made = running.call("POST", "/model/new", MASTER, model.to_string().as_bytes());
        assert_eq!(made.status, 200, "{}", made.body);
        running.call("POST", "/key/generate", MASTER, b"{}").json()["key"].as_str().unwrap().to_owned()
    };
    let (to_database, url) = line(&database.url()).await;
    to_database.set(State::Cut);
    let folder = tempdir().unwrap();
    let running = start(folder.path(), &url);
    let readiness = || running.call("GET", "/health/readiness", "", b"");
    let answer = readiness();
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "healthy", "db": "disconnected"})));
    let answer = running.chat("m", MASTER);
    assert_eq!(answer.status, 200, "the file and the master key serve: {}", answer.body);
    assert_eq!(running.chat("stored", MASTER).status, 400);
    let unknown = running.chat("m", &key);
    assert_eq!(unknown.status, 503, "nobody can say whose key this is: {}", unknown.body);
    to_database.set(State::Up);
    until("the database", || readiness().json()["db"] == "connected");
    until("the stored key", || running.chat("m", &key).status == 200);
    until("the stored model", || running.chat("stored", MASTER).status == 200);
    let made = running.call("POST", "/key/generate", MASTER, b"{}");
    assert_eq!(made.status, 200, "{}", made.body);
    // What was served meanwhile is booked.
    let store = Store::connect(&Settings::from_url("TEST", &database.url()).unwrap()).await.unwrap();
    let since = Instant::now();
    loop {
        let rows = store.list::<SpendLog>(&ListQuery::new()).await.unwrap().rows;
        if rows.iter().filter(|row| row.status.as_deref() == Some("success")).count() >= 3 {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{} rows", rows.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    store.close().await;
}

#[test]
fn a_database_that_refuses_for_another_reason_ends_the_start() {
    let folder = tempdir().unwrap();
    let mut command = faregate(folder.path(), &[]);
    command.env("DATABASE_URL", "mysql://u:secret@localhost/x").env("LITELLM_MASTER_KEY", MASTER);
    let ended = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("DATABASE_URL") && !said.contains("secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_leaves_that_dies_beside_another_is_booked_by_that_one() {
    let provider = FakeProvider::start_with(faregate_fake_provider::Options {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        log_capacity: 10,
    })
    .await
    .unwrap();
    provider.always(Matcher::any(), Answer::directive("first_byte_ms=600000"));
    let folder = tempdir().unwrap();
    let config = format!(
        "model_list:\n  - model_name: m\n    litellm_params: {{model: openai/fake, api_base: '{}/v1', api_key: k}}\n",
        provider.url()
    );
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    let start = || {
        let mut command = faregate(folder.path(), &["--config", "config.yaml"]);
        command.env("LITELLM_MASTER_KEY", MASTER);
        Running::of(command)
    };
    let (mut dies, lives) = (start(), start());
    let stream = dies.stream("m", MASTER);
    until("the call", || !provider.requests().is_empty());
    // The journal's group is on its way within milliseconds of the call.
    std::thread::sleep(Duration::from_millis(200));
    dies.signal("KILL");
    dies.ended();
    drop(stream);
    let store = Store::connect(&Settings::sqlite(folder.path().join("data/faregate.db"))).await.unwrap();
    let since = Instant::now();
    loop {
        let rows = store.list::<SpendLog>(&ListQuery::new()).await.unwrap().rows;
        if rows.iter().any(|row| row.metadata.to_string().contains("faregate_recovered")) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{} rows", rows.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    store.close().await;
    drop(lives);
}
