//! Brings a database to the schema this version needs, and adopts what is there.
//!
//! Goes forward only. Tables and columns that are missing are added; what exists is never altered or
//! dropped, whoever made it. Everything happens in one transaction under a lock, so that of many replicas
//! starting at once one does the work and none sees half of it.

mod ddl;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use faregate_terms::UtcMillis;
use serde::Serialize;

use crate::db::{Engine, Tx};
use crate::ledger::totals;
use crate::schema::{Kind, TABLES};
use crate::{Store, StoreError};

/// Names our advisory lock: "faregate" in ASCII.
const LOCK: i64 = 0x6661_7265_6761_7465;

/// What is done beyond tables and columns, each once per database.
const STEPS: &[(i64, &str)] = &[(1, "exact totals")];

/// What a migration did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MigrationReport {
    /// Tables and views made.
    pub created: Vec<String>,
    /// Columns added to tables that were there, as `table.column`.
    pub columns_added: Vec<String>,
    /// Subjects whose exact total was taken from LiteLLM's spend column, because it was missing or because
    /// somebody else wrote the column since.
    pub totals_adopted: u64,
}

impl MigrationReport {
    /// True when the schema was complete.
    pub fn nothing_missing(&self) -> bool {
        self.created.is_empty() && self.columns_added.is_empty()
    }
}

impl Store {
    /// Creates what is missing and adopts what is there. Safe to call at every start, by many at once.
    ///
    /// # Errors
    /// When the database is away or refuses; nothing is changed then.
    pub async fn migrate(&self, now: UtcMillis) -> Result<MigrationReport, StoreError> {
        let mut tx = self.db.begin().await?;
        if tx.engine() == Engine::Postgres {
            let mut lock = tx.sql("SELECT pg_advisory_xact_lock(");
            lock.bind(Kind::Big, LOCK).push(")");
            tx.execute(lock).await?;
        }
        let mut report = self.missing(&mut tx).await?;
        apply(&mut tx, &report).await?;
        report.created.extend(views::create(&mut tx).await?);
        report.totals_adopted = totals::adopt_all(&mut tx, now).await?;
        for (version, name) in STEPS {
            record(&mut tx, *version, name, &report, now).await?;
        }
        tx.commit().await?;
        Ok(report)
    }

    /// What [`Store::migrate`] would create, without doing it: for `DISABLE_SCHEMA_UPDATE` and `doctor`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn pending_migration(&self) -> Result<MigrationReport, StoreError> {
        let mut tx = self.db.begin().await?;
        self.missing(&mut tx).await
    }

    async fn missing(&self, tx: &mut Tx) -> Result<MigrationReport, StoreError> {
        let existing = existing(tx).await?;
        let mut report = MigrationReport::default();
        for table in TABLES {
            let Some(columns) = existing.get(table.name) else {
                report.created.push(table.name.to_owned());
                continue;
            };
            let missing = table.columns.iter().filter(|column| !columns.contains(column.name));
            report.columns_added.extend(missing.map(|column| format!("{}.{}", table.name, column.name)));
        }
        Ok(report)
    }
}

async fn apply(tx: &mut Tx, report: &MigrationReport) -> Result<(), StoreError> {
    let engine = tx.engine();
    let created = |name: &str| report.created.iter().any(|created| created == name);
    let mut sql = String::new();
    for table in TABLES {
        if created(table.name) {
            sql.push_str(&ddl::create(engine, table));
            continue;
        }
        let added = |column: &str| report.columns_added.contains(&format!("{}.{column}", table.name));
        for column in table.columns.iter().filter(|column| added(column.name)) {
            sql.push_str(&ddl::add_column(engine, table, column));
        }
    }
    if engine == Engine::Postgres {
        let new = TABLES.iter().filter(|table| created(table.name));
        sql.extend(new.map(|table| ddl::foreign_keys(table)));
    }
    if sql.is_empty() { Ok(()) } else { tx.batch(sql).await }
}

/// The tables and columns of the schema in use.
async fn existing(tx: &mut Tx) -> Result<BTreeMap<String, BTreeSet<String>>, StoreError> {
    let sql = match tx.engine() {
        Engine::Postgres => tx.sql(
            "SELECT table_name::text, column_name::text FROM information_schema.columns \
             WHERE table_schema = current_schema()",
        ),
        Engine::Sqlite => tx.sql(
            "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c \
             WHERE m.type = 'table'",
        ),
    };
    let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in tx.fetch(sql, &[Kind::Text, Kind::Text]).await? {
        if let [Some(table), Some(column)] = row.map_cells() {
            tables.entry(table).or_default().insert(column);
        }
    }
    Ok(tables)
}

trait TwoTexts {
    fn map_cells(self) -> [Option<String>; 2];
}

impl TwoTexts for crate::db::Row {
    fn map_cells(self) -> [Option<String>; 2] {
        let mut cells = self.into_iter().map(crate::db::Cell::text);
        [cells.next().flatten(), cells.next().flatten()]
    }
}

async fn record(
    tx: &mut Tx,
    version: i64,
    name: &str,
    report: &MigrationReport,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let report = serde_json::to_string(report).unwrap_or_default();
    let mut sql = tx.sql("INSERT INTO \"faregate_migrations\" (version, name, report, applied_at) VALUES (");
    sql.bind(Kind::Int, version).push(", ").bind(Kind::Text, name).push(", ");
    sql.bind(Kind::Text, report).push(", ").bind(Kind::Time, now).push(") ON CONFLICT (version) DO NOTHING");
    tx.execute(sql).await.map(drop)
}
