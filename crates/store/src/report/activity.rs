//! `/user|team|tag|organization|customer/daily/activity`: days with their breakdown, in LiteLLM's shape.

mod lines;

use std::collections::{BTreeMap, BTreeSet};

use faregate_terms::PicoUsd;
use serde::Serialize;
use serde_json::{Value, json};

use crate::db::{Cell, Row, Sql};
use crate::ledger::SubjectKind;
use crate::schema::{Kind, Table};
use crate::{Store, StoreError, Usd};

pub use lines::{ActivityLine, KeyOwner, LinesBy};

/// Rows of a part when all days are asked for.
const PART: u64 = 5_000;

/// Which days, and whose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivityQuery {
    /// First day, `2026-01-31`.
    pub start_date: Option<String>,
    /// Last day, that day included.
    pub end_date: Option<String>,
    /// Only these subjects; `None` means all, an empty list means none.
    pub ids: Option<Vec<String>>,
    /// Not these subjects.
    pub exclude: Vec<String>,
    /// Only this name sent to the provider.
    pub model: Option<String>,
    /// Only these keys.
    pub api_keys: Option<Vec<String>>,
    /// Page, from 1; `None` brings all.
    pub page: Option<(u64, u64)>,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DailyActivity {
    /// Newest day first.
    pub results: Vec<DayActivity>,
    /// Sums over the page.
    pub metadata: Totals,
}

/// One day.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DayActivity {
    /// `2026-01-31`.
    pub date: String,
    /// The whole day.
    pub metrics: Metrics,
    /// The day by this and that.
    pub breakdown: Breakdown,
}

/// A day by this and that.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Breakdown {
    /// By MCP tool.
    pub mcp_servers: BTreeMap<String, MetricsOf>,
    /// By the name sent to the provider.
    pub models: BTreeMap<String, MetricsOf>,
    /// By public name.
    pub model_groups: BTreeMap<String, MetricsOf>,
    /// By provider.
    pub providers: BTreeMap<String, MetricsOf>,
    /// By path.
    pub endpoints: BTreeMap<String, MetricsOf>,
    /// By hash of the key.
    pub api_keys: BTreeMap<String, MetricsOf>,
    /// By subject: user, team, tag, ...
    pub entities: BTreeMap<String, MetricsOf>,
}

/// One part of a breakdown.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MetricsOf {
    /// Its numbers.
    pub metrics: Metrics,
    /// Names to show: a key's alias and team.
    pub metadata: Value,
    /// By hash of the key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub api_key_breakdown: BTreeMap<String, MetricsOf>,
}

macro_rules! metrics {
    (money: $($money:ident),*; numbers: $($number:ident),*) => {
        /// What is counted per row of a daily table; members are its columns.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        pub struct Metrics {
            $(pub $money: Usd,)*
            $(pub $number: i64,)*
            pub total_tokens: i64,
        }

        /// Columns of a daily table, in the order they are read in.
        const COLUMNS: &[(&str, Kind)] = &[$((stringify!($money), Kind::Float),)* $((stringify!($number), Kind::Big),)*];

        impl Metrics {
            fn read(cells: &mut impl Iterator<Item = Cell>) -> Self {
                let mut read = Self {
                    $($money: Usd::from_f64(cells.next().map_or(0.0, |cell| cell.float())).unwrap_or_default(),)*
                    $($number: cells.next().map_or(0, |cell| cell.int()),)*
                    total_tokens: 0,
                };
                read.total_tokens = read.prompt_tokens + read.completion_tokens;
                read
            }

            fn add(&mut self, other: &Self) {
                $(self.$money.0 += other.$money.0;)*
                $(self.$number += other.$number;)*
                self.total_tokens += other.total_tokens;
            }
        }
    };
}

metrics! {
    money: spend, compression_savings_spend, prompt_caching_savings_spend, gateway_injected_caching_savings_spend,
        autorouter_savings_spend;
    numbers: prompt_tokens, completion_tokens, cache_read_input_tokens, cache_creation_input_tokens,
        compression_saved_tokens, successful_requests, failed_requests, api_requests, total_response_time_ms,
        timed_requests
}

/// Sums over a page, and which page it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// The sums.
    pub metrics: Metrics,
    /// This page.
    pub page: u64,
    /// How many there are.
    pub total_pages: u64,
}

impl Serialize for Totals {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Ok(Value::Object(metrics)) = serde_json::to_value(&self.metrics) else {
            return Err(serde::ser::Error::custom("metrics are an object"));
        };
        // Response times keep their name; everything else gets `total_` in front.
        let named = metrics.into_iter().map(|(name, value)| {
            let bare = name.starts_with("total_");
            (if bare { name } else { format!("total_{name}") }, value)
        });
        let rest = [
            ("page".to_owned(), json!(self.page)),
            ("total_pages".to_owned(), json!(self.total_pages)),
            ("has_more".to_owned(), json!(self.page < self.total_pages)),
        ];
        serializer.collect_map(named.chain(rest))
    }
}

/// One row of a daily table.
struct DayRow {
    entity: String,
    date: String,
    api_key: String,
    model: String,
    model_group: String,
    provider: String,
    mcp_tool: String,
    endpoint: String,
    metrics: Metrics,
}

impl DayRow {
    fn read(row: Row) -> Self {
        let mut cells = row.into_iter();
        let mut text = || cells.next().and_then(Cell::text).unwrap_or_default();
        let (entity, date, api_key, model) = (text(), text(), text(), text());
        let (model_group, provider, mcp_tool, endpoint) = (text(), text(), text(), text());
        let metrics = Metrics::read(&mut cells);
        Self { entity, date, api_key, model, model_group, provider, mcp_tool, endpoint, metrics }
    }
}

impl Store {
    /// Days with their breakdown for one kind of subject: a `SubjectKind::Daily...`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn daily_activity(
        &self,
        kind: SubjectKind,
        query: &ActivityQuery,
    ) -> Result<DailyActivity, StoreError> {
        let table = kind.table();
        let count = self.day_count(table, query).await?;
        let mut days: BTreeMap<String, DayActivity> = BTreeMap::new();
        let mut totals = Metrics::default();
        // All days at once are read in parts: what is kept is their sums.
        let (first, size) = query.page.unwrap_or((1, PART));
        for number in first.. {
            let rows = self.day_rows(table, query, (number, size.max(1))).await?;
            let keys: BTreeSet<&str> = rows.iter().map(|row| row.api_key.as_str()).collect();
            let names = self.key_names(&keys).await?;
            for row in &rows {
                totals.add(&row.metrics);
                let day = days.entry(row.date.clone()).or_default();
                day.date.clone_from(&row.date);
                day.metrics.add(&row.metrics);
                day.breakdown.add(row, &names);
            }
            if query.page.is_some() || (rows.len() as u64) < size {
                break;
            }
        }
        let size = query.page.map_or(count.max(1), |(_, size)| size.max(1));
        let metadata = Totals {
            metrics: totals,
            page: query.page.map_or(1, |(number, _)| number.max(1)),
            total_pages: count.div_ceil(size).max(1),
        };
        Ok(DailyActivity { results: days.into_values().rev().collect(), metadata })
    }

    async fn day_count(&self, table: &'static Table, query: &ActivityQuery) -> Result<u64, StoreError> {
        let mut sql = self.db.sql(&format!("SELECT COUNT(*) FROM \"{}\" AS t", table.name)).once();
        write_filters(table, query, &mut sql);
        let rows = self.db.report(sql, &[Kind::Big]).await?;
        Ok(rows.first().and_then(|row| row.first()).map_or(0, Cell::int).unsigned_abs())
    }

    async fn day_rows(
        &self,
        table: &'static Table,
        query: &ActivityQuery,
        (number, size): (u64, u64),
    ) -> Result<Vec<DayRow>, StoreError> {
        let key = if table.column("api_key").is_some() { "t.api_key" } else { "''" };
        let mut sql = self.db.sql(&format!("SELECT {}, t.date, {key}, t.model, ", entity(table))).once();
        sql.push("t.model_group, t.custom_llm_provider, t.mcp_namespaced_tool_name, t.endpoint");
        for (column, _) in COLUMNS {
            sql.push(&format!(", t.{column}"));
        }
        sql.push(&format!(" FROM \"{}\" AS t", table.name));
        write_filters(table, query, &mut sql);
        sql.push(" ORDER BY t.date DESC, t.id");
        let bounded = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let offset = number.saturating_sub(1).saturating_mul(size);
        sql.push(" LIMIT ").bind(Kind::Big, bounded(size));
        sql.push(" OFFSET ").bind(Kind::Big, bounded(offset));
        let kinds: Vec<Kind> =
            std::iter::repeat_n(Kind::Text, 8).chain(COLUMNS.iter().map(|(_, kind)| *kind)).collect();
        Ok(self.db.report(sql, &kinds).await?.into_iter().map(DayRow::read).collect())
    }

    /// Alias and team of keys, deleted ones included.
    async fn key_names(&self, keys: &BTreeSet<&str>) -> Result<BTreeMap<String, Value>, StoreError> {
        let mut names = BTreeMap::new();
        let keys: Vec<&str> = keys.iter().copied().filter(|key| !key.is_empty()).collect();
        for chunk in keys.chunks(1000) {
            // Living keys come last and win.
            for table in ["LiteLLM_DeletedVerificationToken", "LiteLLM_VerificationToken"] {
                let mut sql =
                    self.db.sql(&format!("SELECT token, key_alias, team_id FROM \"{table}\" ")).once();
                sql.push("WHERE token IN ").bind_list(Kind::Text, chunk.iter().copied());
                for row in self.db.report(sql, &[Kind::Text; 3]).await? {
                    let mut texts = row.into_iter().map(Cell::text);
                    let mut next = || texts.next().flatten();
                    let (token, alias, team) = (next().unwrap_or_default(), next(), next());
                    names.insert(token, json!({"key_alias": alias, "team_id": team}));
                }
            }
        }
        Ok(names)
    }
}

/// The column that says whose row it is; the table over everybody has none.
fn entity(table: &'static Table) -> String {
    let first = table.unique.first().and_then(|unique| unique.first()).copied().unwrap_or("date");
    if first == "date" { "''".to_owned() } else { format!("t.\"{first}\"") }
}

fn write_filters(table: &'static Table, query: &ActivityQuery, sql: &mut Sql) {
    sql.push(" WHERE 1 = 1");
    for (operator, date) in [(">=", &query.start_date), ("<=", &query.end_date)] {
        if let Some(date) = date {
            sql.push(&format!(" AND t.date {operator} ")).bind(Kind::Text, date.as_str());
        }
    }
    if let Some(model) = &query.model {
        sql.push(" AND t.model = ").bind(Kind::Text, model.as_str());
    }
    let key = table.column("api_key").map(|_| "t.api_key".to_owned());
    let lists = [(Some(entity(table)), &query.ids), (key, &query.api_keys)];
    for (column, wanted) in lists {
        let (Some(column), Some(wanted)) = (column, wanted) else { continue };
        if wanted.is_empty() {
            sql.push(" AND 1 = 0");
            continue;
        }
        sql.push(&format!(" AND {column} IN ")).bind_list(Kind::Text, wanted.iter().map(String::as_str));
    }
    if !query.exclude.is_empty() {
        sql.push(&format!(" AND {} NOT IN ", entity(table)));
        sql.bind_list(Kind::Text, query.exclude.iter().map(String::as_str));
    }
}

impl Breakdown {
    fn add(&mut self, row: &DayRow, names: &BTreeMap<String, Value>) {
        let name =
            names.get(&row.api_key).cloned().unwrap_or_else(|| json!({"key_alias": null, "team_id": null}));
        let parts = [
            (&mut self.mcp_servers, &row.mcp_tool),
            (&mut self.models, &row.model),
            (&mut self.model_groups, &row.model_group),
            (&mut self.providers, &row.provider),
            (&mut self.endpoints, &row.endpoint),
            (&mut self.entities, &row.entity),
        ];
        for (part, of) in parts {
            if of.is_empty() {
                continue;
            }
            let line = part.entry(of.clone()).or_default();
            line.metadata = json!({});
            line.metrics.add(&row.metrics);
            if !row.api_key.is_empty() {
                let key = line.api_key_breakdown.entry(row.api_key.clone()).or_default();
                key.metrics.add(&row.metrics);
                key.metadata.clone_from(&name);
            }
        }
        if !row.api_key.is_empty() {
            let key = self.api_keys.entry(row.api_key.clone()).or_default();
            key.metrics.add(&row.metrics);
            key.metadata = name;
        }
    }
}

impl DailyActivity {
    /// Spend over the page.
    pub fn spend(&self) -> PicoUsd {
        self.metadata.metrics.spend.0
    }
}
