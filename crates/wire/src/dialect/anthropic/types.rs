//! Words and figures that requests, answers and streams share.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use faregate_terms::Usage;

use crate::chat::{CacheHint, FinishReason};
use crate::dialect::told::Figures;

/// Figures as Anthropic reports them: cached tokens stand beside `input_tokens`, not within.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<WireCacheCreation>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<WireOutputDetails>,
    server_tool_use: Option<WireServerTools>,
    service_tier: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct WireCacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct WireOutputDetails {
    thinking_tokens: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct WireServerTools {
    web_search_requests: Option<u64>,
}

impl WireUsage {
    /// Takes over the figures of a later report; it may leave out what has not changed.
    pub(super) fn merge(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        if later.cache_creation.is_some() {
            self.cache_creation = later.cache_creation;
        }
        if later.output_tokens_details.is_some() {
            self.output_tokens_details = later.output_tokens_details;
        }
        if later.server_tool_use.is_some() {
            self.server_tool_use = later.server_tool_use;
        }
        if later.service_tier.is_some() {
            self.service_tier = later.service_tier;
        }
    }
}

impl Figures for WireUsage {
    /// The same figures with `input` as the total.
    fn usage(&self) -> Usage {
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        let one_hour =
            self.cache_creation.as_ref().map_or(0, |parts| parts.ephemeral_1h_input_tokens).min(written);
        // The split is absent on Vertex and Bedrock; the total counts.
        let written = written.max(
            self.cache_creation
                .as_ref()
                .map_or(0, |parts| parts.ephemeral_5m_input_tokens + parts.ephemeral_1h_input_tokens),
        );
        let read = self.cache_read_input_tokens.unwrap_or(0);
        Usage {
            input: self.input_tokens.unwrap_or(0) + written + read,
            cache_read: read,
            cache_write_5m: written - one_hour,
            cache_write_1h: one_hour,
            output: self.output_tokens.unwrap_or(0),
            reasoning: self
                .output_tokens_details
                .as_ref()
                .and_then(|details| details.thinking_tokens)
                .unwrap_or(0),
            web_searches: self
                .server_tool_use
                .as_ref()
                .and_then(|tools| tools.web_search_requests)
                .unwrap_or(0),
            service_tier: self.service_tier.clone(),
            ..Usage::default()
        }
    }
}

/// Figures as an Anthropic client expects them.
#[derive(Debug, Serialize)]
pub(super) struct UsageOut<'a> {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: CacheCreationOut,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetailsOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_tool_use: Option<ServerToolsOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct CacheCreationOut {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Debug, Serialize)]
struct OutputDetailsOut {
    thinking_tokens: u64,
}

#[derive(Debug, Serialize)]
struct ServerToolsOut {
    web_search_requests: u64,
}

impl<'a> UsageOut<'a> {
    /// Takes the cached parts out of the total.
    pub(super) fn of(usage: &'a Usage) -> Self {
        Self {
            input_tokens: usage.input_fresh(),
            cache_creation_input_tokens: usage.cache_write(),
            cache_read_input_tokens: usage.cache_read,
            cache_creation: CacheCreationOut {
                ephemeral_5m_input_tokens: usage.cache_write_5m,
                ephemeral_1h_input_tokens: usage.cache_write_1h,
            },
            output_tokens: usage.output,
            output_tokens_details: (usage.reasoning > 0)
                .then_some(OutputDetailsOut { thinking_tokens: usage.reasoning }),
            server_tool_use: (usage.web_searches > 0)
                .then_some(ServerToolsOut { web_search_requests: usage.web_searches }),
            service_tier: usage.service_tier.as_deref(),
        }
    }
}

/// Reads a `stop_reason`.
pub(super) fn finish_of(word: &str) -> FinishReason {
    match word {
        "end_turn" => FinishReason::Stop,
        "stop_sequence" => FinishReason::StopSequence,
        "max_tokens" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::Refusal,
        "pause_turn" => FinishReason::Pause,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// Writes a `stop_reason`.
pub(super) fn stop_reason(finish: &FinishReason, stop_sequence: Option<&str>) -> String {
    match finish {
        FinishReason::Stop if stop_sequence.is_some() => "stop_sequence",
        FinishReason::Stop => "end_turn",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter | FinishReason::Refusal => "refusal",
        FinishReason::Pause => "pause_turn",
        FinishReason::Other(word) => word,
    }
    .to_owned()
}

/// The error `type` an Anthropic client expects with an HTTP status.
///
/// Source: Anthropic API, "Errors".
pub(super) fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Reads `cache_control`.
pub(super) fn cache_hint(value: Option<Value>) -> Option<CacheHint> {
    let value = value?;
    Some(CacheHint { ttl: value.get("ttl").and_then(Value::as_str).map(str::to_owned) })
}

/// Writes `cache_control` into a block.
pub(super) fn put_cache(block: &mut Map<String, Value>, cache: Option<&CacheHint>) {
    let Some(hint) = cache else {
        return;
    };
    let mut control = Map::new();
    control.insert("type".to_owned(), json!("ephemeral"));
    if let Some(ttl) = &hint.ttl {
        control.insert("ttl".to_owned(), json!(ttl));
    }
    block.insert("cache_control".to_owned(), Value::Object(control));
}
