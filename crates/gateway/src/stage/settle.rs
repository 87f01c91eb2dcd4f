//! Usage → cost → receipt → metrics and log. Runs exactly once for every admitted request.

use std::sync::Arc;

use faregate_terms::{Ending, Receipt};
use tokio::sync::broadcast;

use crate::metrics::{Metrics, SeriesKey};
use crate::stage::admit::{InFlight, Meter};
use crate::stage::identify::Principal;

/// Turns what a request did into its receipt and hands that on.
pub struct Settler {
    metrics: Arc<Metrics>,
    in_flight: InFlight,
    watchers: broadcast::Sender<Arc<Receipt>>,
}

/// Receipts a slow watcher may fall behind before it misses some.
const WATCHER_LAG: usize = 1024;

/// Bytes per token in an estimate. Source: compat, behaviour §10.
const BYTES_PER_TOKEN: u64 = 4;

impl Settler {
    /// A settler that reports to `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, in_flight: InFlight::default(), watchers: broadcast::channel(WATCHER_LAG).0 }
    }

    /// Requests admitted and not yet settled.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.count()
    }

    /// Receipts as they are made, from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Receipt>> {
        self.watchers.subscribe()
    }

    /// One more request is admitted.
    pub(crate) fn enter(&self) {
        self.in_flight.enter();
        self.metrics.in_flight.inc();
    }

    /// One admitted request is over.
    pub(crate) fn settle(&self, meter: &mut Meter, principal: &Principal) {
        estimate(meter);
        let arrival = Arc::clone(&meter.arrival);
        let destination = meter.destination.clone();
        let class = meter.class;
        let receipt = meter.receipt();
        let text = |name: &str| arrival.headers.get(name).and_then(|value| value.to_str().ok());
        let key = SeriesKey {
            route: arrival.found.route,
            status: receipt.status,
            requested_model: if receipt.model_group.is_some() {
                receipt.requested_model.clone()
            } else {
                "other".to_owned()
            },
            model_group: receipt.model_group.as_ref().map(ToString::to_string),
            model: receipt.upstream_model.clone(),
            model_id: receipt.deployment.as_ref().map(ToString::to_string),
            api_provider: receipt.provider.as_ref().map(ToString::to_string),
            api_base: destination.as_ref().map(|d| d.base.clone()),
            key: principal.label(),
            class,
            client_ip: arrival.client_ip.map_or_else(|| "None".to_owned(), |ip| ip.to_string()),
            user_agent: text("user-agent").unwrap_or("None").to_owned(),
        };
        let overhead = receipt.duration.saturating_sub(receipt.upstream_time);
        self.metrics.record(key, &receipt, overhead);
        log(&receipt);
        self.in_flight.leave();
        self.metrics.in_flight.dec();
        if self.watchers.receiver_count() > 0 {
            let _ = self.watchers.send(Arc::new(receipt));
        }
    }
}

/// An answer without usage figures is counted from its length and flagged, never booked as zero.
fn estimate(meter: &mut Meter) {
    let answered = meter.destination.is_some()
        && matches!(meter.ending, Ending::Complete | Ending::Broken | Ending::ClientClosed);
    let produced = meter.output_bytes > 0;
    if !answered || !produced || meter.usage.output > 0 {
        return;
    }
    meter.usage.output = meter.output_bytes.div_ceil(BYTES_PER_TOKEN);
    if meter.usage.input == 0 {
        meter.usage.input = meter.input_bytes.div_ceil(BYTES_PER_TOKEN);
    }
    meter.usage.estimated = true;
}

/// The one `info` line per request.
fn log(receipt: &Receipt) {
    let text = |value: &Option<_>| value.as_ref().map(ToString::to_string);
    tracing::info!(
        target: "faregate::request",
        call_id = %receipt.call_id,
        route = &*receipt.route,
        model = %receipt.requested_model,
        model_group = receipt.model_group.as_ref().map(|g| g.as_str()),
        deployment = receipt.deployment.as_ref().map(|d| d.as_str()),
        provider = receipt.provider.as_ref().map(|p| p.as_str()),
        upstream_id = receipt.upstream_id.as_deref(),
        status = receipt.status,
        ending = receipt.ending.word(),
        stream = receipt.stream,
        attempts = receipt.attempts.len(),
        input_tokens = receipt.usage.input,
        output_tokens = receipt.usage.output,
        estimated = receipt.usage.estimated,
        cost_usd = text(&receipt.cost),
        duration_ms = receipt.duration.as_millis() as u64,
        ttft_ms = receipt.ttft.map(|ttft| ttft.as_millis() as u64),
        losses = (!receipt.losses.is_empty()).then(|| receipt.losses.join(",")),
        "request"
    );
}
