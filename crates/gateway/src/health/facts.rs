use std::sync::Arc;
use std::time::Duration;

use faregate_router::{Facts, Members};
use faregate_state::limits::Meter;

use super::{Health, Vitals};
use crate::gate::{Deployment, Table};
use crate::stage::places::Budgets;

/// How the deployments of a configuration are right now.
pub struct Now<'a> {
    health: &'a Health,
    deployments: &'a [Deployment],
    vitals: &'a [Arc<Vitals>],
    budgets: &'a Budgets,
    /// Tokens the request is expected to use.
    tokens: u64,
    steady: Duration,
    minute: i64,
    anyone_rests: bool,
    has_limits: bool,
    is_pressed: bool,
}

impl<'a> Now<'a> {
    /// Looks at the clocks once; `tokens` are what a request to `members` is expected to use.
    pub fn of(
        health: &'a Health,
        table: &'a Table,
        members: &Members,
        budgets: &'a Budgets,
        tokens: u64,
    ) -> Self {
        let steady = health.clock.steady();
        let is_pressed = || table.groups(health)[members.group].retries.is_pressed(steady);
        Self {
            health,
            deployments: &table.deployments,
            vitals: table.vitals(health),
            budgets,
            tokens,
            steady,
            minute: health.minute(),
            has_limits: table.has_own_limits,
            anyone_rests: health.cooldowns.anyone_rests(steady),
            is_pressed: table.routing.retry_budget.is_some() && is_pressed(),
        }
    }
}

impl Now<'_> {
    /// The steady clock.
    pub fn steady(&self) -> Duration {
        self.steady
    }

    /// True if one of a deployment's own limits has less left than what is asked of it.
    fn is_at(&self, deployment: usize, asks: impl Fn(Meter) -> Option<i128>) -> bool {
        // Not even looked at, as in a large group each is a walk to cold memory.
        self.has_limits
            && self.deployments[deployment].limits.iter().any(|limit| {
                let Some(asks) = asks(limit.meter()) else { return false };
                let standing = self.health.limits.standing(limit);
                // Who expects more than the whole limit may have it all.
                standing.remaining() < asks.min(standing.amount())
            })
    }
}

impl Facts for Now<'_> {
    fn rests(&self, deployment: usize) -> bool {
        let id = &self.deployments[deployment].config.id;
        (self.anyone_rests && self.health.cooldowns.rests(id)) || self.health.checkups.is_out(id)
    }

    fn is_on_trial(&self, deployment: usize) -> bool {
        self.vitals[deployment].is_on_trial()
    }

    fn is_full(&self, deployment: usize) -> bool {
        self.is_at(deployment, |meter| match meter {
            Meter::Requests => Some(1),
            Meter::Tokens(_) => Some(i128::from(self.tokens.max(1))),
            Meter::Parallel | Meter::Budget => None,
        })
    }

    fn is_spent(&self, deployment: usize) -> bool {
        self.budgets.is_spent(deployment, &self.health.limits)
    }

    fn is_busy(&self, deployment: usize) -> bool {
        self.is_at(deployment, |meter| (meter == Meter::Parallel).then_some(1))
            || self.budgets.is_held(deployment, &self.health.limits)
    }

    fn in_flight(&self, deployment: usize) -> u64 {
        self.vitals[deployment].in_flight()
    }

    fn tokens(&self, deployment: usize) -> u64 {
        self.vitals[deployment].tokens(self.minute)
    }

    fn latency(&self, deployment: usize, stream: bool) -> Option<f64> {
        let memory = &self.deployments[deployment].care.memory;
        self.vitals[deployment].latency(stream, self.steady, memory)
    }

    fn is_shaky(&self, deployment: usize) -> bool {
        self.vitals[deployment].is_shaky()
    }

    fn is_pressed(&self) -> bool {
        self.is_pressed
    }
}
