//! One limit, what a request asks of it, and how it is refused.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use faregate_terms::PicoUsd;
use jiff::Timestamp;

use super::scope::ScopeKey;
use super::window::Schedule;

/// The window of requests and tokens per minute.
///
/// Source: compat, behaviour §10, `LITELLM_RATE_LIMIT_WINDOW_SIZE`.
pub const RATE_WINDOW: Duration = Duration::from_secs(60);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Spend, in pico-dollars.
    Budget,
    /// Requests in a window.
    Requests,
    /// Tokens in a window.
    Tokens(TokenKind),
    /// Requests in flight.
    Parallel,
}

/// Which tokens count: `general_settings.token_rate_limit_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TokenKind {
    /// Input and output together.
    #[default]
    Total,
    /// Input only.
    Input,
    /// Output only.
    Output,
}

impl Meter {
    /// The word in rate limit messages and headers.
    ///
    /// Source: compat, behaviour §3.1, "Limit type".
    pub fn word(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Requests => "requests",
            Self::Tokens(_) => "tokens",
            Self::Parallel => "max_parallel_requests",
        }
    }

    /// The word in counter names: the kinds of tokens are counters of their own.
    fn name(self) -> &'static str {
        match self {
            Self::Tokens(TokenKind::Input) => "tokens-in",
            Self::Tokens(TokenKind::Output) => "tokens-out",
            other => other.word(),
        }
    }
}

/// When a request fits under a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Admits while what is spent and held is below the limit. The last request admitted may pass it: on one
    /// replica by what that request costs beyond the rest, on several by one request each. LiteLLM's rule
    /// for budgets.
    Below,
    /// Admits what fits whole. Spend and holds together never pass the limit.
    Within,
}

/// When a counter starts again.
#[derive(Debug, Clone, PartialEq)]
pub enum Window {
    /// Never by itself.
    Endless,
    /// On a calendar: first at `ends` (`budget_reset_at` of the row), then as the schedule says.
    Calendar {
        /// The next reset that is on record.
        ends: Timestamp,
        /// The resets after it.
        schedule: Arc<Schedule>,
    },
    /// So long after its first request.
    Fixed(Duration),
}

/// One limit of one subject. Cheap to clone; build it when the subject is read, not per request.
#[derive(Debug, Clone)]
pub struct Limit(Arc<Row>);

#[derive(Debug)]
pub(super) struct Row {
    pub scope: ScopeKey,
    pub meter: Meter,
    /// Pico-dollars or pieces.
    pub amount: i128,
    pub rule: Rule,
    pub window: Window,
    /// Spend on record when the limit was built; where a counter starts that nobody has in memory.
    pub spent: i128,
    /// Time of the last reset by hand, in milliseconds since 1970; 0 if there was none.
    pub reset_ms: i64,
    pub name: Name,
}

/// Random per process, so that nobody who chooses ids can choose where they land.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The name of a counter: equal on every replica, safe inside a Redis key.
#[derive(Debug, Clone)]
pub struct Name {
    hash: u64,
    text: Arc<str>,
}

impl Name {
    /// Wraps the text of a counter's name.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        Self { hash: SEED.hash_one(&*text), text }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn hash_value(&self) -> u64 {
        self.hash
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Limit {
    /// A budget: at most `max` in a window, of which `spent` is on record.
    pub fn budget(scope: ScopeKey, max: PicoUsd, spent: PicoUsd, window: Window) -> Self {
        let row =
            Row { spent: spent.pico(), ..Row::new(scope, Meter::Budget, max.pico(), Rule::Below, window) };
        Self(Arc::new(row.named()))
    }

    /// Requests per minute.
    pub fn requests(scope: ScopeKey, per_minute: u64) -> Self {
        Self::rate(scope, Meter::Requests, per_minute)
    }

    /// Tokens per minute.
    pub fn tokens(scope: ScopeKey, kind: TokenKind, per_minute: u64) -> Self {
        Self::rate(scope, Meter::Tokens(kind), per_minute)
    }

    /// Requests in flight.
    pub fn parallel(scope: ScopeKey, most: u64) -> Self {
        let row = Row::new(scope, Meter::Parallel, i128::from(most), Rule::Within, Window::Endless);
        Self(Arc::new(row.named()))
    }

    fn rate(scope: ScopeKey, meter: Meter, most: u64) -> Self {
        let row = Row::new(scope, meter, i128::from(most), Rule::Within, Window::Fixed(RATE_WINDOW));
        Self(Arc::new(row.named()))
    }

    /// The same limit under another rule: [`Rule::Within`] for a budget under `strict_budgets`.
    #[must_use]
    pub fn with_rule(self, rule: Rule) -> Self {
        self.changed(|row| row.rule = rule)
    }

    /// The same limit over another window (`LITELLM_RATE_LIMIT_WINDOW_SIZE`).
    #[must_use]
    pub fn with_window(self, window: Window) -> Self {
        self.changed(|row| row.window = window)
    }

    /// The same limit, whose count was set back by hand at this time: a counter that started earlier starts
    /// again, at the spend on record.
    #[must_use]
    pub fn reset_at(self, time: Timestamp) -> Self {
        self.changed(|row| row.reset_ms = time.as_millisecond())
    }

    fn changed(self, change: impl FnOnce(&mut Row)) -> Self {
        let old = self.0;
        let mut row = Row {
            scope: old.scope.clone(),
            meter: old.meter,
            amount: old.amount,
            rule: old.rule,
            window: old.window.clone(),
            spent: old.spent,
            reset_ms: old.reset_ms,
            name: old.name.clone(),
        };
        change(&mut row);
        Self(Arc::new(row.named()))
    }

    /// Whom it limits.
    pub fn scope(&self) -> &ScopeKey {
        &self.0.scope
    }

    /// What it counts.
    pub fn meter(&self) -> Meter {
        self.0.meter
    }

    /// When a request fits.
    pub fn rule(&self) -> Rule {
        self.0.rule
    }

    /// How much there may be: pico-dollars, requests, tokens or slots.
    pub fn most(&self) -> i128 {
        self.0.amount
    }

    /// The counter it reads.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    pub(super) fn row(&self) -> &Row {
        &self.0
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Row {
    fn new(scope: ScopeKey, meter: Meter, amount: i128, rule: Rule, window: Window) -> Self {
        Self { scope, meter, amount, rule, window, spent: 0, reset_ms: 0, name: Name::new("") }
    }

    fn named(mut self) -> Self {
        let mut text = String::with_capacity(96);
        text.push_str(self.meter.name());
        match &self.window {
            Window::Endless => {}
            Window::Calendar { schedule, .. } => text.push_str(&format!(":{}", schedule.duration)),
            Window::Fixed(length) => text.push_str(&format!(":{}ms", length.as_millis())),
        }
        text.push('/');
        self.scope.write_name(&mut text);
        self.name = Name::new(text);
        self
    }

    /// What an estimate asks of this limit, and the least with which it could start.
    pub fn ask(&self, estimate: &Estimate) -> Ask {
        let same = |amount: i128| Ask { likely: amount, least: amount };
        match self.meter {
            Meter::Budget => {
                let (likely, least) = (estimate.likely.pico().max(0), estimate.least.pico().max(0));
                Ask { likely: likely.max(least), least }
            }
            Meter::Requests | Meter::Parallel => same(1),
            Meter::Tokens(kind) => same(i128::from(kind.of(estimate.input_tokens, estimate.output_tokens))),
        }
    }
}

impl TokenKind {
    /// The tokens that count.
    pub fn of(self, input: u64, output: u64) -> u64 {
        match self {
            Self::Total => input.saturating_add(output),
            Self::Input => input,
            Self::Output => output,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub likely: i128,
    pub least: i128,
}

/// What a request is expected to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    /// The cost to hold if it can be had: the input, and a tight upper estimate of the output.
    pub likely: PicoUsd,
    /// The least with which the request makes sense: the input and a first slice of output. Under
    /// [`Rule::Within`] a request is admitted with whatever lies between the two.
    pub least: PicoUsd,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

impl Estimate {
    /// An estimate of a cost that is known.
    pub fn exact(cost: PicoUsd) -> Self {
        Self { likely: cost, least: cost, ..Self::default() }
    }
}

/// What a request used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actual {
    /// The whole cost, with all its attempts.
    pub cost: PicoUsd,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

/// How a limit stands; what `x-ratelimit-*` headers say.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Which limit.
    pub limit: Limit,
    /// Spent in the window, on all replicas as far as this one knows; pico-dollars or pieces.
    pub spent: i128,
    /// Held by requests in flight, likewise.
    pub held: i128,
    /// When the window ends; `None` for counters that do not start again by themselves.
    pub resets_at: Option<Timestamp>,
}

impl Standing {
    /// The limit itself; pico-dollars or pieces.
    pub fn amount(&self) -> i128 {
        self.limit.row().amount
    }

    /// What is left, never below 0.
    pub fn remaining(&self) -> i128 {
        (self.amount() - self.spent - self.held).max(0)
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The limit is used up.
    Over,
    /// The limit must not be passed, this replica has no lease left, and the store that replicas share does
    /// not answer. The limit itself may have room; try again later.
    StoreAway,
}

/// A refusal: the first limit, in the order of [`SCOPES`](super::SCOPES), that does not admit the request.
#[derive(Debug, Clone)]
pub struct Denied {
    /// The limit and how it stands.
    pub standing: Standing,
    /// What the request asked for.
    pub asked: i128,
    /// Why.
    pub cause: Cause,
    /// When it may be worth another try: the rest of the window for rates (as LiteLLM, at most the whole
    /// window), `None` for budgets and parallel requests.
    pub retry_after: Option<Duration>,
}

impl std::error::Error for Denied {}

impl fmt::Display for Denied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.standing.limit.row();
        if self.cause == Cause::StoreAway {
            let word = row.meter.word();
            return write!(
                out,
                "the shared store of limits does not answer; {word} of {} cannot be checked",
                row.scope
            );
        }
        let (scope, standing) = (&row.scope, &self.standing);
        if row.meter == Meter::Budget {
            let usd = PicoUsd::from_pico;
            write!(
                out,
                "{scope} is over its budget: spent {}, held by requests in flight {}, limit {}",
                usd(standing.spent),
                usd(standing.held),
                usd(standing.amount())
            )?;
        } else {
            write!(
                out,
                "{scope} is over its limit of {} {}: {} used, {} asked",
                standing.amount(),
                row.meter.word(),
                standing.spent + standing.held,
                self.asked
            )?;
        }
        match standing.resets_at {
            Some(time) => write!(out, "; starts again at {time}"),
            None => Ok(()),
        }
    }
}
