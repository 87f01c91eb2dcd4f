//! The request log.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::Usd;
use crate::schema::{Table, ledger};

/// One request. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpendLog {
    pub request_id: String,
    pub call_type: String,
    pub api_key: String,
    /// Dollars since the last reset.
    pub spend: Usd,
    pub total_tokens: i64,
    pub prompt_tokens: i64,
    pub completion_tokens: i64,
    #[serde(rename = "startTime")]
    pub start_time: UtcMillis,
    #[serde(rename = "endTime")]
    pub end_time: UtcMillis,
    pub request_duration_ms: Option<i64>,
    #[serde(rename = "completionStartTime")]
    pub completion_start_time: Option<UtcMillis>,
    pub model: String,
    pub model_id: Option<String>,
    pub model_group: Option<String>,
    pub custom_llm_provider: Option<String>,
    pub api_base: Option<String>,
    pub user: Option<String>,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    pub cache_hit: Option<String>,
    pub cache_key: Option<String>,
    pub request_tags: Value,
    pub team_id: Option<String>,
    pub organization_id: Option<String>,
    pub end_user: Option<String>,
    pub requester_ip_address: Option<String>,
    pub messages: Value,
    pub response: Value,
    pub session_id: Option<String>,
    pub status: Option<String>,
    pub mcp_namespaced_tool_name: Option<String>,
    pub billing_agent_id: Option<String>,
    pub agent_id: Option<String>,
    pub proxy_server_request: Value,
    pub litellm_call_id: Option<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for SpendLog {
    const TABLE: &'static Table = &ledger::SPEND_LOGS;
}
