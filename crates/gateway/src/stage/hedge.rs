//! A second call beside a slow first one: the first to answer wins, the other is cancelled.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use faregate_catalog::tokens;
use faregate_router::{HedgeRule, Hedges, Walk, is_refusal};
use faregate_terms::Usage;

use crate::call::Call;
use crate::destination::Destination;
use crate::health::Ticket;
use crate::refusal::Refusal;
use crate::stage::admit::{Admitted, Held, How, Meter, Parts};
use crate::stage::identify::Principal;
use crate::stage::mock;
use crate::stage::places::same;
use crate::stage::plan::Planned;
use crate::stage::send::{Answer, send};
use crate::stage::tour::Tour;

/// One call that has begun.
#[derive(Clone)]
pub(crate) struct Leg {
    /// The deployment.
    pub index: usize,
    /// Where it goes.
    pub destination: Arc<Destination>,
    /// When it was sent.
    pub since: Instant,
}

/// What came of one call, or of two beside each other.
pub(super) struct Outcome {
    /// The answer, or the failure to judge.
    pub answer: Result<Answer, Refusal>,
    /// The second call, if that answer or failure is its.
    pub by: Option<Leg>,
}

/// How a group is hedged.
pub(super) struct Hedging<'a> {
    /// When.
    pub rule: &'a HedgeRule,
    /// What it has cost so far.
    pub hedges: &'a Hedges,
}

/// How two calls ended.
enum End {
    /// The first answered.
    First(Answer),
    /// The first failed, then the second came to this.
    FirstFailed(Refusal, Result<Answer, Refusal>),
    /// The second answered.
    Second(Answer),
    /// The second failed, then the first came to this.
    SecondFailed(Refusal, Result<Answer, Refusal>),
}

/// The second call.
struct Second {
    leg: Leg,
    ticket: Ticket,
    meter: Meter,
}

/// Makes the call of `first`, and a second one to another deployment if it is slow.
pub(super) async fn race(
    tour: &Tour<'_>,
    hedging: &Hedging<'_>,
    call: &Arc<Call>,
    first: &Leg,
    planned: &Planned,
    walk: &mut Walk<'_>,
    admitted: &mut Admitted,
) -> Outcome {
    let longest = admitted.held.as_ref().and_then(|held| held.longest);
    // What pays for one answer to the last token does not pay for a second call.
    let after = hedging.hedges.after(hedging.rule, call.stream).filter(|_| longest.is_none());
    let Parts { meter, principal, held, under_way } = admitted.parts();
    let (mut meter_of_second, input_bytes) = (meter.beside(), meter.input_bytes);
    let (end, leg, ticket) = {
        let mut one = pin!(send(tour.table, call, &first.destination, longest, meter, tour.left()));
        let early = match after {
            Some(after) => tokio::time::timeout(after, &mut one).await.ok(),
            None => Some((&mut one).await),
        };
        if let Some(answer) = early {
            return alone(hedging, call, first, answer);
        }
        let asked = Asked { call, planned, principal, input_bytes };
        let Some((leg, ticket)) = second(tour, hedging, asked, first, held, walk).await else {
            return alone(hedging, call, first, one.await);
        };
        under_way.push((Arc::clone(&leg.destination), leg.since));
        let to = Arc::clone(&leg.destination);
        let mut two = pin!(send(tour.table, call, &to, longest, &mut meter_of_second, tour.left()));
        let end = tokio::select! {
            answer = &mut one => match answer {
                Ok(answer) => End::First(answer),
                Err(failed) => End::FirstFailed(failed, two.await),
            },
            answer = &mut two => match answer {
                Ok(answer) => End::Second(answer),
                Err(failed) => End::SecondFailed(failed, one.await),
            },
        };
        (end, leg, ticket)
    };
    let second = Second { leg, ticket, meter: meter_of_second };
    tour.gate.metrics.hedged(&planned.resolved.group, matches!(end, End::Second(_)));
    finish(tour, hedging, call, end, first, second, walk, admitted)
}

/// One call was enough, or had to be.
fn alone(hedging: &Hedging<'_>, call: &Call, leg: &Leg, answer: Result<Answer, Refusal>) -> Outcome {
    if answer.is_ok() {
        hedging.hedges.took(call.stream, leg.since.elapsed());
    }
    Outcome { answer, by: None }
}

/// Puts the call that does not decide on the receipt, and makes the other the request's own.
#[expect(clippy::too_many_arguments, reason = "the two sides of one race, which has one call site")]
fn finish(
    tour: &Tour<'_>,
    hedging: &Hedging<'_>,
    call: &Call,
    end: End,
    first: &Leg,
    second: Second,
    walk: &mut Walk<'_>,
    admitted: &mut Admitted,
) -> Outcome {
    let Second { leg, ticket, meter } = second;
    let took = |leg: &Leg| hedging.hedges.took(call.stream, leg.since.elapsed());
    match end {
        End::First(answer) => {
            took(first);
            admitted.overtaken(&leg, &meter.seen());
            drop(ticket);
            Outcome { answer: Ok(answer), by: None }
        }
        End::Second(answer) => {
            // The first counts for as long as it lasted: it would have taken longer.
            took(first);
            took(&leg);
            let seen = admitted.meter.seen();
            admitted.overtaken(first, &seen);
            admitted.meter.adopt(meter);
            // The provider was waited for, whichever answers in the end.
            admitted.meter.upstream_time += leg.since.saturating_duration_since(first.since);
            drop(admitted.exchange(Some(ticket)));
            Outcome { answer: Ok(answer), by: Some(leg) }
        }
        End::FirstFailed(failed, answer) => {
            note_failure(tour, call, first, &failed, walk, admitted);
            admitted.meter.adopt(meter);
            drop(admitted.exchange(Some(ticket)));
            Outcome { answer, by: Some(leg) }
        }
        End::SecondFailed(failed, answer) => {
            let own = admitted.exchange(Some(ticket));
            note_failure(tour, call, &leg, &failed, walk, admitted);
            drop(admitted.exchange(own));
            Outcome { answer, by: None }
        }
    }
}

fn note_failure(
    tour: &Tour<'_>,
    call: &Call,
    leg: &Leg,
    failed: &Refusal,
    walk: &mut Walk<'_>,
    admitted: &mut Admitted,
) {
    let Refusal::Upstream { fault, .. } = failed else { return };
    let own = tour.is_own(call, fault);
    admitted.attempted(&leg.destination, leg.since, How::Failed { fault, own });
    if is_refusal(fault.class) {
        walk.refuses(leg.index);
    }
}

/// What is asked of the second call.
#[derive(Clone, Copy)]
struct Asked<'a> {
    call: &'a Arc<Call>,
    planned: &'a Planned,
    principal: &'a Principal,
    input_bytes: u64,
}

/// The deployment for a second call, if there is one that is well, is no dearer, and may be paid for.
async fn second(
    tour: &Tour<'_>,
    hedging: &Hedging<'_>,
    asked: Asked<'_>,
    first: &Leg,
    held: Option<&mut Held>,
    walk: &mut Walk<'_>,
) -> Option<(Leg, Ticket)> {
    let Asked { call, planned, principal, input_bytes } = asked;
    let now = tour.now(planned);
    if !walk.changes_for_the_better(&now) {
        return None;
    }
    let index = walk.peek(&now).filter(|index| *index != first.index)?;
    let deployment = &tour.table.deployments[index];
    if mock::of(call, deployment, principal).is_some() {
        return None;
    }
    let model = planned.resolved.upstream_model(&deployment.upstream_model);
    let destination = deployment.destination(&model, call.via(), tour.table).ok()?;
    let prompt = |destination: &Destination| {
        let input = tokens::estimate(&destination.model, input_bytes);
        destination.cost(&Usage { input, ..Usage::default() })
    };
    let extra = prompt(&destination).max(prompt(&first.destination));
    let pico = extra.map(|cost| u64::try_from(cost.pico()).unwrap_or(u64::MAX));
    // What is held counts in the budgets of the first one's provider, and of no other.
    let places = held.as_ref().map_or(&[][..], |held| &held.places);
    if !same(places, planned.budgets.of_deployment(index))
        || held.as_ref().is_some_and(|held| !held.covers(&destination))
        || !hedging.hedges.may(hedging.rule, now.steady(), pico)
        || !tour.may_retry(planned, walk, &now)
    {
        return None;
    }
    if let (Some(held), Some(extra)) = (held, extra)
        && held.hold.raise(extra) < extra
    {
        return None;
    }
    let hold = tour.hold(deployment, call, planned).await.ok()?;
    walk.step(&now);
    let leg = Leg { index, destination, since: Instant::now() };
    let ticket = tour.ticket(&leg, hold, planned);
    Some((leg, ticket))
}
