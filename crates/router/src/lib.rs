//! Decides which deployments a request may try, and in which order.
//!
//! Never sends, sleeps or reads a clock: callers bring [`Facts`] and [`Dice`]. Start at [`Router::resolve`],
//! which finds the model group a name means, then [`Router::plan`], which leaves out those that may not serve
//! and orders the rest; a [`Walk`] goes through them. [`RetryRule`] and [`CooldownRule`] judge failures.

mod budget;
mod by_class;
mod cooldown;
mod dice;
mod facts;
mod filter;
mod grouping;
mod hedge;
mod members;
mod pattern;
mod plan;
mod resolve;
mod retry;
pub mod strategy;
mod walk;
mod window;

pub use budget::{BudgetRule, RetryBudget};
pub use by_class::ByClass;
pub use cooldown::{CooldownRule, OwnRule, Tally, is_the_deployments_fault};
pub use dice::{Dice, Seeded};
pub use facts::{Facts, Team, Unknown, Wish};
pub use filter::{Checks, Excluded, Indexes, Nobody, TagRule};
pub use grouping::Grouping;
pub use hedge::{After, HedgeRule, Hedges};
pub use members::{Members, Pool};
pub use plan::{Plan, Scene};
pub use resolve::{Alias, Resolved, UnknownModel};
pub use retry::{RetryRule, Standing, Verdict, is_refusal};
pub use walk::Walk;

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use faregate_terms::{DeploymentId, ModelGroup, PicoUsd};

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
    /// Lower ones are tried first.
    pub order: Option<i64>,
    /// For tag routing.
    pub tags: Vec<String>,
    /// Where it runs.
    pub region: Option<String>,
    /// The team it belongs to; `None` for everybody's.
    pub team: Option<String>,
    /// The name by which that team asks for it.
    pub team_name: Option<String>,
    /// The longest prompt it takes, in tokens.
    pub max_input_tokens: Option<u64>,
    /// What a million tokens of prompt and a million of answer cost together.
    pub price: Option<PicoUsd>,
}

impl Deployment {
    /// A deployment of which nothing further is known.
    pub fn new(group: impl Into<ModelGroup>, id: impl Into<DeploymentId>) -> Self {
        Self {
            id: id.into(),
            group: group.into(),
            weight: None,
            rpm: None,
            tpm: None,
            order: None,
            tags: Vec::new(),
            region: None,
            team: None,
            team_name: None,
            max_input_tokens: None,
            price: None,
        }
    }
}

/// The routing table of one configuration. Immutable; a reload makes a new one.
pub struct Router {
    deployments: Vec<Deployment>,
    /// Exact public name → deployments.
    groups: HashMap<ModelGroup, Arc<Members>, RandomState>,
    /// Team → the names it has for its own deployments → those.
    team_names: HashMap<String, HashMap<String, Arc<Members>>>,
    /// Public names in the order of the configuration, wildcards included.
    names: Vec<ModelGroup>,
    by_id: HashMap<DeploymentId, Arc<Members>>,
    patterns: Vec<(Pattern, Arc<Members>)>,
    aliases: HashMap<String, Alias>,
    /// The first is for names that have no other.
    strategies: Vec<Box<dyn Strategy>>,
    /// Which of them is each name's, by its number.
    strategy_of: Vec<usize>,
    checks: Checks,
}

impl Router {
    /// Builds the table. Positions in `deployments` are the indexes that plans speak of.
    pub fn new(
        deployments: Vec<Deployment>,
        aliases: HashMap<String, Alias>,
        strategy: Box<dyn Strategy>,
        checks: Checks,
    ) -> Self {
        let mut names: Vec<ModelGroup> = Vec::new();
        let mut numbers: HashMap<&ModelGroup, usize> = HashMap::new();
        let mut of_group: Vec<Vec<usize>> = Vec::new();
        let mut of_team: HashMap<String, HashMap<String, Vec<usize>>> = HashMap::new();
        let mut by_id = HashMap::new();
        for (index, deployment) in deployments.iter().enumerate() {
            let number = *numbers.entry(&deployment.group).or_insert_with(|| {
                names.push(deployment.group.clone());
                of_group.push(Vec::new());
                names.len() - 1
            });
            of_group[number].push(index);
            by_id.insert(deployment.id.clone(), Arc::new(Members::new(number, vec![index], &deployments)));
            if let (Some(team), Some(name)) = (&deployment.team, &deployment.team_name) {
                of_team.entry(team.clone()).or_default().entry(name.clone()).or_default().push(index);
            }
        }
        let shared = |number, indexes| Arc::new(Members::new(number, indexes, &deployments));
        let of_first =
            |indexes: &[usize]| indexes.first().and_then(|&index| numbers.get(&deployments[index].group));
        let team_names = of_team.into_iter().map(|(team, names)| {
            let names = names.into_iter().map(|(name, indexes)| {
                let number = of_first(&indexes).copied().unwrap_or_default();
                (name, shared(number, indexes))
            });
            (team, names.collect())
        });
        let team_names = team_names.collect();
        let groups: HashMap<ModelGroup, Arc<Members>, RandomState> = names
            .iter()
            .zip(of_group.into_iter().enumerate())
            .map(|(name, (number, indexes))| (name.clone(), shared(number, indexes)))
            .collect();
        let mut patterns: Vec<(Pattern, Arc<Members>)> = names
            .iter()
            .filter_map(|name| {
                let members = Arc::clone(groups.get(name)?);
                Some((Pattern::of(name.as_str())?, members))
            })
            .collect();
        patterns.sort_by_key(|(pattern, _)| pattern.specificity());
        Self {
            strategy_of: vec![0; names.len()],
            deployments,
            groups,
            team_names,
            names,
            by_id,
            patterns,
            aliases,
            strategies: vec![strategy],
            checks,
        }
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
        self.groups.get(name).map_or(&[], |members| members)
    }

    /// Which checks are made before a deployment is called.
    pub fn checks(&self) -> Checks {
        self.checks
    }
}

#[cfg(test)]
mod tests;
