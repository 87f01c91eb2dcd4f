//! What admins of a team may do with the keys of its members, where the operator says so. Source: LiteLLM,
//! `team_admin_field_permissions.py`, `member_key_budgets` and `create_member_keys`.
//!
//! While `team_admin_editable_team_fields` says nothing, they may set budgets, and make keys for themselves alone.

use faregate_config::SelfServe;
use faregate_store::{Team, User, VirtualKey};
use serde_json::Value;

use super::rules::{Act, is_maker, rights_in};
use crate::access::{Standing, is_listed};
use crate::columns::json_of;
use crate::error::AdminError;
use crate::routes::Call;
use crate::tighten::{nothing, widens};

/// Fields of a key that say what it may spend.
const BUDGET: [&str; 5] = ["max_budget", "soft_budget", "budget_duration", "budget_limits", "budget_id"];
/// Roles that the owner of a key may have that somebody else makes.
const PLAIN: [&str; 2] = ["internal_user", "internal_user_viewer"];

/// True if the caller administers this team, and nothing above it.
async fn is_team_admin(call: &Call, team: &Team) -> Result<bool, AdminError> {
    Ok(call.admin.standing(&call.caller, team).await? == Standing::TeamAdmin)
}

fn permits(call: &Call, what: &str) -> Option<bool> {
    let snapshot = call.admin.snapshot.load();
    let named = snapshot.general.people.editable_by_team_admins.as_ref()?;
    Some(named.iter().any(|one| one == what))
}

/// Whether an admin of a team may change the budget of a key that belongs to another member.
///
/// # Errors
/// 403 naming the field.
pub(crate) async fn check_member_budget(
    call: &Call,
    before: &VirtualKey,
    after: &VirtualKey,
) -> Result<(), AdminError> {
    let others =
        before.user_id.as_deref().is_some_and(|owner| !owner.is_empty() && owner != call.caller.user_id());
    if !others || permits(call, "member_key_budgets") != Some(false) {
        return Ok(());
    }
    let (old, new) = (json_of(before), json_of(after));
    let sent = |field: &str| field == "soft_budget" && call.given(field).is_some();
    let Some(field) = BUDGET.into_iter().find(|field| sent(field) || old[*field] != new[*field]) else {
        return Ok(());
    };
    let Some(id) = &before.team_id else { return Ok(()) };
    let Some(team) = call.admin.store.get::<Team>(&[id]).await? else { return Ok(()) };
    if !is_team_admin(call, &team).await? {
        return Ok(());
    }
    Err(AdminError::forbidden(format!(
        "Team admins on this proxy do not have permission to update '{field}' of other members' keys; ask a proxy \
         admin to add member_key_budgets to team_admin_editable_team_fields"
    ))
    .about(field))
}

/// What the caller, who holds this key, may do to its budget: only what they made for themselves, and more than before
/// only where they could make such a key.
///
/// # Errors
/// When the database is away.
pub(crate) async fn self_serve(call: &Call, key: &VirtualKey) -> Result<SelfServe, AdminError> {
    let policy = call.admin.snapshot.load().general.people.self_serve;
    if policy == SelfServe::Disabled || !is_maker(&call.caller, key) {
        return Ok(SelfServe::Disabled);
    }
    let Some(id) = key.team_id.as_ref().filter(|_| policy == SelfServe::Ceiling) else { return Ok(policy) };
    let Some(team) = call.admin.store.get::<Team>(&[id]).await? else { return Ok(SelfServe::LowerOnly) };
    let may_make = rights_in(call, &team, Act::Generate).await.is_ok();
    Ok(if may_make { policy } else { SelfServe::LowerOnly })
}

/// True if the policy lets the owner make this change. That what is raised stays below what they have themselves is
/// checked as for a new key; a limit is not taken away from a key of somebody who has one.
pub(crate) fn self_served(call: &Call, policy: SelfServe, field: &str, was: &Value, is: &Value) -> bool {
    let wider = match field {
        "max_budget" => widens(was, is),
        "budget_limits" => widens(&caps(was), &caps(is)),
        // A new length begins a new period.
        "budget_duration" => !nothing(is),
        _ => return false,
    };
    let bounded = call.caller.record.as_ref().is_some_and(|record| {
        let user = record.user.as_ref().and_then(|user| user.max_budget);
        record.key.max_budget.is_some() || user.is_some()
    });
    match policy {
        SelfServe::Disabled => false,
        SelfServe::LowerOnly => !wider,
        SelfServe::Ceiling => !wider || field == "budget_duration" || !(bounded && lifts(was, is)),
    }
}

fn lifts(was: &Value, is: &Value) -> bool {
    !nothing(was) && nothing(is)
}

/// Duration → most of `budget_limits`.
fn caps(windows: &Value) -> Value {
    let entries = windows.as_array().into_iter().flatten();
    let pair =
        |entry: &Value| Some((entry["budget_duration"].as_str()?.to_owned(), entry["max_budget"].clone()));
    Value::Object(entries.filter_map(pair).collect())
}

/// True if the caller makes this key, of a team they administer, for another member of it, and may.
///
/// # Errors
/// 400 for who is not in the team, 403 for an owner with power of their own.
pub(crate) async fn makes_for_member(
    call: &Call,
    key: &VirtualKey,
    owner: Option<&str>,
) -> Result<bool, AdminError> {
    let Some(owner) = owner.filter(|owner| !owner.is_empty() && *owner != call.caller.user_id()) else {
        return Ok(false);
    };
    if call.caller.is_admin() || permits(call, "create_member_keys") != Some(true) {
        return Ok(false);
    }
    let Some(id) = &key.team_id else { return Ok(false) };
    let Some(team) = call.admin.store.get::<Team>(&[id]).await? else { return Ok(false) };
    if !is_team_admin(call, &team).await? {
        return Ok(false);
    }
    if !is_listed(owner, &team) {
        let message = format!("User={owner} not assigned to team={}", team.team_id);
        return Err(AdminError::invalid("user_id", message));
    }
    let role = call.admin.store.get::<User>(&[owner]).await?.and_then(|user| user.user_role);
    let plain = role.as_deref().is_none_or(|role| PLAIN.contains(&role));
    if !plain || !call.admin.led_by(owner).await?.is_empty() {
        return Err(AdminError::forbidden(format!(
            "{owner} is an admin; team admins create keys for plain members only"
        ))
        .about("user_id"));
    }
    Ok(true)
}
