use std::sync::Arc;
use std::time::Duration;

use faregate_router::Facts;
use faregate_state::limits::Meter;

use super::{Health, Vitals};
use crate::gate::{Deployment, Table};

/// How the deployments of a configuration are right now.
pub struct Now<'a> {
    health: &'a Health,
    deployments: &'a [Deployment],
    vitals: &'a [Arc<Vitals>],
    /// Tokens the request is expected to use.
    tokens: u64,
    steady: Duration,
    minute: i64,
}

impl<'a> Now<'a> {
    /// Looks at the clocks once; `tokens` are what the request is expected to use.
    pub fn of(health: &'a Health, table: &'a Table, tokens: u64) -> Self {
        Self {
            health,
            deployments: &table.deployments,
            vitals: table.vitals(health),
            tokens,
            steady: health.clock.steady(),
            minute: health.minute(),
        }
    }
}

impl Now<'_> {
    /// True if one of a deployment's own limits has less left than what is asked of it.
    fn is_at(&self, deployment: usize, asks: impl Fn(Meter) -> Option<i128>) -> bool {
        self.deployments[deployment].limits.iter().any(|limit| {
            let Some(asks) = asks(limit.meter()) else { return false };
            let standing = self.health.limits.standing(limit);
            // Who expects more than the whole limit may have it all.
            standing.remaining() < asks.min(standing.amount())
        })
    }
}

impl Facts for Now<'_> {
    fn rests(&self, deployment: usize) -> bool {
        self.health.cooldowns.rests(&self.deployments[deployment].config.id)
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

    fn is_busy(&self, deployment: usize) -> bool {
        self.is_at(deployment, |meter| (meter == Meter::Parallel).then_some(1))
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
}
