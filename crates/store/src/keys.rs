//! Virtual keys.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::Usd;
use crate::ledger::SubjectKind;
use crate::schema::{Table, access, identity};

/// A virtual key. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VirtualKey {
    /// SHA-256 of the plain key, lower-case hex.
    pub token: String,
    /// `sk-...` and the last four characters.
    pub key_name: Option<String>,
    pub key_alias: Option<String>,
    pub soft_budget_cooldown: bool,
    /// Dollars since the last reset.
    pub spend: Usd,
    /// Dollars over the whole life.
    pub total_spend: Usd,
    /// End of validity; absent means never.
    pub expires: Option<UtcMillis>,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    pub aliases: Value,
    pub config: Value,
    pub router_settings: Value,
    pub user_id: Option<String>,
    pub team_id: Option<String>,
    pub agent_id: Option<String>,
    pub project_id: Option<String>,
    pub permissions: Value,
    /// Requests at the same time.
    pub max_parallel_requests: Option<i64>,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    /// Refuses every request.
    pub blocked: Option<bool>,
    /// Tokens per minute.
    pub tpm_limit: Option<i64>,
    /// Requests per minute.
    pub rpm_limit: Option<i64>,
    /// Tokens per day.
    pub tpd_limit: Option<i64>,
    /// Dollars per budget period.
    pub max_budget: Option<Usd>,
    /// Length of a budget period, e.g. `30d`, `1mo`.
    pub budget_duration: Option<String>,
    /// End of the current budget period.
    pub budget_reset_at: Option<UtcMillis>,
    pub allowed_cache_controls: Vec<String>,
    pub allowed_routes: Vec<String>,
    pub key_type: Option<String>,
    pub policies: Vec<String>,
    pub access_group_ids: Vec<String>,
    pub model_spend: Value,
    pub model_max_budget: Value,
    pub budget_fallbacks: Value,
    pub budget_id: Option<String>,
    pub organization_id: Option<String>,
    pub object_permission_id: Option<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: Option<String>,
    pub settings_updated_at: Option<UtcMillis>,
    pub last_active: Option<UtcMillis>,
    pub rotation_count: Option<i64>,
    pub auto_rotate: Option<bool>,
    pub rotation_interval: Option<String>,
    pub last_rotation_at: Option<UtcMillis>,
    pub key_rotation_at: Option<UtcMillis>,
    pub budget_limits: Value,
}

impl Record for VirtualKey {
    const TABLE: &'static Table = &identity::VERIFICATION_TOKEN;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::Key);
}

/// What is kept of a deleted key. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletedKey {
    pub id: String,
    /// SHA-256 of the plain key, lower-case hex.
    pub token: String,
    /// `sk-...` and the last four characters.
    pub key_name: Option<String>,
    pub key_alias: Option<String>,
    pub soft_budget_cooldown: bool,
    /// Dollars since the last reset.
    pub spend: Usd,
    /// Dollars over the whole life.
    pub total_spend: Usd,
    /// End of validity; absent means never.
    pub expires: Option<UtcMillis>,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    pub aliases: Value,
    pub config: Value,
    pub user_id: Option<String>,
    pub team_id: Option<String>,
    pub agent_id: Option<String>,
    pub project_id: Option<String>,
    pub permissions: Value,
    /// Requests at the same time.
    pub max_parallel_requests: Option<i64>,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    /// Refuses every request.
    pub blocked: Option<bool>,
    /// Tokens per minute.
    pub tpm_limit: Option<i64>,
    /// Requests per minute.
    pub rpm_limit: Option<i64>,
    /// Tokens per day.
    pub tpd_limit: Option<i64>,
    /// Dollars per budget period.
    pub max_budget: Option<Usd>,
    /// Length of a budget period, e.g. `30d`, `1mo`.
    pub budget_duration: Option<String>,
    /// End of the current budget period.
    pub budget_reset_at: Option<UtcMillis>,
    pub allowed_cache_controls: Vec<String>,
    pub allowed_routes: Vec<String>,
    pub key_type: Option<String>,
    pub policies: Vec<String>,
    pub access_group_ids: Vec<String>,
    pub model_spend: Value,
    pub model_max_budget: Value,
    pub budget_fallbacks: Value,
    pub router_settings: Value,
    pub budget_id: Option<String>,
    pub organization_id: Option<String>,
    pub object_permission_id: Option<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: Option<String>,
    pub settings_updated_at: Option<UtcMillis>,
    pub last_active: Option<UtcMillis>,
    pub rotation_count: Option<i64>,
    pub auto_rotate: Option<bool>,
    pub rotation_interval: Option<String>,
    pub last_rotation_at: Option<UtcMillis>,
    pub key_rotation_at: Option<UtcMillis>,
    pub deleted_at: Option<UtcMillis>,
    pub deleted_by: Option<String>,
    pub deleted_by_api_key: Option<String>,
    pub litellm_changed_by: Option<String>,
}

impl Record for DeletedKey {
    const TABLE: &'static Table = &identity::DELETED_VERIFICATION_TOKEN;
}

/// A hash that stays valid for a while after a rotation. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeprecatedKey {
    pub id: String,
    /// SHA-256 of the plain key, lower-case hex.
    pub token: String,
    /// The hash that replaced it.
    pub active_token_id: String,
    /// Until when the old hash works.
    pub revoke_at: UtcMillis,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
}

impl Record for DeprecatedKey {
    const TABLE: &'static Table = &identity::DEPRECATED_VERIFICATION_TOKEN;
}

/// A JWT claim that stands for a virtual key. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JwtKeyMapping {
    pub id: String,
    pub jwt_issuer: String,
    pub jwt_claim_name: String,
    pub jwt_claim_value: String,
    /// SHA-256 of the plain key, lower-case hex.
    pub token: String,
    pub description: Option<String>,
    pub is_active: Option<bool>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: Option<String>,
}

impl Record for JwtKeyMapping {
    const TABLE: &'static Table = &access::JWT_KEY_MAPPING;
}
