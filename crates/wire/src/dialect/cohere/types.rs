//! Words and figures that whole answers and streams share.

use faregate_terms::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chat::FinishReason;
use crate::dialect::told::Figures;

/// Figures as Cohere reports them; counts are written as floats.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    tokens: Option<WireTokens>,
    billed_units: Option<WireTokens>,
    cached_tokens: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireTokens {
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
}

impl Figures for WireUsage {
    /// The tokens the model saw; what is billed only where those are not said.
    fn usage(&self) -> Usage {
        let pick = |of: fn(&WireTokens) -> Option<f64>| {
            self.tokens.as_ref().and_then(of).or_else(|| self.billed_units.as_ref().and_then(of))
        };
        Usage {
            input: count(pick(|tokens| tokens.input_tokens)),
            output: count(pick(|tokens| tokens.output_tokens)),
            cache_read: count(self.cached_tokens),
            ..Usage::default()
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of tokens; the cast saturates"
)]
fn count(value: Option<f64>) -> u64 {
    value.unwrap_or(0.0) as u64
}

/// Why the model stopped.
pub(super) fn finish(word: &str) -> FinishReason {
    match word {
        "COMPLETE" => FinishReason::Stop,
        "STOP_SEQUENCE" => FinishReason::StopSequence,
        "MAX_TOKENS" => FinishReason::Length,
        "TOOL_CALL" => FinishReason::ToolCalls,
        "ERROR_TOXIC" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// One citation as OpenAI annotations: one per source that has an address.
pub(super) fn annotations(citation: &Value) -> Vec<Value> {
    let member = |key: &str| citation.get(key).cloned().unwrap_or(Value::Null);
    let sources = citation.get("sources").and_then(Value::as_array).into_iter().flatten();
    sources
        .filter_map(|source| {
            let document = source.get("document").or_else(|| source.get("tool_output"))?;
            let url = document.get("url").and_then(Value::as_str)?;
            let title = document.get("title").and_then(Value::as_str).unwrap_or_default();
            Some(json!({"type": "url_citation", "url_citation": {
                "start_index": member("start"), "end_index": member("end"), "url": url, "title": title,
                "cited_text": member("text")}}))
        })
        .collect()
}

/// Cohere's log probabilities in OpenAI's form. An item is a piece of text made of one or more tokens.
pub(super) fn logprobs(items: &[Value]) -> Value {
    let content: Vec<Value> = items
        .iter()
        .map(|item| {
            let sum: f64 = item
                .get("logprobs")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_f64)
                .sum();
            let text = item.get("text").and_then(Value::as_str).unwrap_or_default();
            json!({"token": text, "logprob": sum, "bytes": text.as_bytes(), "top_logprobs": []})
        })
        .collect();
    json!({ "content": content })
}
