//! The price list: where it came from, and reading it again by a call.

use std::fs;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Answer, Running, faregate};

const MASTER: &str = "sk-prices-master-key-0123456789";

fn call(running: &Running, method: &str, path: &str) -> Answer {
    running.call(method, path, MASTER, b"{}")
}

fn cost(running: &Running, model: &str) -> Answer {
    let body = json!({"model": model, "input_tokens": 1_000_000, "output_tokens": 0}).to_string();
    running.call("POST", "/cost/estimate", MASTER, body.as_bytes())
}

fn list(price: f64) -> String {
    json!({"own-model": {
        "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": price, "output_cost_per_token": price,
    }})
    .to_string()
}

#[test]
fn prices_are_read_again_by_a_call_and_what_cannot_be_read_leaves_the_old_ones() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("prices.json");
    fs::write(&file, list(0.000001)).unwrap();
    let mut command = faregate(folder.path(), &[]);
    command.env("LITELLM_MASTER_KEY", MASTER).env("LITELLM_MODEL_COST_MAP_URL", &file);
    let running = Running::of(command);
    let source = call(&running, "GET", "/model/cost_map/source").json();
    assert_eq!((&source["source"], &source["is_env_forced"]), (&json!("remote"), &json!(false)), "{source}");
    assert_eq!(source["url"], file.to_str().unwrap());
    assert_eq!(cost(&running, "own-model").json()["cost_per_request"], 1.0);

    fs::write(&file, list(0.000002)).unwrap();
    let again = call(&running, "POST", "/reload/model_cost_map");
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(again.json()["models_count"], source["model_count"]);
    assert_eq!(cost(&running, "own-model").json()["cost_per_request"], 2.0);

    let status = || call(&running, "GET", "/schedule/model_cost_map_reload/status").json();
    assert_eq!((&status()["scheduled"], &status()["next_run"]), (&json!(false), &Value::Null));
    assert_eq!(call(&running, "POST", "/schedule/model_cost_map_reload?hours=6").json()["interval_hours"], 6);
    assert_eq!((&status()["scheduled"], &status()["interval_hours"]), (&json!(true), &json!(6)));
    assert!(status()["last_run"].as_str() < status()["next_run"].as_str(), "{}", status());
    for hours in ["0", "-1", "99999999"] {
        let wrong = call(&running, "POST", &format!("/schedule/model_cost_map_reload?hours={hours}"));
        assert!(wrong.status == 400 && wrong.body.contains("hours"), "{}", wrong.body);
    }
    assert_eq!(call(&running, "DELETE", "/schedule/model_cost_map_reload").status, 200);
    assert_eq!(status()["scheduled"], false);

    fs::write(&file, "{broken").unwrap();
    let broken = call(&running, "POST", "/reload/model_cost_map");
    assert!(
        broken.status == 502 && broken.message().contains("Current pricing data was kept"),
        "{}",
        broken.body
    );
    assert_eq!(cost(&running, "own-model").json()["cost_per_request"], 2.0);
}

#[test]
fn the_list_of_the_release_is_not_read_again() {
    let folder = tempdir().unwrap();
    let mut command = faregate(folder.path(), &[]);
    command.env("LITELLM_MASTER_KEY", MASTER);
    let running = Running::of(command);
    let source = call(&running, "GET", "/model/cost_map/source").json();
    assert_eq!((&source["source"], &source["url"]), (&json!("local"), &Value::Null));
    let never = call(&running, "POST", "/schedule/model_cost_map_reload?hours=6");
    assert!(never.status == 400 && never.body.contains("LITELLM_MODEL_COST_MAP_URL"), "{}", never.body);
    let refused = call(&running, "POST", "/reload/model_cost_map");
    assert!(refused.status == 400 && refused.body.contains("LITELLM_MODEL_COST_MAP_URL"), "{}", refused.body);
}
