//! Teams and their members.

use std::collections::BTreeSet;

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::db::{Cell, Tx};
use crate::keys::{copy_of, delete_keys};
use crate::ledger::{SubjectKind, Windowed, windows};
use crate::record::{self, Patch, Record, locked};
use crate::schema::{Kind, Table, identity};
use crate::{Deleter, Store, StoreError, Usd, User};

/// A team. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Team {
    pub team_id: String,
    pub team_alias: Option<String>,
    pub organization_id: Option<String>,
    pub object_permission_id: Option<String>,
    pub admins: Vec<String>,
    pub members: Vec<String>,
    /// List of `{"user_id", "role", "user_email"}`.
    pub members_with_roles: Value,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    /// Dollars per budget period.
    pub max_budget: Option<Usd>,
    /// Dollars at which an alert goes out.
    pub soft_budget: Option<Usd>,
    /// Dollars since the last reset.
    pub spend: Usd,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    /// Requests at the same time.
    pub max_parallel_requests: Option<i64>,
    /// Tokens per minute.
    pub tpm_limit: Option<i64>,
    /// Requests per minute.
    pub rpm_limit: Option<i64>,
    /// Tokens per day.
    pub tpd_limit: Option<i64>,
    /// Length of a budget period, e.g. `30d`, `1mo`.
    pub budget_duration: Option<String>,
    /// End of the current budget period.
    pub budget_reset_at: Option<UtcMillis>,
    /// Refuses every request.
    pub blocked: bool,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    pub model_spend: Value,
    pub model_max_budget: Value,
    pub router_settings: Value,
    pub team_member_permissions: Vec<String>,
    pub access_group_ids: Vec<String>,
    pub policies: Vec<String>,
    pub default_team_member_models: Vec<String>,
    pub budget_limits: Value,
    pub model_id: Option<i64>,
    pub allow_team_guardrail_config: bool,
}

impl Record for Team {
    const TABLE: &'static Table = &identity::TEAM;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::Team);
}

/// What is kept of a deleted team. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletedTeam {
    pub id: String,
    pub team_id: String,
    pub team_alias: Option<String>,
    pub organization_id: Option<String>,
    pub object_permission_id: Option<String>,
    pub admins: Vec<String>,
    pub members: Vec<String>,
    /// List of `{"user_id", "role", "user_email"}`.
    pub members_with_roles: Value,
    /// Free members, and settings without a column of their own.
    pub metadata: Value,
    /// Dollars per budget period.
    pub max_budget: Option<Usd>,
    /// Dollars at which an alert goes out.
    pub soft_budget: Option<Usd>,
    /// Dollars since the last reset.
    pub spend: Usd,
    /// Model names and access groups that may be used; empty means all.
    pub models: Vec<String>,
    /// Requests at the same time.
    pub max_parallel_requests: Option<i64>,
    /// Tokens per minute.
    pub tpm_limit: Option<i64>,
    /// Requests per minute.
    pub rpm_limit: Option<i64>,
    /// Tokens per day.
    pub tpd_limit: Option<i64>,
    /// Length of a budget period, e.g. `30d`, `1mo`.
    pub budget_duration: Option<String>,
    /// End of the current budget period.
    pub budget_reset_at: Option<UtcMillis>,
    /// Refuses every request.
    pub blocked: bool,
    pub model_spend: Value,
    pub model_max_budget: Value,
    pub router_settings: Value,
    pub team_member_permissions: Vec<String>,
    pub access_group_ids: Vec<String>,
    pub policies: Vec<String>,
    pub model_id: Option<i64>,
    pub allow_team_guardrail_config: bool,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    pub deleted_at: Option<UtcMillis>,
    pub deleted_by: Option<String>,
    pub deleted_by_api_key: Option<String>,
    pub litellm_changed_by: Option<String>,
}

impl Record for DeletedTeam {
    const TABLE: &'static Table = &identity::DELETED_TEAM;
}

/// Spend and budget of one user inside one team. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TeamMembership {
    pub user_id: String,
    pub team_id: String,
    /// Dollars since the last reset.
    pub spend: Usd,
    /// Dollars over the whole life.
    pub total_spend: Usd,
    pub budget_id: Option<String>,
}

impl Record for TeamMembership {
    const TABLE: &'static Table = &identity::TEAM_MEMBERSHIP;
    const SUBJECT: Option<SubjectKind> = Some(SubjectKind::Member);
}

/// Model aliases of a team, which points here by `model_id`. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelAliases {
    pub id: i64,
    pub aliases: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// Who made it.
    pub created_by: String,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
    /// Who last changed it.
    pub updated_by: String,
}

impl Record for ModelAliases {
    const TABLE: &'static Table = &identity::MODEL_ALIASES;
}

/// A place in a team, as `members_with_roles` holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamMember {
    /// The user.
    pub user_id: String,
    /// `admin` or `user`.
    pub role: String,
    /// Their address, when they were named by it.
    #[serde(default)]
    pub user_email: Option<String>,
}

impl Team {
    /// Who is in the team. What is not a member's entry is passed over: LiteLLM's default is an empty object.
    pub fn members(&self) -> Vec<TeamMember> {
        let entries = self.members_with_roles.as_array().into_iter().flatten();
        entries.filter_map(|entry| serde_json::from_value(entry.clone()).ok()).collect()
    }
}

impl Store {
    /// Puts a user into a team, or changes their role or budget there. Touches the team's list, the user's
    /// list (if the user exists) and the membership row, all or nothing. `None` if there is no such team.
    ///
    /// # Errors
    /// [`StoreError::Reference`] when the budget does not exist.
    pub async fn add_team_member(
        &self,
        team_id: &str,
        member: &TeamMember,
        budget_id: Option<&str>,
        now: UtcMillis,
    ) -> Result<Option<Team>, StoreError> {
        let mut tx = self.db.begin().await?;
        let Some(team) = locked::<Team>(&mut tx, &[team_id]).await? else { return Ok(None) };
        let mut members = team.members();
        members.retain(|present| present.user_id != member.user_id);
        members.push(member.clone());
        let team = record::update::<Team>(
            &mut tx,
            &[team_id],
            &Patch::new().set("members_with_roles", members),
            now,
        )
        .await?;
        if let Some(user) = locked::<User>(&mut tx, &[&member.user_id]).await?
            && !user.teams.iter().any(|team| team == team_id)
        {
            let teams = [user.teams, vec![team_id.to_owned()]].concat();
            record::update::<User>(&mut tx, &[&member.user_id], &Patch::new().set("teams", teams), now)
                .await?;
        }
        let key = [member.user_id.as_str(), team_id];
        if record::get::<TeamMembership>(&mut tx, &key).await?.is_none() {
            let row = TeamMembership {
                user_id: member.user_id.clone(),
                team_id: team_id.to_owned(),
                budget_id: budget_id.map(str::to_owned),
                ..TeamMembership::default()
            };
            record::insert(&mut tx, &row, now).await?;
        } else if budget_id.is_some() {
            record::update::<TeamMembership>(&mut tx, &key, &Patch::new().set("budget_id", budget_id), now)
                .await?;
        }
        tx.commit().await?;
        Ok(team)
    }

    /// Takes a user out of a team: out of its list, their own list, and the membership. `None` if there is no
    /// such team.
    ///
    /// # Errors
    /// When the database is away; nothing is changed then.
    pub async fn remove_team_member(
        &self,
        team_id: &str,
        user_id: &str,
        now: UtcMillis,
    ) -> Result<Option<Team>, StoreError> {
        let mut tx = self.db.begin().await?;
        let Some(team) = locked::<Team>(&mut tx, &[team_id]).await? else { return Ok(None) };
        let mut members = team.members();
        members.retain(|member| member.user_id != user_id);
        let patch = Patch::new().set("members_with_roles", members);
        let team = record::update::<Team>(&mut tx, &[team_id], &patch, now).await?;
        leave(&mut tx, team_id, user_id, now).await?;
        record::delete::<TeamMembership>(&mut tx, &[user_id, team_id]).await?;
        tx.commit().await?;
        Ok(team)
    }

    /// Deletes a team with its keys, memberships and aliases; copies of the team and its keys are kept.
    /// Returns the hashes of the keys that went, or `None` if there is no such team.
    ///
    /// # Errors
    /// [`StoreError::Reference`] while a project belongs to the team and may not be left without one.
    pub async fn delete_team(
        &self,
        team_id: &str,
        by: &Deleter,
        now: UtcMillis,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let mut tx = self.db.begin().await?;
        let Some(team) = locked::<Team>(&mut tx, &[team_id]).await? else { return Ok(None) };
        let mut sql = tx.sql("SELECT token FROM \"LiteLLM_VerificationToken\" WHERE team_id = ");
        sql.bind(Kind::Text, team_id);
        let rows = tx.fetch(sql, &[Kind::Text]).await?;
        let tokens: Vec<String> = rows.into_iter().flatten().filter_map(Cell::text).collect();
        delete_keys(&mut tx, &tokens.iter().map(String::as_str).collect::<Vec<_>>(), by, now).await?;
        let mut sql = tx.sql("SELECT user_id FROM \"LiteLLM_TeamMembership\" WHERE team_id = ");
        sql.bind(Kind::Text, team_id);
        let rows = tx.fetch(sql, &[Kind::Text]).await?;
        let mut users: BTreeSet<String> = rows.into_iter().flatten().filter_map(Cell::text).collect();
        users.extend(team.members().into_iter().map(|member| member.user_id));
        for user in users {
            leave(&mut tx, team_id, &user, now).await?;
            record::delete::<TeamMembership>(&mut tx, &[&user, team_id]).await?;
        }
        record::insert(&mut tx, &copy_of::<Team, DeletedTeam>(&team, by, now)?, now).await?;
        record::delete::<Team>(&mut tx, &[team_id]).await?;
        windows::forget(&mut tx, Windowed::Team, team_id, &[]).await?;
        if let Some(aliases) = team.model_id {
            record::delete::<ModelAliases>(&mut tx, &[&aliases.to_string()]).await?;
        }
        tx.commit().await?;
        Ok(Some(tokens))
    }
}

/// Takes the team out of the user's own list.
async fn leave(tx: &mut Tx, team_id: &str, user_id: &str, now: UtcMillis) -> Result<(), StoreError> {
    let Some(user) = locked::<User>(tx, &[user_id]).await? else { return Ok(()) };
    if !user.teams.iter().any(|team| team == team_id) {
        return Ok(());
    }
    let teams: Vec<String> = user.teams.into_iter().filter(|team| team != team_id).collect();
    record::update::<User>(tx, &[user_id], &Patch::new().set("teams", teams), now).await.map(drop)
}
