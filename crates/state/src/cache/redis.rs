//! A cache in Redis, Valkey, or a cluster of either.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::SetExpiry;

use super::{Answer, CacheError, ResponseCache};
use crate::clock::Clock;
use crate::redis::{Generations, Redis, RedisError};

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

/// Values under one namespace. To flush is to begin the next generation of them.
#[derive(Debug)]
pub struct RedisCache {
    generations: Generations,
    namespace: String,
}

impl RedisCache {
    /// A cache under the prefix of `redis`. Calls that take longer than `deadline` are misses.
    pub fn new(redis: &Redis, namespace: &str, deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        let name = format!("cache:{namespace}:generation");
        let generations = Generations::new(redis, &name, deadline, clock);
        Self { generations, namespace: namespace.to_owned() }
    }

    async fn name(&self, key: &str) -> Result<String, RedisError> {
        let generation = self.generations.current().await?;
        let name = format!("cache:{}:{generation}:{key}", self.namespace);
        Ok(self.generations.redis.spread_key(&name))
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
            let found = self.generations.call(async |mut connection| {
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
            let done =
                self.generations.call(async |mut connection| command.exec_async(&mut connection).await);
            Ok(done.await?)
        })
    }

    fn delete<'a>(&'a self, keys: &'a [String]) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut gone = 0;
            // One by one: a cluster has them in different places.
            for key in keys {
                let name = self.name(key).await?;
                let done = self.generations.call(async |mut connection| {
                    redis::cmd("UNLINK").arg(name).query_async::<u64>(&mut connection).await
                });
                gone += done.await?;
            }
            Ok(gone)
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move { Ok(self.generations.next().await?) })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move { Ok(self.generations.redis.ping(self.generations.deadline).await?) })
    }

    fn server(&self) -> Answer<'_, Option<ServerFacts>> {
        Box::pin(async move {
            let info = self.generations.redis.call(FACTS, async |mut connection| {
                redis::cmd("INFO").query_async::<String>(&mut connection).await
            });
            let info = info.await?;
            let clients = self.generations.redis.call(FACTS, async |mut connection| {
                redis::cmd("CLIENT").arg("LIST").query_async::<String>(&mut connection).await
            });
            let clients = clients.await.ok().map(|text| text.lines().map(str::to_owned).collect());
            Ok(Some(ServerFacts { clients, info }))
        })
    }
}
