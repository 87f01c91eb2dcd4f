//! Whom a finished request is booked on, and what its log line says beyond use and cost.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::{PicoUsd, UtcMillis};

/// Everybody whose spend a request adds to. All texts are ids unless they say otherwise.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Hash of the virtual key, `litellm_proxy_master_key` for the master key, empty when there is none.
    pub api_key: String,
    /// The key's display name.
    pub key_alias: Option<String>,
    /// The internal user the key belongs to.
    pub user: Option<String>,
    /// The key's team.
    pub team: Option<String>,
    /// The team's display name.
    pub team_alias: Option<String>,
    /// The organization of the key or its team.
    pub organization: Option<String>,
    /// The key's project.
    pub project: Option<String>,
    /// The project's display name.
    pub project_alias: Option<String>,
    /// The customer the client named.
    pub end_user: Option<String>,
    /// The agent that called.
    pub agent: Option<String>,
    /// Tags of key, team and request, merged, in order, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Model access groups with a budget that the model belongs to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_groups: Vec<String>,
    /// The conversation the request is part of.
    pub session: Option<String>,
    /// The client's address.
    pub ip: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
}

/// When a request ran, by the wall clock.
#[skip_serializing_none]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallTimes {
    /// Arrival.
    pub started: UtcMillis,
    /// End of the answer.
    pub ended: UtcMillis,
    /// First visible output of a stream.
    pub first_token: Option<UtcMillis>,
}

/// What the request log holds beyond the receipt's own fields.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogFacts {
    /// LiteLLM's name of the operation, e.g. `acompletion`, `aembedding`.
    pub call_type: String,
    /// Base URL of the deployment that answered, without credentials.
    pub api_base: Option<String>,
    /// Whether the response cache answered; absent when it was not asked.
    pub cache_hit: Option<bool>,
    /// The key of the response cache; absent when no cache is configured.
    pub cache_key: Option<String>,
    /// Further members of the log's `metadata`: the text of a JSON object.
    pub metadata: Option<String>,
    /// The prompt, as JSON text; only when storing prompts was asked for.
    pub messages: Option<String>,
    /// The answer, as JSON text; only when storing prompts was asked for.
    pub response: Option<String>,
    /// The request as it came, as JSON text; only when storing prompts was asked for.
    pub client_request: Option<String>,
    /// What attempts cost whose answer was thrown away; part of the receipt's cost.
    pub discarded_cost: PicoUsd,
    /// Which price data the cost was computed from.
    pub price_version: Option<String>,
    /// The provider's usage object as it came, as JSON text.
    pub raw_usage: Option<String>,
    /// The MCP tool that was called, with its server's name in front.
    pub mcp_tool: Option<String>,
    /// Why the request failed.
    pub error: Option<ErrorNote>,
}

/// Why a request failed, as the log's `metadata.error_information` says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorNote {
    /// Status as text, e.g. `429`.
    pub code: String,
    /// LiteLLM's name of the exception, e.g. `RateLimitError`.
    pub class: String,
    /// What went wrong; never holds a credential.
    pub message: String,
}
