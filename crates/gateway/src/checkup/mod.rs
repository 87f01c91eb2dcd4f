//! Asking deployments how they are, before clients find out.
//!
//! [`probe`] makes one real call and books what it cost on an account of its own; [`round`] makes many.
//! [`Checkups`] remembers what was found, shares it with other replicas, and says who gets no requests. When
//! checks are due is decided by whoever runs them in the background.

mod finding;
mod probe;
mod rules;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use faregate_state::clock::Clock;
use faregate_state::feed::{Feed, Message, SharedLog};
use faregate_terms::DeploymentId;
use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::RwLock;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::gate::{Deployment, Gate, Table};

pub use finding::{Finding, Verdict};
pub use probe::{ACCOUNT, probe};
pub use rules::Rules;

/// The topic of the shared log.
pub const TOPIC: &str = "checkup";
/// Findings somebody who writes them down may fall behind.
const LAG: usize = 1024;

/// What checks have found. Cheap to clone.
#[derive(Clone)]
pub struct Checkups(Arc<Inner>);

struct Inner {
    found: RwLock<HashMap<DeploymentId, Arc<Finding>>>,
    /// Who gets no requests.
    out: ArcSwap<HashSet<DeploymentId>>,
    /// Most of the time nobody is out, and asking is one load.
    is_anybody_out: AtomicBool,
    feed: Feed,
    is_shared: bool,
    own: broadcast::Sender<Arc<Finding>>,
    clock: Arc<dyn Clock>,
}

impl Checkups {
    /// Within this replica only.
    pub fn alone(clock: Arc<dyn Clock>) -> Self {
        Self::over(Feed::alone(Arc::clone(&clock)), false, clock)
    }

    /// Between replicas, over the log of [`TOPIC`]: what one finds, all know within a second, and a new
    /// replica hears of it at its start. Run the future as a task that is awaited at shutdown.
    pub fn shared(
        log: Arc<dyn SharedLog>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (feed, follow) = Feed::shared(log, Arc::clone(&clock), true);
        let checkups = Self::over(feed, true, clock);
        let (hearing, mut messages) = (checkups.clone(), checkups.0.feed.subscribe());
        let hear = async move {
            while let Some(message) = messages.next().await {
                let Message::Said(text) = message else { continue };
                match serde_json::from_str(&text) {
                    Ok(finding) => hearing.remember(finding),
                    Err(error) => tracing::debug!(%error, "another version's finding is not understood"),
                }
            }
        };
        let run = async move {
            tokio::select! {
                () = follow.run(stop) => {}
                () = hear => {}
            }
        };
        (checkups, run)
    }

    fn over(feed: Feed, is_shared: bool, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            found: RwLock::default(),
            out: ArcSwap::default(),
            is_anybody_out: AtomicBool::new(false),
            feed,
            is_shared,
            own: broadcast::channel(LAG).0,
            clock,
        }))
    }

    /// True if replicas tell each other.
    pub fn is_shared(&self) -> bool {
        self.0.is_shared
    }

    /// How long nothing could be heard from other replicas.
    pub fn silent_for(&self) -> Duration {
        self.0.feed.silent_for()
    }

    /// Notes what this replica found, and tells the others and whoever writes it down.
    pub fn note(&self, finding: Finding) {
        if let Ok(text) = serde_json::to_string(&finding) {
            self.0.feed.publish(&text);
        }
        // Where nothing is written down nobody listens.
        let _ = self.0.own.send(Arc::new(finding.clone()));
        self.remember(finding);
    }

    /// Takes over what somebody else found, or found earlier; older news than what is known is none.
    pub fn remember(&self, finding: Finding) {
        let mut found = self.0.found.write();
        match found.get(&finding.deployment) {
            Some(known) if known.at > finding.at => {}
            _ => drop(found.insert(finding.deployment.clone(), Arc::new(finding))),
        }
    }

    /// What was found last of a deployment.
    pub fn of(&self, deployment: &DeploymentId) -> Option<Arc<Finding>> {
        self.0.found.read().get(deployment).cloned()
    }

    /// What this replica finds, from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Finding>> {
        self.0.own.subscribe()
    }

    /// How long ago a deployment was checked; `None` if it never was.
    pub fn age(&self, deployment: &DeploymentId) -> Option<Duration> {
        let at = self.0.found.read().get(deployment)?.at;
        let age = self.0.clock.wall_ms().saturating_sub(at);
        Some(Duration::from_millis(u64::try_from(age).unwrap_or_default()))
    }

    /// True if a deployment gets no requests. Nearly free while none is out.
    pub fn is_out(&self, deployment: &DeploymentId) -> bool {
        self.0.is_anybody_out.load(Ordering::Acquire) && self.0.out.load().contains(deployment)
    }

    /// True if a deployment failed its last background check, not too long ago.
    fn fails(&self, rules: &Rules, deployment: &Deployment) -> bool {
        let id = &deployment.config.id;
        let found = self.of(id).filter(|it| it.verdict == Verdict::Unhealthy);
        let is_recent = || self.age(id).is_some_and(|age| age < rules.staleness);
        found.is_some_and(|it| !(rules.ignore_transient && it.is_transient()))
            && is_recent()
            && rules.covers(deployment)
    }

    /// True if no deployment of a group passed its last background check: lists may leave it out. A group of which
    /// something is not known is shown.
    pub fn is_down(&self, table: &Table, group: &str) -> bool {
        let members = table.router.members(group);
        !members.is_empty()
            && members.iter().all(|&index| self.fails(&table.checks, &table.deployments[index]))
    }

    /// Decides who gets no requests: who failed the last check not too long ago, unless all of its group did.
    /// Forgets deployments that are no longer configured.
    pub fn rotate(&self, table: &Table) {
        let rules = &table.checks;
        let mut groups: HashMap<&str, (usize, Vec<&DeploymentId>)> = HashMap::new();
        for deployment in table.deployments.iter().filter(|_| rules.routes) {
            let (members, failed) = groups.entry(deployment.config.group.as_str()).or_default();
            *members += 1;
            if self.fails(rules, deployment) {
                failed.push(&deployment.config.id);
            }
        }
        let leaves = groups.into_values().filter(|(members, failed)| failed.len() < *members);
        let out: HashSet<DeploymentId> = leaves.flat_map(|(_, failed)| failed).cloned().collect();
        let before = self.0.out.load();
        if **before != out {
            for id in out.difference(&before) {
                tracing::warn!(deployment = %id, "a deployment that failed its check gets no requests");
            }
            for id in before.difference(&out) {
                tracing::info!(deployment = %id, "a deployment gets requests again");
            }
            self.0.is_anybody_out.store(!out.is_empty(), Ordering::Release);
            self.0.out.store(Arc::new(out));
        }
        let known: HashSet<&DeploymentId> = table.deployments.iter().map(|it| &it.config.id).collect();
        if self.0.found.read().len() > known.len() {
            self.0.found.write().retain(|id, _| known.contains(id));
        }
    }
}

impl fmt::Debug for Checkups {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Checkups").field("known", &self.0.found.read().len()).finish_non_exhaustive()
    }
}

/// Checks deployments, by their index in the table, a few at the same time; `by` asked for it. Every finding
/// is noted as it comes.
pub async fn round(
    gate: &Arc<Gate>,
    table: &Table,
    deployments: &[usize],
    by: Option<&str>,
) -> Vec<Arc<Finding>> {
    let checkups = &gate.services.checkups;
    let one = async |index: usize| {
        let finding = probe(gate, table, &table.deployments[index], by).await;
        checkups.note(finding.clone());
        Arc::new(finding)
    };
    let asked = deployments.iter().copied().map(one);
    let found = stream::iter(asked).buffered(table.checks.concurrency.max(1)).collect().await;
    checkups.rotate(table);
    found
}
