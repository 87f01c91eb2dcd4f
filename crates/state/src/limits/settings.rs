//! Time and size bounds of limits.

use std::time::Duration;

/// Bounds; the defaults suit production.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long a request may wait, before its budget refuses it, for requests in flight to use less than they
    /// hold. Zero refuses at once; so do rates and parallel requests.
    pub patience: Duration,
    /// How long a request waits for the first lease of a counter before this replica decides alone. While the
    /// store is known to be late nobody waits.
    pub cold_wait: Duration,
    /// The same for budgets that must not be passed: after it the request is refused as
    /// [`Cause::StoreAway`](super::Cause::StoreAway).
    pub strict_wait: Duration,
    /// How long a request waits for other replicas to give back leases that they do not use.
    pub recall_wait: Duration,
    /// How long a request that only holds of other replicas keep out waits to hear that some have ended. Two
    /// ticks and a round trip are enough for all replicas to have spoken.
    pub hear_wait: Duration,
    /// How long an exchange with the store may take before requests stop waiting for it: from then on the
    /// store counts as away, until an exchange is in time again.
    pub deadline: Duration,
    /// How long an exchange may take at all.
    pub timeout: Duration,
    /// How often a request that waits looks again, even if nothing is heard.
    pub retry: Duration,
    /// Pause between exchanges when nobody waits.
    pub tick: Duration,
    /// Counters kept; those idle for longest go first.
    pub capacity: usize,
    /// Time after which an unused counter is forgotten. Spend of a forgotten counter has to be on record by
    /// then, because it starts again from the record.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            patience: Duration::ZERO,
            cold_wait: Duration::from_secs(1),
            strict_wait: Duration::from_secs(5),
            recall_wait: Duration::from_millis(500),
            hear_wait: Duration::from_millis(250),
            deadline: Duration::from_millis(250),
            timeout: Duration::from_secs(5),
            retry: Duration::from_millis(25),
            tick: Duration::from_millis(100),
            capacity: 1_000_000,
            idle: Duration::from_secs(600),
        }
    }
}
