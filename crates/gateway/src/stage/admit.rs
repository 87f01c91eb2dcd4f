//! From here on a request is counted: whatever happens to it ends in one receipt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faregate_journal::Slot;
use faregate_state::limits::{Denied, Hold, Limit};
use faregate_terms::{
    Account, AttemptNote, Ending, ErrorNote, Fault, FaultClass, LogFacts, PicoUsd, Receipt, Usage, UtcMillis,
    WallTimes,
};

use crate::call::Arrival;
use crate::destination::Destination;
use crate::health::{Measured, Ticket};
use crate::metrics::Outcome;
use crate::refusal::Refusal;
use crate::routes::Operation;
use crate::stage::account;
use crate::stage::identify::Principal;
use crate::stage::lookup::{Keep, Looked};
use crate::stage::plan::Asker;
use crate::stage::reserve::Forecast;
use crate::stage::settle::{Recorded, Settler};
use crate::stage::transcript::Transcript;

/// An admitted request: gathers what happens to it and settles it when dropped, on success, error,
/// cancelled future and panic alike.
pub struct Admitted {
    /// What is known so far.
    pub meter: Meter,
    /// Who calls.
    pub principal: Principal,
    /// What it holds in limits.
    pub held: Option<Held>,
    /// Rates of requests that have counted it, in holds it has let go of.
    pub counted: Vec<Limit>,
    /// Its place in the journal.
    pub slot: Option<Slot>,
    /// What keeps its answer for the next one who asks the same.
    pub keep: Option<Box<Keep>>,
    /// The call under way.
    ticket: Option<Ticket>,
    settler: Arc<Settler>,
    settled: bool,
}

/// What a request holds in every limit that applies to it.
pub struct Held {
    /// The hold.
    pub hold: Hold,
    /// What it was made for.
    pub forecast: Forecast,
    /// The longest answer a budget that must hold can pay, in tokens, if it is shorter than asked for.
    pub longest: Option<u64>,
    /// True if the answer may outgrow what is held, and must be ended then.
    pub is_watched: bool,
    /// True if nobody has more to give.
    pub exhausted: bool,
}

/// What came of a call.
#[derive(Debug, Clone, Copy)]
pub enum How<'a> {
    /// It answered, or is about to.
    Answered,
    /// It failed.
    Failed {
        /// How.
        fault: &'a Fault,
        /// False if the client's own timeout cut it off.
        own: bool,
    },
    /// The client left.
    Left,
}

impl Held {
    /// A hold that bounds nothing yet.
    pub fn new(hold: Hold, forecast: Forecast) -> Self {
        Self { hold, forecast, longest: None, is_watched: false, exhausted: false }
    }

    /// Makes the hold follow an answer that has grown to `output` tokens: what is held stays a slice ahead.
    /// Returns what is missing, if a budget that must hold has nothing left on this replica.
    pub fn follow(&mut self, output: u64) -> Option<PicoUsd> {
        let slice = self.forecast.estimate.output_tokens.clamp(SLICES.0, SLICES.1);
        let ahead = output.saturating_add(slice);
        let each = self.forecast.per_token.pico();
        let due = self.forecast.input_cost.pico() + each.saturating_mul(i128::from(ahead));
        let missing = due - self.hold.cost().pico();
        if missing <= 0 {
            return None;
        }
        // More than is due, so that not every token asks.
        let step = missing.max(each.saturating_mul(i128::from(slice)));
        let grown = self.hold.raise(PicoUsd::from_pico(step)).pico();
        (grown < missing).then(|| PicoUsd::from_pico(missing - grown))
    }

    /// True if what is held pays for `output` tokens.
    pub fn pays(&self, output: u64) -> bool {
        let each = self.forecast.per_token.pico();
        let due = self.forecast.input_cost.pico() + each.saturating_mul(i128::from(output));
        due <= self.hold.cost().pico()
    }
}

/// A hold that could not grow.
pub type Short = Box<Denied>;

/// Bytes per token in an estimate. Source: compat, behaviour §10.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;

/// How far ahead of an answer its hold is, in tokens: as far as answers usually get, within these.
const SLICES: (u64, u64) = (4, 64);

/// What is known about a request so far.
#[derive(Debug)]
pub struct Meter {
    /// What is said, where it is written down.
    pub transcript: Option<Box<Transcript>>,
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
    /// Retries within the group that answered, or failed last.
    pub retries: u32,
    /// Of at most so many.
    pub max_retries: u32,
    /// Other groups tried.
    pub fallbacks: usize,
    /// What the translation could not carry.
    pub losses: Vec<String>,
    /// Whom the request is booked on.
    pub account: Account,
    /// When it came, by the wall clock.
    pub started: UtcMillis,
    /// Why it failed.
    pub error: Option<ErrorNote>,
    /// True if the answer was cut short where a budget ended.
    pub cut: bool,
    /// Tokens of output so far, as far as can be told from their bytes.
    pub output_tokens: u64,
    /// Bytes of visible output, for an estimate when the provider reports no usage.
    pub output_bytes: u64,
    /// Bytes of the request, for the same.
    pub input_bytes: u64,
    /// What the response cache knew; absent if it does not concern the request.
    pub looked: Option<Box<Looked>>,
}

impl Admitted {
    /// Admits a request.
    pub fn new(settler: Arc<Settler>, principal: Principal, arrival: Arc<Arrival>) -> Self {
        settler.enter();
        let account = account::of(&principal, &arrival);
        Self {
            meter: Meter {
                transcript: None,
                account,
                started: settler.now(),
                error: None,
                cut: false,
                output_tokens: 0,
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
                retries: 0,
                max_retries: 0,
                fallbacks: 0,
                losses: Vec::new(),
                output_bytes: 0,
                input_bytes: 0,
                looked: None,
            },
            principal,
            held: None,
            counted: Vec::new(),
            slot: None,
            keep: None,
            ticket: None,
            settler,
            settled: false,
        }
    }

    /// Who asks, for routing.
    pub fn asker(&self) -> Asker<'_> {
        let Meter { account, input_bytes, .. } = &self.meter;
        Asker { principal: &self.principal, account, input_bytes: *input_bytes }
    }

    /// Notes in the journal that a provider is about to be called.
    pub fn open(&mut self) {
        let expected = self.held.as_ref().map_or(PicoUsd::ZERO, |held| held.hold.cost());
        self.slot = self.settler.open(&self.meter, expected);
    }

    /// Settles now instead of when dropped. What comes back tells when the receipt is on record.
    pub fn settle(&mut self) -> Recorded {
        if std::mem::replace(&mut self.settled, true) {
            return Recorded::default();
        }
        let settler = Arc::clone(&self.settler);
        settler.settle(self)
    }

    /// Notes that the whole answer went out.
    pub fn complete(&mut self) {
        self.meter.ending = Ending::Complete;
    }

    /// Notes that the client gets this error instead of an answer.
    pub fn refused(&mut self, refusal: &Refusal) {
        if let Some(keep) = self.keep.take() {
            keep.give_up();
        }
        self.meter.status = refusal.status();
        self.meter.class = Some(refusal.class());
        self.meter.ending = Ending::Refused;
        self.meter.error = Some(ErrorNote {
            code: refusal.status().to_string(),
            class: refusal.class().to_owned(),
            message: refusal.to_string(),
        });
    }

    /// Notes that a stream broke after its first byte.
    pub fn broken(&mut self, class: FaultClass, message: &str) {
        self.meter.class = Some(class.name());
        self.meter.error = Some(ErrorNote {
            code: class.status().to_string(),
            class: class.name().to_owned(),
            message: message.to_owned(),
        });
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

    /// A call to a provider begins: what an earlier one left behind is not this one's.
    pub(crate) fn begin(&mut self, ticket: Ticket) {
        let meter = &mut self.meter;
        if !meter.attempts.is_empty() {
            meter.usage = Usage::default();
            meter.upstream_id = None;
            (meter.output_bytes, meter.output_tokens) = (0, 0);
        }
        self.ticket = Some(ticket);
    }

    /// The call that began was not made.
    pub(crate) fn not_sent(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.unused();
        }
    }

    /// Notes one call to a provider.
    pub fn attempted(&mut self, destination: &Destination, since: Instant, how: How<'_>) {
        let duration = since.elapsed();
        self.meter.upstream_time += duration;
        let mut class = None;
        if let How::Failed { fault, own } = how {
            class = Some(fault.class);
            self.settler.call_failed(&self.meter, &self.principal, destination, fault.class);
            if let Some(ticket) = self.ticket.take() {
                ticket.failed(fault, own);
            }
        }
        let deployment = destination.deployment.clone();
        self.meter.attempts.push(AttemptNote { deployment, duration, fault: class });
    }

    /// Notes that another group was tried, since the client's own failed so.
    pub(crate) fn fell_back(&self, why: &Refusal, to: &str, outcome: Outcome) {
        self.settler.fell_back(&self.meter, &self.principal, why, to, outcome);
    }

    /// The call that answered is over, and everything it used is known.
    /// True if somebody minds how much that was.
    pub(crate) fn measured(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else { return false };
        let is_expected = ticket.expects();
        if self.meter.ending == Ending::Complete {
            let first = self.meter.ttft.and_then(|ttft| self.meter.arrival.at.checked_add(ttft));
            ticket.answered(&Measured { first, usage: &self.meter.usage });
        }
        is_expected
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.settle();
    }
}

impl Meter {
    /// What the usage noted so far costs; worked out once, when all of it is known.
    pub fn price(&mut self) -> Option<PicoUsd> {
        let (destination, usage) = (self.destination.as_deref(), &self.usage);
        *self.cost.get_or_insert_with(|| destination.and_then(|destination| destination.cost(usage)))
    }

    /// The finished record.
    pub fn receipt(&mut self, ended: UtcMillis) -> Receipt {
        let cost = self.price();
        let started = self.started;
        let after =
            |since: Duration| started.plus_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let destination = self.destination.as_deref();
        let looked = self.looked.take();
        let hit = looked.as_ref().and_then(|looked| looked.hit.as_ref());
        let metadata = metadata(self.cut, hit.and_then(|facts| facts.cost));
        let said = self.transcript.take().map(|transcript| transcript.texts()).unwrap_or_default();
        Receipt {
            call_id: self.arrival.id.clone(),
            receipt_id: self.arrival.own_id.clone(),
            route: self.arrival.found.route.into(),
            requested_model: std::mem::take(&mut self.requested_model),
            model_group: self.group.take(),
            deployment: destination
                .map(|d| d.deployment.clone())
                .or_else(|| hit?.deployment.as_deref().map(Into::into)),
            provider: destination
                .map(|d| d.provider.name.into())
                .or_else(|| hit?.provider.as_deref().map(Into::into)),
            upstream_model: destination.map(|d| d.model.clone()).or_else(|| hit?.model.clone()),
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
            account: std::mem::take(&mut self.account),
            wall: WallTimes { started, ended, first_token: self.ttft.map(after) },
            log: LogFacts {
                call_type: call_type(self.arrival.found.operation).to_owned(),
                api_base: destination.map(|d| d.base.clone()),
                cache_hit: looked.as_ref().filter(|looked| looked.asked).map(|looked| looked.hit.is_some()),
                cache_key: looked.map(|looked| looked.key),
                metadata,
                error: self.error.take(),
                messages: said.messages,
                response: said.response,
                client_request: said.request,
                ..LogFacts::default()
            },
        }
    }
}

/// Further members of a log row's metadata.
fn metadata(cut: bool, saved: Option<PicoUsd>) -> Option<String> {
    let cut = cut.then(|| r#""faregate_budget_cut":true"#.to_owned());
    // As LiteLLM's logging payload names it.
    let saved = saved.map(|saved| format!(r#""saved_cache_cost":{saved}"#));
    let members: Vec<String> = [cut, saved].into_iter().flatten().collect();
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}

/// LiteLLM's name of an operation in spend logs. Source: compat, database, `call_type`.
fn call_type(operation: Operation) -> &'static str {
    match operation {
        Operation::Responses => "aresponses",
        Operation::Messages => "anthropic_messages",
        Operation::Gemini => "agenerate_content",
        Operation::Converse | Operation::ConverseStream | Operation::Invoke | Operation::InvokeStream => {
            "allm_passthrough_route"
        }
        _ => "acompletion",
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
