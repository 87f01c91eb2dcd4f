//! An index of vectors in Qdrant.
//!
//! A collection holds vectors of one length: the one the configuration names those of the length it says, and
//! every other length has a collection of its own. What is ours in them has names of our own, so that a
//! collection may hold LiteLLM's answers too.
//!
//! Source: Qdrant REST API, collections and points (<https://api.qdrant.tech>).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use faregate_config::{QdrantSettings, Quantization};
use faregate_state::cache::{Answer, CacheError, name_of};
use faregate_state::clock::Clock;
use faregate_state::nearest::{Near, VectorIndex, direction};
use faregate_upstream::{Auth, Upstream};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Door};

/// The length of vectors when nobody says otherwise, as LiteLLM's.
const LENGTH: u64 = 1536;
/// What making a collection, or emptying it, may take; nobody's request waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often what is over is dropped.
const SWEEP: Duration = Duration::from_secs(60);
/// Who may find a point.
const SCOPE: &str = "faregate_scope";
/// When it is over, milliseconds since 1970.
const ENDS: &str = "faregate_ends_ms";
/// What is found, in Base64.
const VALUE: &str = "faregate_value";

/// Keeps values in a Qdrant.
#[derive(Debug)]
pub struct QdrantIndex {
    door: Door,
    base: String,
    collection: String,
    length: u64,
    quantization: Quantization,
    clock: Arc<dyn Clock>,
    /// Lengths of vectors whose collection is there.
    made: Mutex<HashSet<usize>>,
    /// When it was last swept, in milliseconds on the steady clock.
    swept_ms: AtomicU64,
}

#[derive(Deserialize)]
struct Reply<T> {
    result: T,
}

#[derive(Deserialize)]
struct Found {
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    score: f32,
    payload: Value,
}

#[derive(Deserialize)]
struct Collections {
    collections: Vec<Collection>,
}

#[derive(Deserialize)]
struct Collection {
    name: String,
}

impl QdrantIndex {
    /// The index at `base`, for the identity of `auth`. Calls that take longer than `deadline` fail.
    pub fn new(
        upstream: &Upstream,
        auth: Arc<Auth>,
        base: &str,
        settings: &QdrantSettings,
        deadline: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            door: Door::new(upstream, auth, deadline, "the Qdrant of the cache"),
            base: base.trim_end_matches('/').to_owned(),
            collection: settings.collection.clone(),
            length: settings.vector_size.unwrap_or(LENGTH),
            quantization: settings.quantization,
            clock,
            made: Mutex::default(),
            swept_ms: AtomicU64::new(0),
        }
    }

    /// The name of the collection for vectors of a length.
    fn collection(&self, length: usize) -> String {
        if u64::try_from(length) == Ok(self.length) {
            self.collection.clone()
        } else {
            format!("{}_{length}", self.collection)
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        deadline: Option<Duration>,
    ) -> Result<(StatusCode, Bytes), CacheError> {
        let mut ask = Ask::new(method, format!("{}{path}", self.base));
        ask.deadline = deadline;
        if let Some(body) = body {
            ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            ask.body = body.to_string().into();
        }
        self.door.call(ask).await
    }

    /// Makes the collection of a length, and lets the server look scopes and ends up.
    async fn make(&self, length: usize) -> Result<(), CacheError> {
        if self.made.lock().contains(&length) {
            return Ok(());
        }
        let path = self.path(&self.collection(length), "");
        let body = json!({
            "vectors": {"size": length, "distance": "Cosine"},
            "quantization_config": match self.quantization {
                Quantization::Binary => json!({"binary": {"always_ram": false}}),
                Quantization::Scalar => json!({"scalar": {"type": "int8", "quantile": 0.99, "always_ram": false}}),
                Quantization::Product => json!({"product": {"compression": "x16", "always_ram": false}}),
            },
        });
        let (status, body) = self.call(Method::PUT, &path, Some(body), Some(PATIENCE)).await?;
        let is_there = String::from_utf8_lossy(&body).contains("already exists");
        if !status.is_success() && !is_there {
            return Err(self.refused(status, &body));
        }
        for (field, schema) in [(SCOPE, "keyword"), (ENDS, "integer")] {
            let index = json!({"field_name": field, "field_schema": schema});
            let path = format!("{path}/index?wait=true");
            let (status, body) = self.call(Method::PUT, &path, Some(index), Some(PATIENCE)).await?;
            if !status.is_success() {
                return Err(self.refused(status, &body));
            }
        }
        self.made.lock().insert(length);
        Ok(())
    }

    async fn search(&self, scope: &str, vector: &[f32]) -> Result<Option<Near>, CacheError> {
        let now = self.clock.wall_ms();
        let body = json!({
            "query": vector,
            "filter": {"must": [
                {"key": SCOPE, "match": {"value": scope}},
                {"key": ENDS, "range": {"gt": now}},
            ]},
            "limit": 1,
            "with_payload": [ENDS, VALUE],
        });
        let path = self.path(&self.collection(vector.len()), "/points/query");
        let (status, body) = self.call(Method::POST, &path, Some(body), None).await?;
        match status {
            StatusCode::OK => {}
            // Nothing was kept yet, or somebody dropped it. A server that is too old says nothing.
            StatusCode::NOT_FOUND if reason(&body).is_some() => {
                self.made.lock().remove(&vector.len());
                return Ok(None);
            }
            status => return Err(self.refused(status, &body)),
        }
        let reply: Reply<Found> =
            serde_json::from_slice(&body).map_err(|_| self.door.failed("no answer of Qdrant's"))?;
        let found = reply.result.points.into_iter().next();
        let Some(point) = found.filter(|point| point.payload[ENDS].as_i64().is_some_and(|end| end > now))
        else {
            return Ok(None);
        };
        let value = point.payload[VALUE].as_str().and_then(|text| STANDARD.decode(text).ok());
        Ok(value.map(|value| Near { similarity: point.score.clamp(-1.0, 1.0), value: value.into() }))
    }

    async fn keep(&self, scope: &str, vector: &[f32], value: &[u8], ttl: Duration) -> Result<(), CacheError> {
        let length = vector.len();
        self.make(length).await?;
        let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
        let id = name_of(&format!("{scope}\n{}", numbers.join(",")));
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let ends = self.clock.wall_ms().saturating_add(ttl);
        let point = json!({
            // Half of a SHA-256 looks like a UUID without its dashes, which is a kind of id Qdrant takes.
            "id": id.get(..32),
            "vector": vector,
            "payload": {SCOPE: scope, ENDS: ends, VALUE: STANDARD.encode(value)},
        });
        let path = self.path(&self.collection(length), "/points?wait=true");
        let (status, body) = self.call(Method::PUT, &path, Some(json!({"points": [point]})), None).await?;
        if status == StatusCode::NOT_FOUND {
            self.made.lock().remove(&length);
        }
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        self.sweep(length).await
    }

    /// Drops what is over, now and then: a search passes over it anyway.
    async fn sweep(&self, length: usize) -> Result<(), CacheError> {
        let now = u64::try_from(self.clock.steady().as_millis()).unwrap_or(u64::MAX);
        let last = self.swept_ms.load(Ordering::Relaxed);
        let is_due = Duration::from_millis(now.saturating_sub(last)) >= SWEEP;
        if is_due && self.swept_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let over = json!({"key": ENDS, "range": {"lte": self.clock.wall_ms()}});
            self.drop_points(&self.collection(length), over).await?;
        }
        Ok(())
    }

    async fn drop_points(&self, collection: &str, which: Value) -> Result<(), CacheError> {
        let body = json!({"filter": {"must": [which]}});
        let path = self.path(collection, "/points/delete?wait=true");
        let (status, body) = self.call(Method::POST, &path, Some(body), Some(PATIENCE)).await?;
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(self.refused(status, &body))
    }

    /// Names of our collections.
    async fn collections(&self) -> Result<Vec<String>, CacheError> {
        let (status, body) = self.call(Method::GET, "/collections", None, None).await?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        let reply: Reply<Collections> =
            serde_json::from_slice(&body).map_err(|_| self.door.failed("no answer of Qdrant's"))?;
        let names = reply.result.collections.into_iter().map(|collection| collection.name);
        let is_ours = |name: &String| match name.strip_prefix(&self.collection) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('_').is_some_and(|length| length.parse::<usize>().is_ok()),
            None => false,
        };
        Ok(names.filter(is_ours).collect())
    }

    fn path(&self, collection: &str, rest: &str) -> String {
        format!("/collections/{}{rest}", utf8_percent_encode(collection, NON_ALPHANUMERIC))
    }

    /// Names the status, and what Qdrant says is wrong.
    fn refused(&self, status: StatusCode, body: &[u8]) -> CacheError {
        let why = reason(body).unwrap_or_else(|| "no reason given".to_owned());
        self.door.failed(&format!("status {}, {why}", status.as_u16()))
    }
}

/// What Qdrant says is wrong, as far as a log should hold it.
fn reason(body: &[u8]) -> Option<String> {
    let reply: Value = serde_json::from_slice(body).ok()?;
    Some(reply["status"]["error"].as_str()?.chars().take(200).collect())
}

impl VectorIndex for QdrantIndex {
    fn nearest<'a>(&'a self, scope: &'a str, vector: &'a [f32]) -> Answer<'a, Option<Near>> {
        Box::pin(async move {
            let Some(vector) = direction(vector) else { return Ok(None) };
            self.search(scope, &vector).await
        })
    }

    fn add<'a>(&'a self, scope: &'a str, vector: &'a [f32], value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let Some(vector) = direction(vector).filter(|_| !ttl.is_zero()) else { return Ok(()) };
            self.keep(scope, &vector, &value, ttl).await
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            for collection in self.collections().await? {
                let ours = json!({"key": ENDS, "range": {"gte": 0}});
                self.drop_points(&collection, ours).await?;
            }
            Ok(())
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.collections().await.map(drop) })
    }
}
