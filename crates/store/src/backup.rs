//! Takes a whole database out and puts it back, on either engine.
//!
//! A backup is lines of JSON: a head, then one line per row in the order of the tables. It holds every table
//! known here; sealed values stay sealed. Made on SQLite it can be restored into PostgreSQL and the other way
//! round, which is also how an installation grows from one to the other.

use std::io::{BufRead, Write};
use std::path::Path;

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::db::{Cell, Engine, Tx, insert_rows};
use crate::record::{cell, json, kinds};
use crate::schema::{self, Kind, TABLES, Table};
use crate::{Store, StoreError};

/// Rows read or written at a time.
const CHUNK: usize = 200;

/// The form of the file.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    faregate_backup: u32,
    created_at: UtcMillis,
}

#[derive(Serialize, Deserialize)]
struct Line {
    table: String,
    row: Map<String, Value>,
}

impl Store {
    /// Writes every row of every table known here, as of one moment; returns how many. On SQLite writers wait
    /// meanwhile: [`Store::copy_file`] is faster there.
    ///
    /// # Errors
    /// When the database is away or `out` cannot be written.
    pub async fn backup(&self, out: &mut (dyn Write + Send), now: UtcMillis) -> Result<u64, StoreError> {
        let mut tx = self.db.begin().await?;
        if tx.engine() == Engine::Postgres {
            tx.batch("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY".to_owned()).await?;
        }
        put(out, &Head { faregate_backup: VERSION, created_at: now })?;
        let mut rows = 0;
        for table in TABLES {
            rows += write_table(&mut tx, table, out).await?;
        }
        out.flush().map_err(|problem| file("backup", &problem))?;
        Ok(rows)
    }

    /// Reads a backup into this database, which must be migrated and hold no rows of LiteLLM's tables. All or
    /// nothing; returns how many rows were read.
    ///
    /// # Errors
    /// [`StoreError::File`] with the line for what is no backup, or when there are rows already.
    pub async fn restore(&self, from: &mut (dyn BufRead + Send)) -> Result<u64, StoreError> {
        let mut tx = self.db.begin().await?;
        clear(&mut tx).await?;
        let mut rows = 0;
        let mut pending: Vec<Map<String, Value>> = Vec::new();
        let mut current: Option<&'static Table> = None;
        for (number, line) in from.lines().enumerate() {
            let line = line.map_err(|problem| file("backup", &problem))?;
            let broken = |problem: String| file(&format!("line {}", number + 1), &problem);
            if number == 0 {
                let head: Head =
                    serde_json::from_str(&line).map_err(|problem| broken(problem.to_string()))?;
                if head.faregate_backup != VERSION {
                    return Err(broken("made by another version".to_owned()));
                }
                continue;
            }
            let line: Line = serde_json::from_str(&line).map_err(|problem| broken(problem.to_string()))?;
            let table =
                schema::find(&line.table).ok_or_else(|| broken(format!("no table `{}`", line.table)))?;
            if current.is_some_and(|current| current != table) || pending.len() >= CHUNK {
                rows += write_rows(&mut tx, current, &mut pending).await?;
            }
            current = Some(table);
            pending.push(line.row);
        }
        rows += write_rows(&mut tx, current, &mut pending).await?;
        advance_sequences(&mut tx).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Copies the SQLite file into a new one while it is in use. False on PostgreSQL, where nothing is done.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub async fn copy_file(&self, to: &Path) -> Result<bool, StoreError> {
        if self.engine() == Engine::Postgres {
            return Ok(false);
        }
        let mut sql = self.db.sql("VACUUM INTO ").once();
        sql.bind(Kind::Text, to.to_string_lossy().into_owned());
        self.db.execute(sql).await?;
        Ok(true)
    }
}

fn file(path: &str, problem: &dyn std::fmt::Display) -> StoreError {
    StoreError::File { path: path.to_owned(), problem: problem.to_string() }
}

fn put(out: &mut (dyn Write + Send), line: &impl Serialize) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec(line).map_err(|problem| file("backup", &problem))?;
    text.push(b'\n');
    out.write_all(&text).map_err(|problem| file("backup", &problem))
}

/// Writes one table in the order of its key, a part at a time.
async fn write_table(
    tx: &mut Tx,
    table: &'static Table,
    out: &mut (dyn Write + Send),
) -> Result<u64, StoreError> {
    let key = table.primary.iter().map(|part| format!("t.\"{part}\"")).collect::<Vec<_>>().join(", ");
    let mut last: Option<Vec<Cell>> = None;
    let mut rows = 0;
    loop {
        let mut sql = tx.sql("SELECT ").once();
        sql.select("t", table.columns).push(&format!(" FROM \"{}\" AS t", table.name));
        if let Some(last) = last.take() {
            sql.push(&format!(" WHERE ({key}) > ("));
            for (index, (part, value)) in table.primary.iter().zip(last).enumerate() {
                sql.push(if index > 0 { ", " } else { "" });
                sql.bind(table.column(part).map_or(Kind::Text, |column| column.kind), value);
            }
            sql.push(")");
        }
        sql.push(&format!(" ORDER BY {key} LIMIT {CHUNK}"));
        let found = tx.fetch(sql, &kinds(table.columns)).await?;
        let full = found.len() == CHUNK;
        for cells in found {
            let mut row = Map::with_capacity(cells.len());
            let mut at = vec![Cell::Null; table.primary.len()];
            for (column, value) in table.columns.iter().zip(cells) {
                if let Some(part) = table.primary.iter().position(|part| *part == column.name)
                    && let Some(slot) = at.get_mut(part)
                {
                    slot.clone_from(&value);
                }
                let value = json(column.kind, value).map_err(|problem| StoreError::Unreadable {
                    table: table.name,
                    problem: format!("{}: {problem}", column.name),
                })?;
                if !value.is_null() {
                    row.insert(column.name.to_owned(), value);
                }
            }
            last = Some(at);
            rows += 1;
            put(out, &Line { table: table.name.to_owned(), row })?;
        }
        if !full {
            return Ok(rows);
        }
    }
}

/// Refuses a database in use; removes what migration itself put into our own tables.
async fn clear(tx: &mut Tx) -> Result<(), StoreError> {
    for table in TABLES {
        if !table.is_litellm() {
            tx.execute(tx.sql(&format!("DELETE FROM \"{}\"", table.name))).await?;
            continue;
        }
        let rows =
            tx.fetch(tx.sql(&format!("SELECT COUNT(*) FROM \"{}\"", table.name)), &[Kind::Big]).await?;
        if rows.first().and_then(|row| row.first()).is_some_and(|count| count.int() > 0) {
            let problem = "holds rows; restore into an empty database";
            return Err(file(table.name, &problem));
        }
    }
    Ok(())
}

async fn write_rows(
    tx: &mut Tx,
    table: Option<&'static Table>,
    rows: &mut Vec<Map<String, Value>>,
) -> Result<u64, StoreError> {
    let Some(table) = table.filter(|_| !rows.is_empty()) else { return Ok(0) };
    let columns: Vec<(&str, Kind)> = table.columns.iter().map(|column| (column.name, column.kind)).collect();
    let read = |row: &Map<String, Value>| {
        let cells = table
            .columns
            .iter()
            .map(|column| cell(table, column, row.get(column.name).unwrap_or(&Value::Null)));
        cells.collect::<Result<Vec<Cell>, _>>()
    };
    let cells = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let sql = insert_rows(tx.engine(), table.name, &columns, cells);
    tx.execute(sql).await?;
    let written = rows.len() as u64;
    rows.clear();
    Ok(written)
}

/// Counted columns go on after the highest number that was restored; SQLite does so by itself.
async fn advance_sequences(tx: &mut Tx) -> Result<(), StoreError> {
    if tx.engine() == Engine::Sqlite {
        return Ok(());
    }
    for table in TABLES {
        for column in table.columns.iter().filter(|column| column.kind == Kind::Serial) {
            let (table, column) = (table.name, column.name);
            tx.batch(format!(
                "SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'), \
                 (SELECT COALESCE(MAX(\"{column}\"), 0) + 1 FROM \"{table}\"), false)"
            ))
            .await?;
        }
    }
    Ok(())
}
