//! What is spent at providers that have a budget. Source: compat, endpoints §2.10; the form is LiteLLM's
//! `ProviderBudgetResponse`.

use faregate_store::Usd;
use faregate_store::ledger::{PlaceKind, PlacePeriod};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::error::AdminError;
use crate::routes::{Answer, Call, Route, route};

pub(crate) const ROUTES: &[Route] =
    &[route!("GET", &["/provider/budgets"], Admin, &[], &[], "Budgets of providers, and their spend", list)];

async fn list(call: Call) -> Outcome {
    let snapshot = call.admin.snapshot.load_full();
    let budgets = &snapshot.router.limits.provider_budgets;
    if budgets.is_empty() {
        return Err(AdminError::not_found(
            "No provider budget config found. Please set router_settings.provider_budget_config",
        ));
    }
    let mut providers = Map::new();
    for (name, budget) in budgets {
        let duration = budget.duration.as_deref();
        // A period that cannot be read never ends, as for requests.
        let ends = duration.and_then(|text| Some((call.admin.period_end("time_period", text).ok()?, text)));
        let period = PlacePeriod::new(PlaceKind::Provider, name, ends);
        let spend = call.admin.store.spent_at(&period).await?;
        let row = json!({
            "budget_limit": budget.max_budget.map(Usd),
            "time_period": duration,
            "spend": Usd(spend),
            "budget_reset_at": ends.map(|(ends, _)| ends),
        });
        providers.insert(name.clone(), row);
    }
    Ok(Answer::json(&json!({ "providers": Value::Object(providers) })))
}
