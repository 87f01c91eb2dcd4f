//! Budgets of providers and of deployments: which of them each deployment of a group counts in.

use std::sync::Arc;

use faregate_router::Resolved;
use faregate_state::limits::{Limit, Limits, Scope, Standing};
use faregate_terms::PicoUsd;
use smallvec::SmallVec;

use crate::call::Call;
use crate::destination::Via;
use crate::gate::{Gate, Table};
use crate::ports::Which;
use crate::refusal::{Limited, Refusal};

/// The budgets that one deployment counts in: its own and its provider's.
type Own = SmallVec<[Limit; 2]>;

/// The budgets of a group's deployments. Empty where no provider and no deployment has one.
#[derive(Debug, Default)]
pub struct Budgets(Vec<(usize, Own)>);

impl Budgets {
    /// Looks them up; what is remembered of them costs no question.
    pub async fn of(gate: &Gate, table: &Table, call: &Call, resolved: &Resolved) -> Self {
        if !table.routing.budgets.any() {
            return Self::default();
        }
        let Some(principals) = &gate.services.principals else { return Self::default() };
        let mut found: Vec<(usize, Own)> = Vec::new();
        let mut providers: SmallVec<[(&str, Option<Limit>); 4]> = SmallVec::new();
        // A budget that cannot be asked about must not stop requests, as with those of tags.
        let ask = async |which: Which| {
            let subject = principals.subject(&which).await.ok().flatten()?;
            subject.limits.first().cloned()
        };
        for &index in resolved.members.iter() {
            let mut own = Own::new();
            let deployment = &table.deployments[index];
            if deployment.config.params.budget.max_budget.is_some() {
                own.extend(ask(Which::Deployment(deployment.config.id.as_str().into())).await);
            }
            let provider = provider(table, index, resolved, call.via());
            if let Some(provider) = provider.filter(|name| table.routing.budgets.has(name)) {
                if !providers.iter().any(|(known, _)| *known == provider) {
                    providers.push((provider, ask(Which::Provider(provider.into())).await));
                }
                let limit = providers.iter().find(|(known, _)| *known == provider);
                own.extend(limit.and_then(|(_, limit)| limit.clone()));
            }
            if !own.is_empty() {
                found.push((index, own));
            }
        }
        found.sort_unstable_by_key(|(index, _)| *index);
        Self(found)
    }

    /// The budgets a deployment counts in.
    pub fn of_deployment(&self, index: usize) -> &[Limit] {
        match self.0.binary_search_by_key(&index, |(known, _)| *known) {
            Ok(place) => &self.0[place].1,
            Err(_) => &[],
        }
    }

    /// True if one of a deployment's budgets is spent.
    pub fn is_spent(&self, index: usize, limits: &Limits) -> bool {
        self.of_deployment(index).iter().any(|limit| {
            let standing = limits.standing(limit);
            standing.spent >= standing.amount()
        })
    }

    /// True if requests in flight hold what is left: they may use less.
    pub fn is_held(&self, index: usize, limits: &Limits) -> bool {
        self.of_deployment(index).iter().any(|limit| limits.standing(limit).remaining() == 0)
    }

    /// What the client is told when these deployments cannot be paid for and no other is left.
    ///
    /// Source: LiteLLM, `router_strategy/budget_limiter.py` (`No deployments available - crossed budget`); the text
    /// makes the status 429, compat, behaviour §1.
    pub fn crossed(
        &self,
        table: &Table,
        deployments: impl Iterator<Item = usize>,
        limits: &Limits,
    ) -> Refusal {
        let mut message = "No deployments available - crossed budget: ".to_owned();
        for index in deployments {
            for limit in self.of_deployment(index) {
                let line = line(table, index, &limits.standing(limit));
                if !message.contains(&line) {
                    message.push_str(&line);
                    message.push('\n');
                }
            }
        }
        Refusal::CrossedBudget(Box::new(Limited {
            status: 429,
            kind: "budget_exceeded",
            class: "BudgetExceededError",
            message: message.trim_end().to_owned(),
            retry_after: None,
            // Official SDKs would try again what no retry can mend.
            headers: vec![("x-should-retry", "false".to_owned())],
        }))
    }
}

/// Shows what is left of providers' budgets.
pub async fn observe(gate: &Gate, table: &Table) {
    let Some(principals) = &gate.services.principals else { return };
    for provider in &table.routing.budgets.providers {
        let subject = principals.subject(&Which::Provider(Arc::clone(provider))).await.ok().flatten();
        let Some(limit) = subject.as_ref().and_then(|subject| subject.limits.first()) else { continue };
        let left = gate.services.limits.standing(limit).remaining();
        gate.metrics.provider_budget(provider, PicoUsd::from_pico(left));
    }
}

/// True if `held` and `wanted` are the same budgets.
pub fn same(held: &[Limit], wanted: &[Limit]) -> bool {
    held.len() == wanted.len() && held.iter().zip(wanted).all(|(held, wanted)| held.name() == wanted.name())
}

/// True for the budgets of this file.
pub fn is_place(scope: Scope) -> bool {
    matches!(scope, Scope::Provider | Scope::Deployment)
}

/// Whom a deployment calls; of a wildcard's that depends on the model.
fn provider(table: &Table, index: usize, resolved: &Resolved, via: Via) -> Option<&'static str> {
    let deployment = &table.deployments[index];
    let model = resolved.upstream_model(&deployment.upstream_model);
    Some(deployment.destination(&model, via, table).ok()?.provider.name)
}

/// One budget as LiteLLM words it.
fn line(table: &Table, index: usize, standing: &Standing) -> String {
    let usd = |pico: i128| PicoUsd::from_pico(pico).to_string();
    let (spent, most) = (usd(standing.spent), usd(standing.amount()));
    let scope = standing.limit.scope();
    let whose = match scope.scope {
        Scope::Provider => format!("provider {}", scope.id),
        _ => {
            let deployment = &table.deployments[index];
            let (name, model) = (&deployment.config.group, &deployment.upstream_model);
            format!(
                "deployment model_name: {name}, litellm_params.model: {model}, model_id: {}",
                deployment.config.id
            )
        }
    };
    if standing.spent >= standing.amount() {
        return format!("Exceeded budget for {whose}: {spent} >= {most}");
    }
    let held = usd(standing.held);
    format!("Budget for {whose} leaves too little: {spent} spent and {held} held of {most}")
}

/// Who has a budget of this kind, as the configuration says.
#[derive(Debug, Clone, Default)]
pub struct Budgeted {
    providers: Vec<Arc<str>>,
    deployments: bool,
}

impl Budgeted {
    /// Reads a configuration.
    pub fn of(snapshot: &faregate_config::Snapshot) -> Self {
        let providers = snapshot.router.limits.provider_budgets.iter();
        Self {
            providers: providers
                .filter(|(_, budget)| budget.max_budget.is_some())
                .map(|(name, _)| name.as_str().into())
                .collect(),
            deployments: snapshot
                .deployments
                .iter()
                .any(|deployment| deployment.params.budget.max_budget.is_some()),
        }
    }

    /// True if anybody has.
    pub fn any(&self) -> bool {
        self.deployments || !self.providers.is_empty()
    }

    /// True if this provider has.
    fn has(&self, provider: &str) -> bool {
        self.providers.iter().any(|known| **known == *provider)
    }
}
