//! A fresh, migrated store on either engine.

use std::ops::Deref;

use faregate_store::{Settings, Store};
use faregate_terms::UtcMillis;
use faregate_testkit::postgres::Database;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// The moment every test starts at: 2026-03-01T12:00:00Z.
pub const NOW: UtcMillis = UtcMillis::from_millis(1_772_366_400_000);

/// A store and what it lives in.
pub struct Bench {
    store: Store,
    settings: Settings,
    _folder: Option<TempDir>,
    database: Option<Database>,
}

impl Deref for Bench {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Bench {
    pub async fn sqlite() -> Self {
        let bench = Self::empty_sqlite().await;
        bench.migrate(NOW).await.unwrap();
        bench
    }

    pub async fn postgres() -> Self {
        let bench = Self::empty_postgres().await;
        bench.migrate(NOW).await.unwrap();
        bench
    }

    pub async fn empty_sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let settings = Settings::sqlite(folder.path().join("faregate.db"));
        let store = Store::connect(&settings).await.unwrap();
        Self { store, settings, _folder: Some(folder), database: None }
    }

    pub async fn empty_postgres() -> Self {
        let database = Database::create().await;
        let settings = Settings::from_url("TEST_DATABASE_URL", &database.url()).unwrap();
        let store = Store::connect(&settings).await.unwrap();
        Self { store, settings, _folder: None, database: Some(database) }
    }

    /// Another process on the same database.
    pub async fn replica(&self) -> Store {
        Store::connect(&self.settings).await.unwrap()
    }

    /// Runs SQL that somebody else may have run.
    pub async fn run_sql(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        if let Some(database) = &self.database {
            let mut connection = PgConnection::connect(&database.url()).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        } else {
            let options = SqliteConnectOptions::new().filename(self.settings.sqlite_path().unwrap());
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
    }

    /// The first column of what a query finds, as text.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        if let Some(database) = &self.database {
            let mut connection = PgConnection::connect(&database.url()).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        } else {
            let options = SqliteConnectOptions::new().filename(self.settings.sqlite_path().unwrap());
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
    }
}

/// Makes of `async fn name(store: Bench)` one test per engine.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($store:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "a short body may need nothing of its file")]
            use super::*;

            async fn body($store: $crate::support::Bench) $body

            #[tokio::test]
            async fn on_sqlite() {
                body($crate::support::Bench::sqlite().await).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                body($crate::support::Bench::postgres().await).await;
            }
        }
    )*};
}

pub(crate) use on_both;
