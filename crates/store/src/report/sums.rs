//! Spend by anything: day, key, team, model, tag, ... in any combination.

use faregate_terms::PicoUsd;

use super::LogQuery;
use crate::db::{Cell, Engine};
use crate::schema::Kind;
use crate::usd::join;
use crate::{Store, StoreError};

/// What spend is broken down by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// The day it started, `2026-01-31`, in UTC.
    Day,
    /// Hash of the key.
    Key,
    /// Internal user.
    User,
    /// Team.
    Team,
    /// Organization.
    Organization,
    /// End user.
    EndUser,
    /// Name sent to the provider.
    Model,
    /// Public name.
    ModelGroup,
    /// Provider.
    Provider,
    /// Deployment.
    Deployment,
    /// Request tag; a request counts once for each of its tags.
    Tag,
    /// Conversation.
    Session,
    /// `acompletion`, `aembedding`, ...
    CallType,
    /// `True` for an answer from the cache.
    CacheHit,
    /// `failure` for what failed.
    Status,
    /// Status of a failure, e.g. `429`.
    ErrorCode,
    /// LiteLLM's name of a failure.
    ErrorClass,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendRow {
    /// The values of the dimensions that were asked for, in that order; empty for what a request lacks.
    pub of: Vec<String>,
    /// Exact sum of the costs.
    pub spend: PicoUsd,
    /// Requests.
    pub requests: u64,
    /// Tokens in and out.
    pub tokens: u64,
    /// Those of them that came out.
    pub output_tokens: u64,
}

impl Dimension {
    fn expression(self, engine: Engine) -> &'static str {
        match (self, engine) {
            (Self::Day, Engine::Postgres) => "to_char(t.\"startTime\", 'YYYY-MM-DD')",
            (Self::Day, Engine::Sqlite) => "substr(t.\"startTime\", 1, 10)",
            (Self::Key, _) => "t.api_key",
            (Self::User, _) => "t.\"user\"",
            (Self::Team, _) => "t.team_id",
            (Self::Organization, _) => "t.organization_id",
            (Self::EndUser, _) => "t.end_user",
            (Self::Model, _) => "t.model",
            (Self::ModelGroup, _) => "t.model_group",
            (Self::Provider, _) => "t.custom_llm_provider",
            (Self::Deployment, _) => "t.model_id",
            (Self::Tag, _) => "tag.value",
            (Self::Session, _) => "t.session_id",
            (Self::CallType, _) => "t.call_type",
            (Self::CacheHit, _) => "t.cache_hit",
            (Self::Status, _) => "t.status",
            (Self::ErrorCode, Engine::Postgres) => "t.metadata->'error_information'->>'error_code'",
            (Self::ErrorCode, Engine::Sqlite) => {
                "CAST(json_extract(t.metadata, '$.error_information.error_code') AS text)"
            }
            (Self::ErrorClass, Engine::Postgres) => "t.metadata->'error_information'->>'error_class'",
            (Self::ErrorClass, Engine::Sqlite) => {
                "json_extract(t.metadata, '$.error_information.error_class')"
            }
        }
    }
}

/// Unnests the tags; a request without any is in no line of a report by tag.
fn tags(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => {
            " CROSS JOIN LATERAL jsonb_array_elements_text(CASE WHEN jsonb_typeof(t.request_tags) = 'array' \
             THEN t.request_tags ELSE '[]'::jsonb END) AS tag(value)"
        }
        Engine::Sqlite => {
            " CROSS JOIN json_each(CASE WHEN json_type(t.request_tags) = 'array' THEN t.request_tags \
             ELSE '[]' END) AS tag"
        }
    }
}

impl Store {
    /// Spend, requests and tokens of the chosen requests, by the chosen dimensions; most spend first, at most
    /// `limit` lines. Without dimensions there is one line: the sum of all.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn spend_by(
        &self,
        dimensions: &[Dimension],
        query: &LogQuery,
        limit: u32,
    ) -> Result<Vec<SpendRow>, StoreError> {
        let engine = self.engine();
        let expressions: Vec<String> =
            dimensions.iter().map(|one| format!("coalesce({}, '')", one.expression(engine))).collect();
        // A cost below 2,251 dollars comes back from its nearest double to the very pico-dollar.
        let rounded = "round(t.spend * CAST(1000000000000 AS double precision))";
        let pico = format!("CAST({rounded} AS bigint)");
        let mut sql = self.db.sql("SELECT ").once();
        for expression in &expressions {
            sql.push(expression).push(", ");
        }
        sql.push(&format!(
            "CAST(sum({pico} / 1000000000000) AS bigint), CAST(sum({pico} % 1000000000000) AS bigint), "
        ));
        sql.push("COUNT(*), CAST(sum(t.total_tokens) AS bigint), CAST(sum(t.completion_tokens) AS bigint) FROM \"LiteLLM_SpendLogs\" AS t");
        if dimensions.contains(&Dimension::Tag) {
            sql.push(tags(engine));
        }
        query.write(&mut sql)?;
        if !expressions.is_empty() {
            sql.push(" GROUP BY ")
                .push(&expressions.join(", "))
                .push(&format!(" ORDER BY sum({rounded}) DESC, "));
            sql.push(&expressions.join(", ")).push(" LIMIT ").bind(Kind::Big, i64::from(limit));
        }
        let mut kinds = vec![Kind::Text; expressions.len()];
        kinds.extend([Kind::Big; 5]);
        let rows = self.db.report(sql, &kinds).await?;
        let read = |row: Vec<Cell>| {
            let number = |index: usize| row.get(expressions.len() + index).map_or(0, Cell::int);
            SpendRow {
                spend: join(number(0), 0) + PicoUsd::from_pico(i128::from(number(1))),
                requests: number(2).unsigned_abs(),
                tokens: number(3).unsigned_abs(),
                output_tokens: number(4).unsigned_abs(),
                of: row
                    .iter()
                    .take(expressions.len())
                    .map(|cell| cell.clone().text().unwrap_or_default())
                    .collect(),
            }
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
