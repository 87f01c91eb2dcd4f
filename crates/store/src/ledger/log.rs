//! The request log.

use faregate_terms::{Ending, Receipt, UtcMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::metadata::{self, parsed};
use crate::Record;
use crate::Usd;
use crate::db::{Cell, Row};
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

/// How long a text may be that is part of an index; PostgreSQL refuses index rows beyond 2,704 bytes.
const INDEXED: usize = 256;

/// The text, cut to what an index can hold, never inside a character.
pub(super) fn clip(text: &str) -> &str {
    if text.len() <= INDEXED {
        return text;
    }
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= INDEXED).last();
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// True when the client got what it asked for, as far as it stayed to hear it.
pub(super) fn succeeded(receipt: &Receipt) -> bool {
    receipt.status < 400 && matches!(receipt.ending, Ending::Complete | Ending::ClientClosed)
}

/// The name sent to the provider.
pub(super) fn model(receipt: &Receipt) -> &str {
    let named = receipt.upstream_model.as_deref();
    clip(named.unwrap_or(if receipt.model_group.is_some() {
        &receipt.requested_model
    } else {
        "unknown-model"
    }))
}

/// The id under which the request is logged: the answer's own, so that a client can find it again.
pub(super) fn request_id(receipt: &Receipt) -> String {
    let call = receipt.call_id.as_str();
    let id = clip(receipt.upstream_id.as_deref().filter(|id| !id.is_empty()).unwrap_or(call));
    match receipt.log.cache_hit {
        Some(true) => format!("{id}_cache_hit{}", receipt.wall.ended.millis() / 1000),
        _ => id.to_owned(),
    }
}

/// The row of one receipt, every column filled, in the order of the table's columns.
pub(super) fn cells(receipt: &Receipt, request_id: &str, now: UtcMillis) -> Row {
    let (account, log, wall) = (&receipt.account, &receipt.log, &receipt.wall);
    // LiteLLM writes an empty text where there is nobody, never null.
    let who = |id: &Option<String>| Cell::from(clip(id.as_deref().unwrap_or_default()));
    let stored = |text: &Option<String>| match text {
        None => Cell::from("{}"),
        Some(text) => Cell::Text(parsed(text).to_string()),
    };
    let now = Cell::from(now);
    let call_id = receipt.call_id.as_str();
    vec![
        Cell::from(request_id),
        Cell::from(if log.call_type.is_empty() { &*receipt.route } else { &log.call_type }),
        Cell::from(clip(&account.api_key)),
        Cell::Float(receipt.cost.unwrap_or_default().to_f64()),
        Cell::Int(count(receipt.usage.total())),
        Cell::Int(count(receipt.usage.input)),
        Cell::Int(count(receipt.usage.output)),
        Cell::from(wall.started),
        Cell::from(wall.ended),
        Cell::Int(i64::from(i32::try_from(receipt.duration.as_millis()).unwrap_or(i32::MAX))),
        Cell::from(wall.first_token.unwrap_or(wall.ended)),
        Cell::from(model(receipt)),
        Cell::from(receipt.deployment.as_ref().map_or("", |id| id.as_str())),
        Cell::from(receipt.model_group.as_ref().map_or("", |group| group.as_str())),
        Cell::from(receipt.provider.as_ref().map_or("", |provider| provider.as_str())),
        Cell::from(log.api_base.as_deref().unwrap_or_default()),
        who(&account.user),
        Cell::Text(metadata::text(receipt)),
        Cell::from(match log.cache_hit {
            Some(true) => "True",
            Some(false) => "False",
            None => "None",
        }),
        Cell::from(log.cache_key.as_deref().unwrap_or("Cache OFF")),
        Cell::Text(if account.tags.is_empty() { "[]".to_owned() } else { json!(account.tags).to_string() }),
        who(&account.team),
        who(&account.organization),
        who(&account.end_user),
        Cell::from(account.ip.as_deref()),
        stored(&log.messages),
        stored(&log.response),
        Cell::from(clip(account.session.as_deref().unwrap_or(call_id))),
        Cell::from(if succeeded(receipt) { "success" } else { "failure" }),
        Cell::from(log.mcp_tool.as_deref().map(clip)),
        Cell::from(account.agent.as_deref()),
        Cell::from(account.agent.as_deref()),
        stored(&log.client_request),
        Cell::from(call_id),
        now.clone(),
        now,
    ]
}

/// A column of 32 bits holds it.
fn count(tokens: u64) -> i64 {
    i64::from(i32::try_from(tokens).unwrap_or(i32::MAX))
}
