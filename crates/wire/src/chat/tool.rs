//! Tools a model may call.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CacheHint, Extra, Family};

/// A tool on offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// A function the client runs.
    Function {
        /// Its name.
        name: String,
        /// What it does.
        description: Option<String>,
        /// JSON schema of its arguments; `None` when the client gave none.
        parameters: Option<Value>,
        /// OpenAI's strict mode.
        strict: Option<bool>,
        /// Cache the prompt up to here.
        cache: Option<CacheHint>,
        /// Members we do not interpret.
        extra: Extra,
    },
    /// Web search in its common form; each codec has its own block for it.
    WebSearch {
        /// OpenAI's `search_context_size`: `low`, `medium`, `high`.
        context_size: Option<String>,
        /// Upper bound on searches (Anthropic `max_uses`).
        max_uses: Option<u32>,
        /// Only these domains.
        allowed_domains: Vec<String>,
        /// Never these domains.
        blocked_domains: Vec<String>,
        /// OpenAI's `user_location`, as sent (the inner approximate object).
        location: Option<Value>,
        /// Members we do not interpret (own type name of the family).
        extra: Extra,
    },
    /// A tool only its own family knows (computer use, code execution, file search, custom grammar tools...).
    Foreign {
        /// Whose tool.
        family: Family,
        /// The declaration, untouched.
        value: Value,
    },
}

/// Which tool the model must use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No tool.
    None,
    /// Some tool.
    Required,
    /// This tool.
    Named(String),
    /// One of these (OpenAI `allowed_tools`, Gemini `allowedFunctionNames`).
    AnyOf {
        /// The tools' names.
        names: Vec<String>,
        /// True when one of them must be called.
        required: bool,
    },
}
