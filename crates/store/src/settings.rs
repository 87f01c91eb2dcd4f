//! Where the database is and how to hold on to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::StoreError;

/// A database and how to connect to it. Start with [`Settings::from_url`] or [`Settings::sqlite`].
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) target: Target,
    pub(crate) replica: Option<Box<PgConnectOptions>>,
    pub(crate) pool: PoolSettings,
    /// Parameters of the URL that mean nothing here; worth a warning at start.
    pub ignored: Vec<String>,
}

/// The limits of a connection pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Connections at most; `connection_limit`, `general_settings.database_connection_pool_limit`.
    pub max_connections: u32,
    /// How long to wait for a free connection; `pool_timeout`, `general_settings.database_connection_timeout`.
    pub acquire_timeout: Duration,
    /// How long one statement may take; `socket_timeout`.
    pub statement_timeout: Duration,
    /// False behind a pooler that hands each transaction another connection; `pgbouncer=true`.
    pub prepared: bool,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            prepared: true,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Settings {
    /// A SQLite file, made when it is missing.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self {
            target: Target::Sqlite(path.as_ref().to_path_buf()),
            replica: None,
            pool: PoolSettings::default(),
            ignored: Vec::new(),
        }
    }

    /// Reads `sqlite:///absolute/path` or a PostgreSQL URL with the parameters of libpq and Prisma.
    ///
    /// `setting` names where the URL came from, for errors.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`] for another scheme or a parameter that makes no sense.
    pub fn from_url(setting: &str, url: &str) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = path.split('?').next().unwrap_or(path);
            if path.is_empty() {
                return Err(bad(setting, "no path; write sqlite:///absolute/path/to/faregate.db"));
            }
            return Ok(Self::sqlite(percent_decode_str(path).decode_utf8_lossy().as_ref()));
        }
        let (options, pool, ignored) = postgres(setting, url)?;
        let target = Target::Postgres(Box::new(options));
        Ok(Self { target, replica: None, pool, ignored })
    }

    /// Reads heavy reports from this PostgreSQL URL instead (`DATABASE_URL_READ_REPLICA`).
    ///
    /// # Errors
    /// [`StoreError::BadUrl`] for another scheme, or when the database itself is SQLite.
    pub fn with_replica(mut self, setting: &str, url: &str) -> Result<Self, StoreError> {
        if matches!(self.target, Target::Sqlite(_)) {
            return Err(bad(setting, "a read replica needs PostgreSQL; remove it or set DATABASE_URL"));
        }
        self.replica = Some(Box::new(postgres(setting, url)?.0));
        Ok(self)
    }

    /// Changes the pool's limits; what the URL says comes in as the argument.
    pub fn with_pool(mut self, change: impl FnOnce(&mut PoolSettings)) -> Self {
        change(&mut self.pool);
        self
    }

    /// The file, when the database is SQLite.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.target {
            Target::Sqlite(path) => Some(path),
            Target::Postgres(_) => None,
        }
    }
}

fn bad(setting: &str, problem: impl Into<String>) -> StoreError {
    StoreError::BadUrl { setting: setting.to_owned(), problem: problem.into() }
}

type Parsed = (PgConnectOptions, PoolSettings, Vec<String>);

fn postgres(setting: &str, text: &str) -> Result<Parsed, StoreError> {
    let url = Url::parse(text)
        .map_err(|problem| bad(setting, format!("not a URL ({problem}); percent-encode the password")))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        let scheme = url.scheme();
        return Err(bad(setting, format!("scheme `{scheme}`; write postgresql://... or sqlite:///path")));
    }
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&url.host_str().map_or_else(|| "localhost".to_owned(), plain))
        .port(url.port().unwrap_or(5432))
        .application_name("faregate");
    if !url.username().is_empty() {
        options = options.username(&plain(url.username()));
    }
    if let Some(password) = url.password() {
        options = options.password(&plain(password));
    }
    let database = plain(url.path().trim_start_matches('/'));
    options = options.database(if database.is_empty() { "postgres" } else { &database });
    let mut reading =
        Reading { setting, options, pool: PoolSettings::default(), ignored: Vec::new(), tls: Tls::default() };
    for (name, value) in url.query_pairs() {
        reading.parameter(&name, &value)?;
    }
    Ok(reading.finish())
}

#[derive(Default)]
struct Tls {
    mode: Option<PgSslMode>,
    strict: bool,
    certificate: Option<String>,
    key: Option<String>,
}

struct Reading<'a> {
    setting: &'a str,
    options: PgConnectOptions,
    pool: PoolSettings,
    ignored: Vec<String>,
    tls: Tls,
}

impl Reading<'_> {
    /// One parameter, by libpq's or Prisma's name.
    ///
    /// Source: Prisma docs, "PostgreSQL connection URL arguments"; PostgreSQL docs, "Parameter Key Words".
    fn parameter(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        let options = self.options.clone();
        match name {
            "connection_limit" => self.pool.max_connections = self.number(name, value)?.max(1),
            "pool_timeout" => self.pool.acquire_timeout = self.seconds(name, value)?,
            "socket_timeout" => self.pool.statement_timeout = self.seconds(name, value)?,
            "pgbouncer" => self.pool.prepared = value != "true",
            "statement_cache_size" => {
                let size = self.number(name, value)?;
                self.pool.prepared &= size > 0;
            }
            "schema" if value != "public" => self.options = options.options([("search_path", value)]),
            "schema" => {}
            "options" => self.options = raw_options(options, value),
            "host" if value.starts_with('/') => self.options = options.socket(value),
            "host" => self.options = options.host(value),
            "application_name" => self.options = options.application_name(value),
            "sslmode" => self.tls.mode = Some(self.ssl_mode(value)?),
            "sslaccept" => self.tls.strict = value == "strict",
            "sslrootcert" => self.options = options.ssl_root_cert(value),
            "sslcert" => self.tls.certificate = Some(value.to_owned()),
            "sslkey" => self.tls.key = Some(value.to_owned()),
            // The pool's own timeout covers connecting too.
            "connect_timeout" => {}
            _ => self.ignored.push(name.to_owned()),
        }
        Ok(())
    }

    fn finish(self) -> Parsed {
        let mut options = self.options;
        // Prisma's `sslcert` is the server's authority; libpq's is our certificate and comes with a key.
        options = match (self.tls.certificate, self.tls.key) {
            (Some(certificate), Some(key)) => options.ssl_client_cert(certificate).ssl_client_key(key),
            (Some(authority), None) => options.ssl_root_cert(authority),
            (None, _) => options,
        };
        let mode = match self.tls.mode {
            Some(PgSslMode::Require) if self.tls.strict => PgSslMode::VerifyFull,
            Some(mode) => mode,
            None => PgSslMode::Prefer,
        };
        options = options.ssl_mode(mode);
        if self.pool.prepared {
            // The query for a cold key joins many tables by their keys; trying other orders of them takes
            // the planner longer than the query. Poolers may refuse options at the start of a session.
            options = options.options([("join_collapse_limit", "1")]);
        } else {
            options = options.statement_cache_capacity(0);
        }
        (options, self.pool, self.ignored)
    }

    fn ssl_mode(&self, value: &str) -> Result<PgSslMode, StoreError> {
        let known = "disable, allow, prefer, require, verify-ca or verify-full";
        value.parse().map_err(|_| bad(self.setting, format!("sslmode `{value}`; write {known}")))
    }

    fn number(&self, name: &str, value: &str) -> Result<u32, StoreError> {
        value.parse().map_err(|_| bad(self.setting, format!("{name}: `{value}` is not a whole number")))
    }

    /// Zero means "no limit" in Prisma; here it becomes an hour, because every wait has an end.
    fn seconds(&self, name: &str, value: &str) -> Result<Duration, StoreError> {
        Ok(match self.number(name, value)? {
            0 => Duration::from_secs(3600),
            seconds => Duration::from_secs(u64::from(seconds)),
        })
    }
}

/// `-c name=value -c name=value`, as libpq writes it.
fn raw_options(options: PgConnectOptions, text: &str) -> PgConnectOptions {
    let words = text.split_whitespace().map(|word| word.strip_prefix("-c").unwrap_or(word));
    let pairs: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
    options.options(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prismas_parameters_are_understood() {
        let url = "postgresql://us%40er:p%2Fw@db:6543/litellm?connection_limit=7&pool_timeout=3&schema=llm\
                   &pgbouncer=true&sslmode=require&sslaccept=strict&unheard=1";
        let settings = Settings::from_url("DATABASE_URL", url).unwrap();
        let Target::Postgres(options) = &settings.target else { panic!("not PostgreSQL") };
        assert_eq!(options.get_host(), "db");
        assert_eq!(options.get_port(), 6543);
        assert_eq!(options.get_username(), "us@er");
        assert_eq!(options.get_database(), Some("litellm"));
        assert_eq!(options.get_options(), Some("-c search_path=llm"));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
        assert_eq!(settings.pool.max_connections, 7);
        assert_eq!(settings.pool.acquire_timeout, Duration::from_secs(3));
        assert!(!settings.pool.prepared);
        assert_eq!(settings.ignored, ["unheard"]);
    }

    #[test]
    fn a_path_is_taken_from_a_sqlite_url() {
        for (url, path) in
            [("sqlite:///var/lib/f.db", "/var/lib/f.db"), ("sqlite:///a%20b.db?mode=rwc", "/a b.db")]
        {
            assert_eq!(Settings::from_url("x", url).unwrap().sqlite_path(), Some(Path::new(path)), "{url}");
        }
    }

    #[test]
    fn a_refused_url_names_the_setting_and_the_remedy_but_not_the_password() {
        for url in ["mysql://u:hunter2@h/d", "sqlite:", "postgres://u:hunter2@h/d?connection_limit=many"] {
            let error = Settings::from_url("general_settings.database_url", url).unwrap_err().to_string();
            assert!(error.starts_with("general_settings.database_url: "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
