//! Somebody is told of budgets, once; and budget windows that survive a restart.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use faregate_fake_provider::{FakeProvider, Options};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Running, faregate};

const MASTER: &str = "sk-alerts-master-key-0123456789";
/// Long enough for a busy machine; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that takes alerts, and refuses the first of them.
struct Ear {
    url: String,
    heard: Receiver<(String, Value)>,
}

impl Ear {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (send, heard) = channel();
        std::thread::spawn(move || {
            for (index, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let mut reader = BufReader::new(&stream);
                let (mut path, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or_default() == 0 || line.trim().is_empty() {
                        break;
                    }
                    let lower = line.to_ascii_lowercase();
                    if let Some(rest) = lower.strip_prefix("post ") {
                        path = rest.split(' ').next().unwrap_or_default().to_owned();
                    }
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let status = if index == 0 { "503 Service Unavailable" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                (&stream).write_all(answer.as_bytes()).unwrap();
                let known = serde_json::from_slice(&body).unwrap_or_default();
                if index > 0 && send.send((path, known)).is_err() {
                    return;
                }
            }
        });
        Self { url, heard }
    }

    /// The next alert for this path that holds this text.
    fn hears(&self, path: &str, text: &str) -> Value {
        loop {
            let (to, body) =
                self.heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {text} to {path}"));
            if to == path && body.to_string().contains(text) {
                return body;
            }
        }
    }
}

async fn provider() -> FakeProvider {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    FakeProvider::start_with(Options { address, log_capacity: 100 }).await.unwrap()
}

fn start(folder: &Path, provider: &FakeProvider, more: &str, ear: &str) -> Running {
    let config = format!(
        "model_list:\n- model_name: m\n  litellm_params: {{model: openai/fake-one, api_key: k, api_base: \"{}/v1\"}}\n  \
         model_info: {{input_cost_per_token: 0.001, output_cost_per_token: 0.001}}\n\
         general_settings:\n  master_key: {MASTER}\n{more}",
        provider.url()
    );
    fs::write(folder.join("config.yaml"), config).unwrap();
    let mut command = faregate(folder, &["--config", "config.yaml"]);
    command.env("SLACK_WEBHOOK_URL", format!("{ear}/slack")).env("WEBHOOK_URL", format!("{ear}/hook"));
    Running::of(command)
}

fn done(running: &Running, path: &str, body: &Value) -> Value {
    let answer = running.call("POST", path, MASTER, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

/// Waits until the key's spend is in the database.
fn booked(running: &Running, key: &str) {
    let end = Instant::now() + PATIENCE;
    while running.call("GET", "/key/info", key, b"").json()["info"]["spend"].as_f64().unwrap_or_default()
        == 0.0
    {
        assert!(Instant::now() < end, "the spend is not booked");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_budget_is_told_of_once_and_again_for_nobody_after_a_restart() {
    let (folder, provider, ear) = (tempdir().unwrap(), provider().await, Ear::start());
    let settings = "  alerting: [slack, webhook]\n  alert_types: [budget_alerts, new_virtual_key_created]\n";
    let running = start(folder.path(), &provider, settings, &ear.url);
    done(&running, "/team/new", &json!({"team_id": "t", "max_budget": 0.000001}));
    let soft = json!({"key_alias": "soft", "soft_budget": 0.000001, "user_id": "u"});
    let key = done(&running, "/key/generate", &soft)["key"].as_str().unwrap().to_owned();
    let made = ear.hears("/slack", "New Virtual Key Created");
    assert!(made["text"].as_str().unwrap().starts_with("Alert type: `new_virtual_key_created`"), "{made}");
    assert!(!made.to_string().contains(&key));
    ear.hears("/hook", "key_created");

    assert_eq!(running.chat("m", &key).status, 200);
    let event = ear.hears("/hook", "soft_budget_crossed");
    assert_eq!((&event["event_group"], &event["key_alias"]), (&json!("key"), &json!("soft")));
    assert!(event["spend"].as_f64().unwrap() > 0.0 && event["token"].is_string(), "{event}");
    let plain = done(&running, "/key/generate", &json!({"team_id": "t"}))["key"].as_str().unwrap().to_owned();
    // The same again says nothing new; what comes next is about the team.
    assert_eq!(running.chat("m", &key).status, 200);
    assert_eq!(running.chat("m", &plain).status, 200);
    let next = ear.hears("/hook", "event\":\"");
    let next = if next["event"] == "key_created" { ear.hears("/hook", "event\":\"") } else { next };
    assert_eq!((&next["event"], &next["event_group"]), (&json!("budget_crossed"), &json!("team")), "{next}");
    drop(running);

    let running = start(folder.path(), &provider, settings, &ear.url);
    assert_eq!(running.chat("m", &key).status, 200);
    let other = json!({"key_alias": "other", "soft_budget": 0.000001});
    let other = done(&running, "/key/generate", &other)["key"].as_str().unwrap().to_owned();
    assert_eq!(running.chat("m", &other).status, 200);
    let next = ear.hears("/hook", "soft_budget_crossed");
    assert_eq!(next["key_alias"], "other", "the first was told of before the restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn soft_budgets_of_tags_and_access_groups_are_told_of_with_their_names() {
    let (folder, provider, ear) = (tempdir().unwrap(), provider().await, Ear::start());
    let settings =
        "  alerting: [webhook, slack]\n  alert_types: [budget_alerts]\n  store_model_in_db: true\n";
    let running = start(folder.path(), &provider, settings, &ear.url);
    let model = json!({
        "model_name": "grouped",
        "litellm_params": {
            "model": "openai/fake-one", "api_key": "k", "api_base": format!("{}/v1", provider.url()),
            "input_cost_per_token": 0.001, "output_cost_per_token": 0.001,
        },
        "model_info": {"access_groups": ["beta"]},
    });
    done(&running, "/model/new", &model);
    done(&running, "/tag/new", &json!({"name": "nightly", "soft_budget": 0.000001}));
    let soft = json!({"soft_budget": 0.000001}).to_string();
    let set = running.call("PUT", "/access_group/beta/budget", MASTER, soft.as_bytes());
    assert_eq!(set.status, 200, "{}", set.body);
    let key = done(&running, "/key/generate", &json!({"metadata": {"tags": ["nightly"]}}));
    assert_eq!(running.chat("grouped", key["key"].as_str().unwrap()).status, 200);
    let told = ear.hears("/slack", "*tag:* `nightly`");
    assert!(told.to_string().contains("Soft Budget Crossed"), "{told}");
    let group = ear.hears("/hook", "model_access_group");
    assert_eq!(
        (&group["event"], &group["model_access_group"]),
        (&json!("soft_budget_crossed"), &json!("beta"))
    );
    let shown = running.call("GET", "/access_group/beta/budget", MASTER, b"").json();
    assert!(shown["spend"].as_f64().unwrap() > 0.0, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_window_is_used_up_after_a_restart_as_before() {
    let (folder, provider, ear) = (tempdir().unwrap(), provider().await, Ear::start());
    let running = start(folder.path(), &provider, "", &ear.url);
    let windows = json!([
        {"budget_duration": "1mo", "max_budget": 0.000001}, {"budget_duration": "1d", "max_budget": 100},
    ]);
    let made = done(&running, "/key/generate", &json!({"budget_limits": windows}));
    let key = made["key"].as_str().unwrap().to_owned();
    assert!(made["budget_limits"][0]["reset_at"].is_string(), "{made}");
    assert_eq!(running.chat("m", &key).status, 200, "the budget is below, so the first request may pass it");
    assert_eq!(running.chat("m", &key).status, 422);
    booked(&running, &key);
    drop(running);
    let running = start(folder.path(), &provider, "", &ear.url);
    let refused = running.chat("m", &key);
    assert_eq!(refused.status, 422, "{}", refused.body);
    let wider = json!({"key": key, "budget_limits": [{"budget_duration": "1mo", "max_budget": 50}]});
    done(&running, "/key/update", &wider);
    assert_eq!(running.chat("m", &key).status, 200);
}
