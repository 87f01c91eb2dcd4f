//! The same days as lines: keys with what they spent, and tables for spreadsheets.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{ActivityQuery, DayRow, Metrics, PART};
use crate::db::Cell;
use crate::ledger::SubjectKind;
use crate::schema::Kind;
use crate::{Store, StoreError};

/// Ids per statement.
const CHUNK: usize = 1000;

/// Whose a key is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyOwner {
    /// Its alias.
    pub key_alias: Option<String>,
    /// Its team.
    pub team_id: Option<String>,
    /// Its user.
    pub user_id: Option<String>,
    /// The user's address.
    pub user_email: Option<String>,
    /// False once it is deleted.
    pub key_exists: Option<bool>,
}

/// What a day is taken apart by, beside whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinesBy {
    /// Nothing more.
    Day,
    /// Keys.
    Key,
    /// Names sent to the provider.
    Model,
    /// Owners of the keys.
    User,
}

/// One line of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivityLine {
    /// `2026-01-31`.
    pub date: String,
    /// Whose: a user's, team's, tag's... id.
    pub entity: String,
    /// A team's or organization's alias.
    pub alias: Option<String>,
    /// Hash of the key, by [`LinesBy::Key`].
    pub api_key: Option<String>,
    /// Whose that is; of [`LinesBy::User`], the user alone.
    pub owner: KeyOwner,
    /// By [`LinesBy::Model`].
    pub model: Option<String>,
    /// The sums.
    pub metrics: Metrics,
}

impl Store {
    /// Keys with what they spent, most first. What was spent without a key stands under an empty one.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn key_activity(
        &self,
        kind: SubjectKind,
        query: &ActivityQuery,
    ) -> Result<Vec<(String, Metrics)>, StoreError> {
        let mut by_key: BTreeMap<String, Metrics> = BTreeMap::new();
        let add = |row: DayRow| {
            by_key.entry(row.api_key).or_default().add(&row.metrics);
            true
        };
        self.each_row(kind, query, add).await?;
        let mut keys: Vec<(String, Metrics)> = by_key.into_iter().collect();
        // Stable: keys that spent the same stay in the order of their hashes.
        keys.sort_by_key(|(_, metrics)| std::cmp::Reverse(metrics.spend.0));
        Ok(keys)
    }

    /// Lines in the order of days, then of whose they are; `None` if there are more than `most`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn activity_lines(
        &self,
        kind: SubjectKind,
        query: &ActivityQuery,
        by: LinesBy,
        most: usize,
    ) -> Result<Option<Vec<ActivityLine>>, StoreError> {
        let mut sums: BTreeMap<(String, String, String), Metrics> = BTreeMap::new();
        let add = |row: DayRow| {
            let part = match by {
                LinesBy::Day => String::new(),
                LinesBy::Key | LinesBy::User => row.api_key,
                LinesBy::Model => row.model,
            };
            sums.entry((row.date, row.entity, part)).or_default().add(&row.metrics);
            sums.len() <= most
        };
        if !self.each_row(kind, query, add).await? {
            return Ok(None);
        }
        let owners = match by {
            LinesBy::Key | LinesBy::User => {
                self.key_owners(&sums.keys().map(|(_, _, key)| key.as_str()).collect()).await?
            }
            LinesBy::Day | LinesBy::Model => BTreeMap::new(),
        };
        if by == LinesBy::User {
            sums = of_users(sums, &owners);
        }
        let emails: BTreeMap<&str, &KeyOwner> =
            owners.values().filter_map(|owner| Some((owner.user_id.as_deref()?, owner))).collect();
        let aliases =
            self.aliases(kind, &sums.keys().map(|(_, entity, _)| entity.as_str()).collect()).await?;
        let line = |((date, entity, part), metrics): ((String, String, String), Metrics)| {
            let mut line = ActivityLine {
                alias: aliases.get(&entity).cloned(),
                date,
                entity,
                metrics,
                ..ActivityLine::default()
            };
            match by {
                LinesBy::Day => {}
                LinesBy::Model => line.model = Some(part),
                LinesBy::Key => {
                    line.owner = owners.get(&part).cloned().unwrap_or_default();
                    line.api_key = Some(part);
                }
                LinesBy::User => {
                    line.owner.user_email = emails.get(part.as_str()).and_then(|it| it.user_email.clone());
                    line.owner.user_id = (!part.is_empty()).then_some(part);
                }
            }
            line
        };
        Ok(Some(sums.into_iter().map(line).collect()))
    }

    /// Whose keys are, deleted ones included.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn key_owners(&self, keys: &BTreeSet<&str>) -> Result<BTreeMap<String, KeyOwner>, StoreError> {
        let mut owners = BTreeMap::new();
        let keys: Vec<&str> = keys.iter().copied().filter(|key| !key.is_empty()).collect();
        for chunk in keys.chunks(CHUNK) {
            // Living keys come last and win.
            for (table, lives) in
                [("LiteLLM_DeletedVerificationToken", false), ("LiteLLM_VerificationToken", true)]
            {
                let mut sql =
                    self.db.sql("SELECT k.token, k.key_alias, k.team_id, k.user_id, u.user_email ").once();
                sql.push(&format!("FROM \"{table}\" AS k LEFT JOIN \"LiteLLM_UserTable\" AS u "));
                sql.push("ON u.user_id = k.user_id WHERE k.token IN ");
                sql.bind_list(Kind::Text, chunk.iter().copied());
                for row in self.db.report(sql, &[Kind::Text; 5]).await? {
                    let mut texts = row.into_iter().map(Cell::text);
                    let mut next = || texts.next().flatten();
                    let Some(token) = next() else { continue };
                    let (key_alias, team_id, user_id, user_email) = (next(), next(), next(), next());
                    let owner = KeyOwner { key_alias, team_id, user_id, user_email, key_exists: Some(lives) };
                    owners.insert(token, owner);
                }
            }
        }
        Ok(owners)
    }

    /// Aliases of teams and organizations.
    async fn aliases(
        &self,
        kind: SubjectKind,
        ids: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, String>, StoreError> {
        let columns = match kind {
            SubjectKind::DailyTeam => "team_id, team_alias FROM \"LiteLLM_TeamTable\" WHERE team_id IN ",
            SubjectKind::DailyOrganization => {
                "organization_id, organization_alias FROM \"LiteLLM_OrganizationTable\" WHERE organization_id IN "
            }
            _ => return Ok(BTreeMap::new()),
        };
        let mut aliases = BTreeMap::new();
        for chunk in ids.iter().copied().collect::<Vec<_>>().chunks(CHUNK) {
            let mut sql = self.db.sql("SELECT ").once();
            sql.push(columns).bind_list(Kind::Text, chunk.iter().copied());
            for row in self.db.report(sql, &[Kind::Text; 2]).await? {
                let mut texts = row.into_iter().map(Cell::text);
                if let (Some(Some(id)), Some(Some(alias))) = (texts.next(), texts.next()) {
                    aliases.insert(id, alias);
                }
            }
        }
        Ok(aliases)
    }

    /// Gives every row to `take`, until it has enough; false if it had.
    async fn each_row(
        &self,
        kind: SubjectKind,
        query: &ActivityQuery,
        mut take: impl FnMut(DayRow) -> bool + Send,
    ) -> Result<bool, StoreError> {
        for number in 1.. {
            let rows = self.day_rows(kind.table(), query, (number, PART)).await?;
            let last = (rows.len() as u64) < PART;
            if !rows.into_iter().all(&mut take) {
                return Ok(false);
            }
            if last {
                break;
            }
        }
        Ok(true)
    }
}

/// Sums of keys → sums of their owners.
fn of_users(
    sums: BTreeMap<(String, String, String), Metrics>,
    owners: &BTreeMap<String, KeyOwner>,
) -> BTreeMap<(String, String, String), Metrics> {
    let mut by_user: BTreeMap<(String, String, String), Metrics> = BTreeMap::new();
    for ((date, entity, key), metrics) in sums {
        let user = owners.get(&key).and_then(|owner| owner.user_id.clone()).unwrap_or_default();
        by_user.entry((date, entity, user)).or_default().add(&metrics);
    }
    by_user
}
