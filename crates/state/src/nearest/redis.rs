//! An index in a Redis or Valkey that searches vectors (Redis 8, Redis Stack, valkey-search).
//!
//! One hash per value, which ends by itself, and one index per length of vector, made when the first one comes.
//! The tag of a value holds its scope and the generation of the index, so that a search sees no other.
//!
//! Source: <https://redis.io/docs/latest/develop/ai/search-and-query/vectors/>,
//! <https://valkey.io/commands/ft.search/>.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{FromRedisValue, Value};
use sha2::{Digest, Sha256};

use super::{Near, VectorIndex, direction};
use crate::cache::{Answer, CacheError};
use crate::clock::Clock;
use crate::redis::{Generations, Redis, RedisError};

/// How many are asked for: the nearest may be over and not gone yet.
const ASKED: usize = 4;
/// What the making of an index may take; a request that asks never waits for it.
const MAKING: Duration = Duration::from_secs(5);

/// Keeps values in a server that searches vectors.
#[derive(Debug)]
pub struct RedisIndex {
    generations: Generations,
    /// In front of the names of all indexes and hashes.
    name: String,
    /// Lengths of vectors whose index is there.
    made: Mutex<HashSet<usize>>,
}

impl RedisIndex {
    /// An index called `name` under the prefix of `redis`. Calls that take longer than `deadline` fail.
    pub fn new(redis: &Redis, name: &str, deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        let generation = format!("near:{name}:generation");
        Self {
            generations: Generations::new(redis, &generation, deadline, clock),
            name: redis.spread_key(&format!("near:{name}")),
            made: Mutex::default(),
        }
    }

    async fn tag(&self, scope: &str) -> Result<String, RedisError> {
        let generation = self.generations.current().await?;
        Ok(hex(&[&generation.to_le_bytes(), scope.as_bytes()]))
    }

    /// The index of a length; also what the names of its hashes begin with.
    fn index(&self, length: usize) -> String {
        format!("{}:{length}", self.name)
    }

    async fn make(&self, length: usize) -> Result<(), RedisError> {
        if self.made.lock().contains(&length) {
            return Ok(());
        }
        let index = self.index(length);
        let mut command = redis::cmd("FT.CREATE");
        command.arg(&index).arg("ON").arg("HASH").arg("PREFIX").arg(1).arg(format!("{index}:"));
        command.arg("SCHEMA").arg("scope").arg("TAG").arg("vector").arg("VECTOR").arg("HNSW").arg(6);
        command.arg("TYPE").arg("FLOAT32").arg("DIM").arg(length).arg("DISTANCE_METRIC").arg("COSINE");
        let done = self
            .generations
            .redis
            .call(MAKING, async |mut connection| command.exec_async(&mut connection).await);
        match done.await {
            Err(error) if !says(&error, &["already exists"]) => Err(error),
            _ => {
                self.made.lock().insert(length);
                Ok(())
            }
        }
    }

    async fn search(&self, scope: &str, vector: &[f32]) -> Result<Option<Near>, RedisError> {
        let filter =
            format!("(@scope:{{{}}})=>[KNN {ASKED} @vector $asked AS distance]", self.tag(scope).await?);
        let mut command = redis::cmd("FT.SEARCH");
        command.arg(self.index(vector.len())).arg(filter);
        command.arg("PARAMS").arg(2).arg("asked").arg(bytes_of(vector));
        command.arg("RETURN").arg(2).arg("distance").arg("value").arg("LIMIT").arg(0).arg(ASKED);
        command.arg("DIALECT").arg(2);
        let found = self
            .generations
            .call(async |mut connection| command.query_async::<Vec<Value>>(&mut connection).await);
        match found.await {
            Ok(found) => Ok(nearest_of(found)),
            // Nothing was kept yet, or the server was emptied.
            Err(error) if says(&error, &["no such index", "not found", "unknown index"]) => {
                self.made.lock().remove(&vector.len());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn keep(&self, scope: &str, vector: &[f32], value: &[u8], ttl: Duration) -> Result<(), RedisError> {
        let tag = self.tag(scope).await?;
        self.make(vector.len()).await?;
        let vector = bytes_of(vector);
        let id = hex(&[tag.as_bytes(), &vector]);
        let name = format!("{}:{id}", self.index(vector.len() / size_of::<f32>()));
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 40);
        let mut both = redis::pipe();
        // Together, so that nothing stays without an end.
        both.atomic();
        both.cmd("HSET").arg(&name).arg("scope").arg(tag).arg("vector").arg(vector).arg("value").arg(value);
        both.cmd("PEXPIRE").arg(&name).arg(ttl);
        self.generations.call(async |mut connection| both.exec_async(&mut connection).await).await
    }
}

/// A reply is the number of results, then name and fields of each.
fn nearest_of(reply: Vec<Value>) -> Option<Near> {
    let fields = reply.into_iter().filter(|part| matches!(part, Value::Array(_)));
    fields.filter_map(near_of).max_by(|one, other| one.similarity.total_cmp(&other.similarity))
}

/// `None` for what ended between the search and the look at it.
fn near_of(fields: Value) -> Option<Near> {
    let mut fields = Vec::<(String, Vec<u8>)>::from_redis_value(fields).ok()?;
    let mut take = |name: &str| {
        let at = fields.iter().position(|(field, _)| field == name)?;
        Some(fields.swap_remove(at).1)
    };
    let distance: f32 = String::from_utf8(take("distance")?).ok()?.parse().ok()?;
    let value = Bytes::from(take("value")?);
    Some(Near { similarity: (1.0 - distance).clamp(-1.0, 1.0), value })
}

fn says(error: &RedisError, words: &[&str]) -> bool {
    let RedisError::Failed(text) = error else { return false };
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

fn told(error: &RedisError) -> CacheError {
    if says(error, &["unknown command"]) {
        let remedy = "use Redis 8, Redis Stack, or Valkey with valkey-search";
        return CacheError(format!("this Redis cannot search vectors (it has no FT.SEARCH); {remedy}"));
    }
    CacheError(error.to_string())
}

fn bytes_of(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|part| part.to_le_bytes()).collect()
}

/// Half of the SHA-256 of texts that cannot be taken apart otherwise.
fn hex(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl VectorIndex for RedisIndex {
    fn nearest<'a>(&'a self, scope: &'a str, vector: &'a [f32]) -> Answer<'a, Option<Near>> {
        Box::pin(async move {
            let Some(vector) = direction(vector) else { return Ok(None) };
            self.search(scope, &vector).await.map_err(|error| told(&error))
        })
    }

    fn add<'a>(&'a self, scope: &'a str, vector: &'a [f32], value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let Some(vector) = direction(vector).filter(|_| !ttl.is_zero()) else { return Ok(()) };
            self.keep(scope, &vector, &value, ttl).await.map_err(|error| told(&error))
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move { Ok(self.generations.next().await?) })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let listed = self.generations.redis.call(self.generations.deadline, async |mut connection| {
                redis::cmd("FT._LIST").exec_async(&mut connection).await
            });
            listed.await.map_err(|error| told(&error))
        })
    }
}
