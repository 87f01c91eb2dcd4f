//! Keeps a server that fails from costing every caller its deadline.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures in a row after which calls fail at once for a while.
const BREAK_AFTER: u32 = 3;
/// How long; then one call tries again.
pub const BREAK_FOR: Duration = Duration::from_secs(1);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    failures: u32,
    open_until: Option<Instant>,
}

/// One call under way; counts as failed unless it was answered, also when the caller gives up on it.
#[derive(Debug)]
pub struct Trial<'a>(Option<&'a Breaker>);

impl Breaker {
    /// Leave for one call; `None` if the server failed a moment ago.
    pub fn admit(&self) -> Option<Trial<'_>> {
        let mut standing = self.0.lock();
        match standing.open_until {
            Some(until) if Instant::now() < until => return None,
            // One call tries; the others go on failing until it is back.
            Some(_) => standing.open_until = Some(Instant::now() + BREAK_FOR),
            None => {}
        }
        Some(Trial(Some(self)))
    }

    /// True while the last calls failed.
    pub fn is_open(&self) -> bool {
        self.0.lock().open_until.is_some()
    }
}

impl Trial<'_> {
    /// The server is there, whatever it said.
    pub fn answered(mut self) {
        if let Some(breaker) = self.0.take() {
            *breaker.0.lock() = Standing::default();
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let Some(breaker) = self.0.take() else { return };
        let mut standing = breaker.0.lock();
        standing.failures = standing.failures.saturating_add(1);
        if standing.failures >= BREAK_AFTER {
            standing.open_until = Some(Instant::now() + BREAK_FOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_three_failures_one_call_a_second_tries_until_one_is_answered() {
        let breaker = Breaker::default();
        for _ in 0..BREAK_AFTER {
            drop(breaker.admit().unwrap());
        }
        assert!(breaker.is_open() && breaker.admit().is_none());
        tokio::time::advance(BREAK_FOR).await;
        let trial = breaker.admit().unwrap();
        assert!(breaker.admit().is_none(), "one tries");
        trial.answered();
        assert!(!breaker.is_open());
        for _ in 0..BREAK_AFTER - 1 {
            drop(breaker.admit().unwrap());
        }
        assert!(!breaker.is_open(), "only failures in a row count");
    }
}
