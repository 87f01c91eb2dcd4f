//! Is it alive, can it serve, what has it done. Source: compat, behaviour §13.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::body::Body;
use crate::call::Arrival;
use crate::gate::{Gate, Table};
use crate::pipeline::authorised;
use crate::refusal::Refusal;
use crate::stage::deliver::{answer_json, respond};

/// The process answers.
pub fn liveliness() -> Response<Body> {
    answer_json(&json!("I'm alive!"))
}

/// The process can serve.
pub fn readiness() -> Response<Body> {
    answer_json(&json!({ "status": "healthy", "db": "Not connected" }))
}

/// Prometheus exposition. LiteLLM mounts it at `/metrics/` and redirects there; we answer both.
///
/// # Errors
/// 404 unless the `prometheus` callback is configured; 401 without a key where one is needed.
pub fn metrics(gate: &Gate, table: &Table, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    if !table.settings.prometheus {
        return Err(Refusal::NotFound(
            "metrics are off; add `callbacks: [\"prometheus\"]` to litellm_settings".to_owned(),
        ));
    }
    if table.settings.metrics_need_key {
        authorised(table, arrival)?;
    }
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    Ok(respond(StatusCode::OK, headers, Body::full(gate.metrics.render())))
}
