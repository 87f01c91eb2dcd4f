//! What an admitted request holds until it is settled.

use std::fmt;
use std::sync::Arc;

use faregate_terms::{CallId, PicoUsd};

use super::book::{Book, Lines, Outcome, Purpose};
use super::limit::{Actual, Denied, Estimate, Limit, Standing};

/// What happens to a hold that is dropped without being settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Abandon {
    /// Nothing was spent: the hold is released.
    #[default]
    Release,
    /// The request reached a provider: what is held counts as spent.
    Book,
}

/// What one admitted request holds in every limit that applies to it.
///
/// Ends exactly once: by [`Hold::settle`], or when dropped, as [`Hold::on_drop`] says. Both are quick, never
/// fail and may run in a `Drop`.
pub struct Hold {
    book: Arc<Book>,
    call: CallId,
    lines: Lines,
    cost: i128,
    estimate: Estimate,
    abandon: Abandon,
    open: bool,
}

impl Hold {
    pub(super) fn new(book: Arc<Book>, call: CallId, lines: Lines, cost: i128, estimate: Estimate) -> Self {
        Self { book, call, lines, cost, estimate, abandon: Abandon::Release, open: true }
    }

    /// The request.
    pub fn call(&self) -> &CallId {
        &self.call
    }

    /// The cost that is held in every budget. Under strict budgets the request must not cost more; it is at
    /// least the estimate's `least` and may be below its `likely`.
    pub fn cost(&self) -> PicoUsd {
        PicoUsd::from_pico(self.cost)
    }

    /// The limits, in the order they were given.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.lines.iter().map(|line| &line.limit)
    }

    /// How the limits stand now, for headers.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.book.standings(&self.lines)
    }

    /// How much more this request could hold now without passing a strict budget; `None` if none applies.
    /// Others may take it first: what a request is promised it has to hold, see [`Hold::raise`].
    pub fn affordable(&self) -> Option<PicoUsd> {
        self.book.affordable(&self.lines).map(PicoUsd::from_pico)
    }

    /// Holds up to `more` in addition, as far as every strict budget allows it with what this replica has;
    /// returns by how much the hold grew.
    pub fn raise(&mut self, more: PicoUsd) -> PicoUsd {
        let grown = self.book.raise(&self.lines, more.pico(), false);
        self.cost += grown;
        PicoUsd::from_pico(grown)
    }

    /// Holds `more` in addition, all or nothing. Only strict budgets can refuse. Local and at once while this
    /// replica has a lease; else it asks the shared store first, within the bounds of
    /// [`Settings`](super::Settings). After a refusal [`Hold::raise`] takes what is left.
    ///
    /// # Errors
    /// The strict budget that cannot pay it.
    pub async fn top_up(&mut self, more: PicoUsd) -> Result<(), Box<Denied>> {
        let grown = self.book.raise(&self.lines, more.pico(), true);
        if grown >= more.pico() {
            self.cost += grown;
            return Ok(());
        }
        let limits: Vec<Limit> = self.limits().cloned().collect();
        let estimate = Estimate::exact(more);
        let (_, grown) = admit(&self.book, &limits, &estimate, Purpose::Grow).await?;
        self.cost += grown;
        Ok(())
    }

    /// What to do if this hold is dropped without being settled.
    pub fn on_drop(&mut self, abandon: Abandon) {
        self.abandon = abandon;
    }

    /// Replaces the hold by what the request used.
    pub fn settle(mut self, actual: &Actual) {
        self.end(Some(actual));
    }

    fn end(&mut self, actual: Option<&Actual>) {
        if std::mem::take(&mut self.open) {
            self.book.settle(&self.lines, self.cost, actual);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let booked = Actual {
            cost: self.cost(),
            input_tokens: self.estimate.input_tokens,
            output_tokens: self.estimate.output_tokens,
        };
        let booked = (self.abandon == Abandon::Book).then_some(booked);
        self.end(booked.as_ref());
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Hold").field("call", &self.call).field("cost", &self.cost()).finish_non_exhaustive()
    }
}

/// Tries until the answer is final.
pub(super) async fn admit(
    book: &Book,
    limits: &[Limit],
    estimate: &Estimate,
    purpose: Purpose,
) -> Result<(Lines, i128), Box<Denied>> {
    let mut waits = book.waits();
    let mut wake: Option<Arc<tokio::sync::Notify>> = None;
    loop {
        // Registered before the try, so that a signal between the try and the wait is not lost.
        let waited = wake.clone();
        let mut signal = waited.as_ref().map(|wake| Box::pin(wake.notified()));
        if let Some(signal) = &mut signal {
            signal.as_mut().enable();
        }
        match book.attempt(limits, estimate, purpose, &mut waits) {
            Outcome::Held(lines, cost) => return Ok((lines, cost)),
            Outcome::Denied(denied) => return Err(denied),
            Outcome::Wait(next) => {
                let known = waited.as_ref().is_some_and(|wake| Arc::ptr_eq(wake, &next));
                wake = Some(next);
                if let Some(signal) = signal.filter(|_| known) {
                    // The pause bounds the wait of those whose signal went to another.
                    let _ = tokio::time::timeout(book.settings.retry, signal).await;
                }
            }
        }
    }
}
