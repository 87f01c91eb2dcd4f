//! From here on a request is counted: whatever happens to it ends in one receipt.

mod receipt;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faregate_catalog::tokens;
use faregate_journal::Slot;
use faregate_state::limits::{Denied, Hold, Limit};
use faregate_terms::{
    Account, AttemptNote, CallId, Discarded, Ending, ErrorNote, Fault, FaultClass, PicoUsd, Usage, UtcMillis,
};

use smallvec::SmallVec;

use crate::auto_router::Choice;
use crate::call::Arrival;
use crate::destination::Destination;
use crate::health::{GroupRecord, Kinship, Measured, Ticket};
use crate::metrics::Outcome;
use crate::operation::explain::Explained;
use crate::refusal::Refusal;
use crate::routing::StreamGuard;
use crate::stage::account;
use crate::stage::cut::Cut;
use crate::stage::hedge::Leg;
use crate::stage::identify::Principal;
use crate::stage::items::Items;
use crate::stage::kinship::Ties;
use crate::stage::lookup::{Keep, Looked};
use crate::stage::places;
use crate::stage::plan::Asker;
use crate::stage::relay::Relay;
use crate::stage::reserve::Forecast;
use crate::stage::seam::Said;
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
    /// What is known of its inputs, if it embeds and the cache is on.
    pub(crate) items: Option<Box<Items>>,
    /// What an auto router chose.
    pub choice: Option<Box<Choice>>,
    /// What it was asked to tell of its routing.
    pub explained: Option<Box<Explained>>,
    /// The call under way.
    ticket: Option<Ticket>,
    /// Where it goes, and since when: a client that leaves now leaves a note of it.
    under_way: UnderWay,
    /// Set where its group is hedged: what answers cost says what hedges may.
    pub(crate) group_record: Option<Arc<GroupRecord>>,
    /// What ties later requests to its answer.
    pub(crate) ties: Option<Ties>,
    /// What goes on with its stream should that break off.
    pub(crate) relay: Option<Box<Relay>>,
    settler: Arc<Settler>,
    settled: bool,
}

/// What a request holds in every limit that applies to it.
pub struct Held {
    /// The hold.
    pub hold: Hold,
    /// What it was made for.
    pub forecast: Forecast,
    /// Budgets of the deployment, and of its provider, that it was made for.
    pub places: Vec<Limit>,
    /// The longest answer a budget that must hold can pay, in tokens, if it is shorter than asked for.
    pub longest: Option<u64>,
    /// True if the answer may outgrow what is held, and must be ended then.
    pub is_watched: bool,
    /// True if nobody has more to give.
    pub exhausted: bool,
}

/// Calls that have begun, and when.
pub(crate) type UnderWay = SmallVec<[(Arc<Destination>, Instant); 1]>;

/// What a call and a second one beside it need at the same time.
pub(crate) struct Parts<'a> {
    /// What the first notes.
    pub meter: &'a mut Meter,
    /// Who calls.
    pub principal: &'a Principal,
    /// What the request holds.
    pub held: Option<&'a mut Held>,
    /// Where the second is noted.
    pub under_way: &'a mut UnderWay,
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
        Self { hold, forecast, places: Vec::new(), longest: None, is_watched: false, exhausted: false }
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
    /// Where it went instead, by a route of an operator's own: the URL without its query.
    pub target: Option<Box<str>>,
    /// The provider's id of the answer.
    pub upstream_id: Option<String>,
    /// Status sent or to be sent.
    pub status: u16,
    /// Exception class of a failure.
    pub class: Option<&'static str>,
    /// How it ended; the client left unless somebody says otherwise.
    pub ending: Ending,
    /// What was used, by the call under way.
    pub usage: Usage,
    /// Calls that broke off and were continued.
    pub cuts: Vec<Cut>,
    /// How the stream of the call under way must begin, if another may be had in its place.
    pub guard: Option<StreamGuard>,
    /// True once that call has been given up although something of it was there.
    pub given_up: bool,
    /// What the client has been told, where a broken stream is to be continued.
    pub said: Option<Box<Said>>,
    /// What all that cost, once it has been worked out: `None` inside if nobody knows.
    pub cost: Option<Option<PicoUsd>>,
    /// Arrival to first visible output of a stream.
    pub ttft: Option<Duration>,
    /// Time spent waiting for providers.
    pub upstream_time: Duration,
    /// Every call made.
    pub attempts: Vec<AttemptNote>,
    /// Why it went to a deployment that had served another request, if it did.
    pub kinship: Option<Kinship>,
    /// Waited on purpose since the last of them.
    pub waited: Duration,
    /// What calls cost that another one overtook.
    pub discarded_cost: PicoUsd,
    /// Retries within the group that answered, or failed last.
    pub retries: u32,
    /// Of at most so many.
    pub max_retries: u32,
    /// Other groups tried.
    pub fallbacks: usize,
    /// True for a call that the gateway makes for its own purposes, which no client asked for.
    pub is_ours: bool,
    /// The request it is a copy of.
    pub copy_of: Option<CallId>,
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
    /// Admits a request. Boxed, as it is handed on several times and is large.
    pub fn new(settler: Arc<Settler>, principal: Principal, arrival: Arc<Arrival>) -> Box<Self> {
        settler.enter();
        let account = account::of(&principal, &arrival);
        Box::new(Self {
            meter: Meter { account, ..Meter::new(arrival, settler.now()) },
            principal,
            held: None,
            counted: Vec::new(),
            slot: None,
            keep: None,
            items: None,
            choice: None,
            explained: None,
            ticket: None,
            under_way: UnderWay::new(),
            group_record: None,
            ties: None,
            relay: None,
            settler,
            settled: false,
        })
    }

    /// Who asks, for routing.
    pub fn asker(&self) -> Asker<'_> {
        let Meter { account, input_bytes, .. } = &self.meter;
        Asker { principal: &self.principal, account, input_bytes: *input_bytes }
    }

    /// Notes in the journal that a provider is about to be called.
    pub fn open(&mut self) {
        let expected = self.held.as_ref().map_or(PicoUsd::ZERO, |held| held.hold.cost());
        let places = self.held.as_ref().map_or(&[][..], |held| &held.places);
        self.slot = self.settler.open(&self.meter, expected, places);
    }

    /// True if these budgets of a deployment are those that count what it spends.
    pub(crate) fn is_held_at(&self, places: &[Limit]) -> bool {
        places::same(self.held.as_ref().map_or(&[], |held| &held.places), places)
    }

    /// Settles now instead of when dropped. What comes back tells when the receipt is on record.
    pub fn settle(&mut self) -> Recorded {
        if std::mem::replace(&mut self.settled, true) {
            return Recorded::default();
        }
        for (destination, since) in std::mem::take(&mut self.under_way) {
            self.attempted(&destination, since, How::Left);
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
        self.meter.first_output();
    }

    /// A call to a provider begins: what an earlier one left behind is not this one's.
    pub(crate) fn begin(&mut self, ticket: Ticket, leg: &Leg) {
        let meter = &mut self.meter;
        if !meter.attempts.is_empty() {
            meter.usage = Usage::default();
            meter.upstream_id = None;
            (meter.output_bytes, meter.output_tokens) = (0, 0);
        }
        self.ticket = Some(ticket);
        self.under_way.push((Arc::clone(&leg.destination), leg.since));
    }

    /// The call that began was not made.
    pub(crate) fn not_sent(&mut self) {
        self.under_way.clear();
        if let Some(ticket) = self.ticket.take() {
            ticket.unused();
        }
    }

    /// Notes one call to a provider.
    pub fn attempted(&mut self, destination: &Destination, since: Instant, how: How<'_>) {
        let mut class = None;
        if let How::Failed { fault, own } = how {
            class = Some(fault.class);
            self.settler.call_failed(&self.meter, &self.principal, destination, fault.class);
            if let Some(ticket) = self.ticket.take() {
                ticket.failed(fault, own);
            }
        }
        let discarded = std::mem::take(&mut self.meter.given_up).then(|| {
            let seen = self.meter.seen();
            self.discard(destination, &seen)
        });
        self.note(destination, since, class, discarded);
    }

    /// Notes a call that another one overtook, and what it may cost. `seen` is what came of it.
    pub(crate) fn overtaken(&mut self, leg: &Leg, seen: &Usage) {
        let discarded = self.discard(&leg.destination, seen);
        self.note(&leg.destination, leg.since, None, Some(discarded));
    }

    /// Counts what a call cost of which nobody gets anything.
    fn discard(&mut self, destination: &Destination, seen: &Usage) -> Discarded {
        let input = || tokens::estimate(&destination.model, self.meter.input_bytes);
        let usage = Usage { input: if seen.input > 0 { seen.input } else { input() }, ..seen.clone() };
        let cost = destination.cost(&usage);
        self.meter.discarded_cost += cost.unwrap_or(PicoUsd::ZERO);
        Discarded { cost }
    }

    /// Puts a call on the receipt.
    fn note(
        &mut self,
        destination: &Destination,
        since: Instant,
        fault: Option<FaultClass>,
        discarded: Option<Discarded>,
    ) {
        self.under_way.retain(|(_, began)| *began != since);
        let (meter, duration) = (&mut self.meter, since.elapsed());
        if discarded.is_none() || fault.is_some() {
            meter.upstream_time += duration;
        }
        let start = since.saturating_duration_since(meter.arrival.at);
        // What was visible was this call's, as no call follows one of which something was.
        let ttft = meter.ttft.and_then(|ttft| ttft.checked_sub(start));
        meter.attempts.push(AttemptNote {
            deployment: destination.deployment.clone(),
            start,
            wait: std::mem::take(&mut meter.waited),
            ttft: ttft.filter(|_| fault.is_none() && discarded.is_none() || meter.ending == Ending::Broken),
            duration,
            fault,
            discarded,
            continued: None,
        });
    }

    /// What a call and a second one beside it need at the same time.
    pub(crate) fn parts(&mut self) -> Parts<'_> {
        let Self { meter, principal, held, under_way, .. } = self;
        Parts { meter, principal, held: held.as_mut(), under_way }
    }

    /// The ticket of the call under way is this one from now on; the other comes back.
    pub(crate) fn exchange(&mut self, ticket: Option<Ticket>) -> Option<Ticket> {
        std::mem::replace(&mut self.ticket, ticket)
    }

    /// Notes a wait before the next call.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.meter.waited += time;
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
    /// Nothing is known yet.
    pub(crate) fn new(arrival: Arc<Arrival>, started: UtcMillis) -> Self {
        Self {
            transcript: None,
            account: Account::default(),
            started,
            error: None,
            cut: false,
            output_tokens: 0,
            arrival,
            requested_model: String::new(),
            stream: false,
            group: None,
            destination: None,
            target: None,
            upstream_id: None,
            status: 499,
            class: None,
            ending: Ending::ClientClosed,
            usage: Usage::default(),
            cuts: Vec::new(),
            said: None,
            cost: None,
            ttft: None,
            upstream_time: Duration::ZERO,
            attempts: Vec::new(),
            kinship: None,
            waited: Duration::ZERO,
            guard: None,
            given_up: false,
            discarded_cost: PicoUsd::ZERO,
            retries: 0,
            max_retries: 0,
            fallbacks: 0,
            is_ours: false,
            copy_of: None,
            losses: Vec::new(),
            output_bytes: 0,
            input_bytes: 0,
            looked: None,
        }
    }

    /// A meter for a second call beside the one this measures.
    pub(crate) fn beside(&self) -> Self {
        Self { said: self.said.clone(), ..Self::new(Arc::clone(&self.arrival), self.started) }
    }

    /// Takes over what another meter saw of the call that answers.
    pub(crate) fn adopt(&mut self, other: Self) {
        self.upstream_id = other.upstream_id;
        self.usage = other.usage;
        self.ttft = other.ttft;
        self.losses = other.losses;
        self.said = other.said;
        (self.output_bytes, self.output_tokens) = (other.output_bytes, other.output_tokens);
    }

    /// Gives the call under way up: what was seen of it nobody gets.
    pub(crate) fn give_up(&mut self) {
        (self.given_up, self.ttft) = (true, None);
        if let Some(said) = &mut self.said {
            **said = Said::default();
        }
    }

    /// Notes the first visible output, once.
    pub(crate) fn first_output(&mut self) {
        if self.ttft.is_none() {
            self.ttft = Some(self.arrival.at.elapsed());
        }
    }

    /// Notes a call that failed of its key; the deployment has another one.
    pub(crate) fn key_failed(&mut self, destination: &Destination, since: Instant, fault: FaultClass) {
        let duration = since.elapsed();
        self.upstream_time += duration;
        self.attempts.push(AttemptNote {
            deployment: destination.deployment.clone(),
            start: since.saturating_duration_since(self.arrival.at),
            wait: std::mem::take(&mut self.waited),
            ttft: None,
            duration,
            fault: Some(fault),
            discarded: None,
            continued: None,
        });
    }

    /// What a call used that is cut off now.
    pub(crate) fn seen(&self) -> Usage {
        let output = self.usage.output.max(self.output_tokens);
        Usage { output, estimated: true, ..self.usage.clone() }
    }

    /// What the usage noted so far costs, with what overtaken calls cost; worked out once, when all is known.
    pub fn price(&mut self) -> Option<PicoUsd> {
        let (destination, usage) = (self.destination.as_deref(), &self.usage);
        let cuts = self.cuts.iter().filter_map(|cut| cut.cost);
        let more = cuts.fold(self.discarded_cost, |sum, cost| sum + cost);
        *self.cost.get_or_insert_with(|| Some(destination?.cost(usage)? + more))
    }

    /// What the tokens that the provider had in its prompt cache would have cost more without it.
    pub(crate) fn saved_by_prompt_cache(&self) -> Option<PicoUsd> {
        let destination = self.destination.as_deref().filter(|_| self.usage.cache_read > 0)?;
        let afresh = Usage { cache_read: 0, ..self.usage.clone() };
        Some(destination.cost(&afresh)? - destination.cost(&self.usage)?)
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
