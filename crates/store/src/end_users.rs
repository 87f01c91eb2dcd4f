//! End users ("customers").

use serde::{Deserialize, Serialize};

use crate::Record;
use crate::Usd;
use crate::ledger::SubjectKind;
use crate::schema::{Table, identity};

/// An end user. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndUser {
    pub user_id: String,
    pub alias: Option<String>,
    /// Dollars since the last reset.
    pub spend: Usd,
    pub allowed_model_region: Option<String>,
    pub default_model: Option<String>,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    pub budget_id: Option<String>,
    pub object_permission_id: Option<String>,
    /// Refuses every request.
    pub blocked: bool,
}

impl Record for EndUser {
    const TABLE: &'static Table = &identity::END_USER;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::EndUser);
}
