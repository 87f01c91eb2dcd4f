//! Where Redis is, in the forms LiteLLM's settings take.

use std::sync::Arc;
use std::time::Duration;

use faregate_terms::Secret;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::resolve::Resolve;

/// Where the server is: by `url`, or by host, port, user, password, database and TLS, or as a list of cluster
/// nodes. A `url` wins over the single values.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://`, `rediss://` (TLS) or `unix://`.
    pub url: Option<Secret>,
    /// Host names and ports: one server, or the start nodes of a cluster.
    pub hosts: Vec<(String, u16)>,
    /// ACL user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Database number; a cluster has only 0.
    pub db: i64,
    /// True for TLS, with the certificates of the operating system.
    pub ssl: bool,
    /// True if the servers form a cluster.
    pub cluster: bool,
    /// Finds addresses of host names; the operating system's resolver unless set.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Bound on one connection attempt to a cluster node.
    pub connect_timeout: Duration,
    /// Bound on one answer of a cluster node.
    pub response_timeout: Duration,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: None,
            hosts: Vec::new(),
            username: None,
            password: None,
            db: 0,
            ssl: false,
            cluster: false,
            resolver: None,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(5),
        }
    }
}

/// Why Redis cannot be used with these settings. Never shows a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRedis {
    /// Neither URL nor host.
    #[error("no redis server is named; set `url`, or `host` and `port`")]
    NoServer,
    /// Not a URL of Redis.
    #[error(
        "the redis url cannot be read; write redis://[user:password@]host[:port][/db], or rediss:// for TLS"
    )]
    BadUrl,
    /// The client refuses.
    #[error("redis cannot be used: {0}")]
    Unusable(String),
}

impl RedisSettings {
    /// One server, by URL.
    pub fn url(url: &str) -> Self {
        Self { url: Some(Secret::new(url)), ..Self::default() }
    }

    pub(super) fn tls(&self) -> bool {
        self.ssl || self.url.as_ref().is_some_and(|url| url.expose().starts_with("rediss:"))
    }

    pub(super) fn nodes(&self) -> Result<Vec<ConnectionInfo>, BadRedis> {
        if self.tls() {
            // The client takes the provider of the process; a second call changes nothing.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        if let Some(url) = &self.url {
            return Ok(vec![url.expose().into_connection_info().map_err(|_| BadRedis::BadUrl)?]);
        }
        if self.hosts.is_empty() {
            return Err(BadRedis::NoServer);
        }
        self.hosts.iter().map(|(host, port)| self.node(host, *port)).collect()
    }

    fn node(&self, host: &str, port: u16) -> Result<ConnectionInfo, BadRedis> {
        let addr = if self.ssl {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host.to_owned(), port)
        };
        let mut login = RedisConnectionInfo::default().set_db(self.db);
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password.expose());
        }
        let info = addr.into_connection_info().map_err(|error| BadRedis::Unusable(error.to_string()))?;
        Ok(info.set_redis_settings(login))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_url_or_by_parts() {
        let by_url = RedisSettings::url("redis://user:secret@cache:7000/3").nodes().unwrap();
        let parts = RedisSettings {
            hosts: vec![("cache".to_owned(), 7000)],
            username: Some("user".to_owned()),
            password: Some(Secret::new("secret")),
            db: 3,
            ..RedisSettings::default()
        };
        let by_parts = parts.nodes().unwrap();
        for node in [&by_url[0], &by_parts[0]] {
            assert_eq!(node.addr(), &ConnectionAddr::Tcp("cache".to_owned(), 7000));
            let login = node.redis_settings();
            assert_eq!((login.username(), login.password(), login.db()), (Some("user"), Some("secret"), 3));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_showing_the_password() {
        assert_eq!(RedisSettings::default().nodes().unwrap_err(), BadRedis::NoServer);
        let error = RedisSettings::url("http://user:secret@cache").nodes().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(!format!("{:?}", RedisSettings::url("redis://:secret@cache")).contains("secret"));
    }
}
