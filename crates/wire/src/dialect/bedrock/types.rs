//! Words and figures that requests, answers and streams share.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use faregate_terms::Usage;

use crate::chat::{CacheHint, FinishReason};
use crate::dialect::told::Figures;

/// Figures as Bedrock reports them: cached tokens stand beside `inputTokens`, not within.
///
/// Source: Bedrock Runtime API, `TokenUsage`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireUsage {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_input_tokens: u64,
    cache_write_input_tokens: u64,
    cache_details: Vec<CacheDetail>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CacheDetail {
    ttl: String,
    input_tokens: u64,
}

impl Figures for WireUsage {
    /// The same figures with `input` as the total.
    fn usage(&self) -> Usage {
        let written = self.cache_write_input_tokens;
        let details = self.cache_details.iter().filter(|detail| detail.ttl == "1h");
        let one_hour = details.map(|detail| detail.input_tokens).sum::<u64>().min(written);
        Usage {
            input: self.input_tokens + written + self.cache_read_input_tokens,
            cache_read: self.cache_read_input_tokens,
            cache_write_5m: written - one_hour,
            cache_write_1h: one_hour,
            output: self.output_tokens,
            ..Usage::default()
        }
    }
}

/// Figures as a Bedrock client expects them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageOut {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    cache_read_input_tokens: u64,
    cache_write_input_tokens: u64,
}

impl UsageOut {
    /// Takes the cached parts out of the total.
    pub(super) fn of(usage: &Usage) -> Self {
        Self {
            input_tokens: usage.input_fresh(),
            output_tokens: usage.output,
            total_tokens: usage.total(),
            cache_read_input_tokens: usage.cache_read,
            cache_write_input_tokens: usage.cache_write(),
        }
    }
}

/// Reads a `stopReason`.
pub(super) fn finish_of(word: &str) -> FinishReason {
    match word {
        "end_turn" => FinishReason::Stop,
        "stop_sequence" => FinishReason::StopSequence,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "guardrail_intervened" | "content_filtered" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// Writes a `stopReason`.
pub(super) fn stop_reason(finish: &FinishReason, stop_sequence: Option<&str>) -> &'static str {
    match finish {
        FinishReason::Stop if stop_sequence.is_some() => "stop_sequence",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter | FinishReason::Refusal => "content_filtered",
        FinishReason::Other(word) if word == "malformed_model_output" => "malformed_model_output",
        FinishReason::Other(word) if word == "malformed_tool_use" => "malformed_tool_use",
        FinishReason::Stop | FinishReason::Pause | FinishReason::Other(_) => "end_turn",
    }
}

/// Writes a `cachePoint` block.
pub(super) fn cache_point(hint: &CacheHint) -> Value {
    match hint.ttl.as_deref() {
        Some(ttl @ ("5m" | "1h")) => json!({"cachePoint": {"type": "default", "ttl": ttl}}),
        _ => json!({"cachePoint": {"type": "default"}}),
    }
}

/// Reads what a `cachePoint` block holds.
pub(super) fn cache_hint(point: &Value) -> CacheHint {
    CacheHint { ttl: point.get("ttl").and_then(Value::as_str).map(str::to_owned) }
}

/// True for Anthropic's models, whose own parameters go through `additionalModelRequestFields`.
pub(super) fn is_claude(model: &str) -> bool {
    model.contains("anthropic") || model.contains("claude")
}
