//! When a deployment that fails must rest, and for how long.

use std::time::Duration;

use faregate_terms::{Fault, FaultClass};

use crate::ByClass;

/// Failures of a deployment that had this many requests in a minute and answered none make it rest, also if
/// it is the only one of its group. Source: compat, behaviour §9.
const BUSY: u64 = 1000;
/// With fewer requests in a minute a share of failures means nothing.
const MEANINGFUL: u64 = 5;

/// How failures are judged. Source: compat, behaviour §9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CooldownRule {
    /// False with `disable_cooldowns`.
    pub is_on: bool,
    /// How long a rest is, when neither deployment nor provider say.
    pub time: Duration,
    /// Failures that are forgiven within [`CooldownRule::time`]; `None` judges by the share of failures.
    pub allowed_fails: Option<u32>,
    /// The same by class.
    pub policy: ByClass,
}

/// What a deployment has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnRule {
    /// Its own time.
    pub time: Option<Duration>,
    /// Its own number of forgiven failures.
    pub allowed_fails: Option<u32>,
    /// The same by class.
    pub policy: ByClass,
    /// It is the only one of its group.
    pub is_single: bool,
    /// It serves every name (`*`), so that one bad name must not take it from the others.
    pub is_catch_all: bool,
}

/// How a deployment has done, this failure included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Answers in the current minute.
    pub answers: u64,
    /// Failures in the current minute.
    pub failures: u64,
    /// Failures since the last answer.
    pub in_a_row: u64,
    /// Failures within the time of a rest.
    pub recent: u64,
    /// Those of this class.
    pub recent_of_class: u64,
    /// True if this was the trial after a rest.
    pub was_trial: bool,
}

impl CooldownRule {
    /// The rest that `fault` earns, if it earns one.
    pub fn judge(&self, own: &OwnRule, fault: &Fault, tally: &Tally) -> Option<Duration> {
        let asked = own.time.or(fault.retry_after.filter(|asked| !asked.is_zero()));
        let time = asked.unwrap_or(self.time);
        if !self.is_on || own.is_catch_all || time.is_zero() {
            return None;
        }
        let named = own.policy.of(fault.class);
        let counts = named.is_some() || is_the_deployments_fault(fault.class);
        (counts && self.is_due(own, named, fault.class, tally)).then_some(time)
    }

    /// The time over which failures are counted.
    pub fn memory(&self, own: &OwnRule) -> Duration {
        own.time.filter(|time| !time.is_zero()).unwrap_or(self.time)
    }

    fn is_due(&self, own: &OwnRule, named: Option<u32>, class: FaultClass, tally: &Tally) -> bool {
        let has_rule = self.allowed_fails.is_some() || !self.policy.is_empty();
        if own.is_single && class == FaultClass::PaymentRequired {
            let allowed = named.or(self.policy.of(class));
            return allowed.is_some_and(|allowed| tally.recent_of_class > u64::from(allowed));
        }
        if let Some(allowed) = named {
            return tally.recent_of_class > u64::from(allowed);
        }
        if let Some(allowed) = own.allowed_fails {
            return !own.is_single && tally.recent > u64::from(allowed);
        }
        if has_rule {
            let allowed = self.policy.of(class).or(self.allowed_fails).unwrap_or(DEFAULT_ALLOWED);
            return tally.recent > u64::from(allowed);
        }
        self.is_share_too_large(own, class, tally)
    }

    fn is_share_too_large(&self, own: &OwnRule, class: FaultClass, tally: &Tally) -> bool {
        let all = tally.answers + tally.failures;
        let others = !own.is_single;
        let is_lasting =
            matches!(class, FaultClass::Authentication | FaultClass::PaymentRequired | FaultClass::NotFound);
        is_lasting
            || (others && (class == FaultClass::RateLimit || tally.was_trial))
            || (others && all >= MEANINGFUL && tally.failures * 2 > all)
            // What answered a thousand requests before it died would go on for a thousand failures.
            || (others && tally.in_a_row >= MEANINGFUL)
            || (all >= BUSY && tally.answers == 0)
    }
}

/// Forgiven failures where only some classes have a number. Source: compat, config, `allowed_fails`.
const DEFAULT_ALLOWED: u32 = 3;

/// True for failures that say something of the deployment and not of the request.
pub fn is_the_deployments_fault(class: FaultClass) -> bool {
    match class.status() {
        401 | 402 | 404 | 408 | 429 => true,
        status => !(400..500).contains(&status),
    }
}
