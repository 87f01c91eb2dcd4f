//! What was used of a provider's models, day by day.

use crate::db::Cell;
use crate::schema::{Kind, daily};
use crate::{Store, StoreError};

/// One model on one day (UTC).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelDay {
    /// `2026-01-31`.
    pub date: String,
    /// The name sent to the provider.
    pub model: String,
    /// Tokens in, cached ones included.
    pub prompt_tokens: i64,
    /// Tokens out.
    pub completion_tokens: i64,
    /// Calls that were answered.
    pub requests: i64,
}

impl Store {
    /// Use of a provider from `first` to `last`, both included.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn usage_of_provider(
        &self,
        provider: &str,
        first: &str,
        last: &str,
    ) -> Result<Vec<ModelDay>, StoreError> {
        let mut sql = self.db.sql(&format!(
            "SELECT date, model, SUM(prompt_tokens), SUM(completion_tokens), SUM(successful_requests) FROM \"{}\" \
             WHERE custom_llm_provider = ",
            daily::GLOBAL.name
        ));
        sql.bind(Kind::Text, provider).push(" AND date >= ").bind(Kind::Text, first);
        sql.push(" AND date <= ").bind(Kind::Text, last).push(" GROUP BY date, model ORDER BY date, model");
        let kinds = [Kind::Text, Kind::Text, Kind::Big, Kind::Big, Kind::Big];
        let rows = self.db.fetch(sql, &kinds).await?.into_iter().map(|row| {
            let mut cells = row.into_iter();
            let mut text = || cells.next().and_then(Cell::text).unwrap_or_default();
            let (date, model) = (text(), text());
            let mut number = || cells.next().map_or(0, |cell| cell.int());
            ModelDay { date, model, prompt_tokens: number(), completion_tokens: number(), requests: number() }
        });
        Ok(rows.collect())
    }
}
