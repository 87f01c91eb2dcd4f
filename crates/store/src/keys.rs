//! Virtual keys: their rows, rotation, deletion.
//!
//! What a request needs to know about a key, all at once, is a [`crate::KeyRecord`].

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::db::{Cell, Tx};
use crate::ledger::{SubjectKind, Windowed, model_budgets, totals, windows};
use crate::record::{self, Patch, Record};
use crate::schema::{Kind, Table, access, identity};
use crate::{Store, StoreError, Usd};

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

/// Who deleted something, for the copy that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleter {
    /// The user.
    pub user: Option<String>,
    /// Hash of the key the request was made with.
    pub api_key: Option<String>,
    /// The value of the `litellm-changed-by` header.
    pub changed_by: Option<String>,
}

/// How a key gets a new secret.
#[derive(Debug, Clone)]
pub struct Rotation<'a> {
    /// The hash in use.
    pub from: &'a str,
    /// The new hash.
    pub to: &'a str,
    /// How long the old one still works; `None` ends it now.
    pub grace_until: Option<UtcMillis>,
    /// Further columns to change, e.g. `key_name`, `rotation_count`, `last_rotation_at`.
    pub patch: Patch,
}

impl Store {
    /// The hashes of all keys, those included that work only until their grace period ends.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn key_hashes(&self) -> Result<Vec<String>, StoreError> {
        let sql = self.db.sql(
            "SELECT token FROM \"LiteLLM_VerificationToken\" UNION SELECT token FROM \"LiteLLM_DeprecatedVerificationToken\"",
        );
        let rows = self.db.fetch(sql, &[Kind::Text]).await?;
        Ok(rows.into_iter().flatten().filter_map(Cell::text).collect())
    }

    /// Gives a key a new hash. Its row, spend and settings stay; requests in flight are booked on it still.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another key has the new hash.
    pub async fn rotate_key(
        &self,
        rotation: Rotation<'_>,
        now: UtcMillis,
    ) -> Result<Option<VirtualKey>, StoreError> {
        let Rotation { from, to, grace_until, patch } = rotation;
        let mut tx = self.db.begin().await?;
        let patch = patch.set("token", to);
        let Some(_) = record::update::<VirtualKey>(&mut tx, &[from], &patch, now).await? else {
            return Ok(None);
        };
        totals::rename(&mut tx, SubjectKind::Key, from, to).await?;
        windows::rename(&mut tx, from, to).await?;
        model_budgets::rename_key(&mut tx, from, to).await?;
        // Older hashes of this key go on to the newest.
        let mut sql = tx.sql("UPDATE \"LiteLLM_DeprecatedVerificationToken\" SET active_token_id = ");
        sql.bind(Kind::Text, to).push(" WHERE active_token_id = ").bind(Kind::Text, from);
        tx.execute(sql).await?;
        // Also without grace: requests in flight carry the old hash and are booked on the new one.
        let old = DeprecatedKey {
            id: uuid::Uuid::now_v7().to_string(),
            token: from.to_owned(),
            active_token_id: to.to_owned(),
            revoke_at: grace_until.unwrap_or(now),
            created_at: Some(now),
        };
        record::insert(&mut tx, &old, now).await?;
        let key = record::get::<VirtualKey>(&mut tx, &[to]).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// Deletes keys and keeps a copy of each, so that old spend can be attributed. Returns what was deleted.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn delete_keys(
        &self,
        tokens: &[&str],
        by: &Deleter,
        now: UtcMillis,
    ) -> Result<Vec<VirtualKey>, StoreError> {
        let mut tx = self.db.begin().await?;
        let gone = delete_keys(&mut tx, tokens, by, now).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

/// As [`Store::delete_keys`], inside a transaction.
pub(crate) async fn delete_keys(
    tx: &mut Tx,
    tokens: &[&str],
    by: &Deleter,
    now: UtcMillis,
) -> Result<Vec<VirtualKey>, StoreError> {
    let mut gone = Vec::with_capacity(tokens.len());
    for token in tokens {
        let Some(key) = record::get::<VirtualKey>(tx, &[token]).await? else { continue };
        record::insert(tx, &copy_of::<VirtualKey, DeletedKey>(&key, by, now)?, now).await?;
        record::delete::<VirtualKey>(tx, &[token]).await?;
        windows::forget(tx, Windowed::Key, token, &[]).await?;
        gone.push(key);
    }
    Ok(gone)
}

/// The copy that is kept of a deleted row: all its columns, and who deleted it when.
pub(crate) fn copy_of<T: Record, Copy: Record>(
    row: &T,
    by: &Deleter,
    now: UtcMillis,
) -> Result<Copy, StoreError> {
    let unreadable = |problem: serde_json::Error| StoreError::Unreadable {
        table: T::TABLE.name,
        problem: problem.to_string(),
    };
    let mut columns = serde_json::to_value(row).map_err(unreadable)?;
    if let Value::Object(columns) = &mut columns {
        columns.insert("id".to_owned(), uuid::Uuid::new_v4().to_string().into());
        columns.insert("deleted_at".to_owned(), now.to_string().into());
        columns.insert("deleted_by".to_owned(), by.user.clone().into());
        columns.insert("deleted_by_api_key".to_owned(), by.api_key.clone().into());
        columns.insert("litellm_changed_by".to_owned(), by.changed_by.clone().into());
    }
    serde_json::from_value(columns).map_err(unreadable)
}
