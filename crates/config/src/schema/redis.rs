//! Where the Redis is that replicas share.

use faregate_terms::Secret;

use crate::fields::Fields;

/// A Redis server, or the nodes of a cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RedisConfig {
    /// `redis://` or `rediss://`; wins over the single values.
    pub url: Option<Secret>,
    /// Host name.
    pub host: Option<String>,
    /// Port; 6379 when absent.
    pub port: Option<u64>,
    /// ACL user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Database number.
    pub db: Option<u64>,
    /// TLS.
    pub ssl: bool,
    /// Nodes of a cluster, host and port.
    pub nodes: Vec<(String, u64)>,
}

impl RedisConfig {
    /// `router_settings.redis_*`.
    pub(super) fn of_router(fields: &mut Fields<'_>) -> Self {
        Self {
            url: fields.secret("redis_url"),
            host: fields.filled("redis_host"),
            port: fields.count("redis_port"),
            username: fields.filled("redis_username"),
            password: fields.secret("redis_password"),
            db: fields.count("redis_db"),
            ssl: false,
            nodes: Vec::new(),
        }
    }

    /// A map of its own: `general_settings.coordination_redis`, `litellm_settings.cache_params`.
    pub(super) fn of_map(fields: &mut Fields<'_>) -> Self {
        Self {
            url: fields.secret("url"),
            host: fields.filled("host"),
            port: fields.count("port"),
            username: fields.filled("username"),
            password: fields.secret("password"),
            db: fields.count("db"),
            ssl: fields.flag("ssl").unwrap_or_default(),
            nodes: nodes(fields),
        }
    }

    /// True if a server is named.
    pub fn is_some(&self) -> bool {
        self.url.is_some() || self.host.is_some() || !self.nodes.is_empty()
    }
}

fn nodes(fields: &mut Fields<'_>) -> Vec<(String, u64)> {
    for key in ["startup_nodes", "redis_startup_nodes"] {
        if let Some(list) = fields.get(key).and_then(|node| node.items()) {
            let nodes = list.iter().filter_map(|node| {
                let host = node.get("host")?.scalar_text()?.to_string();
                let port = node.get("port").and_then(|port| port.scalar_text()?.parse().ok());
                Some((host, port.unwrap_or(6379)))
            });
            return nodes.collect();
        }
    }
    Vec::new()
}
