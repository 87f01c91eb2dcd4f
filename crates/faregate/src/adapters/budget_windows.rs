//! `budget_limits` of keys and teams: several budgets of one subject, over windows of different length.

use std::collections::BTreeMap;

use faregate_state::limits::{Limit, Scope, ScopeKey};
use faregate_store::ledger::Windowed;
use faregate_store::{KeyRecord, Store, StoreError, Usd};
use faregate_terms::{PicoUsd, UtcMillis};
use serde_json::Value;

use super::principal::Rules;

/// What was spent in the running windows, by duration.
#[derive(Default)]
pub(super) struct WindowSpend {
    key: BTreeMap<String, PicoUsd>,
    team: BTreeMap<String, PicoUsd>,
}

impl WindowSpend {
    /// Asks only for those who have windows, which are few.
    pub async fn of(store: &Store, record: &KeyRecord) -> Result<Self, StoreError> {
        let any = |limits: &Value| limits.as_array().is_some_and(|windows| !windows.is_empty());
        let mut spent = Self::default();
        if any(&record.key.budget_limits) {
            spent.key = store.window_spend(Windowed::Key, &record.key.token).await?;
        }
        if let Some(team) = record.team.as_ref().filter(|team| any(&team.budget_limits)) {
            spent.team = store.window_spend(Windowed::Team, &team.team_id).await?;
        }
        Ok(spent)
    }

    /// Adds the windows of a key and its team to the limits that they have already.
    pub fn limit(&self, rules: &Rules, record: &KeyRecord, now: UtcMillis, limits: &mut Vec<Limit>) {
        let key = ScopeKey::of(Scope::Key, record.key.token.as_str());
        add(rules, &key, (&record.key.budget_limits, &self.key), now, limits);
        if let Some(team) = &record.team {
            let scope = ScopeKey::of(Scope::Team, team.team_id.as_str());
            add(rules, &scope, (&team.budget_limits, &self.team), now, limits);
        }
    }
}

fn add(
    rules: &Rules,
    scope: &ScopeKey,
    (windows, spent): (&Value, &BTreeMap<String, PicoUsd>),
    now: UtcMillis,
    limits: &mut Vec<Limit>,
) {
    for window in windows.as_array().into_iter().flatten() {
        let max = window["max_budget"].as_f64().and_then(Usd::from_f64);
        let duration = window["budget_duration"].as_str();
        let (Some(max), Some(duration)) = (max, duration) else { continue };
        let ends = window["reset_at"].as_str().and_then(|text| UtcMillis::parse(text).ok());
        let so_far = spent.get(duration).copied().unwrap_or_default();
        let limit = rules.budget(scope.clone(), max.0, so_far, rules.window(Some(duration), ends, now));
        // A period of the subject's own may have the same length: one counter then, under the lower budget.
        match limits.iter_mut().find(|known| known.name() == limit.name()) {
            Some(known) if known.most() > limit.most() => *known = limit,
            Some(_) => {}
            None => limits.push(limit),
        }
    }
}
