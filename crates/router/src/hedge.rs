//! When a second call for the same request is worth its money: the first token wins, the other call is cancelled.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::window::Window;

/// When a group's requests are hedged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HedgeRule {
    /// How long the first call is waited for.
    pub after: After,
    /// Spend on calls that lose, as a part of the spend on answers.
    pub max_extra_spend: f64,
}

/// How long the first call is waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum After {
    /// As long as this part of the group's requests takes, such as 0.95.
    Quantile(f64),
    /// This long.
    Time(Duration),
}

/// What a group's hedges have cost and gained.
#[derive(Debug, Default)]
pub struct Hedges {
    /// What answers cost, and what calls cost that lost, over ten minutes.
    spend: Window<60>,
    /// Times to the whole answer, and to the first token of a stream.
    pace: [Pace; 2],
}

const ANSWERS: usize = 0;
const EXTRA: usize = 1;
/// What a call counts for whose model has no known price.
const UNPRICED: u64 = 1;

impl Hedges {
    /// How long the first call is waited for; `None` while nobody can tell.
    pub fn after(&self, rule: &HedgeRule, stream: bool) -> Option<Duration> {
        match rule.after {
            After::Time(time) => Some(time),
            After::Quantile(part) => self.pace[usize::from(stream)].quantile(part),
        }
    }

    /// Asks for a second call that loses, or makes the first lose, so many pico-dollars; notes them if it may
    /// be made. `None` is a call of unknown price.
    pub fn may(&self, rule: &HedgeRule, now: Duration, extra: Option<u64>) -> bool {
        let extra = extra.unwrap_or(UNPRICED);
        let [answers, so_far] = self.spend.sums(now);
        let may = (so_far.saturating_add(extra)) as f64 <= rule.max_extra_spend.max(0.0) * answers as f64;
        if may {
            self.spend.add(now, EXTRA, extra);
        }
        may
    }

    /// A request was answered `took` after its call was sent. A call that lost counts for as long as it lasted.
    pub fn took(&self, stream: bool, took: Duration) {
        self.pace[usize::from(stream)].note(took);
    }

    /// An answer cost so much.
    pub fn answered(&self, now: Duration, cost: Option<u64>) {
        self.spend.add(now, ANSWERS, cost.unwrap_or(UNPRICED));
    }
}

/// Buckets of a [`Pace`]: each a seventh longer than the one before, from a millisecond to ten minutes.
const BUCKETS: usize = 100;
const GROWTH: f64 = 8.0 / 7.0;
/// With fewer times a quantile means nothing.
const MEANINGFUL: u64 = 20;
/// With more, all counts are halved: old times fade.
const MANY: u64 = 2_000;

/// How long things take: a histogram that forgets.
#[derive(Debug)]
struct Pace([AtomicU32; BUCKETS]);

impl Default for Pace {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

impl Pace {
    fn note(&self, took: Duration) {
        let ms = (took.as_secs_f64() * 1000.0).max(1.0);
        let bucket = (ms.ln() / GROWTH.ln()) as usize;
        self.0[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        if self.count() > MANY {
            // What is added meanwhile may be lost, which changes no quantile.
            self.0.iter().for_each(|count| count.store(count.load(Ordering::Relaxed) / 2, Ordering::Relaxed));
        }
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|count| u64::from(count.load(Ordering::Relaxed))).sum()
    }

    /// The time within which this part of all took; the upper edge of its bucket.
    fn quantile(&self, part: f64) -> Option<Duration> {
        let all = self.count();
        if all < MEANINGFUL {
            return None;
        }
        let rank = part.clamp(0.0, 1.0) * all as f64;
        let mut below = 0.0;
        let bucket = self.0.iter().position(|count| {
            below += f64::from(count.load(Ordering::Relaxed));
            below >= rank
        })?;
        Some(Duration::from_secs_f64(GROWTH.powi(bucket as i32 + 1) / 1000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    #[test]
    fn the_wait_is_what_most_requests_take() {
        let hedges = Hedges::default();
        let rule = HedgeRule { after: After::Quantile(0.95), max_extra_spend: 0.05 };
        assert_eq!(hedges.after(&rule, true), None, "nobody can tell yet");
        for n in 0..1000 {
            hedges.took(true, Duration::from_millis(if n % 100 < 97 { 200 } else { 5000 }));
        }
        let after = hedges.after(&rule, true).unwrap().as_secs_f64();
        assert!((0.2..0.24).contains(&after), "{after}");
        assert_eq!(hedges.after(&rule, false), None, "whole answers are another matter");
        for _ in 0..5000 {
            hedges.took(true, Duration::from_millis(800));
        }
        let after = hedges.after(&rule, true).unwrap().as_secs_f64();
        assert!((0.8..0.95).contains(&after), "old times fade: {after}");
    }

    #[test]
    fn calls_that_lose_cost_no_more_than_their_part() {
        let hedges = Hedges::default();
        let rule = HedgeRule { after: After::Time(Duration::from_secs(1)), max_extra_spend: 0.05 };
        assert!(!hedges.may(&rule, NOW, Some(1)), "nothing was spent yet");
        (0..100).for_each(|_| hedges.answered(NOW, Some(1_000)));
        let made = (0..100).filter(|_| hedges.may(&rule, NOW, Some(600))).count();
        assert_eq!(made, 8, "8 times 600 of 100,000 is the most within a twentieth");
        assert!(hedges.may(&rule, NOW, Some(200)) && !hedges.may(&rule, NOW, Some(1)));
        let unpriced = Hedges::default();
        (0..100).for_each(|_| unpriced.answered(NOW, None));
        assert_eq!((0..100).filter(|_| unpriced.may(&rule, NOW, None)).count(), 5);
    }
}
