//! What replicas agree through where there is no Redis: texts that only the caller understands.
//!
//! Everything here runs by the database's clock, and each exchange while no other does, so that what the caller
//! decides is decided once. Two locks in all: one for counters, one for the log.

use std::collections::BTreeMap;

use crate::db::{Cell, Engine, Tx, insert_rows};
use crate::schema::{Kind, own};
use crate::{Store, StoreError};

/// What there is to decide on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedNotes {
    /// The database's time, milliseconds since 1970.
    pub now_ms: i64,
    /// When the first exchange of all was.
    pub born_ms: i64,
    /// When each replica was last heard; the one that speaks is heard now.
    pub seen: BTreeMap<String, i64>,
    /// True if the one that speaks had been heard before.
    pub known: bool,
    /// The texts that were asked for, as far as they are there.
    pub texts: BTreeMap<String, String>,
}

/// A text to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedState {
    /// Its name.
    pub name: String,
    /// The text.
    pub text: String,
    /// Until when it is among those that somebody wants.
    pub wanted_until_ms: i64,
}

/// What an exchange gives besides what the caller decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Names of texts that somebody wants.
    pub wanted: Vec<String>,
}

/// The end of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTail {
    /// Number of the newest entry; 0 if there is none.
    pub newest: u64,
    /// Number of the oldest entry that is kept; 0 if there is none.
    pub oldest: u64,
    /// Entries after the number that was asked about, oldest first.
    pub entries: Vec<String>,
}

/// Names of the two locks. Source: our own choice; PostgreSQL shares them with every user of the database.
const COUNTERS: i64 = 0x6661_7265_0001;
const LOG: i64 = 0x6661_7265_0002;
/// Replicas that were silent for so long are forgotten.
const FORGET_MS: i64 = 3_600_000;

impl Store {
    /// Reads texts, lets `decide` change them, and keeps what it gives; nobody else does so meanwhile.
    ///
    /// # Errors
    /// When the database is away; nothing is kept then.
    pub async fn shared_exchange<F>(
        &self,
        replica: &str,
        names: &[&str],
        decide: F,
    ) -> Result<Exchanged, StoreError>
    where
        F: FnOnce(&SharedNotes) -> Vec<SharedState> + Send,
    {
        let mut tx = self.db.begin().await?;
        lock(&mut tx, COUNTERS).await?;
        let mut notes = replicas(&mut tx, replica).await?;
        for chunk in names.chunks(CHUNK) {
            let mut sql =
                tx.sql("SELECT name, state FROM \"faregate_shared_counters\" WHERE name IN ").once();
            sql.bind_list(Kind::Text, chunk.iter().copied());
            for row in tx.fetch(sql, &[Kind::Text, Kind::Text]).await? {
                let mut cells = row.into_iter().filter_map(Cell::text);
                if let (Some(name), Some(text)) = (cells.next(), cells.next()) {
                    notes.texts.insert(name, text);
                }
            }
        }
        let kept = decide(&notes);
        for chunk in kept.chunks(CHUNK) {
            keep(&mut tx, chunk, notes.now_ms).await?;
        }
        let mut sql = tx.sql("SELECT name FROM \"faregate_shared_counters\" WHERE wanted_until_ms > ");
        sql.bind(Kind::Big, notes.now_ms);
        let wanted =
            tx.fetch(sql, &[Kind::Text]).await?.into_iter().flatten().filter_map(Cell::text).collect();
        tx.commit().await?;
        Ok(Exchanged { wanted })
    }

    /// Adds entries to a log, of which the newest `keep` stay.
    ///
    /// # Errors
    /// When the database is away; nothing is added then.
    pub async fn shared_append(&self, topic: &str, entries: &[String], keep: u64) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        lock(&mut tx, LOG).await?;
        let (_, newest) = ends(&mut tx, topic).await?;
        let columns = [("topic", Kind::Text), ("version", Kind::Big), ("entry", Kind::Text)];
        let mut version = newest;
        for chunk in entries.chunks(CHUNK) {
            let rows = chunk.iter().map(|entry| {
                version += 1;
                vec![Cell::from(topic), Cell::from(version), Cell::from(entry.as_str())]
            });
            let sql = insert_rows(tx.engine(), own::SHARED_LOG.name, &columns, rows.collect());
            tx.execute(sql).await?;
        }
        let mut sql = tx.sql("DELETE FROM \"faregate_shared_log\" WHERE topic = ");
        sql.bind(Kind::Text, topic).push(" AND version <= ");
        sql.bind(Kind::Big, version.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX)));
        tx.execute(sql).await?;
        tx.commit().await
    }

    /// What a log holds after `version`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn shared_since(&self, topic: &str, version: u64) -> Result<LogTail, StoreError> {
        let asked = i64::try_from(version).unwrap_or(i64::MAX);
        let mut sql = self.db.sql("SELECT version, entry FROM \"faregate_shared_log\" WHERE topic = ");
        // Numbers are given under a lock until commit, so that none comes late.
        sql.bind(Kind::Text, topic).push(" ORDER BY version");
        if version > 0 {
            sql = self.db.sql("SELECT version, entry FROM \"faregate_shared_log\" WHERE topic = ");
            sql.bind(Kind::Text, topic).push(" AND version >= ").bind(Kind::Big, asked);
            sql.push(" ORDER BY version");
        }
        let mut tail = LogTail::default();
        for row in self.db.fetch(sql, &[Kind::Big, Kind::Text]).await? {
            let mut cells = row.into_iter();
            let number = cells.next().map_or(0, |cell| cell.int());
            if number > asked {
                tail.entries.extend(cells.next().and_then(Cell::text));
            }
            tail.newest = tail.newest.max(number.unsigned_abs());
            tail.oldest = if tail.oldest == 0 { number.unsigned_abs() } else { tail.oldest };
        }
        if tail.newest == 0 && version > 0 {
            // Nothing at or after it: the log is shorter, or another one.
            let mut tx = self.db.begin().await?;
            let (oldest, newest) = ends(&mut tx, topic).await?;
            tail.newest = newest.unsigned_abs();
            tail.oldest = oldest.unsigned_abs();
        }
        Ok(tail)
    }

    /// The database's time, milliseconds since 1970.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn shared_now(&self) -> Result<i64, StoreError> {
        let sql = self.db.sql(&format!("SELECT {}", clock(self.engine())));
        let rows = self.db.fetch(sql, &[Kind::Big]).await?;
        Ok(rows.first().and_then(|row| row.first()).map_or(0, Cell::int))
    }

    /// Forgets texts that nobody has touched since `before_ms`; returns how many.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn shared_forget(&self, before_ms: i64) -> Result<u64, StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"faregate_shared_counters\" WHERE touched_ms < ");
        sql.bind(Kind::Big, before_ms);
        self.db.execute(sql).await
    }
}

/// Rows per statement.
const CHUNK: usize = 500;

fn clock(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        Engine::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    }
}

/// SQLite's transactions that write exclude each other anyway.
async fn lock(tx: &mut Tx, number: i64) -> Result<(), StoreError> {
    if tx.engine() == Engine::Postgres {
        let mut sql = tx.sql("SELECT pg_advisory_xact_lock(");
        sql.bind(Kind::Big, number).push(")::text");
        tx.fetch(sql, &[Kind::Text]).await?;
    }
    Ok(())
}

/// Notes that `replica` was heard, and tells who else was.
async fn replicas(tx: &mut Tx, replica: &str) -> Result<SharedNotes, StoreError> {
    let sql = tx.sql(&format!("SELECT {}", clock(tx.engine())));
    let rows = tx.fetch(sql, &[Kind::Big]).await?;
    let now_ms = rows.first().and_then(|row| row.first()).map_or(0, Cell::int);
    let mut notes = SharedNotes { now_ms, born_ms: now_ms, ..SharedNotes::default() };
    let sql = tx.sql("SELECT id, seen_ms FROM \"faregate_shared_replicas\"");
    let mut is_first = true;
    for row in tx.fetch(sql, &[Kind::Text, Kind::Big]).await? {
        let mut cells = row.into_iter();
        let (Some(id), Some(seen)) = (cells.next().and_then(Cell::text), cells.next()) else { continue };
        if id.is_empty() {
            notes.born_ms = seen.int();
            is_first = false;
        } else {
            notes.seen.insert(id, seen.int());
        }
    }
    notes.known = notes.seen.insert(replica.to_owned(), now_ms).is_some();
    let columns = [("id", Kind::Text), ("seen_ms", Kind::Big)];
    let mut rows = vec![vec![Cell::from(replica), Cell::from(now_ms)]];
    if is_first {
        rows.push(vec![Cell::from(""), Cell::from(now_ms)]);
    }
    let mut sql = insert_rows(tx.engine(), own::SHARED_REPLICAS.name, &columns, rows);
    sql.push(" ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms");
    tx.execute(sql).await?;
    let old = now_ms - FORGET_MS;
    if notes.seen.values().any(|seen| *seen < old) {
        let mut sql = tx.sql("DELETE FROM \"faregate_shared_replicas\" WHERE id <> '' AND seen_ms < ");
        sql.bind(Kind::Big, old);
        tx.execute(sql).await?;
        notes.seen.retain(|_, seen| *seen >= old);
    }
    Ok(notes)
}

async fn keep(tx: &mut Tx, states: &[SharedState], now_ms: i64) -> Result<(), StoreError> {
    let columns = [
        ("name", Kind::Text),
        ("state", Kind::Text),
        ("wanted_until_ms", Kind::Big),
        ("touched_ms", Kind::Big),
    ];
    let rows = states.iter().map(|state| {
        vec![
            Cell::from(state.name.as_str()),
            Cell::from(state.text.as_str()),
            Cell::from(state.wanted_until_ms),
            Cell::from(now_ms),
        ]
    });
    let mut sql = insert_rows(tx.engine(), own::SHARED_COUNTERS.name, &columns, rows.collect());
    sql.push(" ON CONFLICT (name) DO UPDATE SET state = excluded.state");
    sql.push(", wanted_until_ms = excluded.wanted_until_ms, touched_ms = excluded.touched_ms");
    tx.execute(sql).await.map(drop)
}

/// Numbers of the oldest and newest entry of a log; 0 if there is none.
async fn ends(tx: &mut Tx, topic: &str) -> Result<(i64, i64), StoreError> {
    let mut sql = tx.sql(
        "SELECT COALESCE(MIN(version), 0), COALESCE(MAX(version), 0) FROM \"faregate_shared_log\" WHERE topic = ",
    );
    sql.bind(Kind::Text, topic);
    let rows = tx.fetch(sql, &[Kind::Big, Kind::Big]).await?;
    let row = rows.first();
    let number = |at: usize| row.and_then(|row| row.get(at)).map_or(0, Cell::int);
    Ok((number(0), number(1)))
}
