//! Keeps the log from growing for ever, and forgets a person on request.

use faregate_terms::UtcMillis;
use serde::Serialize;

use super::SpendLog;
use crate::record::update;
use crate::schema::Kind;
use crate::{AuditLog, Filter, ListQuery, Order, Patch, Store, StoreError, TeamMembership, User, VirtualKey};

/// What takes the place of a person's id in rows that are kept for their sums.
pub const ANONYMOUS: &str = "anonymized-user";

/// What happens to the request log of a person who is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// Rows stay for their sums; who, from where and what was said go.
    Anonymize,
    /// Rows go. Daily aggregates and totals keep their sums, under no name.
    Remove,
}

/// Everything stored about one user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UserExport {
    /// The user's row, without the password.
    pub user: User,
    /// Their keys.
    pub keys: Vec<VirtualKey>,
    /// Their places in teams.
    pub memberships: Vec<TeamMembership>,
    /// Changes they made.
    pub audit_log: Vec<AuditLog>,
    /// Their requests, newest first; fewer than all when there are more than `limit`.
    pub requests: Vec<SpendLog>,
    /// How many requests there are in all.
    pub request_count: u64,
}

impl Store {
    /// Deletes log rows older than `before`, at most `limit` of them; call again until it returns fewer.
    /// Only a small part is locked at a time, so that settlement goes on beside it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn delete_logs_before(&self, before: UtcMillis, limit: u32) -> Result<u64, StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"LiteLLM_SpendLogs\" WHERE request_id IN (");
        sql.push("SELECT request_id FROM \"LiteLLM_SpendLogs\" WHERE \"startTime\" < ")
            .bind(Kind::Time, before);
        sql.push(" ORDER BY \"startTime\" LIMIT ").bind(Kind::Big, i64::from(limit)).push(")");
        self.db.execute(sql).await
    }

    /// Deletes audit rows older than `before`, at most `limit` of them.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn delete_audit_before(&self, before: UtcMillis, limit: u32) -> Result<u64, StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"LiteLLM_AuditLog\" WHERE id IN (");
        sql.push("SELECT id FROM \"LiteLLM_AuditLog\" WHERE updated_at < ").bind(Kind::Time, before);
        sql.push(" LIMIT ").bind(Kind::Big, i64::from(limit)).push(")");
        self.db.execute(sql).await
    }

    /// Deletes health checks older than `before`, at most `limit` of them.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn delete_health_checks_before(
        &self,
        before: UtcMillis,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"LiteLLM_HealthCheckTable\" WHERE health_check_id IN (");
        sql.push("SELECT health_check_id FROM \"LiteLLM_HealthCheckTable\" WHERE checked_at < ")
            .bind(Kind::Time, before);
        sql.push(" LIMIT ").bind(Kind::Big, i64::from(limit)).push(")");
        self.db.execute(sql).await
    }

    /// Everything stored about a user, with at most `limit` requests; `None` if there is no such user.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn export_user(&self, user_id: &str, limit: u64) -> Result<Option<UserExport>, StoreError> {
        let Some(mut user) = self.get::<User>(&[user_id]).await? else { return Ok(None) };
        user.password = None;
        let of = |column| ListQuery::new().filter(Filter::Is(column, user_id.into())).page(1, limit);
        let requests = self.list::<SpendLog>(&of("user").sort("startTime", Order::Down)).await?;
        Ok(Some(UserExport {
            keys: self.list(&of("user_id").uncounted()).await?.rows,
            memberships: self.list(&of("user_id").uncounted()).await?.rows,
            audit_log: self.list(&of("changed_by").uncounted()).await?.rows,
            requests: requests.rows,
            request_count: requests.total,
            user,
        }))
    }

    /// Takes a user out of the request log, at most `limit` rows; call again until it returns zero. The user's
    /// row, keys and memberships are the caller's to delete ([`Store::delete_user`]).
    ///
    /// # Errors
    /// When the database is away.
    pub async fn erase_user_logs(&self, user_id: &str, how: Erasure, limit: u32) -> Result<u64, StoreError> {
        let mut sql = match how {
            Erasure::Remove => self.db.sql("DELETE FROM \"LiteLLM_SpendLogs\" WHERE request_id IN ("),
            Erasure::Anonymize => {
                let mut sql = self.db.sql("UPDATE \"LiteLLM_SpendLogs\" SET \"user\" = ");
                sql.bind(Kind::Text, ANONYMOUS)
                    .push(", end_user = '', requester_ip_address = NULL, metadata = ");
                sql.bind(Kind::Json, "{}");
                for column in ["messages", "response", "proxy_server_request"] {
                    sql.push(&format!(", {column} = ")).bind(Kind::Json, "{}");
                }
                sql.push(" WHERE request_id IN (");
                sql
            }
        };
        sql.push("SELECT request_id FROM \"LiteLLM_SpendLogs\" WHERE \"user\" = ").bind(Kind::Text, user_id);
        sql.push(" LIMIT ").bind(Kind::Big, i64::from(limit)).push(")");
        self.db.execute(sql).await
    }

    /// Moves a user's daily aggregates to a pseudonym of its own that leads back to nobody.
    ///
    /// # Errors
    /// When the database is away; nothing is changed then.
    pub async fn erase_user_days(&self, user_id: &str, now: UtcMillis) -> Result<u64, StoreError> {
        let mut tx = self.db.begin().await?;
        let pseudonym = format!("{ANONYMOUS}-{}", uuid::Uuid::new_v4().simple());
        let mut sql = tx.sql("UPDATE \"LiteLLM_DailyUserSpend\" SET user_id = ");
        sql.bind(Kind::Text, pseudonym).push(", updated_at = ").bind(Kind::Time, now);
        sql.push(" WHERE user_id = ").bind(Kind::Text, user_id);
        let moved = tx.execute(sql).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// Blanks the user's name and address in their own row, for those who keep the row for its keys.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn anonymize_user(&self, user_id: &str, now: UtcMillis) -> Result<Option<User>, StoreError> {
        let mut tx = self.db.begin().await?;
        let none = None::<String>;
        let patch = Patch::new()
            .set("user_alias", &none)
            .set("user_email", &none)
            .set("sso_user_id", &none)
            .set("password", &none)
            .set("metadata", serde_json::json!({}));
        let user = update::<User>(&mut tx, &[user_id], &patch, now).await?;
        tx.commit().await?;
        Ok(user)
    }
}
