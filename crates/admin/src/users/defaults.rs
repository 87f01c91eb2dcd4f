//! What a new user gets that nobody asked for: `default_internal_user_params`, and a budget of its own for the role
//! `internal_user`. Source: compat, config §2, and LiteLLM, `_update_internal_new_user_params`.

use serde_json::{Map, Value, json};

use crate::Admin;
use crate::tighten::nothing;

/// Fields that the defaults may name.
const DEFAULTED: [&str; 5] = ["user_role", "max_budget", "budget_duration", "models", "teams"];

/// Who says which teams a new user is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TeamsBy {
    /// Who makes the user, and has to administer them.
    Caller,
    /// The operator.
    Defaults,
}

/// Puts the defaults into the body of a new user. Admins of the proxy get none.
pub(crate) fn fill(admin: &Admin, body: &mut Map<String, Value>) -> TeamsBy {
    let teams_by = if body.get("teams").is_none_or(nothing) { TeamsBy::Defaults } else { TeamsBy::Caller };
    let snapshot = admin.snapshot.load();
    let people = &snapshot.litellm.people;
    let role = |body: &Map<String, Value>| body.get("user_role").and_then(Value::as_str).map(str::to_owned);
    let asked = role(body);
    if asked.as_deref() != Some("proxy_admin") {
        for name in DEFAULTED {
            let default = people.user.get(name).filter(|value| !nothing(value));
            if let Some(default) = default.filter(|_| body.get(name).is_none_or(nothing)) {
                body.insert(name.to_owned(), default.clone());
            }
        }
    }
    if asked.as_deref() == Some("internal_user") {
        let budget = people.internal_user_budget.map(|budget| json!(faregate_store::Usd(budget)));
        let duration = people.internal_user_budget_duration.as_ref().map(|duration| json!(duration));
        for (name, default) in [("max_budget", budget), ("budget_duration", duration)] {
            if let Some(default) = default.filter(|_| body.get(name).is_none_or(nothing)) {
                body.insert(name.to_owned(), default);
            }
        }
    }
    teams_by
}
