//! Which key hashes there are, so that a storm of made-up keys does not reach the database.
//!
//! Keys that are on the list are looked up as they come. Any other may have been made a moment ago by somebody whose
//! news has not come yet, or by another gateway on the same database, so a few of them are looked up all the same:
//! [`STRANGERS`] per second. One that is found is on the list from then on.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faregate_state::invalidate::{Change, Subject};
use faregate_terms::KeyHash;
use parking_lot::{Mutex, RwLock};

/// Look-ups per second of keys that are not on the list.
const STRANGERS: u32 = 50;
const SECOND: Duration = Duration::from_secs(1);

/// The list. It takes eight bytes and some room for each key.
#[derive(Default)]
pub struct KnownKeys {
    /// The first bytes of each hash.
    starts: RwLock<HashSet<u64>>,
    /// True while the list is whole.
    whole: AtomicBool,
    /// When the running second began, and how many strangers it has had.
    strangers: Mutex<Option<(Instant, u32)>>,
}

fn start_of(hash: &KeyHash) -> u64 {
    hash.as_bytes().iter().take(8).fold(0, |start, byte| (start << 8) | u64::from(*byte))
}

impl KnownKeys {
    /// Takes in the list of the database. Keys that are gone stay: one too many costs a look-up.
    pub fn add(&self, hashes: impl IntoIterator<Item = String>) {
        let starts: Vec<u64> =
            hashes.into_iter().filter_map(|hash| hash.parse().ok()).map(|hash| start_of(&hash)).collect();
        self.starts.write().extend(starts);
        self.whole.store(true, Ordering::SeqCst);
    }

    /// Takes in that something has changed; true if the list has to be read again.
    pub fn hear(&self, change: &Change) -> bool {
        match change {
            Change::One(Subject::Key, hash) => {
                if let Ok(hash) = hash.parse() {
                    self.starts.write().insert(start_of(&hash));
                }
                false
            }
            Change::One(..) => false,
            Change::Everything => {
                self.whole.store(false, Ordering::SeqCst);
                true
            }
        }
    }

    /// A stranger turned out to be a key.
    pub fn found(&self, hash: &KeyHash) {
        let start = start_of(hash);
        if !self.starts.read().contains(&start) {
            self.starts.write().insert(start);
        }
    }

    /// Whether a key is worth a look-up at `now`.
    pub fn worth_asking(&self, hash: &KeyHash, now: Instant) -> bool {
        if !self.whole.load(Ordering::SeqCst) || self.starts.read().contains(&start_of(hash)) {
            return true;
        }
        let mut strangers = self.strangers.lock();
        match &mut *strangers {
            Some((began, count)) if now.saturating_duration_since(*began) < SECOND => {
                *count += 1;
                *count <= STRANGERS
            }
            running => {
                *running = Some((now, 1));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_asked_for_and_of_strangers_a_few() {
        let (known, now) = (KnownKeys::default(), Instant::now());
        let hash = |number: u32| KeyHash::of(&format!("sk-{number}"));
        assert!((0..100).all(|number| known.worth_asking(&hash(number), now)), "no list yet");
        known.add([hash(1).to_string(), hash(2).to_string()]);
        let asked = (10..1000).filter(|number| known.worth_asking(&hash(*number), now)).count();
        assert_eq!(asked, STRANGERS as usize);
        assert!(known.worth_asking(&hash(1), now) && known.worth_asking(&hash(2), now));
        assert!(!known.worth_asking(&hash(3), now));
        assert!(!known.hear(&Change::One(Subject::Key, hash(3).to_string().into())));
        assert!(known.worth_asking(&hash(3), now), "made since");
        assert!(!known.worth_asking(&hash(5), now));
        known.found(&hash(5));
        assert!(known.worth_asking(&hash(5), now), "no stranger any more, whoever else comes");
        assert!(known.worth_asking(&hash(4), now + SECOND), "strangers get another second");
        assert!(known.hear(&Change::Everything));
        assert!((10..1000).all(|number| known.worth_asking(&hash(number), now)), "the list may be outdated");
    }
}
