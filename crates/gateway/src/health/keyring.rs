//! Several keys of one deployment: a dead one leaves, a tired one rests.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use faregate_state::cooldown::Cooldowns;
use faregate_terms::{DeploymentId, Fault, FaultClass};

/// A key that was refused may have been made valid again after this.
const DEAD: Duration = Duration::from_secs(600);
/// A key that was limited may be used again after this, if the provider does not say.
const TIRED: Duration = Duration::from_secs(5);
/// No provider's word counts for longer.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How the keys of one deployment are doing, by their place in its configuration.
#[derive(Debug)]
pub struct Keyring {
    since: Instant,
    next: AtomicUsize,
    /// Until when each is out, in milliseconds since the start.
    out: Box<[AtomicU64]>,
    /// What replicas call them.
    names: Box<[DeploymentId]>,
    /// What replicas tell each other.
    shared: OnceLock<Cooldowns>,
}

impl Keyring {
    /// Keys of these names, all well.
    pub fn new(names: Vec<DeploymentId>) -> Self {
        let out = names.iter().map(|_| AtomicU64::new(0)).collect();
        Self {
            since: Instant::now(),
            next: AtomicUsize::new(0),
            out,
            names: names.into(),
            shared: OnceLock::new(),
        }
    }

    /// From now on others hear which keys are out, and this one hears of them.
    pub fn share(&self, rests: &Cooldowns) {
        // Once is enough: there is one for the life of the process.
        let _ = self.shared.set(rests.clone());
    }

    /// The key for the next call: the well ones in turns; if none is, the one that is back first.
    pub fn pick(&self) -> usize {
        self.pick_at(self.now())
    }

    /// Notes what a call with `key` failed of; the key to try in its place, if that was the key's fault and
    /// another one is well.
    pub fn failed(&self, key: usize, fault: &Fault) -> Option<usize> {
        self.failed_at(key, fault, self.now())
    }

    /// Keys that are out, of how many.
    pub fn out(&self) -> (usize, usize) {
        let now = self.now();
        ((0..self.out.len()).filter(|key| !self.is_well(*key, now)).count(), self.out.len())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_well(&self, key: usize, now: u64) -> bool {
        self.until(key, now) <= now
    }

    fn until(&self, key: usize, now: u64) -> u64 {
        let own = self.out.get(key).map_or(0, |until| until.load(Ordering::Relaxed));
        let (Some(shared), Some(name)) = (self.shared.get(), self.names.get(key)) else { return own };
        match shared.left(name) {
            Duration::ZERO => own,
            left => own.max(now.saturating_add(millis(left))),
        }
    }

    fn pick_at(&self, now: u64) -> usize {
        let count = self.out.len().max(1);
        let from = self.next.fetch_add(1, Ordering::Relaxed);
        let mut turns = (0..count).map(|step| (from % count + step) % count);
        let well = turns.find(|key| self.is_well(*key, now));
        well.or_else(|| (0..count).min_by_key(|key| self.until(*key, now))).unwrap_or_default()
    }

    fn failed_at(&self, key: usize, fault: &Fault, now: u64) -> Option<usize> {
        let rest = match fault.class {
            FaultClass::Authentication | FaultClass::PermissionDenied => DEAD,
            FaultClass::RateLimit => fault.retry_after.unwrap_or(TIRED).min(LONGEST),
            _ => return None,
        };
        self.out.get(key)?.fetch_max(now.saturating_add(millis(rest)), Ordering::Relaxed);
        if let (Some(shared), Some(name)) = (self.shared.get(), self.names.get(key)) {
            shared.rest(name, rest, &fault.class.status().to_string());
        }
        let other = self.pick_at(now);
        self.is_well(other, now).then_some(other)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: usize) -> Keyring {
        Keyring::new((0..keys).map(|key| DeploymentId::from(format!("d#{key}"))).collect())
    }

    fn fault(class: FaultClass) -> Fault {
        Fault::new(class, "x")
    }

    #[test]
    fn keys_take_turns_and_those_that_are_out_are_passed_over() {
        let ring = ring(3);
        assert_eq!([0, 0, 0, 0].map(|now| ring.pick_at(now)), [0, 1, 2, 0]);
        assert_eq!(ring.failed_at(1, &fault(FaultClass::Internal), 0), None, "not the key's fault");
        assert!(ring.failed_at(1, &fault(FaultClass::Authentication), 0).is_some_and(|key| key != 1));
        assert!((0..10).all(|_| ring.pick_at(599_999) != 1), "a dead key has left");
        assert!((0..10).any(|_| ring.pick_at(600_000) == 1), "and is tried again");
    }

    #[test]
    fn what_one_ring_finds_out_of_a_key_others_know() {
        let rests = Cooldowns::alone(std::sync::Arc::new(faregate_state::clock::SystemClock::new()));
        let (here, there) = (ring(2), ring(2));
        here.share(&rests);
        there.share(&rests);
        assert_eq!(here.failed(0, &fault(FaultClass::Authentication)), Some(1));
        assert_eq!(there.out(), (1, 2));
        assert!((0..6).all(|_| there.pick() == 1));
        assert_eq!(ring(2).out(), (0, 2), "one that shares nothing does not");
    }

    #[test]
    fn a_limited_key_rests_as_long_as_the_provider_says_and_the_first_back_serves_if_all_are_out() {
        let ring = ring(2);
        let mut long = fault(FaultClass::RateLimit);
        long.retry_after = Some(Duration::from_secs(30));
        assert_eq!(ring.failed_at(0, &long, 0), Some(1));
        assert_eq!(ring.failed_at(1, &fault(FaultClass::RateLimit), 0), None, "nobody is left");
        assert!((0..4).all(|_| ring.pick_at(1_000) == 1), "back after five seconds, not thirty");
        assert!((0..4).any(|_| ring.pick_at(30_000) == 0));
    }
}
