//! `model_max_budget` of keys, teams, users and end users: budgets for requests for one model.
//!
//! Counters begin with what is booked on the running period, and receipts are booked under the same one: both ask
//! [`Entry`].

use std::collections::BTreeMap;
use std::sync::Arc;

use faregate_gateway::caller::{ModelLimit, counts_model};
use faregate_state::limits::{Scope, ScopeKey, Window};
use faregate_store::ledger::{ModelBudgeted, ModelPeriod};
use faregate_store::{KeyRecord, Store, StoreError, Usd};
use faregate_terms::{PicoUsd, Receipt, UtcMillis};
use serde_json::{Map, Value};

use super::principal::{Rules, model_limit};

/// One entry of a `model_max_budget`.
struct Entry<'a> {
    model: &'a str,
    max: PicoUsd,
    period: ModelPeriod,
    window: Window,
}

impl<'a> Entry<'a> {
    /// Those that can be read, with their periods at `now`. Source: compat, endpoints, `model_max_budget`.
    fn all(rules: &Rules, budgets: &'a Value, now: UtcMillis) -> impl Iterator<Item = Self> {
        let entries = budgets.as_object().into_iter().flat_map(Map::iter);
        entries.filter_map(move |(model, budget)| {
            let max = budget.get("budget_limit").or_else(|| budget.get("max_budget"));
            let max = max.unwrap_or(budget).as_f64().and_then(Usd::from_f64)?;
            let duration = budget.get("time_period").or_else(|| budget.get("budget_duration"));
            let duration = duration.and_then(Value::as_str);
            let (ends, window) = rules.running(duration, now);
            Some(Self { model, max: max.0, period: ModelPeriod::new(model, ends.zip(duration)), window })
        })
    }
}

/// The periods of a `model_max_budget` that a receipt adds to.
pub fn periods(rules: &Rules, of: ModelBudgeted, budgets: &Value, receipt: &Receipt) -> Vec<ModelPeriod> {
    let counted = of != ModelBudgeted::User || rules.counts_users(receipt.account.team.as_deref());
    let Some(group) = receipt.model_group.as_ref().filter(|_| counted) else { return Vec::new() };
    Entry::all(rules, budgets, receipt.wall.ended)
        .filter(|entry| counts_model(entry.model, group.as_str()))
        .map(|entry| entry.period)
        .collect()
}

type Booked = BTreeMap<ModelPeriod, PicoUsd>;

/// What is booked on the running periods of a key and of whom it belongs to.
#[derive(Default)]
pub(super) struct ModelSpend {
    key: Booked,
    team: Booked,
    user: Booked,
}

impl ModelSpend {
    /// Asks only for those who have such budgets, which are few.
    pub async fn of(
        store: &Store,
        rules: &Rules,
        record: &KeyRecord,
        now: UtcMillis,
    ) -> Result<Self, StoreError> {
        let KeyRecord { key, team, user, .. } = record;
        let ask = async |of, id: &str, budgets| booked(store, rules, (of, id), budgets, now).await;
        let mut spent = Self {
            key: ask(ModelBudgeted::Key, &key.token, &key.model_max_budget).await?,
            ..Self::default()
        };
        if let Some(team) = team {
            spent.team = ask(ModelBudgeted::Team, &team.team_id, &team.model_max_budget).await?;
        }
        if let Some(user) = user {
            spent.user = ask(ModelBudgeted::User, &user.user_id, &user.model_max_budget).await?;
        }
        Ok(spent)
    }

    /// Adds the budgets to the limits that there are already.
    pub fn limit(&self, rules: &Rules, record: &KeyRecord, now: UtcMillis, limits: &mut Vec<ModelLimit>) {
        let KeyRecord { key, team, user, .. } = record;
        let mut add = |scope: ScopeKey, budgets: &Value, booked: &Booked, before: &Value| {
            limits.extend(of_budgets(rules, &scope, budgets, booked, before, now));
        };
        let scope = ScopeKey::of(Scope::Key, key.token.as_str());
        add(scope, &key.model_max_budget, &self.key, &key.model_spend);
        if let Some(team) = team {
            let scope = ScopeKey::of(Scope::Team, team.team_id.as_str());
            add(scope, &team.model_max_budget, &self.team, &team.model_spend);
        }
        if let Some(user) = user.as_ref().filter(|_| rules.counts_users(key.team_id.as_deref())) {
            let scope = ScopeKey::of(Scope::User, user.user_id.as_str());
            add(scope, &user.model_max_budget, &self.user, &user.model_spend);
        }
    }
}

/// The same for an end user, whose budgets are those of a budget object.
pub(super) async fn of_end_user(
    rules: &Rules,
    store: &Store,
    id: &str,
    budgets: &Value,
    now: UtcMillis,
) -> Result<Vec<ModelLimit>, StoreError> {
    let booked = booked(store, rules, (ModelBudgeted::EndUser, id), budgets, now).await?;
    let scope = ScopeKey::of(Scope::EndUser, id);
    Ok(of_budgets(rules, &scope, budgets, &booked, &Value::Null, now).collect())
}

async fn booked(
    store: &Store,
    rules: &Rules,
    (of, id): (ModelBudgeted, &str),
    budgets: &Value,
    now: UtcMillis,
) -> Result<Booked, StoreError> {
    let periods: Vec<ModelPeriod> = Entry::all(rules, budgets, now).map(|entry| entry.period).collect();
    store.model_spend(of, id, &periods).await
}

/// `before` is what LiteLLM had counted when it was replaced, of budgets that never start again.
fn of_budgets(
    rules: &Rules,
    scope: &ScopeKey,
    budgets: &Value,
    booked: &Booked,
    before: &Value,
    now: UtcMillis,
) -> impl Iterator<Item = ModelLimit> {
    Entry::all(rules, budgets, now).map(move |entry| {
        let earlier = match entry.window {
            Window::Endless => before[entry.model].as_f64().and_then(Usd::from_f64).unwrap_or_default(),
            Window::Calendar { .. } | Window::Fixed(_) => Usd::default(),
        };
        let spent = booked.get(&entry.period).copied().unwrap_or_default() + earlier.0;
        let scope = ScopeKey::per_model(scope.scope, Arc::clone(&scope.id), entry.model);
        model_limit(entry.model, rules.budget(scope, entry.max, spent, entry.window))
    })
}
