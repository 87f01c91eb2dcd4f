//! Errors of OpenAI-style APIs.

use std::time::Duration;

use faregate_terms::{Fault, FaultClass};
use http::HeaderMap;
use serde_json::Value;

use crate::json;

/// Reads a non-2xx answer in whichever of the forms compatible providers use.
pub(in crate::dialect) fn fault(status: u16, headers: &HeaderMap, body: &[u8]) -> Fault {
    let parsed = json::read::<Value>(body).ok().map(|value| match value {
        // Vertex wraps errors in a list.
        Value::Array(mut items) if !items.is_empty() => items.swap_remove(0),
        other => other,
    });
    let mut fault = match &parsed {
        Some(value) => fault_of(value.get("error").filter(|error| !error.is_null()).unwrap_or(value), status),
        None => of_text(String::from_utf8_lossy(body).trim().to_owned(), status),
    };
    if fault.message.is_empty() {
        fault.message = String::from_utf8_lossy(body).into_owned();
    }
    fault.retry_after = retry_after(headers);
    fault
}

/// The fault an error object (or text) tells of. A status of 200 means an error inside an answer: then the
/// object's own words count.
pub(in crate::dialect) fn fault_of(error: &Value, status: u16) -> Fault {
    let word = |name: &str| match error.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let message = match error {
        Value::String(text) => Some(text.clone()),
        _ => word("message").or_else(|| word("detail")).or_else(|| {
            let text = error.get("message").or_else(|| error.get("detail")).filter(|it| !it.is_null())?;
            Some(text.to_string())
        }),
    };
    let (code, kind) = (word("code"), word("type"));
    let status = if status == 200 { inner_status(error, code.as_deref(), kind.as_deref()) } else { status };
    let message = message.unwrap_or_default();
    let inner = error.pointer("/innererror/code").and_then(Value::as_str);
    Fault {
        class: class(status, code.as_deref(), kind.as_deref(), inner, &message),
        upstream_status: Some(status),
        code,
        kind,
        param: word("param"),
        ..Fault::new(FaultClass::Internal, message)
    }
}

fn of_text(message: String, status: u16) -> Fault {
    Fault { upstream_status: Some(status), ..Fault::new(class(status, None, None, None, &message), message) }
}

/// The status an error inside an answer stands for.
fn inner_status(error: &Value, code: Option<&str>, kind: Option<&str>) -> u16 {
    let stated = error.get("status").or_else(|| error.get("status_code")).and_then(Value::as_u64);
    let numeric = code.and_then(|code| code.parse::<u64>().ok()).or(stated);
    if let Some(status) = numeric.and_then(|it| u16::try_from(it).ok()).filter(|it| (400..600).contains(it)) {
        return status;
    }
    match (kind.unwrap_or_default(), code.unwrap_or_default()) {
        (_, "rate_limit_exceeded" | "insufficient_quota" | "tokens_exceeded") => 429,
        ("rate_limit_error" | "requests" | "tokens" | "insufficient_quota", _) => 429,
        ("invalid_request_error" | "image_generation_user_error", _) | (_, "invalid_prompt") => 400,
        ("authentication_error", _) => 401,
        ("permission_error", _) => 403,
        ("not_found_error", _) => 404,
        ("overloaded_error", _) | (_, "overloaded") => 503,
        _ => 500,
    }
}

fn class(
    status: u16,
    code: Option<&str>,
    kind: Option<&str>,
    inner: Option<&str>,
    message: &str,
) -> FaultClass {
    let text = message.to_ascii_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if matches!(code, Some("content_filter" | "content_policy_violation"))
        || inner == Some("ResponsibleAIPolicyViolation")
        || status == 400 && has(&["content management policy", "content_policy_violation", "safety system"])
    {
        return FaultClass::ContentPolicy;
    }
    let refused = matches!(status, 400 | 413 | 422);
    if refused
        && (matches!(code, Some("context_length_exceeded" | "string_above_max_length"))
            || has(&[
                "maximum context length",
                "context_length_exceeded",
                "context window",
                "maximum prompt length",
                "prompt is too long",
                "reduce the length of the messages",
                "input is too long",
                "too many tokens",
            ]))
    {
        return FaultClass::ContextWindow;
    }
    if matches!(kind, Some("overloaded_error")) || matches!(code, Some("overloaded" | "server_overloaded")) {
        return FaultClass::Unavailable;
    }
    match status {
        429 if code == Some("billing_not_active") => FaultClass::PaymentRequired,
        400 if code == Some("invalid_api_key") || has(&["incorrect api key", "invalid api key"]) => {
            FaultClass::Authentication
        }
        400 if code == Some("model_not_found") => FaultClass::NotFound,
        // Azure's word for a name it does not know.
        404 if code == Some("DeploymentNotFound") => FaultClass::NotFound,
        _ => FaultClass::of_status(status),
    }
}

/// How long an answer's headers ask to wait: OpenAI's precise header, the usual one, or a limit's reset
/// when that limit is used up.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name)?.parse::<f64>().ok();
    if let Some(seconds) = number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number("retry-after")) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    ["requests", "tokens"].into_iter().find_map(|kind| {
        let left = text(&format!("x-ratelimit-remaining-{kind}"))?;
        (left == "0").then(|| text(&format!("x-ratelimit-reset-{kind}")).and_then(reset)).flatten()
    })
}

/// Reads a Go-style duration such as `6m0s`, `1.5s` or `20ms`.
///
/// Source: OpenAI, "Rate limits", headers.
fn reset(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let value = rest[..digits].parse::<f64>().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += value
            * match &rest[..unit] {
                "ms" => 0.001,
                "s" | "" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}
