//! Who may reach what: access groups and object permissions.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::schema::{Table, access};

/// Models, MCP servers and agents, and who holds them. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessGroup {
    pub access_group_id: String,
    pub access_group_name: String,
    pub description: Option<String>,
    pub access_model_names: Vec<String>,
    pub access_mcp_server_ids: Vec<String>,
    pub access_agent_ids: Vec<String>,
    pub assigned_team_ids: Vec<String>,
    pub assigned_key_ids: Vec<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: Option<String>,
}

impl Record for AccessGroup {
    const TABLE: &'static Table = &access::ACCESS_GROUP;
}

/// Allow lists for MCP servers, vector stores, agents and models. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectPermission {
    pub object_permission_id: String,
    pub mcp_servers: Vec<String>,
    pub mcp_access_groups: Vec<String>,
    pub mcp_tool_permissions: Value,
    pub vector_stores: Vec<String>,
    pub agents: Vec<String>,
    pub agent_access_groups: Vec<String>,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    pub blocked_tools: Vec<String>,
    pub mcp_toolsets: Vec<String>,
    pub search_tools: Vec<String>,
    pub mcp_tool_search_enabled: Option<bool>,
    pub skills: Vec<String>,
}

impl Record for ObjectPermission {
    const TABLE: &'static Table = &access::OBJECT_PERMISSION;
}
