//! All counters of this replica, sharded; the one place that locks them.

mod shared;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::counter::{Counter, Fit, Hope, Mode, Now, Queued};
use super::lease::Kind;
use super::limit::{Actual, Ask, Cause, Denied, Estimate, Limit, Meter, Name, Rule, Standing};
use super::settings::Settings;
use crate::clock::Clock;

const SHARDS: usize = 64;

#[derive(Debug)]
pub(super) struct Book {
    shards: Box<[Mutex<Shard>]>,
    clock: Arc<dyn Clock>,
    pub settings: Settings,
    /// True if a store shared with other replicas backs the counters.
    shared: bool,
    /// Number of the last statement made.
    seq: AtomicU64,
    /// When the shared store last answered, on the steady clock, in milliseconds.
    heard_ms: AtomicU64,
    /// What the last exchange took, in milliseconds.
    exchange_ms: AtomicU64,
    /// The store is late.
    away: AtomicBool,
    /// The store failed.
    dead: AtomicBool,
    /// Somebody waits for a lease.
    pub urgent: Notify,
}

#[derive(Debug, Default)]
struct Shard {
    counters: HashMap<Name, Counter, BuildHasherDefault<Passed>>,
    /// Counters whose state the store has to hear of at the next tick.
    hot: Vec<Name>,
    /// The same within a second. Those that were stated since are passed over.
    calm: Vec<Name>,
}

/// Names carry their hash.
#[derive(Debug, Default)]
struct Passed(u64);

impl Hasher for Passed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What is being tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new request: all limits.
    Admit,
    /// More of what is held already: budgets; only those that must not be passed can refuse.
    Grow,
}

/// A request that waits for room at a counter.
#[derive(Debug)]
struct Waiting {
    name: Name,
    since: u64,
    /// When the store's answer was first seen.
    news: Option<Duration>,
    demand: i128,
    wake: Arc<Notify>,
}

/// One request's waits; leaves them all when dropped.
#[derive(Debug)]
pub(super) struct Waits<'a> {
    book: &'a Book,
    joined: SmallVec<[Waiting; 2]>,
    started: Duration,
}

/// One counter that a hold counts in.
#[derive(Debug)]
pub(super) struct Line {
    pub limit: Limit,
    /// What was counted in a rate.
    pub counted: i128,
    /// The window it was counted in.
    pub turn: u32,
}

pub(super) type Lines = SmallVec<[Line; 12]>;

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives for a moment on the request path, where a box would cost more"
)]
pub(super) enum Outcome {
    /// Counted, holding this many pico-dollars.
    Held(Lines, i128),
    /// Wait for this.
    Wait(Arc<Notify>),
    Denied(Box<Denied>),
}

/// Why a line does not let a request pass.
struct Refused<'a> {
    limit: &'a Limit,
    cause: Cause,
    ask: Ask,
}

impl Book {
    pub fn new(settings: Settings, clock: Arc<dyn Clock>, shared: bool) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self {
            shards,
            clock,
            settings,
            shared,
            seq: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            exchange_ms: AtomicU64::new(0),
            away: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            urgent: Notify::new(),
        }
    }

    pub fn now(&self) -> Now {
        Now {
            wall_ms: self.clock.wall_ms(),
            steady: self.clock.steady(),
            heard: Duration::from_millis(self.heard_ms.load(Ordering::Acquire)),
        }
    }

    fn place(name: &Name) -> usize {
        // The map uses the lowest and the highest bits.
        (name.hash_value() >> 32) as usize % SHARDS
    }

    fn lock(&self, name: &Name) -> MutexGuard<'_, Shard> {
        self.shards[Self::place(name)].lock()
    }

    pub fn waits(&self) -> Waits<'_> {
        Waits { book: self, joined: SmallVec::new(), started: self.clock.steady() }
    }

    /// Tries to count a request in all its limits at once, or in none.
    pub fn attempt(
        &self,
        limits: &[Limit],
        estimate: &Estimate,
        purpose: Purpose,
        waits: &mut Waits<'_>,
    ) -> Outcome {
        let now = self.now();
        let elapsed = now.steady.saturating_sub(waits.started);
        let mut shards = self.lock_all(limits.iter().map(Limit::name));
        let mut refused: Option<Refused<'_>> = None;
        let mut short: SmallVec<[(&Limit, Ask); 4]> = SmallVec::new();
        let mut cost = estimate.likely.pico().max(estimate.least.pico()).max(0);
        for limit in limits {
            if purpose == Purpose::Grow && limit.meter() != Meter::Budget {
                continue;
            }
            let ask = limit.row().ask(estimate);
            let counter = self.counter(shards.of(limit.name()), limit, now);
            counter.refresh(limit, now);
            let fit = if purpose == Purpose::Grow && !counter.must_hold() {
                Fit::Yes(ask.likely)
            } else {
                self.judge(counter, ask, elapsed, waits, now)
            };
            // An answer that is under way must not stop for others to finish.
            let fit = if purpose == Purpose::Grow && fit == Fit::Held { Fit::No } else { fit };
            let cause = match fit {
                Fit::Yes(most) if limit.meter() == Meter::Budget => {
                    cost = cost.min(most);
                    continue;
                }
                Fit::Yes(_) => continue,
                Fit::Held | Fit::Lease => {
                    short.push((limit, ask));
                    continue;
                }
                Fit::No => Cause::Over,
                Fit::Away => Cause::StoreAway,
            };
            let rank = |limit: &Limit| (limit.meter() != Meter::Budget, limit.scope().scope.rank());
            if refused.as_ref().is_none_or(|first| rank(limit) < rank(first.limit)) {
                refused = Some(Refused { limit, cause, ask });
            }
        }
        if let Some(refused) = refused {
            let counter = self.counter(shards.of(refused.limit.name()), refused.limit, now);
            return Outcome::Denied(Box::new(denied(counter, &refused, now)));
        }
        if !short.is_empty() {
            return Outcome::Wait(self.join(&mut shards, &short, waits, now));
        }
        Outcome::Held(self.commit(&mut shards, limits, estimate, cost, purpose, now), cost)
    }

    fn judge(&self, counter: &Counter, ask: Ask, elapsed: Duration, waits: &mut Waits<'_>, now: Now) -> Fit {
        let mut waiting = waits.at(counter.limit.name());
        let mode = Mode::Leased { since: waiting.as_ref().map_or(u64::MAX, |one| one.since) };
        let mut fit = counter.fit(ask, mode, now);
        if fit == Fit::Lease {
            let news = counter.news(mode);
            let free = news && counter.hope(ask) == Hope::Free;
            if let (true, Some(waiting)) = (free, waiting.as_deref_mut()) {
                // The store is asked again, and has the time that it has at first.
                waiting.since = self.seq.load(Ordering::Acquire);
                waiting.news = None;
            }
            if let Some(waiting) = waiting.filter(|_| news && !free) {
                // Others were asked to give back what they do not use. Have they had their time?
                let heard = *waiting.news.get_or_insert(now.steady);
                if now.steady.saturating_sub(heard) >= self.hope_for(counter, ask) {
                    fit = counter.blocked(ask);
                }
            } else if counter.must_hold() {
                if self.dead.load(Ordering::Acquire) || elapsed >= self.settings.strict_wait {
                    return Fit::Away;
                }
            } else if self.is_away() || elapsed >= self.settings.cold_wait {
                fit = counter.fit(ask, Mode::Alone, now);
            }
        }
        // Who waits for a place or a rate is told so at once, as clients expect it.
        let budget = counter.limit.meter() == Meter::Budget;
        let patience = if budget { self.settings.patience } else { Duration::ZERO };
        if fit == Fit::Held && elapsed >= patience { Fit::No } else { fit }
    }

    /// How long what others may give back is worth waiting for.
    fn hope_for(&self, counter: &Counter, ask: Ask) -> Duration {
        let wait = match counter.hope(ask) {
            Hope::Free => self.settings.cold_wait,
            Hope::Slack => self.settings.recall_wait,
            Hope::Holds => self.settings.hear_wait,
            Hope::None => return Duration::ZERO,
        };
        if counter.must_hold() {
            // They hear of it in one exchange, answer in the next, and this replica hears in a third.
            let exchange = Duration::from_millis(self.exchange_ms.load(Ordering::Acquire));
            wait.max(exchange * 4)
        } else if self.is_away() {
            Duration::ZERO
        } else {
            wait
        }
    }

    /// Counts in every line; nothing can fail any more.
    fn commit(
        &self,
        shards: &mut Locked<'_>,
        limits: &[Limit],
        estimate: &Estimate,
        cost: i128,
        purpose: Purpose,
        now: Now,
    ) -> Lines {
        let mut lines = Lines::new();
        for (index, limit) in limits.iter().enumerate() {
            let budget = limit.meter() == Meter::Budget;
            if purpose == Purpose::Grow && !budget
                || limits[..index].iter().any(|one| one.name() == limit.name())
            {
                continue;
            }
            let shard = shards.of(limit.name());
            let Some(counter) = shard.counters.get_mut(limit.name()) else { continue };
            let counted = if budget { cost } else { limit.row().ask(estimate).likely };
            counter.commit(counted, now);
            lines.push(Line { limit: limit.clone(), counted, turn: counter.turn });
            self.changed(shard, limit.name());
        }
        lines
    }

    /// Notes that the store has to hear of a counter.
    fn changed(&self, shard: &mut Shard, name: &Name) {
        let Some(counter) = shard.counters.get_mut(name) else { return };
        let (urgency, used) = (counter.urgency(), counter.spent + counter.held);
        let Some(share) = &mut counter.share else { return };
        if urgency > share.queued {
            share.queued = urgency;
            let list = if urgency == Queued::Hot { &mut shard.hot } else { &mut shard.calm };
            list.push(name.clone());
        }
        // A lease that runs low is renewed before somebody has to wait for it.
        if share.known && share.fair > 0 && (share.allowance - used) * 4 < share.fair {
            self.urgent.notify_one();
        }
    }

    fn join(
        &self,
        shards: &mut Locked<'_>,
        short: &[(&Limit, Ask)],
        waits: &mut Waits<'_>,
        now: Now,
    ) -> Arc<Notify> {
        let mut first = None;
        for (limit, ask) in short {
            let shard = shards.of(limit.name());
            let counter = self.counter(shard, limit, now);
            let wake = Arc::clone(counter.wake.get_or_insert_default());
            if !waits.joined.iter().any(|one| one.name == *limit.name()) {
                counter.waiting += 1;
                if let Some(share) = &mut counter.share {
                    share.demand += ask.likely;
                }
                let since = self.seq.load(Ordering::Acquire);
                let (name, wake) = (limit.name().clone(), Arc::clone(&wake));
                waits.joined.push(Waiting { name, since, news: None, demand: ask.likely, wake });
            }
            self.changed(shard, limit.name());
            first.get_or_insert(wake);
        }
        if self.shared {
            self.urgent.notify_one();
        }
        first.unwrap_or_default()
    }

    fn leave(&self, waiting: &Waiting) {
        let mut shard = self.lock(&waiting.name);
        if let Some(counter) = shard.counters.get_mut(&waiting.name) {
            counter.waiting = counter.waiting.saturating_sub(1);
            if counter.waiting == 0 {
                counter.wake = None;
            } else {
                // A signal meant for somebody may have come to one who no longer needs it.
                waiting.wake.notify_one();
            }
            if let Some(share) = &mut counter.share {
                share.demand -= waiting.demand;
            }
        }
    }

    /// Adds as much of `more` as the lines can bear, or with `whole` all of it or nothing; returns how much that
    /// was.
    pub fn raise(&self, lines: &[Line], more: i128, whole: bool) -> i128 {
        let now = self.now();
        let mut shards = self.lock_all(budgets(lines).map(|line| line.limit.name()));
        let mut most = more.max(0);
        for line in budgets(lines) {
            let counter = self.counter(shards.of(line.limit.name()), &line.limit, now);
            counter.turn_over(now);
            if counter.must_hold() {
                most = most.min(counter.room(Mode::Alone, now).max(0));
            }
        }
        if whole && most < more {
            return 0;
        }
        for line in budgets(lines) {
            let shard = shards.of(line.limit.name());
            if let Some(counter) = shard.counters.get_mut(line.limit.name()) {
                counter.held += most;
                self.changed(shard, line.limit.name());
            }
        }
        most
    }

    /// Ends a hold: what it held becomes what it used.
    pub fn settle(&self, lines: &[Line], held: i128, actual: Option<&Actual>) {
        let now = self.now();
        for line in lines {
            let mut shard = self.lock(line.limit.name());
            let Some(counter) = shard.counters.get_mut(line.limit.name()) else { continue };
            counter.turn_over(now);
            counter.touched = now.steady;
            let used = actual.copied().unwrap_or_default();
            match line.limit.meter() {
                Meter::Budget => {
                    counter.held -= held;
                    counter.spent += used.cost.pico();
                }
                Meter::Parallel => counter.held -= line.counted,
                Meter::Tokens(kind) if counter.turn == line.turn => {
                    let used = i128::from(kind.of(used.input_tokens, used.output_tokens));
                    counter.spent = (counter.spent + used - line.counted).max(0);
                }
                // What was counted in a window that is over has gone with it.
                Meter::Tokens(_) | Meter::Requests => {}
            }
            if let Some(wake) = &counter.wake {
                wake.notify_one();
            }
            self.changed(&mut shard, line.limit.name());
        }
    }

    /// Counts what was used without a hold, whatever the limits say.
    pub fn book(&self, limits: &[Limit], actual: &Actual) {
        let now = self.now();
        for limit in limits {
            let mut shard = self.lock(limit.name());
            let counter = self.counter(&mut shard, limit, now);
            counter.refresh(limit, now);
            match limit.meter() {
                Meter::Budget => counter.spent += actual.cost.pico(),
                Meter::Requests => counter.commit(1, now),
                Meter::Tokens(kind) => {
                    counter.commit(i128::from(kind.of(actual.input_tokens, actual.output_tokens)), now);
                }
                Meter::Parallel => {}
            }
            self.changed(&mut shard, limit.name());
        }
    }

    pub fn standing(&self, limit: &Limit) -> Standing {
        self.standing_at(limit, self.now())
    }

    /// How each of these stands, all at the same moment.
    pub fn standings<'a>(&'a self, lines: &'a [Line]) -> impl Iterator<Item = Standing> + 'a {
        let now = self.now();
        lines.iter().map(move |line| self.standing_at(&line.limit, now))
    }

    fn standing_at(&self, limit: &Limit, now: Now) -> Standing {
        let mut shard = self.lock(limit.name());
        match shard.counters.get_mut(limit.name()) {
            Some(counter) => {
                counter.turn_over(now);
                counter.standing(now)
            }
            None => Counter::new(limit, now, self.shared).standing(now),
        }
    }

    /// What the strict budgets among the lines leave beyond what they hold.
    pub fn affordable(&self, lines: &[Line]) -> Option<i128> {
        let now = self.now();
        let rooms = budgets(lines).filter(|line| line.limit.row().rule == Rule::Within).map(|line| {
            let mut shard = self.lock(line.limit.name());
            let counter = self.counter(&mut shard, &line.limit, now);
            counter.turn_over(now);
            counter.room(Mode::Alone, now).max(0)
        });
        rooms.min()
    }

    fn counter<'a>(&self, shard: &'a mut Shard, limit: &Limit, now: Now) -> &'a mut Counter {
        if shard.counters.len() >= self.settings.capacity / SHARDS
            && !shard.counters.contains_key(limit.name())
        {
            shard.make_room(self.settings.capacity / SHARDS, now, self.settings.idle);
        }
        shard.counters.entry(limit.name().clone()).or_insert_with(|| Counter::new(limit, now, self.shared))
    }

    fn lock_all<'a>(&self, names: impl Iterator<Item = &'a Name>) -> Locked<'_> {
        let mut places: SmallVec<[usize; 16]> = names.map(Self::place).collect();
        // Always in this order: two requests never wait for each other.
        places.sort_unstable();
        places.dedup();
        Locked(places.into_iter().map(|place| (place, self.shards[place].lock())).collect())
    }

    /// Counters known to this replica.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().counters.len()).sum()
    }

    /// Forgets counters that nobody used for so long.
    pub fn sweep(&self, after: Duration) {
        let now = self.now();
        for shard in &self.shards {
            shard.lock().forget(now, after);
        }
    }
}

impl Shard {
    /// Drops idle counters; shared ones leave the store first.
    fn forget(&mut self, now: Now, after: Duration) {
        let hot = &mut self.hot;
        self.counters.retain(|name, counter| {
            if !counter.idle(now, after) {
                return true;
            }
            let Some(share) = &mut counter.share else { return false };
            share.leaving = true;
            if share.queued < Queued::Hot {
                share.queued = Queued::Hot;
                hot.push(name.clone());
            }
            true
        });
    }

    /// Makes room for one more: counters idle for long go, then for less long. Those in use stay.
    fn make_room(&mut self, capacity: usize, now: Now, after: Duration) {
        let mut after = after;
        while self.counters.len() >= capacity {
            self.forget(now, after);
            if after.is_zero() {
                break;
            }
            after = if after < Duration::from_secs(1) { Duration::ZERO } else { after / 4 };
        }
    }
}

impl Waits<'_> {
    fn at(&mut self, name: &Name) -> Option<&mut Waiting> {
        self.joined.iter_mut().find(|one| one.name == *name)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        for waiting in &self.joined {
            self.book.leave(waiting);
        }
    }
}

struct Locked<'a>(SmallVec<[(usize, MutexGuard<'a, Shard>); 12]>);

impl Locked<'_> {
    #[expect(clippy::expect_used, reason = "every limit's shard was locked, from the same names")]
    fn of(&mut self, name: &Name) -> &mut Shard {
        let place = Book::place(name);
        let found = self.0.iter_mut().find(|(at, _)| *at == place);
        &mut found.expect("the shard of each limit is locked").1
    }
}

fn budgets(lines: &[Line]) -> impl Iterator<Item = &Line> {
    lines.iter().filter(|line| line.limit.meter() == Meter::Budget)
}

fn denied(counter: &Counter, refused: &Refused<'_>, now: Now) -> Denied {
    let standing = counter.standing(now);
    let retry_after = match (refused.cause, counter.kind(), counter.closes) {
        (Cause::StoreAway, _, _) => Some(Duration::from_secs(1)),
        (_, Kind::Rate, Some(end)) => Some(end.saturating_sub(now.steady)),
        _ => None,
    };
    Denied { standing, asked: refused.ask.likely, cause: refused.cause, retry_after }
}
