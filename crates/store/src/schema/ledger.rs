//! What was spent and what was changed: request logs, daily aggregates, the audit log.

use super::{Table, float, int, json, text, time};

/// One row per request.
pub const SPEND_LOGS: Table = Table {
    name: "LiteLLM_SpendLogs",
    columns: &[
        text("request_id"),
        text("call_type"),
        text("api_key"),
        float("spend").or("0.0"),
        int("total_tokens").or("0"),
        int("prompt_tokens").or("0"),
        int("completion_tokens").or("0"),
        time("startTime"),
        time("endTime"),
        int("request_duration_ms").null(),
        time("completionStartTime").null(),
        text("model").or(""),
        text("model_id").null().or(""),
        text("model_group").null().or(""),
        text("custom_llm_provider").null().or(""),
        text("api_base").null().or(""),
        text("user").null().or(""),
        json("metadata").null().or("{}"),
        text("cache_hit").null().or(""),
        text("cache_key").null().or(""),
        json("request_tags").null().or("[]"),
        text("team_id").null(),
        text("organization_id").null(),
        text("end_user").null(),
        text("requester_ip_address").null(),
        json("messages").null().or("{}"),
        json("response").null().or("{}"),
        text("session_id").null(),
        text("status").null(),
        text("mcp_namespaced_tool_name").null(),
        text("billing_agent_id").null(),
        text("agent_id").null(),
        json("proxy_server_request").null().or("{}"),
        text("litellm_call_id").null(),
        time("created_at").now(),
        time("updated_at").now(),
    ],
    primary: &["request_id"],
    unique: &[],
    indexes: &[
        &["startTime"],
        &["startTime", "request_id"],
        &["end_user"],
        &["session_id"],
        &["litellm_call_id"],
        &["api_key", "startTime"],
    ],
    foreign: &[],
};

/// An older error log; kept, not written.
pub const ERROR_LOGS: Table = Table {
    name: "LiteLLM_ErrorLogs",
    columns: &[
        text("request_id"),
        time("startTime"),
        time("endTime"),
        text("api_base").or(""),
        text("model_group").or(""),
        text("litellm_model_name").or(""),
        text("model_id").or(""),
        json("request_kwargs").or("{}"),
        text("exception_type").or(""),
        text("exception_string").or(""),
        text("status_code").or(""),
    ],
    primary: &["request_id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Changes made through the management API.
pub const AUDIT_LOG: Table = Table {
    name: "LiteLLM_AuditLog",
    columns: &[
        text("id"),
        time("updated_at").now(),
        text("changed_by").or(""),
        text("changed_by_api_key").or(""),
        text("action"),
        text("table_name"),
        text("object_id"),
        json("before_value").null(),
        json("updated_values").null(),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};
