//! A log in Redis.

use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Script;

use super::{LOG_LENGTH, News, SharedLog};
use crate::limits::lease::StoreError;
use crate::redis::Redis;

/// Longest wait for one call; the caller has deadlines of its own.
const DEADLINE: Duration = Duration::from_secs(10);

/// One topic's log in Redis, Valkey, or a cluster of either.
#[derive(Debug)]
pub struct RedisLog {
    redis: Redis,
    append: Script,
    since: Script,
    version: String,
    entries: String,
    kept: usize,
}

impl RedisLog {
    /// The log of `topic` under the prefix of `redis`.
    pub fn new(redis: &Redis, topic: &str) -> Self {
        let version = redis.key(&format!("log:{topic}:version"));
        let entries = redis.key(&format!("log:{topic}:entries"));
        let append = Script::new(include_str!("append.lua"));
        Self {
            redis: redis.another(),
            append,
            since: Script::new(include_str!("since.lua")),
            version,
            entries,
            kept: LOG_LENGTH,
        }
    }

    /// The same with room for so many entries, where old ones are worth nothing.
    #[must_use]
    pub fn keeping(self, kept: usize) -> Self {
        Self { kept, ..self }
    }
}

impl SharedLog for RedisLog {
    fn append<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut call = self.append.key(&self.version);
            call.key(&self.entries).arg(self.kept);
            for entry in entries {
                call.arg(entry);
            }
            let done = self
                .redis
                .call(DEADLINE, async |mut connection| call.invoke_async::<u8>(&mut connection).await);
            done.await.map(|_| ()).map_err(|error| StoreError(error.to_string()))
        })
    }

    fn since(&self, version: u64) -> BoxFuture<'_, Result<News, StoreError>> {
        Box::pin(async move {
            let mut call = self.since.key(&self.version);
            call.key(&self.entries).arg(version);
            let reply = self.redis.call(DEADLINE, async |mut connection| {
                call.invoke_async::<(u64, Vec<String>)>(&mut connection).await
            });
            let (newest, lines) = reply.await.map_err(|error| StoreError(error.to_string()))?;
            let first = lines.first().and_then(|line| line.split_once(':')?.0.parse::<u64>().ok());
            let complete = match first {
                Some(first) => first == version + 1,
                None => newest == version,
            };
            let entries = lines.iter().filter_map(|line| Some(line.split_once(':')?.1.to_owned())).collect();
            Ok(News { version: newest, entries, gap: version != 0 && !complete })
        })
    }
}
