//! `budget_limits`: what keys and teams spent in each of their budget windows.
//!
//! The exact sum is a total of the kinds `key_window` and `team_window` under the subject's id and the window's
//! duration; `LiteLLM_BudgetWindowSpend` shows it. A receipt of a window that has not been begun yet, because the job
//! that ends windows has not come by, waits under the duration with [`NEXT`] behind it.

use std::collections::{BTreeMap, BTreeSet};

use faregate_terms::{PicoUsd, Receipt, UtcMillis};
use serde_json::{Value, json};

use super::reset::NextReset;
use super::{Subject, SubjectKind, totals};
use crate::db::{Cell, Tx};
use crate::record::for_update;
use crate::schema::Kind;
use crate::usd::{join, split};
use crate::{Store, StoreError, Usd};

/// Behind the duration of a window that is not begun yet.
const NEXT: &str = "/next";
/// Ids per statement.
const CHUNK: usize = 500;
/// Where the time is kept from which a window counts; beside `reset_at` in its entry.
const STARTED_AT: &str = "started_at";

/// Who has budget windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Windowed {
    /// A key.
    Key,
    /// A team.
    Team,
}

impl Windowed {
    const ALL: [Self; 2] = [Self::Key, Self::Team];

    fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Key => ("LiteLLM_VerificationToken", "token"),
            Self::Team => ("LiteLLM_TeamTable", "team_id"),
        }
    }

    /// LiteLLM's `entity_type`.
    fn entity(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Team => "team",
        }
    }

    fn total(self) -> &'static str {
        match self {
            Self::Key => "key_window",
            Self::Team => "team_window",
        }
    }

    /// Whose windows a receipt that is booked on `key` counts in.
    fn id<'a>(self, receipt: &'a Receipt, key: &'a str) -> &'a str {
        match self {
            Self::Key => key,
            Self::Team => receipt.account.team.as_deref().unwrap_or_default(),
        }
    }

    fn kind(self) -> SubjectKind {
        match self {
            Self::Key => SubjectKind::Key,
            Self::Team => SubjectKind::Team,
        }
    }
}

/// One window as its entry says it.
struct Window {
    duration: String,
    starts: Option<UtcMillis>,
    ends: Option<UtcMillis>,
}

impl Window {
    fn all(limits: &Value) -> impl Iterator<Item = Self> + '_ {
        let time = |value: &Value| value.as_str().and_then(|text| UtcMillis::parse(text).ok());
        limits.as_array().into_iter().flatten().filter_map(move |entry| {
            Some(Self {
                duration: entry["budget_duration"].as_str()?.to_owned(),
                starts: time(&entry[STARTED_AT]),
                ends: time(&entry["reset_at"]),
            })
        })
    }

    /// Under which name a request that ended then is counted; `None` if the window was over already.
    fn place(&self, ended: UtcMillis) -> Option<String> {
        if self.starts.is_some_and(|starts| ended < starts) {
            return None;
        }
        let over = self.ends.is_some_and(|ends| ended >= ends);
        Some(if over { format!("{}{NEXT}", self.duration) } else { self.duration.clone() })
    }
}

impl Store {
    /// What a key or team spent in its running windows, by duration.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn window_spend(
        &self,
        of: Windowed,
        id: &str,
    ) -> Result<BTreeMap<String, PicoUsd>, StoreError> {
        let mut sql = self.db.sql("SELECT sub_id, spend_usd, spend_pico FROM \"faregate_spend_totals\" ");
        sql.push("WHERE kind = ").bind(Kind::Text, of.total()).push(" AND id = ").bind(Kind::Text, id);
        let rows = self.db.fetch(sql, &[Kind::Text, Kind::Big, Kind::Big]).await?;
        let mut spent: BTreeMap<String, PicoUsd> = rows.iter().filter_map(|row| named(row)).collect();
        // LiteLLM's own sum of a window that was not counted here yet.
        let mut sql = self.db.sql("SELECT window_duration, spend FROM \"LiteLLM_BudgetWindowSpend\" ");
        sql.push("WHERE entity_type = ").bind(Kind::Text, of.entity());
        sql.push(" AND entity_id = ").bind(Kind::Text, id);
        for row in self.db.fetch(sql, &[Kind::Text, Kind::Float]).await? {
            if let [Cell::Text(duration), spend] = row.as_slice() {
                let spend = Usd::from_f64(spend.float()).unwrap_or_default();
                spent.entry(duration.clone()).or_insert(spend.0);
            }
        }
        Ok(spent)
    }

    /// Forgets what was spent in windows of other durations than these: they are no windows any more.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn keep_windows(&self, of: Windowed, id: &str, durations: &[&str]) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        forget(&mut tx, of, id, durations).await?;
        tx.commit().await
    }

    /// Ends the windows that are over at `now`, and begins the next of each. Returns whose they are.
    ///
    /// # Errors
    /// When the database is away. What was ended before that stays ended; call again.
    pub async fn end_windows(&self, now: UtcMillis, next: NextReset<'_>) -> Result<Vec<Subject>, StoreError> {
        let mut ended = Vec::new();
        for of in Windowed::ALL {
            let (table, id) = of.table();
            let mut after = String::new();
            loop {
                let mut tx = self.db.begin().await?;
                let mut sql = tx.sql(&format!("SELECT t.\"{id}\", "));
                let limits = crate::db::readable(tx.engine(), "t.budget_limits", Kind::Json);
                sql.push(&format!("{limits} FROM \"{table}\" AS t WHERE t.budget_limits IS NOT NULL"));
                sql.push(&format!(" AND t.\"{id}\" > ")).bind(Kind::Text, after.as_str());
                sql.push(&format!(" ORDER BY t.\"{id}\" LIMIT ")).bind(Kind::Big, CHUNK as i64);
                for_update(&mut sql);
                let rows = texts(tx.fetch(sql, &[Kind::Text, Kind::Json]).await?);
                let Some((last, _)) = rows.last() else { break };
                after.clone_from(last);
                for (id, limits) in &rows {
                    if end_due(&mut tx, of, id, limits, now, next).await? {
                        ended.push(Subject::of(of.kind(), id));
                    }
                }
                tx.commit().await?;
            }
        }
        Ok(ended)
    }
}

/// As [`Store::keep_windows`], inside a transaction.
pub(crate) async fn forget(tx: &mut Tx, of: Windowed, id: &str, keep: &[&str]) -> Result<(), StoreError> {
    let mut sql = tx.sql("DELETE FROM \"faregate_spend_totals\" WHERE kind = ").once();
    sql.bind(Kind::Text, of.total()).push(" AND id = ").bind(Kind::Text, id);
    if !keep.is_empty() {
        let waiting: Vec<String> = keep.iter().map(|duration| format!("{duration}{NEXT}")).collect();
        let names = keep.iter().copied().chain(waiting.iter().map(String::as_str));
        sql.push(" AND sub_id NOT IN ").bind_list(Kind::Text, names);
    }
    tx.execute(sql).await?;
    let mut sql = tx.sql("DELETE FROM \"LiteLLM_BudgetWindowSpend\" WHERE entity_type = ").once();
    sql.bind(Kind::Text, of.entity()).push(" AND entity_id = ").bind(Kind::Text, id);
    if !keep.is_empty() {
        sql.push(" AND window_duration NOT IN ").bind_list(Kind::Text, keep.iter().copied());
    }
    tx.execute(sql).await.map(drop)
}

/// Moves the windows of a key to its new hash.
pub(crate) async fn rename(tx: &mut Tx, from: &str, to: &str) -> Result<(), StoreError> {
    for (table, kind, id, word) in [
        ("faregate_spend_totals", "kind", "id", Windowed::Key.total()),
        ("LiteLLM_BudgetWindowSpend", "entity_type", "entity_id", Windowed::Key.entity()),
    ] {
        let mut sql = tx.sql(&format!("UPDATE \"{table}\" SET {id} = "));
        sql.bind(Kind::Text, to).push(&format!(" WHERE {kind} = ")).bind(Kind::Text, word);
        sql.push(&format!(" AND {id} = ")).bind(Kind::Text, from);
        tx.execute(sql).await?;
    }
    Ok(())
}

fn named(row: &[Cell]) -> Option<(String, PicoUsd)> {
    let [Cell::Text(name), usd, pico] = row else { return None };
    Some((name.clone(), join(usd.int(), pico.int())))
}

fn texts(rows: Vec<Vec<Cell>>) -> Vec<(String, Value)> {
    let pair = |row: Vec<Cell>| {
        let mut cells = row.into_iter().filter_map(Cell::text);
        let (id, limits) = (cells.next()?, cells.next()?);
        Some((id, serde_json::from_str(&limits).ok()?))
    };
    rows.into_iter().filter_map(pair).collect()
}

/// Begins the next window of each entry that is over; tells whether there was one.
async fn end_due(
    tx: &mut Tx,
    of: Windowed,
    id: &str,
    limits: &Value,
    now: UtcMillis,
    next: NextReset<'_>,
) -> Result<bool, StoreError> {
    let due: Vec<Window> =
        Window::all(limits).filter(|window| window.ends.is_some_and(|ends| ends <= now)).collect();
    let mut limits = limits.clone();
    let mut changed = false;
    for window in due {
        let Some(ends) = window.ends else { continue };
        let Some(until) = next(&window.duration, ends) else { continue };
        changed = true;
        for entry in limits.as_array_mut().into_iter().flatten() {
            if entry["budget_duration"] == window.duration.as_str() {
                entry["reset_at"] = json!(until);
                entry[STARTED_AT] = json!(ends);
            }
        }
        let waiting = format!("{}{NEXT}", window.duration);
        for name in [window.duration.as_str(), waiting.as_str()] {
            let mut sql = if name == waiting {
                // What came after the end is what the new window begins with.
                let mut sql = tx.sql("UPDATE \"faregate_spend_totals\" SET sub_id = ");
                sql.bind(Kind::Text, window.duration.as_str()).push(" WHERE kind = ");
                sql
            } else {
                tx.sql("DELETE FROM \"faregate_spend_totals\" WHERE kind = ")
            };
            sql.bind(Kind::Text, of.total()).push(" AND id = ").bind(Kind::Text, id);
            sql.push(" AND sub_id = ").bind(Kind::Text, name);
            tx.execute(sql).await?;
        }
        show(tx, of, id, &window.duration, Some(ends), now).await?;
    }
    if changed {
        let (table, column) = of.table();
        let mut sql = tx.sql(&format!("UPDATE \"{table}\" SET budget_limits = "));
        sql.bind(Kind::Json, limits.to_string()).push(&format!(" WHERE \"{column}\" = "));
        sql.bind(Kind::Text, id);
        tx.execute(sql).await?;
    }
    Ok(changed)
}

/// Sets LiteLLM's row of a window from its exact total.
async fn show(
    tx: &mut Tx,
    of: Windowed,
    id: &str,
    duration: &str,
    begins: Option<UtcMillis>,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let mut sql = tx.sql("SELECT sub_id, spend_usd, spend_pico FROM \"faregate_spend_totals\" WHERE kind = ");
    sql.bind(Kind::Text, of.total()).push(" AND id = ").bind(Kind::Text, id);
    sql.push(" AND sub_id = ").bind(Kind::Text, duration);
    let rows = tx.fetch(sql, &[Kind::Text, Kind::Big, Kind::Big]).await?;
    let spend = rows.first().and_then(|row| named(row)).map_or(PicoUsd::ZERO, |(_, spend)| spend);
    let mut sql = tx.sql("INSERT INTO \"LiteLLM_BudgetWindowSpend\" ");
    sql.push(
        "(entity_type, entity_id, window_duration, window_start, spend, created_at, updated_at) VALUES (",
    );
    sql.bind(Kind::Text, of.entity()).push(", ").bind(Kind::Text, id).push(", ");
    sql.bind(Kind::Text, duration).push(", ").bind(Kind::Time, begins.unwrap_or(now)).push(", ");
    sql.bind(Kind::Float, Cell::Float(spend.to_f64())).push(", ").bind(Kind::Time, now).push(", ");
    sql.bind(Kind::Time, now).push(") ON CONFLICT (entity_type, entity_id, window_duration) DO UPDATE SET ");
    if begins.is_some() {
        sql.push("window_start = excluded.window_start, ");
    }
    sql.push("spend = excluded.spend, updated_at = excluded.updated_at");
    tx.execute(sql).await.map(drop)
}

/// Adds receipts to the windows of their keys and teams.
pub(super) async fn add(
    tx: &mut Tx,
    receipts: &[(&Receipt, &str)],
    now: UtcMillis,
) -> Result<(), StoreError> {
    for of in Windowed::ALL {
        let ids: BTreeSet<&str> = receipts.iter().map(|(receipt, key)| of.id(receipt, key)).collect();
        let limits = limits_of(tx, of, &ids).await?;
        let mut amounts: BTreeMap<(&str, String), PicoUsd> = BTreeMap::new();
        for (receipt, key) in receipts.iter().filter(|_| !limits.is_empty()) {
            let id = of.id(receipt, key);
            let Some(limits) = limits.get(id) else { continue };
            for name in Window::all(limits).filter_map(|window| window.place(receipt.wall.ended)) {
                *amounts.entry((id, name)).or_default() += receipt.cost.unwrap_or_default();
            }
        }
        for ((id, name), amount) in amounts {
            take_over(tx, of, id, &name, now).await?;
            let (usd, pico) = split(amount);
            totals::increase_one(tx, of.total(), (id, &name), (usd, pico), now).await?;
            if !name.ends_with(NEXT) {
                show(tx, of, id, &name, None, now).await?;
            }
        }
    }
    Ok(())
}

/// The windows of those who have any.
async fn limits_of(
    tx: &mut Tx,
    of: Windowed,
    ids: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Value>, StoreError> {
    let (table, id) = of.table();
    let ids: Vec<&str> = ids.iter().copied().filter(|id| !id.is_empty()).collect();
    let mut found = BTreeMap::new();
    for chunk in ids.chunks(CHUNK) {
        let limits = crate::db::readable(tx.engine(), "t.budget_limits", Kind::Json);
        let mut sql = tx.sql(&format!("SELECT t.\"{id}\", {limits} FROM \"{table}\" AS t WHERE ")).once();
        sql.push(&format!("t.budget_limits IS NOT NULL AND t.\"{id}\" IN "));
        sql.bind_list(Kind::Text, chunk.iter().copied());
        found.extend(texts(tx.fetch(sql, &[Kind::Text, Kind::Json]).await?));
    }
    Ok(found)
}

/// Begins a total with what LiteLLM counted of the window, once.
async fn take_over(
    tx: &mut Tx,
    of: Windowed,
    id: &str,
    name: &str,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let mut sql = tx.sql("SELECT spend FROM \"LiteLLM_BudgetWindowSpend\" WHERE entity_type = ");
    sql.bind(Kind::Text, of.entity()).push(" AND entity_id = ").bind(Kind::Text, id);
    sql.push(" AND window_duration = ").bind(Kind::Text, name);
    sql.push(" AND NOT EXISTS (SELECT 1 FROM \"faregate_spend_totals\" WHERE kind = ");
    sql.bind(Kind::Text, of.total()).push(" AND id = ").bind(Kind::Text, id);
    sql.push(" AND sub_id = ").bind(Kind::Text, name).push(")");
    let rows = tx.fetch(sql, &[Kind::Float]).await?;
    let Some(spend) = rows.first().and_then(|row| row.first()).map(Cell::float) else { return Ok(()) };
    let parts = split(Usd::from_f64(spend).unwrap_or_default().0);
    totals::increase_one(tx, of.total(), (id, name), parts, now).await
}
