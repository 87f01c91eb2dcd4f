//! Tags.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::Usd;
use crate::ledger::SubjectKind;
use crate::schema::{Table, access};

/// A tag with an optional budget. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tag {
    pub tag_name: String,
    pub description: Option<String>,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    pub model_info: Value,
    /// Dollars since the last reset.
    pub spend: Usd,
    pub budget_id: Option<String>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for Tag {
    const TABLE: &'static Table = &access::TAG;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::Tag);
}
