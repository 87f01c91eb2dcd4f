//! What to do about a failed attempt.

use std::time::Duration;

use faregate_terms::{Fault, FaultClass};

use crate::ByClass;

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try the group again after this wait: its next deployment, or the same if it is the only one.
    Retry(Duration),
    /// The group has had its chance: try its fallbacks, or tell the client.
    GiveUp,
}

/// How failed attempts on one group are judged. Source: compat, behaviour §9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryRule {
    /// Deployments the request may try.
    pub siblings: usize,
    /// Attempts after the first.
    pub retries: u32,
    /// Attempts after the first by class; where it has a number, that decides alone.
    pub policy: ByClass,
    /// Shortest wait before a retry of the only deployment.
    pub retry_after: Duration,
}

/// Where a group stands after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Retries made.
    pub retried: u32,
    /// True if a deployment is left that does not rest.
    pub is_anybody_well: bool,
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
const LONGEST_PROVIDER_WAIT: Duration = Duration::from_secs(60);
const MOST_JITTER: Duration = Duration::from_millis(750);

impl RetryRule {
    /// Judges a failure. `jitter` is a number in `0.0..1.0`.
    pub fn judge(&self, fault: &Fault, standing: Standing, jitter: f64) -> Verdict {
        let most = match self.policy.of(fault.class) {
            Some(most) => most,
            None if self.is_worthwhile(fault.class) && standing.is_anybody_well => self.retries,
            None => 0,
        };
        if standing.retried >= most {
            return Verdict::GiveUp;
        }
        if self.siblings > 1 && standing.is_anybody_well {
            return Verdict::Retry(Duration::ZERO);
        }
        let wait = match fault.retry_after {
            Some(asked) if !asked.is_zero() && asked <= LONGEST_PROVIDER_WAIT => asked,
            _ => {
                let doubled = FIRST_WAIT.saturating_mul(1 << standing.retried.min(8)).min(LONGEST_WAIT);
                doubled.max(self.retry_after) + MOST_JITTER.mul_f64(jitter.clamp(0.0, 1.0))
            }
        };
        Verdict::Retry(wait)
    }

    /// True if a failure of this class may not befall the next call.
    pub fn is_worthwhile(&self, class: FaultClass) -> bool {
        match class {
            FaultClass::Timeout
            | FaultClass::RateLimit
            | FaultClass::Internal
            | FaultClass::Connection
            | FaultClass::BadGateway
            | FaultClass::Unavailable => true,
            FaultClass::Authentication | FaultClass::PermissionDenied => self.siblings > 1,
            FaultClass::Other(status) => status == 409 || status >= 500,
            FaultClass::BadRequest
            | FaultClass::UnsupportedParams
            | FaultClass::ContextWindow
            | FaultClass::ContentPolicy
            | FaultClass::PaymentRequired
            | FaultClass::NotFound
            | FaultClass::Unprocessable => false,
        }
    }
}

/// True if a deployment that failed so will refuse the same request again.
pub fn is_refusal(class: FaultClass) -> bool {
    matches!(class.status(), 400..=407 | 410..=428 | 430..=499)
}
