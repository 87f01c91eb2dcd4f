//! Tries the deployments of a group, in order, until one answers; then the group's fallbacks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faregate_router::{Dice, Plan, Standing, Verdict, Walk, is_refusal};
use faregate_state::limits::{Hold, Meter};
use faregate_terms::{Fault, FaultClass};

use crate::call::Call;
use crate::gate::{Gate, Table};
use crate::refusal::Refusal;
use crate::stage::admit::{Admitted, How};
use crate::stage::fallback::{self, fall_back};
use crate::stage::hedge::{Leg, Outcome};
use crate::stage::plan::{Planned, nowhere};
use crate::stage::reserve;
use crate::stage::send::Answer;
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
    let deadline = table.routing.deadline(call.arrival.at);
    let tour = Tour { gate, table, deadline, resumed: None };
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
    let plan = planned.plan.as_ref().map_err(Clone::clone)?;
    let retried = tour.resumed.map_or(0, |resumed| resumed.retried);
    admitted.meter.retries = retried;
    if level == 0 {
        tour.counts_request(planned);
    }
    let mut round = Round {
        tour,
        call,
        planned,
        plan,
        level,
        walk: tour.walk(planned, plan, level),
        rehearsal,
        retried,
        failed_over: 0,
        last: None,
        fitted: planned
            .first()
            .filter(|first| level == 0 && admitted.is_held_at(planned.budgets.of_deployment(*first))),
        since_asked: Instant::now(),
    };
    loop {
        let (leg, hold) = round.next(admitted).await?;
        match round.make(leg, hold, admitted).await {
            Ok(answer) => return Ok(answer),
            Err(Failed::Call(index, refusal)) => round.judge(index, refusal, admitted, dice).await?,
            Err(Failed::NotSent(refusal)) => return Err(refusal),
        }
    }
}

/// How one call failed.
enum Failed {
    /// At the deployment of this number.
    Call(usize, Refusal),
    /// It could not be made.
    NotSent(Refusal),
}

/// The attempts of one request at one level of a group.
struct Round<'r, 't> {
    tour: &'r Tour<'t>,
    call: &'r Arc<Call>,
    planned: &'r Planned,
    plan: &'r Plan,
    level: usize,
    walk: Walk<'r>,
    rehearsal: Option<Rehearsal>,
    retried: u32,
    /// Calls to deployments beyond its retries.
    failed_over: usize,
    /// The failure of the last call.
    last: Option<Refusal>,
    /// The deployment whose price the hold is made for.
    fitted: Option<usize>,
    since_asked: Instant,
}

impl Round<'_, '_> {
    /// The deployment to call next, with a place in its own limits and a hold that pays for it.
    async fn next(&mut self, admitted: &mut Admitted) -> Result<(Leg, Option<Hold>), Refusal> {
        let Self { tour, call, planned, .. } = *self;
        let (gate, table) = (tour.gate, tour.table);
        let (mut is_busy, mut is_spent) = (false, false);
        loop {
            let Some(index) = self.walk.step(&tour.now(planned)) else {
                if is_busy && self.last.is_none() && tour.place(call, self.since_asked, admitted).await {
                    tour.take_in(planned, &mut self.walk);
                    is_busy = false;
                    continue;
                }
                let tried = self.plan.level(self.level).iter().copied();
                let nobody = || match is_spent {
                    true => planned.budgets.crossed(table, tried, &gate.services.limits),
                    false => nowhere(gate, table, &call.model, tried, false),
                };
                return Err(self.last.take().unwrap_or_else(nobody));
            };
            let deployment = &table.deployments[index];
            let upstream_model = planned.resolved.upstream_model(&deployment.upstream_model);
            let destination = deployment.destination(&upstream_model, call.via(), table)?;
            let hold = match tour.hold(deployment, call, planned).await {
                Ok(hold) => hold,
                Err(meter) => {
                    is_busy |= meter == Meter::Parallel;
                    self.walk.leave_out(index);
                    continue;
                }
            };
            if self.fitted != Some(index) {
                let refitted =
                    reserve::refit(gate, table, call, planned, (index, &destination), admitted).await;
                let fits = refitted.map_err(|refused| self.last.take().unwrap_or(refused))?;
                self.fitted = fits.then_some(index);
                if !fits {
                    is_spent = true;
                    self.walk.leave_out(index);
                    continue;
                }
            }
            let (retried, reason) = (self.retried, self.plan.reason);
            tracing::debug!(deployment = %destination.deployment, reason, retried, "attempt");
            return Ok((Leg { index, destination, since: Instant::now() }, hold));
        }
    }

    /// Makes the call, and notes what came of it.
    async fn make(
        &mut self,
        leg: Leg,
        hold: Option<Hold>,
        admitted: &mut Admitted,
    ) -> Result<Answer, Failed> {
        let Self { tour, call, planned, .. } = *self;
        admitted.begin(tour.ticket(&leg, hold, planned), &leg);
        let rehearsed = self.rehearsal == Some(Rehearsal::RateLimit) && self.retried == 0;
        let outcome = if rehearsed {
            let fault = Fault::new(FaultClass::RateLimit, mock_text(&call.model));
            Outcome { answer: Err(Refusal::upstream(fault, "")), by: None }
        } else {
            tour.call(call, &leg, planned, &mut self.walk, admitted).await
        };
        let Leg { index, destination, since } = outcome.by.unwrap_or(leg);
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
            return Err(Failed::NotSent(refusal));
        };
        if rehearsed {
            admitted.not_sent();
        } else {
            let own = tour.is_own(call, fault);
            admitted.attempted(&destination, since, How::Failed { fault, own });
            admitted.meter.destination = Some(destination);
        }
        Err(Failed::Call(index, refusal))
    }

    /// True if a deployment that was not called yet may be, although there are no retries left. Source: compat,
    /// config §3, `enable_weighted_failover`.
    fn may_fail_over(&self) -> bool {
        let routing = &self.tour.table.routing;
        let steering = self.call.options.steering.as_deref();
        let most = steering.and_then(|it| it.max_fallbacks).unwrap_or(routing.max_fallbacks);
        routing.weighted_failover
            && self.failed_over < most
            && steering.is_none_or(|steering| !steering.no_fallbacks)
            && self.walk.has_fresh(&self.tour.now(self.planned))
    }

    /// Waits for another try, or gives up with the failure.
    async fn judge(
        &mut self,
        index: usize,
        refusal: Refusal,
        admitted: &mut Admitted,
        dice: &mut (dyn Dice + Send),
    ) -> Result<(), Refusal> {
        let Self { tour, call, planned, .. } = *self;
        let Refusal::Upstream { fault, .. } = &refusal else { return Err(refusal) };
        if is_refusal(fault.class) {
            self.walk.refuses(index);
        }
        let mut rule = tour.rule(call, planned, admitted);
        rule.retries = tour.retries(call, admitted, &tour.table.deployments[index]);
        admitted.meter.max_retries = rule.retries;
        let now = tour.now(planned);
        let standing = Standing { retried: self.retried, is_anybody_well: self.walk.has_more(&now) };
        let (wait, is_retry) = match rule.judge(fault, standing, dice.roll()) {
            Verdict::Retry(wait) => (wait, true),
            Verdict::GiveUp if self.may_fail_over() && rule.is_worthwhile(fault.class) => {
                (Duration::ZERO, false)
            }
            Verdict::GiveUp => return Err(refusal),
        };
        let is_in_time = tour.left().is_none_or(|left| wait < left);
        if !is_in_time || !tour.may_retry(planned, &self.walk, &now) {
            return Err(refusal);
        }
        self.last = Some(refusal);
        self.retried += u32::from(is_retry);
        self.failed_over += usize::from(!is_retry);
        admitted.meter.retries = self.retried;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
            admitted.waited(wait);
        }
        Ok(())
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
