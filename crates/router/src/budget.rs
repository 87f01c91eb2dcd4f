//! Retries as a bounded part of requests, so that a failing provider is never hit by a storm.
//!
//! Counts requests and retries of one model group over a sliding window, in the style of Finagle's and Envoy's
//! retry budgets. Beyond the bound only a change to a deployment that has proved itself is let through: it ends
//! a failure instead of adding to it. Long before that the group is *pressed*, and plans begin with the proven
//! ones, so that fewer requests need a retry at all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::window::Window;

/// How many retries a group may make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetRule {
    /// Retries for each request.
    pub ratio: f64,
    /// Retries per second that are always allowed, so that light traffic can retry.
    pub least_per_second: f64,
}

impl Default for BudgetRule {
    fn default() -> Self {
        Self { ratio: 0.25, least_per_second: 3.0 }
    }
}

/// Of a second each: ten seconds are compared. Source: Finagle, `RetryBudget`, default `ttl`.
type Lately = Window<1>;
const REQUESTS: usize = 0;
const RETRIES: usize = 1;
/// How long a group stays pressed after the retry that made it so.
const PRESSED_FOR: Duration = Duration::from_secs(1);

impl BudgetRule {
    /// Retries that so many requests within the window allow.
    fn allowed(&self, requests: u64) -> f64 {
        self.ratio.max(0.0) * requests as f64 + self.least_per_second.max(0.0) * Lately::SECONDS as f64
    }
}

/// The requests and retries of one group lately.
#[derive(Debug, Default)]
pub struct RetryBudget {
    lately: Lately,
    /// Milliseconds of the caller's clock.
    pressed_until: AtomicU64,
}

impl RetryBudget {
    /// A request begins. `now` is a steady clock's.
    pub fn request(&self, now: Duration) {
        self.lately.add(now, REQUESTS, 1);
    }

    /// True while retries are half of what is allowed or more: those that have proved themselves go first.
    pub fn is_pressed(&self, now: Duration) -> bool {
        millis(now) < self.pressed_until.load(Ordering::Relaxed)
    }

    /// Asks for one more call; counts it if it may be made. `is_change` is true if it goes to a deployment that
    /// the request has not called and that answers: such a call may always be made.
    ///
    /// Threads that ask at the same instant may pass the bound by one each.
    pub fn retry(&self, rule: &BudgetRule, now: Duration, is_change: bool) -> bool {
        let [requests, retries] = self.lately.sums(now);
        let allowed = rule.allowed(requests);
        let made = retries as f64 + 1.0;
        if made * 2.0 >= allowed {
            self.pressed_until.fetch_max(millis(now + PRESSED_FOR), Ordering::Relaxed);
        }
        let granted = made <= allowed || is_change;
        if granted {
            self.lately.add(now, RETRIES, 1);
        }
        granted
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BudgetRule = BudgetRule { ratio: 0.2, least_per_second: 1.0 };

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Retries granted of so many asked for.
    fn granted(budget: &RetryBudget, asked: usize, now: f64) -> usize {
        (0..asked).filter(|_| budget.retry(&RULE, at(now), false)).count()
    }

    #[test]
    fn light_traffic_may_retry_and_heavy_traffic_by_its_part() {
        let budget = RetryBudget::default();
        assert_eq!(granted(&budget, 50, 0.5), 10, "one per second of the window");
        (0..100).for_each(|_| budget.request(at(1.5)));
        assert_eq!(granted(&budget, 50, 1.5), 20, "a fifth of the requests");
        assert_eq!(granted(&budget, 50, 9.9), 0, "all of it within the window");
        assert_eq!(granted(&budget, 50, 10.5), 10, "the first ones are forgotten");
        assert_eq!(granted(&budget, 50, 11.5), 0, "their requests are forgotten as well");
    }

    #[test]
    fn a_change_to_one_that_answers_is_never_refused_and_counts() {
        let budget = RetryBudget::default();
        assert!((0..40).all(|_| budget.retry(&RULE, at(3.0), true)));
        assert!(!budget.retry(&RULE, at(3.0), false));
    }

    #[test]
    fn half_of_what_is_allowed_presses_for_a_second() {
        let budget = RetryBudget::default();
        granted(&budget, 4, 0.0);
        assert!(!budget.is_pressed(at(0.0)));
        granted(&budget, 1, 0.2);
        assert!(budget.is_pressed(at(0.2)) && budget.is_pressed(at(1.1)) && !budget.is_pressed(at(1.3)));
    }

    #[test]
    fn a_clock_that_has_run_for_long_changes_nothing() {
        let budget = RetryBudget::default();
        (0..10).for_each(|_| budget.request(at(1e9)));
        assert_eq!(granted(&budget, 50, 1e9), 12);
    }
}
