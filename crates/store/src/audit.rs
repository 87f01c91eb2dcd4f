//! The audit log.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::schema::{Table, ledger};

/// One change made through the management API. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditLog {
    pub id: String,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    pub changed_by: String,
    pub changed_by_api_key: String,
    pub action: String,
    pub table_name: String,
    pub object_id: String,
    pub before_value: Value,
    pub updated_values: Value,
}

impl Record for AuditLog {
    const TABLE: &'static Table = &ledger::AUDIT_LOG;
}
