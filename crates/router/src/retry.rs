//! What to do about a failed attempt.

use std::time::Duration;

use faregate_terms::{Fault, FaultClass};

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Make the next attempt of the plan after this wait.
    Retry(Duration),
    /// Tell the client.
    Stop,
}

/// How failed attempts are judged. Source: compat, behaviour §9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Deployments in the group.
    pub siblings: usize,
    /// Shortest wait before a retry of the only deployment.
    pub retry_after: Duration,
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
const LONGEST_PROVIDER_WAIT: Duration = Duration::from_secs(60);

impl RetryRule {
    /// Judges the failure of attempt number `attempt` (from 0). `jitter` is a number in `0.0..1.0`.
    pub fn judge(&self, fault: &Fault, attempt: u32, jitter: f64) -> Verdict {
        if !self.worth_retrying(fault.class) {
            return Verdict::Stop;
        }
        if self.siblings > 1 {
            return Verdict::Retry(Duration::ZERO);
        }
        let wait = match fault.retry_after {
            Some(asked) if !asked.is_zero() && asked <= LONGEST_PROVIDER_WAIT => asked,
            _ => {
                let doubled = FIRST_WAIT.saturating_mul(1 << attempt.min(8)).min(LONGEST_WAIT);
                doubled.max(self.retry_after) + FIRST_WAIT.mul_f64(1.5 * jitter.clamp(0.0, 1.0))
            }
        };
        Verdict::Retry(wait)
    }

    fn worth_retrying(&self, class: FaultClass) -> bool {
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
