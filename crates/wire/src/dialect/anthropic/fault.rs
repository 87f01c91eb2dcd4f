//! Errors of the provider.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

use faregate_terms::{Fault, FaultClass};

use crate::dialect::Head;
use crate::dialect::gemini::delay;

/// Reads a non-2xx answer.
pub(super) fn fault(head: &Head<'_>, body: &[u8]) -> Fault {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    // Vertex answers in Google's shape, sometimes as a list of one.
    let value = value.get(0).cloned().unwrap_or(value);
    let error = value.get("error").unwrap_or(&value);
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = text("type");
    let message = text("message").unwrap_or_else(|| {
        let shown = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
        if shown.is_empty() { format!("the provider answered {} without a body", head.status) } else { shown }
    });
    let mut fault = Fault::new(class(head.status, kind.as_deref(), &message), message);
    fault.upstream_status = Some(head.status);
    fault.code = (fault.class == FaultClass::ContextWindow).then(|| "context_length_exceeded".to_owned());
    fault.kind = kind;
    // Vertex AI names the time to wait in the body.
    let details = error.get("details").and_then(Value::as_array);
    fault.retry_after = retry_after(head.headers).or_else(|| details?.iter().find_map(delay));
    fault
}

/// An error event inside a stream.
pub(super) fn in_stream(error: &Value) -> Fault {
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = text("type");
    let message =
        text("message").unwrap_or_else(|| "the provider reports an error without a message".to_owned());
    let mut fault = Fault::new(class(status_of(kind.as_deref()), kind.as_deref(), &message), message);
    fault.kind = kind;
    fault
}

fn status_of(kind: Option<&str>) -> u16 {
    match kind.unwrap_or_default() {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 500,
    }
}

fn class(status: u16, kind: Option<&str>, message: &str) -> FaultClass {
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if (status == 400 || status == 413)
        && says(&["prompt is too long", "exceed context limit", "context window", "too many tokens"])
    {
        return FaultClass::ContextWindow;
    }
    if status == 400 && says(&["content filtering policy", "usage policy"]) {
        return FaultClass::ContentPolicy;
    }
    if status == 400 && says(&["credit balance is too low"]) {
        return FaultClass::PaymentRequired;
    }
    match kind {
        Some("overloaded_error") => FaultClass::Unavailable,
        _ => FaultClass::of_status(status),
    }
}

/// How long the provider asks us to wait.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let millis = text("retry-after-ms").map(|ms| ms / 1000.0);
    let seconds = millis.or_else(|| text("retry-after"))?;
    (seconds.is_finite() && (0.0..86_400.0).contains(&seconds)).then(|| Duration::from_secs_f64(seconds))
}
