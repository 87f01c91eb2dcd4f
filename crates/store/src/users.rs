//! Internal users.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::db::Cell;
use crate::keys::delete_keys;
use crate::ledger::{SubjectKind, totals};
use crate::record::{self, Patch, Record, locked};
use crate::schema::{Kind, Table, access, identity};
use crate::{Deleter, Store, StoreError, Team, Usd};

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

impl Store {
    /// Deletes a user with their keys, memberships and invitations, and takes them out of their teams; copies
    /// of the keys are kept. Returns the hashes of the keys that went, or `None` if there is no such user.
    ///
    /// # Errors
    /// When the database is away; nothing is changed then.
    pub async fn delete_user(
        &self,
        user_id: &str,
        by: &Deleter,
        now: UtcMillis,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let mut tx = self.db.begin().await?;
        let Some(user) = locked::<User>(&mut tx, &[user_id]).await? else { return Ok(None) };
        let mut sql = tx.sql("SELECT token FROM \"LiteLLM_VerificationToken\" WHERE user_id = ");
        sql.bind(Kind::Text, user_id);
        let rows = tx.fetch(sql, &[Kind::Text]).await?;
        let tokens: Vec<String> = rows.into_iter().flatten().filter_map(Cell::text).collect();
        delete_keys(&mut tx, &tokens.iter().map(String::as_str).collect::<Vec<_>>(), by, now).await?;
        for team_id in &user.teams {
            let Some(team) = locked::<Team>(&mut tx, &[team_id]).await? else { continue };
            let members: Vec<_> =
                team.members().into_iter().filter(|member| member.user_id != user_id).collect();
            let patch = Patch::new().set("members_with_roles", members);
            record::update::<Team>(&mut tx, &[team_id], &patch, now).await?;
        }
        for (table, columns) in [
            ("LiteLLM_TeamMembership", &["user_id"][..]),
            ("LiteLLM_OrganizationMembership", &["user_id"]),
            ("LiteLLM_InvitationLink", &["user_id", "created_by", "updated_by"]),
        ] {
            for column in columns {
                let mut sql = tx.sql(&format!("DELETE FROM \"{table}\" WHERE {column} = "));
                sql.bind(Kind::Text, user_id);
                tx.execute(sql).await?;
            }
        }
        for kind in [SubjectKind::Member, SubjectKind::OrganizationMember] {
            totals::forget_all(&mut tx, kind, user_id).await?;
        }
        record::delete::<User>(&mut tx, &[user_id]).await?;
        tx.commit().await?;
        Ok(Some(tokens))
    }
}
