//! What a cache in Redis asks with: names carry a generation, so that a flush is the beginning of the next one,
//! and what belonged to the last goes when its time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::RedisResult;

use super::{Connection, Redis, RedisError};
use crate::clock::Clock;

/// How often the generation is looked up.
const LOOK: Duration = Duration::from_millis(500);
/// What a new connection may take; nobody's request waits for it.
const CONNECT: Duration = Duration::from_secs(5);

/// A part of a server, and which generation of it counts.
#[derive(Debug)]
pub(crate) struct Generations {
    /// The server, with a connection of its own.
    pub(crate) redis: Redis,
    /// What a request waits at most.
    pub(crate) deadline: Duration,
    key: String,
    clock: Arc<dyn Clock>,
    current: AtomicU64,
    /// Somebody is waiting for the connection as long as it takes.
    connecting: Arc<AtomicBool>,
    /// When the generation was last looked up, in milliseconds on the steady clock, plus one; 0 for never.
    looked_ms: AtomicU64,
}

impl Generations {
    /// The generations counted in `name`.
    pub(crate) fn new(redis: &Redis, name: &str, deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            redis: redis.another(),
            deadline,
            key: redis.key(name),
            clock,
            current: AtomicU64::new(0),
            connecting: Arc::default(),
            looked_ms: AtomicU64::new(0),
        }
    }

    /// Calls the server. A connection may take longer to make than a request waits, so one that is missing is
    /// made beside.
    pub(crate) async fn call<T, F>(&self, work: impl FnOnce(Connection) -> F) -> Result<T, RedisError>
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

    /// The generation that counts, as it was half a second ago or later.
    pub(crate) async fn current(&self) -> Result<u64, RedisError> {
        let now = u64::try_from(self.clock.steady().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let looked = self.looked_ms.load(Ordering::Acquire);
        if looked == 0 || Duration::from_millis(now.saturating_sub(looked)) >= LOOK {
            let found = self.call(async |mut connection| {
                redis::cmd("GET").arg(&self.key).query_async::<Option<u64>>(&mut connection).await
            });
            self.current.store(found.await?.unwrap_or(0), Ordering::Release);
            self.looked_ms.store(now, Ordering::Release);
        }
        Ok(self.current.load(Ordering::Acquire))
    }

    /// Begins the next one.
    pub(crate) async fn next(&self) -> Result<(), RedisError> {
        let next = self.call(async |mut connection| {
            redis::cmd("INCR").arg(&self.key).query_async::<u64>(&mut connection).await
        });
        self.current.store(next.await?, Ordering::Release);
        Ok(())
    }
}
