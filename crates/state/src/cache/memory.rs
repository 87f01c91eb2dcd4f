//! A cache in this process, bounded in bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;
use moka::sync::Cache;

use super::{Answer, ResponseCache};

/// What an entry costs beside its key and value, in bytes, roughly.
const OVERHEAD: usize = 160;

/// Keeps what was used lately and often; forgets the rest when it is full.
#[derive(Debug)]
pub struct MemoryCache(Cache<Arc<str>, Entry>);

#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
    ttl: Duration,
}

/// What ends at a time of its own.
pub(super) trait Lasting {
    /// How long it lasts from when it comes.
    fn ttl(&self) -> Duration;
}

impl Lasting for Entry {
    fn ttl(&self) -> Duration {
        self.ttl
    }
}

/// Each value for its own time.
pub(super) struct OwnTime;

/// Longer than any process lives, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl<V: Lasting> Expiry<Arc<str>, V> for OwnTime {
    fn expire_after_create(&self, _: &Arc<str>, value: &V, _: Instant) -> Option<Duration> {
        Some(value.ttl().min(LONGEST))
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        value: &V,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.ttl().min(LONGEST))
    }
}

impl MemoryCache {
    /// A cache of at most about `bytes`.
    pub fn new(bytes: u64) -> Self {
        let weigh = |key: &Arc<str>, entry: &Entry| {
            u32::try_from(key.len() + entry.value.len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(bytes).weigher(weigh).expire_after(OwnTime).build())
    }

    /// Bytes in use, once pending housekeeping is done.
    pub fn bytes(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.weighted_size()
    }
}

impl ResponseCache for MemoryCache {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move { Ok(self.0.get(key).map(|entry| entry.value)) })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            if ttl.is_zero() {
                self.0.invalidate(key);
            } else {
                self.0.insert(key.into(), Entry { value, ttl });
            }
            Ok(())
        })
    }

    fn delete<'a>(&'a self, keys: &'a [String]) -> Answer<'a, u64> {
        Box::pin(async move {
            let gone = keys.iter().filter(|key| self.0.remove(key.as_str()).is_some()).count();
            Ok(u64::try_from(gone).unwrap_or(u64::MAX))
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.0.invalidate_all();
            Ok(())
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
