//! Teams and their members.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::Usd;
use crate::ledger::SubjectKind;
use crate::schema::{Table, identity};

/// A team. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Team {
    pub team_id: String,
    pub team_alias: Option<String>,
    pub organization_id: Option<String>,
    pub object_permission_id: Option<String>,
    pub admins: Vec<String>,
    pub members: Vec<String>,
    /// List of `{"user_id", "role", "user_email"}`.
    pub members_with_roles: Value,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    /// Dollars per budget period.
    pub max_budget: Option<Usd>,
    /// Dollars at which an alert goes out.
    pub soft_budget: Option<Usd>,
    /// Dollars since the last reset.
    pub spend: Usd,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    /// Requests at the same time.
    pub max_parallel_requests: Option<i64>,
    /// Tokens per minute.
    pub tpm_limit: Option<i64>,
    /// Requests per minute.
    pub rpm_limit: Option<i64>,
    /// Tokens per day.
    pub tpd_limit: Option<i64>,
    /// Length of a budget period, e.g. `30d`, `1mo`.
    pub budget_duration: Option<String>,
    /// End of the current budget period.
    pub budget_reset_at: Option<UtcMillis>,
    /// Refuses every request.
    pub blocked: bool,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    pub model_spend: Value,
    pub model_max_budget: Value,
    pub router_settings: Value,
    pub team_member_permissions: Vec<String>,
    pub access_group_ids: Vec<String>,
    pub policies: Vec<String>,
    pub default_team_member_models: Vec<String>,
    pub budget_limits: Value,
    pub model_id: Option<i64>,
    pub allow_team_guardrail_config: bool,
}

impl Record for Team {
    const TABLE: &'static Table = &identity::TEAM;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::Team);
}

/// What is kept of a deleted team. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletedTeam {
    pub id: String,
    pub team_id: String,
    pub team_alias: Option<String>,
    pub organization_id: Option<String>,
    pub object_permission_id: Option<String>,
    pub admins: Vec<String>,
    pub members: Vec<String>,
    /// List of `{"user_id", "role", "user_email"}`.
    pub members_with_roles: Value,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    /// Dollars per budget period.
    pub max_budget: Option<Usd>,
    /// Dollars at which an alert goes out.
    pub soft_budget: Option<Usd>,
    /// Dollars since the last reset.
    pub spend: Usd,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    /// Requests at the same time.
    pub max_parallel_requests: Option<i64>,
    /// Tokens per minute.
    pub tpm_limit: Option<i64>,
    /// Requests per minute.
    pub rpm_limit: Option<i64>,
    /// Tokens per day.
    pub tpd_limit: Option<i64>,
    /// Length of a budget period, e.g. `30d`, `1mo`.
    pub budget_duration: Option<String>,
    /// End of the current budget period.
    pub budget_reset_at: Option<UtcMillis>,
    /// Refuses every request.
    pub blocked: bool,
    pub model_spend: Value,
    pub model_max_budget: Value,
    pub router_settings: Value,
    pub team_member_permissions: Vec<String>,
    pub access_group_ids: Vec<String>,
    pub policies: Vec<String>,
    pub model_id: Option<i64>,
    pub allow_team_guardrail_config: bool,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    pub deleted_at: Option<UtcMillis>,
    pub deleted_by: Option<String>,
    pub deleted_by_api_key: Option<String>,
    pub litellm_changed_by: Option<String>,
}

impl Record for DeletedTeam {
    const TABLE: &'static Table = &identity::DELETED_TEAM;
}

/// Spend and budget of one user inside one team. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TeamMembership {
    pub user_id: String,
    pub team_id: String,
    /// Dollars since the last reset.
    pub spend: Usd,
    /// Dollars over the whole life.
    pub total_spend: Usd,
    pub budget_id: Option<String>,
}

impl Record for TeamMembership {
    const TABLE: &'static Table = &identity::TEAM_MEMBERSHIP;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::Member);
}

/// Model aliases of a team, which points here by `model_id`. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelAliases {
    pub id: i64,
    pub aliases: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: String,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: String,
}

impl Record for ModelAliases {
    const TABLE: &'static Table = &identity::MODEL_ALIASES;
}
