//! Ends budget periods: spend goes to zero, and the next end is set.

use faregate_terms::UtcMillis;

use super::{Subject, SubjectKind, totals};
use crate::db::{Cell, Tx};
use crate::record::for_update;
use crate::schema::Kind;
use crate::{Store, StoreError};

/// Rows per transaction: a reset must not hold the settlement up for long.
const CHUNK: i64 = 500;

/// Kinds with a budget period of their own.
const OWN_PERIOD: [SubjectKind; 3] = [SubjectKind::Key, SubjectKind::User, SubjectKind::Team];

/// Kinds that point to a budget; its period is theirs.
const BY_BUDGET: [SubjectKind; 8] = [
    SubjectKind::Key,
    SubjectKind::Organization,
    SubjectKind::OrganizationMember,
    SubjectKind::Project,
    SubjectKind::Member,
    SubjectKind::EndUser,
    SubjectKind::Tag,
    SubjectKind::AccessGroup,
];

/// Works out the end of the next period from the duration (`30d`, `1mo`, ...) and the end of the last one.
/// `None` when the duration cannot be read: the row is left alone then.
pub type NextReset<'a> = &'a (dyn Fn(&str, UtcMillis) -> Option<UtcMillis> + Send + Sync);

impl Store {
    /// Ends every budget period that is over at `now`, and returns whose spend went to zero, so that counters
    /// kept elsewhere can follow.
    ///
    /// A budget that others point to takes all of them along, in the same transaction. A key with a period of
    /// its own follows that one alone.
    ///
    /// # Errors
    /// When the database is away. What was ended before that stays ended; call again.
    pub async fn reset_due_budgets(
        &self,
        now: UtcMillis,
        next: NextReset<'_>,
    ) -> Result<Vec<Subject>, StoreError> {
        let mut reset = Vec::new();
        for kind in OWN_PERIOD {
            self.each_due(Periods::Of(kind), now, next, &mut reset).await?;
        }
        self.each_due(Periods::OfBudgets, now, next, &mut reset).await?;
        Ok(reset)
    }

    /// Sets the spend of everybody to zero, as `/global/spend/reset` does. The log and the spend over a
    /// subject's life stay.
    ///
    /// # Errors
    /// When the database is away; nothing is changed then.
    pub async fn reset_all_spend(&self, now: UtcMillis) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        for kind in SubjectKind::BUDGETED {
            let mut sql =
                tx.sql("UPDATE \"faregate_spend_totals\" SET spend_usd = 0, spend_pico = 0, updated_at = ");
            sql.bind(Kind::Time, now).push(" WHERE kind = ").bind(Kind::Text, kind.word());
            tx.execute(sql).await?;
            let sql = tx.sql(&format!("UPDATE \"{}\" SET spend = 0 WHERE spend <> 0", kind.table().name));
            tx.execute(sql).await?;
        }
        tx.commit().await
    }

    /// Takes the due rows of one table in hand, a part at a time, each part in a transaction.
    async fn each_due(
        &self,
        periods: Periods,
        now: UtcMillis,
        next: NextReset<'_>,
        reset: &mut Vec<Subject>,
    ) -> Result<(), StoreError> {
        let (table, id) = periods.table();
        let mut after = String::new();
        loop {
            let mut tx = self.db.begin().await?;
            let due = due(&mut tx, table, id, now, &after).await?;
            let Some((last, ..)) = due.last() else { return Ok(()) };
            after.clone_from(last);
            let mut ids = Vec::new();
            for (key, duration, ended) in due {
                let Some(until) = next(&duration, ended) else {
                    tracing::warn!(
                        table,
                        key,
                        duration,
                        "a budget period has a duration that cannot be read"
                    );
                    continue;
                };
                let mut sql = tx.sql(&format!("UPDATE \"{table}\" SET budget_reset_at = "));
                sql.bind(Kind::Time, until)
                    .push(&format!(" WHERE \"{id}\" = "))
                    .bind(Kind::Text, key.as_str());
                tx.execute(sql).await?;
                ids.push(key);
            }
            let cleared = periods.clear(&mut tx, &ids, now).await?;
            tx.commit().await?;
            reset.extend(cleared);
        }
    }
}

/// Whose periods end.
#[derive(Clone, Copy)]
enum Periods {
    /// Those of one kind of subject.
    Of(SubjectKind),
    /// Those of budgets that others point to.
    OfBudgets,
}

impl Periods {
    fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Of(kind) => (kind.table().name, id_column(kind)),
            Self::OfBudgets => ("LiteLLM_BudgetTable", "budget_id"),
        }
    }

    /// Sets the spend of these rows, or of who points to them, to zero.
    async fn clear(self, tx: &mut Tx, ids: &[String], now: UtcMillis) -> Result<Vec<Subject>, StoreError> {
        let mut cleared = Vec::new();
        match self {
            Self::Of(kind) => {
                cleared.extend(ids.iter().map(|id| Subject::of(kind, id)));
                totals::clear(tx, kind, &cleared, now).await?;
            }
            Self::OfBudgets => {
                for kind in BY_BUDGET {
                    let subjects = pointing(tx, kind, ids).await?;
                    totals::clear(tx, kind, &subjects, now).await?;
                    cleared.extend(subjects);
                }
            }
        }
        Ok(cleared)
    }
}

fn id_column(kind: SubjectKind) -> &'static str {
    kind.table().primary.first().copied().unwrap_or_default()
}

/// Id, duration and end of the period of rows that are due, in the order of their ids. Locked, so that a
/// second job finds them done.
async fn due(
    tx: &mut Tx,
    table: &str,
    id: &str,
    now: UtcMillis,
    after: &str,
) -> Result<Vec<(String, String, UtcMillis)>, StoreError> {
    let time = crate::db::readable(tx.engine(), "t.budget_reset_at", Kind::Time);
    let mut sql =
        tx.sql(&format!("SELECT t.\"{id}\", t.budget_duration, {time} FROM \"{table}\" AS t WHERE "));
    sql.push("t.budget_reset_at <= ").bind(Kind::Time, now);
    sql.push(&format!(" AND t.budget_duration IS NOT NULL AND t.\"{id}\" > ")).bind(Kind::Text, after);
    sql.push(&format!(" ORDER BY t.\"{id}\" LIMIT ")).bind(Kind::Big, CHUNK);
    for_update(&mut sql);
    let mut due = Vec::new();
    for row in tx.fetch(sql, &[Kind::Text, Kind::Text, Kind::Time]).await? {
        let mut texts = row.into_iter().filter_map(Cell::text);
        if let (Some(key), Some(duration), Some(ended)) = (texts.next(), texts.next(), texts.next()) {
            due.push((key, duration, UtcMillis::parse(&ended).unwrap_or(now)));
        }
    }
    Ok(due)
}

/// The subjects of a kind that point to one of these budgets.
async fn pointing(tx: &mut Tx, kind: SubjectKind, budgets: &[String]) -> Result<Vec<Subject>, StoreError> {
    if budgets.is_empty() {
        return Ok(Vec::new());
    }
    let mut parts = kind.table().primary.iter();
    let id = parts.next().copied().unwrap_or_default();
    let sub_id = parts.next().map_or_else(|| "''".to_owned(), |part| format!("\"{part}\""));
    let mut sql = tx
        .sql(&format!("SELECT \"{id}\", {sub_id} FROM \"{}\" WHERE budget_id IN ", kind.table().name))
        .once();
    sql.bind_list(Kind::Text, budgets.iter().map(String::as_str));
    if kind == SubjectKind::Key {
        sql.push(" AND budget_duration IS NULL");
    }
    let rows = tx.fetch(sql, &[Kind::Text, Kind::Text]).await?;
    let subjects = rows.into_iter().filter_map(|row| {
        let mut texts = row.into_iter().filter_map(Cell::text);
        Some(Subject { kind, id: texts.next()?, sub_id: texts.next().unwrap_or_default() })
    });
    Ok(subjects.collect())
}
