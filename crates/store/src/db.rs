//! One way to speak to both engines: statements with bound values out, plain cells in.
//!
//! Statements are written once. A placeholder and a selected column carry the casts that make texts of
//! PostgreSQL's timestamps, JSON and arrays, so that five plain types cross the line.

use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Row as _, Transaction};

use crate::StoreError;
use crate::schema::{Column, Kind};
use crate::settings::{PoolSettings, Settings, Target};

/// How long a writer waits for another process that holds the SQLite file.
const BUSY: Duration = Duration::from_secs(10);

/// Which engine a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file of our own.
    Sqlite,
    /// A server.
    Postgres,
}

/// A value on its way in or out. Times, JSON and lists travel as text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    Int(i64),
    Float(f64),
    Flag(bool),
}

/// One row: cells in the order they were asked for.
pub(crate) type Row = Vec<Cell>;

impl Cell {
    pub fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            _ => 0,
        }
    }

    pub fn float(&self) -> f64 {
        match self {
            Self::Float(number) => *number,
            _ => 0.0,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<faregate_terms::UtcMillis> for Cell {
    fn from(moment: faregate_terms::UtcMillis) -> Self {
        Self::Text(moment.sql())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A statement being written. Text and values are added side by side, so that they cannot get out of step.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    pub engine: Engine,
    text: String,
    values: Vec<Cell>,
    /// False for statements whose text is rarely the same twice.
    cached: bool,
}

impl Sql {
    pub fn new(engine: Engine, text: &str) -> Self {
        Self { engine, text: text.to_owned(), values: Vec::new(), cached: true }
    }

    /// Keeps this statement out of the cache of prepared statements.
    pub fn once(mut self) -> Self {
        self.cached = false;
        self
    }

    /// Adds SQL text. Never holds a value.
    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a placeholder for `value`, cast to what a column of `kind` holds.
    ///
    /// NUL characters are dropped: PostgreSQL stores them neither in text nor in JSON.
    pub fn bind(&mut self, kind: Kind, value: impl Into<Cell>) -> &mut Self {
        let value = match value.into() {
            Cell::Text(text) if text.contains('\0') => Cell::Text(text.replace('\0', "")),
            Cell::Text(text) if matches!(kind, Kind::Json | Kind::List) && text.contains("\\u0000") => {
                Cell::Text(without_escaped_nul(&text))
            }
            other => other,
        };
        self.values.push(value);
        let number = self.values.len();
        let written = match (self.engine, kind) {
            // Not numbered: SQLite looks names of placeholders up one by one, which is slow for thousands.
            (Engine::Sqlite, _) => {
                self.text.push('?');
                return self;
            }
            (Engine::Postgres, Kind::List) => {
                format!("ARRAY(SELECT jsonb_array_elements_text(${number}::jsonb))")
            }
            (Engine::Postgres, kind) => format!("${number}::{}", pg_type(kind)),
        };
        self.text.push_str(&written);
        self
    }

    /// Adds `, `-separated placeholders in parentheses.
    pub fn bind_list(&mut self, kind: Kind, values: impl IntoIterator<Item = impl Into<Cell>>) -> &mut Self {
        self.push("(");
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.bind(kind, value);
        }
        self.push(")")
    }

    /// Adds `alias."column"` for each, in the form [`Cell`]s are read from.
    pub fn select(&mut self, alias: &str, columns: &[Column]) -> &mut Self {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            let read = readable(self.engine, &format!("{alias}.\"{}\"", column.name), column.kind);
            self.push(&read);
        }
        self
    }
}

/// `INSERT INTO table (columns) ...` of many rows, each with a cell per column; the caller goes on with
/// `ON CONFLICT`, where the table is `t`.
///
/// In PostgreSQL all rows travel as one JSON value: thousands of values of their own cost it more than the
/// rows do, and the statement's text is the same every time.
pub(crate) fn insert_rows(
    engine: Engine,
    table: &str,
    columns: &[(&str, Kind)],
    rows: Vec<Vec<Cell>>,
) -> Sql {
    let names: Vec<String> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let names = names.join(", ");
    let mut sql = Sql::new(engine, &format!("INSERT INTO \"{table}\" AS t ({names}) "));
    if engine == Engine::Postgres {
        sql.push(&format!("SELECT {names} FROM jsonb_to_recordset("));
        sql.bind(Kind::Json, json_rows(columns, rows)).push(") AS r(");
        let typed: Vec<String> =
            columns.iter().map(|(name, kind)| format!("\"{name}\" {}", pg_type(*kind))).collect();
        sql.push(&typed.join(", ")).push(")");
        return sql;
    }
    sql.cached = false;
    sql.push("VALUES ");
    for (index, row) in rows.into_iter().enumerate() {
        sql.push(if index > 0 { ", (" } else { "(" });
        for (position, ((_, kind), cell)) in columns.iter().zip(row).enumerate() {
            sql.push(if position > 0 { ", " } else { "" }).bind(*kind, cell);
        }
        sql.push(")");
    }
    sql
}

/// Rows of one statement that adds many.
const MANY: usize = 500;

/// Bytes of one statement that adds many, as far as rows can be divided.
const MANY_BYTES: usize = 8 << 20;

/// Rows of one statement in SQLite, the most first: statements of these lengths stay prepared, as reading the
/// text of one takes longer than adding its rows.
const PREPARED: [usize; 3] = [64, 8, 1];

/// Adds rows, each with a cell per column, except those that `once`, an `ON CONFLICT` clause, leaves out. Tells how
/// many were added.
pub(crate) async fn add_rows(
    tx: &mut Tx,
    table: &str,
    columns: &[(&str, Kind)],
    rows: Vec<Row>,
    once: &str,
) -> Result<u64, StoreError> {
    let mut added = 0;
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        added += tx.execute(some_of(tx.engine(), table, columns, &mut rows, once)).await?;
    }
    Ok(added)
}

/// The same, but tells the text of one column of those that were added. SQLite hands such rows from thread to thread,
/// one by one, which takes longer than adding them.
pub(crate) async fn add_rows_returning(
    tx: &mut Tx,
    table: &str,
    columns: &[(&str, Kind)],
    rows: Vec<Row>,
    once: &str,
    returning: &str,
) -> Result<Vec<String>, StoreError> {
    let mut added = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let mut sql = some_of(tx.engine(), table, columns, &mut rows, once);
        sql.push(" RETURNING \"").push(returning).push("\"");
        added.extend(tx.fetch(sql, &[Kind::Text]).await?.into_iter().flatten().filter_map(Cell::text));
    }
    Ok(added)
}

/// The statement that adds the next rows, as many as one takes.
fn some_of(
    engine: Engine,
    table: &str,
    columns: &[(&str, Kind)],
    rows: &mut std::vec::IntoIter<Row>,
    once: &str,
) -> Sql {
    let part = match engine {
        Engine::Postgres => bounded(rows),
        Engine::Sqlite => {
            let left = rows.len();
            let length = PREPARED.into_iter().find(|length| *length <= left).unwrap_or(1);
            rows.take(length).collect()
        }
    };
    let mut sql = insert_rows(engine, table, columns, part);
    sql.cached = true;
    sql.push(" ").push(once);
    sql
}

/// The next rows, as many as one statement takes; one at least.
fn bounded(rows: &mut impl Iterator<Item = Row>) -> Vec<Row> {
    let mut part = Vec::new();
    let mut bytes = 0;
    for row in rows {
        bytes +=
            row.iter().map(|cell| if let Cell::Text(text) = cell { text.len() } else { 8 }).sum::<usize>();
        part.push(row);
        if part.len() >= MANY || bytes >= MANY_BYTES {
            break;
        }
    }
    part
}

fn json_rows(columns: &[(&str, Kind)], rows: Vec<Vec<Cell>>) -> String {
    let mut text = String::from("[");
    for (index, row) in rows.into_iter().enumerate() {
        text.push_str(if index > 0 { ",{" } else { "{" });
        for (position, ((name, kind), cell)) in columns.iter().zip(row).enumerate() {
            text.push_str(if position > 0 { "," } else { "" });
            text.push_str(&Value::from(*name).to_string());
            text.push(':');
            match cell {
                Cell::Null => text.push_str("null"),
                Cell::Text(json) if matches!(kind, Kind::Json | Kind::List) => text.push_str(&json),
                Cell::Text(plain) => text.push_str(&Value::from(plain).to_string()),
                Cell::Int(number) => text.push_str(&number.to_string()),
                Cell::Float(number) => text.push_str(&Value::from(number).to_string()),
                Cell::Flag(flag) => text.push_str(if flag { "true" } else { "false" }),
            }
        }
        text.push('}');
    }
    text.push(']');
    text
}

/// The escape `\u0000` inside JSON text, unless its backslash is itself escaped.
fn without_escaped_nul(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("\\u0000") {
            rest = after;
        } else {
            // An escape is two bytes at least; both are ASCII in valid JSON.
            let cut = from.char_indices().nth(2).map_or(from.len(), |(at, _)| at);
            let (escape, after) = from.split_at(cut);
            out.push_str(escape);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// PostgreSQL's name of a kind.
pub(crate) fn pg_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Float => "double precision",
        Kind::Int | Kind::Serial => "integer",
        Kind::Big => "bigint",
        Kind::Flag => "boolean",
        Kind::Time => "timestamp(3)",
        Kind::Json => "jsonb",
        Kind::List => "text[]",
    }
}

/// SQL that reads `expression` of `kind` as one of the five plain types.
pub(crate) fn readable(engine: Engine, expression: &str, kind: Kind) -> String {
    match (engine, kind) {
        (Engine::Postgres, Kind::Time) => format!("to_char({expression}, 'YYYY-MM-DD HH24:MI:SS.MS')"),
        (Engine::Postgres, Kind::Json) => format!("{expression}::text"),
        (Engine::Postgres, Kind::List) => format!("array_to_json({expression})::text"),
        (Engine::Postgres, Kind::Int | Kind::Serial | Kind::Big) => format!("({expression})::bigint"),
        (Engine::Postgres, Kind::Float) => format!("({expression})::double precision"),
        _ => expression.to_owned(),
    }
}

/// Pools of connections to one database.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    pools: Pools,
    limits: PoolSettings,
}

#[derive(Debug, Clone)]
enum Pools {
    /// SQLite lets one connection write: it gets a pool of its own, so that readers never wait for it.
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
    },
    Postgres {
        main: PgPool,
        replica: Option<PgPool>,
    },
}

fn pg_pool(limits: PoolSettings) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(limits.max_connections)
        .acquire_timeout(limits.acquire_timeout)
        .idle_timeout(Duration::from_secs(300))
}

/// Pages that the writer of an SQLite file keeps in memory, as SQLite counts: negative is KiB. A batch of the request
/// log touches more than the usual 2 MB, as its ids are random.
const WRITE_CACHE_KIB: &str = "-8192";
/// Pages of 4 KiB in the write-ahead log before they go to the file: a batch of the request log alone has more than the
/// usual 1,000.
const CHECKPOINT_PAGES: &str = "4000";

impl Db {
    /// The same without a connection: the first statement makes one. SQLite is a file that is there or can be made.
    pub async fn open_later(settings: &Settings) -> Result<Self, StoreError> {
        let Target::Postgres(options) = &settings.target else { return Self::open(settings).await };
        let limits = settings.pool;
        let lazily = |options: &PgConnectOptions| pg_pool(limits).connect_lazy_with(options.clone());
        let replica = settings.replica.as_ref().map(|options| lazily(options));
        Ok(Self { pools: Pools::Postgres { main: lazily(options), replica }, limits })
    }

    /// Opens the pools; connects once, so that a wrong URL shows at start.
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        let limits = settings.pool;
        let pools = match &settings.target {
            Target::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Normal)
                    .foreign_keys(true)
                    .busy_timeout(BUSY);
                let writing = options
                    .clone()
                    .pragma("cache_size", WRITE_CACHE_KIB)
                    .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
                let writer = SqlitePoolOptions::new()
                    .max_connections(1)
                    .acquire_timeout(limits.acquire_timeout)
                    .connect_with(writing)
                    .await?;
                let readers = SqlitePoolOptions::new()
                    .max_connections(limits.max_connections.clamp(1, 4))
                    .acquire_timeout(limits.acquire_timeout)
                    .connect_with(options)
                    .await?;
                Pools::Sqlite { readers, writer }
            }
            Target::Postgres(options) => {
                let main = pg_pool(limits).connect_with(options.as_ref().clone()).await?;
                // A replica that is down must not keep the gateway from starting.
                let replica = settings.replica.as_ref();
                let replica =
                    replica.map(|options| pg_pool(limits).connect_lazy_with(options.as_ref().clone()));
                Pools::Postgres { main, replica }
            }
        };
        Ok(Self { pools, limits })
    }

    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres { .. } => Engine::Postgres,
        }
    }

    pub fn sql(&self, text: &str) -> Sql {
        Sql::new(self.engine(), text)
    }

    /// Reads rows, with `kinds` saying what each selected column is.
    pub async fn fetch(&self, sql: Sql, kinds: &[Kind]) -> Result<Vec<Row>, StoreError> {
        self.in_time(async {
            match &self.pools {
                Pools::Sqlite { readers, .. } => {
                    sqlite_fetch(&mut *readers.acquire().await?, sql, kinds).await
                }
                Pools::Postgres { main, .. } => {
                    pg_fetch(&mut *main.acquire().await?, sql, kinds, self.limits.prepared).await
                }
            }
        })
        .await
    }

    /// Reads rows for a report: from the replica when there is one that answers, else as [`Self::fetch`].
    pub async fn report(&self, sql: Sql, kinds: &[Kind]) -> Result<Vec<Row>, StoreError> {
        if let Pools::Postgres { replica: Some(replica), .. } = &self.pools {
            let reading = async {
                pg_fetch(&mut *replica.acquire().await?, sql.clone(), kinds, self.limits.prepared).await
            };
            match self.in_time(reading).await {
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(%error, "the read replica is not available; reading from the database itself");
                }
                answer => return answer,
            }
        }
        self.fetch(sql, kinds).await
    }

    /// Runs one statement that writes; tells how many rows it touched.
    pub async fn execute(&self, sql: Sql) -> Result<u64, StoreError> {
        self.in_time(async {
            match &self.pools {
                Pools::Sqlite { writer, .. } => sqlite_execute(&mut *writer.acquire().await?, sql).await,
                Pools::Postgres { main, .. } => {
                    pg_execute(&mut *main.acquire().await?, sql, self.limits.prepared).await
                }
            }
        })
        .await
    }

    /// Starts a transaction that will write.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let limits = self.limits;
        let inner = self
            .in_time(async {
                Ok(match &self.pools {
                    // Takes the write lock now: a transaction that upgrades later can fail half way.
                    Pools::Sqlite { writer, .. } => {
                        Inner::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?)
                    }
                    Pools::Postgres { main, .. } => Inner::Postgres(main.begin().await?),
                })
            })
            .await?;
        Ok(Tx { inner, limits })
    }

    /// Closes every connection, after what runs on them has ended.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres { main, replica } => {
                main.close().await;
                if let Some(replica) = replica {
                    replica.close().await;
                }
            }
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        in_time(self.limits.acquire_timeout + self.limits.statement_timeout, work).await
    }
}

async fn in_time<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(deadline, work).await.unwrap_or(Err(StoreError::TooSlow(deadline)))
}

/// A transaction; rolled back when dropped without [`Tx::commit`].
pub(crate) struct Tx {
    inner: Inner,
    limits: PoolSettings,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub fn engine(&self) -> Engine {
        match self.inner {
            Inner::Sqlite(_) => Engine::Sqlite,
            Inner::Postgres(_) => Engine::Postgres,
        }
    }

    pub fn sql(&self, text: &str) -> Sql {
        Sql::new(self.engine(), text)
    }

    pub async fn fetch(&mut self, sql: Sql, kinds: &[Kind]) -> Result<Vec<Row>, StoreError> {
        let PoolSettings { statement_timeout, prepared, .. } = self.limits;
        match &mut self.inner {
            Inner::Sqlite(tx) => in_time(statement_timeout, sqlite_fetch(tx, sql, kinds)).await,
            Inner::Postgres(tx) => in_time(statement_timeout, pg_fetch(tx, sql, kinds, prepared)).await,
        }
    }

    pub async fn execute(&mut self, sql: Sql) -> Result<u64, StoreError> {
        let PoolSettings { statement_timeout, prepared, .. } = self.limits;
        match &mut self.inner {
            Inner::Sqlite(tx) => in_time(statement_timeout, sqlite_execute(tx, sql)).await,
            Inner::Postgres(tx) => in_time(statement_timeout, pg_execute(tx, sql, prepared)).await,
        }
    }

    /// Runs several statements without values, e.g. of a migration.
    pub async fn batch(&mut self, text: String) -> Result<(), StoreError> {
        match &mut self.inner {
            Inner::Sqlite(tx) => sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **tx).await.map(drop)?,
            Inner::Postgres(tx) => sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **tx).await.map(drop)?,
        }
        Ok(())
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        let deadline = self.limits.statement_timeout;
        in_time(deadline, async {
            match self.inner {
                Inner::Sqlite(tx) => tx.commit().await?,
                Inner::Postgres(tx) => tx.commit().await?,
            }
            Ok(())
        })
        .await
    }
}

macro_rules! run {
    ($fetch:ident, $execute:ident, $connection:ty, $database:ty, $row:ty, $cell:ident) => {
        async fn $fetch(
            connection: &mut $connection,
            sql: Sql,
            kinds: &[Kind],
            prepared: bool,
        ) -> Result<Vec<Row>, StoreError> {
            let mut query =
                sqlx::query::<$database>(AssertSqlSafe(sql.text)).persistent(sql.cached && prepared);
            for value in sql.values {
                query = match value {
                    Cell::Null => query.bind(None::<String>),
                    Cell::Text(text) => query.bind(text),
                    Cell::Int(number) => query.bind(number),
                    Cell::Float(number) => query.bind(number),
                    Cell::Flag(flag) => query.bind(flag),
                };
            }
            let rows: Vec<$row> = query.fetch_all(connection).await?;
            let read = |row: &$row| {
                kinds
                    .iter()
                    .enumerate()
                    .map(|(index, kind)| $cell(row, index, *kind))
                    .collect::<Result<Row, _>>()
            };
            Ok(rows.iter().map(read).collect::<Result<Vec<Row>, _>>()?)
        }

        async fn $execute(connection: &mut $connection, sql: Sql, prepared: bool) -> Result<u64, StoreError> {
            let mut query =
                sqlx::query::<$database>(AssertSqlSafe(sql.text)).persistent(sql.cached && prepared);
            for value in sql.values {
                query = match value {
                    Cell::Null => query.bind(None::<String>),
                    Cell::Text(text) => query.bind(text),
                    Cell::Int(number) => query.bind(number),
                    Cell::Float(number) => query.bind(number),
                    Cell::Flag(flag) => query.bind(flag),
                };
            }
            Ok(query.execute(connection).await?.rows_affected())
        }
    };
}

run!(pg_fetch, pg_execute, PgConnection, Postgres, PgRow, pg_cell);
run!(lite_fetch, lite_execute, SqliteConnection, Sqlite, SqliteRow, sqlite_cell);

async fn sqlite_fetch(
    connection: &mut SqliteConnection,
    sql: Sql,
    kinds: &[Kind],
) -> Result<Vec<Row>, StoreError> {
    lite_fetch(connection, sql, kinds, true).await
}

async fn sqlite_execute(connection: &mut SqliteConnection, sql: Sql) -> Result<u64, StoreError> {
    lite_execute(connection, sql, true).await
}

fn pg_cell(row: &PgRow, index: usize, kind: Kind) -> Result<Cell, sqlx::Error> {
    Ok(match kind {
        Kind::Text | Kind::Time | Kind::Json | Kind::List => {
            row.try_get::<Option<String>, _>(index)?.map_or(Cell::Null, Cell::Text)
        }
        Kind::Int | Kind::Big | Kind::Serial => {
            row.try_get::<Option<i64>, _>(index)?.map_or(Cell::Null, Cell::Int)
        }
        Kind::Float => row.try_get::<Option<f64>, _>(index)?.map_or(Cell::Null, Cell::Float),
        Kind::Flag => row.try_get::<Option<bool>, _>(index)?.map_or(Cell::Null, Cell::Flag),
    })
}

/// Unchecked, because a SQLite column's declared type does not bind what is stored in it.
fn sqlite_cell(row: &SqliteRow, index: usize, kind: Kind) -> Result<Cell, sqlx::Error> {
    Ok(match kind {
        Kind::Text | Kind::Time | Kind::Json | Kind::List => {
            row.try_get_unchecked::<Option<String>, _>(index)?.map_or(Cell::Null, Cell::Text)
        }
        Kind::Int | Kind::Big | Kind::Serial => {
            row.try_get_unchecked::<Option<i64>, _>(index)?.map_or(Cell::Null, Cell::Int)
        }
        Kind::Float => row.try_get_unchecked::<Option<f64>, _>(index)?.map_or(Cell::Null, Cell::Float),
        Kind::Flag => row.try_get_unchecked::<Option<bool>, _>(index)?.map_or(Cell::Null, Cell::Flag),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_escape_of_nul_is_dropped() {
        for (text, kept) in [
            (r#""a\u0000b""#, r#""ab""#),
            (r#""a\\u0000b""#, r#""a\\u0000b""#),
            (r#""\\\u0000é\n""#, r#""\\é\n""#),
        ] {
            assert_eq!(without_escaped_nul(text), kept, "{text}");
        }
    }
}
