//! Errors, in answers and in streams.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

use faregate_terms::{Fault, FaultClass};

use crate::dialect::Head;

/// Reads a non-2xx answer. The error's type is in a header, sometimes in the body.
///
/// Source: AWS REST-JSON protocol, "Operation error serialization".
pub(super) fn fault(head: &Head<'_>, body: &[u8]) -> Fault {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let header = head.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let kind = header
        .or_else(|| value.get("__type").and_then(Value::as_str))
        // `Name:http://...` in the header, `namespace#Name` in the body.
        .map(|kind| kind.split(':').next().unwrap_or(kind))
        .map(|kind| kind.rsplit('#').next().unwrap_or(kind).to_owned());
    let message = message(&value).unwrap_or_else(|| {
        let shown = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
        if shown.is_empty() { format!("Bedrock answered {} without a body", head.status) } else { shown }
    });
    let mut fault = Fault::new(class(head.status, kind.as_deref(), &message), message);
    fault.upstream_status = Some(head.status);
    fault.code = (fault.class == FaultClass::ContextWindow).then(|| "context_length_exceeded".to_owned());
    fault.kind = kind;
    fault.retry_after = retry_after(head.headers);
    fault
}

/// Reads an exception frame of a stream; `name` is its `:exception-type`.
pub(super) fn in_stream(name: Option<&str>, data: &[u8]) -> Fault {
    let value: Value = serde_json::from_slice(data).unwrap_or_default();
    let message = message(&value)
        .unwrap_or_else(|| "Bedrock ended the stream with an error without a message".to_owned());
    let status = value.get("originalStatusCode").and_then(Value::as_u64);
    let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(0);
    let mut fault = Fault::new(class(status, name, &message), message);
    fault.kind = name.map(str::to_owned);
    fault
}

fn message(value: &Value) -> Option<String> {
    let text = value.get("message").or_else(|| value.get("Message"))?.as_str()?;
    Some(text.to_owned())
}

fn class(status: u16, kind: Option<&str>, message: &str) -> FaultClass {
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if kind.starts_with("validation") || status == 400 {
        if says(&[
            "input is too long",
            "prompt is too long",
            "too many input tokens",
            "context window",
            "maximum context",
            "context limit",
        ]) {
            return FaultClass::ContextWindow;
        }
        if says(&["content filter", "blocked by", "guardrail"]) {
            return FaultClass::ContentPolicy;
        }
    }
    match kind.as_str() {
        kind if kind.starts_with("throttling") || kind.starts_with("servicequota") => FaultClass::RateLimit,
        kind if kind.starts_with("modeltimeout") => FaultClass::of_status(408),
        kind if kind.starts_with("modelnotready") || kind.starts_with("serviceunavailable") => {
            FaultClass::Unavailable
        }
        kind if kind.starts_with("validation") => FaultClass::BadRequest,
        kind if kind.starts_with("accessdenied") && says(&["payment"]) => FaultClass::PaymentRequired,
        kind if kind.starts_with("unrecognizedclient")
            || kind.starts_with("invalidsignature")
            || kind.starts_with("expiredtoken")
            || kind.starts_with("missingauthentication")
            || kind.starts_with("incompletesignature") =>
        {
            FaultClass::Authentication
        }
        kind if kind.starts_with("internalserver") || kind.starts_with("modelstreamerror") => {
            FaultClass::of_status(500)
        }
        _ if status == 0 => FaultClass::of_status(500),
        _ => FaultClass::of_status(status),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.trim().parse::<f64>().ok()?;
    (seconds.is_finite() && (0.0..86_400.0).contains(&seconds)).then(|| Duration::from_secs_f64(seconds))
}

/// The exception a status stands for. Source: Bedrock Runtime API, `Converse` and `InvokeModel`, "Errors".
pub(in crate::dialect) fn exception(status: u16) -> &'static str {
    match status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        400..=499 => "ValidationException",
        503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}

/// The same inside a Converse stream. Source: `ConverseStreamOutput`.
pub(super) fn stream_exception(status: u16) -> &'static str {
    match status {
        429 => "throttlingException",
        503 => "serviceUnavailableException",
        400..=499 => "validationException",
        500 => "internalServerException",
        _ => "modelStreamErrorException",
    }
}
