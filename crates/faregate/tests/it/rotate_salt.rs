//! `faregate rotate-salt`, with everything that is sealed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Running, errors, faregate};

const MASTER: &str = "sk-rotate-master-key-0123456789";

fn start(folder: &Path, config: &str, salt: &str) -> Running {
    fs::write(folder.join("config.yaml"), config).unwrap();
    let mut command = faregate(folder, &["--config", "config.yaml"]);
    command.env("LITELLM_MASTER_KEY", MASTER);
    if !salt.is_empty() {
        command.env("LITELLM_SALT_KEY", salt);
    }
    Running::of(command)
}

fn done(running: &Running, method: &str, path: &str, body: &Value) -> Value {
    let answer = running.call(method, path, MASTER, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

/// Rotates from what the environment says to `new`; what it wrote.
fn rotate(folder: &Path, env: &[(&str, &str)], new: &str) -> Result<String, String> {
    fs::write(folder.join("new-key"), new).unwrap();
    let mut command =
        faregate(folder, &["rotate-salt", "--config", "config.yaml", "--new-key-file", "new-key"]);
    let output = command.env("LITELLM_MASTER_KEY", MASTER).envs(env.iter().copied()).output().unwrap();
    if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(errors(&output)) }
}

/// One of everything that is sealed.
fn fill(running: &Running) {
    let params = json!({"model": "openai/gpt-4o", "api_key": "sk-of-the-model"});
    done(
        running,
        "POST",
        "/model/new",
        &json!({"model_name": "m", "litellm_params": params, "model_info": {"id": "i"}}),
    );
    let credential = json!({
        "credential_name": "c", "credential_info": {}, "credential_values": {"api_key": "sk-of-the-credential"},
    });
    done(running, "POST", "/credentials", &credential);
    done(
        running,
        "POST",
        "/config/update",
        &json!({"environment_variables": {"SOME_TOKEN": "of-the-environment"}}),
    );
    let sso = json!({"generic_client_id": "app", "generic_client_secret": "of-single-sign-on"});
    done(running, "PATCH", "/update/sso_settings", &sso);
    done(running, "POST", "/team/new", &json!({"team_id": "t"}));
    let callback = json!({"callback_name": "langfuse", "callback_vars": {
        "langfuse_host": "https://lf", "langfuse_secret_key": "sk-of-the-team",
    }});
    done(running, "POST", "/team/t/callback", &callback);
}

/// That all of it opens: what does not is left out, and the log says so.
fn opens(running: &mut Running) {
    let found = done(running, "GET", "/model/info", &json!({}));
    assert_eq!(found["data"][0]["model_name"], "m", "{found}");
    let credential = done(running, "GET", "/credentials/by_name/c", &json!({}));
    assert!(credential["credential_values"]["api_key"].as_str().unwrap().starts_with("sk"), "{credential}");
    let sso = done(running, "GET", "/get/sso_settings", &json!({}));
    assert_eq!(sso["values"]["generic_client_id"], "app", "{sso}");
    assert!(
        !running.greeting.iter().any(|line| line.contains("was sealed with another")),
        "{:#?}",
        running.greeting
    );
}

#[test]
fn every_sealed_value_opens_with_the_new_key_and_none_with_the_old() {
    for (config, prefix) in [
        ("general_settings: {store_model_in_db: true}\n", ""),
        ("general_settings: {store_model_in_db: true, encryption_algorithm: aes-256-gcm}\n", "v2:gcm:"),
    ] {
        let folder = tempdir().unwrap();
        let mut running = start(folder.path(), config, "the first salt");
        fill(&running);
        opens(&mut running);
        drop(running);
        let first = [("LITELLM_SALT_KEY", "the first salt")];
        let said = rotate(folder.path(), &first, "the second salt").unwrap();
        // Model: 2 texts; credential, variable, callback of a team: 1 each; single sign-on: 2.
        assert!(said.starts_with("7 values sealed anew"), "{said}");
        let again = rotate(folder.path(), &first, "the second salt").unwrap();
        assert!(again.starts_with("0 values"), "what is sealed with another key stays: {again}");

        let mut running = start(folder.path(), config, "the second salt");
        opens(&mut running);
        let backup =
            faregate(folder.path(), &["db", "backup", "--config", "config.yaml", "--to", "backup.jsonl"])
                .env("LITELLM_MASTER_KEY", MASTER)
                .output()
                .unwrap();
        let rows = fs::read_to_string(folder.path().join("backup.jsonl")).unwrap_or_else(|_| errors(&backup));
        for secret in [
            "sk-of-the-model",
            "sk-of-the-credential",
            "of-the-environment",
            "of-single-sign-on",
            "of-the-team",
        ] {
            assert!(!rows.contains(secret), "{secret}");
        }
        assert!(rows.contains("LiteLLM_CredentialsTable") && rows.contains(prefix), "{rows}");
        drop(running);
        let old = start(folder.path(), config, "the first salt");
        let found = done(&old, "GET", "/model/info", &json!({}));
        assert_eq!(found["data"], json!([]), "the old key opens nothing any more");
    }
}

#[test]
fn without_a_salt_key_the_master_key_was_it_and_without_a_new_one_nothing_happens() {
    let folder = tempdir().unwrap();
    let config = "general_settings: {store_model_in_db: true}\n";
    let running = start(folder.path(), config, "");
    fill(&running);
    drop(running);
    assert!(rotate(folder.path(), &[], " ").unwrap_err().contains("is empty"));
    let said = rotate(folder.path(), &[], "a salt of its own").unwrap();
    assert!(said.starts_with("7 values sealed anew"), "{said}");
    opens(&mut start(folder.path(), config, "a salt of its own"));
}
