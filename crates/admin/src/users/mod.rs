//! Internal users. Source: compat, endpoints §2.3 and §3.3.
//!
//! Who may set which field of a user is in [`rules`].

mod bulk;
pub(crate) mod defaults;
mod erase;
mod list;
mod rules;

use faregate_state::invalidate::Subject;
use faregate_store::{Organization, OrganizationMembership, Team, TeamMember, User};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::keys::{self, Owner};
use crate::routes::{Answer, Call, Route, route};
use crate::{login, passwords};
use defaults::TeamsBy;

const TABLE: &str = "LiteLLM_UserTable";

const COLUMNS: &[&str] = &[
    "user_alias",
    "user_email",
    "user_role",
    "sso_user_id",
    "models",
    "metadata",
    "max_budget",
    "spend",
    "tpm_limit",
    "rpm_limit",
    "max_parallel_requests",
    "budget_duration",
    "allowed_cache_controls",
    "model_max_budget",
    "policies",
];

const USER: &[Field] = &[
    field("user_email", Holds::Text, "address"),
    field("user_alias", Holds::Text, "display name"),
    field("user_role", Holds::Text, "proxy_admin, proxy_admin_viewer, internal_user, internal_user_viewer"),
    field("sso_user_id", Holds::Text, "id at the identity provider"),
    field("password", Holds::Text, "to sign in to the UI with, beside the e-mail address"),
];

const NEW: &[Field] = &[
    field("teams", Holds::List, "ids of teams, or {team_id, user_role}"),
    field("organizations", Holds::Texts, "ids of organizations; needed if the caller is no proxy admin"),
    field("organization_id", Holds::Text, "instead of organizations: one organization"),
    field("auto_create_key", Holds::Flag, "also make a key; true when absent"),
];

/// What an update may say of one user.
const UPDATE: &[&[Field]] = &[USER, keys::SHARED, columns::BUDGET];

const BULK: &[Field] = &[
    field("users", Holds::List, "one body of /user/update per user"),
    field("all_users", Holds::Flag, "proxy admins: everybody, by user_updates"),
    field("user_updates", Holds::Object, "with all_users: what changes"),
];

const DELETE: &[Field] = &[
    field("user_ids", Holds::Texts, "the users"),
    field("user_id", Holds::Text, "instead of user_ids: one user"),
    field(
        "logs",
        Holds::Text,
        "what becomes of their request log: keep (POST), anonymize (DELETE) or delete",
    ),
];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "POST",
        &["/user/new"],
        Org,
        &[USER, NEW, keys::SHARED, columns::BUDGET],
        &[],
        "Create a user and, unless told not to, a key",
        new
    ),
    route!("POST", &["/user/update"], Org, UPDATE, &[], "Update a user", update),
    route!(
        "POST",
        &["/user/bulk_update"],
        Org,
        &[BULK],
        &[],
        "Update many users; each stands for itself",
        bulk::update
    ),
    route!(
        "GET",
        &["/user/info"],
        Key,
        &[],
        &[field("user_id", Holds::Text, "the caller when absent")],
        "A user with keys and teams",
        list::info
    ),
    route!(
        "GET",
        &["/v2/user/info"],
        Key,
        &[],
        &[field("user_id", Holds::Text, "the caller when absent")],
        "A user alone",
        list::info_alone
    ),
    route!("GET", &["/user/list", "/user/get_users"], Key, &[], LIST, "Users, page by page", list::list),
    route!("GET", &["/user/available_roles"], Key, &[], &[], "Roles, and what they are called", roles),
    route!("POST", &["/user/delete"], Org, &[DELETE], &[], "Delete users and their keys", erase::delete),
    route!(
        "DELETE",
        &["/user/delete"],
        Org,
        &[DELETE],
        &[],
        "Delete a user, with keys and, if asked, the request log",
        erase::erase
    ),
    route!(
        "GET",
        &["/user/{user_id}"],
        Key,
        &[],
        &[],
        "Everything that is stored about a user",
        list::export
    ),
];

const LIST: &[Field] = &[
    field("role", Holds::Text, ""),
    field("user_ids", Holds::Text, "comma list"),
    field("sso_user_ids", Holds::Text, "comma list"),
    field("user_email", Holds::Text, "a part of it"),
    field("search", Holds::Text, "part of id, address or alias"),
    field("team", Holds::Text, ""),
    field("page", Holds::Int, "from 1"),
    field("page_size", Holds::Int, "25 when absent, 100 at most"),
    field("sort_by", Holds::Text, "a column"),
    field("sort_order", Holds::Text, "asc or desc"),
    field("organization_ids", Holds::Text, "comma list"),
];

/// Roles a user may have, with label and meaning. Source: compat, endpoints §3.3.
const ROLES: &[(&str, &str, &str)] = &[
    ("proxy_admin", "Admin (All Permissions)", "admin over the whole proxy, has all permissions"),
    ("proxy_admin_viewer", "Admin (View Only)", "view all keys, view all spend"),
    (
        "internal_user",
        "Internal User (Create/Delete/View)",
        "can view/create/delete their own keys, view their own spend",
    ),
    ("internal_user_viewer", "Internal Viewer (View Only)", "can view own keys and spend"),
];

/// The columns that a body sets; `before` is `None` for a new user.
async fn columns_of(call: &Call, before: Option<&User>) -> Result<Map<String, Value>, AdminError> {
    columns::not_negative(call, &["max_budget", "soft_budget", "spend"])?;
    if let Some(role) = call.text("user_role") {
        let known =
            ROLES.iter().any(|(word, ..)| *word == role) || matches!(role, "org_admin" | "team" | "customer");
        if !known {
            let words: Vec<&str> = ROLES.iter().map(|(word, ..)| *word).collect();
            return Err(AdminError::fields(vec![(
                vec!["body", "user_role"],
                "enum",
                format!("user_role: Input should be one of {}", words.join(", ")),
            )]));
        }
    }
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, COLUMNS);
    columns::period(call, &mut columns)?;
    if columns.get("spend").is_some_and(Value::is_null) {
        columns.remove("spend");
    }
    let stored = before.map(|user| user.metadata.clone()).unwrap_or_default();
    let mut metadata = match call.body.get("metadata") {
        Some(Value::Object(given)) => Value::Object(given.clone()),
        _ => stored.clone(),
    };
    columns::take_into(&mut metadata, &call.body, &["model_rpm_limit", "model_tpm_limit", "guardrails"]);
    columns::keep_internal(&mut metadata, &stored);
    columns.insert("metadata".to_owned(), metadata);
    for list in ["models", "policies", "allowed_cache_controls"] {
        if columns.get(list).is_some_and(Value::is_null) {
            columns.insert(list.to_owned(), json!([]));
        }
    }
    if let Some(password) = call.text("password") {
        columns.insert("password".to_owned(), json!(passwords::hash(password).await?));
        columns.insert("password_reset_required".to_owned(), json!(false));
    }
    Ok(columns)
}

/// Where a new user is put, all of it known and the caller's to fill.
struct Places {
    /// Teams, with the role in each.
    teams: Vec<(Team, &'static str)>,
    organizations: Vec<String>,
}

/// # Errors
/// 400 for what does not exist, 403 for what the caller does not administer.
async fn places(call: &Call, teams_by: TeamsBy) -> Result<Places, AdminError> {
    let mut organizations = call.texts("organizations");
    organizations.extend(call.text("organization_id").filter(|id| !id.is_empty()).map(str::to_owned));
    organizations.sort();
    organizations.dedup();
    if organizations.is_empty() && !call.caller.is_admin() {
        return Err(AdminError::forbidden(
            "Only proxy admins can create users outside of an organization; give the `organizations` that you \
             administer",
        )
        .about("organizations"));
    }
    for id in &organizations {
        call.admin.must_lead(&call.caller, id).await?;
        if call.admin.store.get::<Organization>(&[id]).await?.is_none() {
            return Err(AdminError::invalid(
                "organizations",
                format!("Organization not found for organization_id={id}"),
            ));
        }
    }
    let mut teams = Vec::new();
    for given in call.given("teams").and_then(Value::as_array).into_iter().flatten() {
        let (id, role) = match given {
            Value::String(id) => (id.as_str(), "user"),
            other => {
                (other["team_id"].as_str().unwrap_or_default(), other["user_role"].as_str().unwrap_or("user"))
            }
        };
        let team =
            call.admin.store.get::<Team>(&[id]).await?.ok_or_else(|| {
                AdminError::invalid("teams", format!("Team not found, passed team id: {id}."))
            })?;
        if teams_by == TeamsBy::Caller {
            call.admin.may_change_team(&call.caller, &team).await.map_err(|error| error.about("teams"))?;
        }
        let role = match role {
            "admin" => "admin",
            "user" | "member" => "user",
            other => {
                return Err(AdminError::invalid(
                    "teams",
                    format!("teams: user_role `{other}` is neither admin nor user"),
                ));
            }
        };
        teams.push((team, role));
    }
    Ok(Places { teams, organizations })
}

async fn new(mut call: Call) -> Outcome {
    let admin = std::sync::Arc::clone(&call.admin);
    let teams_by = defaults::fill(&admin, &mut call.body);
    let email = call.text("user_email");
    if email.is_some() && admin.person(None, email).await?.is_some() {
        return Err(AdminError::new(
            409,
            "bad_request_error",
            format!("User with email {} already exists", email.unwrap_or_default()),
        ));
    }
    let given = call.text("user_id").filter(|id| !id.is_empty());
    let id = given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    if admin.store.get::<User>(&[&id]).await?.is_some() {
        return Err(AdminError::new(409, "bad_request_error", format!("User with id {id} already exists")));
    }
    let mut user: User = columns::row(columns_of(&call, None).await?)?;
    user.user_id.clone_from(&id);
    user.user_role = user.user_role.or_else(|| Some("internal_user".to_owned()));
    let places = places(&call, teams_by).await?;
    rules::check_new(&call, &user)?;
    // Everything is checked before anything is written: a refusal leaves nothing behind.
    let key = if call.given("auto_create_key") == Some(&Value::Bool(false)) {
        None
    } else {
        // A budget of the user is not the key's as well.
        for field in columns::BUDGET {
            call.body.remove(field.name);
        }
        for of_user in ["metadata", "spend", "organization_id"] {
            call.body.remove(of_user);
        }
        Some(keys::new_key(&call, Owner::New(&id)).await?)
    };
    admin.store.insert(&user, admin.now()).await?;
    for organization in &places.organizations {
        let membership = OrganizationMembership {
            user_id: id.clone(),
            organization_id: organization.clone(),
            user_role: Some("internal_user".to_owned()),
            ..OrganizationMembership::default()
        };
        admin.store.insert(&membership, admin.now()).await?;
    }
    for (team, role) in &places.teams {
        let member =
            TeamMember { user_id: id.clone(), role: (*role).to_owned(), user_email: user.user_email.clone() };
        admin.store.add_team_member(&team.team_id, &member, None, admin.now()).await?;
        admin.changed(Subject::Team, &team.team_id);
    }
    admin.changed(Subject::User, &id);
    admin.audit(&call, "created", TABLE, &id, Value::Null, json_of(&user)).await;
    let mut answer = shown(json_of(&admin.store.get::<User>(&[&id]).await?));
    answer["key"] = json!("");
    if let Some((key, secret)) = key {
        let key = keys::save(&call, &key).await?;
        let shown = keys::shown_once(&key, &secret);
        for name in ["key", "key_name", "token", "token_id", "expires", "key_alias"] {
            answer[name] = shown[name].clone();
        }
    }
    Ok(Answer::json(&answer))
}

async fn update(call: Call) -> Outcome {
    let row = change(&call).await?;
    Ok(Answer::json(&json!({ "user_id": row.user_id, "data": shown(json_of(&row)) })))
}

/// Changes the user that a body names, if the caller may.
async fn change(call: &Call) -> Result<User, AdminError> {
    let (id, email) = (call.text("user_id"), call.text("user_email"));
    let user = call.admin.person(id, email).await?;
    let user = user.ok_or_else(|| {
        AdminError::not_found(format!("User not found, passed user_id={}", id.or(email).unwrap_or_default()))
    })?;
    if user.user_id != call.caller.user_id() {
        call.admin.may_change_user(&call.caller, &user).await?;
    }
    let columns = columns_of(call, Some(&user)).await?;
    let mut merged = match json_of(&user) {
        Value::Object(all) => all,
        _ => Map::new(),
    };
    merged.extend(columns.clone());
    rules::check_fields(call, &user, &columns::row(merged)?)?;
    let row =
        call.admin.store.update::<User>(&[&user.user_id], &columns::patch(columns), call.admin.now()).await?;
    call.admin.changed(Subject::User, &user.user_id);
    if call.given("password").is_some() {
        login::end_sessions(&call.admin, &user.user_id, None).await?;
    }
    call.admin.audit(call, "updated", TABLE, &user.user_id, json_of(&user), json_of(&row)).await;
    row.ok_or_else(|| AdminError::not_found(format!("User {} not found", user.user_id)))
}

/// A user without what nobody should see.
pub(crate) fn shown(mut user: Value) -> Value {
    if let Value::Object(map) = &mut user {
        map.remove("password");
    }
    user
}

async fn roles(_: Call) -> Outcome {
    let all: Map<String, Value> = ROLES
        .iter()
        .map(|(word, label, text)| ((*word).to_owned(), json!({ "description": text, "ui_label": label })))
        .collect();
    Ok(Answer::json(&all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let user = User { password: Some("scrypt:x".into()), ..User::default() };
        assert!(shown(json_of(&user)).get("password").is_none());
    }
}
