//! Budgets of single models (`model_max_budget`) of a key, a team, a user and an end user: what was spent in the running
//! period outlives the process.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_testkit::postgres::Database;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::cluster::MASTER;
use crate::process::{Running, faregate};

/// Every answer has three tokens, at a cent each.
const THREE_CENTS: &str = "one two three";

fn start(folder: &Path, database: Option<&str>) -> Running {
    let mut command = faregate(folder, &["--config", "config.yaml"]);
    command.env("LITELLM_MASTER_KEY", MASTER);
    if let Some(url) = database {
        command.env("DATABASE_URL", url);
    }
    Running::of(command)
}

fn post(running: &Running, path: &str, body: Value) -> Value {
    let answer = running.call("POST", path, MASTER, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

/// A key, and the end user it is used for.
struct Asker {
    key: String,
    customer: Option<&'static str>,
}

/// Everybody who may spend five cents on the model `a`, in periods of all kinds.
fn askers(running: &Running) -> Vec<Asker> {
    let a = |period: Value| json!({"a": {"budget_limit": 0.05, "time_period": period}});
    post(running, "/team/new", json!({"team_id": "t", "model_max_budget": {"a": {"max_budget": 0.05}}}));
    let user = json!({"user_id": "u", "auto_create_key": false, "model_max_budget": a(json!("7d"))});
    post(running, "/user/new", user);
    post(running, "/budget/new", json!({"budget_id": "b", "model_max_budget": a(json!("14d"))}));
    post(running, "/customer/new", json!({"user_id": "c", "budget_id": "b"}));
    let asker = |body: Value, customer| {
        let made = post(running, "/key/generate", body);
        Asker { key: made["key"].as_str().unwrap().to_owned(), customer }
    };
    vec![
        asker(json!({"model_max_budget": a(json!("30d"))}), None),
        asker(json!({"team_id": "t"}), None),
        asker(json!({"user_id": "u"}), None),
        asker(json!({}), Some("c")),
    ]
}

impl Asker {
    fn asks(&self, running: &Running, model: &str) -> (u16, Value) {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        if let Some(customer) = self.customer {
            body["user"] = json!(customer);
        }
        let answer = running.call("POST", "/v1/chat/completions", &self.key, body.to_string().as_bytes());
        (answer.status, answer.json())
    }

    fn is_refused(&self, running: &Running) {
        let (status, answer) = self.asks(running, "a");
        assert_ne!(status, 200, "{answer}");
        assert_eq!(answer["error"]["type"], "budget_exceeded", "{answer}");
    }
}

async fn is_remembered(database: Option<&str>) {
    let (folder, provider) = (tempdir().unwrap(), FakeProvider::start().await);
    provider.always(Matcher::any(), Answer::text(THREE_CENTS));
    let entry = |group: &str| {
        json!({"model_name": group, "litellm_params": {
            "model": "openai/fake", "api_key": "sk-up", "api_base": format!("{}/v1", provider.url()),
            "input_cost_per_token": 0, "output_cost_per_token": 0.01,
        }})
    };
    let config = json!({"model_list": [entry("a"), entry("b")]});
    fs::write(folder.path().join("config.yaml"), config.to_string()).unwrap();
    let running = start(folder.path(), database);
    let askers = askers(&running);
    for asker in &askers {
        for _ in 0..2 {
            let (status, answer) = asker.asks(&running, "a");
            assert_eq!(status, 200, "{answer}");
        }
        asker.is_refused(&running);
    }
    let since = Instant::now();
    for asker in &askers {
        let path = format!("/key/info?key={}", asker.key);
        while running.call("GET", &path, MASTER, b"").json()["info"]["spend"] != json!(0.06) {
            assert!(since.elapsed() < Duration::from_secs(30), "not booked");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    drop(running);
    let running = start(folder.path(), database);
    for asker in &askers {
        asker.is_refused(&running);
        let (status, answer) = asker.asks(&running, "b");
        assert_eq!(status, 200, "another model has no such budget: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_remembers_what_was_spent_on_a_model() {
    is_remembered(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_remembers_what_was_spent_on_a_model_over_postgres() {
    let database = Database::create().await;
    is_remembered(Some(&database.url())).await;
}
