//! How replicas share a counter: what each one states to the shared store, and what the store decides.
//!
//! A replica never asks "may I?" per request. It leases a part of a limit, decides locally within it, and
//! states from time to time what it spent, what it holds, and how much lease it wants to keep or needs on
//! top. Statements are absolute ("this replica spent 7 in this window"), numbered, and may be repeated or
//! lost: the store ends in the same state. [`decide`] is the whole decision for one counter; every store
//! runs it (or, in Redis, its twin in Lua) atomically per counter.
//!
//! What the store keeps of one counter: what replicas that left had spent (`base`), and per replica what
//! it spent, what it holds, and its allowance (spent, held and lease together). The sum of allowances and
//! base never passes the limit, except by what replicas really spent or hold beyond it.

mod memory;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use super::limit::Name;

pub use memory::MemoryCounters;

/// Silence after which a replica's parallel requests no longer count.
pub const PARALLEL_TTL_MS: i64 = 15_000;
/// Silence after which a replica's unused lease goes to others. A replica that cannot reach the store stops
/// using the leases of limits that must not be passed after this time.
pub const LEASE_TTL_MS: i64 = 120_000;
/// Silence after which what a replica held is given up: it crashed, and its journal books the true amounts.
pub const HOLD_TTL_MS: i64 = 600_000;
/// How long a store gives no leases after it began, or lost its memory: replicas state what they have first.
pub const YOUNG_MS: i64 = 2_000;
/// How long the wish of a replica that got too little is on record for the others to see.
pub const WANT_TTL_MS: i64 = 2_000;

/// How a counter behaves at the end of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Spend starts again, holds stay.
    Budget,
    /// The store opens a window at the first statement and closes it by its own clock.
    Rate,
    /// No window; only holds count.
    Parallel,
}

/// A window by its end and the last reset by hand, both in milliseconds since 1970. Later windows compare
/// greater; a counter never goes back to a smaller one, whatever clocks do. For [`Kind::Rate`] the end is the
/// store's, and 0 means "none known".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WindowId {
    /// When it ends; 0 for never.
    pub ends_ms: i64,
    /// When it was last reset by hand; 0 for never.
    pub reset_ms: i64,
}

/// What a replica remembers of the shared counter, for a store that lost its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Which life of the counter: [`Answer::epoch`].
    pub epoch: i64,
    /// [`Answer::base`].
    pub base: i128,
    /// Everything spent in the window, by everybody.
    pub spent: i128,
}

/// What one replica states about one counter.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The counter.
    pub name: Name,
    /// Grows with every statement of this replica; older ones that arrive late are ignored.
    pub seq: u64,
    /// How the counter behaves.
    pub kind: Kind,
    /// The limit, as this replica knows it.
    pub limit: i128,
    /// Length of a [`Kind::Rate`] window, in milliseconds.
    pub length_ms: i64,
    /// The window that `spent` is about.
    pub window: WindowId,
    /// Spent by this replica in that window.
    pub spent: i128,
    /// Held by this replica now.
    pub held: i128,
    /// The allowance this replica goes on using until it hears more.
    pub keep: i128,
    /// Lease needed beyond `keep` by requests that wait.
    pub need: i128,
    /// True to be given a slice beyond the need.
    pub greedy: bool,
    /// True to leave: the row is folded into the base.
    pub leave: bool,
    /// Spend on record, to start a counter that the store does not have.
    pub seed: i128,
    /// What this replica remembers, if it has had an answer in this window.
    pub history: Option<History>,
}

/// What the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The window that counts now.
    pub window: WindowId,
    /// What is left of a [`Kind::Rate`] window, in milliseconds.
    pub left_ms: i64,
    /// This replica's spend in that window, as the store has it.
    pub own_spent: i128,
    /// This replica's allowance: spent, held and lease together.
    pub allowance: i128,
    /// A fair slice of what nobody has: more slack than that should go back.
    pub fair: i128,
    /// Spent by all others.
    pub others_spent: i128,
    /// Held by requests in flight of all others.
    pub others_held: i128,
    /// Leased to others and not in use, as far as they stated.
    pub others_slack: i128,
    /// What replicas that left had spent.
    pub base: i128,
    /// Which life of the counter this is.
    pub epoch: i64,
    /// True if the store began so lately that it gives no leases yet; what is missing here says nothing.
    pub young: bool,
}

/// The answers to a batch, in its order, and what else there is to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// One per statement.
    pub answers: Vec<Answer>,
    /// Counters of which some replica got too little lately.
    pub wanted: Vec<Name>,
    /// Replicas that are there, this one included; at least 1.
    pub replicas: u32,
    /// False if the store had not heard of this replica: its first exchange, or the store lost its memory.
    pub known: bool,
}

/// Why an exchange failed. Nothing is known about what the store did.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the shared store of limits failed: {0}")]
pub struct StoreError(pub String);

/// The store that replicas share. One atomic decision per statement; statements of a batch are independent.
///
/// Over SQL: one row per counter, locked while [`decide`] runs on it ([`CounterState::encode`] fits it into a
/// column), one row per replica with the time it was last seen, both on the database's clock.
///
/// An implementation passes [`suite::shared_counters`](crate::suite::shared_counters).
pub trait SharedCounters: Send + Sync {
    /// States a batch for `replica`, which also shows that it is alive. An empty batch does only that.
    fn exchange<'a>(
        &'a self,
        replica: &'a str,
        batch: &'a [Statement],
    ) -> BoxFuture<'a, Result<Exchange, StoreError>>;
}

/// One replica's part of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// Spent in the window.
    pub spent: i128,
    /// Held.
    pub held: i128,
    /// Spent, held and lease together.
    pub allowance: i128,
    /// Its last statement.
    pub seq: u64,
}

impl Part {
    fn committed(&self) -> i128 {
        self.allowance.max(self.spent + self.held)
    }
}

/// A counter as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CounterState {
    /// The window that counts.
    pub window: WindowId,
    /// Spent by replicas that left.
    pub base: i128,
    /// Everything spent is at least this.
    pub floor: i128,
    /// True while `base` comes from a seed and not from a replica that knew better.
    pub seeded: bool,
    /// Store time at which this life of the counter began; 0 for a counter that does not exist yet.
    pub epoch: i64,
    /// Until when others should give slack back.
    pub want_until_ms: i64,
    /// The replicas' parts.
    pub parts: BTreeMap<String, Part>,
}

impl CounterState {
    /// As one line of text, for stores that keep a counter in one column.
    pub fn encode(&self) -> String {
        let mut text = format!(
            "1 {} {} {} {} {} {} {}",
            self.window.ends_ms,
            self.window.reset_ms,
            self.base,
            self.floor,
            u8::from(self.seeded),
            self.epoch,
            self.want_until_ms
        );
        for (name, part) in &self.parts {
            let Part { spent, held, allowance, seq } = part;
            text.push_str(&format!(" {name} {spent} {held} {allowance} {seq}"));
        }
        text
    }

    /// Reads what [`CounterState::encode`] wrote; `None` for anything else.
    pub fn decode(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next();
        if next()? != "1" {
            return None;
        }
        let mut state = Self {
            window: WindowId { ends_ms: next()?.parse().ok()?, reset_ms: next()?.parse().ok()? },
            base: next()?.parse().ok()?,
            floor: next()?.parse().ok()?,
            seeded: next()? == "1",
            epoch: next()?.parse().ok()?,
            want_until_ms: next()?.parse().ok()?,
            parts: BTreeMap::new(),
        };
        while let Some(name) = next() {
            let part = Part {
                spent: next()?.parse().ok()?,
                held: next()?.parse().ok()?,
                allowance: next()?.parse().ok()?,
                seq: next()?.parse().ok()?,
            };
            state.parts.insert(name.to_owned(), part);
        }
        Some(state)
    }
}

/// How long a replica has been silent, in milliseconds.
pub type Silence<'a> = &'a dyn Fn(&str) -> i64;

/// What a store knows beside the counter.
pub struct Around<'a> {
    /// The store's time, in milliseconds since 1970.
    pub now_ms: i64,
    /// How long each replica has been silent; `i64::MAX` if unknown.
    pub silence: Silence<'a>,
    /// Replicas heard of within [`PARALLEL_TTL_MS`], the one that speaks included.
    pub replicas: u32,
    /// True within [`YOUNG_MS`] of the store's first exchange.
    pub young: bool,
}

/// Decides one statement of `replica`.
pub fn decide(state: &mut CounterState, replica: &str, statement: &Statement, around: &Around<'_>) -> Answer {
    let Around { now_ms, silence, replicas, young } = *around;
    let late = state.parts.get(replica).is_some_and(|part| part.seq >= statement.seq);
    if !late {
        enter(state, statement, now_ms);
    }
    prune(state, replica, statement.kind, silence);
    if !late {
        place(state, replica, statement);
    }
    let share = i128::from(replicas.max(1)) * 2;
    let mut available = statement.limit - committed(state);
    if !late && !statement.leave && !young {
        let granted = statement.need.min(available).max(0);
        available -= granted;
        let short = granted < statement.need;
        let extra = if statement.greedy && !short && now_ms >= state.want_until_ms {
            available.max(0) / share
        } else {
            0
        };
        available -= extra;
        if let Some(part) = state.parts.get_mut(replica) {
            part.allowance += granted + extra;
        }
        let others = others(state, replica);
        if short && others.slack + others.held > 0 {
            state.want_until_ms = now_ms + WANT_TTL_MS;
        }
    }
    Answer { young, ..answer(state, replica, statement, now_ms, available.max(0) / share) }
}

/// Opens the counter, or its next window, if this statement says so.
fn enter(state: &mut CounterState, statement: &Statement, now_ms: i64) {
    let fresh = state.epoch == 0;
    if fresh {
        state.epoch = now_ms.max(1);
        state.window = statement.window;
        state.seeded = true;
        state.base = statement.seed;
    }
    let next = match statement.kind {
        Kind::Rate
            if fresh
                || now_ms >= state.window.ends_ms
                || statement.window.reset_ms > state.window.reset_ms =>
        {
            Some(WindowId { ends_ms: now_ms + statement.length_ms, reset_ms: statement.window.reset_ms })
        }
        Kind::Budget if statement.window > state.window => Some(statement.window),
        _ => None,
    };
    if let Some(next) = next {
        let by_hand = next.reset_ms > state.window.reset_ms;
        state.window = next;
        if !fresh {
            state.base = if by_hand { statement.seed } else { 0 };
        }
        state.floor = 0;
        for part in state.parts.values_mut() {
            *part = Part { held: part.held, allowance: part.held, spent: 0, seq: part.seq };
        }
    }
    let Some(history) = statement.history else { return };
    if history.epoch != state.epoch && statement.window == state.window {
        state.base = if state.seeded { history.base } else { state.base.max(history.base) };
        state.seeded = false;
        state.floor = state.floor.max(history.spent);
    }
}

/// Takes back from replicas that are silent for too long.
fn prune(state: &mut CounterState, replica: &str, kind: Kind, silence: Silence<'_>) {
    for (name, part) in &mut state.parts {
        if name == replica {
            continue;
        }
        let silent = silence(name);
        if silent > HOLD_TTL_MS || (kind == Kind::Parallel && silent > PARALLEL_TTL_MS) {
            *part = Part { held: 0, allowance: part.spent, ..*part };
        } else if silent > LEASE_TTL_MS {
            part.allowance = part.spent + part.held;
        }
    }
}

/// Puts what the replica stated in its place.
fn place(state: &mut CounterState, replica: &str, statement: &Statement) {
    let same = statement.window == state.window;
    let undated = statement.kind == Kind::Rate && statement.window.ends_ms == 0;
    let had = state.parts.get(replica).copied().unwrap_or_default();
    let spent = match (same, undated) {
        (true, _) => statement.spent,
        (false, true) => had.spent + statement.spent,
        (false, false) => 0,
    };
    if statement.leave {
        state.parts.remove(replica);
        state.base += spent;
        return;
    }
    let committed = spent + statement.held;
    // What it may keep of what it has; a lease of an older window is void.
    let kept = if same { had.allowance.min(statement.keep) } else { had.allowance.min(committed) };
    let part = Part { spent, held: statement.held, allowance: kept.max(committed), seq: statement.seq };
    state.parts.insert(replica.to_owned(), part);
}

fn spent(state: &CounterState) -> i128 {
    let parts: i128 = state.parts.values().map(|part| part.spent).sum();
    state.floor.max(state.base + parts)
}

fn committed(state: &CounterState) -> i128 {
    spent(state) + state.parts.values().map(|part| part.committed() - part.spent).sum::<i128>()
}

struct Others {
    held: i128,
    slack: i128,
}

fn others(state: &CounterState, replica: &str) -> Others {
    let mut sums = Others { held: 0, slack: 0 };
    for (_, part) in state.parts.iter().filter(|(name, _)| *name != replica) {
        sums.held += part.held;
        sums.slack += part.committed() - part.spent - part.held;
    }
    sums
}

fn answer(state: &CounterState, replica: &str, statement: &Statement, now_ms: i64, fair: i128) -> Answer {
    let own = state.parts.get(replica).copied().unwrap_or_default();
    let others = others(state, replica);
    Answer {
        window: state.window,
        left_ms: if statement.kind == Kind::Rate { (state.window.ends_ms - now_ms).max(0) } else { 0 },
        own_spent: own.spent,
        allowance: own.allowance,
        fair,
        others_spent: spent(state) - own.spent,
        others_held: others.held,
        others_slack: others.slack,
        base: state.base,
        epoch: state.epoch,
        young: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_survives_the_way_through_one_column() {
        let part = |spent| Part { spent, held: 3, allowance: i128::MAX / 4, seq: u64::MAX };
        let state = CounterState {
            window: WindowId { ends_ms: 1_800_000_000_000, reset_ms: 7 },
            base: -5,
            floor: 12_345_678_901_234_567_890_123,
            seeded: true,
            epoch: 99,
            want_until_ms: 100,
            parts: BTreeMap::from([("a".to_owned(), part(1)), ("b".to_owned(), part(-2))]),
        };
        assert_eq!(CounterState::decode(&state.encode()), Some(state));
        for broken in ["", "2 0 0 0 0 0 0 0", "1 0 0 0 0 0 0", "1 0 0 0 0 0 0 0 a 1 2 3"] {
            assert_eq!(CounterState::decode(broken), None, "{broken}");
        }
    }
}
