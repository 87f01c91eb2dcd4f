//! Words and figures that requests, answers and streams share.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use faregate_terms::Usage;

use crate::chat::FinishReason;

/// Figures as the API reports them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    input_tokens: u64,
    input_tokens_details: Option<InputDetails>,
    output_tokens: u64,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl WireUsage {
    /// The same figures in the common form.
    pub(super) fn usage(&self) -> Usage {
        let input = self.input_tokens_details.unwrap_or_default();
        Usage {
            input: self.input_tokens,
            cache_read: input.cached_tokens,
            cache_write_5m: input.cache_write_tokens,
            output: self.output_tokens,
            reasoning: self.output_tokens_details.unwrap_or_default().reasoning_tokens,
            ..Usage::default()
        }
    }
}

/// Figures as a client expects them.
#[derive(Debug, Serialize)]
pub(super) struct UsageOut {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

impl UsageOut {
    /// Renders the common form.
    pub(super) fn of(usage: &Usage) -> Self {
        Self {
            input_tokens: usage.input,
            input_tokens_details: InputDetails {
                cached_tokens: usage.cache_read,
                cache_write_tokens: usage.cache_write(),
            },
            output_tokens: usage.output,
            output_tokens_details: OutputDetails { reasoning_tokens: usage.reasoning },
            total_tokens: usage.total(),
        }
    }
}

/// The status of an answer that ended so, and the reason if it is incomplete.
pub(super) fn status(finish: &FinishReason) -> (&'static str, Option<&'static str>) {
    match finish {
        FinishReason::Length => ("incomplete", Some("max_output_tokens")),
        // A refusal that came as the end of the answer, not as a part of it.
        FinishReason::ContentFilter | FinishReason::Refusal => ("incomplete", Some("content_filter")),
        _ => ("completed", None),
    }
}

/// Reads the end of an answer from its object; `called` if it asks for tools.
pub(super) fn finish_of(response: &Value, called: bool) -> FinishReason {
    match response.pointer("/incomplete_details/reason").and_then(Value::as_str) {
        Some("max_output_tokens") => FinishReason::Length,
        Some("content_filter") => FinishReason::ContentFilter,
        Some(other) => FinishReason::Other(other.to_owned()),
        None if called => FinishReason::ToolCalls,
        None => FinishReason::Stop,
    }
}

/// A chat annotation, whose members are nested, in this dialect's flat form.
pub(super) fn flat(annotation: &Value) -> Value {
    let kind = annotation.get("type").and_then(Value::as_str).unwrap_or_default();
    let Some(Value::Object(inner)) = annotation.get(kind) else {
        return annotation.clone();
    };
    let mut out = Map::new();
    out.insert("type".to_owned(), json!(kind));
    out.extend(inner.iter().map(|(key, value)| (key.clone(), value.clone())));
    if kind == "url_citation" {
        for (key, default) in
            [("url", json!("")), ("title", json!("")), ("start_index", json!(0)), ("end_index", json!(0))]
        {
            out.entry(key).or_insert(default);
        }
    }
    Value::Object(out)
}

/// This dialect's flat annotation in the nested form of chat completions.
pub(super) fn nested(annotation: &Value) -> Value {
    let kind = annotation.get("type").and_then(Value::as_str).unwrap_or_default();
    match annotation {
        Value::Object(members) if annotation.get(kind).is_none() && kind == "url_citation" => {
            let inner: Map<String, Value> = members
                .iter()
                .filter(|(key, _)| *key != "type")
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            json!({"type": kind, (kind): inner})
        }
        other => other.clone(),
    }
}

/// The API's word for an error of this status, for those that carry none.
///
/// Source: OpenAI API reference, the response object's `error.code`.
pub(super) fn error_code(status: u16, code: &str) -> String {
    if !code.is_empty() && code.bytes().any(|byte| !byte.is_ascii_digit()) {
        return code.to_owned();
    }
    match status {
        429 => "rate_limit_exceeded",
        400..=499 => "invalid_prompt",
        _ => "server_error",
    }
    .to_owned()
}
