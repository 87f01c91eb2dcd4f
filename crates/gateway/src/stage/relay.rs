//! A stream of text that its provider broke off is continued by another one, where a setting says so: the text so
//! far goes along, and what comes is joined to what went out (see [`crate::stage::seam`]).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use faregate_catalog::tokens::Counter;
use faregate_router::{Dice, Standing, Verdict, is_refusal};
use faregate_terms::{Fault, FaultClass, PicoUsd, Usage};

use crate::call::Call;
use crate::destination::Destination;
use crate::gate::{Gate, Table};
use crate::operation::count::counted;
use crate::refusal::Refusal;
use crate::stage::admit::Admitted;
use crate::stage::attempt::group;
use crate::stage::cut::Cut;
use crate::stage::fallback::{self, fall_back};
use crate::stage::plan::{Planned, plan};
use crate::stage::pump::Pump;
use crate::stage::seam::{Resumption, Said, Seam, is_plain_text};
use crate::stage::send::Answer;
use crate::stage::tour::{Resumed, Tour};

/// What is needed to go on with a request's stream.
pub(crate) struct Relay {
    gate: Arc<Gate>,
    /// The call that was answered.
    call: Arc<Call>,
}

/// What came of it.
pub(super) struct Relayed {
    /// The request.
    pub admitted: Box<Admitted>,
    /// Another provider's stream and how it fits on; `None` if nobody goes on.
    pub next: Option<(Box<Pump>, Seam)>,
}

/// Another call under way.
pub(super) type Relaying = Pin<Box<dyn Future<Output = Relayed> + Send>>;

/// True if the call's stream is to be continued should it break off: the request says so, or its group's setting,
/// and its answer is one plain text.
pub(crate) fn is_wanted(table: &Table, call: &Call, group: &str) -> bool {
    let asked = call.options.steering.as_deref().and_then(|steering| steering.mid_stream_fallback);
    asked.unwrap_or_else(|| table.routing.continued.holds(group))
        && call.stream
        && call.request().is_ok_and(|request| is_plain_text(&request))
}

impl Relay {
    /// Goes on with the stream that answers `call`.
    pub(crate) fn new(gate: &Arc<Gate>, call: &Arc<Call>) -> Box<Self> {
        Box::new(Self { gate: Arc::clone(gate), call: Arc::clone(call) })
    }

    /// True if the stream may be continued after this fault: nothing but the beginning of a text went out, another
    /// provider may do better, there is time, and no budget bounds the answer to the token.
    pub(super) fn may_go_on(&self, admitted: &Admitted, fault: &Fault) -> bool {
        let is_bounded = admitted.held.as_ref().is_some_and(|held| held.longest.is_some());
        let deadline = self.gate.table.load().routing.deadline(self.call.arrival.at);
        let said = admitted.meter.said.as_deref();
        !is_bounded
            && !is_refusal(fault.class)
            && fault.class != FaultClass::ContextWindow
            && deadline.is_none_or(|deadline| deadline > Instant::now())
            && said.is_some_and(Said::can_go_on)
    }
}

/// Makes another call that goes on with the stream of the one to `destination`, which broke off.
pub(super) fn go_on(
    relay: Box<Relay>,
    mut admitted: Box<Admitted>,
    destination: &Arc<Destination>,
    since: Instant,
    fault: Fault,
) -> Relaying {
    let destination = Arc::clone(destination);
    Box::pin(async move {
        let mut said = admitted.meter.said.take().unwrap_or_default();
        if let Some(keep) = admitted.keep.take() {
            // Of two models' words nobody else gets a copy.
            keep.give_up();
        }
        let (usage, tokens) = used(&relay.call, &destination, &admitted, &said).await;
        let cost = destination.cost(&usage);
        let ttft = admitted.meter.ttft;
        let input_bytes = admitted.meter.input_bytes;
        admitted.cut_off(Cut { destination, since, usage, cost, ttft }, &fault);
        let before = admitted.meter.used_before();
        let resumption = Resumption::new(said.text(), tokens);
        admitted.meter.input_bytes += resumption.bytes();
        let group = admitted.meter.group.clone();
        let answer = call(&relay, resumption, &fault, &mut admitted).await;
        let metrics = &relay.gate.metrics;
        metrics.continued(group.as_ref().map_or("", |group| group.as_str()), answer.is_ok());
        let seam = Seam::new(&said, before);
        said.next();
        admitted.meter.said = Some(said);
        let next = match answer {
            Ok((call, pump)) => {
                cover(&mut admitted, cost);
                admitted.relay = Some(Relay::new(&relay.gate, &call));
                Some((pump, seam))
            }
            Err(refusal) => {
                tracing::info!(call_id = %relay.call.arrival.id, reason = %refusal, "nobody continued a stream");
                admitted.not_continued();
                (admitted.meter.group, admitted.meter.input_bytes) = (group, input_bytes);
                None
            }
        };
        Relayed { admitted, next }
    })
}

/// What the call used that broke off, counted where its provider did not say; and the tokens of all that was said.
async fn used(call: &Call, destination: &Destination, admitted: &Admitted, said: &Said) -> (Usage, u64) {
    let mut usage = admitted.meter.usage.clone();
    let (model, own, all) = (destination.model.clone(), said.own().to_owned(), said.text().to_owned());
    // A vocabulary may have to be unpacked, a text be long.
    let counting = tokio::task::spawn_blocking(move || {
        let counter = Counter::of(&model);
        (counter.count(&own), counter.count(&all))
    });
    let (own, all) = counting.await.unwrap_or_default();
    if usage.output < own {
        // Some providers say what the prompt had and no more than a first token of the answer.
        (usage.output, usage.estimated) = (own, true);
    }
    if usage.input == 0
        && let Ok(request) = call.request()
    {
        usage.input = counted(&destination.model, request).await.unwrap_or_default();
        usage.estimated = true;
    }
    (usage, all)
}

/// Calls the group's other deployments, then its fallbacks.
async fn call(
    relay: &Relay,
    resumption: Resumption,
    fault: &Fault,
    admitted: &mut Admitted,
) -> Result<(Arc<Call>, Box<Pump>), Refusal> {
    let gate = &relay.gate;
    let table = gate.table.load_full();
    let failed = || Refusal::upstream(fault.clone(), "");
    let Some(cut) = admitted.meter.cuts.last() else { return Err(failed()) };
    let resumed = Resumed { broken: cut.destination.deployment.clone(), retried: admitted.meter.retries + 1 };
    let deadline = table.routing.deadline(relay.call.arrival.at);
    let tour = Tour { gate, table: &table, deadline, resumed: Some(&resumed) };
    let call = Arc::new(relay.call.resumed(resumption)?);
    let mut dice = gate.dice();
    let planned = plan(gate, &table, &call, admitted.asker(), &mut dice).await?;
    let mut last = failed();
    if may_retry(&tour, &call, &planned, fault, admitted, dice.roll()) {
        match group(&tour, &call, &planned, 0, None, admitted, &mut dice).await {
            Ok(answer) => return stream(call, answer).ok_or(last),
            Err(refused) => last = refused,
        }
    }
    let most = table.routing.max_fallbacks + usize::try_from(admitted.meter.max_retries).unwrap_or_default();
    if admitted.meter.cuts.len() > most || !fallback::helps(&last) {
        return Err(last);
    }
    let (call, answer) = fall_back(&tour, call, &planned, last, admitted, &mut dice).await?;
    stream(call, answer).ok_or_else(failed)
}

/// True if the group's other deployments may be asked: what goes on with a broken stream counts as a retry.
fn may_retry(
    tour: &Tour<'_>,
    call: &Call,
    planned: &Planned,
    fault: &Fault,
    admitted: &mut Admitted,
    roll: f64,
) -> bool {
    let (Ok(plan), Some(resumed)) = (&planned.plan, tour.resumed) else { return false };
    let now = tour.now(planned);
    let walk = tour.walk(planned, plan, 0);
    let Some(index) = walk.peek(&now) else { return false };
    let mut rule = tour.rule(call, planned, admitted);
    rule.retries = tour.retries(call, admitted, &tour.table.deployments[index]);
    admitted.meter.max_retries = rule.retries;
    let standing = Standing { retried: resumed.retried - 1, is_anybody_well: true };
    matches!(rule.judge(fault, standing, roll), Verdict::Retry(_)) && tour.may_retry(planned, &walk, &now)
}

fn stream(call: Arc<Call>, answer: Answer) -> Option<(Arc<Call>, Box<Pump>)> {
    match answer {
        Answer::Stream { pump, .. } => Some((call, pump)),
        Answer::Same { .. } | Answer::Translated { .. } | Answer::Made { .. } | Answer::Cached(_) => None,
    }
}

/// Holds in the budgets what the call cost that broke off, beside what the next one may.
fn cover(admitted: &mut Admitted, cost: Option<PicoUsd>) {
    if let (Some(held), Some(cost)) = (&mut admitted.held, cost) {
        held.forecast.input_cost += cost;
        held.hold.raise(cost);
    }
}
