//! A complete answer in canonical form.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use faregate_terms::Usage;

use super::{Extra, Part};

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatResponse {
    /// The provider's id of the answer; empty when it gave none.
    pub id: String,
    /// The model name the provider answered with.
    pub model: String,
    /// Unix seconds, when the provider says.
    pub created: Option<i64>,
    /// The alternatives, by index; one unless `n` was asked for.
    pub choices: Vec<Choice>,
    /// What was used; empty when the provider did not say.
    pub usage: Usage,
    /// Members we do not interpret (OpenAI `system_fingerprint`, Gemini `groundingMetadata`, ...).
    pub extra: Extra,
}

/// One alternative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Its number.
    pub index: u32,
    /// What the model said, in order.
    pub parts: Vec<Part>,
    /// Why it stopped.
    pub finish: FinishReason,
    /// The stop text that was met, when the provider says.
    pub stop_sequence: Option<String>,
    /// OpenAI's `logprobs` object, as sent.
    pub logprobs: Option<Value>,
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It was done, or met a stop text without saying which.
    Stop,
    /// It met a stop text.
    StopSequence,
    /// The token limit.
    Length,
    /// It wants tools run.
    ToolCalls,
    /// A filter cut it.
    ContentFilter,
    /// The model declined (Anthropic `refusal`).
    Refusal,
    /// A long-running turn was paused (Anthropic `pause_turn`).
    Pause,
    /// A word we do not know; travels on as it is.
    Other(String),
}
