//! Answers by what the question means, where the database is PostgreSQL with the extension `vector`.
//!
//! The table is made when it is first needed, not by the migration: most installations never need it, and
//! many servers do not have the extension. Vectors of one scope are all compared, so the nearest is the
//! nearest; an approximate index over all scopes could miss it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use faregate_terms::UtcMillis;

use crate::db::{Cell, Engine, Sql, Tx};
use crate::schema::Kind;
use crate::{Store, StoreError};

/// Name of the lock under which the table is made. Source: our own choice.
const MAKING: i64 = 0x6661_7265_0003;
/// Rows that are over go with those that come, so many at a time.
const SWEEP: i64 = 100;

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS \"faregate_near\" (
    id text PRIMARY KEY,
    name text NOT NULL,
    scope text NOT NULL,
    length integer NOT NULL,
    vector vector NOT NULL,
    value bytea NOT NULL,
    ends_ms bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS \"faregate_near_scope_idx\" ON \"faregate_near\" (name, scope, length);
CREATE INDEX IF NOT EXISTS \"faregate_near_ends_idx\" ON \"faregate_near\" (ends_ms);
";

/// What is kept. The same id again replaces it.
#[derive(Debug, Clone, PartialEq)]
pub struct NearEntry<'a> {
    /// Different for every vector of a scope.
    pub id: &'a str,
    /// Which index.
    pub name: &'a str,
    /// Who may find it.
    pub scope: &'a str,
    /// What it is found by.
    pub vector: &'a [f32],
    /// What is found.
    pub value: &'a [u8],
    /// When it is over.
    pub ends: UtcMillis,
}

impl Store {
    /// Makes the table, and the extension where that is allowed.
    ///
    /// # Errors
    /// If the database is none of PostgreSQL's, or cannot have the extension; says what to do.
    pub async fn near_prepare(&self) -> Result<(), StoreError> {
        if self.engine() != Engine::Postgres {
            return Err(StoreError::NoVectors("it is SQLite; set DATABASE_URL to a PostgreSQL".to_owned()));
        }
        let mut tx = self.db.begin().await?;
        let mut sql = tx.sql("SELECT pg_advisory_xact_lock(");
        sql.bind(Kind::Big, MAKING).push(")::text");
        tx.fetch(sql, &[Kind::Text]).await?;
        if !has(&mut tx, "SELECT extname::text FROM pg_extension WHERE extname = 'vector'").await? {
            if !has(&mut tx, "SELECT name::text FROM pg_available_extensions WHERE name = 'vector'").await? {
                let remedy = "install pgvector on the server (https://github.com/pgvector/pgvector)";
                return Err(StoreError::NoVectors(format!("it has no extension `vector`; {remedy}")));
            }
            tx.batch("CREATE EXTENSION vector".to_owned()).await.map_err(|error| {
                let remedy = "let an administrator run `CREATE EXTENSION vector` in this database";
                StoreError::NoVectors(format!("{error}; {remedy}"))
            })?;
        }
        tx.batch(TABLE.to_owned()).await?;
        tx.commit().await
    }

    /// The value whose vector is nearest, and its cosine similarity.
    ///
    /// # Errors
    /// When the database is away, or [`Store::near_prepare`] was not called.
    pub async fn near_find(
        &self,
        name: &str,
        scope: &str,
        vector: &[f32],
        now: UtcMillis,
    ) -> Result<Option<(f64, Vec<u8>)>, StoreError> {
        let mut sql = self.db.sql("SELECT 1 - (vector <=> ");
        vector_of(&mut sql, vector).push("), encode(value, 'base64') FROM \"faregate_near\" WHERE name = ");
        sql.bind(Kind::Text, name).push(" AND scope = ").bind(Kind::Text, scope);
        sql.push(" AND length = ").bind(Kind::Int, length(vector));
        sql.push(" AND ends_ms > ").bind(Kind::Big, now.millis());
        sql.push(" ORDER BY 1 DESC LIMIT 1");
        let Some(row) = self.db.fetch(sql, &[Kind::Float, Kind::Text]).await?.pop() else { return Ok(None) };
        let mut cells = row.into_iter();
        let similarity = cells.next().unwrap_or(Cell::Null).float();
        let text = cells.next().and_then(Cell::text).unwrap_or_default();
        // PostgreSQL breaks lines.
        let text: String = text.split_ascii_whitespace().collect();
        let value = STANDARD
            .decode(text)
            .map_err(|error| StoreError::Unreadable { table: "faregate_near", problem: error.to_string() })?;
        Ok(Some((similarity, value)))
    }

    /// Keeps an entry, and drops some of those that are over.
    ///
    /// # Errors
    /// When the database is away, or [`Store::near_prepare`] was not called.
    pub async fn near_keep(&self, entry: &NearEntry<'_>, now: UtcMillis) -> Result<(), StoreError> {
        let columns =
            "INSERT INTO \"faregate_near\" (id, name, scope, length, vector, value, ends_ms) VALUES (";
        let mut sql = self.db.sql(columns);
        sql.bind(Kind::Text, entry.id).push(", ").bind(Kind::Text, entry.name).push(", ");
        sql.bind(Kind::Text, entry.scope).push(", ").bind(Kind::Int, length(entry.vector)).push(", ");
        vector_of(&mut sql, entry.vector).push(", decode(").bind(Kind::Text, STANDARD.encode(entry.value));
        sql.push(", 'base64'), ").bind(Kind::Big, entry.ends.millis());
        sql.push(") ON CONFLICT (id) DO UPDATE SET value = excluded.value, ends_ms = excluded.ends_ms");
        self.db.execute(sql).await?;
        let mut sql = self.db.sql("DELETE FROM \"faregate_near\" WHERE id IN (");
        sql.push("SELECT id FROM \"faregate_near\" WHERE ends_ms <= ").bind(Kind::Big, now.millis());
        sql.push(" LIMIT ").bind(Kind::Big, SWEEP).push(" FOR UPDATE SKIP LOCKED)");
        self.db.execute(sql).await.map(drop)
    }

    /// Drops every entry of an index.
    ///
    /// # Errors
    /// When the database is away, or [`Store::near_prepare`] was not called.
    pub async fn near_flush(&self, name: &str) -> Result<(), StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"faregate_near\" WHERE name = ");
        sql.bind(Kind::Text, name);
        self.db.execute(sql).await.map(drop)
    }
}

async fn has(tx: &mut Tx, query: &str) -> Result<bool, StoreError> {
    let sql = tx.sql(query);
    Ok(!tx.fetch(sql, &[Kind::Text]).await?.is_empty())
}

fn length(vector: &[f32]) -> i64 {
    i64::try_from(vector.len()).unwrap_or(i64::MAX)
}

/// A placeholder for a vector. It travels as text: `[0.5,-1]`.
fn vector_of<'a>(sql: &'a mut Sql, vector: &[f32]) -> &'a mut Sql {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    sql.bind(Kind::Text, format!("[{}]", numbers.join(","))).push("::vector")
}
