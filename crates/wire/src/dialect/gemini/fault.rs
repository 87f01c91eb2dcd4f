//! Errors of Google's APIs.

use std::time::Duration;

use faregate_terms::{Fault, FaultClass};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use crate::json;

/// Google's error object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireError {
    code: Option<u16>,
    message: String,
    status: Option<String>,
    details: Vec<Value>,
}

/// Reads a non-2xx answer; an error that was to be a JSON array comes as an array of one.
pub(super) fn fault(status: u16, headers: &HeaderMap, body: &[u8]) -> Fault {
    let parsed = json::read::<Value>(body).ok().and_then(|value| match value {
        Value::Array(items) => items.into_iter().next(),
        other => Some(other),
    });
    let error = parsed.and_then(|value| value.get("error").cloned());
    let wire = match error {
        Some(Value::String(message)) => WireError { message, ..WireError::default() },
        Some(value) => serde_json::from_value(value).unwrap_or_default(),
        None => WireError::default(),
    };
    let mut fault = fault_of(wire, status);
    if fault.message.is_empty() {
        fault.message = String::from_utf8_lossy(body).into_owned();
    }
    fault.retry_after = fault.retry_after.or_else(|| retry_after(headers));
    fault
}

/// The fault an error object tells of. `status` is the answer's; within a stream the object's own counts.
pub(super) fn fault_of(error: WireError, status: u16) -> Fault {
    let status = if status == 200 { error.code.unwrap_or(500) } else { status };
    let reason = error.details.iter().find_map(|detail| detail.get("reason")?.as_str());
    Fault {
        class: class(status, &error, reason),
        upstream_status: Some(status),
        code: reason.map(str::to_owned).or_else(|| error.status.clone()),
        param: param(&error),
        retry_after: error.details.iter().find_map(delay),
        kind: error.status,
        message: error.message,
    }
}

/// Google's status word says more than the number; the text more than either.
fn class(status: u16, error: &WireError, reason: Option<&str>) -> FaultClass {
    let text = error.message.to_ascii_lowercase();
    if reason == Some("API_KEY_INVALID")
        || text.contains("api key not valid")
        || text.contains("api key expired")
    {
        return FaultClass::Authentication;
    }
    match error.status.as_deref().unwrap_or_default() {
        "INVALID_ARGUMENT" | "OUT_OF_RANGE" | "" if status == 400 && too_long(&text) => {
            FaultClass::ContextWindow
        }
        "INVALID_ARGUMENT" | ""
            if status == 400 && text.contains("blocked by") && text.contains("safety") =>
        {
            FaultClass::ContentPolicy
        }
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => FaultClass::BadRequest,
        "UNAUTHENTICATED" => FaultClass::Authentication,
        "PERMISSION_DENIED" => FaultClass::PermissionDenied,
        "NOT_FOUND" => FaultClass::NotFound,
        "RESOURCE_EXHAUSTED" if text.contains("credits are depleted") => FaultClass::PaymentRequired,
        "RESOURCE_EXHAUSTED" => FaultClass::RateLimit,
        "DEADLINE_EXCEEDED" | "CANCELLED" => FaultClass::Timeout,
        "UNAVAILABLE" => FaultClass::Unavailable,
        "INTERNAL" if status == 502 => FaultClass::BadGateway,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" => FaultClass::Internal,
        _ => FaultClass::of_status(status),
    }
}

fn too_long(text: &str) -> bool {
    text.contains("exceeds the maximum number of tokens")
        || text.contains("input token count")
        || text.contains("input context is too long")
        || text.contains("reduce the length")
}

/// `retryDelay` of a `RetryInfo`: seconds with a fraction, e.g. `2.5s`.
pub(in crate::dialect) fn delay(detail: &Value) -> Option<Duration> {
    let seconds = detail.get("retryDelay")?.as_str()?.strip_suffix('s')?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The member a complaint is about: `Unknown name "x" at 'y'`, or a field violation.
fn param(error: &WireError) -> Option<String> {
    let violation = error.details.iter().find_map(|detail| {
        let field = detail.get("fieldViolations")?.get(0)?.get("field")?.as_str()?;
        Some(field.to_owned())
    });
    violation.or_else(|| {
        let (_, rest) = error.message.split_once("Unknown name \"")?;
        let (name, rest) = rest.split_once('"')?;
        let at = rest.strip_prefix(" at '").and_then(|rest| rest.split_once('\'')).map(|(at, _)| at);
        Some(at.map_or_else(|| name.to_owned(), |at| format!("{at}.{name}")))
    })
}

/// How long an answer's headers ask to wait.
pub(in crate::dialect) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}
