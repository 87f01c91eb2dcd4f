//! `/__fake__/...`: scripts, log and counts over HTTP, for tests in other processes.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::fault::FakeBody;
use crate::server::{Shared, json_response};

/// Answers `script` (POST), `log`, `stats` and `reset` (POST).
pub(crate) fn serve(shared: &Shared, rest: &str, body: &[u8]) -> Response<FakeBody> {
    match rest {
        "script" => {
            let script: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
            match shared.desk.control.script_json(&script) {
                Ok(()) => ok(&json!({"ok": true})),
                Err(message) => json_response(StatusCode::BAD_REQUEST, &json!({"error": message}), None),
            }
        }
        "log" => {
            let requests: Vec<Value> = shared.log.list().iter().map(|request| request.to_json()).collect();
            ok(&json!({"requests": requests}))
        }
        "stats" => {
            let stats = shared.log.stats();
            ok(&json!({
                "requests": stats.requests, "in_flight": stats.in_flight, "cancelled": stats.cancelled,
                "open_connections": stats.open_connections, "connections": stats.connections,
            }))
        }
        "reset" => {
            shared.log.reset();
            shared.desk.clear();
            ok(&json!({"ok": true}))
        }
        _ => json_response(StatusCode::NOT_FOUND, &json!({"error": "no such desk"}), None),
    }
}

fn ok(body: &Value) -> Response<FakeBody> {
    json_response(StatusCode::OK, body, None)
}
