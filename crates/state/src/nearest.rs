//! Values kept by what they are about: the semantic half of the response cache.
//!
//! A vector stands for the meaning of a question, and the value is its answer. Where vectors come from, how
//! near is near enough, and who may see whose values, is decided by the caller; the last in the scope.

use std::time::Duration;

use bytes::Bytes;

use crate::cache::Answer;

mod memory;
mod redis;

pub use memory::MemoryIndex;
pub use redis::RedisIndex;

/// The nearest kept value.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// Cosine similarity, -1..=1.
    pub similarity: f32,
    /// What was kept with it.
    pub value: Bytes,
}

/// Values by vector, in scopes that never meet, each for its own time.
///
/// A vector without a direction (empty, zero, not finite) is near to nothing, and nothing is kept with it. The
/// same vector again, in the same scope, replaces its value.
///
/// An implementation passes [`suite::vector_index`](crate::suite::vector_index).
pub trait VectorIndex: Send + Sync {
    /// The value whose vector is nearest within a scope, if any is there and its time is not over. Vectors of
    /// another length than asked are never compared.
    fn nearest<'a>(&'a self, scope: &'a str, vector: &'a [f32]) -> Answer<'a, Option<Near>>;
    /// Keeps a value with its vector in a scope, at most for `ttl`. A ttl of zero keeps nothing.
    fn add<'a>(&'a self, scope: &'a str, vector: &'a [f32], value: Bytes, ttl: Duration) -> Answer<'a, ()>;
    /// Drops everything; on other replicas within a second.
    fn flush(&self) -> Answer<'_, ()>;
    /// Fails if the index does not answer, or cannot be used.
    fn ping(&self) -> Answer<'_, ()>;
}

/// The vector at length one, so that a product of two is their cosine; `None` if it has no direction.
pub fn direction(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|part| f64::from(*part).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a part of a vector of length one fits")]
    let unit = vector.iter().map(|part| (f64::from(*part) / length) as f32).collect();
    Some(unit)
}
