//! Decides which deployments a request may try, and in which order.
//!
//! Never sends, sleeps or reads a clock: callers bring facts and dice. Start at [`Router::resolve`], which
//! finds the model group a name means, then [`Router::plan`], which orders its deployments.

mod dice;
mod pattern;
mod plan;
mod resolve;
mod retry;
pub mod strategy;

pub use dice::{Dice, Seeded};
pub use plan::{Plan, Step};
pub use resolve::{Alias, Resolved, UnknownModel};
pub use retry::{RetryRule, Verdict};

use std::collections::HashMap;

use faregate_terms::{DeploymentId, ModelGroup};

use pattern::Pattern;
use strategy::Strategy;

/// One deployment, as far as routing must know.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The public name it serves; may hold `*`.
    pub group: ModelGroup,
    /// Share of the traffic, relative to its siblings.
    pub weight: Option<f64>,
    /// Requests per minute; the share when no weight is given.
    pub rpm: Option<u64>,
    /// Tokens per minute; the share when neither weight nor rpm is given.
    pub tpm: Option<u64>,
}

/// The routing table of one configuration. Immutable; a reload makes a new one.
pub struct Router {
    deployments: Vec<Deployment>,
    /// Exact public name → deployments.
    groups: HashMap<ModelGroup, Vec<usize>>,
    /// Public names in the order of the configuration, wildcards included.
    names: Vec<ModelGroup>,
    by_id: HashMap<DeploymentId, usize>,
    patterns: Vec<(Pattern, Vec<usize>)>,
    aliases: HashMap<String, Alias>,
    strategy: Box<dyn Strategy>,
}

impl Router {
    /// Builds the table. Positions in `deployments` are the indexes that plans speak of.
    pub fn new(
        deployments: Vec<Deployment>,
        aliases: HashMap<String, Alias>,
        strategy: Box<dyn Strategy>,
    ) -> Self {
        let mut groups: HashMap<ModelGroup, Vec<usize>> = HashMap::new();
        let mut names = Vec::new();
        for (index, deployment) in deployments.iter().enumerate() {
            let members = groups.entry(deployment.group.clone()).or_default();
            if members.is_empty() {
                names.push(deployment.group.clone());
            }
            members.push(index);
        }
        let mut patterns: Vec<(Pattern, Vec<usize>)> = names
            .iter()
            .filter_map(|name| {
                let members = groups.get(name)?.clone();
                Some((Pattern::of(name.as_str())?, members))
            })
            .collect();
        patterns.sort_by_key(|(pattern, _)| pattern.specificity());
        let by_id = deployments.iter().enumerate().map(|(index, d)| (d.id.clone(), index)).collect();
        Self { deployments, groups, names, by_id, patterns, aliases, strategy }
    }

    /// All deployments, by index.
    pub fn deployments(&self) -> &[Deployment] {
        &self.deployments
    }

    /// Public names in the order of the configuration, wildcards included.
    pub fn names(&self) -> &[ModelGroup] {
        &self.names
    }

    /// Other names for groups.
    pub fn aliases(&self) -> &HashMap<String, Alias> {
        &self.aliases
    }

    /// The deployments of a public name, by index.
    pub fn members(&self, name: &str) -> &[usize] {
        self.groups.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
