//! From here on a request is counted: whatever happens to it ends in one receipt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faregate_terms::{
    Account, AttemptNote, Ending, FaultClass, LogFacts, PicoUsd, Receipt, Usage, WallTimes,
};

use crate::call::Arrival;
use crate::destination::Destination;
use crate::refusal::Refusal;
use crate::stage::identify::Principal;
use crate::stage::settle::Settler;

/// An admitted request: gathers what happens to it and settles it when dropped, on success, error,
/// cancelled future and panic alike.
pub struct Admitted {
    /// What is known so far.
    pub meter: Meter,
    /// Who calls.
    pub principal: Principal,
    settler: Arc<Settler>,
}

/// What is known about a request so far.
#[derive(Debug)]
pub struct Meter {
    /// What came in.
    pub arrival: Arc<Arrival>,
    /// The model name the client sent.
    pub requested_model: String,
    /// True for a streamed answer.
    pub stream: bool,
    /// The group that serves it.
    pub group: Option<faregate_terms::ModelGroup>,
    /// Where the answering attempt went.
    pub destination: Option<Arc<Destination>>,
    /// The provider's id of the answer.
    pub upstream_id: Option<String>,
    /// Status sent or to be sent.
    pub status: u16,
    /// Exception class of a failure.
    pub class: Option<&'static str>,
    /// How it ended; the client left unless somebody says otherwise.
    pub ending: Ending,
    /// What was used.
    pub usage: Usage,
    /// What that cost, once it has been worked out: `None` inside if nobody knows.
    pub cost: Option<Option<PicoUsd>>,
    /// Arrival to first visible output of a stream.
    pub ttft: Option<Duration>,
    /// Time spent waiting for providers.
    pub upstream_time: Duration,
    /// Every call made.
    pub attempts: Vec<AttemptNote>,
    /// What the translation could not carry.
    pub losses: Vec<String>,
    /// Bytes of visible output, for an estimate when the provider reports no usage.
    pub output_bytes: u64,
    /// Bytes of the request, for the same.
    pub input_bytes: u64,
}

impl Admitted {
    /// Admits a request.
    pub fn new(settler: Arc<Settler>, principal: Principal, arrival: Arc<Arrival>) -> Self {
        settler.enter();
        Self {
            meter: Meter {
                arrival,
                requested_model: String::new(),
                stream: false,
                group: None,
                destination: None,
                upstream_id: None,
                status: 499,
                class: None,
                ending: Ending::ClientClosed,
                usage: Usage::default(),
                cost: None,
                ttft: None,
                upstream_time: Duration::ZERO,
                attempts: Vec::new(),
                losses: Vec::new(),
                output_bytes: 0,
                input_bytes: 0,
            },
            principal,
            settler,
        }
    }

    /// Notes that the whole answer went out.
    pub fn complete(&mut self) {
        self.meter.ending = Ending::Complete;
    }

    /// Notes that the client gets this error instead of an answer.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.meter.status = refusal.status();
        self.meter.class = Some(refusal.class());
        self.meter.ending = Ending::Refused;
    }

    /// Notes that a stream broke after its first byte.
    pub fn broken(&mut self, class: FaultClass) {
        self.meter.class = Some(class.name());
        self.meter.ending = Ending::Broken;
    }

    /// Time since arrival.
    pub fn elapsed(&self) -> Duration {
        self.meter.arrival.at.elapsed()
    }

    /// Notes the first visible output, once.
    pub fn first_output(&mut self) {
        if self.meter.ttft.is_none() {
            self.meter.ttft = Some(self.elapsed());
        }
    }

    /// Notes one call to a provider.
    pub fn attempted(&mut self, destination: &Destination, since: Instant, fault: Option<FaultClass>) {
        let duration = since.elapsed();
        self.meter.upstream_time += duration;
        if let Some(class) = fault {
            self.settler.call_failed(&self.meter, &self.principal, destination, class);
        }
        self.meter.attempts.push(AttemptNote { deployment: destination.deployment.clone(), duration, fault });
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.settler.settle(&mut self.meter, &self.principal);
    }
}

impl Meter {
    /// What the usage noted so far costs; worked out once, when all of it is known.
    pub fn price(&mut self) -> Option<PicoUsd> {
        let (destination, usage) = (self.destination.as_deref(), &self.usage);
        *self.cost.get_or_insert_with(|| destination.and_then(|destination| destination.cost(usage)))
    }

    /// The finished record.
    pub fn receipt(&mut self) -> Receipt {
        let cost = self.price();
        let destination = self.destination.as_deref();
        Receipt {
            call_id: self.arrival.id.clone(),
            route: self.arrival.found.route.into(),
            requested_model: std::mem::take(&mut self.requested_model),
            model_group: self.group.take(),
            deployment: destination.map(|d| d.deployment.clone()),
            provider: destination.map(|d| d.provider.name.into()),
            upstream_model: destination.map(|d| d.model.clone()),
            upstream_id: self.upstream_id.take(),
            status: self.status,
            ending: self.ending,
            cost,
            usage: std::mem::take(&mut self.usage),
            duration: self.arrival.at.elapsed(),
            ttft: self.ttft,
            upstream_time: self.upstream_time,
            attempts: std::mem::take(&mut self.attempts),
            losses: std::mem::take(&mut self.losses),
            stream: self.stream,
            account: Account::default(),
            wall: WallTimes::default(),
            log: LogFacts::default(),
        }
    }
}

/// Counts what is in flight, for drain and for tests that nothing is left behind.
#[derive(Debug, Default)]
pub struct InFlight(AtomicU64);

impl InFlight {
    /// One more.
    pub fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
