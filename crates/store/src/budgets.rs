//! Budgets that other rows point to.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::Usd;
use crate::ledger::SubjectKind;
use crate::schema::{Table, access};

/// A budget. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    pub budget_id: String,
    /// Dollars per budget period.
    pub max_budget: Option<Usd>,
    /// Dollars at which an alert goes out.
    pub soft_budget: Option<Usd>,
    /// Requests at the same time.
    pub max_parallel_requests: Option<i64>,
    /// Tokens per minute.
    pub tpm_limit: Option<i64>,
    /// Requests per minute.
    pub rpm_limit: Option<i64>,
    /// Tokens per day.
    pub tpd_limit: Option<i64>,
    pub model_max_budget: Value,
    /// Length of a budget period, e.g. `30d`, `1mo`.
    pub budget_duration: Option<String>,
    /// End of the current budget period.
    pub budget_reset_at: Option<UtcMillis>,
    pub allowed_models: Vec<String>,
    pub temp_budget_increase: Option<Usd>,
    pub temp_budget_expiry: Option<UtcMillis>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: String,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: String,
}

impl Record for Budget {
    const TABLE: &'static Table = &access::BUDGET;
}

/// Spend and budget of a model access group. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessGroupBudget {
    pub access_group_name: String,
    /// Dollars since the last reset.
    pub spend: Usd,
    pub budget_id: Option<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: Option<String>,
}

impl Record for AccessGroupBudget {
    const TABLE: &'static Table = &access::MODEL_ACCESS_GROUP_BUDGET;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::AccessGroup);
}

/// Spend in one of several windows of a key or team. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetWindowSpend {
    pub entity_type: String,
    pub entity_id: String,
    pub window_duration: String,
    pub window_start: UtcMillis,
    /// Dollars since the last reset.
    pub spend: Usd,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for BudgetWindowSpend {
    const TABLE: &'static Table = &access::BUDGET_WINDOW_SPEND;
}
