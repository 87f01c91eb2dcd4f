//! Which deployment served what, told between replicas, decided locally.
//!
//! What is remembered here spares cost and is never needed: a replica that has not heard of it chooses for itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use faregate_terms::DeploymentId;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::feed::{Feed, Message, SharedLog};

/// The topic of the shared log.
pub const TOPIC: &str = "affinity";
/// Bonds kept at most: twice as many, half of them older.
const MANY: usize = 50_000;
/// Between two messages.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// Bonds of one message.
const TOLD_AT_ONCE: usize = 256;
/// Bonds that wait to be told; what comes beyond that stays here.
const WAITING: usize = 4_096;
/// No bond lasts longer; guards against clocks that disagree.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Bonds between what requests share, as a hash of it, and the deployment that served them. Cheap to clone; asking
/// is a lock and a look-up, and nothing waits for another replica.
#[derive(Clone)]
pub struct Affinity(Arc<Inner>);

struct Inner {
    known: Mutex<Known>,
    /// What others have to hear; `None` if there are none.
    feed: Option<Feed>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Known {
    young: HashMap<u64, Bond>,
    old: HashMap<u64, Bond>,
    waiting: Vec<u64>,
}

#[derive(Clone)]
struct Bond {
    deployment: DeploymentId,
    /// On the steady clock of this replica.
    until: Duration,
    /// Until when others know of it.
    told: Duration,
}

impl Affinity {
    /// Within this replica only.
    pub fn alone(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { known: Mutex::default(), feed: None, clock }))
    }

    /// Between replicas, over the log of [`TOPIC`], within a second. Run the future as a task that is awaited at
    /// shutdown.
    pub fn shared(
        log: Arc<dyn SharedLog>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (feed, follow) = Feed::shared(log, Arc::clone(&clock), true);
        let mut messages = feed.subscribe();
        let affinity = Self(Arc::new(Inner { known: Mutex::default(), feed: Some(feed), clock }));
        let (hearing, telling) = (affinity.clone(), affinity.clone());
        let hear = async move {
            while let Some(message) = messages.next().await {
                // What was missed is not needed.
                if let Message::Said(text) = message {
                    text.lines().for_each(|line| hearing.hear(line));
                }
            }
        };
        let tell = async move {
            let mut ticks = tokio::time::interval(TELL_EVERY);
            loop {
                ticks.tick().await;
                telling.tell();
            }
        };
        let run = async move {
            tokio::select! {
                () = follow.run(stop) => {}
                () = hear => {}
                () = tell => {}
            }
        };
        (affinity, run)
    }

    /// The deployment that `key` is bound to.
    pub fn find(&self, key: u64) -> Option<DeploymentId> {
        let now = self.0.clock.steady();
        let known = self.0.known.lock();
        let bond = known.get(key)?;
        (bond.until > now).then(|| bond.deployment.clone())
    }

    /// Binds `key` to a deployment for `ttl` from now on. Others hear of it if `tell`, and if it is news to them.
    pub fn keep(&self, key: u64, deployment: &DeploymentId, ttl: Duration, tell: bool) {
        let ttl = ttl.min(LONGEST);
        let now = self.0.clock.steady();
        let mut known = self.0.known.lock();
        let before = known.get(key).filter(|bond| bond.deployment == *deployment);
        let mut told = before.map_or(Duration::ZERO, |bond| bond.told);
        // What others know of it may run out halfway before they are told again.
        let is_news = tell && self.0.feed.is_some() && told < now + ttl / 2;
        if is_news && known.waiting.len() < WAITING {
            known.waiting.push(key);
            told = now + ttl;
        }
        known.put(key, Bond { deployment: deployment.clone(), until: now + ttl, told });
    }

    /// Tells what waits.
    fn tell(&self) {
        let Some(feed) = &self.0.feed else { return };
        let (now, wall) = (self.0.clock.steady(), self.0.clock.wall_ms());
        let lines: Vec<String> = {
            let mut known = self.0.known.lock();
            let waiting = std::mem::take(&mut known.waiting);
            let line = |key: u64| {
                let bond = known.get(key)?;
                let until = wall.saturating_add(millis(bond.until.saturating_sub(now)));
                Some(format!("{until} {key:x} {}", bond.deployment))
            };
            waiting.into_iter().filter_map(line).collect()
        };
        lines.chunks(TOLD_AT_ONCE).for_each(|lines| feed.publish(&lines.join("\n")));
    }

    fn hear(&self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let (Some(until), Some(key), Some(deployment)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let (Ok(until), Ok(key)) = (until.parse::<i64>(), u64::from_str_radix(key, 16)) else { return };
        let left = until.saturating_sub(self.0.clock.wall_ms());
        if left <= 0 {
            return;
        }
        let until = self.0.clock.steady() + Duration::from_millis(left.unsigned_abs()).min(LONGEST);
        let mut known = self.0.known.lock();
        // The later word counts, and what this replica said itself is no later.
        if known.get(key).is_none_or(|bond| bond.until + TELL_EVERY / 2 < until) {
            known.put(key, Bond { deployment: DeploymentId::from(deployment), until, told: until });
        }
    }
}

impl Known {
    fn get(&self, key: u64) -> Option<&Bond> {
        self.young.get(&key).or_else(|| self.old.get(&key))
    }

    fn put(&mut self, key: u64, bond: Bond) {
        if self.young.len() >= MANY {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, bond);
    }
}

impl std::fmt::Debug for Affinity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Affinity").field("is_shared", &self.0.feed.is_some()).finish_non_exhaustive()
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const TTL: Duration = Duration::from_secs(300);

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::at(jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(500_000)))
    }

    #[test]
    fn a_bond_holds_for_its_time_after_the_last_request() {
        let clock = clock();
        let affinity = Affinity::alone(clock.clone());
        affinity.keep(1, &"a".into(), TTL, true);
        clock.advance(TTL / 2);
        affinity.keep(1, &"b".into(), TTL, true);
        clock.advance(TTL - Duration::from_secs(1));
        assert_eq!((affinity.find(1), affinity.find(2)), (Some("b".into()), None));
        clock.advance(Duration::from_secs(1));
        assert_eq!(affinity.find(1), None);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let affinity = Affinity::alone(clock());
        for key in 0..MANY as u64 * 3 {
            affinity.keep(key, &"a".into(), TTL, true);
        }
        let known = affinity.0.known.lock();
        assert!(known.young.len() + known.old.len() <= 2 * MANY && known.waiting.is_empty());
        drop(known);
        assert!(affinity.find(MANY as u64 * 3 - 1).is_some() && affinity.find(0).is_none());
    }

    #[test]
    fn others_are_told_what_is_news_to_them_and_no_more_than_waits() {
        let clock = clock();
        let (feed, _) = Feed::shared(Arc::new(crate::feed::MemoryLog::default()), clock.clone(), true);
        let inner = Inner { known: Mutex::default(), feed: Some(feed), clock: clock.clone() };
        let affinity = Affinity(Arc::new(inner));
        let waiting = || affinity.0.known.lock().waiting.len();
        affinity.keep(1, &"a".into(), TTL, true);
        affinity.keep(1, &"a".into(), TTL, true);
        affinity.keep(2, &"a".into(), TTL, false);
        assert_eq!(waiting(), 1, "once, and only what is to be told");
        affinity.tell();
        clock.advance(TTL / 2 + Duration::from_secs(1));
        affinity.keep(1, &"a".into(), TTL, true);
        assert_eq!(waiting(), 1, "again, before what others know runs out");
        affinity.tell();
        affinity.keep(1, &"b".into(), TTL, true);
        assert_eq!(waiting(), 1, "another deployment is news");
        for key in 10..10 + 2 * WAITING as u64 {
            affinity.keep(key, &"a".into(), TTL, true);
        }
        assert_eq!(waiting(), WAITING);
        assert_eq!(affinity.find(9 + 2 * WAITING as u64), Some("a".into()), "the rest stays here");
    }

    #[test]
    fn the_later_word_counts() {
        let clock = clock();
        let affinity = Affinity::alone(clock.clone());
        let said = |seconds: i64, key: u64, name: &str| {
            affinity.hear(&format!("{} {key:x} {name}", clock.wall_ms() + seconds * 1000));
        };
        affinity.keep(1, &"a".into(), TTL, true);
        said(200, 1, "b");
        assert_eq!(affinity.find(1), Some("a".into()));
        said(301, 1, "c d");
        assert_eq!(affinity.find(1), Some("c d".into()));
        for nonsense in ["", "x 1 a", "9 zz a", "-5 7 a"] {
            affinity.hear(nonsense);
        }
        assert_eq!(affinity.find(7), None);
    }
}
