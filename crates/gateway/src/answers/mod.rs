//! Answers kept for the next one who asks the same.
//!
//! Says which requests are the same ([`key`]), what is kept of an answer ([`entry`]), and who waits for whom
//! ([`flights`]). A cache that is away, slow or full is a cache that knows nothing: it is counted and warned of,
//! and no request fails. The stage that asks is [`crate::stage::lookup`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use faregate_config::{CacheKind, CacheSettings};
use faregate_state::cache::{CacheError, ResponseCache};
use faregate_state::clock::Clock;
use faregate_state::nearest::VectorIndex;

use crate::metrics::Metrics;
use crate::routes::Operation;

pub mod controls;
pub mod entry;
pub mod flights;
pub mod key;

use entry::Entry;
use flights::{Flights, Lead};

/// How long an answer is kept when nobody says otherwise. Source: compat, config §2.1, `ttl`.
const DEFAULT_TTL: Duration = Duration::from_secs(60);
/// The same on disk, in a bucket and by meaning, where LiteLLM sets no end.
const ENDLESS: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// The largest answer that is kept.
pub const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Answers on their way into a cache that does not take them at once.
const MOST_WRITES: usize = 256;
/// Between two warnings that the cache fails.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// LiteLLM's names of an operation whose answers can be kept; none for the others.
fn names_of(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::ChatCompletions => &["acompletion", "completion"],
        Operation::TextCompletions => &["atext_completion", "text_completion"],
        Operation::Responses => &["aresponses", "responses"],
        Operation::Messages => &["anthropic_messages", "aanthropic_messages"],
        Operation::Embeddings => &["aembedding", "embedding"],
        Operation::Rerank => &["arerank", "rerank"],
        Operation::Transcriptions => &["atranscription", "transcription"],
        Operation::Gemini => {
            &["agenerate_content", "generate_content", "agenerate_content_stream", "generate_content_stream"]
        }
        _ => &[],
    }
}

/// The response cache.
pub struct Answers {
    /// What the configuration says.
    pub settings: CacheSettings,
    /// Questions under way.
    pub flights: Arc<Flights>,
    /// Answers by what the question means, for the semantic kinds.
    pub nearest: Option<Arc<dyn VectorIndex>>,
    store: Arc<dyn ResponseCache>,
    clock: Arc<dyn Clock>,
    writes: Arc<Semaphore>,
    /// When it was last warned of, in milliseconds on the steady clock, plus one; 0 for never.
    warned_ms: AtomicU64,
}

impl Answers {
    /// A cache over `store`.
    pub fn new(settings: CacheSettings, store: Arc<dyn ResponseCache>, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            flights: Arc::default(),
            nearest: None,
            store,
            clock,
            writes: Arc::new(Semaphore::new(MOST_WRITES)),
            warned_ms: AtomicU64::new(0),
        }
    }

    /// The running cache if its settings are still those of `next`, so that a reload forgets nothing.
    pub fn going_on(running: Option<&Arc<Self>>, next: Option<Arc<Self>>) -> Option<Arc<Self>> {
        let same = |next: &Arc<Self>| running.filter(|running| running.settings == next.settings).cloned();
        next.map(|next| same(&next).unwrap_or(next))
    }

    /// Where answers are kept.
    pub fn store(&self) -> &dyn ResponseCache {
        &*self.store
    }

    /// True if answers of this operation are kept. Source: compat, config §2.1, `supported_call_types`.
    pub fn covers(&self, operation: Operation) -> bool {
        let names = names_of(operation);
        match &self.settings.call_types {
            None => !names.is_empty(),
            Some(listed) => listed.iter().any(|listed| names.contains(&listed.as_str())),
        }
    }

    /// How long an answer is kept unless its request says otherwise.
    pub fn ttl(&self) -> Duration {
        let settings = &self.settings;
        let (of_kind, otherwise) = match settings.kind {
            Some(CacheKind::Redis) => (settings.default_in_redis_ttl, DEFAULT_TTL),
            Some(CacheKind::Disk | CacheKind::S3 | CacheKind::Gcs | CacheKind::AzureBlob) => (None, ENDLESS),
            Some(CacheKind::Memory) | None => (settings.default_in_memory_ttl, DEFAULT_TTL),
        };
        let otherwise = if settings.semantic.is_some() { ENDLESS } else { otherwise };
        settings.ttl.or(of_kind).unwrap_or(otherwise)
    }

    /// The time on the wall, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    /// The answer to `key`, no older than `max_age`.
    pub async fn find(&self, key: &str, max_age: Option<Duration>, metrics: &Metrics) -> Option<Entry> {
        let found = match self.store.get(key).await {
            Ok(found) => found?,
            Err(error) => {
                self.failed(&error, metrics);
                return None;
            }
        };
        self.young(Entry::decode(&found)?, max_age)
    }

    /// The answer, if it is no older than `max_age`.
    pub fn young(&self, entry: Entry, max_age: Option<Duration>) -> Option<Entry> {
        let age = u64::try_from(self.now_ms().saturating_sub(entry.facts.at)).unwrap_or_default();
        max_age.is_none_or(|most| Duration::from_millis(age) <= most).then_some(entry)
    }

    /// Keeps an answer and hands it to those that wait for it. Nobody waits for this: what cannot be written
    /// at once is written beside, and what is too much at a time is not kept.
    pub fn keep(
        self: &Arc<Self>,
        key: String,
        answer: Bytes,
        ttl: Duration,
        lead: Option<Lead>,
        metrics: &Arc<Metrics>,
    ) {
        if let Some(lead) = &lead {
            lead.answered(answer.clone());
        }
        let answers = Arc::clone(self);
        self.write(metrics, async move {
            let written = answers.store.put(&key, answer, ttl).await;
            drop(lead);
            written
        });
    }

    /// Writes something beside the request, if there is room for it.
    pub fn write(
        self: &Arc<Self>,
        metrics: &Arc<Metrics>,
        write: impl Future<Output = Result<(), CacheError>> + Send + 'static,
    ) {
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else {
            self.failed(&CacheError(format!("{MOST_WRITES} answers are being written")), metrics);
            return;
        };
        let (answers, metrics) = (Arc::clone(self), Arc::clone(metrics));
        let mut writing = Box::pin(async move {
            if let Err(error) = write.await {
                answers.failed(&error, &metrics);
            }
            drop(permit);
        });
        // Memory takes it at once.
        if (&mut writing).now_or_never().is_none() {
            tokio::spawn(writing);
        }
    }

    /// Counts a failure; warns of it now and then.
    pub fn failed(&self, error: &CacheError, metrics: &Metrics) {
        metrics.cache_failures.inc();
        let now = u64::try_from(self.clock.steady().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let last = self.warned_ms.load(Ordering::Relaxed);
        let is_due = last == 0 || Duration::from_millis(now.saturating_sub(last)) >= WARN_EVERY;
        if is_due && self.warned_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::warn!(%error, "the response cache fails; requests go on without it");
        }
    }
}
