//! Sums over the last while, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Slots of a window.
const LIVE: u64 = 10;
/// Some more than that, so that the oldest is never the one being written.
const SLOTS: usize = 16;

/// Two sums over the last ten spans of `SPAN` seconds.
#[derive(Debug, Default)]
pub(crate) struct Window<const SPAN: u64> {
    slots: [Slot; SLOTS],
}

/// What happened in one span.
#[derive(Debug, Default)]
struct Slot {
    /// Which span, plus one: 0 is none.
    stamp: AtomicU64,
    sums: [AtomicU64; 2],
}

impl<const SPAN: u64> Window<SPAN> {
    /// Seconds that the sums are over.
    pub(crate) const SECONDS: u64 = SPAN * LIVE;

    /// Adds to the first or second sum.
    pub(crate) fn add(&self, now: Duration, which: usize, amount: u64) {
        self.slot(now.as_secs() / SPAN).sums[which].fetch_add(amount, Ordering::Relaxed);
    }

    /// Both sums.
    pub(crate) fn sums(&self, now: Duration) -> [u64; 2] {
        let span = now.as_secs() / SPAN;
        let oldest = span.saturating_sub(LIVE - 1);
        let live = |slot: &&Slot| {
            let stamp = slot.stamp.load(Ordering::Acquire);
            stamp > oldest && stamp <= span + 1
        };
        self.slots.iter().filter(live).fold([0, 0], |sums, slot| {
            [0, 1].map(|which| sums[which] + slot.sums[which].load(Ordering::Relaxed))
        })
    }

    fn slot(&self, span: u64) -> &Slot {
        let slot = &self.slots[usize::try_from(span).unwrap_or_default() % SLOTS];
        let known = slot.stamp.load(Ordering::Acquire);
        let is_next = known != span + 1
            && slot.stamp.compare_exchange(known, span + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_next {
            // What somebody adds between the two lines is lost: a request or so at the turn of a span.
            slot.sums.iter().for_each(|sum| sum.store(0, Ordering::Relaxed));
        }
        slot
    }
}
