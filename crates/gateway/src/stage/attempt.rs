//! Tries the deployments of a group, in order, until one answers; then the group's fallbacks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faregate_router::{ByClass, Dice, RetryRule, Standing, Verdict, Walk, is_refusal};
use faregate_state::limits::{Estimate, Hold, Meter};
use faregate_terms::{Fault, FaultClass};

use crate::call::Call;
use crate::destination::Destination;
use crate::gate::{Deployment, Gate, Table};
use crate::health::{Now, Ticket};
use crate::refusal::Refusal;
use crate::stage::admit::{Admitted, How};
use crate::stage::fallback::{self, fall_back};
use crate::stage::plan::{Planned, nowhere};
use crate::stage::send::{Answer, send, via};
use crate::stage::{mock, reserve};
use crate::steering::Rehearsal;

/// What every attempt of a request shares.
#[derive(Clone, Copy)]
pub(super) struct Tour<'a> {
    pub gate: &'a Arc<Gate>,
    pub table: &'a Table,
    /// When the request as a whole is over.
    deadline: Option<Instant>,
}

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
    let mut walk = Walk::new(plan.level(level));
    let mut retried = 0;
    let mut last = None;
    let since_asked = Instant::now();
    let mut is_busy = false;
    // The deployment whose price the hold is made for.
    let mut fitted = planned.first().filter(|_| level == 0);
    admitted.meter.retries = 0;
    loop {
        let now = Now::of(&gate.health, table, planned.expected.total());
        let Some(index) = walk.step(&now) else {
            if is_busy && last.is_none() && gate.health.place(tour.queue_end(call, since_asked)).await {
                walk.take_in();
                is_busy = false;
                continue;
            }
            let resting = plan.level(level).iter().copied();
            return Err(last.unwrap_or_else(|| nowhere(gate, table, &call.model, resting, false)));
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
            if let Err(refused) = reserve::refit(gate, table, call, planned, &destination, admitted).await {
                return Err(last.unwrap_or(refused));
            }
            fitted = Some(index);
        }
        tracing::debug!(deployment = %destination.deployment, reason = plan.reason, retried, "attempt");
        let since = Instant::now();
        admitted.begin(tour.ticket(index, &destination, hold, planned, since));
        let rehearsed = rehearsal == Some(Rehearsal::RateLimit) && retried == 0;
        let outcome = if rehearsed {
            Err(Refusal::upstream(Fault::new(FaultClass::RateLimit, mock_text(&call.model)), ""))
        } else {
            tour.call(call, &destination, deployment, admitted).await
        };
        let refusal = match outcome {
            Ok(answer) => {
                // A stream's attempt lasts until its end; the pump notes it there.
                if !matches!(answer, Answer::Stream { .. }) {
                    admitted.attempted(&destination, since, How::Answered);
                }
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
        let now = Now::of(&gate.health, table, planned.expected.total());
        let standing = Standing { retried, is_anybody_well: walk.has_more(&now) };
        let verdict = rule.judge(fault, standing, dice.roll());
        last = Some(refusal);
        match (verdict, last) {
            (Verdict::Retry(wait), failed) if tour.left().is_none_or(|left| wait < left) => {
                last = failed;
                retried += 1;
                admitted.meter.retries = retried;
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
            }
            (_, failed) => return Err(failed.unwrap_or(Refusal::Internal)),
        }
    }
}

impl<'a> Tour<'a> {
    /// What is left of the request's time, if it has an end.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Until when a request waits for a place: as long as an attempt may take.
    fn queue_end(&self, call: &Call, since: Instant) -> Instant {
        let most = call.options.timeout.unwrap_or(self.table.settings.timeout);
        let end = since.checked_add(most).unwrap_or(since);
        self.deadline.map_or(end, |deadline| deadline.min(end))
    }

    fn rule(&self, call: &Call, planned: &Planned, admitted: &Admitted) -> RetryRule {
        let routing = &self.table.routing;
        // A client that wants no retries gets none, whatever a policy says. Source: compat, behaviour §9.
        let policy = match call.options.num_retries {
            Some(0) => ByClass::default(),
            _ => {
                let group = planned.resolved.group.as_str();
                let own = admitted.principal.preferences().and_then(|preferences| preferences.policy(group));
                own.unwrap_or_else(|| routing.policy(group))
            }
        };
        RetryRule {
            siblings: planned.resolved.members.len(),
            retries: 0,
            policy,
            retry_after: self.table.settings.retry_after,
        }
    }

    /// The client's number, else its key's or team's, else the deployment's, else the router's.
    fn retries(&self, call: &Call, admitted: &Admitted, deployment: &Deployment) -> u32 {
        let preferred = admitted.principal.preferences().and_then(|preferences| preferences.num_retries);
        let own = deployment.config.params.num_retries.and_then(|number| u32::try_from(number).ok());
        call.options.num_retries.or(preferred).or(own).unwrap_or(self.table.settings.num_retries)
    }

    /// Holds the call in the deployment's own limits, `None` if it has none; or tells which kind refuses.
    async fn hold(
        &self,
        deployment: &Deployment,
        call: &Call,
        planned: &Planned,
    ) -> Result<Option<Hold>, Meter> {
        if deployment.limits.is_empty() {
            return Ok(None);
        }
        let expected = planned.expected.within(deployment.config.params.tpm);
        let estimate =
            Estimate { input_tokens: expected.input, output_tokens: expected.output, ..Estimate::default() };
        let limits = &self.gate.services.limits;
        let held = limits.reserve(&deployment.limits, &estimate, call.arrival.id.clone()).await;
        held.map(Some).map_err(|denied| denied.standing.limit.meter())
    }

    fn ticket(
        &self,
        index: usize,
        destination: &Destination,
        hold: Option<Hold>,
        planned: &Planned,
        since: Instant,
    ) -> Ticket {
        let deployment = &self.table.deployments[index];
        let vitals = &self.table.vitals(&self.gate.health)[index];
        let labels = deployment.labels(destination);
        let tokens = planned.expected.total();
        Ticket::take(&self.gate.health, vitals, &deployment.care, labels, hold, tokens, since)
    }

    async fn call(
        &self,
        call: &Arc<Call>,
        destination: &Arc<Destination>,
        deployment: &Deployment,
        admitted: &mut Admitted,
    ) -> Result<Answer, Refusal> {
        match mock::of(call, deployment, admitted) {
            Some(mock) => mock::answer(self.table, call, destination, mock, self.left()).await,
            None => send(self.table, call, destination, admitted, self.left()).await,
        }
    }

    /// False if the client's own timeout, or the request's end, cut the deployment off.
    fn is_own(&self, call: &Call, fault: &Fault) -> bool {
        let by_client = call.options.timeout.is_some() || call.options.stream_timeout.is_some();
        let was_cut = by_client || self.left().is_some_and(|left| left.is_zero());
        !(was_cut && fault.class == FaultClass::Timeout && fault.upstream_status.is_none())
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
