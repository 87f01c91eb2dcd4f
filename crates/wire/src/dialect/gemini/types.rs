//! Words and figures that requests, answers and streams share.

use faregate_terms::Usage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::chat::FinishReason;
use crate::dialect::told::Figures;

/// Why the model stopped. `called` tells whether it asked for tools; Gemini has no word for that.
pub(super) fn finish(word: &str, called: bool) -> FinishReason {
    match word {
        "STOP" | "FINISH_REASON_UNSPECIFIED" if called => FinishReason::ToolCalls,
        "STOP" | "FINISH_REASON_UNSPECIFIED" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// Gemini's word for why a model stopped. `own` is the word a Gemini provider used, which says more.
pub(super) fn finish_word<'a>(reason: &'a FinishReason, own: Option<&'a str>) -> &'a str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolCalls => "STOP",
        FinishReason::Length => "MAX_TOKENS",
        FinishReason::ContentFilter => own.unwrap_or("SAFETY"),
        FinishReason::Refusal => "PROHIBITED_CONTENT",
        // SDKs read the word into an enumeration; one it does not know would be an error to some.
        FinishReason::Other(word) if is_word(word) => word,
        FinishReason::Pause | FinishReason::Other(_) => "OTHER",
    }
}

fn is_word(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// `usageMetadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireUsage {
    prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    total_token_count: Option<u64>,
    prompt_tokens_details: Option<Vec<WireModality>>,
    candidates_tokens_details: Option<Vec<WireModality>>,
    traffic_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireModality {
    modality: String,
    token_count: u64,
}

impl Figures for WireUsage {
    /// The same figures with totals: Gemini counts thoughts beside the answer.
    fn usage(&self) -> Usage {
        let prompt = self.prompt_token_count.unwrap_or(0);
        let tool_use = self.tool_use_prompt_token_count.unwrap_or(0);
        let answer = self.candidates_token_count.unwrap_or(0);
        let thoughts = self.thoughts_token_count.unwrap_or(0);
        // Some models count the thoughts within the answer; the total tells.
        let within = thoughts > 0 && self.total_token_count == Some(prompt + tool_use + answer);
        let of = |details: &Option<Vec<WireModality>>, name: &str| {
            let list = details.iter().flatten();
            list.filter(|detail| detail.modality == name).map(|detail| detail.token_count).sum()
        };
        Usage {
            input: prompt + tool_use,
            cache_read: self.cached_content_token_count.unwrap_or(0),
            input_audio: of(&self.prompt_tokens_details, "AUDIO"),
            input_image: of(&self.prompt_tokens_details, "IMAGE"),
            input_video: of(&self.prompt_tokens_details, "VIDEO"),
            output: if within { answer } else { answer + thoughts },
            reasoning: thoughts,
            output_audio: of(&self.candidates_tokens_details, "AUDIO"),
            output_image: of(&self.candidates_tokens_details, "IMAGE"),
            service_tier: self.traffic_type.as_deref().and_then(tier).map(str::to_owned),
            ..Usage::default()
        }
    }
}

fn tier(traffic: &str) -> Option<&'static str> {
    match traffic {
        "ON_DEMAND_PRIORITY" => Some("priority"),
        "ON_DEMAND_FLEX" => Some("flex"),
        _ => None,
    }
}

/// Figures as a Gemini client expects them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageOut {
    prompt_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cached_content_token_count: u64,
    candidates_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    thoughts_token_count: u64,
    total_token_count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prompt_tokens_details: Vec<ModalityOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates_tokens_details: Vec<ModalityOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic_type: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ModalityOut {
    modality: &'static str,
    token_count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl UsageOut {
    /// Takes the reasoning out of the total.
    pub(super) fn of(usage: &Usage) -> Self {
        let media = usage.input_audio + usage.input_image + usage.input_video;
        let answer = usage.output.saturating_sub(usage.reasoning);
        let made = usage.output_audio + usage.output_image;
        Self {
            prompt_token_count: usage.input,
            cached_content_token_count: usage.cache_read,
            candidates_token_count: answer,
            thoughts_token_count: usage.reasoning,
            total_token_count: usage.total(),
            prompt_tokens_details: details(&[
                ("TEXT", usage.input.saturating_sub(media)),
                ("AUDIO", usage.input_audio),
                ("IMAGE", usage.input_image),
                ("VIDEO", usage.input_video),
            ]),
            candidates_tokens_details: if made == 0 {
                Vec::new()
            } else {
                details(&[
                    ("TEXT", answer.saturating_sub(made)),
                    ("AUDIO", usage.output_audio),
                    ("IMAGE", usage.output_image),
                ])
            },
            traffic_type: match usage.service_tier.as_deref() {
                Some("priority") => Some("ON_DEMAND_PRIORITY"),
                Some("flex") => Some("ON_DEMAND_FLEX"),
                _ => None,
            },
        }
    }
}

fn details(counts: &[(&'static str, u64)]) -> Vec<ModalityOut> {
    let some = counts.iter().filter(|(_, count)| *count > 0);
    some.map(|(modality, token_count)| ModalityOut { modality, token_count: *token_count }).collect()
}

/// `logprobsResult` in OpenAI's form.
pub(super) fn logprobs(result: &Value) -> Value {
    let list = |key: &str| result.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let tops = list("topCandidates");
    let content: Vec<Value> = list("chosenCandidates")
        .iter()
        .enumerate()
        .map(|(index, chosen)| {
            let top = tops.get(index).and_then(|top| top.get("candidates")).and_then(Value::as_array);
            let top: Vec<Value> = top.into_iter().flatten().map(|one| token(one, None)).collect();
            token(chosen, Some(top))
        })
        .collect();
    json!({ "content": content })
}

fn token(candidate: &Value, top: Option<Vec<Value>>) -> Value {
    let text = candidate.get("token").and_then(Value::as_str).unwrap_or_default();
    let mut out = json!({"token": text, "logprob": candidate.get("logProbability").cloned().unwrap_or(json!(0.0)),
        "bytes": text.as_bytes()});
    if let Some(top) = top {
        out["top_logprobs"] = Value::Array(top);
    }
    out
}

/// OpenAI's `logprobs` as `logprobsResult`, and the average of the chosen ones.
pub(super) fn logprobs_result(value: &Value) -> Option<(Value, f64)> {
    let content = value.get("content")?.as_array().filter(|content| !content.is_empty())?;
    let one = |item: &Value| {
        json!({"token": item.get("token").cloned().unwrap_or_default(),
            "logProbability": item.get("logprob").cloned().unwrap_or_default()})
    };
    let chosen: Vec<Value> = content.iter().map(one).collect();
    let tops: Vec<Value> = content
        .iter()
        .map(|item| {
            let top = item.get("top_logprobs").and_then(Value::as_array).into_iter().flatten();
            json!({"candidates": top.map(one).collect::<Vec<_>>()})
        })
        .collect();
    let sum: f64 = content.iter().filter_map(|item| item.get("logprob").and_then(Value::as_f64)).sum();
    let count = u32::try_from(content.len()).unwrap_or(u32::MAX);
    Some((json!({"chosenCandidates": chosen, "topCandidates": tops}), sum / f64::from(count)))
}

/// Google's status word for an HTTP status.
///
/// Source: google.rpc.Code and its mapping to HTTP.
pub(super) fn status_word(status: u16) -> &'static str {
    match status {
        400 | 413 | 422 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        402 | 412 => "FAILED_PRECONDITION",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        502 | 503 | 529 => "UNAVAILABLE",
        408 | 504 => "DEADLINE_EXCEEDED",
        500 => "INTERNAL",
        _ => "UNKNOWN",
    }
}
