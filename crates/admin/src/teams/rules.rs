//! Who may set which field of a team. The one place for it.
//!
//! An admin of the team runs it inside the limits they were given; an admin of its organization sets those,
//! inside the organization's; an admin of the proxy sets anything. Source: LiteLLM 1.106.2,
//! `team_admin_field_permissions.py` and `_check_org_team_limits`. LiteLLM lets admins of a team change
//! nothing but what `team_admin_editable_team_fields` names; here that counts once it names something, and until
//! then they may change what gives nobody more.

use faregate_store::{Budget, Organization, Team};
use serde_json::Value;

use super::{COLUMNS, IN_METADATA};
use crate::access::Standing;
use crate::columns::json_of;
use crate::error::AdminError;
use crate::routes::Call;
use crate::tighten::{same, widens};

/// Who may set a field of a team they administer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Admins of the team.
    TeamAdmin,
    /// Admins of the team, as long as it allows no more than before.
    TeamAdminToLess,
    /// Admins of its organization. Every field that is not named here.
    OrganizationAdmin,
    /// Admins of the proxy.
    ProxyAdmin,
}

const RULES: &[(&str, Who)] = &[
    ("team_alias", Who::TeamAdmin),
    ("tags", Who::TeamAdmin),
    ("default_team_member_models", Who::TeamAdmin),
    ("team_member_key_duration", Who::TeamAdmin),
    ("max_budget", Who::TeamAdminToLess),
    ("soft_budget", Who::TeamAdminToLess),
    ("tpm_limit", Who::TeamAdminToLess),
    ("rpm_limit", Who::TeamAdminToLess),
    ("tpd_limit", Who::TeamAdminToLess),
    ("max_parallel_requests", Who::TeamAdminToLess),
    ("models", Who::TeamAdminToLess),
    ("model_rpm_limit", Who::TeamAdminToLess),
    ("model_tpm_limit", Who::TeamAdminToLess),
    ("disable_global_guardrails", Who::ProxyAdmin),
    ("allowed_passthrough_routes", Who::ProxyAdmin),
    ("denied_passthrough_routes", Who::ProxyAdmin),
    ("default_estimated_output_tokens", Who::ProxyAdmin),
    ("default_estimated_output_tokens_per_model", Who::ProxyAdmin),
];

/// What `team_admin_editable_team_fields` may name. Source: LiteLLM, `SUPPORTED_TEAM_ADMIN_PERMISSIONS`.
pub(crate) const TEAM_ADMIN_PERMISSIONS: &[&str] = &[
    "tpm_limit",
    "rpm_limit",
    "max_budget",
    "soft_budget",
    "metadata",
    "team_member_budget",
    "team_member_budget_duration",
    "team_member_tpm_limit",
    "team_member_rpm_limit",
    "raise_max_budget",
    "projects",
    "member_key_budgets",
    "create_member_keys",
];

/// Members of `metadata` that steer the gateway, though they are no fields. Source: LiteLLM,
/// `PROXY_CONTROLLED_TEAM_METADATA_KEYS`.
const STEERING: &[&str] = &[
    "opted_out_global_guardrails",
    "spend_logs_metadata",
    "model_config",
    "callback_settings",
    "logging",
    "priority",
    "allowed_tools",
    "allow_client_mock_response",
    "allow_client_message_redaction_opt_out",
    "allow_client_pricing_override",
    "allow_litellm_changed_by_header",
    "soft_budget_alerting_emails",
    "team_member_max_budget_alert_emails",
    "scim_active",
    "scim_managed",
    "scim_data",
];

fn rule_of(field: &str) -> Who {
    let known = || COLUMNS.contains(&field) || IN_METADATA.contains(&field) || STEERING.contains(&field);
    match RULES.iter().find(|(name, _)| *name == field) {
        Some((_, who)) => *who,
        None if known() => Who::OrganizationAdmin,
        // A free member of `metadata`.
        None => Who::TeamAdmin,
    }
}

/// Whether the caller, standing so to the team, may turn `before` into `after`; `None` is a new team.
///
/// # Errors
/// 403 naming the first field that they may not change.
pub(super) fn check_fields(
    call: &Call,
    standing: Standing,
    before: Option<&Team>,
    after: &Team,
) -> Result<(), AdminError> {
    let (old, new) = (json_of(&before.cloned().unwrap_or_default()), json_of(after));
    let members = |row: &Value| row["metadata"].as_object().cloned().unwrap_or_default();
    let (old_members, new_members) = (members(&old), members(&new));
    let columns =
        COLUMNS.iter().filter(|name| **name != "metadata").map(|name| (*name, &old[*name], &new[*name]));
    let none = &Value::Null;
    let free = old_members.keys().chain(new_members.keys()).map(|name| {
        (name.as_str(), old_members.get(name).unwrap_or(none), new_members.get(name).unwrap_or(none))
    });
    let named = call.admin.snapshot.load().general.people.editable_by_team_admins.clone();
    let named = named.filter(|_| standing == Standing::TeamAdmin);
    for (field, was, is) in columns.chain(free).filter(|(_, was, is)| !same(was, is)) {
        match &named {
            Some(named) => by_name(named, field, was, is)?,
            None => allowed(standing, field, was, is)?,
        }
    }
    // The budget of members is a row of its own.
    let of_members = MEMBERS.iter().find(|field| call.body.contains_key(**field));
    if let (Some(named), Some(field)) = (&named, of_members)
        && !named.iter().any(|one| one == field)
    {
        return Err(not_named(field));
    }
    // They live in a table of their own.
    if standing < Standing::OrganizationAdmin && call.given("model_aliases").is_some() {
        return Err(refusal("model_aliases", "admins of its organization and proxy admins"));
    }
    Ok(())
}

/// Fields that make a budget for each member.
const MEMBERS: [&str; 4] =
    ["team_member_budget", "team_member_budget_duration", "team_member_tpm_limit", "team_member_rpm_limit"];

/// Whether `team_admin_editable_team_fields` lets admins of a team make this change. A budget is raised only
/// where that is named too; that it fits into the organization is checked as for everybody.
fn by_name(named: &[String], field: &str, was: &Value, is: &Value) -> Result<(), AdminError> {
    let has = |wanted: &str| named.iter().any(|one| one == wanted);
    let column = COLUMNS.contains(&field) || IN_METADATA.contains(&field) || STEERING.contains(&field);
    let permitted = if column { has(field) } else { has("metadata") };
    if !permitted {
        return Err(not_named(field));
    }
    let lifted = widens(was, is) && is.is_null();
    if field == "max_budget" && (lifted || (widens(was, is) && !has("raise_max_budget"))) {
        return Err(AdminError::forbidden(
            "Team admins on this proxy do not have permission to raise 'max_budget' or to take it away; ask a proxy \
             admin to add raise_max_budget to team_admin_editable_team_fields, or to do it",
        )
        .about(field));
    }
    Ok(())
}

fn not_named(field: &str) -> AdminError {
    AdminError::forbidden(format!(
        "Team admins on this proxy do not have permission to update '{field}'; ask a proxy admin to name it in \
         team_admin_editable_team_fields, or leave it out"
    ))
    .about(field)
}

fn allowed(standing: Standing, field: &str, was: &Value, is: &Value) -> Result<(), AdminError> {
    let who = rule_of(field);
    let needed = match who {
        Who::TeamAdmin => Standing::TeamAdmin,
        Who::TeamAdminToLess if !widens(was, is) => Standing::TeamAdmin,
        Who::TeamAdminToLess | Who::OrganizationAdmin => Standing::OrganizationAdmin,
        Who::ProxyAdmin => Standing::ProxyAdmin,
    };
    if standing >= needed {
        return Ok(());
    }
    Err(refusal(
        field,
        match (who, needed) {
            (_, Standing::ProxyAdmin) => "proxy admins",
            _ => "admins of its organization and proxy admins",
        },
    ))
}

fn refusal(field: &str, who: &str) -> AdminError {
    AdminError::forbidden(format!(
        "Team admins on this proxy do not have permission to update '{field}' to this value: only {who} can. \
         Leave the field out, or ask one of them"
    ))
    .about(field)
}

/// Whether the team may be in the organization it names, and fits into it.
///
/// # Errors
/// 400 for an organization that does not exist or limits beyond its own, 403 for one the caller does not
/// administer.
pub(super) async fn check_organization(
    call: &Call,
    before: Option<&Team>,
    after: &Team,
) -> Result<(), AdminError> {
    let old = before.and_then(|team| team.organization_id.as_ref());
    let Some(id) = &after.organization_id else {
        if call.caller.is_admin() || (before.is_some() && old.is_none()) {
            return Ok(());
        }
        let act = if before.is_some() { "take teams out of" } else { "create teams outside of" };
        return Err(AdminError::forbidden(format!(
            "Only proxy admins may {act} an organization; give the organization_id of one you administer"
        ))
        .about("organization_id"));
    };
    let store = &call.admin.store;
    let organization = store.get::<Organization>(&[id]).await?.ok_or_else(|| {
        AdminError::invalid("organization_id", format!("Organization not found for organization_id={id}"))
    })?;
    if old != Some(id) {
        call.admin.must_lead(&call.caller, id).await?;
    }
    let budget = store.get::<Budget>(&[&organization.budget_id]).await?.unwrap_or_default();
    let (team, most) = (json_of(after), json_of(&budget));
    let was = before.map(json_of).unwrap_or_default();
    for field in ["max_budget", "tpm_limit", "rpm_limit"] {
        // What was more before stays what it is; only a change is held against the organization.
        let changed = old != Some(id) || team[field] != was[field];
        if changed && !team[field].is_null() && widens(&most[field], &team[field]) {
            return Err(AdminError::invalid(
                field,
                format!(
                    "Team {field} ({}) exceeds organization's {field} ({}). Organization: {id}",
                    team[field], most[field]
                ),
            ));
        }
    }
    Ok(())
}
