//! `model_max_budget`: what keys, teams, users and end users spent on a model, in each period of its budget.
//!
//! As at [`super::places`], a period's total is of its own, under the time it ends. The budgets are read where they
//! stand, in the transaction that books; when their periods end is a matter of the calendar, which whoever settles
//! brings.

use std::collections::{BTreeMap, BTreeSet};

use faregate_terms::{PicoUsd, Receipt, UtcMillis};
use serde_json::Value;

use super::log::clip;
use super::{SubjectKind, totals};
use crate::db::{Cell, Tx};
use crate::schema::Kind;
use crate::usd::{join, split};
use crate::{Store, StoreError};

/// Ids per statement.
const CHUNK: usize = 500;

/// Who has budgets for single models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelBudgeted {
    /// A key, by its hash.
    Key,
    /// A team.
    Team,
    /// An internal user.
    User,
    /// An end user, by the budget object it has.
    EndUser,
}

impl ModelBudgeted {
    const ALL: [Self; 4] = [Self::Key, Self::Team, Self::User, Self::EndUser];

    fn of(kind: SubjectKind) -> Option<Self> {
        match kind {
            SubjectKind::Key => Some(Self::Key),
            SubjectKind::Team => Some(Self::Team),
            SubjectKind::User => Some(Self::User),
            SubjectKind::EndUser => Some(Self::EndUser),
            _ => None,
        }
    }

    /// The words in `faregate_spend_totals.kind`: of periods, and of budgets that never start again.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Key => ("key_model_period", "key_model"),
            Self::Team => ("team_model_period", "team_model"),
            Self::User => ("user_model_period", "user_model"),
            Self::EndUser => ("end_user_model_period", "end_user_model"),
        }
    }

    fn id<'a>(self, receipt: &'a Receipt, key: &'a str) -> &'a str {
        let account = &receipt.account;
        let id = match self {
            Self::Key => Some(key),
            Self::Team => account.team.as_deref(),
            Self::User => account.user.as_deref(),
            Self::EndUser => account.end_user.as_deref(),
        };
        clip(id.unwrap_or_default())
    }
}

/// One budget period of one entry of a `model_max_budget`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelPeriod {
    endless: bool,
    name: String,
}

impl ModelPeriod {
    /// The period of length `duration` (`30d`) that is over at `ends`; of a budget that never starts again if there
    /// is none. `model` is the entry's name, a pattern as well.
    pub fn new(model: &str, ends: Option<(UtcMillis, &str)>) -> Self {
        let model = clip(model);
        // The time first, so that texts sort as times do.
        let name =
            ends.map_or_else(|| model.to_owned(), |(ends, duration)| format!("{ends} {duration} {model}"));
        Self { endless: ends.is_none(), name }
    }

    fn kind(&self, of: ModelBudgeted) -> &'static str {
        let (period, endless) = of.words();
        if self.endless { endless } else { period }
    }
}

/// Names the periods of somebody's `model_max_budget` that a receipt adds to, each once.
pub type ModelPeriodsOf<'a> = &'a (dyn Fn(ModelBudgeted, &Value, &Receipt) -> Vec<ModelPeriod> + Send + Sync);

/// How budgets for single models are booked.
#[derive(Clone, Copy)]
pub struct ModelBudgets<'a> {
    /// The budget object of end users who have none of their own.
    pub end_users: Option<&'a str>,
    /// When their periods end.
    pub periods_of: ModelPeriodsOf<'a>,
}

impl Store {
    /// What is booked on periods of somebody's so far; a period in which nothing was spent may be missing.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn model_spend(
        &self,
        of: ModelBudgeted,
        id: &str,
        periods: &[ModelPeriod],
    ) -> Result<BTreeMap<ModelPeriod, PicoUsd>, StoreError> {
        let mut found = BTreeMap::new();
        let (period, endless) = of.words();
        for chunk in periods.chunks(CHUNK) {
            let mut sql = self.db.sql("SELECT kind, sub_id, spend_usd, spend_pico ").once();
            sql.push("FROM \"faregate_spend_totals\" WHERE kind IN ");
            sql.bind_list(Kind::Text, [period, endless]);
            sql.push(" AND id = ").bind(Kind::Text, clip(id)).push(" AND sub_id IN ");
            sql.bind_list(Kind::Text, chunk.iter().map(|period| period.name.as_str()));
            for row in self.db.fetch(sql, &[Kind::Text, Kind::Text, Kind::Big, Kind::Big]).await? {
                if let [Cell::Text(kind), Cell::Text(name), usd, pico] = row.as_slice() {
                    let period = ModelPeriod { endless: kind == endless, name: name.clone() };
                    found.insert(period, join(usd.int(), pico.int()));
                }
            }
        }
        Ok(found)
    }

    /// Forgets periods that were over before `before`. Returns how many.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn forget_model_periods(&self, before: UtcMillis) -> Result<u64, StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"faregate_spend_totals\" WHERE kind IN ");
        sql.bind_list(Kind::Text, ModelBudgeted::ALL.map(|of| of.words().0));
        sql.push(" AND sub_id < ").bind(Kind::Text, before.to_string());
        self.db.execute(sql).await
    }
}

/// Moves what a key spent on models to its new hash.
pub(crate) async fn rename_key(tx: &mut Tx, from: &str, to: &str) -> Result<(), StoreError> {
    let (period, endless) = ModelBudgeted::Key.words();
    let mut sql = tx.sql("UPDATE \"faregate_spend_totals\" SET id = ");
    sql.bind(Kind::Text, to).push(" WHERE kind IN ").bind_list(Kind::Text, [period, endless]);
    sql.push(" AND id = ").bind(Kind::Text, from);
    tx.execute(sql).await.map(drop)
}

/// Forgets what somebody spent on models who is gone.
pub(crate) async fn forget(tx: &mut Tx, kind: SubjectKind, id: &str) -> Result<(), StoreError> {
    let Some(of) = ModelBudgeted::of(kind) else { return Ok(()) };
    let (period, endless) = of.words();
    let mut sql = tx.sql("DELETE FROM \"faregate_spend_totals\" WHERE kind IN ");
    sql.bind_list(Kind::Text, [period, endless]).push(" AND id = ").bind(Kind::Text, id);
    tx.execute(sql).await.map(drop)
}

/// Adds receipts to the model budgets of whom they concern.
pub(super) async fn add(
    tx: &mut Tx,
    receipts: &[(&Receipt, &str)],
    budgets: ModelBudgets<'_>,
    now: UtcMillis,
) -> Result<(), StoreError> {
    for of in ModelBudgeted::ALL {
        let costly = receipts.iter().filter_map(|(receipt, key)| {
            let cost = receipt.cost.filter(|cost| *cost > PicoUsd::ZERO)?;
            Some((*receipt, of.id(receipt, key), cost)).filter(|(_, id, _)| !id.is_empty())
        });
        let costly: Vec<(&Receipt, &str, PicoUsd)> = costly.collect();
        let ids: BTreeSet<&str> = costly.iter().map(|(_, id, _)| *id).collect();
        let known = budgets_of(tx, of, &ids, budgets.end_users).await?;
        let mut amounts: BTreeMap<(&str, ModelPeriod), PicoUsd> = BTreeMap::new();
        for (receipt, id, cost) in costly.into_iter().filter(|_| !known.is_empty()) {
            let Some(limits) = known.get(id) else { continue };
            for period in (budgets.periods_of)(of, limits, receipt) {
                *amounts.entry((id, period)).or_default() += cost;
            }
        }
        for ((id, period), amount) in amounts {
            totals::increase_one(tx, period.kind(of), (id, &period.name), split(amount), now).await?;
        }
    }
    Ok(())
}

/// The budgets of those who have any.
async fn budgets_of(
    tx: &mut Tx,
    of: ModelBudgeted,
    ids: &BTreeSet<&str>,
    end_users: Option<&str>,
) -> Result<BTreeMap<String, Value>, StoreError> {
    let (id, table) = match of {
        ModelBudgeted::Key => ("t.token", "\"LiteLLM_VerificationToken\" AS t"),
        ModelBudgeted::Team => ("t.team_id", "\"LiteLLM_TeamTable\" AS t"),
        ModelBudgeted::User => ("t.user_id", "\"LiteLLM_UserTable\" AS t"),
        ModelBudgeted::EndUser => {
            ("e.user_id", "\"LiteLLM_EndUserTable\" AS e JOIN \"LiteLLM_BudgetTable\" AS t")
        }
    };
    let ids: Vec<&str> = ids.iter().copied().collect();
    let mut found = BTreeMap::new();
    for chunk in ids.chunks(CHUNK) {
        let budgets = crate::db::readable(tx.engine(), "t.model_max_budget", Kind::Json);
        let mut sql = tx.sql(&format!("SELECT {id}, {budgets} FROM {table}")).once();
        if of == ModelBudgeted::EndUser {
            sql.push(" ON t.budget_id = coalesce(e.budget_id, ").bind(Kind::Text, end_users).push(")");
        }
        sql.push(" WHERE CAST(t.model_max_budget AS text) NOT IN ('{}', 'null') AND ").push(id).push(" IN ");
        sql.bind_list(Kind::Text, chunk.iter().copied());
        for row in tx.fetch(sql, &[Kind::Text, Kind::Json]).await? {
            let mut cells = row.into_iter().filter_map(Cell::text);
            let (Some(id), Some(budgets)) = (cells.next(), cells.next()) else { continue };
            found.extend(serde_json::from_str(&budgets).ok().map(|budgets| (id, budgets)));
        }
    }
    Ok(found)
}
