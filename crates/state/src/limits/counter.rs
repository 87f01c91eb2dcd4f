//! One counter as this replica keeps it: a small state machine without locks, clocks or I/O.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::lease::{Answer, History, Kind, LEASE_TTL_MS, Statement, WindowId};
use super::limit::{Ask, Limit, Meter, Rule, Standing, Window};

/// Now, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub wall_ms: i64,
    pub steady: Duration,
    /// When the shared store was last heard of, on the steady clock.
    pub heard: Duration,
}

#[derive(Debug)]
pub(super) struct Counter {
    pub limit: Limit,
    pub window: WindowId,
    /// End of a rate window that is open.
    pub closes: Option<Duration>,
    /// Settled in this window: by everybody if the counter is ours alone, else by this replica.
    pub spent: i128,
    /// Held by requests in flight on this replica.
    pub held: i128,
    /// Spend on record at the start of this window.
    pub seed: i128,
    /// Grows when a window begins; tells late corrections from timely ones.
    pub turn: u32,
    pub touched: Duration,
    /// Requests that wait for room.
    pub waiting: u32,
    pub wake: Option<Arc<Notify>>,
    /// Present if replicas share the counter.
    pub share: Option<Box<Share>>,
}

/// The part of a shared counter that this replica may use, and what it knows of the rest.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Spent, held and lease together.
    pub allowance: i128,
    /// True once the store has answered in this window.
    pub known: bool,
    /// The last statement that was answered.
    pub answered: u64,
    pub fair: i128,
    pub others_spent: i128,
    pub others_held: i128,
    pub others_slack: i128,
    pub base: i128,
    pub epoch: i64,
    pub replicas: u32,
    /// Asked for by requests that wait.
    pub demand: i128,
    /// In which list of counters to state.
    pub queued: Queued,
    /// Some other replica got too little.
    pub recalled: bool,
    /// To be folded and forgotten.
    pub leaving: bool,
}

/// How soon the store has to hear of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Queued {
    /// Nothing to say.
    #[default]
    No,
    /// Within a second: far from its limit, nobody waits.
    Calm,
    /// At the next tick.
    Hot,
}

/// What a limit says to an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It fits, holding at most this much.
    Yes(i128),
    /// Not now; room may come from requests in flight, here or elsewhere.
    Held,
    /// The shared store has to be asked first.
    Lease,
    /// The shared store has to be asked, and does not answer.
    Away,
    /// No.
    No,
}

/// What may still come to a replica that has too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hope {
    /// Room that nobody has been given: other requests were faster to use what the store gave last.
    Free,
    /// Leases that they do not use.
    Slack,
    /// Holds that may have ended since they last spoke.
    Holds,
    /// Nothing.
    None,
}

/// How a request has to be judged while the store answers, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// By the lease; an answer newer than this statement is news.
    Leased { since: u64 },
    /// The store is away: by what this replica knows.
    Alone,
}

pub(super) fn kind(meter: Meter) -> Kind {
    match meter {
        Meter::Budget => Kind::Budget,
        Meter::Requests | Meter::Tokens(_) => Kind::Rate,
        Meter::Parallel => Kind::Parallel,
    }
}

impl Counter {
    pub fn new(limit: &Limit, now: Now, shared: bool) -> Self {
        let mut counter = Self {
            limit: limit.clone(),
            window: WindowId::default(),
            closes: None,
            spent: 0,
            held: 0,
            seed: 0,
            turn: 0,
            touched: now.steady,
            waiting: 0,
            wake: None,
            share: shared.then(Box::default),
        };
        let row = limit.row();
        counter.window.reset_ms = row.reset_ms;
        counter.window.ends_ms = first_end(&row.window, now.wall_ms);
        if on_record(&row.window, counter.window.ends_ms) {
            counter.seed = row.spent;
            counter.spent = if shared { 0 } else { row.spent };
        }
        counter
    }

    pub fn kind(&self) -> Kind {
        kind(self.limit.meter())
    }

    /// Takes over a changed limit and starts the next window if it is time. Windows only move forward.
    pub fn refresh(&mut self, limit: &Limit, now: Now) {
        self.touched = now.steady;
        if !self.limit.same(limit) {
            let lowered = limit.row().amount < self.limit.row().amount;
            self.limit = limit.clone();
            if lowered {
                // The lease was given under the old limit; the store gives a new one under this.
                self.give_up();
            }
            let row = limit.row();
            if row.reset_ms > self.window.reset_ms {
                let window = WindowId { reset_ms: row.reset_ms, ..self.window };
                self.start(window, row.spent);
            }
            if let Window::Calendar { ends, .. } = &row.window
                && ends.as_millisecond() > self.window.ends_ms
                && ends.as_millisecond() > now.wall_ms
            {
                // The row was reset by somebody whose clock is ahead, or its duration changed.
                let window = WindowId { ends_ms: ends.as_millisecond(), ..self.window };
                self.start(window, row.spent);
            }
        }
        self.turn_over(now);
    }

    /// Gives the lease up, but for what is spent and held.
    pub fn give_up(&mut self) {
        let used = self.spent + self.held;
        if let Some(share) = &mut self.share {
            share.allowance = share.allowance.min(used);
        }
    }

    /// Starts the next window if it is time.
    pub fn turn_over(&mut self, now: Now) {
        match &self.limit.row().window {
            Window::Calendar { ends, schedule } if now.wall_ms >= self.window.ends_ms => {
                let on_record = ends.as_millisecond();
                let after = now.wall_ms.max(self.window.ends_ms);
                let ends_ms = if on_record > after { on_record } else { next_end(schedule, after) };
                self.start(WindowId { ends_ms, ..self.window }, 0);
            }
            Window::Fixed(_) if self.closes.is_some_and(|end| now.steady >= end) => {
                self.start(WindowId { ends_ms: 0, ..self.window }, 0);
            }
            _ => {}
        }
    }

    fn start(&mut self, window: WindowId, seed: i128) {
        self.window = window;
        self.closes = None;
        self.turn = self.turn.wrapping_add(1);
        self.seed = seed;
        match &mut self.share {
            Some(share) => {
                // The lease was for the old window. Holds stay, and are covered again by the next answer.
                self.spent = 0;
                share.allowance = 0;
                share.known = false;
            }
            None => self.spent = seed,
        }
    }

    /// What this replica may still use.
    pub fn room(&self, mode: Mode, now: Now) -> i128 {
        let amount = self.limit.row().amount;
        let Some(share) = &self.share else { return amount - self.spent - self.held };
        let leased = share.allowance - self.spent - self.held;
        match mode {
            Mode::Leased { .. } if self.lapsed(now) => leased.min(0),
            Mode::Leased { .. } => leased,
            Mode::Alone if self.must_hold() => {
                if self.lapsed(now) {
                    leased.min(0)
                } else {
                    leased
                }
            }
            Mode::Alone => leased.max(self.room_alone()),
        }
    }

    /// What this replica grants itself while the store is away: its even part of a rate or of parallel
    /// requests; of a budget, what nobody is known to have spent or held.
    fn room_alone(&self) -> i128 {
        let amount = self.limit.row().amount;
        let Some(share) = &self.share else { return 0 };
        if self.kind() == Kind::Budget {
            let others = if share.known { share.others_spent + share.others_held } else { self.seed };
            amount - others - self.spent - self.held
        } else {
            amount / i128::from(share.replicas.max(1)) - self.spent - self.held
        }
    }

    /// True for limits that must not be passed even for a while.
    pub fn must_hold(&self) -> bool {
        self.kind() == Kind::Budget && self.limit.row().rule == Rule::Within
    }

    fn lapsed(&self, now: Now) -> bool {
        let ttl = Duration::from_millis(LEASE_TTL_MS.unsigned_abs());
        self.must_hold() && now.steady.saturating_sub(now.heard) > ttl
    }

    /// Whether an ask fits.
    pub fn fit(&self, ask: Ask, mode: Mode, now: Now) -> Fit {
        let room = self.room(mode, now);
        let row = self.limit.row();
        if row.rule == Rule::Within && room >= ask.likely {
            return Fit::Yes(ask.likely);
        }
        let news = self.news(mode);
        match row.rule {
            Rule::Below if room > 0 && (news || room >= ask.likely) => return Fit::Yes(ask.likely),
            Rule::Within if news && room >= ask.least => return Fit::Yes(room.min(ask.likely)),
            _ => {}
        }
        if self.hopeless(ask) {
            return Fit::No;
        }
        let hope = matches!(mode, Mode::Leased { .. }) && self.hope(ask) != Hope::None;
        if !news || hope { Fit::Lease } else { self.blocked(ask) }
    }

    /// What the store or other replicas may still give.
    pub fn hope(&self, ask: Ask) -> Hope {
        match &self.share {
            Some(share) if share.known && self.unclaimed(share) >= ask.least.max(1) => Hope::Free,
            Some(share) if share.others_slack > 0 => Hope::Slack,
            Some(share) if share.others_held > 0 && self.blocked(ask) == Fit::Held => Hope::Holds,
            _ => Hope::None,
        }
    }

    /// What neither this replica nor, by the last answer, others have spent, hold or lease, and the unused lease
    /// of this one.
    fn unclaimed(&self, share: &Share) -> i128 {
        self.limit.row().amount - self.spent_by_all() - self.held - share.others_held - share.others_slack
    }

    /// True if the store has answered since a request began to wait, or needs not be asked.
    pub fn news(&self, mode: Mode) -> bool {
        match (&self.share, mode) {
            (None, _) | (_, Mode::Alone) => true,
            (Some(share), Mode::Leased { since }) => share.known && share.answered > since,
        }
    }

    /// Spent in the window by everybody, as far as this replica knows.
    fn spent_by_all(&self) -> i128 {
        self.spent + self.share.as_ref().filter(|share| share.known).map_or(0, |share| share.others_spent)
    }

    /// True if what is known to be spent rules an ask out, whatever others hold or lease. Nobody has to be asked
    /// then, so that a storm of refused requests stays here. Tokens are corrected downwards, so they have to.
    fn hopeless(&self, ask: Ask) -> bool {
        let row = self.limit.row();
        let over = match row.rule {
            Rule::Below => self.spent_by_all() >= row.amount,
            Rule::Within => self.spent_by_all() + ask.least > row.amount,
        };
        over && !matches!(row.meter, Meter::Tokens(_))
    }

    /// Why there is no room: requests in flight that may leave some, or spend alone.
    pub fn blocked(&self, ask: Ask) -> Fit {
        let others = self.share.as_ref().filter(|share| share.known).map_or(0, |share| share.others_held);
        let held = self.held + others;
        if self.hopeless(ask) || held <= 0 || self.kind() == Kind::Rate { Fit::No } else { Fit::Held }
    }

    /// Counts an admitted request.
    pub fn commit(&mut self, amount: i128, now: Now) {
        if self.kind() == Kind::Rate {
            self.spent += amount;
            if self.closes.is_none()
                && let Window::Fixed(length) = self.limit.row().window
            {
                self.closes = Some(now.steady + length);
            }
        } else {
            self.held += amount;
        }
    }

    /// How this counter stands, with what is known of other replicas.
    pub fn standing(&self, now: Now) -> Standing {
        let (spent, held) = match &self.share {
            None => (0, 0),
            Some(share) if share.known => (share.others_spent, share.others_held),
            Some(_) => (self.seed, 0),
        };
        let left =
            |end: Duration| i64::try_from(end.saturating_sub(now.steady).as_millis()).unwrap_or(i64::MAX);
        let ends_ms = match (&self.limit.row().window, self.closes) {
            (Window::Fixed(_), Some(end)) => now.wall_ms.saturating_add(left(end)),
            (Window::Fixed(length), None) => now.wall_ms.saturating_add(left(now.steady + *length)),
            _ => self.window.ends_ms,
        };
        let resets_at = if ends_ms == 0 { None } else { Timestamp::from_millisecond(ends_ms).ok() };
        Standing { limit: self.limit.clone(), spent: self.spent + spent, held: self.held + held, resets_at }
    }

    /// True if nothing would be lost by forgetting it.
    pub fn idle(&self, now: Now, after: Duration) -> bool {
        let quiet = self.held == 0 && self.waiting == 0;
        quiet && now.steady.saturating_sub(self.touched) >= after
    }

    /// How soon the store has to hear of what has changed.
    pub fn urgency(&self) -> Queued {
        let Some(share) = &self.share else { return Queued::No };
        let slack = share.allowance - self.spent - self.held;
        // Near the limit others decide by what this replica says.
        let near = share.fair < self.limit.row().amount / 32;
        let hot = !share.known || near || self.waiting > 0 || share.recalled || slack * 4 < share.fair;
        if hot { Queued::Hot } else { Queued::Calm }
    }

    /// What to tell the store, once; lowers the own allowance to what it says to keep.
    pub fn statement(&mut self, seq: u64) -> Option<Statement> {
        let kind = self.kind();
        let row = self.limit.row();
        let (seed, quiet) = (self.seed, self.held == 0 && self.waiting == 0);
        let share = self.share.as_mut()?;
        share.leaving &= quiet;
        let committed = self.spent + self.held;
        let slack = share.allowance - committed;
        let keep = if share.recalled || share.leaving {
            share.allowance.min(committed)
        } else if slack > share.fair.saturating_mul(2) && share.known {
            committed + share.fair
        } else {
            share.allowance
        };
        share.allowance = keep;
        let need = (share.demand - (keep - committed).max(0)).max(0);
        let greedy = !share.recalled && !share.leaving && (keep - committed) * 2 <= share.fair.max(1);
        let history = (share.known && kind == Kind::Budget).then_some(History {
            epoch: share.epoch,
            base: share.base,
            spent: share.others_spent + self.spent,
        });
        share.queued = Queued::No;
        share.recalled = false;
        Some(Statement {
            name: row.name.clone(),
            seq,
            kind,
            limit: row.amount,
            length_ms: match row.window {
                Window::Fixed(length) => i64::try_from(length.as_millis()).unwrap_or(i64::MAX),
                _ => 0,
            },
            window: self.window,
            spent: self.spent,
            held: self.held,
            keep,
            need,
            greedy,
            leave: share.leaving,
            seed,
            history,
        })
    }

    /// The store has folded what was stated as this replica's last word. True if that was indeed the last.
    pub fn folded(&mut self, statement: &Statement) -> bool {
        if self.window == statement.window {
            self.spent -= statement.spent;
        }
        let Some(share) = &mut self.share else { return true };
        let queued = std::mem::take(&mut share.queued);
        **share = Share { demand: share.demand, queued, ..Share::default() };
        queued == Queued::No && self.held == 0 && self.waiting == 0 && self.spent == 0
    }

    /// Takes an answer in.
    pub fn answer(&mut self, statement: &Statement, answer: &Answer, now: Now, replicas: u32) {
        if self.window != statement.window {
            // A window began while the exchange was under way; the next statement is about that one.
            return;
        }
        let since = self.spent - statement.spent;
        if answer.window != self.window {
            self.window = answer.window;
            self.seed = 0;
        }
        self.spent = answer.own_spent + since;
        if self.kind() == Kind::Rate {
            self.closes = Some(now.steady + Duration::from_millis(answer.left_ms.unsigned_abs()));
        }
        let Some(share) = &mut self.share else { return };
        share.allowance = answer.allowance;
        share.known = true;
        if !answer.young {
            share.answered = statement.seq;
        }
        share.fair = answer.fair;
        share.others_spent = answer.others_spent;
        share.others_held = answer.others_held;
        share.others_slack = answer.others_slack;
        share.base = answer.base;
        share.epoch = answer.epoch;
        share.replicas = replicas;
    }
}

fn first_end(window: &Window, wall_ms: i64) -> i64 {
    match window {
        Window::Calendar { ends, .. } if ends.as_millisecond() > wall_ms => ends.as_millisecond(),
        Window::Calendar { schedule, .. } => next_end(schedule, wall_ms),
        Window::Endless | Window::Fixed(_) => 0,
    }
}

fn next_end(schedule: &super::window::Schedule, after_ms: i64) -> i64 {
    let after = Timestamp::from_millisecond(after_ms).unwrap_or(Timestamp::MAX);
    schedule.next(after).as_millisecond()
}

/// True if the spend on record is about the window that ends then.
fn on_record(window: &Window, ends_ms: i64) -> bool {
    match window {
        Window::Calendar { ends, .. } => ends.as_millisecond() == ends_ms,
        Window::Endless | Window::Fixed(_) => true,
    }
}
