//! What keeps the gateway from starting, and what it says then.

use std::fs;
use std::net::TcpListener;

use tempfile::tempdir;

use crate::process::{errors, run};

const BAD: &str = "model_list:
  - model_name: a
    litellm_params: {model: nosuch/x}
  - model_name: b
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/NOPE_KEY}
  - model_name: c
router_settings:
  num_retries: many
litelm_settings: {}
";

#[test]
fn a_bad_config_shows_all_errors_at_once_and_ends_with_1() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("bad.yaml"), BAD).unwrap();
    let output = run(folder.path(), &["--config", "bad.yaml", "--port", "0"]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1));
    for expected in [
        "error: bad.yaml:3:29  model_list[0].litellm_params.model: no provider is known for model `nosuch/x`",
        "bad.yaml:5:53  model_list[1].litellm_params.api_key: environment variable NOPE_KEY is not set",
        "bad.yaml:6:5  model_list[2].litellm_params: is missing",
        "bad.yaml:8:16  router_settings.num_retries: expected a whole number from 0, found text",
        "warning: bad.yaml:9:1  litelm_settings: unknown key; did you mean `litellm_settings`?",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
}

#[test]
fn check_tells_the_fate_of_every_key_and_fails_only_on_errors() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("bad.yaml"), BAD).unwrap();
    let good = "model_list:\n- model_name: a\n  litellm_params: {model: openai/gpt-4o, api_key: sk-upstream-key}\nodd: 1\n";
    fs::write(folder.path().join("good.yaml"), good).unwrap();
    let bad = run(folder.path(), &["check", "bad.yaml"]);
    let said = String::from_utf8(bad.stdout.clone()).unwrap();
    assert_eq!(bad.status.code(), Some(1));
    assert!(said.contains("bad.yaml:8:3  router_settings.num_retries  honoured"), "{said}");
    assert!(said.contains("bad.yaml:9:1  litelm_settings  unknown"), "{said}");
    assert_eq!(run(folder.path(), &["check", "good.yaml"]).status.code(), Some(0));
    assert_eq!(run(folder.path(), &["check", "--strict-config", "good.yaml"]).status.code(), Some(1));
}

#[test]
fn check_speaks_json_to_machines() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("bad.yaml"), BAD).unwrap();
    let output = run(folder.path(), &["check", "--format", "json", "bad.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["usable"], false);
    let key = report["keys"].as_array().unwrap().iter().find(|key| key["path"] == "litelm_settings").unwrap();
    assert_eq!((&key["line"], &key["status"]), (&9.into(), &"unknown".into()));
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|one| one["path"] == "router_settings.num_retries").unwrap();
    assert_eq!((&finding["line"], &finding["severity"]), (&8.into(), &"error".into()));
}

#[test]
fn a_file_that_is_missing_unreadable_or_no_yaml_is_named_with_the_reason() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("syntax.yaml"), "a: [\n").unwrap();
    fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    for (file, expected) in [
        ("none.yaml", "none.yaml: no such file; check the path"),
        ("syntax.yaml", "syntax.yaml:1:4  not valid YAML: unclosed bracket"),
        ("folder.yaml", "folder.yaml: "),
    ] {
        let output = run(folder.path(), &["--config", file, "--port", "0"]);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(said.contains(expected), "{said}");
        assert!(said.contains(&format!("error: {file} cannot be used; mend what is said above")), "{said}");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let folder = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = run(folder.path(), &["--host", "127.0.0.1", "--port", &port.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        format!("error: 127.0.0.1:{port} is in use; stop the other process or pass another --port");
    assert!(errors(&output).contains(&expected), "{}", errors(&output));
}

#[test]
fn a_well_known_master_key_is_refused_beyond_this_machine() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("c.yaml"), "general_settings: {master_key: sk-1234}\n").unwrap();
    let output = run(folder.path(), &["--config", "c.yaml", "--host", "0.0.0.0", "--port", "0"]);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("general_settings.master_key is well known or shorter than 16 characters"),
        "{said}"
    );
    assert!(said.contains("dangerously_permit_weak_or_unset_master_key: true"), "{said}");
    assert!(!said.contains("sk-1234"), "{said}");
}

#[test]
fn health_fails_when_nothing_answers() {
    let folder = tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(folder.path(), &["health", "--url", &format!("http://{free}")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("the gateway does not answer"), "{}", errors(&output));
}

#[test]
fn the_version_is_printed_for_every_spelling() {
    let folder = tempdir().unwrap();
    for flag in ["--version", "-v", "-V"] {
        let output = run(folder.path(), &[flag]);
        assert!(output.status.success(), "{flag}: {}", errors(&output));
        let expected = format!("faregate {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}

#[test]
fn an_unknown_flag_is_refused_with_the_one_that_was_meant() {
    let folder = tempdir().unwrap();
    let output = run(folder.path(), &["--detailed_debugs"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("a similar argument exists: '--detailed_debug'"), "{}", errors(&output));
}

#[test]
fn validate_config_and_skip_server_startup_end_without_listening() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("bad.yaml"), BAD).unwrap();
    let output = run(folder.path(), &["--config", "bad.yaml", "--validate_config"]);
    assert_eq!(output.status.code(), Some(1));
    let output = run(folder.path(), &["--skip_server_startup"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(!errors(&output).contains("listening"), "{}", errors(&output));
}

#[test]
fn a_data_directory_that_is_a_file_is_named() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let output = run(folder.path(), &["--data-dir", "file", "--port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("error: cannot make the data directory file"), "{}", errors(&output));
}

#[test]
fn models_shows_provider_dialects_context_and_prices_per_million_tokens() {
    let folder = tempdir().unwrap();
    let config = "model_list:
- {model_name: a, litellm_params: {model: openai/gpt-4o, api_key: sk-upstream-key}}
- {model_name: b, litellm_params: {model: openai/x, api_key: sk-upstream-key, input_cost_per_token: 0.000001}}
";
    fs::write(folder.path().join("c.yaml"), config).unwrap();
    let output = run(folder.path(), &["models", "--config", "c.yaml"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = said.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words[..3], ["a", "openai", "gpt-4o"]);
    assert_eq!(words[words.len() - 3..], ["128000", "2.5", "10"], "{said}");
    let output = run(folder.path(), &["models", "--config", "c.yaml", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[1]["input_usd_per_million_tokens"], "1");
    assert_eq!(json[1]["output_usd_per_million_tokens"], serde_json::Value::Null);
    let output = run(folder.path(), &["models", "--all", "claude-sonnet-4-5", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json.as_array().unwrap().iter().any(|model| model["provider"] == "anthropic"));
}
