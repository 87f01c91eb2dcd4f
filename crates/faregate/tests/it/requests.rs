//! Requests that no model can answer.

use std::fs;

use tempfile::tempdir;

use crate::process::Running;

const CHAT: &str = "/v1/chat/completions";

fn demo() -> (tempfile::TempDir, Running, String) {
    let folder = tempdir().unwrap();
    let running = Running::start(folder.path(), &[]);
    let key = fs::read_to_string(folder.path().join("data/master_key")).unwrap().trim().to_owned();
    (folder, running, key)
}

#[test]
fn an_unknown_path_is_404_and_a_wrong_method_405_with_the_right_ones() {
    let (_folder, running, key) = demo();
    let unknown = running.call("GET", "/nothing/here", &key, b"");
    assert_eq!((unknown.status, unknown.body.as_str()), (404, r#"{"detail":"Not Found"}"#));
    let wrong = running.call("DELETE", CHAT, &key, b"");
    assert_eq!(wrong.status, 405, "{}", wrong.body);
    assert!(wrong.head.contains("\r\nallow: post"), "{}", wrong.head);
}

#[test]
fn a_body_that_is_no_json_object_in_utf_8_is_400_and_says_where() {
    let (_folder, running, key) = demo();
    for (body, expected) in [
        (&b"hello"[..], "Invalid JSON payload: expected value at line 1 column 1"),
        (b"{\"a\":\"\xff\"}", "Invalid JSON payload: the body is not UTF-8 at byte 6"),
    ] {
        let answer = running.call("POST", CHAT, &key, body);
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert_eq!(answer.message(), expected);
        assert_eq!(answer.json()["error"]["param"], "request_body");
    }
}

#[test]
fn a_body_nested_ten_thousand_deep_is_400_and_harms_nothing() {
    let (_folder, running, key) = demo();
    let body = format!("{{\"model\":\"demo\",\"messages\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let answer = running.call("POST", CHAT, &key, body.as_bytes());
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.message().contains("JSON"), "{}", answer.body);
    assert_eq!(running.chat("demo", &key).status, 200);
}

#[test]
fn a_body_of_100_megabytes_is_413_before_it_is_read() {
    let (_folder, running, key) = demo();
    let answer = running.call_declared("POST", CHAT, &key, b"{", 100 * 1024 * 1024);
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert_eq!(
        answer.message(),
        "Request body is larger than 67108864 bytes; raise general_settings.max_request_size_mb to allow it"
    );
}
