//! How long answers took, for charts.

use faregate_terms::UtcMillis;

use crate::db::{Cell, Engine};
use crate::report::LogQuery;
use crate::schema::Kind;
use crate::{Store, StoreError};

/// How long one deployment's answers took on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyRow {
    /// `2026-01-31`, in UTC.
    pub day: String,
    /// Name sent to the provider.
    pub model: String,
    /// Where it went; empty if the row does not say.
    pub api_base: String,
    /// Mean over the requests, each by the tokens it answered.
    pub seconds_per_token: f64,
}

impl Store {
    /// Days, models and places of the chosen requests that had output and did not come from the cache; slowest first,
    /// at most `limit` lines; `from` counts in place of the query's own.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn latencies(
        &self,
        from: UtcMillis,
        query: &LogQuery,
        limit: u32,
    ) -> Result<Vec<LatencyRow>, StoreError> {
        let query = LogQuery { from: Some(from), ..query.clone() };
        let (day, seconds) = match self.engine() {
            Engine::Postgres => (
                "to_char(t.\"startTime\", 'YYYY-MM-DD')",
                "EXTRACT(epoch FROM (t.\"endTime\" - t.\"startTime\"))::double precision",
            ),
            Engine::Sqlite => (
                "substr(t.\"startTime\", 1, 10)",
                "(julianday(t.\"endTime\") - julianday(t.\"startTime\")) * 86400.0",
            ),
        };
        let per_token = format!("avg({seconds} / t.completion_tokens)");
        let mut sql =
            self.db.sql(&format!("SELECT {day}, coalesce(t.model, ''), coalesce(t.api_base, ''), ")).once();
        sql.push(&format!("CAST({per_token} AS double precision) FROM \"LiteLLM_SpendLogs\" AS t"));
        query.write(&mut sql)?;
        sql.push(" AND t.completion_tokens > 0 AND coalesce(t.cache_hit, '') <> 'True' GROUP BY 1, 2, 3");
        sql.push(" ORDER BY 4 DESC, 1, 2, 3 LIMIT ").bind(Kind::Big, i64::from(limit));
        let kinds = [Kind::Text, Kind::Text, Kind::Text, Kind::Float];
        let read = |row: Vec<Cell>| {
            let text = |index: usize| row.get(index).cloned().and_then(Cell::text).unwrap_or_default();
            let seconds_per_token = row.get(3).map_or(0.0, Cell::float);
            LatencyRow { day: text(0), model: text(1), api_base: text(2), seconds_per_token }
        };
        Ok(self.db.report(sql, &kinds).await?.into_iter().map(read).collect())
    }
}
