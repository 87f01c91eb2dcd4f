//! A gateway that runs: its key, its demo, its reload, its end.

use std::fs;

use tempfile::tempdir;

use crate::process::{Running, run};

const KEY: &str = "sk-of-the-tests-0123456789";

/// One model called `name`; nobody ever calls its upstream.
fn config(name: &str) -> String {
    format!(
        "model_list:\n- model_name: {name}\n  litellm_params: {{model: openai/gpt-4o, api_key: sk-upstream-key}}\n\
         general_settings: {{master_key: {KEY}}}\n"
    )
}

fn models(running: &Running) -> Vec<String> {
    let answer = running.call("GET", "/v1/models", KEY, b"");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let json = answer.json();
    json["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_a_config_the_demo_answers_to_the_key_that_was_made() {
    let folder = tempdir().unwrap();
    let running = Running::start(folder.path(), &[]);
    let key = fs::read_to_string(folder.path().join("data/master_key")).unwrap();
    assert!(running.greeting.iter().any(|line| line.trim() == key.trim()), "{:?}", running.greeting);
    let answer = running.chat("demo", key.trim());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let content = answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert!(content.contains("demo"), "{content}");
    let unknown = running.chat("demo", "sk-some-other-key-entirely");
    assert_eq!((unknown.status, unknown.message().as_str()), (400, "No connected db."));
    assert_eq!(running.chat("demo", "another-key").status, 401);
    let again = Running::start(folder.path(), &[]);
    assert!(!again.greeting.iter().any(|line| line.contains(key.trim())), "printed a second time");
    assert_eq!(again.chat("demo", key.trim()).status, 200);
}

#[test]
fn flags_of_litellm_are_taken_in_both_spellings_and_idle_ones_are_named() {
    let folder = tempdir().unwrap();
    let args = ["--num_workers", "4", "--detailed-debug", "--run_gunicorn", "--keepalive-timeout", "5"];
    let running = Running::start(folder.path(), &args);
    for flag in ["--run_gunicorn", "--keepalive_timeout"] {
        let expected = format!("{flag} is accepted without effect");
        assert!(running.greeting.iter().any(|line| line.contains(&expected)), "{:?}", running.greeting);
    }
}

#[test]
fn health_finds_a_running_gateway() {
    let folder = tempdir().unwrap();
    let running = Running::start(folder.path(), &[]);
    let output = run(folder.path(), &["health", "--url", &format!("http://{}", running.address)]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_changed_file_is_taken_up_and_a_broken_one_leaves_the_old_config() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    fs::write(&file, config("first")).unwrap();
    let mut running = Running::start(folder.path(), &["--config", "c.yaml"]);
    assert_eq!(models(&running), ["first"]);

    fs::write(folder.path().join("next.yaml"), config("second")).unwrap();
    fs::rename(folder.path().join("next.yaml"), &file).unwrap();
    running.line("config reloaded");
    assert_eq!(models(&running), ["second"]);

    fs::write(folder.path().join("next.yaml"), "router_settings: {num_retries: many}\n").unwrap();
    fs::rename(folder.path().join("next.yaml"), &file).unwrap();
    running.line("router_settings.num_retries: expected a whole number from 0");
    running.line("the new config has errors; the old one stays");
    assert_eq!(models(&running), ["second"]);
}

#[test]
fn a_hangup_reloads() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("c.yaml"), config("only")).unwrap();
    let mut running = Running::start(folder.path(), &["--config", "c.yaml"]);
    running.signal("HUP");
    running.line("config reloaded");
    assert_eq!(models(&running), ["only"]);
}

#[test]
fn a_termination_signal_ends_it_with_0() {
    for name in ["TERM", "INT"] {
        let folder = tempdir().unwrap();
        let mut running = Running::start(folder.path(), &[]);
        running.signal(name);
        running.line("shutting down");
        running.line("stopped");
        assert_eq!(running.ended(), Some(0), "{name}");
    }
}
