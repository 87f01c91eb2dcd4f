//! What the API registers: guardrails, vector stores, MCP servers.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::schema::{Table, settings};

/// A guardrail made through the API. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guardrail {
    pub guardrail_id: String,
    pub guardrail_name: String,
    pub litellm_params: Value,
    pub guardrail_info: Value,
    pub team_id: Option<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    pub status: Option<String>,
    pub submitted_at: Option<UtcMillis>,
    pub reviewed_at: Option<UtcMillis>,
}

impl Record for Guardrail {
    const TABLE: &'static Table = &settings::GUARDRAILS;
}

/// A vector store made known to the gateway. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VectorStore {
    pub vector_store_id: String,
    pub custom_llm_provider: String,
    pub vector_store_name: Option<String>,
    pub vector_store_description: Option<String>,
    pub vector_store_metadata: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    pub litellm_credential_name: Option<String>,
    pub litellm_params: Value,
    pub team_id: Option<String>,
    pub user_id: Option<String>,
}

impl Record for VectorStore {
    const TABLE: &'static Table = &settings::MANAGED_VECTOR_STORES;
}

/// An MCP server made through the API. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct McpServer {
    pub server_id: String,
    pub server_name: Option<String>,
    pub alias: Option<String>,
    pub description: Option<String>,
    pub instructions: Option<String>,
    pub url: Option<String>,
    pub spec_path: Option<String>,
    pub transport: Option<String>,
    pub auth_type: Option<String>,
    pub credentials: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: Option<String>,
    pub mcp_info: Value,
    pub mcp_access_groups: Vec<String>,
    pub allowed_tools: Vec<String>,
    pub tool_name_to_display_name: Value,
    pub tool_name_to_description: Value,
    pub pinned_tools: Value,
    pub extra_headers: Vec<String>,
    pub static_headers: Value,
    pub env_vars: Value,
    pub status: Option<String>,
    pub last_health_check: Option<UtcMillis>,
    pub health_check_error: Option<String>,
    pub command: Option<String>,
    pub args: Vec<String>,
    pub env: Value,
    pub issuer: Option<String>,
    pub authorization_url: Option<String>,
    pub token_url: Option<String>,
    pub registration_url: Option<String>,
    pub oauth2_flow: Option<String>,
    pub token_exchange_endpoint: Option<String>,
    pub audience: Option<String>,
    pub subject_token_type: Option<String>,
    pub token_exchange_profile: Option<String>,
    pub allow_all_keys: bool,
    pub available_on_public_internet: Option<bool>,
    pub delegate_auth_to_upstream: bool,
    pub oauth_passthrough: bool,
    pub dcr_bridge: Option<bool>,
    pub per_server_oauth_discovery: bool,
    pub is_byok: bool,
    pub byok_description: Vec<String>,
    pub byok_api_key_help_url: Option<String>,
    pub source_url: Option<String>,
    pub timeout: Option<f64>,
    pub max_concurrent_requests: Option<i64>,
    pub rpm: Option<i64>,
    pub approval_status: Option<String>,
    pub submitted_by: Option<String>,
    pub submitted_at: Option<UtcMillis>,
    pub reviewed_at: Option<UtcMillis>,
    pub review_notes: Option<String>,
}

impl Record for McpServer {
    const TABLE: &'static Table = &settings::MCP_SERVER;
}
