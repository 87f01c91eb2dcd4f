//! Which deployments rest, shared between replicas, decided locally.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use faregate_terms::DeploymentId;
use jiff::Timestamp;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::feed::{Feed, Message, SharedLog};

/// The topic of the shared log.
pub const TOPIC: &str = "cooldown";
/// The topic for keys of deployments, which rest by names of their own.
pub const KEYS_TOPIC: &str = "key_rest";
/// The longest rest; guards against clocks that disagree.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Why and until when a deployment rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// When it may be used again.
    pub until: Timestamp,
    /// A short word for people: the status or class that caused it.
    pub reason: Arc<str>,
}

/// Deployments that rest. Cheap to clone; asking is a read lock and a look-up.
#[derive(Debug, Clone)]
pub struct Cooldowns {
    resting: Arc<RwLock<HashMap<DeploymentId, Entry>>>,
    /// When the last rest known ends, in milliseconds of the steady clock: most of the time nobody rests.
    last: Arc<AtomicU64>,
    feed: Feed,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// On the steady clock of this replica.
    until: Duration,
    reason: Arc<str>,
}

impl Cooldowns {
    /// Within this replica only.
    pub fn alone(clock: Arc<dyn Clock>) -> Self {
        Self { resting: Arc::default(), last: Arc::default(), feed: Feed::alone(Arc::clone(&clock)), clock }
    }

    /// Between replicas, over the log of [`TOPIC`]: what one lets rest, all let rest within a second, and a
    /// new replica hears of it at its start. Run the future as a task that is awaited at shutdown.
    pub fn shared(
        log: Arc<dyn SharedLog>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (feed, follow) = Feed::shared(log, Arc::clone(&clock), true);
        let cooldowns = Self { resting: Arc::default(), last: Arc::default(), feed, clock };
        let mut messages = cooldowns.feed.subscribe();
        let hearing = cooldowns.clone();
        let hear = async move {
            while let Some(message) = messages.next().await {
                if let Message::Said(text) = message {
                    hearing.hear(&text);
                }
            }
        };
        let run = async move {
            tokio::select! {
                () = follow.run(stop) => {}
                () = hear => {}
            }
        };
        (cooldowns, run)
    }

    /// Lets a deployment rest. A rest already longer stays as it is.
    pub fn rest(&self, deployment: &DeploymentId, length: Duration, reason: &str) {
        let length = length.min(LONGEST);
        self.note(deployment, length, reason);
        let until = self.clock.wall_ms().saturating_add(millis(length));
        let reason: String = reason.split_whitespace().collect::<Vec<_>>().join("_");
        self.feed.publish(&format!("rest {until} {reason} {deployment}"));
    }

    /// Ends a rest early, on every replica.
    pub fn wake(&self, deployment: &DeploymentId) {
        self.resting.write().remove(deployment);
        self.feed.publish(&format!("wake {deployment}"));
    }

    /// True if a deployment rests. Nearly free while none does.
    pub fn rests(&self, deployment: &DeploymentId) -> bool {
        let now = self.clock.steady();
        if !self.anyone_rests(now) {
            return false;
        }
        self.resting.read().get(deployment).is_some_and(|entry| entry.until > now)
    }

    /// False if nobody rests at `now` of the steady clock: asked once, it spares asking for each.
    pub fn anyone_rests(&self, now: Duration) -> bool {
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX) <= self.last.load(Ordering::Acquire)
    }

    /// Why and until when a deployment rests, if it does.
    pub fn resting(&self, deployment: &DeploymentId) -> Option<Rest> {
        let now = self.clock.steady();
        let resting = self.resting.read();
        let entry = resting.get(deployment).filter(|entry| entry.until > now)?;
        self.shown(entry, now)
    }

    /// How long a deployment has to rest yet; zero if it does not.
    pub fn left(&self, deployment: &DeploymentId) -> Duration {
        let now = self.clock.steady();
        if !self.anyone_rests(now) {
            return Duration::ZERO;
        }
        self.resting.read().get(deployment).map_or(Duration::ZERO, |entry| entry.until.saturating_sub(now))
    }

    /// Every deployment that rests, for people.
    pub fn all(&self) -> Vec<(DeploymentId, Rest)> {
        let now = self.clock.steady();
        let resting = self.resting.read();
        let live = resting.iter().filter(|(_, entry)| entry.until > now);
        let mut all: Vec<_> =
            live.filter_map(|(id, entry)| Some((id.clone(), self.shown(entry, now)?))).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    fn shown(&self, entry: &Entry, now: Duration) -> Option<Rest> {
        let left = millis(entry.until.saturating_sub(now));
        let until = Timestamp::from_millisecond(self.clock.wall_ms().saturating_add(left)).ok()?;
        Some(Rest { until, reason: Arc::clone(&entry.reason) })
    }

    fn note(&self, deployment: &DeploymentId, length: Duration, reason: &str) {
        let now = self.clock.steady();
        let mut resting = self.resting.write();
        resting.retain(|_, entry| entry.until > now);
        let until = now + length;
        self.last.fetch_max(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
        let entry =
            resting.entry(deployment.clone()).or_insert_with(|| Entry { until, reason: reason.into() });
        if until > entry.until {
            *entry = Entry { until, reason: reason.into() };
        }
    }

    fn hear(&self, text: &str) {
        if let Some(deployment) = text.strip_prefix("wake ") {
            self.resting.write().remove(&DeploymentId::from(deployment));
            return;
        }
        let mut words = text.splitn(4, ' ');
        let (Some("rest"), Some(until), Some(reason), Some(deployment)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return;
        };
        let Ok(until) = until.parse::<i64>() else { return };
        let left = until.saturating_sub(self.clock.wall_ms());
        if left > 0 {
            let left = Duration::from_millis(left.unsigned_abs()).min(LONGEST);
            self.note(&DeploymentId::from(deployment), left, reason);
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
