//! How deployments are doing: who rests, how busy and how fast they are.
//!
//! Outlives a configuration: a deployment that a reload leaves as it is keeps its record, by its id. Each call
//! takes a [`Ticket`], which notes how the call went; [`Now`] answers the router's questions.

mod affinity;
mod facts;
mod keyring;
mod others;
mod queue;
mod ticket;
mod vitals;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use faregate_router::{CooldownRule, Hedges, OwnRule, RetryBudget, Router};
use faregate_state::affinity::Affinity;
use faregate_state::clock::Clock;
use faregate_state::cooldown::Cooldowns;
use faregate_state::limits::Limits;
use faregate_terms::{DeploymentId, Fault, ModelGroup};

use crate::checkup::Checkups;
use crate::gate::{Deployment, Services};
use crate::metrics::{DeploymentLabels, Metrics, Outage};

pub use affinity::{Bond, Kinship};
pub(crate) use affinity::{find, keep};
pub use facts::Now;
pub use keyring::Keyring;
pub use others::share;
pub use queue::Queue;
pub use ticket::{Measured, Ticket};
pub use vitals::{Memory, Vitals};

/// How every deployment is doing. One per process.
pub struct Health {
    known: RwLock<HashMap<DeploymentId, Arc<Vitals>>>,
    groups: RwLock<HashMap<ModelGroup, Arc<GroupRecord>>>,
    /// Who served whom.
    pub affinity: Affinity,
    cooldowns: Cooldowns,
    key_rests: Cooldowns,
    checkups: Checkups,
    limits: Limits,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Told when a deployment with a limit of parallel requests has a place again.
    queue: Queue,
}

/// What a group's requests did together.
#[derive(Debug, Default)]
pub struct GroupRecord {
    /// Its retries.
    pub retries: RetryBudget,
    /// Its second calls.
    pub hedges: Hedges,
}

/// How one deployment is looked after; from its configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Care {
    /// When it must rest.
    pub cooldown: CooldownRule,
    /// What it has of its own in that.
    pub own: OwnRule,
    /// What is remembered of its latency.
    pub memory: Memory,
}

impl Health {
    /// Nothing known yet.
    pub fn new(services: &Services, metrics: Arc<Metrics>) -> Self {
        Self {
            known: RwLock::default(),
            groups: RwLock::default(),
            affinity: services.affinity.clone(),
            cooldowns: services.cooldowns.clone(),
            key_rests: services.key_rests.clone(),
            checkups: services.checkups.clone(),
            limits: services.limits.clone(),
            clock: Arc::clone(&services.clock),
            metrics,
            queue: Queue::default(),
        }
    }

    /// The records of a configuration's deployments, in their order. Records of those that no configuration
    /// in use has are dropped.
    pub fn seat(&self, deployments: &[Deployment]) -> Vec<Arc<Vitals>> {
        for deployment in deployments {
            if let Some(ring) = &deployment.keyring {
                ring.share(&self.key_rests);
            }
        }
        let mut known = self.known.write();
        let seats = deployments
            .iter()
            .map(|deployment| Arc::clone(known.entry(deployment.config.id.clone()).or_default()))
            .collect();
        known.retain(|_, vitals| Arc::strong_count(vitals) > 1);
        seats
    }

    /// The records of a configuration's groups, in the order of their names. Those of groups that no
    /// configuration in use has are dropped.
    pub fn groups(&self, router: &Router) -> Vec<Arc<GroupRecord>> {
        let mut known = self.groups.write();
        let groups =
            router.names().iter().map(|name| Arc::clone(known.entry(name.clone()).or_default())).collect();
        known.retain(|_, record| Arc::strong_count(record) > 1);
        groups
    }

    /// The deployments that rest, and why.
    pub fn cooldowns(&self) -> &Cooldowns {
        &self.cooldowns
    }

    /// Requests that wait for a place.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Lets a deployment rest that has earned it by this failure; true if it does.
    fn judge(
        &self,
        vitals: &Vitals,
        care: &Care,
        labels: &DeploymentLabels,
        fault: &Fault,
        was_trial: bool,
    ) -> bool {
        let now = self.clock.steady();
        let memory = care.cooldown.memory(&care.own);
        let tally = vitals.failed(fault.class, self.minute(), now, memory, was_trial);
        let Some(rest) = care.cooldown.judge(&care.own, fault, &tally) else {
            self.metrics.outage(vitals, labels, Outage::Partial);
            return false;
        };
        vitals.lies_down();
        let reason = fault.class.status().to_string();
        self.cooldowns.rest(&labels.id, rest, &reason);
        self.metrics.outage(vitals, labels, Outage::Complete);
        self.metrics.cooled_down(labels, fault.class.status());
        tracing::warn!(
            deployment = %labels.id,
            class = fault.class.name(),
            rest_ms = rest.as_millis() as u64,
            "a deployment rests after failures"
        );
        true
    }

    /// The steady clock.
    pub fn steady(&self) -> Duration {
        self.clock.steady()
    }

    fn gives_place(&self) {
        self.queue.call();
    }

    /// The current minute, by the wall clock.
    fn minute(&self) -> i64 {
        self.clock.wall_ms().div_euclid(60_000)
    }
}
