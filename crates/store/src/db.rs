//! One way to speak to both engines: statements with bound values out, plain cells in.
//!
//! Statements are written once. A placeholder and a selected column carry the casts that make texts of
//! PostgreSQL's timestamps, JSON and arrays, so that five plain types cross the line.

mod rows;
mod statement;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Row as _, Transaction};

use crate::StoreError;
use crate::schema::Kind;
use crate::settings::{PoolSettings, Settings, Target};

pub(crate) use rows::{add_rows, add_rows_returning, insert_rows};
pub use statement::Engine;
pub(crate) use statement::{Cell, Row, Sql, pg_type, readable};

/// How long a writer waits for another process that holds the SQLite file.
const BUSY: Duration = Duration::from_secs(10);

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
/// log touches more than the usual 2 MB, as the providers' ids are random.
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
