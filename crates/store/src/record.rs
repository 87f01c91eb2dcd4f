//! Typed rows: the same get, list, insert, update and delete for every table.
//!
//! A record is a plain struct whose fields are named like its table's columns; serde carries values between
//! the two, and between the struct and LiteLLM's JSON. A partial update names columns and values and is
//! checked against the table, so that a wrong name or type is an error of the caller and not of the database.

use faregate_terms::UtcMillis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use crate::db::{Cell, Engine, Row, Sql, Tx};
use crate::ledger::{SubjectKind, model_budgets, totals};
use crate::query::{ListQuery, Page};
use crate::schema::{Column, Kind, Table};
use crate::{Store, StoreError};

/// A row of one table.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Where it is stored. Every column is a member of the struct's JSON.
    const TABLE: &'static Table;
    /// Whose spend the row carries, for tables with an exact total behind their `spend` column.
    const SUBJECT: Option<SubjectKind> = None;
}

/// A partial update: only the columns named here change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patch(Map<String, Value>);

impl Patch {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one column; `None` and `null` empty it.
    pub fn set(mut self, column: &str, value: impl Serialize) -> Self {
        self.0.insert(column.to_owned(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }

    /// True when nothing would change.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Map<String, Value>> for Patch {
    fn from(columns: Map<String, Value>) -> Self {
        Self(columns)
    }
}

impl Store {
    /// The row with this primary key (its parts in the table's order).
    ///
    /// # Errors
    /// When the database is away, or the row is not of the form its columns promise.
    pub async fn get<T: Record>(&self, key: &[&str]) -> Result<Option<T>, StoreError> {
        let sql = get_sql::<T>(self.db.engine(), key);
        self.db.fetch(sql, &kinds(T::TABLE.columns)).await?.into_iter().next().map(decode).transpose()
    }

    /// Rows that match, sorted, one page of them, with the count of all.
    ///
    /// # Errors
    /// As [`Self::get`]; also for a filter on a column that does not exist or a value that does not fit it.
    pub async fn list<T: Record>(&self, query: &ListQuery) -> Result<Page<T>, StoreError> {
        let total = if query.counts() {
            let mut sql = self.db.sql("SELECT COUNT(*) FROM \"");
            sql.push(T::TABLE.name).push("\" AS t");
            query.write_filters(T::TABLE, "t", &mut sql)?;
            let rows = self.db.fetch(sql.once(), &[Kind::Big]).await?;
            rows.first().and_then(|row| row.first()).map_or(0, Cell::int).unsigned_abs()
        } else {
            0
        };
        let mut sql = self.db.sql("SELECT ");
        sql.select("t", T::TABLE.columns).push(" FROM \"").push(T::TABLE.name).push("\" AS t");
        query.write_filters(T::TABLE, "t", &mut sql)?;
        query.write_order(T::TABLE, "t", &mut sql)?;
        let rows = self.db.fetch(sql.once(), &kinds(T::TABLE.columns)).await?;
        let rows = rows.into_iter().map(decode).collect::<Result<Vec<T>, _>>()?;
        Ok(Page { rows, total })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when its key is taken, [`StoreError::Reference`] when it points nowhere.
    pub async fn insert<T: Record>(&self, record: &T, now: UtcMillis) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        insert(&mut tx, record, now).await?;
        tx.commit().await
    }

    /// Adds a row and returns it as it is stored, with what the database filled in.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn add<T: Record>(&self, record: &T, now: UtcMillis) -> Result<T, StoreError> {
        let mut tx = self.db.begin().await?;
        insert(&mut tx, record, now).await?;
        let columns = object(record)?;
        let parts: Vec<String> =
            T::TABLE.primary.iter().map(|part| plain(columns.get(*part).unwrap_or(&Value::Null))).collect();
        let key: Vec<&str> = parts.iter().map(String::as_str).collect();
        let row = get(&mut tx, &key).await?;
        tx.commit().await?;
        let lost =
            || StoreError::Unreadable { table: T::TABLE.name, problem: "a new row is gone".to_owned() };
        row.ok_or_else(lost)
    }

    /// Changes the named columns of one row, sets `updated_at`, and returns the row; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::NoColumn`] and [`StoreError::BadValue`] for what does not fit the table.
    pub async fn update<T: Record>(
        &self,
        key: &[&str],
        patch: &Patch,
        now: UtcMillis,
    ) -> Result<Option<T>, StoreError> {
        let mut tx = self.db.begin().await?;
        let row = update(&mut tx, key, patch, now).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Adds a row, or replaces all columns of the one with its key.
    ///
    /// # Errors
    /// As [`Self::insert`], but for a taken key.
    pub async fn put<T: Record>(&self, record: &T, now: UtcMillis) -> Result<(), StoreError> {
        let Value::Object(mut columns) = object(record)? else { return Ok(()) };
        let mut tx = self.db.begin().await?;
        let parts: Vec<String> =
            T::TABLE.primary.iter().map(|part| plain(columns.get(*part).unwrap_or(&Value::Null))).collect();
        let key: Vec<&str> = parts.iter().map(String::as_str).collect();
        for part in T::TABLE.primary {
            columns.remove(*part);
        }
        columns.remove("created_at");
        columns.remove("updated_at");
        if update::<T>(&mut tx, &key, &Patch(columns), now).await?.is_none() {
            insert(&mut tx, record, now).await?;
        }
        tx.commit().await
    }

    /// Removes one row; tells whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Reference`] when other rows need it.
    pub async fn delete<T: Record>(&self, key: &[&str]) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let gone = delete::<T>(&mut tx, key).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

/// The row with this key, inside a transaction.
pub(crate) async fn get<T: Record>(tx: &mut Tx, key: &[&str]) -> Result<Option<T>, StoreError> {
    let sql = get_sql::<T>(tx.engine(), key);
    tx.fetch(sql, &kinds(T::TABLE.columns)).await?.into_iter().next().map(decode).transpose()
}

/// The row with this key, kept from changing until the transaction ends.
pub(crate) async fn locked<T: Record>(tx: &mut Tx, key: &[&str]) -> Result<Option<T>, StoreError> {
    let mut sql = get_sql::<T>(tx.engine(), key);
    for_update(&mut sql);
    tx.fetch(sql, &kinds(T::TABLE.columns)).await?.into_iter().next().map(decode).transpose()
}

/// Adds a row lock to a `SELECT`; SQLite's transaction holds the one write lock already.
pub(crate) fn for_update(sql: &mut Sql) {
    if sql.engine == Engine::Postgres {
        sql.push(" FOR UPDATE");
    }
}

/// Adds a row inside a transaction. Columns without a value get the database's default.
pub(crate) async fn insert<T: Record>(tx: &mut Tx, record: &T, now: UtcMillis) -> Result<(), StoreError> {
    let Value::Object(columns) = object(record)? else { return Ok(()) };
    let mut filled = Vec::new();
    for column in T::TABLE.columns {
        let value = columns.get(column.name).unwrap_or(&Value::Null);
        let value = match value {
            Value::Null if matches!(column.name, "created_at" | "updated_at") => Cell::from(now),
            Value::Null => continue,
            value => cell(T::TABLE, column, value)?,
        };
        filled.push((column, value));
    }
    let mut sql = tx.sql("INSERT INTO \"");
    sql.push(T::TABLE.name).push("\" (");
    let names: Vec<String> = filled.iter().map(|(column, _)| format!("\"{}\"", column.name)).collect();
    sql.push(&names.join(", ")).push(") VALUES (");
    for (index, (column, value)) in filled.into_iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        sql.bind(column.kind, value);
    }
    sql.push(")");
    tx.execute(sql.once()).await?;
    if let Some(subject) = T::SUBJECT {
        let key = T::TABLE.primary.iter().map(|part| plain(columns.get(*part).unwrap_or(&Value::Null)));
        let parts: Vec<String> = key.collect();
        totals::retake(tx, subject, &parts, now).await?;
    }
    Ok(())
}

/// Changes the named columns of one row inside a transaction.
pub(crate) async fn update<T: Record>(
    tx: &mut Tx,
    key: &[&str],
    patch: &Patch,
    now: UtcMillis,
) -> Result<Option<T>, StoreError> {
    let mut sql = tx.sql("UPDATE \"");
    sql.push(T::TABLE.name).push("\" AS t SET ");
    let mut first = true;
    let mut assign = |sql: &mut Sql, column: &Column, value: Cell| {
        sql.push(if first { "\"" } else { ", \"" }).push(column.name).push("\" = ");
        first = false;
        sql.bind(column.kind, value);
    };
    for (name, value) in &patch.0 {
        let column = column(T::TABLE, name)?;
        if value.is_null() && !column.null && column.kind != Kind::List {
            return Err(bad(T::TABLE, column));
        }
        assign(&mut sql, column, cell(T::TABLE, column, value)?);
    }
    if let Some(column) = T::TABLE.column("updated_at").filter(|_| !patch.0.contains_key("updated_at")) {
        assign(&mut sql, column, now.into());
    }
    if first {
        return get(tx, key).await;
    }
    sql.push(" WHERE ");
    write_key(T::TABLE, "t", key, &mut sql);
    sql.push(" RETURNING ");
    // SQLite knows the row by the table's own name only after RETURNING.
    let name = match tx.engine() {
        Engine::Postgres => "t".to_owned(),
        Engine::Sqlite => format!("\"{}\"", T::TABLE.name),
    };
    sql.select(&name, T::TABLE.columns);
    let rows = tx.fetch(sql.once(), &kinds(T::TABLE.columns)).await?;
    if let (Some(subject), true, false) = (T::SUBJECT, patch.0.contains_key("spend"), rows.is_empty()) {
        let parts: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        totals::retake(tx, subject, &parts, now).await?;
    }
    rows.into_iter().next().map(decode).transpose()
}

/// Removes one row inside a transaction.
pub(crate) async fn delete<T: Record>(tx: &mut Tx, key: &[&str]) -> Result<bool, StoreError> {
    let mut sql = tx.sql("DELETE FROM \"");
    sql.push(T::TABLE.name).push("\" AS t WHERE ");
    write_key(T::TABLE, "t", key, &mut sql);
    let gone = tx.execute(sql).await? > 0;
    if let Some(subject) = T::SUBJECT {
        totals::forget(tx, subject, key).await?;
        if let [id] = key {
            model_budgets::forget(tx, subject, id).await?;
        }
    }
    Ok(gone)
}

/// Reads one row of a table's columns, in their order.
pub(crate) fn decode<T: Record>(row: Row) -> Result<T, StoreError> {
    let unreadable = |problem: String| StoreError::Unreadable { table: T::TABLE.name, problem };
    let mut columns = Map::with_capacity(row.len());
    for (column, cell) in T::TABLE.columns.iter().zip(row) {
        let value =
            json(column.kind, cell).map_err(|problem| unreadable(format!("{}: {problem}", column.name)))?;
        columns.insert(column.name.to_owned(), value);
    }
    serde_json::from_value(Value::Object(columns)).map_err(|problem| unreadable(problem.to_string()))
}

/// A cell as JSON. A missing list is empty.
pub(crate) fn json(kind: Kind, cell: Cell) -> Result<Value, serde_json::Error> {
    Ok(match cell {
        Cell::Null if kind == Kind::List => Value::Array(Vec::new()),
        Cell::Null => Value::Null,
        Cell::Text(text) if matches!(kind, Kind::Json | Kind::List) => serde_json::from_str(&text)?,
        Cell::Text(text) if kind == Kind::Time => Value::String(text),
        Cell::Text(text) => Value::String(text),
        Cell::Int(number) => number.into(),
        Cell::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Cell::Flag(flag) => flag.into(),
    })
}

/// A JSON value as the cell a column takes.
pub(crate) fn cell(table: &'static Table, column: &Column, value: &Value) -> Result<Cell, StoreError> {
    let wrong = || bad(table, column);
    Ok(match (column.kind, value) {
        (Kind::List, Value::Null) => Cell::from("[]"),
        (_, Value::Null) => Cell::Null,
        (Kind::Text, Value::String(text)) => Cell::from(text.as_str()),
        (Kind::Time, Value::String(text)) => UtcMillis::parse(text).map_err(|_| wrong())?.into(),
        (Kind::Json, value) => Cell::Text(value.to_string()),
        (Kind::List, Value::Array(items)) if items.iter().all(Value::is_string) => {
            Cell::Text(value.to_string())
        }
        (Kind::Flag, Value::Bool(flag)) => Cell::Flag(*flag),
        (Kind::Float, Value::Number(number)) => number.as_f64().map(Cell::Float).ok_or_else(wrong)?,
        (Kind::Int | Kind::Serial, value) => {
            let number = whole(value).ok_or_else(wrong)?;
            i32::try_from(number).map_err(|_| wrong())?;
            Cell::Int(number)
        }
        (Kind::Big, value) => Cell::Int(whole(value).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    })
}

/// A whole number, also when it was written `5.0`.
fn whole(value: &Value) -> Option<i64> {
    let float = || value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9.0e15);
    #[expect(clippy::cast_possible_truncation, reason = "whole and within the range of an i64")]
    value.as_i64().or_else(|| float().map(|number| number as i64))
}

fn bad(table: &'static Table, column: &Column) -> StoreError {
    let expected = match column.kind {
        Kind::Text => "text",
        Kind::Float => "a number",
        Kind::Int | Kind::Serial => "a whole number of at most 32 bits",
        Kind::Big => "a whole number",
        Kind::Flag => "true or false",
        Kind::Time => "a date and time such as 2026-01-31T12:00:00Z",
        Kind::Json => "a JSON value",
        Kind::List => "a list of texts",
    };
    StoreError::BadValue { table: table.name, column: column.name.to_owned(), expected }
}

pub(crate) fn column(table: &'static Table, name: &str) -> Result<&'static Column, StoreError> {
    table.column(name).ok_or_else(|| StoreError::NoColumn { table: table.name, column: name.to_owned() })
}

pub(crate) fn kinds(columns: &[Column]) -> Vec<Kind> {
    columns.iter().map(|column| column.kind).collect()
}

fn get_sql<T: Record>(engine: Engine, key: &[&str]) -> Sql {
    let mut sql = Sql::new(engine, "SELECT ");
    sql.select("t", T::TABLE.columns).push(" FROM \"").push(T::TABLE.name).push("\" AS t WHERE ");
    write_key(T::TABLE, "t", key, &mut sql);
    sql
}

/// A key with too few parts matches nothing.
fn write_key(table: &'static Table, alias: &str, key: &[&str], sql: &mut Sql) {
    if key.len() != table.primary.len() {
        sql.push("1 = 0");
        return;
    }
    for (index, (name, part)) in table.primary.iter().zip(key).enumerate() {
        sql.push(if index > 0 { " AND " } else { "" }).push(alias).push(".\"").push(name).push("\" = ");
        match table.column(name).map_or(Kind::Text, |column| column.kind) {
            Kind::Int | Kind::Serial | Kind::Big => sql.bind(Kind::Big, part.parse::<i64>().ok()),
            kind => sql.bind(kind, *part),
        };
    }
}

fn object<T: Record>(record: &T) -> Result<Value, StoreError> {
    serde_json::to_value(record)
        .map_err(|problem| StoreError::Unreadable { table: T::TABLE.name, problem: problem.to_string() })
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
