//! When deployments are checked and what follows from it, with what holds when nobody says otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use faregate_config::Snapshot;
use faregate_terms::Secret;

use crate::gate::Deployment;

/// Source: compat, env, `DEFAULT_HEALTH_CHECK_INTERVAL`.
const INTERVAL: Duration = Duration::from_secs(300);
/// Source: compat, env, `HEALTH_CHECK_TIMEOUT_SECONDS`.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Calls under way at the same time.
const CONCURRENCY: usize = 32;
/// Any answer to it is a sign of life.
const PROMPT: &str = "What's 1 + 1?";
/// As the end of the process waits.
const DRAIN: Duration = Duration::from_secs(30);

/// The part of a configuration that is about health checks.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Every deployment is checked again and again.
    pub in_background: bool,
    /// Between two checks of a deployment.
    pub interval: Duration,
    /// `/health` shows how a deployment is reached and why it fails.
    pub details: bool,
    /// Calls under way at the same time.
    pub concurrency: usize,
    /// Deployments that fail get no requests.
    pub routes: bool,
    /// For how long a failed check keeps a deployment from requests.
    pub staleness: Duration,
    /// Rate limits and timeouts do not.
    pub ignore_transient: bool,
    /// Deployments without background checks are not checked on demand either.
    pub skip_disabled: bool,
    /// Only these groups are checked in the background, if named.
    pub groups: Option<BTreeSet<String>>,
    /// Lists of models leave out those of which no deployment is well.
    pub lists_healthy: bool,
    /// `/health/readiness` shows everything to everybody.
    pub public_details: bool,
    /// `/health/drain` exists.
    pub drains: bool,
    /// What it wants to see.
    pub drain_token: Option<Secret>,
    /// How long it waits.
    pub drain_time: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What is said.
    pub prompt: String,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u64>,
    /// The same for models that reason.
    pub max_tokens_reasoning: Option<u64>,
}

impl Rules {
    /// Reads a configuration.
    pub fn of(snapshot: &Snapshot) -> Self {
        let checks = snapshot.general.checks.clone();
        let interval = checks.interval.unwrap_or(INTERVAL);
        Self {
            in_background: checks.in_background,
            interval,
            details: checks.details,
            concurrency: checks.concurrency.and_then(|it| usize::try_from(it).ok()).unwrap_or(CONCURRENCY),
            routes: checks.in_background && checks.routes,
            staleness: checks.staleness.unwrap_or(interval * 2),
            ignore_transient: checks.ignore_transient,
            skip_disabled: checks.skip_disabled,
            groups: checks.groups.map(|groups| groups.into_iter().collect()),
            lists_healthy: checks.lists_healthy,
            public_details: checks.public_details,
            drains: checks.drains,
            drain_token: checks.drain_token,
            drain_time: checks.drain_time.unwrap_or(DRAIN),
            timeout: checks.timeout.unwrap_or(TIMEOUT),
            prompt: checks.prompt.unwrap_or_else(|| PROMPT.to_owned()),
            max_tokens: checks.max_tokens,
            max_tokens_reasoning: checks.max_tokens_reasoning,
        }
    }

    /// True if a deployment is checked in the background.
    pub fn covers(&self, deployment: &Deployment) -> bool {
        let group = deployment.config.group.as_str();
        let is_named = self.groups.as_ref().is_none_or(|groups| groups.contains(group));
        self.in_background && is_named && !deployment.config.info.check.off
    }
}
