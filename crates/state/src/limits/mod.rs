//! Limits that hold, and never refuse wrongly: budgets, requests and tokens per minute, parallel requests.
//!
//! [`Limits::reserve`] holds an estimate in every limit of a request at once, or says which limit refuses.
//! The [`Hold`] grows while a stream goes on and becomes what was really used when it is settled. Decisions
//! are local: one replica alone counts in memory; several share a store ([`lease`]) from which [`LeaseKeeper`]
//! leases parts in the background. A counter is always what was settled plus what live requests hold.
//!
//! ```
//! # use std::sync::Arc;
//! # use faregate_state::{clock::SystemClock, limits::*};
//! # use faregate_terms::PicoUsd;
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let limits = Limits::alone(Settings::default(), Arc::new(SystemClock::new()));
//! let key = ScopeKey::of(Scope::Key, "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b");
//! // Built once, when the key is read; `strict_budgets` asks for `Rule::Within`.
//! let of_key = [
//!     Limit::budget(key.clone(), PicoUsd::parse("10")?, PicoUsd::parse("9.5")?, Window::Endless),
//!     Limit::requests(key.clone(), 60),
//!     Limit::parallel(key, 10),
//! ];
//! let estimate = Estimate::exact(PicoUsd::parse("0.25")?);
//! let mut hold = limits.reserve(&of_key, &estimate, "call-1".into()).await?;
//! hold.top_up(PicoUsd::parse("0.05")?).await?; // while a stream goes on
//! assert_eq!(hold.standings().nth(1).map(|it| it.remaining()), Some(59)); // for x-ratelimit-api_key-remaining-requests
//! hold.settle(&Actual { cost: PicoUsd::parse("0.27")?, ..Actual::default() });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod book;
mod counter;
pub mod estimate;
mod hold;
pub mod lease;
mod limit;
mod redis;
mod scope;
mod settings;
mod sync;
mod window;

use std::sync::Arc;

use faregate_terms::CallId;

pub use estimate::OutputEstimates;
pub use hold::{Abandon, Hold};
pub use limit::{
    Actual, Cause, Denied, Estimate, Limit, Meter, Name, RATE_WINDOW, Rule, Standing, TokenKind, Window,
};
pub use redis::RedisCounters;
pub use scope::{SCOPES, Scope, ScopeKey, ScopeRow};
pub use settings::Settings;
pub use sync::LeaseKeeper;
pub use window::{Anchor, BadDuration, BudgetDuration, Schedule};

use crate::clock::Clock;
use book::{Book, Purpose};

/// All counters of this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limits {
    book: Arc<Book>,
}

impl Limits {
    /// Counters of one replica that shares with nobody. Call [`Limits::sweep`] now and then.
    pub fn alone(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self { book: Arc::new(Book::new(settings, clock, false)) }
    }

    /// Counters shared with other replicas through `store`. The returned [`LeaseKeeper`] has to run.
    pub fn shared(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<dyn lease::SharedCounters>,
    ) -> (Self, LeaseKeeper) {
        let book = Arc::new(Book::new(settings, clock, true));
        (Self { book: Arc::clone(&book) }, LeaseKeeper::new(book, store))
    }

    /// Holds `estimate` in all `limits` at once, or in none. Name each subject's counter once.
    ///
    /// Returns at once if this replica can decide, which it can whenever it has a lease; [`Settings`] bounds
    /// the rest.
    ///
    /// # Errors
    /// The first limit, in the order of [`SCOPES`] and budgets first, that does not admit the request.
    pub async fn reserve(
        &self,
        limits: &[Limit],
        estimate: &Estimate,
        call: CallId,
    ) -> Result<Hold, Box<Denied>> {
        let (lines, cost) = hold::admit(&self.book, limits, estimate, Purpose::Admit).await?;
        Ok(Hold::new(Arc::clone(&self.book), call, lines, cost, *estimate))
    }

    /// Counts what was used without having been held, whatever the limits say: what a journal recovered of
    /// requests that were in flight when a replica crashed, or what it had not yet told the shared store, which
    /// is at most the last second (near a limit, the last tick).
    pub fn book(&self, limits: &[Limit], actual: &Actual) {
        self.book.book(limits, actual);
    }

    /// How a limit stands.
    pub fn standing(&self, limit: &Limit) -> Standing {
        self.book.standing(limit)
    }

    /// True while the shared store does not answer in time and this replica decides alone.
    pub fn degraded(&self) -> bool {
        self.book.is_away()
    }

    /// Counters in memory.
    pub fn counters(&self) -> usize {
        self.book.len()
    }

    /// Forgets counters that have been idle for [`Settings::idle`]. [`LeaseKeeper::run`] does so by itself.
    pub fn sweep(&self) {
        self.book.sweep(self.book.settings.idle);
    }
}
