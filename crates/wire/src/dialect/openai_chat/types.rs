//! Words and figures that requests, answers and streams share.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use faregate_terms::{PicoUsd, Usage};

use crate::chat::{CacheHint, FinishReason};
use crate::dialect::told::Figures;

/// Figures as OpenAI and compatible providers report them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    /// DeepSeek.
    prompt_cache_hit_tokens: Option<u64>,
    /// Moonshot.
    cached_tokens: Option<u64>,
    /// LiteLLM, passing Anthropic's figures on.
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    /// Perplexity.
    reasoning_tokens: Option<u64>,
    citation_tokens: Option<u64>,
    num_search_queries: Option<u64>,
    server_tool_use: Option<ServerTools>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
    video_tokens: Option<u64>,
    cache_creation_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    cache_creation_token_details: Option<CacheCreation>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
    accepted_prediction_tokens: Option<u64>,
    rejected_prediction_tokens: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ServerTools {
    web_search_requests: Option<u64>,
}

impl Figures for WireUsage {
    /// The same figures in the common form.
    fn usage(&self) -> Usage {
        let input = self.prompt_tokens_details.clone().unwrap_or_default();
        let output = self.completion_tokens_details.clone().unwrap_or_default();
        let reasoning = output.reasoning_tokens.or(self.reasoning_tokens).unwrap_or(0);
        let written = input
            .cache_creation_tokens
            .or(input.cache_write_tokens)
            .or(self.cache_creation_input_tokens)
            .unwrap_or(0);
        let one_hour = input
            .cache_creation_token_details
            .and_then(|details| details.ephemeral_1h_input_tokens)
            .unwrap_or(0)
            .min(written);
        let (prompt, completion) = (self.prompt_tokens.unwrap_or(0), self.completion_tokens.unwrap_or(0));
        // xAI counts reasoning beside the completion; the total tells.
        let beside = reasoning > 0 && self.total_tokens == Some(prompt + completion + reasoning);
        Usage {
            input: prompt,
            cache_read: input
                .cached_tokens
                .or(self.cache_read_input_tokens)
                .or(self.prompt_cache_hit_tokens)
                .or(self.cached_tokens)
                .unwrap_or(0),
            cache_write_5m: written - one_hour,
            cache_write_1h: one_hour,
            input_audio: input.audio_tokens.unwrap_or(0),
            input_image: input.image_tokens.unwrap_or(0),
            input_video: input.video_tokens.unwrap_or(0),
            output: if beside { completion + reasoning } else { completion },
            reasoning,
            output_audio: output.audio_tokens.unwrap_or(0),
            output_image: output.image_tokens.unwrap_or(0),
            accepted_prediction: output.accepted_prediction_tokens.unwrap_or(0),
            rejected_prediction: output.rejected_prediction_tokens.unwrap_or(0),
            web_searches: self
                .num_search_queries
                .or(self.server_tool_use.as_ref().and_then(|tools| tools.web_search_requests))
                .unwrap_or(0),
            citation: self.citation_tokens.unwrap_or(0),
            ..Usage::default()
        }
    }
}

/// Figures as a client expects them: OpenAI's members and those LiteLLM adds.
#[derive(Debug, Serialize)]
pub(in crate::dialect) struct UsageOut {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: InputDetailsOut,
    completion_tokens_details: OutputDetailsOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_tool_use: Option<ServerToolsOut>,
}

#[derive(Debug, Serialize)]
struct InputDetailsOut {
    cached_tokens: u64,
    audio_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    image_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    video_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cache_creation_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_token_details: Option<CacheCreationOut>,
}

#[derive(Debug, Serialize)]
struct CacheCreationOut {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Debug, Serialize)]
struct OutputDetailsOut {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    image_tokens: u64,
}

#[derive(Debug, Serialize)]
struct ServerToolsOut {
    web_search_requests: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl UsageOut {
    /// Renders the common form.
    pub(in crate::dialect) fn of(usage: &Usage) -> Self {
        let written = usage.cache_write();
        let caches = written > 0 || usage.cache_read > 0;
        Self {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            total_tokens: usage.total(),
            prompt_tokens_details: InputDetailsOut {
                cached_tokens: usage.cache_read,
                audio_tokens: usage.input_audio,
                image_tokens: usage.input_image,
                video_tokens: usage.input_video,
                cache_creation_tokens: written,
                cache_creation_token_details: (written > 0).then_some(CacheCreationOut {
                    ephemeral_5m_input_tokens: usage.cache_write_5m,
                    ephemeral_1h_input_tokens: usage.cache_write_1h,
                }),
            },
            completion_tokens_details: OutputDetailsOut {
                reasoning_tokens: usage.reasoning,
                audio_tokens: usage.output_audio,
                accepted_prediction_tokens: usage.accepted_prediction,
                rejected_prediction_tokens: usage.rejected_prediction,
                image_tokens: usage.output_image,
            },
            cache_creation_input_tokens: caches.then_some(written),
            cache_read_input_tokens: caches.then_some(usage.cache_read),
            server_tool_use: (usage.web_searches > 0)
                .then_some(ServerToolsOut { web_search_requests: usage.web_searches }),
        }
    }
}

/// Reports a service tier that OpenAI's clients do not know as `auto`.
///
/// Source: OpenAI API reference, `service_tier`.
pub(super) fn settle_tier(tier: &mut Option<String>) {
    const KNOWN: [&str; 5] = ["auto", "default", "flex", "scale", "priority"];
    if let Some(word) = tier
        && !KNOWN.contains(&word.as_str())
    {
        *word = "auto".to_owned();
    }
}

/// Reads a `finish_reason`.
pub(super) fn finish_of(word: &str) -> FinishReason {
    match word {
        // Together and others end by `eos`; Mistral says `model_length`.
        "stop" | "eos" | "end_turn" => FinishReason::Stop,
        "length" | "model_length" | "max_tokens" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// Writes a `finish_reason`.
pub(in crate::dialect) fn finish_word(finish: &FinishReason) -> &str {
    match finish {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::Pause => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter | FinishReason::Refusal => "content_filter",
        FinishReason::Other(word) => word,
    }
}

/// Reads `cache_control`.
pub(super) fn cache_hint(value: Option<Value>) -> Option<CacheHint> {
    let value = value?;
    Some(CacheHint { ttl: value.get("ttl").and_then(Value::as_str).map(str::to_owned) })
}

/// Writes `cache_control` into an object.
pub(super) fn put_cache(members: &mut Map<String, Value>, cache: &CacheHint) {
    let mut control = Map::new();
    control.insert("type".to_owned(), json!("ephemeral"));
    if let Some(ttl) = &cache.ttl {
        control.insert("ttl".to_owned(), json!(ttl));
    }
    members.insert("cache_control".to_owned(), Value::Object(control));
}

/// The cost a provider states in dollars, as `cost` beside `usage`; its digits are those it was written with.
///
/// Source: LiteLLM, Eden AI.
pub(super) fn stated_cost(cost: Option<&serde_json::Number>) -> Option<PicoUsd> {
    let cost = PicoUsd::parse(&cost?.to_string()).ok()?;
    (cost >= PicoUsd::ZERO).then_some(cost)
}
