//! The record of one deployment.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI8, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;

use faregate_router::{Tally, is_the_deployments_fault};
use faregate_state::figures::{Figure, Mean};
use faregate_terms::FaultClass;

use super::others::Others;

/// What is remembered of latencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// How many of each kind.
    pub samples: usize,
    /// For how long.
    pub ttl: Duration,
    /// This percentile of times to the first token instead of their mean.
    pub percentile: Option<f64>,
}

/// The record of one deployment.
#[derive(Debug, Default)]
pub struct Vitals {
    in_flight: AtomicU64,
    trial: AtomicU8,
    /// The part of its last calls that failed, of [`ALL`]: newer ones count more. Written under `recent`.
    failing: AtomicU32,
    /// The outage last shown; −1 before the first.
    pub(crate) shown: Shown,
    /// What other replicas do with it.
    pub(super) others: Others,
    recent: Mutex<Recent>,
}

/// What the metrics were last told.
#[derive(Debug)]
pub(crate) struct Shown(pub AtomicI8);

impl Default for Shown {
    fn default() -> Self {
        Self(AtomicI8::new(-1))
    }
}

/// As many as are kept by default need no allocation.
type Samples = SmallVec<[f64; 10]>;

/// Every call failed.
const ALL: u32 = 1 << 16;
/// Each call counts for this part, its predecessors for the rest.
const NEWEST: u32 = 16;
/// Beyond this part of failures a deployment is shaky: a tenth.
const SHAKY: u32 = ALL / 10;

/// What it did in the minute before still counts as lately.
const LATELY: i64 = 1;

/// Nothing to prove.
const WELL: u8 = 0;
/// It has rested; the next call is its trial.
const DUE: u8 = 1;
/// Its trial is under way.
const OUT: u8 = 2;

#[derive(Debug, Default)]
struct Recent {
    minute: i64,
    answers: u64,
    failures: u64,
    tokens: u64,
    /// Failures since the last answer.
    in_a_row: u64,
    failed: Count,
    /// Few classes fail at the same time.
    by_class: Vec<(FaultClass, Count)>,
    per_token: VecDeque<(Duration, f64)>,
    to_first: VecDeque<(Duration, f64)>,
}

/// Failures since a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    since: Duration,
    number: u64,
}

impl Count {
    fn add(&mut self, now: Duration, memory: Duration) -> u64 {
        if self.number == 0 || now.saturating_sub(self.since) > memory {
            *self = Self { since: now, number: 0 };
        }
        self.number += 1;
        self.number
    }
}

impl Recent {
    fn turn(&mut self, minute: i64) {
        if self.minute != minute {
            (self.minute, self.answers, self.failures, self.tokens) = (minute, 0, 0, 0);
        }
    }

    fn tokens(&self, minute: i64) -> u64 {
        if self.minute == minute { self.tokens } else { 0 }
    }

    fn per_token(&self, now: Duration, memory: &Memory) -> Mean {
        mean(&live(&self.per_token, now, memory))
    }

    /// The mean, or the percentile that is asked for in its place.
    fn to_first(&self, now: Duration, memory: &Memory) -> Mean {
        let mut first = live(&self.to_first, now, memory);
        let (mean, Some(percentile)) = (mean(&first), memory.percentile) else { return mean(&first) };
        first.sort_by(f64::total_cmp);
        let rank = (percentile / 100.0 * first.len() as f64).ceil() as usize;
        let at = rank.clamp(1, first.len().max(1)) - 1;
        Mean { seconds: first.get(at).copied().unwrap_or_default(), ..mean }
    }
}

impl Vitals {
    /// Requests it is serving, for all replicas that are heard of.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed).saturating_add(self.others.in_flight())
    }

    /// What this replica has it do, if anything lately.
    pub(super) fn figure(&self, minute: i64, now: Duration, memory: &Memory) -> Option<Figure> {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let recent = self.recent.lock();
        if in_flight == 0 && minute.saturating_sub(recent.minute) > LATELY {
            return None;
        }
        let figure = Figure {
            in_flight,
            tokens: recent.tokens(minute),
            per_token: recent.per_token(now, memory),
            to_first: recent.to_first(now, memory),
        };
        (figure != Figure::default()).then_some(figure)
    }

    /// True while one request finds out whether it has recovered.
    pub fn is_on_trial(&self) -> bool {
        self.trial.load(Ordering::Relaxed) == OUT
    }

    /// True if more than a tenth of its last calls failed.
    pub fn is_shaky(&self) -> bool {
        self.failing.load(Ordering::Relaxed) > SHAKY
    }

    /// Notes a call; the caller holds `recent`.
    fn note(&self, failed: bool) {
        let known = self.failing.load(Ordering::Relaxed);
        let newest = if failed { ALL / NEWEST } else { 0 };
        self.failing.store(known - known.div_ceil(NEWEST) + newest, Ordering::Relaxed);
    }

    /// Tokens used, or expected to be used, in this minute, for all replicas that are heard of.
    pub fn tokens(&self, minute: i64) -> u64 {
        self.recent.lock().tokens(minute).saturating_add(self.others.tokens(minute))
    }

    /// Seconds per token, or to the first token of streams, lately; those of other replicas count by their samples.
    pub fn latency(&self, stream: bool, now: Duration, memory: &Memory) -> Option<f64> {
        let recent = self.recent.lock();
        let first = || recent.to_first(now, memory).and(self.others.to_first()).known();
        let each = || recent.per_token(now, memory).and(self.others.per_token()).known();
        if stream { first().or_else(each) } else { each() }
    }

    /// One more call; true if it is the trial after a rest.
    pub(super) fn enter(&self, tokens: u64, minute: i64) -> bool {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if tokens > 0 {
            let mut recent = self.recent.lock();
            recent.turn(minute);
            recent.tokens += tokens;
        }
        self.trial.load(Ordering::Relaxed) == DUE
            && self.trial.compare_exchange(DUE, OUT, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// One less, whatever came of it.
    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A trial is over.
    pub(super) fn tried(&self, is_well: bool) {
        let to = if is_well { WELL } else { DUE };
        let _ = self.trial.compare_exchange(OUT, to, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// It rests from now on; what comes after is a trial.
    pub(super) fn lies_down(&self) {
        self.trial.store(DUE, Ordering::Release);
        let mut recent = self.recent.lock();
        recent.failed = Count::default();
        recent.in_a_row = 0;
        recent.by_class.clear();
    }

    /// Notes an answer. `tokens` replace those that were `expected` in `minute`.
    pub(super) fn answered(&self, done: &Done, now: Duration, memory: &Memory) {
        let mut recent = self.recent.lock();
        recent.turn(done.minute);
        recent.answers += 1;
        self.note(false);
        recent.in_a_row = 0;
        let expected = if done.began == done.minute { done.expected } else { 0 };
        recent.tokens = recent.tokens.saturating_sub(expected).saturating_add(done.tokens);
        keep(&mut recent.per_token, now, done.per_token, memory);
        keep(&mut recent.to_first, now, done.to_first, memory);
    }

    /// Notes a failure; returns how things stand with it.
    pub(super) fn failed(
        &self,
        class: FaultClass,
        minute: i64,
        now: Duration,
        memory: Duration,
        was_trial: bool,
    ) -> Tally {
        let mut recent = self.recent.lock();
        recent.turn(minute);
        recent.failures += 1;
        if is_the_deployments_fault(class) {
            self.note(true);
        }
        recent.in_a_row += 1;
        let all = recent.failed.add(now, memory);
        let place = recent.by_class.iter().position(|(known, _)| *known == class).unwrap_or_else(|| {
            recent.by_class.push((class, Count::default()));
            recent.by_class.len() - 1
        });
        let recent_of_class = recent.by_class[place].1.add(now, memory);
        Tally {
            answers: recent.answers,
            failures: recent.failures,
            in_a_row: recent.in_a_row,
            recent: all,
            recent_of_class,
            was_trial,
        }
    }

    /// Takes back what was expected of a call that came to nothing.
    pub(super) fn forget(&self, expected: u64, began: i64) {
        let mut recent = self.recent.lock();
        if recent.minute == began {
            recent.tokens = recent.tokens.saturating_sub(expected);
        }
    }

    /// A failure that took so long counts as the slowest answer.
    pub(super) fn was_slow(&self, now: Duration, memory: &Memory) {
        let mut recent = self.recent.lock();
        keep(&mut recent.per_token, now, Some(TIMED_OUT), memory);
        keep(&mut recent.to_first, now, Some(TIMED_OUT), memory);
    }
}

/// What a timeout counts as, in seconds. Source: LiteLLM, `lowest_latency.py`.
const TIMED_OUT: f64 = 1000.0;

/// What an answer took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// The minute it began in.
    pub began: i64,
    /// The minute it ended in.
    pub minute: i64,
    /// Tokens that were expected.
    pub expected: u64,
    /// Tokens that were used.
    pub tokens: u64,
    /// Seconds per token of answer.
    pub per_token: Option<f64>,
    /// Seconds to the first output of a stream.
    pub to_first: Option<f64>,
}

fn keep(samples: &mut VecDeque<(Duration, f64)>, now: Duration, seconds: Option<f64>, memory: &Memory) {
    let Some(seconds) = seconds else { return };
    while samples.len() >= memory.samples.max(1) {
        samples.pop_front();
    }
    samples.push_back((now, seconds));
}

fn live(samples: &VecDeque<(Duration, f64)>, now: Duration, memory: &Memory) -> Samples {
    let is_live = |(at, _): &(Duration, f64)| now.saturating_sub(*at) <= memory.ttl;
    samples.iter().copied().filter(is_live).map(|(_, seconds)| seconds).collect()
}

fn mean(samples: &[f64]) -> Mean {
    let number = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    Mean { samples: number, seconds: samples.iter().sum::<f64>() / f64::from(number.max(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Memory = Memory { samples: 3, ttl: Duration::from_secs(10), percentile: None };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn answer(vitals: &Vitals, when: u64, per_token: f64, to_first: Option<f64>) {
        let done = Done { per_token: Some(per_token), to_first, tokens: 10, ..Done::default() };
        vitals.answered(&done, at(when), &MEMORY);
    }

    #[test]
    fn latency_is_the_mean_of_the_last_few_and_is_forgotten() {
        let vitals = Vitals::default();
        assert_eq!(vitals.latency(false, at(0), &MEMORY), None);
        for (when, seconds) in [(1, 9.0), (2, 1.0), (3, 2.0), (4, 3.0)] {
            answer(&vitals, when, seconds, Some(seconds * 10.0));
        }
        assert_eq!(vitals.latency(false, at(5), &MEMORY), Some(2.0));
        assert_eq!(vitals.latency(true, at(5), &MEMORY), Some(20.0));
        assert_eq!(vitals.latency(false, at(13), &MEMORY), Some(2.5), "the oldest has expired");
        assert_eq!(vitals.latency(false, at(60), &MEMORY), None);
        let slow = Memory { percentile: Some(90.0), ..MEMORY };
        assert_eq!(vitals.latency(true, at(5), &slow), Some(30.0));
    }

    #[test]
    fn what_other_replicas_do_is_added_and_latencies_count_by_their_samples() {
        let vitals = Vitals::default();
        let mean = |samples, seconds| Mean { samples, seconds };
        let figure = Figure { in_flight: 4, tokens: 500, per_token: mean(1, 8.0), to_first: mean(3, 1.0) };
        vitals.others.set(7, &figure);
        assert_eq!((vitals.in_flight(), vitals.tokens(7), vitals.tokens(8)), (4, 500, 0));
        assert_eq!(vitals.latency(false, at(1), &MEMORY), Some(8.0), "known by others alone");
        assert_eq!(vitals.figure(7, at(1), &MEMORY), None, "nothing of its own to tell");
        vitals.enter(100, 7);
        vitals.enter(100, 7);
        let done =
            Done { began: 7, minute: 7, expected: 100, tokens: 30, per_token: Some(2.0), to_first: None };
        vitals.answered(&done, at(1), &MEMORY);
        assert_eq!((vitals.in_flight(), vitals.tokens(7)), (6, 630));
        assert_eq!(vitals.latency(false, at(1), &MEMORY), Some(5.0));
        assert_eq!(vitals.latency(true, at(1), &MEMORY), Some(1.0));
        let own = vitals.figure(7, at(1), &MEMORY).unwrap();
        assert_eq!((own.in_flight, own.tokens, own.per_token), (2, 130, mean(1, 2.0)));
        vitals.others.set(7, &Figure::default());
        assert_eq!((vitals.in_flight(), vitals.latency(true, at(1), &MEMORY)), (2, Some(2.0)));
        vitals.leave();
        vitals.leave();
        assert_eq!(
            Vitals::default().figure(0, at(1), &MEMORY),
            None,
            "a call that came to nothing says nothing"
        );
        assert!(vitals.figure(8, at(1), &MEMORY).is_some_and(|it| it.tokens == 0), "a minute later");
        assert_eq!(vitals.figure(9, at(1), &MEMORY), None, "that was long ago");
    }

    #[test]
    fn tokens_count_from_the_start_of_a_call_and_are_corrected_at_its_end() {
        let vitals = Vitals::default();
        vitals.enter(100, 7);
        vitals.enter(100, 7);
        assert_eq!(vitals.tokens(7), 200);
        let done = Done { began: 7, minute: 7, expected: 100, tokens: 30, ..Done::default() };
        vitals.answered(&done, at(0), &MEMORY);
        vitals.forget(100, 7);
        assert_eq!((vitals.tokens(7), vitals.tokens(8)), (30, 0));
    }

    #[test]
    fn failures_are_counted_while_they_are_remembered() {
        let vitals = Vitals::default();
        let fail = |class, when| vitals.failed(class, 0, at(when), at(5), false);
        assert_eq!(fail(FaultClass::Timeout, 1).recent, 1);
        let tally = fail(FaultClass::Internal, 2);
        assert_eq!((tally.recent, tally.recent_of_class, tally.failures), (2, 1, 2));
        assert_eq!(fail(FaultClass::Timeout, 3).recent_of_class, 2);
        assert_eq!(fail(FaultClass::Timeout, 9).recent, 1);
    }

    #[test]
    fn it_is_shaky_while_more_than_a_tenth_of_its_calls_fail() {
        let vitals = Vitals::default();
        let fail = |class| _ = vitals.failed(class, 0, at(1), at(5), false);
        fail(FaultClass::Internal);
        assert!(!vitals.is_shaky(), "once is nothing");
        fail(FaultClass::Timeout);
        assert!(vitals.is_shaky());
        (0..8).for_each(|when| answer(&vitals, when, 1.0, None));
        assert!(!vitals.is_shaky(), "it answers again");
        (0..9).for_each(|_| fail(FaultClass::BadRequest));
        assert!(!vitals.is_shaky(), "what the client did wrong says nothing of it");
    }

    #[test]
    fn after_a_rest_one_call_is_the_trial() {
        let vitals = Vitals::default();
        assert!(!vitals.enter(0, 0));
        vitals.lies_down();
        assert!(vitals.enter(0, 0) && vitals.is_on_trial());
        assert!(!vitals.enter(0, 0), "one at a time");
        vitals.tried(false);
        assert!(vitals.enter(0, 0), "it proved nothing");
        vitals.tried(true);
        assert!(!vitals.enter(0, 0) && !vitals.is_on_trial());
    }
}
