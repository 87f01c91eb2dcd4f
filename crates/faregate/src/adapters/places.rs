//! Budgets of providers, deployments and tags, as the configuration says them.

use std::collections::BTreeMap;

use faregate_config::{BudgetSettings, Snapshot};
use faregate_gateway::caller::Subject;
use faregate_state::limits::{Scope, ScopeKey, Window};
use faregate_store::ledger::{PlaceKind, PlacePeriod};
use faregate_store::{Store, StoreError};
use faregate_terms::{PicoUsd, Receipt, UtcMillis};

use super::principal::Rules;

/// The budget of a provider, deployment or tag, with what is booked on its period.
pub(super) async fn subject(
    rules: &Rules,
    store: &Store,
    kind: PlaceKind,
    id: &str,
    now: UtcMillis,
) -> Result<Option<Subject>, StoreError> {
    let Some((max, running)) = rules.places.budget(rules, kind, id, now) else { return Ok(None) };
    let spent = store.spent_at(&running.period).await?;
    let scope = match kind {
        PlaceKind::Provider => Scope::Provider,
        PlaceKind::Deployment => Scope::Deployment,
        PlaceKind::Tag => Scope::Tag,
    };
    let limit = rules.budget(ScopeKey::of(scope, id), max, spent, running.window);
    Ok(Some(Subject { limits: vec![limit], ..Subject::default() }))
}

/// Who has such a budget.
#[derive(Debug, Clone, Default)]
pub struct Places {
    providers: BTreeMap<String, BudgetSettings>,
    deployments: BTreeMap<String, BudgetSettings>,
    /// Those that start again; what others spent in all is booked on the tag.
    tags: BTreeMap<String, BudgetSettings>,
}

/// The period that is running.
pub struct Running {
    /// Under which it is booked.
    pub period: PlacePeriod,
    /// The same for counters.
    pub window: Window,
}

impl Places {
    /// Reads them.
    pub fn of(snapshot: &Snapshot) -> Self {
        let budgeted = |budget: &BudgetSettings| budget.max_budget.is_some();
        let providers = snapshot.router.limits.provider_budgets.iter();
        let deployments = snapshot.deployments.iter();
        let tags = snapshot.litellm.spend.tag_budgets.iter();
        Self {
            providers: providers
                .filter(|(_, budget)| budgeted(budget))
                .map(|(name, budget)| (name.clone(), budget.clone()))
                .collect(),
            deployments: deployments
                .filter(|deployment| budgeted(&deployment.params.budget))
                .map(|deployment| (deployment.id.to_string(), deployment.params.budget.clone()))
                .collect(),
            tags: tags
                .filter(|(_, budget)| budgeted(budget) && budget.duration.is_some())
                .map(|(name, budget)| (name.clone(), budget.clone()))
                .collect(),
        }
    }

    /// True if anybody has one.
    pub fn any(&self) -> bool {
        !(self.providers.is_empty() && self.deployments.is_empty() && self.tags.is_empty())
    }

    /// The budget of a provider, deployment or tag, and its period at `now`.
    pub fn budget(
        &self,
        rules: &Rules,
        kind: PlaceKind,
        id: &str,
        now: UtcMillis,
    ) -> Option<(PicoUsd, Running)> {
        let of = match kind {
            PlaceKind::Provider => &self.providers,
            PlaceKind::Deployment => &self.deployments,
            PlaceKind::Tag => &self.tags,
        };
        let budget = of.get(id)?;
        let duration = budget.duration.as_deref();
        let (ends, window) = rules.running(duration, now);
        let ends = ends.zip(duration);
        Some((budget.max_budget?, Running { period: PlacePeriod::new(kind, id, ends), window }))
    }

    /// The periods that a receipt adds to.
    pub fn periods(&self, rules: &Rules, receipt: &Receipt) -> Vec<PlacePeriod> {
        let provider = receipt.provider.as_ref().map(|name| (PlaceKind::Provider, name.as_str()));
        let deployment = receipt.deployment.as_ref().map(|id| (PlaceKind::Deployment, id.as_str()));
        let tags = receipt.account.tags.iter().map(|tag| (PlaceKind::Tag, tag.as_str()));
        let named = provider.into_iter().chain(deployment).chain(tags);
        named
            .filter_map(|(kind, id)| Some(self.budget(rules, kind, id, receipt.wall.ended)?.1.period))
            .collect()
    }
}
