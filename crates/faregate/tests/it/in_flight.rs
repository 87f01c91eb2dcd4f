//! What becomes of calls in flight when the gateway stops, reloads, or waits for its price list.

use std::fs;
use std::io::{Read, Write};

use tempfile::{TempDir, tempdir};

use crate::process::{Running, faregate};
use crate::upstream::{LAST, Upstream, begin_events, event, read_until};

const KEY: &str = "sk-of-the-tests-0123456789";

fn start(upstream: &Upstream, variables: &[(&str, &str)]) -> (TempDir, Running) {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("c.yaml"), upstream.config(KEY, "")).unwrap();
    let mut command = faregate(folder.path(), &["--config", "c.yaml"]);
    command.envs(variables.iter().copied());
    let running = Running::of(command);
    (folder, running)
}

#[test]
fn a_stream_in_flight_at_the_termination_signal_is_finished_and_the_gateway_ends_with_0() {
    let upstream = Upstream::start();
    let (_folder, mut running) = start(&upstream, &[]);
    let mut client = running.stream("slow", KEY);
    let mut provider = upstream.request();
    begin_events(&mut provider);
    read_until(&mut client, "piece");
    running.signal("TERM");
    running.line("shutting down");
    event(&mut provider, LAST);
    event(&mut provider, "[DONE]");
    drop(provider);
    let rest = read_until(&mut client, "[DONE]");
    assert!(rest.contains("\"stop\""), "{rest}");
    running.line("stopped");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_call_that_outlasts_the_drain_time_is_cut_and_counted() {
    let upstream = Upstream::start();
    let (_folder, mut running) = start(&upstream, &[("GRACEFUL_SHUTDOWN_TIMEOUT", "0.05")]);
    let _client = running.stream("slow", KEY);
    let _provider = upstream.request();
    running.signal("TERM");
    let line = running.line("connections are cut");
    assert!(line.contains("the drain time is over") && line.contains("open=1"), "{line}");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let upstream = Upstream::start();
    let (_folder, mut running) = start(&upstream, &[("GRACEFUL_SHUTDOWN_TIMEOUT", "3600")]);
    let _client = running.stream("slow", KEY);
    let _provider = upstream.request();
    running.signal("TERM");
    running.line("shutting down");
    running.signal("TERM");
    running.line("connections are cut: a second signal came");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_call_in_flight_survives_a_reload_that_removes_its_model() {
    let upstream = Upstream::start();
    let (folder, mut running) = start(&upstream, &[]);
    let mut client = running.stream("slow", KEY);
    let mut provider = upstream.request();
    begin_events(&mut provider);
    read_until(&mut client, "piece");
    let other = upstream
        .config(KEY, "litellm_settings: {drop_params: true}\n")
        .replace("model_name: slow", "model_name: other");
    fs::write(folder.path().join("c.yaml"), other).unwrap();
    let line = running.line("config reloaded");
    assert!(line.contains("deployments added: other (openai/m); removed: slow (openai/m); settings changed: litellm_settings.drop_params"), "{line}");
    assert_eq!(running.chat("slow", KEY).status, 400, "the new calls have no such model");
    event(&mut provider, LAST);
    event(&mut provider, "[DONE]");
    drop(provider);
    assert!(read_until(&mut client, "[DONE]").contains("\"stop\""));
}

#[test]
fn a_file_that_a_reload_includes_is_watched_from_then_on() {
    let upstream = Upstream::start();
    let (folder, mut running) = start(&upstream, &[]);
    fs::create_dir(folder.path().join("more")).unwrap();
    let included = folder.path().join("more/m.yaml");
    let entry = |name: &str| {
        format!(
            "model_list:\n- model_name: {name}\n  litellm_params: {{model: openai/m, api_key: sk-upstream-key}}\n"
        )
    };
    fs::write(&included, entry("one")).unwrap();
    fs::write(folder.path().join("c.yaml"), upstream.config(KEY, "include: [more/m.yaml]\n")).unwrap();
    let line = running.line("config reloaded: deployments added");
    assert!(line.contains("one (openai/m)"), "{line}");
    fs::write(&included, entry("two")).unwrap();
    let line = running.line("config reloaded: deployments added");
    assert!(line.contains("two (openai/m)") && line.contains("removed: one (openai/m)"), "{line}");
    fs::write(&included, "model_list: 3\n").unwrap();
    let line = running.line("model_list: ");
    assert!(line.contains("more/m.yaml:1:"), "{line}");
    running.line("the old one stays");
}

#[test]
fn a_price_list_that_is_fetched_delays_nothing_and_its_failure_is_said_with_the_reason() {
    let upstream = Upstream::start();
    let lists = Upstream::start();
    let (_folder, mut running) = start(&upstream, &[("LITELLM_MODEL_COST_MAP_URL", &lists.url())]);
    // It listens although the list has not come.
    assert_eq!(running.call("GET", "/v1/models", KEY, b"").status, 200);
    let mut asked = lists.request();
    asked.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    let line = running.line("the model list was not fetched");
    assert!(line.contains("404"), "{line}");
    let _ = asked.read(&mut [0]);
}
