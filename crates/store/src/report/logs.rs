//! Which requests a report is about, and pages of them.

use faregate_terms::UtcMillis;
use serde_json::{Value, json};

use crate::db::{Cell, Sql};
use crate::query::{Filter, ListQuery, Order, Page};
use crate::record::{decode, kinds};
use crate::schema::{Kind, ledger::SPEND_LOGS};
use crate::{SpendLog, Store, StoreError, Usd};

/// Columns that may be megabytes; a list of requests leaves them out.
const HEAVY: [&str; 3] = ["messages", "response", "proxy_server_request"];

/// Which requests: all conditions that are given must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogQuery {
    /// Started at or after.
    pub from: Option<UtcMillis>,
    /// Started at or before.
    pub to: Option<UtcMillis>,
    /// Hash of the key.
    pub api_key: Option<String>,
    /// Any of these keys, e.g. those a caller may see.
    pub api_keys: Option<Vec<String>>,
    /// Display name of the key.
    pub key_alias: Option<String>,
    /// Internal user.
    pub user: Option<String>,
    /// Team.
    pub team: Option<String>,
    /// Any of these teams.
    pub teams: Option<Vec<String>>,
    /// Organization.
    pub organization: Option<String>,
    /// End user.
    pub end_user: Option<String>,
    /// Id of the request.
    pub request_id: Option<String>,
    /// Conversation.
    pub session_id: Option<String>,
    /// Name sent to the provider.
    pub model: Option<String>,
    /// Deployment.
    pub model_id: Option<String>,
    /// Public name.
    pub model_group: Option<String>,
    /// Request tag.
    pub tag: Option<String>,
    /// `success` or `failure`.
    pub status: Option<String>,
    /// `True`, `False` or `None`, as the column holds it.
    pub cache_hit: Option<String>,
    /// Cost at least this.
    pub min_spend: Option<Usd>,
    /// Cost at most this.
    pub max_spend: Option<Usd>,
    /// Status of a failure, e.g. `429`.
    pub error_code: Option<String>,
    /// Part of the request's, session's or call's id, of the model's name, or of the key's hash.
    pub search: Option<String>,
    /// Not booked on these.
    pub not_keys: Vec<&'static str>,
}

impl LogQuery {
    pub(super) fn filters(&self) -> Vec<Filter> {
        let mut filters = Vec::new();
        let is = [
            ("api_key", &self.api_key),
            ("user", &self.user),
            ("team_id", &self.team),
            ("organization_id", &self.organization),
            ("end_user", &self.end_user),
            ("request_id", &self.request_id),
            ("session_id", &self.session_id),
            ("model", &self.model),
            ("model_id", &self.model_id),
            ("model_group", &self.model_group),
            ("cache_hit", &self.cache_hit),
        ];
        filters.extend(
            is.into_iter().filter_map(|(column, text)| Some(Filter::Is(column, json!(text.as_ref()?)))),
        );
        let any = [("api_key", &self.api_keys), ("team_id", &self.teams)];
        let texts = |texts: &[String]| texts.iter().map(|text| json!(text)).collect::<Vec<Value>>();
        filters
            .extend(any.into_iter().filter_map(|(column, of)| Some(Filter::In(column, texts(of.as_ref()?)))));
        filters.extend(self.from.map(|from| Filter::AtLeast("startTime", json!(from))));
        filters.extend(self.to.map(|to| Filter::AtMost("startTime", json!(to))));
        filters.extend(self.min_spend.map(|spend| Filter::AtLeast("spend", json!(spend))));
        filters.extend(self.max_spend.map(|spend| Filter::AtMost("spend", json!(spend))));
        filters.extend(self.tag.clone().map(|tag| Filter::Holds("request_tags", tag)));
        filters.extend(self.status.as_deref().map(|status| match status {
            // Rows of older releases have no status; only failures were marked.
            "success" => Filter::Any(vec![Filter::Is("status", json!("success")), Filter::Empty("status")]),
            other => Filter::Is("status", json!(other)),
        }));
        let alias = self.key_alias.clone();
        filters.extend(alias.map(|alias| Filter::Member("metadata", &["user_api_key_alias"], alias)));
        filters.extend(self.not_keys.iter().map(|key| Filter::Not("api_key", json!(key))));
        let code = self.error_code.clone();
        filters
            .extend(code.map(|code| Filter::Member("metadata", &["error_information", "error_code"], code)));
        if let Some(text) = &self.search {
            let columns = ["request_id", "session_id", "litellm_call_id", "model", "model_group", "api_key"];
            filters.push(Filter::Any(columns.map(|column| Filter::Contains(column, text.clone())).into()));
        }
        filters
    }

    /// Adds ` WHERE ...`, or nothing.
    pub(super) fn write(&self, sql: &mut Sql) -> Result<(), StoreError> {
        self.list().write_filters(&SPEND_LOGS, "t", sql)
    }

    fn list(&self) -> ListQuery {
        self.filters().into_iter().fold(ListQuery::new(), ListQuery::filter)
    }
}

impl Store {
    /// One page of requests, without what was said in them: [`Store::get`] brings that for one request.
    ///
    /// # Errors
    /// When the database is away, or `sort_by` is no column.
    pub async fn request_logs(
        &self,
        query: &LogQuery,
        sort_by: &str,
        order: Order,
        page: u64,
        size: u64,
    ) -> Result<Page<SpendLog>, StoreError> {
        let mut sql = self.db.sql("SELECT COUNT(*) FROM \"LiteLLM_SpendLogs\" AS t").once();
        query.write(&mut sql)?;
        let total = self.db.report(sql, &[Kind::Big]).await?;
        let total = total.first().and_then(|row| row.first()).map_or(0, Cell::int).unsigned_abs();
        let mut sql = self.db.sql("SELECT ").once();
        for (index, column) in SPEND_LOGS.columns.iter().enumerate() {
            sql.push(if index > 0 { ", " } else { "" });
            if HEAVY.contains(&column.name) {
                sql.push("'{}'");
                continue;
            }
            sql.select("t", std::slice::from_ref(column));
        }
        sql.push(" FROM \"LiteLLM_SpendLogs\" AS t");
        let list = query.list().sort(sort_by, order).page(page, size);
        list.write_filters(&SPEND_LOGS, "t", &mut sql)?;
        list.write_order(&SPEND_LOGS, "t", &mut sql)?;
        let rows = self.db.report(sql, &kinds(SPEND_LOGS.columns)).await?;
        let rows = rows.into_iter().map(decode).collect::<Result<_, _>>()?;
        Ok(Page { rows, total })
    }

    /// Every tag that was ever spent on, in order.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn tag_names(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT tag FROM \"LiteLLM_DailyTagSpend\" WHERE tag IS NOT NULL ORDER BY tag";
        let sql = self.db.sql(sql);
        let rows = self.db.report(sql, &[Kind::Text]).await?;
        Ok(rows.into_iter().flatten().filter_map(Cell::text).collect())
    }
}
