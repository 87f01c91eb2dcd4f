//! Answers kept for the next one who asks the same.
//!
//! Keys and values are opaque here: what makes two requests the same, and who may see whose answers, is
//! decided by the caller, in the key.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};

mod disk;
pub mod frame;
mod memory;
mod redis;

pub use disk::DiskCache;
pub use memory::MemoryCache;
pub use redis::{RedisCache, ServerFacts};

/// The cache cannot say. A caller goes on as if it had missed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cache failed: {0}")]
pub struct CacheError(pub String);

/// What [`ResponseCache`] calls return.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, CacheError>>;

/// Values by key, each for its own time.
///
/// An implementation passes [`suite::response_cache`](crate::suite::response_cache).
pub trait ResponseCache: Send + Sync {
    /// The value, if it is there and its time is not over.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>>;
    /// Keeps a value, at most for `ttl`; replaces what was there. A ttl of zero keeps nothing.
    fn put<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()>;
    /// Drops values; returns how many were there.
    fn delete<'a>(&'a self, keys: &'a [String]) -> Answer<'a, u64>;
    /// Drops everything; on other replicas within a second.
    fn flush(&self) -> Answer<'_, ()>;
    /// Fails if the cache does not answer, or cannot be written.
    fn ping(&self) -> Answer<'_, ()>;
    /// What the server behind it says of itself; `None` if there is no server.
    fn server(&self) -> Answer<'_, Option<ServerFacts>> {
        Box::pin(async { Ok(None) })
    }
}

/// The name of what is kept for a key: keys may hold what names of files and objects may not.
pub fn name_of(key: &str) -> String {
    let mut name = String::with_capacity(64);
    for byte in Sha256::digest(key) {
        // Writing to a text cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}
