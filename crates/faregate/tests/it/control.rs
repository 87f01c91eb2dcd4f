//! Keys, budgets and the ledger, as an operator meets them; and what a killed process leaves.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Answer, Running, errors, run};

/// The master key that was made for the folder's data directory.
fn master(folder: &Path) -> String {
    fs::read_to_string(folder.join("data/master_key")).unwrap().trim().to_owned()
}

fn post(running: &Running, key: &str, path: &str, body: &Value) -> Answer {
    running.call("POST", path, key, body.to_string().as_bytes())
}

fn made(running: &Running, master: &str, body: &Value) -> String {
    let answer = post(running, master, "/key/generate", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_key_is_made_used_blocked_rotated_and_deleted_and_every_step_counts_at_once() {
    let folder = tempdir().unwrap();
    let running = Running::start(folder.path(), &[]);
    let admin = master(folder.path());
    let key =
        made(&running, &admin, &json!({"key_alias": "app", "models": ["demo"], "metadata": {"env": "prod"}}));
    assert_eq!(running.chat("demo", &key).status, 200);
    let other = running.chat("gpt-4o", &key);
    assert_eq!(
        (other.status, other.json()["error"]["type"].clone()),
        (403, json!("key_model_access_denied"))
    );

    let models = running.call("GET", "/v1/models", &key, b"").json();
    assert_eq!(models["data"].as_array().unwrap().len(), 1, "{models}");

    assert_eq!(post(&running, &admin, "/key/block", &json!({"key": key})).status, 200);
    let blocked = running.chat("demo", &key);
    assert_eq!(blocked.status, 401);
    assert!(blocked.body.contains("Key is blocked"), "{}", blocked.body);
    assert_eq!(post(&running, &admin, "/key/unblock", &json!({"key": key})).status, 200);
    assert_eq!(running.chat("demo", &key).status, 200);

    let update = json!({"key": key, "models": ["something-else"]});
    assert_eq!(post(&running, &admin, "/key/update", &update).status, 200);
    assert_eq!(running.chat("demo", &key).status, 403);
    assert_eq!(post(&running, &admin, "/key/update", &json!({"key": key, "models": null})).status, 200);

    let rotated =
        post(&running, &admin, "/key/regenerate", &json!({"key": key, "grace_period": "1h"})).json();
    let new = rotated["key"].as_str().unwrap();
    assert_ne!(new, key);
    assert_eq!(running.chat("demo", new).status, 200);
    assert_eq!(running.chat("demo", &key).status, 200, "the old secret works during its grace period");

    let gone = post(&running, &admin, "/key/delete", &json!({"keys": [new]})).json();
    assert_eq!(gone["deleted_keys"], json!([new]));
    assert_eq!(running.chat("demo", new).status, 401);
    let own = running.call("GET", "/key/info", new, b"");
    assert_eq!(own.status, 401, "{}", own.body);
}

#[test]
fn what_is_wrong_with_a_request_is_named() {
    let folder = tempdir().unwrap();
    let running = Running::start(folder.path(), &[]);
    let admin = master(folder.path());
    for (path, body, status, words) in [
        ("/key/generate", json!({"team_id": "nobody"}), 400, "Unable to find team 'nobody'"),
        ("/key/generate", json!({"max_budget": "much"}), 422, "max_budget"),
        ("/key/generate", json!({"max_budget": -1}), 400, "max_budget cannot be negative"),
        ("/key/generate", json!({"duration": "soon"}), 400, "duration"),
        ("/key/generate", json!({"key": "my-key"}), 400, "must start with 'sk-'"),
        ("/key/update", json!({}), 422, "key: Field required"),
        ("/key/update", json!({"key": "sk-nobody-has-this-key"}), 404, "Key not found"),
        ("/team/block", json!({"team_id": "nobody"}), 404, "Team not found"),
        ("/team/member_add", json!({"team_id": "nobody", "member": {"role": "user"}}), 404, "Team not found"),
    ] {
        let answer = post(&running, &admin, path, &body);
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        assert!(answer.body.contains(words), "{path} {body}: {}", answer.body);
    }
    let broken = running.call("POST", "/key/generate", &admin, b"{not json");
    assert_eq!(broken.status, 400, "{}", broken.body);
    assert_eq!(running.call("GET", "/key/generate", &admin, b"").status, 405);
    assert_eq!(running.call("GET", "/key/nothing", &admin, b"").status, 404);
    let key = made(&running, &admin, &json!({}));
    let denied = post(&running, &key, "/key/generate", &json!({}));
    assert_eq!(denied.status, 401, "{}", denied.body);
}

#[test]
fn the_database_is_backed_up_restored_and_checked_by_hand() {
    let folder = tempdir().unwrap();
    let mut running = Running::start(folder.path(), &[]);
    let admin = master(folder.path());
    let key = made(&running, &admin, &json!({"key_alias": "kept"}));
    running.signal("TERM");
    assert_eq!(running.ended(), Some(0));

    let pending = run(folder.path(), &["migrate", "--check", "--data-dir", "data"]);
    assert!(pending.status.success(), "{}", errors(&pending));
    let backup = run(folder.path(), &["db", "backup", "--data-dir", "data", "--to", "all.jsonl"]);
    assert!(backup.status.success(), "{}", errors(&backup));
    let again = run(folder.path(), &["db", "backup", "--data-dir", "data", "--to", "all.jsonl"]);
    assert!(!again.status.success(), "a backup is never written over");

    let restore = run(folder.path(), &["db", "restore", "--data-dir", "other", "--from", "all.jsonl"]);
    assert!(restore.status.success(), "{}", errors(&restore));
    let doctor = run(folder.path(), &["db", "doctor", "--data-dir", "other"]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
    fs::copy(folder.path().join("data/master_key"), folder.path().join("other/master_key")).unwrap();
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    fs::rename(folder.path().join("other"), folder.path().join("data")).unwrap();
    let running = Running::start(folder.path(), &[]);
    assert_eq!(running.chat("demo", &key).status, 200, "the key came along");
}

#[test]
fn without_spend_updates_requests_are_served_and_not_booked() {
    let folder = tempdir().unwrap();
    fs::write(
        folder.path().join("config.yaml"),
        "general_settings: {disable_spend_updates: true}\nmodel_list:\n  - model_name: demo\n    \
         litellm_params: {model: openai/gpt-4o, api_key: sk-x, mock_response: hello}\n",
    )
    .unwrap();
    let logged = |args: &[&str]| {
        let mut running = Running::start(folder.path(), args);
        let admin = master(folder.path());
        assert_eq!(running.chat("demo", &made(&running, &admin, &json!({}))).status, 200);
        running.signal("TERM");
        assert_eq!(running.ended(), Some(0), "everything is booked at the end");
        let running = Running::start(folder.path(), &[]);
        running.call("GET", "/spend/logs/ui?page_size=10", &admin, b"").json()["total"].clone()
    };
    assert_eq!(logged(&["--config", "config.yaml"]), json!(0));
    assert_eq!(logged(&[]), json!(1), "the setting is what made the difference");
}
