//! Prompts and answers in the request log: only where they are asked for, never with credentials.

use std::fs;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Answer, Running, faregate};

const MASTER: &str = "sk-transcript-master-key-0123456789";

fn logged(settings: &str, stream: bool, header: &str) -> Value {
    let folder = tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let model =
        "model_list: [{model_name: m, litellm_params: {model: openai/m, mock_response: it is noted}}]\n";
    fs::write(&file, format!("{model}{settings}")).unwrap();
    let mut command = faregate(folder.path(), &["--config", file.to_str().unwrap()]);
    command.env("LITELLM_MASTER_KEY", MASTER);
    let running = Running::of(command);
    let body = json!({
        "model": "m", "stream": stream, "messages": [{"role": "user", "content": "remember the milk"}],
        "metadata": {"password": "sk-of-the-client"},
    })
    .to_string();
    let more = format!("content-length: {}\r\n{header}", body.len());
    let answer = Answer::read(running.begin("POST /v1/chat/completions", MASTER, &more, body.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.body);
    for _ in 0..200 {
        let rows = running.call("GET", "/spend/logs?summarize=false", MASTER, b"").json();
        if let Some(row) = rows.as_array().and_then(|rows| rows.first()) {
            let id = row["request_id"].as_str().unwrap();
            return running.call("GET", &format!("/spend/logs/ui/{id}"), MASTER, b"").json();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("no row in time");
}

const STORE: &str = "general_settings: {store_prompts_in_spend_logs: true}\n";

#[test]
fn nothing_that_is_said_is_written_down_unless_it_is_asked_for() {
    let row = logged("", false, "");
    assert_eq!(
        (&row["messages"], &row["response"], &row["proxy_server_request"]),
        (&json!({}), &json!({}), &json!({}))
    );
}

#[test]
fn prompts_and_answers_are_written_down_without_the_clients_credentials() {
    for stream in [false, true] {
        let row = logged(STORE, stream, "");
        assert_eq!(row["messages"][0]["content"], "remember the milk", "{row}");
        assert_eq!(
            row["response"]["choices"][0]["message"]["content"], "it is noted",
            "stream {stream}: {row}"
        );
        assert_eq!(row["proxy_server_request"]["messages"][0]["content"], "remember the milk");
        assert!(!row.to_string().contains("sk-of-the-client"), "{row}");
    }
}

#[test]
fn redaction_leaves_the_row_and_takes_what_was_said() {
    let settings = format!("{STORE}litellm_settings: {{turn_off_message_logging: true}}\n");
    let header = "x-litellm-enable-message-redaction: true\r\n";
    for (settings, header) in [(settings.as_str(), ""), (STORE, header)] {
        let row = logged(settings, false, header);
        let text = row.to_string();
        assert!(
            !text.contains("milk") && !text.contains("noted") && text.contains("redacted-by-litellm"),
            "{text}"
        );
        assert_eq!(row["proxy_server_request"]["model"], "m");
    }
}
