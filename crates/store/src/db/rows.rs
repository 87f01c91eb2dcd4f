//! Statements that add many rows.

use serde_json::Value;

use super::Tx;
use super::statement::{Cell, Engine, Row, Sql, pg_type};
use crate::StoreError;
use crate::schema::Kind;

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
/// many were added. Rows are asked for as they are written: a whole batch of them would push everything else out of
/// the processor's caches.
pub(crate) async fn add_rows(
    tx: &mut Tx,
    table: &str,
    columns: &[(&str, Kind)],
    mut rows: impl ExactSizeIterator<Item = Row>,
    once: &str,
) -> Result<u64, StoreError> {
    let mut added = 0;
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
    mut rows: impl ExactSizeIterator<Item = Row>,
    once: &str,
    returning: &str,
) -> Result<Vec<String>, StoreError> {
    let mut added = Vec::with_capacity(rows.len());
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
    rows: &mut impl ExactSizeIterator<Item = Row>,
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
