//! Metrics of routing: deployments' states, cooldowns and fallbacks. Source: compat, metrics §3.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use faregate_terms::{DeploymentId, ModelGroup, PicoUsd};

use super::{Labels, Metrics, SeriesKey, labels};
use crate::destination::Destination;
use crate::health::{Kinship, Vitals};

/// What tells deployments apart in metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentLabels {
    /// Its id.
    pub id: DeploymentId,
    model: String,
    base: String,
    provider: &'static str,
}

impl DeploymentLabels {
    /// Of a deployment that is called.
    pub fn of(destination: &Destination) -> Self {
        Self {
            id: destination.deployment.clone(),
            model: destination.model.clone(),
            base: destination.base.clone(),
            provider: destination.provider.name,
        }
    }

    fn pairs(&self) -> Labels {
        vec![
            ("litellm_model_name", self.model.clone()),
            ("model_id", self.id.to_string()),
            ("api_base", self.base.clone()),
            ("api_provider", self.provider.to_owned()),
        ]
    }
}

/// How far a deployment is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// It answers.
    None = 0,
    /// Its last call failed.
    Partial = 1,
    /// It rests.
    Complete = 2,
}

/// What came of a fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Answered,
    /// It failed as well.
    Failed,
}

const FALLBACK_LABELS: &[&str] = &[
    "requested_model",
    "hashed_api_key",
    "api_key_alias",
    "team",
    "team_alias",
    "exception_status",
    "exception_class",
    "model_id",
];

/// The families of this file.
#[derive(Default)]
pub(super) struct Families {
    state: Family<Labels, Gauge<i64, AtomicI64>>,
    cooled_down: Family<Labels, Counter>,
    fell_back: Family<Labels, Counter>,
    fell: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
    retries_refused: Family<Labels, Counter>,
    hedges: Family<Labels, Counter>,
    continued: Family<Labels, Counter>,
    copies: Family<Labels, Counter>,
    kept: Family<Labels, Counter>,
    saved: Family<Labels, Counter<f64, AtomicU64>>,
    provider_budget: Family<Labels, Gauge<f64, AtomicU64>>,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let families = Self::default();
        registry.register(
            "litellm_deployment_state",
            "0 healthy, 1 partial outage, 2 complete outage",
            families.state.clone(),
        );
        let counters = [
            ("litellm_deployment_cooled_down", "Cooldowns entered", &families.cooled_down),
            ("litellm_deployment_successful_fallbacks", "Fallbacks that answered", &families.fell_back),
            ("litellm_deployment_failed_fallbacks", "Fallbacks that failed", &families.fell),
            ("faregate_retries", "Calls made after the first within a group", &families.retries),
            ("faregate_affinity", "Requests that went where others of their kind had been", &families.kept),
            ("faregate_hedges", "Second calls beside slow ones, by which of them answered", &families.hedges),
            (
                "faregate_continuations",
                "Broken streams, by whether another call went on",
                &families.continued,
            ),
            ("faregate_copies", "Copies of requests to other groups, by what came of them", &families.copies),
            ("faregate_retries_refused", "Retries the group's budget refused", &families.retries_refused),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "faregate_affinity_saved_usd",
            "US dollars that prompt caches saved on such requests",
            families.saved.clone(),
        );
        registry.register(
            "litellm_provider_remaining_budget_metric",
            "US dollars left of a provider's budget",
            families.provider_budget.clone(),
        );
        families
    }
}

impl Metrics {
    /// Shows a deployment's state, if it is not what was shown last.
    pub fn outage(&self, vitals: &Vitals, labels: &DeploymentLabels, outage: Outage) {
        let now = outage as i8;
        if vitals.shown.0.load(Ordering::Relaxed) != now && vitals.shown.0.swap(now, Ordering::Relaxed) != now
        {
            self.routing.state.get_or_create(&labels.pairs()).set(i64::from(now));
        }
    }

    /// A deployment begins to rest.
    pub fn cooled_down(&self, labels: &DeploymentLabels, status: u16) {
        let mut pairs = labels.pairs();
        pairs.push(("exception_status", status.to_string()));
        self.routing.cooled_down.get_or_create(&pairs).inc();
    }

    /// A request of `group` went where another of its kind had been; what the prompt cache there saved, if known.
    pub fn kept(&self, group: &ModelGroup, kinship: Kinship, saved: Option<PicoUsd>) {
        let pairs = vec![("model_group", group.to_string()), ("check", kinship.word().to_owned())];
        if let Some(saved) = saved {
            self.routing.saved.get_or_create(&pairs).inc_by(saved.to_f64().max(0.0));
        }
        self.routing.kept.get_or_create(&pairs).inc();
    }

    /// A second call was made beside a slow one of `group`; `won` if it answered first.
    pub fn hedged(&self, group: &ModelGroup, won: bool) {
        let outcome = if won { "won" } else { "lost" };
        let pairs = vec![("model_group", group.to_string()), ("outcome", outcome.to_owned())];
        self.routing.hedges.get_or_create(&pairs).inc();
    }

    /// A stream of `group` broke off; `went_on` if another call continued it.
    pub fn continued(&self, group: &str, went_on: bool) {
        let outcome = if went_on { "continued" } else { "failed" };
        let pairs = vec![("model_group", group.to_owned()), ("outcome", outcome.to_owned())];
        self.routing.continued.get_or_create(&pairs).inc();
    }

    /// A copy of a request was to go to `group`.
    pub fn copied(&self, group: &str, outcome: &'static str) {
        let pairs = vec![("model_group", group.to_owned()), ("outcome", outcome.to_owned())];
        self.routing.copies.get_or_create(&pairs).inc();
    }

    /// A group was asked for one more call of a request that has made one.
    pub fn retried(&self, group: &ModelGroup, granted: bool) {
        let family = if granted { &self.routing.retries } else { &self.routing.retries_refused };
        family.get_or_create(&vec![("model_group", group.to_string())]).inc();
    }

    /// What is left of a provider's budget.
    pub fn provider_budget(&self, provider: &str, left: PicoUsd) {
        let pairs = vec![("api_provider", provider.to_owned())];
        self.routing.provider_budget.get_or_create(&pairs).set(left.to_f64());
    }

    /// A request has tried another group. `key` tells of the request and why its own group failed.
    pub fn fell_back(&self, key: &SeriesKey, to: &str, outcome: Outcome) {
        let mut pairs = labels(FALLBACK_LABELS, key);
        pairs.insert(1, ("fallback_model", to.to_owned()));
        let family = match outcome {
            Outcome::Answered => &self.routing.fell_back,
            Outcome::Failed => &self.routing.fell,
        };
        family.get_or_create(&pairs).inc();
    }
}
