//! Who may do what to a key, and who may set which of its fields. The one place for both.
//!
//! A call on a key asks three things, in this order: [`rights`], what the caller may do to this key at all;
//! [`check_fields`], whether those rights reach every field that changes; [`check_place`], whether the key may
//! be where it is put. Fields are compared before and after, so it does not matter in which form a caller sends
//! a value. Source: LiteLLM 1.106.2, `key_management_endpoints.py` and `team_member_permission_checks.py`.

use std::fmt;

use faregate_config::SelfServe;
use faregate_store::{Budget, Organization, Project, Team, Usd, User, VirtualKey};
use serde_json::Value;

use super::member;
use crate::access::{Standing, is_listed};
use crate::columns::json_of;
use crate::error::AdminError;
use crate::login::SESSIONS_TEAM;
use crate::roles::Caller;
use crate::routes::Call;
use crate::tighten::{nothing, widens};

/// What is done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Generate,
    GenerateForService,
    Update,
    Delete,
    Regenerate,
    Block,
    ResetSpend,
}

impl Act {
    /// The route, as `team_member_permissions` names it.
    fn route(self) -> &'static str {
        match self {
            Self::Generate => "/key/generate",
            Self::GenerateForService => "/key/service-account/generate",
            Self::Update => "/key/update",
            Self::Delete => "/key/delete",
            Self::Regenerate => "/key/regenerate",
            Self::Block => "/key/block",
            Self::ResetSpend => "/key/{key_id}/reset_spend",
        }
    }
}

/// What a caller may set of a key, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rights {
    /// Whoever holds the key, or may change it by `team_member_permissions`.
    Holder,
    /// Admins of the key's team or organization.
    KeyAdmin,
    /// Admins of the proxy.
    ProxyAdmin,
}

impl fmt::Display for Rights {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Holder => "holders of the key",
            Self::KeyAdmin => "proxy admins and admins of the key's team or organization",
            Self::ProxyAdmin => "proxy admins",
        })
    }
}

/// The rights a field asks for. What is not in [`RULES`] asks for those of a holder.
struct Rule {
    /// A field of the body: a column, or a member of `metadata`.
    field: &'static str,
    /// To give a new key this.
    create: Rights,
    /// To change it on a key that is there.
    change: Rights,
}

const fn rule(field: &'static str, create: Rights, change: Rights) -> Rule {
    Rule { field, create, change }
}

use Rights::{Holder, KeyAdmin, ProxyAdmin};

const RULES: &[Rule] = &[
    // What a key may spend is for those to say who pay. On a new key it only limits what its owner has anyway.
    rule("spend", Holder, KeyAdmin),
    rule("max_budget", Holder, KeyAdmin),
    rule("soft_budget", Holder, KeyAdmin),
    rule("budget_duration", Holder, KeyAdmin),
    rule("budget_limits", Holder, KeyAdmin),
    rule("budget_id", Holder, KeyAdmin),
    rule("temp_budget_increase", KeyAdmin, KeyAdmin),
    rule("temp_budget_expiry", KeyAdmin, KeyAdmin),
    // Where a key belongs decides whose limits it has; see also `check_place`.
    rule("user_id", Holder, ProxyAdmin),
    rule("team_id", Holder, KeyAdmin),
    rule("organization_id", Holder, KeyAdmin),
    rule("project_id", Holder, KeyAdmin),
    rule("service_account_id", Holder, ProxyAdmin),
    rule("blocked", Holder, KeyAdmin),
    // What reaches beyond model calls, or past checks that everybody else passes through.
    rule("permissions", ProxyAdmin, ProxyAdmin),
    rule("allowed_routes", ProxyAdmin, ProxyAdmin),
    rule("allowed_passthrough_routes", ProxyAdmin, ProxyAdmin),
    rule("denied_passthrough_routes", Holder, ProxyAdmin),
    rule("disable_global_guardrails", ProxyAdmin, ProxyAdmin),
    rule("throttle_on_budget_exceeded", ProxyAdmin, ProxyAdmin),
    rule("allow_client_mock_response", ProxyAdmin, ProxyAdmin),
    rule("allow_client_pricing_override", ProxyAdmin, ProxyAdmin),
    rule("allow_client_message_redaction_opt_out", ProxyAdmin, ProxyAdmin),
    rule("end_user_budget_id", ProxyAdmin, ProxyAdmin),
    rule("default_estimated_output_tokens", ProxyAdmin, ProxyAdmin),
    rule("default_estimated_output_tokens_per_model", ProxyAdmin, ProxyAdmin),
];

/// Limits of a key: who holds a key that somebody else made lowers them, or leaves them as they are.
const LIMITS: &[&str] = &[
    "models",
    "expires",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "max_parallel_requests",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "mcp_rpm_limit",
    "tag_rpm_limit",
    "allowed_cache_controls",
    "allowed_vector_store_indexes",
];

/// What a key has to do: who holds a key that somebody else made takes none of it away.
const DUTIES: &[&str] = &["guardrails", "policies", "enforced_params"];

/// Routes that every member of a team may call on its keys. Source: LiteLLM,
/// `BASELINE_TEAM_MEMBER_PERMISSIONS`.
const BASELINE: &[&str] = &["/key/info", "/key/health"];

/// What a team can let its plain members do. Source: LiteLLM, `KeyManagementRoutes`.
pub(crate) const MEMBER_PERMISSIONS: &[&str] = &[
    "/key/generate",
    "/key/update",
    "/key/delete",
    "/key/regenerate",
    "/key/service-account/generate",
    "/key/{key_id}/regenerate",
    "/key/block",
    "/key/unblock",
    "/key/bulk_update",
    "/team/key/bulk_update",
    "/key/{key_id}/reset_spend",
    ACCESS_GROUPS,
    "/auto_router/manage",
    "/key/info",
    "/key/health",
    "/key/list",
    "/key/aliases",
    "/team/daily/activity",
    "/team/daily/activity/aggregated",
    "/spend/logs",
    "/spend/logs/v2",
];

/// Lets members give keys access groups; no route of its own.
const ACCESS_GROUPS: &str = "/key/access_group_assignment";

/// True if plain members of the team may call this route on its keys.
pub(crate) fn members_may(team: &Team, route: &str) -> bool {
    BASELINE.contains(&route) || team.team_member_permissions.iter().any(|granted| granted == route)
}

/// 401 for a member without the permission, as LiteLLM answers.
fn not_granted(team: &Team, route: &str) -> AdminError {
    let mut granted: Vec<&str> = team.team_member_permissions.iter().map(String::as_str).collect();
    granted.extend(BASELINE);
    AdminError::unauthorized(
        "team_member_permission_error",
        format!(
            "Team member does not have permissions for endpoint: {route}. You only have access to the following \
             endpoints: {granted:?} for team {}. Ask an admin of the team to grant it with \
             `/team/permissions_update`",
            team.team_id
        ),
    )
    .about(route)
}

/// The team of this id; 400 naming the field if there is none.
pub(crate) async fn team_of(call: &Call, id: &str) -> Result<Team, AdminError> {
    call.admin.store.get::<Team>(&[id]).await?.ok_or_else(|| {
        AdminError::invalid(
            "team_id",
            format!("Unable to find team '{id}' in db. Create it via `/team/new`."),
        )
    })
}

/// The rights `caller` makes a key in this team with.
///
/// # Errors
/// 400 for who is not in the team, 401 for members without the permission; both as LiteLLM.
pub(crate) async fn rights_in(call: &Call, team: &Team, act: Act) -> Result<Rights, AdminError> {
    let caller = &call.caller;
    match call.admin.standing(caller, team).await? {
        Standing::ProxyAdmin => Ok(ProxyAdmin),
        Standing::OrganizationAdmin | Standing::TeamAdmin => Ok(KeyAdmin),
        Standing::Member if members_may(team, act.route()) => Ok(Holder),
        Standing::Member => Err(not_granted(team, act.route())),
        Standing::Stranger => Err(AdminError::invalid(
            "team_id",
            format!("User={} not assigned to team={}", caller.user_id(), team.team_id),
        )),
    }
}

/// The rights of the caller over a key that is there, for what they want to do.
///
/// # Errors
/// 403, and 401 for members of the key's team without the permission.
pub(crate) async fn rights(call: &Call, key: &VirtualKey, act: Act) -> Result<Rights, AdminError> {
    let caller = &call.caller;
    if caller.is_admin() {
        return Ok(ProxyAdmin);
    }
    let route = act.route();
    let owner = key.user_id.as_deref().filter(|user| !user.is_empty());
    let own = owner.is_some_and(|owner| owner == caller.user_id());
    let team = match &key.team_id {
        Some(id) => call.admin.store.get::<Team>(&[id]).await?,
        None => None,
    };
    let standing = match &team {
        Some(team) => call.admin.standing(caller, team).await?,
        None => Standing::Stranger,
    };
    let leads = match &key.organization_id {
        _ if standing >= Standing::TeamAdmin => true,
        Some(id) => call.admin.leads_organizations(caller).await?.contains(id),
        None => false,
    };
    if leads {
        if act == Act::Regenerate && !own {
            // Whoever regenerates a key holds its secret, and with it the owner's role.
            not_of_the_powerful(call, owner).await?;
        }
        return Ok(KeyAdmin);
    }
    if matches!(act, Act::Block | Act::ResetSpend) {
        return Err(AdminError::forbidden(format!(
            "Only {KeyAdmin} can call {route}. user_role={}, user_id={}",
            caller.role.word(),
            caller.user_id()
        )));
    }
    if own && (act == Act::Delete || key.team_id.is_none()) {
        return Ok(Holder);
    }
    match team {
        Some(team) if standing == Standing::Member && (own || owner.is_none()) => {
            if members_may(&team, route) { Ok(Holder) } else { Err(not_granted(&team, route)) }
        }
        Some(team) if own => Err(AdminError::unauthorized(
            "team_member_permission_error",
            format!(
                "User {} does not belong to team {}. Team-scoped key management endpoints can only be used for \
                 keys in your own team.",
                caller.user_id(),
                team.team_id
            ),
        )
        .about(route)),
        _ => Err(AdminError::forbidden(format!("You are not authorized to call {route} on this key"))),
    }
}

async fn not_of_the_powerful(call: &Call, owner: Option<&str>) -> Result<(), AdminError> {
    let Some(owner) = owner else { return Ok(()) };
    let role = call.admin.store.get::<User>(&[owner]).await?.and_then(|user| user.user_role);
    let powerful = role.is_some_and(|role| role.starts_with("proxy_admin"))
        || !call.admin.led_by(owner).await?.is_empty();
    if powerful {
        return Err(AdminError::forbidden(format!(
            "The key belongs to {owner}, an admin; only they and proxy admins can call /key/regenerate on it"
        )));
    }
    Ok(())
}

/// A holder changes what they made for themselves; what an admin made for them, admins change.
///
/// # Errors
/// 403.
pub(crate) fn made_by_holder(caller: &Caller, key: &VirtualKey, rights: Rights) -> Result<(), AdminError> {
    // Keys of a team are covered by `team_member_permissions`, and by `check_limits`.
    if rights > Holder || key.team_id.is_some() || is_maker(caller, key) {
        return Ok(());
    }
    Err(AdminError::forbidden(format!(
        "Only {KeyAdmin} can call /key/update on a key that somebody else made. user_role={}, user_id={}",
        caller.role.word(),
        caller.user_id()
    )))
}

/// True if the caller made this key for themselves.
pub(super) fn is_maker(caller: &Caller, key: &VirtualKey) -> bool {
    let user = Some(caller.user_id()).filter(|user| !user.is_empty());
    user.is_some() && key.created_by.as_deref() == user && key.user_id.as_deref() == user
}

/// Whether a holder leaves the limits that somebody else gave the key as they are, or makes them narrower.
///
/// # Errors
/// 403 naming the field.
fn check_limits(caller: &Caller, before: &VirtualKey, old: &Value, new: &Value) -> Result<(), AdminError> {
    if is_maker(caller, before) {
        return Ok(());
    }
    let wider = |field: &&&str| widens(value(old, field), value(new, field));
    let fewer = |field: &&&str| {
        let items = |row| value(row, field).as_array().map(Vec::as_slice).unwrap_or_default();
        items(old).iter().any(|duty| !items(new).contains(duty))
    };
    let lifted = LIMITS.iter().find(wider).or_else(|| DUTIES.iter().find(fewer));
    let Some(lifted) = lifted else { return Ok(()) };
    let field = if *lifted == "expires" { "duration" } else { lifted };
    Err(AdminError::forbidden(format!(
        "Only {KeyAdmin} can lift `{field}` of a key that somebody else made; leave the field out, or ask one of \
         them"
    ))
    .about(field))
}

/// Whether these rights reach every field in which `after` differs from `before`; `None` is a new key. Budgets may be
/// the owner's own to change, by `self_serve`.
///
/// # Errors
/// 403 naming the first field that they do not reach.
pub(crate) fn check_fields(
    call: &Call,
    before: Option<&VirtualKey>,
    after: &VirtualKey,
    rights: Rights,
    self_serve: SelfServe,
) -> Result<(), AdminError> {
    let old = json_of(&before.cloned().unwrap_or_default());
    let new = json_of(after);
    for rule in RULES {
        let (was, is) = (value(&old, rule.field), value(&new, rule.field));
        // Spend moves by itself between reading and writing, and a soft budget has no column: that they are
        // sent is enough.
        let sent = before.is_some()
            && matches!(rule.field, "spend" | "soft_budget")
            && call.given(rule.field).is_some();
        if !sent && (was == is || harmless(rule.field, was, is, before.is_some())) {
            continue;
        }
        let needed = match before {
            None => rule.create,
            Some(_) if matches!(rule.field, "team_id" | "organization_id") => match (was, is) {
                // `check_place` asks for rights where the key goes.
                (Value::Null, _) => Holder,
                // Out of a team a key has none of its limits.
                (_, Value::Null) => ProxyAdmin,
                _ => rule.change,
            },
            Some(_) => rule.change,
        };
        let own = before.is_some() && member::self_served(call, self_serve, rule.field, was, is);
        if rights < needed && !own {
            let verb = if before.is_some() { "change" } else { "set" };
            return Err(AdminError::forbidden(format!(
                "Only {needed} can {verb} `{}` of a key; leave the field out, or ask one of them",
                rule.field
            ))
            .about(rule.field));
        }
    }
    match before {
        Some(before) if rights == Holder => check_limits(&call.caller, before, &old, &new),
        _ => Ok(()),
    }
}

/// A column, else a member of `metadata`; an empty value is none.
fn value<'a>(row: &'a Value, field: &str) -> &'a Value {
    let value = row.get(field).unwrap_or(&row["metadata"][field]);
    if nothing(value) { &Value::Null } else { value }
}

/// Changes that take something away from a key, or leave it what anybody may give one.
fn harmless(field: &str, was: &Value, is: &Value, exists: bool) -> bool {
    match field {
        "blocked" => *was != Value::Bool(true),
        "throttle_on_budget_exceeded" | "disable_global_guardrails" => *is != Value::Bool(true),
        "allowed_routes" => {
            // The buckets of `key_type`; a key that only reads stays one. Source: LiteLLM,
            // `_is_safe_preset_route_transition`.
            let safe = |routes: &Value| {
                routes.is_null()
                    || routes.as_array().is_some_and(|routes| {
                        routes.iter().all(|route| *route == "llm_api_routes" || *route == "info_routes")
                    })
            };
            let reads_only =
                was.as_array().is_some_and(|routes| routes.iter().all(|one| *one == "info_routes"));
            safe(was) && safe(is) && !(exists && reads_only)
        }
        _ => false,
    }
}

/// Whether the key may be where it is put, and have what it is given there: user, team, organization, project,
/// budget and access groups exist, and the caller may give keys to them. `before` is `None` for a new key.
///
/// # Errors
/// 400 for what does not exist or does not fit, 401 and 403 for what the caller may not.
pub(crate) async fn check_place(
    call: &Call,
    before: Option<&VirtualKey>,
    key: &VirtualKey,
) -> Result<(), AdminError> {
    let (store, caller) = (&call.admin.store, &call.caller);
    let nowhere = VirtualKey::default();
    let old = before.unwrap_or(&nowhere);
    let team = match &key.team_id {
        Some(id) => Some(team_of(call, id).await?),
        None => None,
    };
    if let Some(team) = team.as_ref().filter(|_| before.is_some() && key.team_id != old.team_id) {
        // Whoever puts a key into a team makes one there.
        rights_in(call, team, Act::Generate).await?;
        let owner = key.user_id.as_deref().filter(|owner| !owner.is_empty());
        if let Some(owner) = owner.filter(|owner| !caller.is_admin() && *owner != caller.user_id())
            && !is_listed(owner, team)
        {
            return Err(AdminError::invalid(
                "user_id",
                format!("User={owner} not assigned to team={}", team.team_id),
            ));
        }
    }
    if let (Some(own), Some(most)) = (key.max_budget, team.as_ref().and_then(|team| team.max_budget))
        && own > most
        && (key.max_budget != old.max_budget || key.team_id != old.team_id)
    {
        return Err(AdminError::invalid(
            "max_budget",
            format!("max_budget of the key ({}) is more than the team's ({})", own.0, most.0),
        ));
    }
    within_own_budget(caller, old, key)?;
    if let Some(id) = &key.organization_id
        && key.organization_id != old.organization_id
    {
        if store.get::<Organization>(&[id]).await?.is_none() {
            return Err(AdminError::invalid(
                "organization_id",
                format!("Organization '{id}' does not exist"),
            ));
        }
        let belongs = match team.as_ref().and_then(|team| team.organization_id.as_ref()) {
            _ if caller.is_admin() => true,
            // A key that names its organization is charged there: it must not lead out of its team's.
            Some(of_team) => of_team == id,
            None => {
                let memberships = call.admin.organizations_of(caller.user_id()).await?;
                memberships.iter().any(|membership| membership.organization_id == *id)
            }
        };
        if !belongs {
            return Err(AdminError::forbidden(format!(
                "Caller is not a member of organization_id={id}, or the key's team is in another one; leave the \
                 field out, or ask a proxy admin"
            ))
            .about("organization_id"));
        }
    }
    if let Some(id) = &key.project_id
        && (key.project_id != old.project_id || key.team_id != old.team_id)
    {
        let project = store
            .get::<Project>(&[id])
            .await?
            .ok_or_else(|| AdminError::invalid("project_id", format!("Project '{id}' does not exist")))?;
        if !caller.is_admin() && (project.team_id.is_none() || project.team_id != key.team_id) {
            return Err(AdminError::forbidden(format!(
                "Project '{id}' belongs to another team than the key; give `team_id` of the project's team"
            ))
            .about("project_id"));
        }
    }
    if let Some(id) = &key.budget_id
        && key.budget_id != old.budget_id
        && store.get::<Budget>(&[id]).await?.is_none()
    {
        return Err(AdminError::invalid(
            "budget_id",
            format!("Budget '{id}' does not exist. Create it via `/budget/new`."),
        ));
    }
    if key.access_group_ids != old.access_group_ids && !key.access_group_ids.is_empty() {
        may_assign_access_groups(call, team.as_ref()).await?;
    }
    Ok(())
}

/// Nobody hands out more than the key they call with may spend; in a session, which has little to spend itself,
/// than the user may. Source: LiteLLM, `_enforce_budget_delegation_ceiling`.
fn within_own_budget(caller: &Caller, old: &VirtualKey, key: &VirtualKey) -> Result<(), AdminError> {
    let most = caller.record.as_ref().and_then(|record| {
        let session = record.key.team_id.as_deref() == Some(SESSIONS_TEAM);
        if session { record.user.as_ref()?.max_budget } else { record.key.max_budget }
    });
    let Some(most) = most.filter(|_| !caller.is_admin()) else { return Ok(()) };
    let beyond = |field: &'static str, asked: Usd| {
        AdminError::invalid(
            field,
            format!("{field} ({}) cannot exceed the caller's own max_budget ({})", asked.0, most.0),
        )
    };
    if let Some(asked) = key.max_budget.filter(|asked| *asked > most && key.max_budget != old.max_budget) {
        return Err(beyond("max_budget", asked));
    }
    if key.budget_limits != old.budget_limits {
        let windows = key.budget_limits.as_array().into_iter().flatten();
        let asked = windows.filter_map(|window| window["max_budget"].as_f64()).filter_map(Usd::from_f64);
        if let Some(asked) = asked.max().filter(|asked| *asked > most) {
            return Err(beyond("budget_limits", asked));
        }
    }
    Ok(())
}

async fn may_assign_access_groups(call: &Call, team: Option<&Team>) -> Result<(), AdminError> {
    let Some(team) = team else {
        if call.caller.is_admin() {
            return Ok(());
        }
        return Err(AdminError::forbidden(
            "Key is not in a team. Access groups cannot be assigned to personal keys by non-admin callers; \
             leave `access_group_ids` out, or ask a proxy admin",
        )
        .about("access_group_ids"));
    };
    let standing = call.admin.standing(&call.caller, team).await?;
    if standing >= Standing::TeamAdmin || (standing == Standing::Member && members_may(team, ACCESS_GROUPS)) {
        return Ok(());
    }
    Err(AdminError::forbidden(format!(
        "Team members cannot assign access groups to keys for team {}. Ask a team or proxy admin to enable the \
         '{ACCESS_GROUPS}' team member permission",
        team.team_id
    ))
    .about("access_group_ids"))
}
