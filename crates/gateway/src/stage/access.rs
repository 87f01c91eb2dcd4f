//! May this caller use this route and this model?

use crate::call::Arrival;
use crate::gate::Table;
use crate::refusal::Refusal;
use crate::routes::{Operation, paths_of};
use crate::stage::identify::Principal;

/// True if `principal` may call the routes of `operation`.
pub fn may(principal: &Principal, operation: Operation) -> bool {
    let caller = principal.caller().filter(|caller| !caller.routes.is_empty());
    caller.is_none_or(|caller| caller.may_call(paths_of(operation)))
}

/// Refuses keys that are bound to other routes.
///
/// # Errors
/// 403 naming the routes the key may call.
pub fn route(principal: &Principal, arrival: &Arrival) -> Result<(), Refusal> {
    if may(principal, arrival.found.operation) {
        return Ok(());
    }
    let allowed = principal.caller().map(|caller| caller.routes.clone()).unwrap_or_default();
    Err(Refusal::RouteDenied { allowed, route: arrival.found.route.to_owned() })
}

/// Refuses models that the key, or somebody it belongs to, does not allow.
///
/// # Errors
/// 403 naming the model, not what is allowed: that is nobody's business who guesses.
pub fn model(table: &Table, principal: &Principal, model: &str) -> Result<(), Refusal> {
    let Some(caller) = principal.caller().filter(|caller| !caller.grants.is_empty()) else {
        return Ok(());
    };
    match caller.denied(model, table.access_groups(model)) {
        Some(whose) => Err(Refusal::ModelDenied { whose, model: model.to_owned() }),
        None => Ok(()),
    }
}

/// True if `principal` may see and use `model`.
pub fn sees(table: &Table, principal: &Principal, model: &str) -> bool {
    self::model(table, principal, model).is_ok()
}
