//! What the control plane stores: models, credentials, settings, and what came of health checks.

use super::{Table, big, flag, float, int, json, list, text, time};

/// Deployments stored in the database; secrets inside `litellm_params` are sealed.
pub const PROXY_MODEL: Table = Table {
    name: "LiteLLM_ProxyModelTable",
    columns: &[
        text("model_id"),
        text("model_name"),
        json("litellm_params"),
        json("model_info").null(),
        flag("blocked").or("false"),
        time("created_at").now(),
        text("created_by"),
        time("updated_at").now(),
        text("updated_by"),
    ],
    primary: &["model_id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Upstream credentials; each value is sealed.
pub const CREDENTIALS: Table = Table {
    name: "LiteLLM_CredentialsTable",
    columns: &[
        text("credential_id"),
        text("credential_name"),
        text("display_name").null(),
        json("credential_values"),
        json("credential_info").null(),
        time("created_at").now(),
        text("created_by"),
        time("updated_at").now(),
        text("updated_by"),
    ],
    primary: &["credential_id"],
    unique: &[&["credential_name"]],
    indexes: &[],
    foreign: &[],
};

/// Settings that override the config file.
pub const CONFIG: Table = Table {
    name: "LiteLLM_Config",
    columns: &[
        text("param_name"),
        json("param_value").null(),
        time("last_run_at").null(),
        big("reload_revision").or("0"),
    ],
    primary: &["param_name"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Single sign-on settings made in the UI.
pub const SSO_CONFIG: Table = Table {
    name: "LiteLLM_SSOConfig",
    columns: &[
        text("id").or("sso_config"),
        json("sso_settings"),
        time("created_at").now(),
        time("updated_at"),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Cache settings made in the UI.
pub const CACHE_CONFIG: Table = Table {
    name: "LiteLLM_CacheConfig",
    columns: &[
        text("id").or("cache_config"),
        json("cache_settings"),
        time("created_at").now(),
        time("updated_at"),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Flags of the UI.
pub const UI_SETTINGS: Table = Table {
    name: "LiteLLM_UISettings",
    columns: &[
        text("id").or("ui_settings"),
        json("ui_settings"),
        time("created_at").now(),
        time("updated_at"),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Other stored settings, by kind.
pub const CONFIG_OVERRIDES: Table = Table {
    name: "LiteLLM_ConfigOverrides",
    columns: &[text("config_type"), json("config_value"), time("created_at").now(), time("updated_at")],
    primary: &["config_type"],
    unique: &[],
    indexes: &[],
    foreign: &[],
};

/// Guardrails made through the API.
pub const GUARDRAILS: Table = Table {
    name: "LiteLLM_GuardrailsTable",
    columns: &[
        text("guardrail_id"),
        text("guardrail_name"),
        json("litellm_params"),
        json("guardrail_info").null(),
        text("team_id").null(),
        time("created_at").now(),
        time("updated_at"),
        text("status").or("active"),
        time("submitted_at").null(),
        time("reviewed_at").null(),
    ],
    primary: &["guardrail_id"],
    unique: &[&["guardrail_name"]],
    indexes: &[&["status"]],
    foreign: &[],
};

/// Registry of vector stores.
pub const MANAGED_VECTOR_STORES: Table = Table {
    name: "LiteLLM_ManagedVectorStoresTable",
    columns: &[
        text("vector_store_id"),
        text("custom_llm_provider"),
        text("vector_store_name").null(),
        text("vector_store_description").null(),
        json("vector_store_metadata").null(),
        time("created_at").now(),
        time("updated_at"),
        text("litellm_credential_name").null(),
        json("litellm_params").null(),
        text("team_id").null(),
        text("user_id").null(),
    ],
    primary: &["vector_store_id"],
    unique: &[],
    indexes: &[&["team_id"], &["user_id"]],
    foreign: &[],
};

/// MCP servers made through the API.
pub const MCP_SERVER: Table = Table {
    name: "LiteLLM_MCPServerTable",
    columns: &[
        text("server_id"),
        text("server_name").null(),
        text("alias").null(),
        text("description").null(),
        text("instructions").null(),
        text("url").null(),
        text("spec_path").null(),
        text("transport").or("sse"),
        text("auth_type").null(),
        json("credentials").null().or("{}"),
        time("created_at").null().now(),
        text("created_by").null(),
        time("updated_at").null().now(),
        text("updated_by").null(),
        json("mcp_info").null().or("{}"),
        list("mcp_access_groups"),
        list("allowed_tools").empty(),
        json("tool_name_to_display_name").null().or("{}"),
        json("tool_name_to_description").null().or("{}"),
        json("pinned_tools").null().or("{}"),
        list("extra_headers").empty(),
        json("static_headers").null().or("{}"),
        json("env_vars").null().or("[]"),
        text("status").null().or("unknown"),
        time("last_health_check").null(),
        text("health_check_error").null(),
        text("command").null(),
        list("args").empty(),
        json("env").null().or("{}"),
        text("issuer").null(),
        text("authorization_url").null(),
        text("token_url").null(),
        text("registration_url").null(),
        text("oauth2_flow").null(),
        text("token_exchange_endpoint").null(),
        text("audience").null(),
        text("subject_token_type").null(),
        text("token_exchange_profile").null(),
        flag("allow_all_keys").or("false"),
        flag("available_on_public_internet").or("true"),
        flag("delegate_auth_to_upstream").or("false"),
        flag("oauth_passthrough").or("false"),
        flag("dcr_bridge").null(),
        flag("per_server_oauth_discovery").or("false"),
        flag("is_byok").or("false"),
        list("byok_description").empty(),
        text("byok_api_key_help_url").null(),
        text("source_url").null(),
        float("timeout").null(),
        int("max_concurrent_requests").null(),
        int("rpm").null(),
        text("approval_status").null().or("active"),
        text("submitted_by").null(),
        time("submitted_at").null(),
        time("reviewed_at").null(),
        text("review_notes").null(),
    ],
    primary: &["server_id"],
    unique: &[],
    indexes: &[&["approval_status"]],
    foreign: &[],
};

/// Results of health checks.
pub const HEALTH_CHECK: Table = Table {
    name: "LiteLLM_HealthCheckTable",
    columns: &[
        text("health_check_id"),
        text("model_name"),
        text("model_id").null(),
        text("status"),
        int("healthy_count").or("0"),
        int("unhealthy_count").or("0"),
        text("error_message").null(),
        float("response_time_ms").null(),
        json("details").null(),
        text("checked_by").null(),
        time("checked_at").now(),
        time("created_at").now(),
        time("updated_at"),
    ],
    primary: &["health_check_id"],
    unique: &[],
    indexes: &[&["model_name"], &["checked_at"], &["status"], &["model_id", "model_name", "checked_at"]],
    foreign: &[],
};
