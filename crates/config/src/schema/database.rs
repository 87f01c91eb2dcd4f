//! `general_settings`: the database, and what is written to it when.

use std::time::Duration;

use faregate_terms::Secret;

use crate::fields::Fields;

/// Where keys and spend are kept, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DatabaseSettings {
    /// A PostgreSQL URL or `sqlite:///path`; else `DATABASE_URL`, else a file in the data directory.
    pub url: Option<Secret>,
    /// Connections at most.
    pub pool_limit: Option<u64>,
    /// How long to wait for a free connection.
    pub pool_timeout: Option<Duration>,
    /// False behind a pooler that hands each transaction another connection.
    pub prepared: Option<bool>,
    /// Count as ready while the database is away; keys that were used before go on in any case.
    pub go_on_without: bool,
    /// No migration at start.
    pub keep_schema: bool,
    /// Between two writes of receipts.
    pub write_every: Option<Duration>,
    /// No rows in the request log.
    pub no_request_log: bool,
    /// Requests are not booked at all: no journal, no totals, no rows. Limits count while the process lives.
    pub no_booking: bool,
    /// No budget is reset.
    pub no_reset: bool,
    /// Prompts and answers go to the request log.
    pub store_prompts: bool,
    /// Rows of the request log older than this are deleted, e.g. `30d`.
    pub keep_logs_for: Option<String>,
    /// How old rows are deleted.
    pub cleanup: CleanupSettings,
    /// Changes are written down.
    pub audit: bool,
    /// Models, credentials and settings of the database count; `STORE_MODEL_IN_DB=true` wins over a false.
    pub store_models: Option<bool>,
    /// How often what others stored is looked for, beside what replicas tell each other.
    pub reload_every: Option<Duration>,
    /// `aes-256-gcm`, if secrets are to be sealed with that instead of LiteLLM's default.
    pub seal_with_gcm: bool,
}

impl DatabaseSettings {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            url: fields.secret("database_url"),
            pool_limit: fields.count("database_connection_pool_limit"),
            pool_timeout: fields
                .seconds("database_connection_timeout")
                .or_else(|| fields.seconds("database_connection_pool_timeout")),
            prepared: fields.flag("database_disable_prepared_statements").map(|disabled| !disabled),
            go_on_without: fields.flag("allow_requests_on_db_unavailable").unwrap_or_default(),
            keep_schema: fields.flag("disable_prisma_schema_update").unwrap_or_default(),
            write_every: fields.seconds("proxy_batch_write_at"),
            no_request_log: fields.flag("disable_spend_logs").unwrap_or_default(),
            no_booking: fields.flag("disable_spend_updates").unwrap_or_default(),
            no_reset: fields.flag("disable_reset_budget").unwrap_or_default(),
            store_prompts: fields.flag("store_prompts_in_spend_logs").unwrap_or_default(),
            keep_logs_for: fields
                .filled("maximum_spend_logs_retention_period")
                .or_else(|| fields.count("log_retention_days").map(|days| format!("{days}d"))),
            cleanup: CleanupSettings::read(fields),
            audit: fields.flag("store_audit_logs").unwrap_or_default(),
            store_models: fields.flag("store_model_in_db"),
            reload_every: fields.seconds("proxy_config_reload_interval_seconds"),
            seal_with_gcm: fields
                .word("encryption_algorithm", &[("aes-256-gcm", true), ("xsalsa20-poly1305", false)])
                .unwrap_or_default(),
        }
    }
}

/// How old rows of the request log are deleted: in batches that hold nobody up for long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanupSettings {
    /// Between two runs, e.g. `1d`.
    pub every: Option<String>,
    /// Rows per statement.
    pub batch: Option<u64>,
    /// Statements per run.
    pub batches: Option<u64>,
    /// A run takes this long at most.
    pub run_budget: Option<String>,
    /// A statement takes this long at most.
    pub batch_timeout: Option<String>,
}

impl CleanupSettings {
    fn read(fields: &mut Fields<'_>) -> Self {
        let key = |rest: &str| format!("maximum_spend_logs_{rest}");
        Self {
            every: fields.filled(&key("retention_interval")),
            batch: fields.count(&key("cleanup_batch_size")),
            batches: fields.count(&key("cleanup_max_batches")),
            run_budget: fields.filled(&key("cleanup_run_budget")),
            batch_timeout: fields.filled(&key("cleanup_batch_timeout")),
        }
    }
}
