//! The flags of the server, by LiteLLM's names.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use faregate_config::{DeploymentConfig, Env, Headers, Snapshot};

/// Flags of the server.
#[derive(Debug, Clone, Default, Args)]
pub struct Serve {
    /// Path of config.yaml [env: CONFIG_FILE_PATH]
    #[arg(long, short)]
    pub config: Option<PathBuf>,
    /// Address to listen on [default: 0.0.0.0 with --config, else 127.0.0.1] [env: HOST]
    #[arg(long)]
    pub host: Option<String>,
    /// Port to listen on; 0 takes a free one [default: 4000] [env: PORT]
    #[arg(long)]
    pub port: Option<u16>,
    /// Accepted for LiteLLM's sake: one process uses all cores [env: NUM_WORKERS]
    #[arg(long = "num_workers", alias = "num-workers", value_name = "N")]
    pub num_workers: Option<u32>,
    /// Log at debug level [env: DEBUG]
    #[arg(long)]
    pub debug: bool,
    /// Log at debug level, dependencies included [env: DETAILED_DEBUG]
    #[arg(long = "detailed_debug", alias = "detailed-debug")]
    pub detailed_debug: bool,
    /// Where generated keys and state are kept [env: FAREGATE_DATA_DIR]
    #[arg(long, alias = "data_dir")]
    pub data_dir: Option<PathBuf>,
    /// Unknown keys of the config are errors
    #[arg(long, alias = "strict_config")]
    pub strict_config: bool,
    /// PEM file with the server's certificate chain [env: SSL_CERTFILE_PATH]
    #[arg(long = "ssl_certfile_path", alias = "ssl-certfile-path", value_name = "FILE")]
    pub ssl_certfile_path: Option<PathBuf>,
    /// PEM file with the server's private key [env: SSL_KEYFILE_PATH]
    #[arg(long = "ssl_keyfile_path", alias = "ssl-keyfile-path", value_name = "FILE")]
    pub ssl_keyfile_path: Option<PathBuf>,
    /// Seconds an HTTP/1.1 connection may wait for its next request [default: 30] [env: KEEPALIVE_TIMEOUT]
    #[arg(long = "keepalive_timeout", alias = "keepalive-timeout", value_name = "SECONDS")]
    pub keepalive_timeout: Option<u32>,
    /// Open connections above which requests are answered 503 [env: LIMIT_CONCURRENCY]
    #[arg(long = "limit_concurrency", alias = "limit-concurrency", value_name = "N")]
    pub limit_concurrency: Option<usize>,
    /// Limit of a call; wins over the config [env: REQUEST_TIMEOUT]
    #[arg(long = "request_timeout", alias = "request-timeout", value_name = "SECONDS", value_parser = seconds)]
    pub request_timeout: Option<Duration>,
    /// Drop parameters that a provider does not take; wins over the config [env: LITELLM_DROP_PARAMS]
    #[arg(long = "drop_params", alias = "drop-params")]
    pub drop_params: bool,
    /// Check the config and end: 0 when it can be served, else 1
    #[arg(long = "validate_config", alias = "validate-config")]
    pub validate_config: bool,
    /// Make everything ready, then end without listening
    #[arg(long = "skip_server_startup", alias = "skip-server-startup")]
    pub skip_server_startup: bool,
    #[command(flatten)]
    pub single: Single,
    #[command(flatten)]
    pub ignored: Ignored,
}

impl Serve {
    /// The configuration file: the flag's, else the environment's unless a single model is asked for.
    pub fn config(&self) -> Option<PathBuf> {
        self.config_or(faregate_config::ServeEnv::read(&Env::process()).0.config_file)
    }

    /// The same with the environment's file at hand.
    pub fn config_or(&self, environment: Option<PathBuf>) -> Option<PathBuf> {
        self.config.clone().or_else(|| environment.filter(|_| self.single.model.is_none()))
    }
}

/// Flags that win over the file, also after a reload.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    request_timeout: Option<Duration>,
    drop_params: Option<bool>,
}

impl Overrides {
    /// Those of the command line.
    pub fn of(flags: &Serve) -> Self {
        Self { request_timeout: flags.request_timeout, drop_params: flags.drop_params.then_some(true) }
    }

    /// Puts them into a configuration.
    pub fn apply(self, snapshot: &mut Snapshot) {
        snapshot.router.timeout = self.request_timeout.or(snapshot.router.timeout);
        snapshot.litellm.drop_params = self.drop_params.or(snapshot.litellm.drop_params);
    }
}

/// One model without a config.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "One model without a config")]
pub struct Single {
    /// Serve this model, e.g. `openai/gpt-4o-mini`
    #[arg(long, short, conflicts_with = "config")]
    pub model: Option<String>,
    /// A further name for it
    #[arg(long, requires = "model")]
    pub alias: Option<String>,
    /// Where it is served
    #[arg(long = "api_base", alias = "api-base", requires = "model", value_name = "URL")]
    pub api_base: Option<String>,
    /// Azure's API version
    #[arg(long = "api_version", alias = "api-version", requires = "model", value_name = "VERSION")]
    pub api_version: Option<String>,
    /// Headers for its provider, a JSON object of texts
    #[arg(long, requires = "model", value_name = "JSON", value_parser = headers)]
    pub headers: Option<Headers>,
    /// Temperature of requests that name none
    #[arg(long, requires = "model")]
    pub temperature: Option<f64>,
    /// Output limit of requests that name none, tokens
    #[arg(long = "max_tokens", alias = "max-tokens", requires = "model", value_name = "N")]
    pub max_tokens: Option<u64>,
}

impl Single {
    /// The configuration of --model: its own name, --alias, and every other name a client asks for.
    pub fn snapshot(&self, env: &Env) -> Option<Snapshot> {
        let model = self.model.as_deref()?;
        let names = [Some(model), self.alias.as_deref(), Some("*")];
        let deployments = names.into_iter().flatten().map(|name| {
            let mut deployment = DeploymentConfig::new(name, model);
            let params = &mut deployment.params;
            params.api_base.clone_from(&self.api_base);
            params.api_version.clone_from(&self.api_version);
            params.extra_headers = self.headers.clone().unwrap_or_default();
            if let Some(temperature) = self.temperature {
                params.defaults.insert("temperature".to_owned(), temperature.into());
            }
            if let Some(max_tokens) = self.max_tokens {
                params.defaults.insert("max_tokens".to_owned(), max_tokens.into());
            }
            deployment
        });
        Some(Snapshot { deployments: deployments.collect(), env: env.clone(), ..Snapshot::default() })
    }
}

fn headers(text: &str) -> Result<Headers, String> {
    serde_json::from_str::<std::collections::BTreeMap<String, String>>(text)
        .map(|map| Headers(map.into_iter().collect()))
        .map_err(|error| format!("expected a JSON object of texts, e.g. {{\"x-team\": \"a\"}}: {error}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

/// LiteLLM's flags that ask a running gateway.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Ask a running gateway (at --host and --port)")]
pub struct Client {
    /// Ask whether it is alive
    #[arg(long)]
    pub health: bool,
    /// Send it a chat request for --model, with the key of LITELLM_MASTER_KEY or the data directory; takes
    /// the address of another
    #[arg(long, num_args = 0..=1, value_name = "URL", default_missing_value = "")]
    pub test: Option<String>,
    /// The same, --num_requests times at once
    #[arg(long = "test_async", alias = "test-async")]
    pub test_async: bool,
    /// Requests of --test_async
    #[arg(long = "num_requests", alias = "num-requests", value_name = "N", default_value_t = 10)]
    pub num_requests: u32,
}

impl Client {
    /// True if something is to be asked.
    pub fn is_given(&self) -> bool {
        self.health || self.test.is_some() || self.test_async
    }
}

/// LiteLLM's flags about its Python servers and its database tool. Taken so that a command line moves
/// over as it is; each one given costs a warning.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Accepted without effect")]
pub struct Ignored {
    #[arg(long = "run_gunicorn", alias = "run-gunicorn", hide = true)]
    run_gunicorn: bool,
    #[arg(long = "run_hypercorn", alias = "run-hypercorn", hide = true)]
    run_hypercorn: bool,
    #[arg(long = "run_granian", alias = "run-granian", hide = true)]
    run_granian: bool,
    #[arg(long = "granian_threads", alias = "granian-threads", hide = true)]
    granian_threads: Option<u32>,
    #[arg(long = "max_requests_before_restart", alias = "max-requests-before-restart", hide = true)]
    max_requests_before_restart: Option<u32>,
    #[arg(
        long = "max_requests_before_restart_jitter",
        alias = "max-requests-before-restart-jitter",
        hide = true
    )]
    max_requests_before_restart_jitter: Option<u32>,
    #[arg(long = "timeout_worker_healthcheck", alias = "timeout-worker-healthcheck", hide = true)]
    timeout_worker_healthcheck: Option<u32>,
    #[arg(long, hide = true)]
    ciphers: Option<String>,
    #[arg(long = "log_config", alias = "log-config", hide = true)]
    log_config: Option<String>,
    #[arg(long = "prometheus_metrics_port", alias = "prometheus-metrics-port", hide = true)]
    prometheus_metrics_port: Option<u16>,
    #[arg(long = "use_prisma_db_push", alias = "use-prisma-db-push", hide = true)]
    use_prisma_db_push: bool,
    #[arg(long = "use_v2_migration_resolver", alias = "use-v2-migration-resolver", hide = true)]
    use_v2_migration_resolver: bool,
    #[arg(long = "use_legacy_migration_resolver", alias = "use-legacy-migration-resolver", hide = true)]
    use_legacy_migration_resolver: bool,
    #[arg(long = "enforce_prisma_migration_check", alias = "enforce-prisma-migration-check", hide = true)]
    enforce_prisma_migration_check: bool,
    #[arg(long = "iam_token_db_auth", alias = "iam-token-db-auth", hide = true)]
    iam_token_db_auth: bool,
    #[arg(long = "azure_postgresql_auth", alias = "azure-postgresql-auth", hide = true)]
    azure_postgresql_auth: bool,
    #[arg(long = "max_budget", alias = "max-budget", hide = true)]
    max_budget: Option<f64>,
    #[arg(long = "add_key", alias = "add-key", hide = true)]
    add_key: Option<String>,
    #[arg(long = "add_function_to_prompt", alias = "add-function-to-prompt", hide = true)]
    add_function_to_prompt: bool,
    #[arg(long, hide = true)]
    save: bool,
    #[arg(long = "use_queue", alias = "use-queue", hide = true)]
    use_queue: bool,
    #[arg(long, hide = true)]
    reload: bool,
    #[arg(long, hide = true)]
    local: bool,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    telemetry: Option<String>,
}

/// Variables that stand for those flags.
const IGNORED_VARIABLES: &[&str] = &[
    "IAM_TOKEN_DB_AUTH",
    "AZURE_POSTGRESQL_AUTH",
    "TIMEOUT_WORKER_HEALTHCHECK",
    "MAX_REQUESTS_BEFORE_RESTART",
    "MAX_REQUESTS_BEFORE_RESTART_JITTER",
    "GRANIAN_RUNTIME_THREADS",
    "PROMETHEUS_METRICS_PORT",
];

impl Ignored {
    /// What was given on the command line or in the environment, as LiteLLM spells it, with what serves
    /// instead.
    pub fn given(&self, env: &Env) -> Vec<(&'static str, &'static str)> {
        const ONE_PROCESS: &str = "one process serves on all cores";
        const NO_DATABASE: &str = "no database is used yet";
        [
            (self.run_gunicorn, "--run_gunicorn", ONE_PROCESS),
            (self.run_hypercorn, "--run_hypercorn", ONE_PROCESS),
            (self.run_granian, "--run_granian", ONE_PROCESS),
            (self.granian_threads.is_some(), "--granian_threads", ONE_PROCESS),
            (self.max_requests_before_restart.is_some(), "--max_requests_before_restart", ONE_PROCESS),
            (
                self.max_requests_before_restart_jitter.is_some(),
                "--max_requests_before_restart_jitter",
                ONE_PROCESS,
            ),
            (self.timeout_worker_healthcheck.is_some(), "--timeout_worker_healthcheck", ONE_PROCESS),
            (self.ciphers.is_some(), "--ciphers", "TLS 1.2 and 1.3 with the ciphers of rustls"),
            (self.log_config.is_some(), "--log_config", "LITELLM_LOG and JSON_LOGS set the log"),
            (
                self.prometheus_metrics_port.is_some(),
                "--prometheus_metrics_port",
                "/metrics is on the port of the gateway",
            ),
            (self.use_prisma_db_push, "--use_prisma_db_push", NO_DATABASE),
            (self.use_v2_migration_resolver, "--use_v2_migration_resolver", NO_DATABASE),
            (self.use_legacy_migration_resolver, "--use_legacy_migration_resolver", NO_DATABASE),
            (self.enforce_prisma_migration_check, "--enforce_prisma_migration_check", NO_DATABASE),
            (self.iam_token_db_auth, "--iam_token_db_auth", NO_DATABASE),
            (self.azure_postgresql_auth, "--azure_postgresql_auth", NO_DATABASE),
            (self.max_budget.is_some(), "--max_budget", "budgets are not kept yet"),
            (self.add_key.is_some(), "--add_key", "put the key into the environment or the config"),
            (
                self.add_function_to_prompt,
                "--add_function_to_prompt",
                "tools are translated for every provider",
            ),
            (self.save, "--save", "write a config.yaml"),
            (self.use_queue, "--use_queue", "requests are not queued"),
            (self.reload, "--reload", "the config is always watched"),
            (self.local, "--local", "the gateway is always local"),
            (self.telemetry.is_some(), "--telemetry", "nothing is ever sent"),
        ]
        .into_iter()
        .filter_map(|(given, name, instead)| given.then_some((name, instead)))
        .chain(IGNORED_VARIABLES.iter().filter(|name| env.filled(name).is_some()).map(|name| (*name, "")))
        .collect()
    }
}
