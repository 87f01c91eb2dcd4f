//! Organizations, their members, and projects.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::Usd;
use crate::ledger::SubjectKind;
use crate::schema::{Table, identity};

/// An organization. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Organization {
    pub organization_id: String,
    pub organization_alias: String,
    pub budget_id: String,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    /// Dollars since the last reset.
    pub spend: Usd,
    pub model_spend: Value,
    pub object_permission_id: Option<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: String,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: String,
}

impl Record for Organization {
    const TABLE: &'static Table = &identity::ORGANIZATION;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::Organization);
}

/// Role, spend and budget of one user inside one organization. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrganizationMembership {
    pub user_id: String,
    pub organization_id: String,
    pub user_role: Option<String>,
    /// Dollars since the last reset.
    pub spend: Option<Usd>,
    pub budget_id: Option<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for OrganizationMembership {
    const TABLE: &'static Table = &identity::ORGANIZATION_MEMBERSHIP;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::OrganizationMember);
}

/// A project, between team and key. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Project {
    pub project_id: String,
    pub project_alias: Option<String>,
    pub description: Option<String>,
    pub team_id: Option<String>,
    pub budget_id: Option<String>,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    /// Dollars since the last reset.
    pub spend: Usd,
    pub model_spend: Value,
    pub model_rpm_limit: Value,
    pub model_tpm_limit: Value,
    /// Refuses every request.
    pub blocked: bool,
    pub object_permission_id: Option<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: String,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: String,
}

impl Record for Project {
    const TABLE: &'static Table = &identity::PROJECT;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::Project);
}
