//! Prometheus metrics by LiteLLM's names, and a few of our own.
//!
//! A finished request costs one look-up: all its series hang on one [`Handles`], found by the request's
//! labels. The number of such label sets is bounded; beyond it what only clients decide becomes `other`.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::RwLock;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use faregate_journal::Health;
use faregate_terms::{Ending, PicoUsd, Receipt};

mod declared;
mod routing;
mod series;

use declared::{COUNTERS, HISTOGRAMS, SPEND, When};
pub use routing::{DeploymentLabels, Outage, Outcome};
use series::labels;
pub use series::{SeriesKey, Who};

type Labels = Vec<(&'static str, String)>;
type Spend = Counter<f64, AtomicU64>;
type Histograms = Family<Labels, Histogram, MakeHistogram>;

/// LiteLLM's default buckets, seconds. Source: compat, metrics §2.3.
pub const DEFAULT_BUCKETS: [f64; 17] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 420.0, 600.0];

/// Buckets of Prometheus' own client libraries, which LiteLLM uses for the latency per token.
const LIBRARY_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Label sets kept apart before `other` begins.
const MOST_LABEL_SETS: usize = 4096;

#[derive(Clone)]
struct MakeHistogram(Arc<[f64]>);

impl prometheus_client::metrics::family::MetricConstructor<Histogram> for MakeHistogram {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// All metrics of the gateway.
pub struct Metrics {
    registry: Registry,
    counters: Vec<Family<Labels, Counter>>,
    spend: Family<Labels, Spend>,
    histograms: Vec<Histograms>,
    /// Requests being served.
    pub in_flight: Gauge<i64, AtomicI64>,
    /// Streams that ended because the client left.
    pub client_closed: Counter,
    /// Calls to the response cache that failed or took too long.
    pub cache_failures: Counter,
    /// Tasks alive, as of the last exposition.
    tasks: Gauge<i64, AtomicI64>,
    /// The journal, as of the last exposition.
    ledger: Ledger,
    /// Whose tasks are counted.
    runtimes: RwLock<Vec<Handle>>,
    handles: RwLock<HashMap<SeriesKey, Arc<Handles>, RandomState>>,
    /// Counters of failed calls.
    failed_calls: RwLock<HashMap<SeriesKey, Vec<Counter>, RandomState>>,
    /// Cooldowns and fallbacks.
    routing: routing::Families,
}

/// How far receipts are on their way to the database.
#[derive(Default)]
struct Ledger {
    queued: Gauge<i64, AtomicI64>,
    waiting: Gauge<i64, AtomicI64>,
    lag: Gauge<f64, AtomicU64>,
    degraded: Gauge<i64, AtomicI64>,
    lost: Gauge<i64, AtomicI64>,
}

impl Ledger {
    fn register(registry: &mut Registry) -> Self {
        let ledger = Self::default();
        let whole = [
            ("faregate_journal_queued", "Entries waiting to be written to the journal", &ledger.queued),
            ("faregate_journal_receipts", "Receipts in the journal and not in the database", &ledger.waiting),
            ("faregate_journal_degraded", "1 while the journal cannot be written", &ledger.degraded),
            ("faregate_journal_lost", "Receipts that could be kept nowhere", &ledger.lost),
        ];
        for (name, help, gauge) in whole {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "faregate_journal_lag_seconds",
            "Age of the oldest receipt that is not in the database",
            ledger.lag.clone(),
        );
        ledger
    }
}

/// The series of one label set, resolved.
struct Handles {
    counters: Vec<Option<Counter>>,
    spend: Option<Spend>,
    histograms: Vec<Option<Histogram>>,
}

impl Metrics {
    /// All families, empty. `buckets` are upper bounds in seconds.
    pub fn new(buckets: &[f64]) -> Self {
        let mut registry = Registry::default();
        let counters = COUNTERS
            .iter()
            .map(|declared| {
                let family = Family::<Labels, Counter>::default();
                registry.register(declared.name, declared.help, family.clone());
                family
            })
            .collect();
        let spend = Family::<Labels, Spend>::default();
        registry.register(SPEND.name, SPEND.help, spend.clone());
        let histograms = HISTOGRAMS
            .iter()
            .map(|declared| {
                let bounds: Arc<[f64]> = if declared.name.ends_with("per_output_token") {
                    LIBRARY_BUCKETS.into()
                } else {
                    buckets.into()
                };
                let family = Histograms::new_with_constructor(MakeHistogram(bounds));
                registry.register(declared.name, declared.help, family.clone());
                family
            })
            .collect();
        let in_flight = Gauge::<i64, AtomicI64>::default();
        registry.register("litellm_in_flight_requests", "Requests being served", in_flight.clone());
        let tasks = Gauge::<i64, AtomicI64>::default();
        registry.register(
            "faregate_tasks",
            "Tasks alive: connections of clients and to providers",
            tasks.clone(),
        );
        let ledger = Ledger::register(&mut registry);
        let routing = routing::Families::register(&mut registry);
        let client_closed = Counter::default();
        registry.register(
            "faregate_client_closed",
            "Streams that ended because the client left",
            client_closed.clone(),
        );
        let cache_failures = Counter::default();
        registry.register(
            "faregate_cache_failures",
            "Calls to the response cache that failed or took too long; the requests went on without it",
            cache_failures.clone(),
        );
        Self {
            registry,
            counters,
            spend,
            histograms,
            in_flight,
            client_closed,
            cache_failures,
            tasks,
            ledger,
            runtimes: RwLock::default(),
            handles: RwLock::default(),
            failed_calls: RwLock::default(),
            routing,
        }
    }

    /// Notes how the journal is, for the next exposition.
    pub fn observe(&self, journal: &Health) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.ledger.queued.set(whole(journal.queued as u64));
        self.ledger.waiting.set(whole(journal.unacknowledged));
        self.ledger.lag.set(journal.lag.map_or(0.0, |lag| lag.as_secs_f64()));
        self.ledger.degraded.set(i64::from(journal.degraded.is_some()));
        self.ledger.lost.set(whole(journal.lost));
    }

    /// Counts a call to a provider that failed.
    pub fn call_failed(&self, mut key: SeriesKey) {
        if let Some(found) = self.failed_calls.read().get(&key) {
            for counter in found {
                counter.inc();
            }
            return;
        }
        if self.failed_calls.read().len() >= MOST_LABEL_SETS {
            key.forget_the_client();
        }
        let families = COUNTERS.iter().zip(&self.counters);
        let counted =
            families.filter(|(declared, _)| matches!(declared.when, When::Called | When::CallFailed));
        let made: Vec<Counter> = counted
            .map(|(declared, family)| family.get_or_create(&labels(declared.labels, &key)).clone())
            .collect();
        for counter in &made {
            counter.inc();
        }
        self.failed_calls.write().insert(key, made);
    }

    /// Counts a finished request.
    pub fn record(&self, key: SeriesKey, receipt: &Receipt, overhead: Duration) {
        let handles = self.handles(key);
        let usage = &receipt.usage;
        let amounts = [
            1,
            1,
            // Calls that failed have been counted as they did.
            receipt.attempts.iter().filter(|attempt| attempt.fault.is_none()).count() as u64,
            1,
            0,
            usage.total(),
            usage.input,
            usage.output,
            usage.cache_read,
            usage.cache_write(),
            usage.reasoning,
            1,
            1,
            usage.total(),
        ];
        for (counter, amount) in handles.counters.iter().zip(amounts) {
            if let (Some(counter), true) = (counter, amount > 0) {
                counter.inc_by(amount);
            }
        }
        let cost = receipt.cost.unwrap_or(PicoUsd::ZERO);
        if let (Some(spend), true) = (&handles.spend, cost > PicoUsd::ZERO) {
            spend.inc_by(cost.to_f64());
        }
        let per_token = (usage.output > 0).then(|| receipt.upstream_time.as_secs_f64() / usage.output as f64);
        let observations = [
            Some(receipt.duration.as_secs_f64()),
            Some(receipt.upstream_time.as_secs_f64()),
            receipt.ttft.map(|ttft| ttft.as_secs_f64()),
            Some(overhead.as_secs_f64()),
            per_token,
        ];
        for (histogram, observation) in handles.histograms.iter().zip(observations) {
            if let (Some(histogram), Some(seconds)) = (histogram, observation) {
                histogram.observe(seconds);
            }
        }
        if receipt.ending == Ending::ClientClosed {
            self.client_closed.inc();
        }
    }

    /// Counts the tasks of this runtime in, from now on.
    pub fn count_tasks_of(&self, runtime: Handle) {
        self.runtimes.write().push(runtime);
    }

    /// The exposition in OpenMetrics text.
    pub fn render(&self) -> String {
        let alive =
            self.runtimes.read().iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum::<usize>();
        self.tasks.set(i64::try_from(alive).unwrap_or(i64::MAX));
        let mut out = String::new();
        if encode(&mut out, &self.registry).is_err() {
            let _ = writeln!(out, "# EOF");
        }
        out
    }

    fn handles(&self, mut key: SeriesKey) -> Arc<Handles> {
        if let Some(found) = self.handles.read().get(&key) {
            return Arc::clone(found);
        }
        if self.handles.read().len() >= MOST_LABEL_SETS {
            key.forget_the_client();
        }
        let made = Arc::new(self.resolve(&key));
        Arc::clone(self.handles.write().entry(key).or_insert(made))
    }

    fn resolve(&self, key: &SeriesKey) -> Handles {
        let failed = key.status >= 400;
        let called = key.model_id.is_some() && key.cache_hit != Some(true);
        let counts = |when: When| match when {
            When::Always => true,
            When::Failed => failed,
            When::Called => called,
            When::Answered => called && !failed,
            When::CallFailed => false,
            When::CacheHit => key.cache_hit == Some(true) && !failed,
            When::CacheMiss => key.cache_hit == Some(false) && called && !failed,
        };
        let counters = COUNTERS.iter().zip(&self.counters).map(|(declared, family)| {
            counts(declared.when).then(|| family.get_or_create(&labels(declared.labels, key)).clone())
        });
        let histograms = HISTOGRAMS.iter().zip(&self.histograms).map(|(declared, family)| {
            counts(declared.when).then(|| family.get_or_create(&labels(declared.labels, key)).clone())
        });
        Handles {
            counters: counters.collect(),
            spend: counts(SPEND.when).then(|| self.spend.get_or_create(&labels(SPEND.labels, key)).clone()),
            histograms: histograms.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(deployment: &str, status: u16) -> SeriesKey {
        SeriesKey {
            route: "/v1/chat/completions".into(),
            status,
            requested_model: "m".into(),
            model_group: Some("m".into()),
            model: Some("gpt".into()),
            model_id: Some(deployment.into()),
            api_provider: Some("openai".into()),
            api_base: None,
            who: Who::Named("None"),
            class: Some("RateLimitError"),
            cache_hit: None,
            client_ip: "None".into(),
            user_agent: "None".into(),
        }
    }

    #[test]
    fn a_failed_call_is_booked_on_the_deployment_that_failed() {
        let metrics = Metrics::new(&DEFAULT_BUCKETS);
        metrics.call_failed(key("first", 429));
        metrics.call_failed(key("first", 429));
        metrics.call_failed(key("second", 500));
        let text = metrics.render();
        let value = |name: &str, deployment: &str| -> Vec<&str> {
            let mark = format!("model_id=\"{deployment}\"");
            let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(&mark));
            lines.filter_map(|line| line.rsplit(' ').next()).collect()
        };
        for name in ["litellm_deployment_failure_responses_total", "litellm_deployment_total_requests_total"]
        {
            assert_eq!(value(name, "first"), ["2"], "{name}\n{text}");
            assert_eq!(value(name, "second"), ["1"], "{name}\n{text}");
        }
        assert!(value("litellm_deployment_success_responses_total", "first").is_empty());
    }
}
