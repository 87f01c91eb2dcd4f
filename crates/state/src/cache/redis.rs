//! A cache in Redis, Valkey, or a cluster of either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::{RedisResult, SetExpiry};

use super::{Answer, CacheError, ResponseCache};
use crate::clock::Clock;
use crate::redis::{Connection, Redis, RedisError};

/// How often the generation is looked up.
const LOOK: Duration = Duration::from_millis(500);
/// What a new connection may take; nobody's request waits for it.
const CONNECT: Duration = Duration::from_secs(5);
/// What the server's own facts may take; nobody's request waits for them.
const FACTS: Duration = Duration::from_secs(2);

/// What a Redis server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// `CLIENT LIST`, a line per connection; `None` where the server does not allow it.
    pub clients: Option<Vec<String>>,
    /// `INFO`, as lines of `name:value` and headings.
    pub info: String,
}

/// Values under one namespace. Their names carry a generation: to flush is to begin the next one, and what
/// belonged to the last goes when its time is over.
#[derive(Debug)]
pub struct RedisCache {
    redis: Redis,
    namespace: String,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    generation: AtomicU64,
    /// Somebody is waiting for the connection as long as it takes.
    connecting: Arc<AtomicBool>,
    /// When the generation was last looked up, in milliseconds on the steady clock, plus one; 0 for never.
    looked_ms: AtomicU64,
}

impl RedisCache {
    /// A cache under the prefix of `redis`. Calls that take longer than `deadline` are misses.
    pub fn new(redis: &Redis, namespace: &str, deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            redis: redis.another(),
            namespace: namespace.to_owned(),
            deadline,
            clock,
            generation: AtomicU64::new(0),
            connecting: Arc::default(),
            looked_ms: AtomicU64::new(0),
        }
    }

    /// Calls the server. A connection may take longer to make than a request waits, so one that is missing is
    /// made beside.
    async fn call<T, F>(&self, work: impl FnOnce(Connection) -> F) -> Result<T, RedisError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let done = self.redis.call(self.deadline, work).await;
        if done.is_err() && !self.connecting.swap(true, Ordering::AcqRel) {
            let (redis, connecting) = (self.redis.clone(), Arc::clone(&self.connecting));
            tokio::spawn(async move {
                // What came of it the next call finds out.
                let _ = redis.ping(CONNECT).await;
                connecting.store(false, Ordering::Release);
            });
        }
        done
    }

    fn generation_key(&self) -> String {
        self.redis.key(&format!("cache:{}:generation", self.namespace))
    }

    async fn name(&self, key: &str) -> Result<String, RedisError> {
        let now = u64::try_from(self.clock.steady().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let looked = self.looked_ms.load(Ordering::Acquire);
        if looked == 0 || Duration::from_millis(now.saturating_sub(looked)) >= LOOK {
            let name = self.generation_key();
            let found = self.call(async |mut connection| {
                redis::cmd("GET").arg(name).query_async::<Option<u64>>(&mut connection).await
            });
            self.generation.store(found.await?.unwrap_or(0), Ordering::Release);
            self.looked_ms.store(now, Ordering::Release);
        }
        let generation = self.generation.load(Ordering::Acquire);
        Ok(self.redis.spread_key(&format!("cache:{}:{generation}:{key}", self.namespace)))
    }
}

impl From<RedisError> for CacheError {
    fn from(error: RedisError) -> Self {
        Self(error.to_string())
    }
}

impl ResponseCache for RedisCache {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move {
            let name = self.name(key).await?;
            let found = self.call(async |mut connection| {
                redis::cmd("GET").arg(name).query_async::<Option<Vec<u8>>>(&mut connection).await
            });
            Ok(found.await?.map(Bytes::from))
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let name = self.name(key).await?;
            let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(1 << 40);
            let mut command = if ttl == 0 { redis::cmd("UNLINK") } else { redis::cmd("SET") };
            command.arg(name);
            if ttl > 0 {
                command.arg(&value[..]).arg(SetExpiry::PX(ttl));
            }
            let done = self.call(async |mut connection| command.exec_async(&mut connection).await);
            Ok(done.await?)
        })
    }

    fn delete<'a>(&'a self, keys: &'a [String]) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut gone = 0;
            // One by one: a cluster has them in different places.
            for key in keys {
                let name = self.name(key).await?;
                let done = self.call(async |mut connection| {
                    redis::cmd("UNLINK").arg(name).query_async::<u64>(&mut connection).await
                });
                gone += done.await?;
            }
            Ok(gone)
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let name = self.generation_key();
            let next = self.call(async |mut connection| {
                redis::cmd("INCR").arg(name).query_async::<u64>(&mut connection).await
            });
            self.generation.store(next.await?, Ordering::Release);
            Ok(())
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move { Ok(self.redis.ping(self.deadline).await?) })
    }

    fn server(&self) -> Answer<'_, Option<ServerFacts>> {
        Box::pin(async move {
            let info = self.redis.call(FACTS, async |mut connection| {
                redis::cmd("INFO").query_async::<String>(&mut connection).await
            });
            let info = info.await?;
            let clients = self.redis.call(FACTS, async |mut connection| {
                redis::cmd("CLIENT").arg("LIST").query_async::<String>(&mut connection).await
            });
            let clients = clients.await.ok().map(|text| text.lines().map(str::to_owned).collect());
            Ok(Some(ServerFacts { clients, info }))
        })
    }
}
