//! Which rows a list shows: filters, order, page.

use serde_json::Value;

use crate::StoreError;
use crate::db::{Engine, Sql};
use crate::record::{cell, column};
use crate::schema::{Kind, Table};

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows of this page.
    pub rows: Vec<T>,
    /// How many match in all; 0 when the query said not to count.
    pub total: u64,
}

/// One condition. A column's value is compared as what the column holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Equal.
    Is(&'static str, Value),
    /// Not equal; rows without a value match.
    Not(&'static str, Value),
    /// One of these. An empty list matches nothing.
    In(&'static str, Vec<Value>),
    /// The text is contained, in any case.
    Contains(&'static str, String),
    /// There is no value.
    Empty(&'static str),
    /// There is a value.
    Present(&'static str),
    /// Greater or equal.
    AtLeast(&'static str, Value),
    /// Less or equal.
    AtMost(&'static str, Value),
    /// Less.
    Below(&'static str, Value),
    /// The list, or the JSON array, holds this text.
    Holds(&'static str, String),
    /// The member of the JSON object, at this path, is this text.
    Member(&'static str, &'static [&'static str], String),
    /// At least one of these.
    Any(Vec<Filter>),
    /// Not this.
    Except(Box<Filter>),
}

/// Up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    Up,
    /// Largest first.
    Down,
}

/// Filters, all of which must hold, an order, and a page.
#[derive(Debug, Clone, PartialEq)]
pub struct ListQuery {
    filters: Vec<Filter>,
    order: Vec<(String, Order)>,
    offset: u64,
    limit: u64,
    count: bool,
}

impl Default for ListQuery {
    fn default() -> Self {
        Self { filters: Vec::new(), order: Vec::new(), offset: 0, limit: 1000, count: true }
    }
}

impl ListQuery {
    /// Everything, the first thousand rows of it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only rows for which this holds, too.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Then by this column. The primary key comes last by itself, so that pages do not overlap.
    pub fn sort(mut self, column: &str, order: Order) -> Self {
        self.order.push((column.to_owned(), order));
        self
    }

    /// The page with this number, from 1, of this many rows.
    pub fn page(mut self, number: u64, size: u64) -> Self {
        self.limit = size.max(1);
        self.offset = number.saturating_sub(1).saturating_mul(self.limit);
        self
    }

    /// This many rows, after so many others.
    pub fn slice(mut self, offset: u64, rows: u64) -> Self {
        (self.offset, self.limit) = (offset, rows.max(1));
        self
    }

    /// Does not count all matching rows: cheaper on large tables.
    pub fn uncounted(mut self) -> Self {
        self.count = false;
        self
    }

    pub(crate) fn counts(&self) -> bool {
        self.count
    }

    /// Adds ` WHERE ...`, or nothing.
    pub(crate) fn write_filters(
        &self,
        table: &'static Table,
        alias: &str,
        sql: &mut Sql,
    ) -> Result<(), StoreError> {
        for (index, filter) in self.filters.iter().enumerate() {
            sql.push(if index == 0 { " WHERE " } else { " AND " });
            filter.write(table, alias, sql)?;
        }
        Ok(())
    }

    /// Adds ` ORDER BY ... LIMIT ... OFFSET ...`.
    pub(crate) fn write_order(
        &self,
        table: &'static Table,
        alias: &str,
        sql: &mut Sql,
    ) -> Result<(), StoreError> {
        sql.push(" ORDER BY ");
        for (name, order) in &self.order {
            let name = column(table, name)?.name;
            sql.push(alias).push(".\"").push(name).push("\"");
            sql.push(if *order == Order::Up { " ASC NULLS FIRST, " } else { " DESC NULLS LAST, " });
        }
        let sorted = |part: &&&str| !self.order.iter().any(|(name, _)| name == **part);
        let rest: Vec<String> =
            table.primary.iter().filter(sorted).map(|part| format!("{alias}.\"{part}\"")).collect();
        sql.push(if rest.is_empty() { "1" } else { "" });
        if rest.is_empty() {
            // Every part of the key is sorted by already; an expression keeps the statement well-formed.
            sql.push(" + 0");
        }
        sql.push(&rest.join(", "));
        let bounded = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        sql.push(" LIMIT ").bind(Kind::Big, bounded(self.limit));
        sql.push(" OFFSET ").bind(Kind::Big, bounded(self.offset));
        Ok(())
    }
}

impl Filter {
    pub(crate) fn write(&self, table: &'static Table, alias: &str, sql: &mut Sql) -> Result<(), StoreError> {
        match self {
            Self::Is(name, value) => compare(table, alias, name, "=", value, sql),
            Self::AtLeast(name, value) => compare(table, alias, name, ">=", value, sql),
            Self::AtMost(name, value) => compare(table, alias, name, "<=", value, sql),
            Self::Below(name, value) => compare(table, alias, name, "<", value, sql),
            Self::Not(name, value) => {
                sql.push("(");
                compare(table, alias, name, "<>", value, sql)?;
                named(table, alias, name, sql.push(" OR "))?;
                sql.push(" IS NULL)");
                Ok(())
            }
            Self::In(name, values) => {
                if values.is_empty() {
                    sql.push("1 = 0");
                    return Ok(());
                }
                let column = column(table, name)?;
                named(table, alias, name, sql)?;
                sql.push(" IN ");
                let cells =
                    values.iter().map(|value| cell(table, column, value)).collect::<Result<Vec<_>, _>>()?;
                sql.bind_list(column.kind, cells);
                Ok(())
            }
            Self::Contains(name, text) => {
                sql.push("LOWER(");
                named(table, alias, name, sql)?;
                let escaped =
                    text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
                sql.push(") LIKE ").bind(Kind::Text, format!("%{escaped}%")).push(" ESCAPE '\\'");
                Ok(())
            }
            Self::Empty(name) => {
                named(table, alias, name, sql)?;
                sql.push(" IS NULL");
                Ok(())
            }
            Self::Present(name) => {
                named(table, alias, name, sql)?;
                sql.push(" IS NOT NULL");
                Ok(())
            }
            Self::Holds(name, text) => holds(table, alias, name, text, sql),
            Self::Member(name, path, text) => member(table, alias, name, path, text, sql),
            Self::Any(filters) => {
                sql.push("(1 = 0");
                for filter in filters {
                    sql.push(" OR ");
                    filter.write(table, alias, sql)?;
                }
                sql.push(")");
                Ok(())
            }
            Self::Except(filter) => {
                sql.push("NOT COALESCE(");
                filter.write(table, alias, sql)?;
                sql.push(if sql.engine == Engine::Postgres { ", FALSE)" } else { ", 0)" });
                Ok(())
            }
        }
    }
}

fn named(table: &'static Table, alias: &str, name: &str, sql: &mut Sql) -> Result<(), StoreError> {
    let name = column(table, name)?.name;
    sql.push(alias).push(".\"").push(name).push("\"");
    Ok(())
}

fn compare(
    table: &'static Table,
    alias: &str,
    name: &str,
    operator: &str,
    value: &Value,
    sql: &mut Sql,
) -> Result<(), StoreError> {
    let column = column(table, name)?;
    named(table, alias, name, sql)?;
    sql.push(" ").push(operator).push(" ").bind(column.kind, cell(table, column, value)?);
    Ok(())
}

fn holds(
    table: &'static Table,
    alias: &str,
    name: &str,
    text: &str,
    sql: &mut Sql,
) -> Result<(), StoreError> {
    let kind = column(table, name)?.kind;
    match (sql.engine, kind) {
        (Engine::Postgres, Kind::List) => {
            sql.bind(Kind::Text, text).push(" = ANY(");
            named(table, alias, name, sql)?;
            sql.push(")");
        }
        (Engine::Postgres, _) => {
            named(table, alias, name, sql)?;
            sql.push(" @> ").bind(Kind::Json, Value::from(vec![text]).to_string());
        }
        (Engine::Sqlite, _) => {
            sql.push("EXISTS (SELECT 1 FROM json_each(");
            named(table, alias, name, sql)?;
            sql.push(") AS item WHERE item.value = ").bind(Kind::Text, text).push(")");
        }
    }
    Ok(())
}

fn member(
    table: &'static Table,
    alias: &str,
    name: &str,
    path: &[&str],
    text: &str,
    sql: &mut Sql,
) -> Result<(), StoreError> {
    named(table, alias, name, sql)?;
    match sql.engine {
        Engine::Postgres => sql.push(" #>> ").bind(Kind::List, Value::from(path.to_vec()).to_string()),
        Engine::Sqlite => {
            let path: String = path.iter().map(|part| format!(".\"{part}\"")).collect();
            sql.push(" ->> ").bind(Kind::Text, format!("${path}"))
        }
    };
    sql.push(" = ").bind(Kind::Text, text);
    Ok(())
}
