//! What the provider received, and what became of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Requests kept; older ones are forgotten.
pub const DEFAULT_CAPACITY: usize = 10_000;

/// Bytes of bodies kept; beyond it the oldest requests are forgotten too, so that long prompts cannot fill memory.
const BODY_BYTES: usize = 256 << 20;

/// Headers whose values are credentials.
const SECRET_HEADERS: &[&str] =
    &["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-amz-security-token", "cookie"];

/// One received request.
#[derive(Debug, Clone)]
pub struct Received {
    /// Counts from 1 since start or reset.
    pub number: u64,
    /// Method, e.g. `POST`.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query without the question mark; a `key` in it is masked.
    pub query: String,
    /// Names in lower case, credentials masked to their last four characters, in order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body as sent.
    pub body: Bytes,
    /// The client left before the answer was complete.
    pub aborted: bool,
    /// The answer was sent completely (or cut on purpose).
    pub done: bool,
}

impl Received {
    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn to_json(&self) -> Value {
        let headers: serde_json::Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        json!({
            "number": self.number, "method": self.method, "path": self.path, "query": self.query,
            "headers": headers, "body": self.json(), "aborted": self.aborted, "done": self.done,
        })
    }
}

/// Counts since start or reset, and what is open now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Requests received.
    pub requests: u64,
    /// Requests whose answer is not complete yet.
    pub in_flight: usize,
    /// Requests whose client left early.
    pub cancelled: usize,
    /// Connections open now.
    pub open_connections: usize,
    /// Connections accepted.
    pub connections: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    head: http::request::Parts,
    body: Bytes,
    aborted: AtomicBool,
    done: AtomicBool,
}

#[derive(Debug, Default)]
struct Entries {
    list: VecDeque<Arc<Entry>>,
    body_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Log {
    entries: Mutex<Entries>,
    capacity: usize,
    requests: AtomicU64,
    in_flight: AtomicUsize,
    open: AtomicUsize,
    connections: AtomicU64,
    cancelled: watch::Sender<usize>,
    received: watch::Sender<u64>,
}

impl Entries {
    /// Adds the newest and forgets the oldest as far as needed; the newest always stays.
    fn push(&mut self, entry: Arc<Entry>, capacity: usize) {
        self.body_bytes += entry.body.len();
        self.list.push_back(entry);
        while self.list.len() > capacity || (self.body_bytes > BODY_BYTES && self.list.len() > 1) {
            let Some(oldest) = self.list.pop_front() else { return };
            self.body_bytes -= oldest.body.len();
        }
    }
}

impl Log {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            capacity,
            requests: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            cancelled: watch::Sender::new(0),
            received: watch::Sender::new(0),
        })
    }

    /// Counts a request whose body is still on its way.
    pub(crate) fn arrives(self: &Arc<Self>) -> Tracked {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Tracked { log: Arc::clone(self), entry: None, done: false }
    }

    /// Keeps the request, now that its body is here.
    pub(crate) fn keep(&self, tracked: &mut Tracked, head: &http::request::Parts, body: &Bytes) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if self.capacity > 0 {
            let entry = Arc::new(Entry {
                number,
                head: head.clone(),
                body: body.clone(),
                aborted: AtomicBool::new(false),
                done: AtomicBool::new(false),
            });
            tracked.entry = Some(Arc::clone(&entry));
            self.entries.lock().push(entry, self.capacity);
        }
        self.received.send_replace(number);
    }

    pub(crate) fn connects(self: &Arc<Self>) -> Connected {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    pub(crate) fn list(&self) -> Vec<Received> {
        let entries: Vec<_> = self.entries.lock().list.iter().cloned().collect();
        entries.iter().map(|entry| entry.received()).collect()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            requests: self.requests.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            cancelled: *self.cancelled.borrow(),
            open_connections: self.open.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn reset(&self) {
        *self.entries.lock() = Entries::default();
        self.requests.store(0, Ordering::Relaxed);
        self.connections.store(0, Ordering::Relaxed);
        self.cancelled.send_replace(0);
    }

    /// Resolves once `count` clients left early; answers how many did.
    pub(crate) async fn cancelled_at_least(&self, count: usize) -> usize {
        let mut watch = self.cancelled.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail; 0 keeps the signature plain.
        watch.wait_for(|seen| *seen >= count).await.map_or(0, |seen| *seen)
    }

    /// Resolves once `count` requests arrived since start or reset.
    pub(crate) async fn received_at_least(&self, count: u64) {
        let mut watch = self.received.subscribe();
        while self.requests.load(Ordering::Relaxed) < count {
            if watch.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Entry {
    fn received(&self) -> Received {
        Received {
            number: self.number,
            method: self.head.method.to_string(),
            path: self.head.uri.path().to_owned(),
            query: masked_query(self.head.uri.query().unwrap_or_default()),
            headers: masked_headers(&self.head.headers),
            body: self.body.clone(),
            aborted: self.aborted.load(Ordering::Acquire),
            done: self.done.load(Ordering::Acquire),
        }
    }
}

fn masked_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let text = String::from_utf8_lossy(value.as_bytes());
            let secret = SECRET_HEADERS.contains(&name.as_str());
            (name.as_str().to_owned(), if secret { masked(&text) } else { text.into_owned() })
        })
        .collect()
}

fn masked_query(query: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some(("key", value)) => format!("key={}", masked(value)),
        _ => pair.to_owned(),
    };
    query.split('&').map(pair).collect::<Vec<_>>().join("&")
}

/// Keeps the scheme and the last four characters, enough to tell keys of a test apart.
fn masked(value: &str) -> String {
    let (scheme, secret) = match value.split_once(' ') {
        Some((scheme, secret)) => (format!("{scheme} "), secret),
        None => (String::new(), value),
    };
    let tail: String = secret.chars().skip(secret.chars().count().saturating_sub(4).max(4)).collect();
    format!("{scheme}...{tail}")
}

/// One request under way; dropping it unfinished means that the client left.
pub(crate) struct Tracked {
    log: Arc<Log>,
    entry: Option<Arc<Entry>>,
    done: bool,
}

impl Tracked {
    pub(crate) fn complete(mut self) {
        self.done = true;
        if let Some(entry) = &self.entry {
            entry.done.store(true, Ordering::Release);
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.log.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.done {
            if let Some(entry) = &self.entry {
                entry.aborted.store(true, Ordering::Release);
            }
            self.log.cancelled.send_modify(|count| *count += 1);
        }
    }
}

/// One open connection.
pub(crate) struct Connected(Arc<Log>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
