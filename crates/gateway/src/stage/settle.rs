//! Usage → cost → receipt → metrics and log. Runs exactly once for every admitted request.

use std::sync::Arc;

use faregate_terms::{Ending, FaultClass, Receipt};
use http::header::USER_AGENT;
use tokio::sync::broadcast;

use crate::destination::Destination;
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

    /// A call to a provider failed; another may yet answer the request.
    pub(crate) fn call_failed(
        &self,
        meter: &Meter,
        principal: &Principal,
        destination: &Destination,
        class: FaultClass,
    ) {
        let key = series(meter, principal, Some(destination), class.status(), Some(class.name()));
        self.metrics.call_failed(key);
    }

    /// One admitted request is over.
    pub(crate) fn settle(&self, meter: &mut Meter, principal: &Principal) {
        estimate(meter);
        let key = series(meter, principal, meter.destination.as_deref(), meter.status, meter.class);
        let receipt = meter.receipt();
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

/// What the metrics of a request, or of one call it made, are told apart by.
fn series(
    meter: &Meter,
    principal: &Principal,
    destination: Option<&Destination>,
    status: u16,
    class: Option<&'static str>,
) -> SeriesKey {
    let arrival = &meter.arrival;
    let user_agent = arrival.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    // A name that nobody serves is the client's invention.
    let requested = if meter.group.is_some() { meter.requested_model.as_str() } else { "other" };
    SeriesKey {
        route: arrival.found.route,
        status,
        requested_model: requested.to_owned(),
        model_group: meter.group.as_ref().map(ToString::to_string),
        model: destination.map(|it| it.model.clone()),
        model_id: destination.map(|it| it.deployment.to_string()),
        api_provider: destination.map(|it| it.provider.name.to_owned()),
        api_base: destination.map(|it| it.base.clone()),
        key: principal.label(),
        class,
        client_ip: arrival.client_ip.map_or_else(|| "None".to_owned(), |ip| ip.to_string()),
        user_agent: user_agent.unwrap_or("None").to_owned(),
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
