//! The connection to Redis, Valkey or a cluster of either: one multiplexed connection, a deadline on every
//! call, and a breaker, so that a dead or slow server costs callers next to nothing.

mod generation;
mod resolve;
mod settings;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, RedisResult, Value};
use tokio::time::timeout;

use crate::breaker::{BREAK_FOR, Breaker, Trial};
use resolve::Names;

pub(crate) use generation::Generations;
pub use resolve::Resolve;
pub use settings::{BadRedis, RedisSettings};

/// Why a call did not give an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedisError {
    /// No answer in time. The server may have done what it was told, or may do it yet.
    #[error("redis did not answer within {0:?}")]
    Late(Duration),
    /// The server failed a moment ago; this call was not made.
    #[error("redis failed repeatedly; the next try is within {BREAK_FOR:?}")]
    Broken,
    /// The connection or the server failed.
    #[error("redis: {0}")]
    Failed(String),
}

/// A server, or a cluster, and one prefix in it. Cheap to clone.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    target: Arc<Target>,
    tag: String,
    resolver: Option<Arc<dyn Resolve>>,
    /// The connection in use; connects again when it is gone.
    connection: Mutex<Option<Connection>>,
    connecting: tokio::sync::Mutex<()>,
    breaker: Breaker,
}

enum Target {
    One(Box<Client>),
    Many(Box<ClusterClient>),
}

/// One call under way.
struct Call<'a> {
    redis: &'a Redis,
    trial: Option<Trial<'a>>,
}

impl Call<'_> {
    fn answered(&mut self) {
        if let Some(trial) = self.trial.take() {
            trial.answered();
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Some(trial) = self.trial.take() else { return };
        drop(trial);
        if self.redis.0.breaker.is_open() {
            // The other side may be gone without a word; the next call connects again.
            self.redis.0.connection.lock().take();
        }
    }
}

/// A connection to one server or to a cluster.
#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    Many(ClusterConnection),
}

impl Redis {
    /// Prepares the connection; connects at the first call. `installation` names everything this
    /// installation keeps: all its keys carry the hash tag `{faregate:<installation>}`, so that a script over
    /// several of them works on a cluster.
    ///
    /// # Errors
    /// If the settings name no server that can be reached by any means.
    pub fn new(settings: &RedisSettings, installation: &str) -> Result<Self, BadRedis> {
        let target = match settings.nodes()? {
            nodes if settings.cluster => {
                let mut builder = ClusterClient::builder(nodes)
                    .connection_timeout(settings.connect_timeout)
                    .response_timeout(settings.response_timeout)
                    .retries(1);
                if let Some(resolver) = &settings.resolver {
                    builder = builder.async_dns_resolver(Names(Arc::clone(resolver)));
                }
                if settings.tls() {
                    builder = builder.tls(redis::cluster::TlsMode::Secure);
                }
                let client = builder.build().map_err(|error| BadRedis::Unusable(error.to_string()))?;
                Target::Many(Box::new(client))
            }
            nodes => {
                let node = nodes.into_iter().next().ok_or(BadRedis::NoServer)?;
                let client = Client::open(node).map_err(|error| BadRedis::Unusable(error.to_string()))?;
                Target::One(Box::new(client))
            }
        };
        let tag = format!("{{faregate:{installation}}}");
        Ok(Self(Arc::new(Inner::new(Arc::new(target), tag, settings.resolver.clone()))))
    }

    /// The same server with a connection and a breaker of its own, so that one use does not slow another down.
    #[must_use]
    pub fn another(&self) -> Self {
        let (target, resolver) = (Arc::clone(&self.0.target), self.0.resolver.clone());
        Self(Arc::new(Inner::new(target, self.0.tag.clone(), resolver)))
    }

    /// The full name of a key.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.0.tag)
    }

    /// The full name of a key that no script touches together with others: a cluster spreads such keys.
    pub(crate) fn spread_key(&self, name: &str) -> String {
        format!("{}:{name}", self.0.tag.trim_matches(['{', '}']))
    }

    /// Asks whether the server answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self, deadline: Duration) -> Result<(), RedisError> {
        self.call(deadline, async |mut connection| redis::cmd("PING").exec_async(&mut connection).await).await
    }

    /// Runs `work` with the connection, within `deadline` and under the breaker.
    pub(crate) async fn call<T, F>(
        &self,
        deadline: Duration,
        work: impl FnOnce(Connection) -> F,
    ) -> Result<T, RedisError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let trial = Some(self.0.breaker.admit().ok_or(RedisError::Broken)?);
        let mut call = Call { redis: self, trial };
        let done = timeout(deadline, async {
            let connection = self.connection().await?;
            work(connection).await
        });
        match done.await {
            Ok(Ok(value)) => {
                call.answered();
                Ok(value)
            }
            Ok(Err(error)) => {
                if error.is_unrecoverable_error() || error.is_io_error() || error.is_connection_dropped() {
                    self.0.connection.lock().take();
                } else {
                    // The server is there, and says no.
                    call.answered();
                }
                Err(RedisError::Failed(error.to_string()))
            }
            Err(_) => Err(RedisError::Late(deadline)),
        }
    }

    async fn connection(&self) -> RedisResult<Connection> {
        if let Some(connection) = self.0.connection.lock().clone() {
            return Ok(connection);
        }
        let _one_at_a_time = self.0.connecting.lock().await;
        if let Some(connection) = self.0.connection.lock().clone() {
            return Ok(connection);
        }
        let connection = match &*self.0.target {
            Target::One(client) => {
                // Callers bring their own deadlines; a response that is late must not end the connection.
                let mut config =
                    AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
                if let Some(resolver) = &self.0.resolver {
                    config = config.set_dns_resolver(Names(Arc::clone(resolver)));
                }
                Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Target::Many(client) => Connection::Many(client.get_async_connection().await?),
        };
        *self.0.connection.lock() = Some(connection.clone());
        Ok(connection)
    }
}

impl Inner {
    fn new(target: Arc<Target>, tag: String, resolver: Option<Arc<dyn Resolve>>) -> Self {
        let (connection, connecting) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        Self { target, tag, resolver, connection, connecting, breaker: Breaker::default() }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Redis").field("tag", &self.0.tag).finish_non_exhaustive()
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(one) => one.req_packed_command(cmd),
            Self::Many(many) => many.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(one) => one.req_packed_commands(commands, offset, count),
            Self::Many(many) => many.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(one) => one.get_db(),
            Self::Many(many) => many.get_db(),
        }
    }
}
