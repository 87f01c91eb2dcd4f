//! Exact totals, and the floating-point columns that show them.
//!
//! A total is taken over from LiteLLM's column when the subject is first met; from then on the column is
//! set from the total, in the same transaction that changes it, and never incremented.

use std::collections::BTreeMap;

use faregate_terms::{PicoUsd, UtcMillis};

use super::{Subject, SubjectKind};
use crate::db::{Cell, Engine, Sql, Tx, insert_rows};
use crate::schema::{Kind, own::SPEND_TOTALS};
use crate::usd::{join, split};
use crate::{Store, StoreError};

/// Subjects per statement.
const CHUNK: usize = 500;

/// The exact total as the nearest floating-point number, from columns `t.<prefix>_usd` and `_pico`.
fn float(prefix: &str) -> String {
    format!(
        "(CAST(t.{prefix}_usd AS double precision) + CAST(t.{prefix}_pico AS double precision) \
         / CAST(1000000000000 AS double precision))"
    )
}

/// Whole dollars and pico-dollars of a floating-point column, by its shortest decimal.
fn halves(engine: Engine, column: &str) -> (String, String) {
    match engine {
        Engine::Postgres => {
            let exact = format!(
                "round(CASE WHEN {column} IS NULL OR {column}::text IN ('NaN', 'Infinity', '-Infinity') THEN 0 \
                 ELSE {column}::text::numeric END, 12)"
            );
            let usd = format!("floor({exact})::bigint");
            (usd, format!("(({exact} - floor({exact})) * 1000000000000)::bigint"))
        }
        Engine::Sqlite => {
            let text = format!("printf('%.12f', max(coalesce({column}, 0), 0))");
            let usd = format!("CAST(substr({text}, 1, instr({text}, '.') - 1) AS INTEGER)");
            (usd, format!("CAST(substr({text}, instr({text}, '.') + 1) AS INTEGER)"))
        }
    }
}

/// What a subject spent, exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Since its last reset.
    pub spend: PicoUsd,
    /// Over its whole life.
    pub total: PicoUsd,
}

impl Store {
    /// The exact totals of these subjects; a subject that spent nothing yet may be missing.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn spent(&self, subjects: &[Subject]) -> Result<BTreeMap<Subject, Spent>, StoreError> {
        let mut by_kind: BTreeMap<SubjectKind, Vec<&Subject>> = BTreeMap::new();
        for subject in subjects {
            by_kind.entry(subject.kind).or_default().push(subject);
        }
        let mut found = BTreeMap::new();
        for (kind, subjects) in by_kind {
            for chunk in subjects.chunks(CHUNK) {
                let mut sql =
                    self.db.sql("SELECT id, sub_id, spend_usd, spend_pico, total_usd, total_pico ").once();
                sql.push("FROM \"faregate_spend_totals\" WHERE kind = ").bind(Kind::Text, kind.word());
                sql.push(" AND id IN ")
                    .bind_list(Kind::Text, chunk.iter().map(|subject| subject.id.as_str()));
                let kinds = [Kind::Text, Kind::Text, Kind::Big, Kind::Big, Kind::Big, Kind::Big];
                for row in self.db.fetch(sql, &kinds).await? {
                    if let [Cell::Text(id), Cell::Text(sub_id), rest @ ..] = row.as_slice() {
                        let subject = Subject::member(kind, id.as_str(), sub_id.as_str());
                        if chunk.contains(&&subject) {
                            found.insert(subject, Spent::of(rest));
                        }
                    }
                }
            }
        }
        Ok(found)
    }
}

impl Spent {
    /// Reads the four columns of a total.
    fn of(cells: &[Cell]) -> Self {
        let part = |index: usize| cells.get(index).map_or(0, Cell::int);
        Self { spend: join(part(0), part(1)), total: join(part(2), part(3)) }
    }
}

/// Takes totals over from the columns of `kind`; the caller adds conditions on `s` and what to do on conflict.
fn take_over(tx: &Tx, kind: SubjectKind, now: UtcMillis) -> Sql {
    let engine = tx.engine();
    let table = kind.table();
    let (usd, pico) = halves(engine, "s.spend");
    let lifetime = match (kind.has_lifetime(), engine) {
        (false, _) => "s.spend",
        (true, Engine::Postgres) => "GREATEST(s.spend, s.total_spend)",
        (true, Engine::Sqlite) => "max(s.spend, s.total_spend)",
    };
    let (total_usd, total_pico) = halves(engine, lifetime);
    let (id, sub_id) = keys(kind);
    let mut sql = tx.sql("INSERT INTO \"faregate_spend_totals\" AS t (kind, id, sub_id, ");
    sql.push("spend_usd, spend_pico, total_usd, total_pico, updated_at) SELECT ");
    sql.bind(Kind::Text, kind.word())
        .push(&format!(", {id}, {sub_id}, {usd}, {pico}, {total_usd}, {total_pico}, "));
    sql.bind(Kind::Time, now).push(" FROM \"").push(table.name).push("\" AS s WHERE ");
    sql
}

/// The columns of `s` that are the subject's two ids.
fn keys(kind: SubjectKind) -> (String, String) {
    let mut parts = kind.table().primary.iter().map(|part| format!("s.\"{part}\""));
    let id = parts.next().unwrap_or_else(|| "''".to_owned());
    (id, parts.next().unwrap_or_else(|| "''".to_owned()))
}

/// Takes over the totals that are missing, and those whose column somebody else has changed since: a
/// database that LiteLLM wrote to for a while is adopted again.
pub async fn adopt_all(tx: &mut Tx, now: UtcMillis) -> Result<u64, StoreError> {
    if tx.engine() == Engine::Postgres {
        tx.batch("LOCK TABLE \"faregate_spend_totals\" IN EXCLUSIVE MODE".to_owned()).await?;
    }
    let mut adopted = 0;
    for kind in SubjectKind::BUDGETED {
        let (id, sub_id) = keys(kind);
        let mut sql = take_over(tx, kind, now);
        sql.push(&format!("NOT EXISTS (SELECT 1 FROM \"faregate_spend_totals\" AS t WHERE t.id = {id} "));
        sql.push(&format!(
            "AND t.sub_id = {sub_id} AND {} = coalesce(s.spend, 0) AND t.kind = ",
            float("spend")
        ));
        sql.bind(Kind::Text, kind.word()).push(") ON CONFLICT (kind, id, sub_id) DO UPDATE SET ");
        sql.push("spend_usd = excluded.spend_usd, spend_pico = excluded.spend_pico, ");
        sql.push("total_usd = excluded.total_usd, total_pico = excluded.total_pico");
        adopted += tx.execute(sql).await?;
    }
    Ok(adopted)
}

/// Finds subjects whose column is not their exact total; those without a total are not looked at.
pub fn disagreeing(start: &Sql, kind: SubjectKind) -> Sql {
    let (id, sub_id) = keys(kind);
    let mut sql = start.clone();
    sql.push(&format!(
        "SELECT {id} FROM \"{}\" AS s JOIN \"faregate_spend_totals\" AS t ",
        kind.table().name
    ));
    sql.push(&format!("ON t.id = {id} AND t.sub_id = {sub_id} AND t.kind = ")).bind(Kind::Text, kind.word());
    sql.push(&format!(" WHERE coalesce(s.spend, 0) <> {}", float("spend")));
    sql
}

/// Sets one subject's total from its column, because the column was written on purpose. What was spent over
/// its life stays.
pub async fn retake(
    tx: &mut Tx,
    kind: SubjectKind,
    key: &[String],
    now: UtcMillis,
) -> Result<(), StoreError> {
    let (id, sub_id) = keys(kind);
    let mut sql = take_over(tx, kind, now);
    let mut parts = key.iter().map(String::as_str);
    sql.push(&format!("{id} = ")).bind(Kind::Text, parts.next().unwrap_or_default());
    if let Some(part) = parts.next() {
        sql.push(&format!(" AND {sub_id} = ")).bind(Kind::Text, part);
    }
    sql.push(" ON CONFLICT (kind, id, sub_id) DO UPDATE SET spend_usd = excluded.spend_usd, ");
    sql.push("spend_pico = excluded.spend_pico, updated_at = excluded.updated_at");
    tx.execute(sql).await.map(drop)
}

/// Moves a subject's total to its new id.
pub async fn rename(tx: &mut Tx, kind: SubjectKind, from: &str, to: &str) -> Result<(), StoreError> {
    forget(tx, kind, &[to]).await?;
    let mut sql = tx.sql("UPDATE \"faregate_spend_totals\" SET id = ");
    sql.bind(Kind::Text, to).push(" WHERE kind = ").bind(Kind::Text, kind.word());
    sql.push(" AND id = ").bind(Kind::Text, from);
    tx.execute(sql).await.map(drop)
}

/// Removes the total of a subject that is gone.
pub async fn forget(tx: &mut Tx, kind: SubjectKind, key: &[&str]) -> Result<(), StoreError> {
    let mut sql = tx.sql("DELETE FROM \"faregate_spend_totals\" WHERE kind = ");
    sql.bind(Kind::Text, kind.word())
        .push(" AND id = ")
        .bind(Kind::Text, key.first().copied().unwrap_or_default());
    sql.push(" AND sub_id = ").bind(Kind::Text, key.get(1).copied().unwrap_or_default());
    tx.execute(sql).await.map(drop)
}

/// Removes the totals of a member in all it was a member of.
pub async fn forget_all(tx: &mut Tx, kind: SubjectKind, id: &str) -> Result<(), StoreError> {
    let mut sql = tx.sql("DELETE FROM \"faregate_spend_totals\" WHERE kind = ");
    sql.bind(Kind::Text, kind.word()).push(" AND id = ").bind(Kind::Text, id);
    tx.execute(sql).await.map(drop)
}

/// Sets the spend of these subjects to zero; what they spent over their life stays.
pub async fn clear(
    tx: &mut Tx,
    kind: SubjectKind,
    subjects: &[Subject],
    now: UtcMillis,
) -> Result<(), StoreError> {
    // Their totals must exist first: a column that is set to zero unseen would be lost for the life's sum.
    for chunk in subjects.chunks(CHUNK) {
        let known: Vec<(&Subject, PicoUsd)> = chunk.iter().map(|subject| (subject, PicoUsd::ZERO)).collect();
        ensure(tx, kind, &known, now).await?;
        for subject in chunk {
            let mut sql =
                tx.sql("UPDATE \"faregate_spend_totals\" SET spend_usd = 0, spend_pico = 0, updated_at = ");
            sql.bind(Kind::Time, now).push(" WHERE kind = ").bind(Kind::Text, kind.word());
            sql.push(" AND id = ").bind(Kind::Text, subject.id.as_str());
            sql.push(" AND sub_id = ").bind(Kind::Text, subject.sub_id.as_str());
            tx.execute(sql).await?;
        }
        project(tx, kind, chunk.iter()).await?;
    }
    Ok(())
}

/// Adds to the totals of many subjects and sets their columns. Subjects are taken in one order everywhere,
/// so that two settlements wait for each other instead of locking each other out.
pub async fn add(
    tx: &mut Tx,
    amounts: &BTreeMap<Subject, PicoUsd>,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let mut by_kind: BTreeMap<SubjectKind, Vec<(&Subject, PicoUsd)>> = BTreeMap::new();
    for (subject, amount) in amounts {
        by_kind.entry(subject.kind).or_default().push((subject, *amount));
    }
    for (kind, subjects) in by_kind {
        for chunk in subjects.chunks(CHUNK) {
            ensure(tx, kind, chunk, now).await?;
            increase(tx, kind, chunk, now).await?;
            project(tx, kind, chunk.iter().map(|(subject, _)| *subject)).await?;
        }
    }
    Ok(())
}

async fn ensure(
    tx: &mut Tx,
    kind: SubjectKind,
    subjects: &[(&Subject, PicoUsd)],
    now: UtcMillis,
) -> Result<(), StoreError> {
    let (id, _) = keys(kind);
    let mut sql = take_over(tx, kind, now).once();
    // Members of the same user in other teams come along: their totals are missing too, or left alone.
    sql.push(&id).push(" IN ").bind_list(Kind::Text, subjects.iter().map(|(subject, _)| subject.id.as_str()));
    sql.push(" ON CONFLICT (kind, id, sub_id) DO NOTHING");
    tx.execute(sql).await.map(drop)
}

async fn increase(
    tx: &mut Tx,
    kind: SubjectKind,
    subjects: &[(&Subject, PicoUsd)],
    now: UtcMillis,
) -> Result<(), StoreError> {
    let row = |(subject, amount): &(&Subject, PicoUsd)| {
        row(kind.word(), (&subject.id, &subject.sub_id), split(*amount), now)
    };
    increase_rows(tx, subjects.iter().map(row).collect()).await
}

/// Adds to one total of a kind that has no table of its own.
pub async fn increase_one(
    tx: &mut Tx,
    kind: &str,
    ids: (&str, &str),
    amount: (i64, i64),
    now: UtcMillis,
) -> Result<(), StoreError> {
    increase_rows(tx, vec![row(kind, ids, amount, now)]).await
}

fn row(kind: &str, (id, sub_id): (&str, &str), (usd, pico): (i64, i64), now: UtcMillis) -> Vec<Cell> {
    let ids = [Cell::from(kind), Cell::from(id), Cell::from(sub_id)];
    [&ids[..], &[usd.into(), pico.into(), usd.into(), pico.into(), now.into()]].concat()
}

async fn increase_rows(tx: &mut Tx, rows: Vec<Vec<Cell>>) -> Result<(), StoreError> {
    let columns: Vec<(&str, Kind)> =
        SPEND_TOTALS.columns.iter().map(|column| (column.name, column.kind)).collect();
    let mut sql = insert_rows(tx.engine(), SPEND_TOTALS.name, &columns, rows);
    sql.push(" ON CONFLICT (kind, id, sub_id) DO UPDATE SET updated_at = excluded.updated_at");
    for name in ["spend", "total"] {
        // Both halves are below one dollar, so their sum carries at most one.
        let sum = format!("(t.{name}_pico + excluded.{name}_pico)");
        sql.push(&format!(", {name}_usd = t.{name}_usd + excluded.{name}_usd + {sum} / 1000000000000"));
        sql.push(&format!(", {name}_pico = {sum} % 1000000000000"));
    }
    tx.execute(sql).await.map(drop)
}

/// Sets the columns of these subjects from their totals.
pub async fn project(
    tx: &mut Tx,
    kind: SubjectKind,
    subjects: impl Iterator<Item = &Subject>,
) -> Result<(), StoreError> {
    let table = kind.table();
    let (id, sub_id) = keys(kind);
    let mut sql = tx.sql("UPDATE \"").once();
    sql.push(table.name).push("\" AS s SET spend = ").push(&float("spend"));
    if kind.has_lifetime() {
        sql.push(", total_spend = ").push(&float("total"));
    }
    sql.push(" FROM \"faregate_spend_totals\" AS t WHERE t.kind = ").bind(Kind::Text, kind.word());
    sql.push(&format!(" AND t.id = {id} AND t.sub_id = {sub_id} AND {id} IN "));
    sql.bind_list(Kind::Text, subjects.map(|subject| Cell::from(subject.id.as_str())));
    tx.execute(sql).await.map(drop)
}
