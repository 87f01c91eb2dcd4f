//! The ledger beside a provider's own count.

use std::fs;

use serde_json::json;
use tempfile::tempdir;

use crate::process::{Running, errors, run};

#[test]
fn the_ledger_agrees_with_what_was_answered_and_a_missing_request_is_named() {
    let folder = tempdir().unwrap();
    let mut running = Running::start(folder.path(), &[]);
    let admin = fs::read_to_string(folder.path().join("data/master_key")).unwrap().trim().to_owned();
    let (mut input, mut output) = (0, 0);
    for _ in 0..3 {
        let usage = running.chat("demo", &admin).json()["usage"].clone();
        input += usage["prompt_tokens"].as_i64().unwrap();
        output += usage["completion_tokens"].as_i64().unwrap();
    }
    running.signal("TERM");
    assert_eq!(running.ended(), Some(0));
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let export = |requests: i64| {
        let result = json!({
            "model": "fake-demo-2026-01-01", "input_tokens": input, "output_tokens": output,
            "num_model_requests": requests,
        });
        let page = json!({"data": [{"start_time_iso": format!("{today}T00:00:00Z"), "results": [result]}]});
        fs::write(folder.path().join("export.json"), page.to_string()).unwrap();
    };
    let (yesterday, today) = (today.yesterday().unwrap().to_string(), today.to_string());
    let args = [
        "reconcile",
        "--data-dir",
        "data",
        "--provider",
        "openai",
        "--export",
        "export.json",
        "--from",
        &yesterday,
        "--to",
        &today,
    ];
    export(3);
    let same = run(folder.path(), &args);
    let said = String::from_utf8_lossy(&same.stdout).into_owned();
    assert!(same.status.success() && said.contains("0 differ"), "{said} {}", errors(&same));
    export(4);
    let other = run(folder.path(), &args);
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{today} fake-demo: requests openai 4, ledger 3 (-1);")), "{said}");
}
