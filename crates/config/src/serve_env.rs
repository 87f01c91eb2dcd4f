//! What the environment says about serving, apart from any file.

use std::path::PathBuf;
use std::time::Duration;

use faregate_terms::Secret;

use crate::diagnostic::Diagnostic;
use crate::env::Env;
use crate::fields::parse_flag;
use crate::schema::SslVerify;

/// Name, default and meaning of every variable of [`ServeEnv`]; `-` for no default.
pub(crate) const VARIABLES: &[(&str, &str, &str)] = &[
    ("LITELLM_MASTER_KEY", "-", "admin key when general_settings.master_key is absent"),
    ("LITELLM_LOG", "INFO", "DEBUG, INFO, WARNING or ERROR"),
    ("DEBUG", "false", "log at debug level; --debug"),
    ("DETAILED_DEBUG", "false", "log at debug level, dependencies included; --detailed_debug"),
    ("JSON_LOGS", "false", "log as JSON"),
    ("HOST", "0.0.0.0", "address to listen on; --host wins"),
    ("PORT", "4000", "port to listen on; --port wins"),
    ("NUM_WORKERS", "1", "accepted; one process uses all cores"),
    ("SERVER_ROOT_PATH", "-", "prefix of all routes"),
    ("SSL_KEYFILE_PATH", "-", "PEM key of the TLS listener; needs SSL_CERTFILE_PATH"),
    ("SSL_CERTFILE_PATH", "-", "PEM certificates of the TLS listener; needs SSL_KEYFILE_PATH"),
    ("KEEPALIVE_TIMEOUT", "-", "seconds an idle client connection stays open"),
    ("LIMIT_CONCURRENCY", "-", "open connections above which requests are answered 503"),
    ("NO_DOCS", "false", "no page at `/`"),
    ("ROOT_REDIRECT_URL", "-", "where `/` sends browsers instead"),
    ("REQUEST_TIMEOUT", "6000", "limit of a call in seconds, when no setting says otherwise"),
    ("LITELLM_DROP_PARAMS", "false", "litellm_settings.drop_params when that is absent"),
    ("LITELLM_MODIFY_PARAMS", "false", "litellm_settings.modify_params when that is absent"),
    ("LITELLM_MODEL_COST_MAP_URL", "-", "where to fetch model prices; none are fetched when unset"),
    ("LITELLM_LOCAL_MODEL_COST_MAP", "false", "use the built-in prices in any case"),
    ("CONFIG_FILE_PATH", "-", "configuration file when --config is absent"),
    ("LITELLM_MODE", "DEV", "only in DEV a `.env` file of the working directory is read"),
    ("HTTP_PROXY", "-", "proxy for http:// providers; lower case is read as well, and first"),
    ("HTTPS_PROXY", "-", "proxy for https:// providers; lower case is read as well, and first"),
    ("NO_PROXY", "-", "comma list of hosts that are reached directly; lower case is read as well, and first"),
    ("SSL_VERIFY", "true", "verify providers: true, false, or a PEM file with roots"),
    ("SSL_CERT_FILE", "-", "PEM file with roots to verify providers against"),
    ("LITELLM_CORS_ORIGINS", "*", "comma list of origins browsers may call from"),
    ("LITELLM_CORS_ALLOW_CREDENTIALS", "-", "whether browsers may send credentials"),
    ("FAREGATE_DATA_DIR", "-", "data directory; --data-dir wins"),
    ("XDG_DATA_HOME", "-", "the data directory is its folder `faregate` when FAREGATE_DATA_DIR is unset"),
    ("HOME", "-", "the data directory is `.local/share/faregate` in it when both are unset"),
    ("GRACEFUL_SHUTDOWN_TIMEOUT", "-", "seconds calls in flight get to finish at shutdown"),
    ("FAREGATE_HANDOVER", "false", "the next process of the data directory takes the listening socket over"),
    (
        "LISTEN_FDS",
        "-",
        "set by systemd: the first socket it passes is listened on, instead of HOST and PORT",
    ),
    ("SEPARATE_HEALTH_APP", "false", "answer probes on a port and a thread of their own as well"),
    ("SEPARATE_HEALTH_PORT", "8001", "that port"),
    ("DRAIN_ENDPOINT_TOKEN", "-", "general_settings.drain_endpoint_token when that is absent"),
    ("DEFAULT_HEALTH_CHECK_INTERVAL", "300", "general_settings.health_check_interval when that is absent"),
    ("DEFAULT_HEALTH_CHECK_PROMPT", "-", "what a health check says to a model"),
    ("HEALTH_CHECK_TIMEOUT_SECONDS", "60", "seconds a health check may take, when its model says nothing"),
    ("BACKGROUND_HEALTH_CHECK_MAX_TOKENS", "-", "longest answer of a health check, in tokens"),
    ("BACKGROUND_HEALTH_CHECK_MAX_TOKENS_REASONING", "-", "the same for models that reason"),
];

/// How much to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// `DEBUG`
    Debug,
    /// `INFO`
    Info,
    /// `WARNING`
    Warning,
    /// `ERROR`, and `CRITICAL`, which nothing here is.
    Error,
}

/// Settings of the environment that concern serving. `None` where nothing is set, so that the caller's
/// order of precedence (flag, file, environment, default) stays visible.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServeEnv {
    /// `LITELLM_MASTER_KEY`
    pub master_key: Option<Secret>,
    /// `LITELLM_LOG`
    pub log: Option<LogLevel>,
    /// `DEBUG`; anything but a word for true counts as false, since other programs use the name as well.
    pub debug: bool,
    /// `DETAILED_DEBUG`
    pub detailed_debug: bool,
    /// `JSON_LOGS`
    pub json_logs: Option<bool>,
    /// `HOST`
    pub host: Option<String>,
    /// `PORT`
    pub port: Option<u16>,
    /// `NUM_WORKERS`
    pub num_workers: Option<u32>,
    /// `SERVER_ROOT_PATH`, with a leading and without a trailing slash.
    pub server_root_path: Option<String>,
    /// `SSL_KEYFILE_PATH`
    pub ssl_keyfile: Option<PathBuf>,
    /// `SSL_CERTFILE_PATH`
    pub ssl_certfile: Option<PathBuf>,
    /// `KEEPALIVE_TIMEOUT`
    pub keepalive_timeout: Option<Duration>,
    /// `LIMIT_CONCURRENCY`
    pub limit_concurrency: Option<usize>,
    /// `NO_DOCS`
    pub no_docs: bool,
    /// `ROOT_REDIRECT_URL`
    pub root_redirect_url: Option<String>,
    /// `REQUEST_TIMEOUT`
    pub request_timeout: Option<Duration>,
    /// `LITELLM_DROP_PARAMS`
    pub drop_params: Option<bool>,
    /// `LITELLM_MODIFY_PARAMS`
    pub modify_params: Option<bool>,
    /// `LITELLM_MODEL_COST_MAP_URL`
    pub model_cost_map_url: Option<String>,
    /// `LITELLM_LOCAL_MODEL_COST_MAP`
    pub local_model_cost_map: bool,
    /// `CONFIG_FILE_PATH`
    pub config_file: Option<PathBuf>,
    /// `http_proxy`, else `HTTP_PROXY`; may hold a password.
    pub http_proxy: Option<Secret>,
    /// `https_proxy`, else `HTTPS_PROXY`; may hold a password.
    pub https_proxy: Option<Secret>,
    /// `no_proxy`, else `NO_PROXY`
    pub no_proxy: Option<String>,
    /// `SSL_VERIFY`
    pub ssl_verify: Option<SslVerify>,
    /// `SSL_CERT_FILE`
    pub ssl_cert_file: Option<PathBuf>,
    /// `LITELLM_CORS_ORIGINS`; all origins when absent.
    pub cors_origins: Option<Vec<String>>,
    /// `LITELLM_CORS_ALLOW_CREDENTIALS`
    pub cors_allow_credentials: Option<bool>,
    /// `FAREGATE_DATA_DIR`, else `$XDG_DATA_HOME/faregate`, else `$HOME/.local/share/faregate`.
    pub data_dir: Option<PathBuf>,
    /// `GRACEFUL_SHUTDOWN_TIMEOUT`
    pub graceful_shutdown_timeout: Option<Duration>,
    /// `FAREGATE_HANDOVER`
    pub handover: bool,
    /// `SEPARATE_HEALTH_APP`: `SEPARATE_HEALTH_PORT` if it is on.
    pub health_port: Option<u16>,
    /// `DRAIN_ENDPOINT_TOKEN`
    pub drain_token: Option<Secret>,
    /// `DEFAULT_HEALTH_CHECK_INTERVAL`
    pub check_interval: Option<Duration>,
    /// `DEFAULT_HEALTH_CHECK_PROMPT`
    pub check_prompt: Option<String>,
    /// `HEALTH_CHECK_TIMEOUT_SECONDS`
    pub check_timeout: Option<Duration>,
    /// `BACKGROUND_HEALTH_CHECK_MAX_TOKENS`
    pub check_max_tokens: Option<u64>,
    /// `BACKGROUND_HEALTH_CHECK_MAX_TOKENS_REASONING`
    pub check_max_tokens_reasoning: Option<u64>,
}

impl ServeEnv {
    /// Reads the variables; each malformed one is a finding and counts as unset. Empty counts as unset.
    pub fn read(env: &Env) -> (Self, Vec<Diagnostic>) {
        let mut reader = Reader { env, findings: Vec::new() };
        let read = Self {
            master_key: env.filled("LITELLM_MASTER_KEY").map(Secret::from),
            log: reader.parsed("LITELLM_LOG", "DEBUG, INFO, WARNING or ERROR", log_level),
            debug: env.filled("DEBUG").and_then(parse_flag).unwrap_or_default(),
            detailed_debug: reader.flag("DETAILED_DEBUG").unwrap_or_default(),
            json_logs: reader.flag("JSON_LOGS"),
            host: env.filled("HOST").map(str::to_owned),
            port: reader.parsed("PORT", "a port number", |text| text.parse().ok()),
            num_workers: reader.parsed("NUM_WORKERS", "a number", |text| text.parse().ok()),
            server_root_path: env.filled("SERVER_ROOT_PATH").and_then(root_path),
            ssl_keyfile: env.filled("SSL_KEYFILE_PATH").map(PathBuf::from),
            ssl_certfile: env.filled("SSL_CERTFILE_PATH").map(PathBuf::from),
            keepalive_timeout: reader.seconds("KEEPALIVE_TIMEOUT"),
            limit_concurrency: reader.parsed("LIMIT_CONCURRENCY", "a number", |text| text.parse().ok()),
            no_docs: reader.flag("NO_DOCS").unwrap_or_default(),
            root_redirect_url: env.filled("ROOT_REDIRECT_URL").map(str::to_owned),
            request_timeout: reader.seconds("REQUEST_TIMEOUT"),
            drop_params: reader.flag("LITELLM_DROP_PARAMS"),
            modify_params: reader.flag("LITELLM_MODIFY_PARAMS"),
            model_cost_map_url: env.filled("LITELLM_MODEL_COST_MAP_URL").map(str::to_owned),
            local_model_cost_map: reader.flag("LITELLM_LOCAL_MODEL_COST_MAP").unwrap_or_default(),
            config_file: env.filled("CONFIG_FILE_PATH").map(PathBuf::from),
            http_proxy: either_case(env, "HTTP_PROXY").map(Secret::from),
            https_proxy: either_case(env, "HTTPS_PROXY").map(Secret::from),
            no_proxy: either_case(env, "NO_PROXY").map(str::to_owned),
            ssl_verify: env.filled("SSL_VERIFY").map(SslVerify::parse),
            ssl_cert_file: env.filled("SSL_CERT_FILE").map(PathBuf::from),
            cors_origins: env.filled("LITELLM_CORS_ORIGINS").map(comma_list),
            cors_allow_credentials: reader.flag("LITELLM_CORS_ALLOW_CREDENTIALS"),
            data_dir: data_dir(env),
            graceful_shutdown_timeout: reader.seconds("GRACEFUL_SHUTDOWN_TIMEOUT"),
            handover: reader.flag("FAREGATE_HANDOVER").unwrap_or_default(),
            health_port: reader.health_port(),
            drain_token: env.filled("DRAIN_ENDPOINT_TOKEN").map(Secret::from),
            check_interval: reader.seconds("DEFAULT_HEALTH_CHECK_INTERVAL").filter(|it| !it.is_zero()),
            check_prompt: env.filled("DEFAULT_HEALTH_CHECK_PROMPT").map(str::to_owned),
            check_timeout: reader.seconds("HEALTH_CHECK_TIMEOUT_SECONDS").filter(|it| !it.is_zero()),
            check_max_tokens: reader.number("BACKGROUND_HEALTH_CHECK_MAX_TOKENS"),
            check_max_tokens_reasoning: reader.number("BACKGROUND_HEALTH_CHECK_MAX_TOKENS_REASONING"),
        };
        let mut findings = reader.findings;
        findings.extend(half_of_tls(&read));
        (read, findings)
    }
}

struct Reader<'a> {
    env: &'a Env,
    findings: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn parsed<T>(&mut self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.env.filled(name)?.trim();
        let value = parse(text);
        if value.is_none() {
            let message = format!("environment variable holds something other than {expected}");
            self.findings
                .push(Diagnostic::error(None, name, message).remedy(format!("set {name} to {expected}")));
        }
        value
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        self.parsed(name, "true or false", parse_flag)
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        self.parsed(name, "a number", |text| text.parse().ok())
    }

    fn health_port(&mut self) -> Option<u16> {
        let port = self.parsed("SEPARATE_HEALTH_PORT", "a port number", |text| text.parse().ok());
        self.flag("SEPARATE_HEALTH_APP")?.then_some(port.unwrap_or(8001))
    }

    fn seconds(&mut self, name: &str) -> Option<Duration> {
        self.parsed(name, "a number of seconds", |text| {
            text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        })
    }
}

fn log_level(text: &str) -> Option<LogLevel> {
    match text.to_ascii_uppercase().as_str() {
        "DEBUG" => Some(LogLevel::Debug),
        "INFO" => Some(LogLevel::Info),
        "WARNING" | "WARN" => Some(LogLevel::Warning),
        "ERROR" | "CRITICAL" => Some(LogLevel::Error),
        _ => None,
    }
}

fn root_path(text: &str) -> Option<String> {
    let inner = text.trim().trim_matches('/');
    (!inner.is_empty()).then(|| format!("/{inner}"))
}

fn comma_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Lower case first, as curl and Python do: a CGI request header cannot set it.
fn either_case<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    env.filled(&name.to_ascii_lowercase()).or_else(|| env.filled(name))
}

fn data_dir(env: &Env) -> Option<PathBuf> {
    let folder = |name: &str, inside: &str| env.filled(name).map(|base| PathBuf::from(base).join(inside));
    env.filled("FAREGATE_DATA_DIR")
        .map(PathBuf::from)
        .or_else(|| folder("XDG_DATA_HOME", "faregate"))
        .or_else(|| folder("HOME", ".local/share/faregate"))
}

fn half_of_tls(read: &ServeEnv) -> Option<Diagnostic> {
    let (set, unset) = match (&read.ssl_keyfile, &read.ssl_certfile) {
        (Some(_), None) => ("SSL_KEYFILE_PATH", "SSL_CERTFILE_PATH"),
        (None, Some(_)) => ("SSL_CERTFILE_PATH", "SSL_KEYFILE_PATH"),
        _ => return None,
    };
    Some(Diagnostic::error(None, set, format!("is set without {unset}")).remedy("set both, or neither"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_into_typed_settings() {
        let env: Env = [
            ("PORT", "8080"),
            ("LITELLM_LOG", "debug"),
            ("SERVER_ROOT_PATH", "llm/"),
            ("HTTPS_PROXY", "http://upper:1"),
            ("https_proxy", "http://lower:1"),
            ("LITELLM_CORS_ORIGINS", "https://a, https://b"),
            ("HOME", "/home/me"),
            ("REQUEST_TIMEOUT", "2.5"),
            ("HOST", ""),
        ]
        .into_iter()
        .collect();
        let (read, findings) = ServeEnv::read(&env);
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!((read.port, read.log, read.host), (Some(8080), Some(LogLevel::Debug), None));
        assert_eq!(read.server_root_path.as_deref(), Some("/llm"));
        assert_eq!(read.https_proxy, Some(Secret::from("http://lower:1")));
        assert_eq!(read.cors_origins, Some(vec!["https://a".to_owned(), "https://b".to_owned()]));
        assert_eq!(read.data_dir, Some(PathBuf::from("/home/me/.local/share/faregate")));
        assert_eq!(read.request_timeout, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn a_malformed_variable_is_named_and_its_value_is_not() {
        let env: Env = [("PORT", "sk-secret"), ("SSL_KEYFILE_PATH", "k.pem")].into_iter().collect();
        let (read, findings) = ServeEnv::read(&env);
        assert_eq!(read.port, None);
        let lines: Vec<String> = findings.iter().map(Diagnostic::to_string).collect();
        assert_eq!(
            lines,
            [
                "PORT: environment variable holds something other than a port number; set PORT to a port number",
                "SSL_KEYFILE_PATH: is set without SSL_CERTFILE_PATH; set both, or neither",
            ]
        );
    }
}
