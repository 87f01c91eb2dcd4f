//! What orchestrators ask, without a key and without a wait.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ALLOW};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::process::in_detail;
use crate::body::Body;
use crate::gate::{Gate, Table};
use crate::stage::deliver::{answer_json, respond};

fn with_status(status: StatusCode, body: &Value) -> Response<Body> {
    let mut answer = answer_json(body);
    *answer.status_mut() = status;
    answer
}

fn shutting_down(gate: &Gate) -> Option<Response<Body>> {
    let is_ending = gate.ending.load(Ordering::Acquire);
    is_ending.then(|| with_status(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "shutting_down" })))
}

/// The process answers, and is not about to end.
pub fn liveliness(gate: &Gate) -> Response<Body> {
    shutting_down(gate).unwrap_or_else(|| answer_json(&json!("I'm alive!")))
}

/// The process can serve: 503 while its database is away, unless it may go on without.
pub fn readiness(gate: &Gate, table: &Table) -> Response<Body> {
    if let Some(answer) = shutting_down(gate) {
        return answer;
    }
    let (status, db) = database(gate);
    if table.checks.public_details {
        return with_status(status, &in_detail(gate, table));
    }
    let word = if status.is_success() { "healthy" } else { "unhealthy" };
    with_status(status, &json!({ "status": word, "db": db }))
}

/// How the database does, and what a probe is told for it.
pub(super) fn database(gate: &Gate) -> (StatusCode, &'static str) {
    let Some(database) = &gate.services.database else { return (StatusCode::OK, "Not connected") };
    if database.answers.load(Ordering::Relaxed) {
        return (StatusCode::OK, "connected");
    }
    let is_optional = database.optional.load(Ordering::Relaxed);
    (if is_optional { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "disconnected")
}

/// How a probe may be asked.
pub fn options() -> Response<Body> {
    let mut headers = HeaderMap::new();
    let methods = HeaderValue::from_static("GET, OPTIONS");
    headers.insert(ALLOW, methods.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    respond(StatusCode::OK, headers, Body::full(Bytes::new()))
}
