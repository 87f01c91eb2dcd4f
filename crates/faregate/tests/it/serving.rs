//! A gateway that runs: its key, its demo, its reload, its end.

use std::fs;

use tempfile::tempdir;

use crate::process::{Running, errors, faregate, run};
use crate::upstream::{Upstream, begin_events, read_until};

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
    assert_eq!(unknown.status, 401);
    assert!(unknown.message().contains("Invalid proxy server token"), "{}", unknown.message());
    assert_eq!(running.chat("demo", "another-key").status, 401);
    let again = Running::start(folder.path(), &[]);
    assert!(!again.greeting.iter().any(|line| line.contains(key.trim())), "printed a second time");
    assert_eq!(again.chat("demo", key.trim()).status, 200);
}

#[test]
fn flags_of_litellm_are_taken_in_both_spellings_and_idle_ones_are_named() {
    let folder = tempdir().unwrap();
    let args = ["--num_workers", "4", "--detailed-debug", "--run_gunicorn", "--max-budget", "5"];
    let running = Running::start(folder.path(), &args);
    for flag in ["--run_gunicorn", "--max_budget"] {
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

#[test]
fn model_serves_one_model_under_its_name_its_alias_and_any_other() {
    let folder = tempdir().unwrap();
    let upstream = Upstream::start();
    let args = ["--model", "openai/m", "--alias", "mine", "--api_base", &upstream.url(), "--max-tokens", "7"];
    let mut command = faregate(folder.path(), &args);
    command.env("OPENAI_API_KEY", "sk-upstream-key").env("LITELLM_MASTER_KEY", KEY);
    let running = Running::of(command);
    assert!(models(&running).contains(&"mine".to_owned()));
    for name in ["openai/m", "mine", "gpt-3.5-turbo"] {
        let mut client = running.stream(name, KEY);
        let mut provider = upstream.request();
        begin_events(&mut provider);
        read_until(&mut client, "piece");
    }
}

#[test]
fn test_sends_a_chat_request_and_health_asks_for_life() {
    let folder = tempdir().unwrap();
    let running = Running::start(folder.path(), &[]);
    let url = format!("http://{}", running.address);
    let tested = run(folder.path(), &["--test", &url, "--model", "demo"]);
    assert_eq!(tested.status.code(), Some(0), "{}", errors(&tested));
    assert!(String::from_utf8(tested.stdout).unwrap().contains("\"choices\""));
    let port = running.address.rsplit_once(':').unwrap().1.to_owned();
    let asked = run(folder.path(), &["--health", "--port", &port]);
    assert_eq!(asked.status.code(), Some(0), "{}", errors(&asked));
    let unknown = run(folder.path(), &["--test", &url, "--model", "nosuch"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(errors(&unknown).contains("the gateway answered 400"), "{}", errors(&unknown));
}
