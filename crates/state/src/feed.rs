//! Short messages from each replica to all others, in order, within a second.
//!
//! A log with growing numbers in the shared store, polled: unlike a subscription it misses nothing when a
//! connection breaks, it works on clusters and over SQL, and a reader knows when it has missed something.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::limits::lease::StoreError;

mod redis;

pub use redis::RedisLog;

/// Entries that a log keeps; a reader further behind is told so.
pub const LOG_LENGTH: usize = 4_096;
/// Pause between polls.
const POLL: Duration = Duration::from_millis(200);
/// Bound on one call to the log.
const DEADLINE: Duration = Duration::from_secs(2);
/// Entries that wait for a store that is away.
const BACKLOG: usize = 4_096;
/// Entries a slow subscriber may fall behind.
const LAG: usize = 4_096;

/// News from a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// The number of the newest entry; the next question starts there.
    pub version: u64,
    /// Entries after the version that was asked about, oldest first.
    pub entries: Vec<String>,
    /// True if entries are missing: the log is shorter than the distance, or lost its memory.
    pub gap: bool,
}

/// A log that replicas share, one per topic.
///
/// An implementation passes [`suite::shared_log`](crate::suite::shared_log).
pub trait SharedLog: Send + Sync {
    /// Appends entries, in order.
    fn append<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>>;
    /// What came after `version`. Version 0 asks for all that is kept, and finds no gap.
    fn since(&self, version: u64) -> BoxFuture<'_, Result<News, StoreError>>;
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// What somebody published, on this replica or another.
    Said(Arc<str>),
    /// Messages may have been missed: assume anything.
    Missed,
}

/// Publishes and hears messages of one topic. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    hear: broadcast::Sender<Message>,
    waiting: Mutex<VecDeque<String>>,
    wake: Notify,
    clock: Arc<dyn Clock>,
    heard_ms: AtomicU64,
}

/// The background half of a feed that is shared. Start [`Follow::run`] once.
pub struct Follow {
    feed: Feed,
    log: Arc<dyn SharedLog>,
    /// True to hear what is in the log already at the start.
    replay: bool,
}

impl Feed {
    /// A feed within this replica only.
    pub fn alone(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            hear: broadcast::channel(LAG).0,
            waiting: Mutex::default(),
            wake: Notify::new(),
            heard_ms: AtomicU64::new(millis(clock.steady())),
            clock,
        }))
    }

    /// A feed over `log`; the returned [`Follow`] has to run. With `replay`, what the log keeps is heard at
    /// the start.
    pub fn shared(log: Arc<dyn SharedLog>, clock: Arc<dyn Clock>, replay: bool) -> (Self, Follow) {
        let feed = Self::alone(clock);
        (feed.clone(), Follow { feed, log, replay })
    }

    /// Tells everybody. Subscribers of this replica hear it at once, the others within a second while the
    /// store answers, else when it does again. Other replicas' messages reach this one's subscribers, and its
    /// own may reach them twice.
    pub fn publish(&self, message: &str) {
        self.say(Message::Said(message.into()));
        let mut waiting = self.0.waiting.lock();
        if waiting.len() < BACKLOG {
            waiting.push_back(message.to_owned());
        } else {
            // Too many to keep while the store is away: whoever reads on finds a gap.
            waiting.clear();
            waiting.push_back(GAP.to_owned());
        }
        drop(waiting);
        self.0.wake.notify_one();
    }

    /// Messages from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.0.hear.subscribe())
    }

    /// How long nothing could be heard from other replicas; near zero while all is well.
    pub fn silent_for(&self) -> Duration {
        let heard = Duration::from_millis(self.0.heard_ms.load(Ordering::Acquire));
        self.0.clock.steady().saturating_sub(heard)
    }

    fn say(&self, message: Message) {
        // Nobody listens: nobody has to know.
        let _ = self.0.hear.send(message);
    }
}

/// Published in place of messages that could not be kept.
const GAP: &str = "\u{0}gap";

/// Messages as they come.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Message>);

impl Subscription {
    /// The next message; `None` when the feed is gone. A subscriber that fell behind hears
    /// [`Message::Missed`].
    pub async fn next(&mut self) -> Option<Message> {
        match self.0.recv().await {
            Ok(message) => Some(message),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Message::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Follow {
    /// Appends and polls until `stop`, then appends what is left.
    pub async fn run(self, stop: CancellationToken) {
        let mut version = None;
        let mut pause = POLL;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.feed.0.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            let done = self.append().await.and(self.poll(&mut version).await);
            pause = if done.is_ok() { POLL } else { (pause * 2).min(Duration::from_secs(1)) };
            if done.is_err() {
                // A publisher must not make a failing store busier.
                tokio::time::sleep(POLL).await;
            }
        }
        if let Err(error) = self.append().await {
            tracing::warn!(%error, "messages to other replicas are lost");
        }
    }

    async fn append(&self) -> Result<(), StoreError> {
        let batch: Vec<String> = self.feed.0.waiting.lock().drain(..).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let done = within(self.log.append(&batch)).await;
        if done.is_err() {
            let mut waiting = self.feed.0.waiting.lock();
            for entry in batch.into_iter().rev() {
                waiting.push_front(entry);
            }
        }
        done
    }

    async fn poll(&self, version: &mut Option<u64>) -> Result<(), StoreError> {
        let asked = self.feed.0.clock.steady();
        let news = within(self.log.since(version.unwrap_or(0))).await?;
        let first = version.replace(news.version).is_none();
        // Who heard nothing until now may have remembered what has changed since.
        if news.gap || (first && !self.replay) {
            self.feed.say(Message::Missed);
        }
        if !first || self.replay {
            for entry in news.entries {
                let message = if entry == GAP { Message::Missed } else { Message::Said(entry.into()) };
                self.feed.say(message);
            }
        }
        self.feed.0.heard_ms.store(millis(asked), Ordering::Release);
        Ok(())
    }
}

async fn within<T>(call: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(DEADLINE, call).await {
        Ok(done) => done,
        Err(_) => Err(StoreError(format!("no answer within {DEADLINE:?}"))),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Feed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Feed").field("silent_for", &self.silent_for()).finish_non_exhaustive()
    }
}

/// A log in this process, for tests and for several feeds in one process.
#[derive(Debug, Default)]
pub struct MemoryLog(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    version: u64,
    entries: VecDeque<String>,
}

impl SharedLog for MemoryLog {
    fn append<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut kept = self.0.lock();
            for entry in entries {
                kept.version += 1;
                kept.entries.push_back(entry.clone());
                if kept.entries.len() > LOG_LENGTH {
                    kept.entries.pop_front();
                }
            }
            Ok(())
        })
    }

    fn since(&self, version: u64) -> BoxFuture<'_, Result<News, StoreError>> {
        Box::pin(async move {
            let kept = self.0.lock();
            let missing = usize::try_from(kept.version.saturating_sub(version)).unwrap_or(usize::MAX);
            let skip = kept.entries.len().saturating_sub(missing);
            let entries = kept.entries.iter().skip(skip).cloned().collect();
            let gap = version != 0 && (missing > kept.entries.len() || version > kept.version);
            Ok(News { version: kept.version, entries, gap })
        })
    }
}
