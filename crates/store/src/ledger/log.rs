//! The request log.

use faregate_terms::{Ending, Receipt, UtcMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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

/// How long a text may be that is part of an index; PostgreSQL refuses index rows beyond 2,704 bytes.
const INDEXED: usize = 256;

/// The text, cut to what an index can hold, never inside a character.
pub(super) fn clip(text: &str) -> &str {
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

/// The row of one receipt, every column filled.
pub(super) fn row(receipt: &Receipt, request_id: &str, now: UtcMillis) -> SpendLog {
    let (account, log, wall) = (&receipt.account, &receipt.log, &receipt.wall);
    // LiteLLM writes an empty text where there is nobody, never null.
    let who = |id: &Option<String>| Some(clip(id.as_deref().unwrap_or_default()).to_owned());
    let stored = |text: &Option<String>| text.as_deref().map_or_else(|| json!({}), parsed);
    SpendLog {
        request_id: request_id.to_owned(),
        call_type: if log.call_type.is_empty() { receipt.route.to_string() } else { log.call_type.clone() },
        api_key: clip(&account.api_key).to_owned(),
        spend: Usd(receipt.cost.unwrap_or_default()),
        total_tokens: count(receipt.usage.total()),
        prompt_tokens: count(receipt.usage.input),
        completion_tokens: count(receipt.usage.output),
        start_time: wall.started,
        end_time: wall.ended,
        request_duration_ms: Some(i64::from(i32::try_from(receipt.duration.as_millis()).unwrap_or(i32::MAX))),
        completion_start_time: Some(wall.first_token.unwrap_or(wall.ended)),
        model: model(receipt).to_owned(),
        model_id: Some(receipt.deployment.as_ref().map_or_else(String::new, ToString::to_string)),
        model_group: Some(receipt.model_group.as_ref().map_or_else(String::new, ToString::to_string)),
        custom_llm_provider: Some(receipt.provider.as_ref().map_or_else(String::new, ToString::to_string)),
        api_base: Some(log.api_base.clone().unwrap_or_default()),
        user: who(&account.user),
        metadata: metadata(receipt),
        cache_hit: Some(match log.cache_hit {
            Some(true) => "True".to_owned(),
            Some(false) => "False".to_owned(),
            None => "None".to_owned(),
        }),
        cache_key: Some(log.cache_key.clone().unwrap_or_else(|| "Cache OFF".to_owned())),
        request_tags: json!(account.tags),
        team_id: who(&account.team),
        organization_id: who(&account.organization),
        end_user: who(&account.end_user),
        requester_ip_address: account.ip.clone(),
        messages: stored(&log.messages),
        response: stored(&log.response),
        session_id: Some(clip(account.session.as_deref().unwrap_or(receipt.call_id.as_str())).to_owned()),
        status: Some(if succeeded(receipt) { "success".to_owned() } else { "failure".to_owned() }),
        mcp_namespaced_tool_name: log.mcp_tool.as_deref().map(|name| clip(name).to_owned()),
        billing_agent_id: account.agent.clone(),
        agent_id: account.agent.clone(),
        proxy_server_request: stored(&log.client_request),
        litellm_call_id: Some(receipt.call_id.to_string()),
        created_at: Some(now),
        updated_at: Some(now),
    }
}

/// Text that should be JSON; kept as a plain text when it is not.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// A column of 32 bits holds it.
fn count(tokens: u64) -> i64 {
    i64::from(i32::try_from(tokens).unwrap_or(i32::MAX))
}

/// LiteLLM's members, then ours under `faregate`.
fn metadata(receipt: &Receipt) -> Value {
    let (account, log, usage) = (&receipt.account, &receipt.log, &receipt.usage);
    let faults = receipt.attempts.iter().filter(|attempt| attempt.fault.is_some()).count();
    let mut members = json!({
        "user_api_key": account.api_key,
        "user_api_key_alias": account.key_alias,
        "user_api_key_team_id": account.team,
        "user_api_key_team_alias": account.team_alias,
        "user_api_key_org_id": account.organization,
        "user_api_key_user_id": account.user,
        "user_api_key_project_id": account.project,
        "user_api_key_project_alias": account.project_alias,
        "requester_ip_address": account.ip,
        "user_agent": account.user_agent,
        "litellm_call_id": receipt.call_id,
        "status": if succeeded(receipt) { "success" } else { "failure" },
        "usage_object": log.raw_usage.as_deref().map_or(Value::Null, parsed),
        "additional_usage_values": {
            "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": usage.input_audio},
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning, "audio_tokens": usage.output_audio,
            },
            "cache_read_input_tokens": usage.cache_read,
            "cache_creation_input_tokens": usage.cache_write(),
        },
        "attempted_retries": receipt.attempts.len().saturating_sub(1),
        "error_information": log.error.as_ref().map(|error| json!({
            "error_code": error.code,
            "error_class": error.class,
            "error_message": error.message,
            "llm_provider": receipt.provider,
        })),
        "faregate": {
            "route": receipt.route,
            "requested_model": receipt.requested_model,
            "provider_request_id": receipt.upstream_id,
            "http_status": receipt.status,
            "ending": receipt.ending.word(),
            "stream": receipt.stream,
            "ttft_ms": receipt.ttft.map(|time| time.as_secs_f64() * 1000.0),
            "upstream_ms": receipt.upstream_time.as_secs_f64() * 1000.0,
            "attempts": receipt.attempts.iter().map(|attempt| json!({
                "deployment": attempt.deployment,
                "duration_ms": attempt.duration.as_secs_f64() * 1000.0,
                "fault": attempt.fault,
            })).collect::<Vec<_>>(),
            "failed_attempts": faults,
            "losses": receipt.losses,
            "usage_estimated": usage.estimated,
            "priced": receipt.cost.is_some(),
            "price_version": log.price_version,
            "cost": receipt.cost,
            "discarded_cost": log.discarded_cost,
        },
    });
    if let (Some(Value::Object(extra)), Value::Object(members)) =
        (log.metadata.as_deref().map(parsed), &mut members)
    {
        members.extend(extra);
    }
    members
}
