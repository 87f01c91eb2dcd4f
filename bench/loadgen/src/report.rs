//! What a run measured.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Counts and latencies of one run.
#[derive(Debug)]
pub struct Report {
    /// From due (open loop) or sent (closed loop) to the last byte, in microseconds; right answers only.
    latency: Histogram<u64>,
    /// The same to the first byte of the body.
    first_byte: Histogram<u64>,
    ok: u64,
    events: u64,
    failures: BTreeMap<String, u64>,
    /// Wall time of the whole run.
    pub elapsed: Duration,
    /// Most requests in flight at one time.
    pub peak_in_flight: usize,
}

impl Report {
    pub fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3);
        Ok(Self {
            latency: histogram()?,
            first_byte: histogram()?,
            ok: 0,
            events: 0,
            failures: BTreeMap::new(),
            elapsed: Duration::ZERO,
            peak_in_flight: 0,
        })
    }

    pub fn success(&mut self, first_byte: Duration, latency: Duration, events: u64) {
        self.ok += 1;
        self.events += events;
        self.first_byte.saturating_record(micros(first_byte));
        self.latency.saturating_record(micros(latency));
    }

    pub fn failure(&mut self, reason: String) {
        *self.failures.entry(reason).or_default() += 1;
    }

    /// The report as JSON; times in microseconds, rates per second.
    pub fn summary(&self) -> Value {
        let seconds = self.elapsed.as_secs_f64();
        let failed: u64 = self.failures.values().sum();
        json!({
            "ok": self.ok,
            "failed": failed,
            "failures": self.failures,
            "events": self.events,
            "seconds": seconds,
            "per_second": self.ok as f64 / seconds.max(1e-9),
            "peak_in_flight": self.peak_in_flight,
            "first_byte_p50": self.first_byte.value_at_quantile(0.5),
            "first_byte_p99": self.first_byte.value_at_quantile(0.99),
            "p50": self.latency.value_at_quantile(0.5),
            "p90": self.latency.value_at_quantile(0.9),
            "p99": self.latency.value_at_quantile(0.99),
            "p999": self.latency.value_at_quantile(0.999),
            "max": self.latency.max(),
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
