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

/// Refuses keys that may not call this route of an operator's own. Unlike other routes it needs a grant: the key's
/// `allowed_passthrough_routes`, else its team's, or `allowed_routes` that name it and not only its kind. What key or
/// team deny counts before any grant. Source: LiteLLM's `route_checks.py`, and compat, endpoints §0.1.
///
/// # Errors
/// 403 naming the route and what to set.
pub fn pass_through(principal: &Principal, route: &str) -> Result<(), Refusal> {
    let Some(caller) = principal.caller() else { return Ok(()) };
    let is_named = caller.names_route(route);
    if !is_named && !caller.may_pass_through() {
        return Err(Refusal::RouteDenied { allowed: caller.routes.clone(), route: route.to_owned() });
    }
    if caller.is_admin {
        return Ok(());
    }
    let routes = caller.pass_through.as_deref();
    let denied =
        |by: Option<&str>| Refusal::PassThroughDenied { route: route.to_owned(), by: by.map(str::to_owned) };
    if let Some(by) = routes.and_then(|routes| routes.denial_of(route)) {
        return Err(denied(Some(by)));
    }
    let is_granted = is_named || routes.is_some_and(|routes| routes.grants(route));
    if is_granted { Ok(()) } else { Err(denied(None)) }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::caller::{Caller, PassThroughRoutes};

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn key(routes: &[&str], allowed: &[&str], denied: &[&str]) -> Caller {
        let pass_through = PassThroughRoutes { allowed: texts(allowed), denied: texts(denied) };
        Caller { routes: texts(routes), pass_through: Some(Box::new(pass_through)), ..Caller::default() }
    }

    #[test]
    fn a_route_of_an_operators_own_needs_a_grant_and_no_denial() {
        for (routes, allowed, denied, route, may) in [
            (&[][..], &[][..], &[][..], "/mine", false),
            (&[], &["/mine"], &[], "/mine", true),
            (&[], &["/mine"], &[], "/mine/below", true),
            (&[], &["/mine"], &[], "/mine2", false),
            (&[], &["/mi*"], &[], "/mine2", true),
            (&[], &["/mine"], &["/mine/admin"], "/mine/admin/x", false),
            (&[], &["/mine"], &["/mine/admin"], "/mine/administer", true),
            (&[], &["/mine"], &["/"], "/mine", false),
            (&[], &["/mine"], &["/mine/a*"], "/mine/abc", false),
            (&["/mine"], &[], &[], "/mine/below", true),
            (&["/mine/*"], &[], &[], "/mine/below", true),
            (&["/mine"], &[], &["/mine"], "/mine", false),
            (&["llm_api_routes"], &[], &[], "/mine", false),
            (&["/*"], &[], &[], "/mine", false),
            (&["llm_api_routes"], &["/mine"], &[], "/mine", true),
            (&["/v1/chat/completions"], &["/mine"], &[], "/mine", false),
        ] {
            let caller = key(routes, allowed, denied);
            let outcome = pass_through(&Principal::Key(Arc::new(caller)), route);
            assert_eq!(outcome.is_ok(), may, "{routes:?} {allowed:?} {denied:?} {route}: {outcome:?}");
        }
    }

    #[test]
    fn administrators_need_no_grant() {
        let admin = |routes| Caller { is_admin: true, ..key(routes, &[], &["/"]) };
        assert!(pass_through(&Principal::Key(Arc::new(admin(&[]))), "/mine").is_ok());
        assert!(pass_through(&Principal::Key(Arc::new(admin(&["/v1/models"]))), "/mine").is_err());
        assert!(pass_through(&Principal::Master, "/mine").is_ok());
    }
}
