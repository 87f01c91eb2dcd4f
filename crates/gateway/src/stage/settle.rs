//! Usage → cost → receipt → metrics and log. Runs exactly once for every admitted request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use faregate_catalog::tokens;
use faregate_journal::{Admission, Journal, Slot, Ticket};
use faregate_state::clock::Clock;
use faregate_state::limits::{Actual, Limit, OutputEstimates, Scope};
use faregate_terms::{AttemptNote, DecimalText, Ending, FaultClass, PicoUsd, Receipt, UtcMillis};
use http::header::USER_AGENT;
use tokio::sync::broadcast;

use crate::destination::Destination;
use crate::gate::Services;
use crate::metrics::Outcome;
use crate::metrics::{Metrics, SeriesKey, Who};
use crate::refusal::Refusal;
use crate::stage::admit::{Admitted, InFlight, Meter};
use crate::stage::identify::Principal;
use crate::stage::reserve::ANYBODY;
use crate::task::is_generative;

/// Turns what a request did into its receipt and hands that on.
pub struct Settler {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    journal: Option<Journal>,
    estimates: Arc<OutputEstimates>,
    in_flight: InFlight,
    watchers: broadcast::Sender<Arc<Receipt>>,
}

/// Tells when a receipt is on record: at once if nobody keeps one.
#[derive(Debug, Default)]
pub struct Recorded(Option<Ticket>);

impl Future for Recorded {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.get_mut().0 {
            Some(ticket) => Pin::new(ticket).poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// Receipts a slow watcher may fall behind before it misses some.
const WATCHER_LAG: usize = 1024;

impl Settler {
    /// A settler that reports to `metrics`.
    pub fn new(metrics: Arc<Metrics>, services: &Services) -> Self {
        Self {
            metrics,
            clock: Arc::clone(&services.clock),
            journal: services.journal.clone(),
            estimates: Arc::clone(&services.estimates),
            in_flight: InFlight::default(),
            watchers: broadcast::channel(WATCHER_LAG).0,
        }
    }

    /// The time on the wall.
    pub(crate) fn now(&self) -> UtcMillis {
        UtcMillis::from_millis(self.clock.wall_ms())
    }

    /// Requests admitted and not yet settled.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.count()
    }

    /// Receipts as they are made, from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Receipt>> {
        self.watchers.subscribe()
    }

    /// Notes in the journal that a call is under way. Without a place in it the call goes on, and its receipt
    /// is only as safe as this process.
    /// `places` are budgets of the deployment that is called first, and of its provider.
    pub(crate) fn open(&self, meter: &Meter, expected_cost: PicoUsd, places: &[Limit]) -> Option<Slot> {
        let arrival = &meter.arrival;
        let place = |scope| places.iter().map(Limit::scope).find(|key| key.scope == scope);
        let admission = Admission {
            call_id: Some(arrival.id.clone()),
            receipt_id: arrival.own_id.clone(),
            started: meter.started,
            route: arrival.found.name().into_owned(),
            requested_model: meter.requested_model.clone(),
            account: meter.account.clone(),
            expected_cost,
            provider: place(Scope::Provider).map(|key| (*key.id).into()),
            deployment: place(Scope::Deployment).map(|key| (*key.id).into()),
        };
        self.journal.as_ref()?.admit(admission).ok()
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

    /// A request tried another group.
    pub(crate) fn fell_back(
        &self,
        meter: &Meter,
        principal: &Principal,
        why: &Refusal,
        to: &str,
        outcome: Outcome,
    ) {
        let destination = meter.destination.as_deref();
        let key = series(meter, principal, destination, why.status(), Some(why.class()));
        self.metrics.fell_back(&key, to, outcome);
    }

    /// One admitted request is over.
    pub(crate) fn settle(&self, admitted: &mut Admitted) -> Recorded {
        estimate(&mut admitted.meter);
        let is_expected = admitted.measured();
        let Admitted { meter, principal, held, slot, .. } = admitted;
        let key = series(meter, principal, meter.destination.as_deref(), meter.status, meter.class);
        if let (Some(kinship), Some(group)) = (meter.kinship, &meter.group) {
            self.metrics.kept(group, kinship, meter.saved_by_prompt_cache());
        }
        let receipt = meter.receipt(self.now());
        // Nobody generated what the cache gave.
        let is_fresh = receipt.log.cache_hit != Some(true);
        let learns = is_fresh && (held.is_some() || is_expected);
        if let Some(held) = held.take() {
            let tokens = |count: u64| if is_fresh { count } else { 0 };
            held.hold.settle(&Actual {
                cost: receipt.cost.unwrap_or(PicoUsd::ZERO),
                input_tokens: tokens(receipt.usage.input),
                output_tokens: tokens(receipt.usage.output),
            });
        }
        if let (Some(group), true) = (&receipt.model_group, learns && receipt.usage.output > 0) {
            for subject in [principal.label(), ANYBODY] {
                self.estimates.learn(subject, group.as_str(), receipt.usage.output);
            }
        }
        if let Some(record) = admitted.group_record.take() {
            let own = receipt.cost.map(|cost| cost.pico() - receipt.log.discarded_cost.pico());
            record
                .hedges
                .answered(self.clock.steady(), own.map(|pico| u64::try_from(pico).unwrap_or_default()));
        }
        let overhead = receipt.duration.saturating_sub(receipt.upstream_time);
        self.metrics.record(key, &receipt, overhead);
        log(&receipt);
        self.in_flight.leave();
        self.metrics.in_flight.dec();
        if self.watchers.receiver_count() > 0 {
            let _ = self.watchers.send(Arc::new(receipt.clone()));
        }
        // A refusal before the journal had been told of the call is on record all the same.
        let slot = slot.take().or_else(|| self.open(meter, PicoUsd::ZERO, &[]));
        Recorded(slot.map(|slot| slot.settle(&receipt)))
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
    let looked = meter.looked.as_ref().filter(|looked| looked.asked);
    let hit = looked.and_then(|looked| looked.hit.as_ref());
    SeriesKey {
        route: arrival.found.name(),
        status,
        requested_model: requested.to_owned(),
        model_group: meter.group.as_ref().map(ToString::to_string),
        model: destination.map(|it| it.model.clone()).or_else(|| hit?.model.clone()),
        model_id: destination.map(|it| it.deployment.to_string()).or_else(|| hit?.deployment.clone()),
        api_provider: destination.map(|it| it.provider.name.to_owned()).or_else(|| hit?.provider.clone()),
        api_base: destination.map(|it| it.base.clone()),
        who: match principal {
            Principal::Key(caller) => Who::Key(Arc::clone(caller)),
            Principal::Master => Who::Named("litellm_proxy_master_key"),
            Principal::Anonymous => Who::Named("None"),
        },
        class,
        cache_hit: looked.map(|looked| looked.hit.is_some()),
        client_ip: meter.account.ip.clone().unwrap_or_else(|| "None".to_owned()),
        user_agent: user_agent.unwrap_or("None").to_owned(),
    }
}

/// An answer without usage figures is counted from its length and flagged, never booked as zero.
pub(super) fn estimate(meter: &mut Meter) {
    let answered = meter.destination.is_some()
        && matches!(meter.ending, Ending::Complete | Ending::Broken | Ending::ClientClosed);
    let produced = meter.output_bytes > 0;
    if !answered || !produced || meter.usage.output > 0 {
        return;
    }
    if !is_generative(meter.arrival.found.operation) {
        if meter.usage.is_empty() {
            let model = meter.destination.as_ref().map_or("", |destination| destination.model.as_str());
            meter.usage.input = tokens::estimate(model, meter.input_bytes);
            meter.usage.estimated = true;
        }
        return;
    }
    let model = meter.destination.as_ref().map_or("", |destination| destination.model.as_str());
    // The text itself is gone by now: its length says how many tokens it was, as the model's family cuts it.
    let by_bytes = tokens::estimate(model, meter.output_bytes);
    let output = if meter.output_tokens > 0 { meter.output_tokens } else { by_bytes };
    let input = tokens::estimate(model, meter.input_bytes);
    meter.usage.output = output;
    if meter.usage.input == 0 {
        meter.usage.input = input;
    }
    meter.usage.estimated = true;
}

/// What was tried, where one call was not enough.
fn tried(attempts: &[AttemptNote]) -> String {
    attempts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The one `info` line per request.
fn log(receipt: &Receipt) {
    let cost = receipt.cost.map(PicoUsd::text);
    tracing::info!(
        target: "faregate::request",
        call_id = receipt.call_id.as_str(),
        route = &*receipt.route,
        model = receipt.requested_model.as_str(),
        model_group = receipt.model_group.as_ref().map(|g| g.as_str()),
        deployment = receipt.deployment.as_ref().map(|d| d.as_str()),
        provider = receipt.provider.as_ref().map(|p| p.as_str()),
        upstream_id = receipt.upstream_id.as_deref(),
        status = receipt.status,
        ending = receipt.ending.word(),
        stream = receipt.stream,
        attempts = receipt.attempts.len(),
        tried = (receipt.attempts.len() > 1).then(|| tried(&receipt.attempts)),
        input_tokens = receipt.usage.input,
        output_tokens = receipt.usage.output,
        estimated = receipt.usage.estimated,
        cache_hit = receipt.log.cache_hit,
        cost_usd = cost.as_ref().map(DecimalText::as_str),
        duration_ms = receipt.duration.as_millis() as u64,
        ttft_ms = receipt.ttft.map(|ttft| ttft.as_millis() as u64),
        losses = (!receipt.losses.is_empty()).then(|| receipt.losses.join(",")),
        "request"
    );
}
