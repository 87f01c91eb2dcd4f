//! Tries the deployments of a group, in order, until one answers; then the group's fallbacks.

use std::sync::Arc;
use std::time::Instant;

use faregate_router::{Dice, Standing, Verdict, is_refusal};
use faregate_state::limits::Meter;
use faregate_terms::{Fault, FaultClass};

use crate::call::Call;
use crate::gate::{Gate, Table};
use crate::refusal::Refusal;
use crate::stage::admit::{Admitted, How};
use crate::stage::fallback::{self, fall_back};
use crate::stage::hedge::{Leg, Outcome};
use crate::stage::plan::{Planned, nowhere};
use crate::stage::reserve;
use crate::stage::send::{Answer, via};
use crate::stage::tour::Tour;
use crate::steering::Rehearsal;

/// Makes attempts until one answers or none is left. What comes back with the answer is the call that was
/// answered: another than the client's if another group did.
///
/// # Errors
/// The failure of the group the client named, if no attempt answered.
pub async fn attempt(
    gate: &Arc<Gate>,
    table: &Table,
    call: Arc<Call>,
    planned: &Planned,
    admitted: &mut Admitted,
    dice: &mut (dyn Dice + Send),
) -> Result<(Arc<Call>, Answer), Refusal> {
    let deadline = table.routing.total_timeout.and_then(|most| call.arrival.at.checked_add(most));
    let tour = Tour { gate, table, deadline };
    let rehearsal = call.options.steering.as_deref().and_then(|steering| steering.rehearsal);
    let failed = match rehearsal.and_then(|asked| rehearse(asked, &call.model)) {
        Some(failed) => failed,
        None => match group(&tour, &call, planned, 0, rehearsal, admitted, dice).await {
            Ok(answer) => return Ok((call, answer)),
            Err(failed) => failed,
        },
    };
    if !fallback::helps(&failed) || tour.left().is_some_and(|left| left.is_zero()) {
        return Err(failed);
    }
    // Boxed, so that a request that needs no fallback does not carry the room of one.
    Box::pin(fall_back(&tour, call, planned, failed, admitted, dice)).await
}

/// Tries the deployments of one level of a group, with its retries.
pub(super) async fn group(
    tour: &Tour<'_>,
    call: &Arc<Call>,
    planned: &Planned,
    level: usize,
    rehearsal: Option<Rehearsal>,
    admitted: &mut Admitted,
    dice: &mut (dyn Dice + Send),
) -> Result<Answer, Refusal> {
    let (gate, table) = (tour.gate, tour.table);
    let plan = planned.plan.as_ref().map_err(Clone::clone)?;
    let mut rule = tour.rule(call, planned, admitted);
    let mut walk = plan.walk(level);
    let mut retried = 0;
    let mut last = None;
    let since_asked = Instant::now();
    let mut is_busy = false;
    // The deployment whose price the hold is made for.
    let mut fitted = planned
        .first()
        .filter(|first| level == 0 && admitted.is_held_at(planned.budgets.of_deployment(*first)));
    let mut is_spent = false;
    admitted.meter.retries = 0;
    if level == 0 {
        tour.counts_request(planned);
    }
    loop {
        let now = tour.now(planned);
        let Some(index) = walk.step(&now) else {
            if is_busy && last.is_none() && tour.place(call, since_asked, admitted).await {
                walk.take_in();
                is_busy = false;
                continue;
            }
            let tried = plan.level(level).iter().copied();
            return Err(last.unwrap_or_else(|| match is_spent {
                true => planned.budgets.crossed(table, tried, &gate.services.limits),
                false => nowhere(gate, table, &call.model, tried, false),
            }));
        };
        let deployment = &table.deployments[index];
        let upstream_model = planned.resolved.upstream_model(&deployment.upstream_model);
        let destination = deployment.destination(&upstream_model, via(call.dialect), table)?;
        let hold = match tour.hold(deployment, call, planned).await {
            Ok(hold) => hold,
            Err(meter) => {
                is_busy |= meter == Meter::Parallel;
                walk.leave_out(index);
                continue;
            }
        };
        if fitted != Some(index) {
            match reserve::refit(gate, table, call, planned, (index, &destination), admitted).await {
                Ok(true) => fitted = Some(index),
                Ok(false) => {
                    is_spent = true;
                    fitted = None;
                    walk.leave_out(index);
                    continue;
                }
                Err(refused) => return Err(last.unwrap_or(refused)),
            }
        }
        tracing::debug!(deployment = %destination.deployment, reason = plan.reason, retried, "attempt");
        let leg = Leg { index, destination, since: Instant::now() };
        admitted.begin(tour.ticket(&leg, hold, planned), &leg);
        let rehearsed = rehearsal == Some(Rehearsal::RateLimit) && retried == 0;
        let outcome = if rehearsed {
            let fault = Fault::new(FaultClass::RateLimit, mock_text(&call.model));
            Outcome { answer: Err(Refusal::upstream(fault, "")), by: None }
        } else {
            tour.call(call, &leg, planned, &mut walk, admitted).await
        };
        let Leg { index, destination, since } = outcome.by.unwrap_or(leg);
        let deployment = &table.deployments[index];
        let refusal = match outcome.answer {
            Ok(mut answer) => {
                match &mut answer {
                    // A stream's attempt lasts until its end; the pump notes it there.
                    Answer::Stream { pump, .. } => pump.began(since),
                    _ => admitted.attempted(&destination, since, How::Answered),
                }
                tour.served(planned, &destination, admitted);
                admitted.meter.destination = Some(destination);
                return Ok(answer);
            }
            Err(refusal) => refusal,
        };
        let Refusal::Upstream { fault, .. } = &refusal else {
            admitted.not_sent();
            return Err(refusal);
        };
        if rehearsed {
            admitted.not_sent();
        } else {
            let own = tour.is_own(call, fault);
            admitted.attempted(&destination, since, How::Failed { fault, own });
            admitted.meter.destination = Some(Arc::clone(&destination));
        }
        if is_refusal(fault.class) {
            walk.refuses(index);
        }
        rule.retries = tour.retries(call, admitted, deployment);
        admitted.meter.max_retries = rule.retries;
        let now = tour.now(planned);
        let standing = Standing { retried, is_anybody_well: walk.has_more(&now) };
        let verdict = rule.judge(fault, standing, dice.roll());
        last = Some(refusal);
        match (verdict, last) {
            (Verdict::Retry(wait), failed)
                if tour.left().is_none_or(|left| wait < left) && tour.may_retry(planned, &walk, &now) =>
            {
                last = failed;
                retried += 1;
                admitted.meter.retries = retried;
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                    admitted.waited(wait);
                }
            }
            (_, failed) => return Err(failed.unwrap_or(Refusal::Internal)),
        }
    }
}

/// A failure of the group before anybody is called, as the client asks for.
fn rehearse(asked: Rehearsal, model: &str) -> Option<Refusal> {
    let class = match asked {
        Rehearsal::Failure => FaultClass::Internal,
        Rehearsal::ContextWindow => FaultClass::ContextWindow,
        Rehearsal::ContentPolicy => FaultClass::ContentPolicy,
        Rehearsal::RateLimit => return None,
    };
    Some(Refusal::upstream(Fault::new(class, mock_text(model)), ""))
}

fn mock_text(model: &str) -> String {
    format!("This is a mock exception for model={model}, to trigger a fallback")
}
