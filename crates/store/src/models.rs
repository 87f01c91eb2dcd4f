//! Deployments stored in the database, credentials, and health.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StoreError;
use crate::schema::{Table, settings};
use crate::{Record, Store, record};

/// A deployment; secrets inside `litellm_params` are sealed. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProxyModel {
    pub model_id: String,
    pub model_name: String,
    pub litellm_params: Value,
    pub model_info: Value,
    /// Refuses every request.
    pub blocked: bool,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: String,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: String,
}

impl Record for ProxyModel {
    const TABLE: &'static Table = &settings::PROXY_MODEL;
}

/// An upstream credential; each value is sealed. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credential {
    pub credential_id: String,
    pub credential_name: String,
    pub display_name: Option<String>,
    pub credential_values: Value,
    pub credential_info: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: String,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: String,
}

impl Record for Credential {
    const TABLE: &'static Table = &settings::CREDENTIALS;
}

/// The result of one health check. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    pub health_check_id: String,
    pub model_name: String,
    pub model_id: Option<String>,
    pub status: String,
    pub healthy_count: i64,
    pub unhealthy_count: i64,
    pub error_message: Option<String>,
    pub response_time_ms: Option<f64>,
    pub details: Value,
    pub checked_by: Option<String>,
    pub checked_at: Option<UtcMillis>,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for HealthCheck {
    const TABLE: &'static Table = &settings::HEALTH_CHECK;
}

impl Store {
    /// The newest check of every deployment, and of every name that was checked without one.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn latest_health_checks(&self) -> Result<Vec<HealthCheck>, StoreError> {
        let columns = HealthCheck::TABLE.columns;
        let mut sql = self.db.sql("SELECT ");
        sql.select("t", columns).push(
            " FROM (SELECT h.*, ROW_NUMBER() OVER (PARTITION BY model_id, model_name ORDER BY checked_at DESC) AS place \
             FROM \"LiteLLM_HealthCheckTable\" AS h) AS t WHERE t.place = 1",
        );
        let rows = self.db.report(sql, &record::kinds(columns)).await?;
        rows.into_iter().map(record::decode).collect()
    }
}
