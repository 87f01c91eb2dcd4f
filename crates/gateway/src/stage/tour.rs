//! What the attempts of one request have in common: its time, its retries, its places.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faregate_router::{ByClass, Plan, RetryRule, Walk};
use faregate_state::limits::{Estimate, Hold, Meter};
use faregate_terms::{DeploymentId, Fault, FaultClass};

use crate::call::Call;
use crate::destination::Destination;
use crate::gate::{Deployment, Gate, Table};
use crate::health::{self, Now, Ticket};
use crate::routing::StreamGuard;
use crate::stage::admit::Admitted;
use crate::stage::hedge::{self, Hedging, Leg, Outcome};
use crate::stage::mock;
use crate::stage::plan::Planned;
use crate::stage::send::send;

/// What every attempt of a request shares.
#[derive(Clone, Copy)]
pub(super) struct Tour<'a> {
    pub gate: &'a Arc<Gate>,
    pub table: &'a Table,
    /// When the request as a whole is over.
    pub deadline: Option<Instant>,
    /// Set when it goes on with a stream that broke off.
    pub resumed: Option<&'a Resumed>,
}

/// A request that goes on elsewhere with a stream that broke off.
pub(super) struct Resumed {
    /// The deployment that broke it off, which is not asked again.
    pub broken: DeploymentId,
    /// Retries the request has made, this one included.
    pub retried: u32,
}

impl<'a> Tour<'a> {
    /// What is left of the request's time, if it has an end.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Until when a request waits for a place: as long as an attempt may take.
    pub(super) fn queue_end(&self, call: &Call, since: Instant) -> Instant {
        let most = call.options.timeout.unwrap_or(self.table.settings.timeout);
        let end = since.checked_add(most).unwrap_or(since);
        self.deadline.map_or(end, |deadline| deadline.min(end))
    }

    /// How the group's deployments are right now.
    pub(super) fn now<'p>(&self, planned: &'p Planned) -> Now<'p>
    where
        'a: 'p,
    {
        let (members, tokens) = (&planned.resolved.members, planned.expected.total());
        Now::of(&self.gate.health, self.table, members, &planned.budgets, tokens)
    }

    /// The group has one more request to serve, which pays for a part of a retry.
    pub(super) fn counts_request(&self, planned: &Planned) {
        if self.table.routing.retry_budget.is_some() && self.resumed.is_none() {
            let groups = self.table.groups(&self.gate.health);
            groups[planned.resolved.members.group].retries.request(self.gate.health.steady());
        }
    }

    /// A walk over a level of the group; a deployment that broke the stream off is left out.
    pub(super) fn walk<'p>(&self, planned: &Planned, plan: &'p Plan, level: usize) -> Walk<'p> {
        let mut walk = plan.walk(level);
        if let Some(index) = self.broken(planned) {
            walk.leave_out(index);
        }
        walk
    }

    /// Takes those in again that had no place, but for a deployment that broke the stream off.
    pub(super) fn take_in(&self, planned: &Planned, walk: &mut Walk<'_>) {
        walk.take_in();
        if let Some(index) = self.broken(planned) {
            walk.leave_out(index);
        }
    }

    fn broken(&self, planned: &Planned) -> Option<usize> {
        let broken = &self.resumed?.broken;
        let mut members = planned.resolved.members.iter().copied();
        members.find(|&index| self.table.deployments[index].config.id == *broken)
    }

    /// Somebody answers: requests that belong with this one follow it there.
    pub(super) fn served(&self, planned: &Planned, destination: &Destination, admitted: &mut Admitted) {
        let bonding = &self.table.routing.bonding;
        if !bonding.is_off() {
            let group = &self.table.router.names()[planned.resolved.members.group];
            admitted.ties = bonding.ties(group.as_str(), &admitted.principal);
        }
        if planned.bonds.is_empty() {
            return;
        }
        let health = &self.gate.health;
        health::keep(&health.affinity, &planned.bonds, &destination.deployment);
        let is_first = planned
            .first()
            .is_some_and(|index| self.table.deployments[index].config.id == destination.deployment);
        admitted.meter.kinship = planned.kinship.filter(|_| is_first);
    }

    /// True if the group may make one more call for the same request.
    pub(super) fn may_retry(&self, planned: &Planned, walk: &Walk<'_>, now: &Now<'_>) -> bool {
        let Some(rule) = &self.table.routing.retry_budget else { return true };
        let number = planned.resolved.members.group;
        let is_change = walk.changes_for_the_better(now);
        let granted =
            self.table.groups(&self.gate.health)[number].retries.retry(rule, now.steady(), is_change);
        self.gate.metrics.retried(&self.table.router.names()[number], granted);
        granted
    }

    /// Waits for a place at a deployment; false if there is no more waiting.
    pub(super) async fn place(&self, call: &Call, since_asked: Instant, admitted: &mut Admitted) -> bool {
        let since = Instant::now();
        let own = call.options.steering.as_deref().and_then(|steering| steering.priority);
        let priority = own.unwrap_or(self.table.routing.default_priority);
        let end = self.queue_end(call, since_asked);
        let may_be_free = self.gate.health.queue().turn(priority, since_asked, end).await;
        admitted.waited(since.elapsed());
        may_be_free
    }

    pub(super) fn rule(&self, call: &Call, planned: &Planned, admitted: &Admitted) -> RetryRule {
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
    pub(super) fn retries(&self, call: &Call, admitted: &Admitted, deployment: &Deployment) -> u32 {
        let preferred = admitted.principal.preferences().and_then(|preferences| preferences.num_retries);
        let own = deployment.config.params.num_retries.and_then(|number| u32::try_from(number).ok());
        call.options.num_retries.or(preferred).or(own).unwrap_or(self.table.settings.num_retries)
    }

    /// Holds the call in the deployment's own limits, `None` if it has none; or tells which kind refuses.
    pub(super) async fn hold(
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

    /// What notes how a call goes.
    pub(super) fn ticket(&self, leg: &Leg, hold: Option<Hold>, planned: &Planned) -> Ticket {
        let deployment = &self.table.deployments[leg.index];
        let vitals = &self.table.vitals(&self.gate.health)[leg.index];
        let labels = deployment.labels(&leg.destination);
        let tokens = planned.expected.total();
        Ticket::take(&self.gate.health, vitals, &deployment.care, labels, hold, tokens, leg.since)
    }

    /// Makes one call, and a second one beside it where the group is hedged and the first is slow.
    pub(super) async fn call(
        &self,
        call: &Arc<Call>,
        leg: &Leg,
        planned: &Planned,
        walk: &mut Walk<'_>,
        admitted: &mut Admitted,
    ) -> Outcome {
        let deployment = &self.table.deployments[leg.index];
        let answer = match mock::of(call, deployment, &admitted.principal) {
            Some(mock) => mock::answer(self.table, call, &leg.destination, mock, self.left()).await,
            None => {
                if let Some(hedging) = self.hedging(planned, admitted) {
                    // Boxed, so that requests of other groups do not carry the room of a second call.
                    return Box::pin(hedge::race(self, &hedging, call, leg, planned, walk, admitted)).await;
                }
                let may_retry = self.retries(call, admitted, deployment) > admitted.meter.retries;
                admitted.meter.guard = self.guard(planned, walk).filter(|_| may_retry);
                let longest = admitted.held.as_ref().and_then(|held| held.longest);
                send(self.table, call, &leg.destination, longest, &mut admitted.meter, self.left()).await
            }
        };
        Outcome { answer, by: None }
    }

    /// How the stream must begin; `None` where there is no guard, or nobody to turn to.
    fn guard(&self, planned: &Planned, walk: &Walk<'_>) -> Option<StreamGuard> {
        let guards = &self.table.routing.guards;
        if guards.is_empty() || self.resumed.is_some() {
            return None;
        }
        let number = planned.resolved.members.group;
        let guard = guards.get(self.table.router.names()[number].as_str())?;
        walk.changes_for_the_better(&self.now(planned)).then_some(*guard)
    }

    /// How the group is hedged; `None` if it is not.
    fn hedging(&self, planned: &Planned, admitted: &mut Admitted) -> Option<Hedging<'a>> {
        let hedged = &self.table.routing.hedging;
        if hedged.is_empty() {
            return None;
        }
        let number = planned.resolved.members.group;
        let rule = hedged.get(self.table.router.names()[number].as_str())?;
        let record = &self.table.groups(&self.gate.health)[number];
        admitted.group_record = Some(Arc::clone(record));
        Some(Hedging { rule, hedges: &record.hedges })
    }

    /// False if the client's own timeout, or the request's end, cut the deployment off.
    pub(super) fn is_own(&self, call: &Call, fault: &Fault) -> bool {
        let by_client = call.options.timeout.is_some() || call.options.stream_timeout.is_some();
        let was_cut = by_client || self.left().is_some_and(|left| left.is_zero());
        !(was_cut && fault.class == FaultClass::Timeout && fault.upstream_status.is_none())
    }
}
