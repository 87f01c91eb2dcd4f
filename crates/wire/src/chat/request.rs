//! A chat request in canonical form.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Extra, Message, Tool, ToolChoice};

/// Everything a client may ask of a chat model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatRequest {
    /// The model name as the client sent it.
    pub model: String,
    /// The conversation, system and developer messages included, in the client's order.
    pub messages: Vec<Message>,
    /// Tools on offer.
    pub tools: Vec<Tool>,
    /// Which of them must be used.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several tool calls may come at once; absent means the provider's default (yes).
    pub parallel_tools: Option<bool>,
    /// Length, randomness and the like.
    pub sampling: Sampling,
    /// Free text or JSON.
    pub output: OutputFormat,
    /// How much to think.
    pub reasoning: Option<Reasoning>,
    /// `auto`, `default`, `flex`, `priority`, ... in the client's word.
    pub service_tier: Option<String>,
    /// The end user's id (OpenAI `user`, Anthropic `metadata.user_id`).
    pub user: Option<String>,
    /// OpenAI's request metadata that goes to the provider (text to text).
    pub metadata: Map<String, Value>,
    /// Output kinds besides text, e.g. `audio`, `image`; empty means text only.
    pub modalities: Vec<String>,
    /// Voice and format of generated audio (OpenAI `audio`, as sent).
    pub audio: Option<Value>,
    /// True when the client wants a stream.
    pub stream: bool,
    /// True when the client asked for usage at the end of a chat-completions stream.
    pub include_usage: bool,
    /// Members we do not interpret.
    pub extra: Extra,
}

/// Length, randomness and the like. Absent means the provider's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Upper bound of generated tokens, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// 0 to 2 (Anthropic: 0 to 1), as the client wrote it.
    pub temperature: Option<serde_json::Number>,
    /// Nucleus sampling.
    pub top_p: Option<serde_json::Number>,
    /// Only the k likeliest tokens.
    pub top_k: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Number of answers.
    pub n: Option<u32>,
    /// Wish for repeatability.
    pub seed: Option<i64>,
    /// -2 to 2.
    pub presence_penalty: Option<serde_json::Number>,
    /// -2 to 2.
    pub frequency_penalty: Option<serde_json::Number>,
    /// Return log probabilities.
    pub logprobs: Option<bool>,
    /// How many alternatives per token.
    pub top_logprobs: Option<u32>,
    /// Token id to bias.
    pub logit_bias: Option<Value>,
}

/// The form of the answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputFormat {
    /// Free text.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema {
        /// The schema's name; codecs that need one make it up (`response`).
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// The JSON schema.
        schema: Value,
        /// OpenAI's strict mode.
        strict: Option<bool>,
    },
}

/// A level of reasoning effort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// No reasoning.
    None,
    /// As little as possible.
    Minimal,
    /// Little.
    Low,
    /// The usual.
    Medium,
    /// Much.
    High,
    /// Very much.
    Xhigh,
    /// All there is.
    Max,
    /// A word we do not know; travels on as it is.
    Other(String),
}

impl Effort {
    /// The word OpenAI-style APIs use.
    pub fn word(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
            Self::Other(word) => word,
        }
    }

    /// Reads the word.
    pub fn of_word(word: &str) -> Self {
        match word {
            "none" | "disable" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::Xhigh,
            "max" => Self::Max,
            other => Self::Other(other.to_owned()),
        }
    }

    /// LiteLLM's thinking budget for this effort, tokens.
    ///
    /// Source: compat, `DEFAULT_REASONING_EFFORT_*_THINKING_BUDGET`.
    pub fn budget(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal => 128,
            Self::Low => 1024,
            Self::Medium | Self::Other(_) => 2048,
            Self::High => 4096,
            Self::Xhigh => 8192,
            Self::Max => 16384,
        }
    }

    /// The effort whose budget is nearest from below to `tokens`.
    pub fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..=1023 => Self::Minimal,
            1024..=2047 => Self::Low,
            2048..=4095 => Self::Medium,
            4096..=8191 => Self::High,
            8192..=16383 => Self::Xhigh,
            _ => Self::Max,
        }
    }
}

/// How much the model should think, in whichever of the forms the client used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reasoning {
    /// As a level.
    pub effort: Option<Effort>,
    /// The level is for the answer as a whole, and nothing was said about thinking (Anthropic
    /// `output_config.effort` without `thinking`).
    pub effort_only: bool,
    /// As a number of tokens (Anthropic `budget_tokens`, Gemini `thinkingBudget`). -1 in Gemini means the
    /// model decides and is carried as `adaptive`.
    pub budget: Option<u64>,
    /// The model decides how much (Anthropic `adaptive`, Gemini -1).
    pub adaptive: bool,
    /// Explicitly off.
    pub disabled: bool,
    /// Whether readable thoughts are wanted: OpenAI `summary` word, Gemini `includeThoughts`
    /// (`auto`), Anthropic `display`.
    pub summary: Option<String>,
}

impl Reasoning {
    /// A wish for the answer as a whole, which its effort is still to say.
    pub fn of_the_answer() -> Self {
        Self { effort_only: true, ..Self::default() }
    }
}
