//! Internal users.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::Usd;
use crate::ledger::SubjectKind;
use crate::schema::{Table, access, identity};

/// An internal user. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    pub user_id: String,
    pub user_alias: Option<String>,
    pub team_id: Option<String>,
    pub sso_user_id: Option<String>,
    pub organization_id: Option<String>,
    pub object_permission_id: Option<String>,
    /// `scrypt:` and base64 of salt and derived key.
    pub password: Option<String>,
    pub password_reset_required: Option<bool>,
    pub last_breach_check_at: Option<UtcMillis>,
    pub teams: Vec<String>,
    pub user_role: Option<String>,
    /// Dollars per budget period.
    pub max_budget: Option<Usd>,
    /// Dollars since the last reset.
    pub spend: Usd,
    pub user_email: Option<String>,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    /// Requests at the same time.
    pub max_parallel_requests: Option<i64>,
    /// Tokens per minute.
    pub tpm_limit: Option<i64>,
    /// Requests per minute.
    pub rpm_limit: Option<i64>,
    /// Length of a budget period, e.g. `30d`, `1mo`.
    pub budget_duration: Option<String>,
    /// End of the current budget period.
    pub budget_reset_at: Option<UtcMillis>,
    pub allowed_cache_controls: Vec<String>,
    pub policies: Vec<String>,
    pub model_spend: Value,
    pub model_max_budget: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for User {
    const TABLE: &'static Table = &identity::USER;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::User);
}

/// An invitation to the UI. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Invitation {
    pub id: String,
    pub user_id: String,
    pub is_accepted: bool,
    pub accepted_at: Option<UtcMillis>,
    pub expires_at: UtcMillis,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: String,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: String,
}

impl Record for Invitation {
    const TABLE: &'static Table = &access::INVITATION_LINK;
}

/// A request for access to models. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserNotification {
    pub request_id: String,
    pub user_id: String,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    pub justification: String,
    pub status: String,
}

impl Record for UserNotification {
    const TABLE: &'static Table = &access::USER_NOTIFICATIONS;
}
