//! Internal users. Source: compat, endpoints §2.3 and §3.3.

use faregate_state::invalidate::Subject;
use faregate_store::ledger::Erasure;
use faregate_store::{Filter, ListQuery, Order, Team, TeamMember, User, VirtualKey};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::keys::{self, deleter};
use crate::routes::{Answer, Call, Route, route};
use crate::{login, passwords};

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
    field("organizations", Holds::Texts, "ids of organizations"),
    field("auto_create_key", Holds::Flag, "also make a key; true when absent"),
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
    route!(
        "POST",
        &["/user/update"],
        Org,
        &[USER, keys::SHARED, columns::BUDGET],
        &[],
        "Update a user",
        update
    ),
    route!(
        "GET",
        &["/user/info"],
        Key,
        &[],
        &[field("user_id", Holds::Text, "the caller when absent")],
        "A user with keys and teams",
        info
    ),
    route!(
        "GET",
        &["/v2/user/info"],
        Key,
        &[],
        &[field("user_id", Holds::Text, "the caller when absent")],
        "A user alone",
        info_alone
    ),
    route!("GET", &["/user/list", "/user/get_users"], Key, &[], LIST, "Users, page by page", list),
    route!("GET", &["/user/available_roles"], Key, &[], &[], "Roles, and what they are called", roles),
    route!("POST", &["/user/delete"], Org, &[DELETE], &[], "Delete users and their keys", delete),
    route!(
        "DELETE",
        &["/user/delete"],
        Org,
        &[DELETE],
        &[],
        "Delete a user, with keys and, if asked, the request log",
        erase
    ),
    route!("GET", &["/user/{user_id}"], Key, &[], &[], "Everything that is stored about a user", export),
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

async fn columns_of(call: &Call, metadata: Value) -> Result<Map<String, Value>, AdminError> {
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
        if role.starts_with("proxy_admin") && !call.caller.is_admin() {
            return Err(AdminError::forbidden("Only proxy admins may make somebody a proxy admin"));
        }
    }
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, COLUMNS);
    columns::period(call, &mut columns)?;
    let mut metadata = match call.body.get("metadata") {
        Some(Value::Object(given)) => Value::Object(given.clone()),
        _ => metadata,
    };
    columns::take_into(&mut metadata, &call.body, &["model_rpm_limit", "model_tpm_limit", "guardrails"]);
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

async fn new(mut call: Call) -> Outcome {
    let admin = std::sync::Arc::clone(&call.admin);
    let email = call.text("user_email");
    if email.is_some() && admin.person(None, email).await?.is_some() {
        return Err(AdminError::new(
            409,
            "bad_request_error",
            format!("User with email {} already exists", email.unwrap_or_default()),
        ));
    }
    let id = call.text("user_id").map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    if admin.store.get::<User>(&[&id]).await?.is_some() {
        return Err(AdminError::new(409, "bad_request_error", format!("User with id {id} already exists")));
    }
    let mut user: User = columns::row(columns_of(&call, json!({})).await?)?;
    user.user_id.clone_from(&id);
    user.user_role = user.user_role.or_else(|| Some("internal_user".to_owned()));
    admin.store.insert(&user, admin.now()).await?;
    for team in call.given("teams").and_then(Value::as_array).into_iter().flatten() {
        let (team, role) = match team {
            Value::String(id) => (id.as_str(), "user"),
            other => {
                (other["team_id"].as_str().unwrap_or_default(), other["user_role"].as_str().unwrap_or("user"))
            }
        };
        let member =
            TeamMember { user_id: id.clone(), role: role.to_owned(), user_email: user.user_email.clone() };
        if admin.store.add_team_member(team, &member, None, admin.now()).await?.is_none() {
            return Err(AdminError::invalid("teams", format!("Team not found, passed team id: {team}.")));
        }
        admin.changed(Subject::Team, team);
    }
    admin.changed(Subject::User, &id);
    admin.audit(&call, "created", TABLE, &id, Value::Null, json_of(&user)).await;
    let mut answer = json_of(&admin.store.get::<User>(&[&id]).await?);
    answer["key"] = json!("");
    if call.given("auto_create_key") != Some(&Value::Bool(false)) {
        call.body.insert("user_id".to_owned(), json!(id));
        // A budget of the user is not the key's as well.
        for field in columns::BUDGET {
            call.body.remove(field.name);
        }
        call.body.remove("metadata");
        let (key, secret) = keys::new_key(&call).await?;
        keys::save(&call, &key).await?;
        let shown = keys::shown_once(&key, &secret);
        for name in ["key", "key_name", "token", "token_id", "expires", "key_alias"] {
            answer[name] = shown[name].clone();
        }
    }
    Ok(Answer::json(&answer))
}

async fn update(call: Call) -> Outcome {
    let (id, email) = (call.text("user_id"), call.text("user_email"));
    let user = call.admin.person(id, email).await?;
    let user = user.ok_or_else(|| {
        AdminError::not_found(format!("User not found, passed user_id={}", id.or(email).unwrap_or_default()))
    })?;
    let columns = columns_of(&call, user.metadata.clone()).await?;
    let row =
        call.admin.store.update::<User>(&[&user.user_id], &columns::patch(columns), call.admin.now()).await?;
    call.admin.changed(Subject::User, &user.user_id);
    if call.given("password").is_some() {
        login::end_sessions(&call.admin, &user.user_id).await?;
    }
    call.admin.audit(&call, "updated", TABLE, &user.user_id, json_of(&user), json_of(&row)).await;
    Ok(Answer::json(&json!({ "user_id": user.user_id, "data": shown(json_of(&row)) })))
}

/// Without what nobody should see.
fn shown(mut user: Value) -> Value {
    if let Value::Object(map) = &mut user {
        map.remove("password");
    }
    user
}

async fn asked(call: &Call) -> Result<User, AdminError> {
    let own = call.caller.user_id();
    let id = call.path.get("user_id").map(String::as_str).or_else(|| call.asked("user_id")).unwrap_or(own);
    if id != own && !call.caller.sees_all() && call.admin.leads_organizations(&call.caller).await?.is_empty()
    {
        return Err(AdminError::forbidden("You may see your own user only"));
    }
    call.admin.row::<User>(&[id], || format!("User {id} not found")).await
}

async fn keys_of(call: &Call, user: &str) -> Result<Vec<Value>, AdminError> {
    let query = ListQuery::new().filter(Filter::Is("user_id", json!(user))).uncounted();
    Ok(call.admin.store.list::<VirtualKey>(&query).await?.rows.iter().map(json_of).collect())
}

async fn info(call: Call) -> Outcome {
    if call.asked("user_id").is_none() && call.caller.is_master {
        return Ok(Answer::json(
            &json!({ "user_id": call.caller.user_id(), "user_info": null, "keys": [], "teams": [] }),
        ));
    }
    let user = asked(&call).await?;
    let mut teams = Vec::new();
    for id in &user.teams {
        teams.extend(call.admin.store.get::<Team>(&[id]).await?);
    }
    Ok(Answer::json(&json!({
        "user_id": user.user_id,
        "user_info": shown(json_of(&user)),
        "keys": keys_of(&call, &user.user_id).await?,
        "teams": teams,
    })))
}

async fn info_alone(call: Call) -> Outcome {
    Ok(Answer::json(&shown(json_of(&asked(&call).await?))))
}

async fn list(call: Call) -> Outcome {
    let (page, size) = call.page("page_size", 25, 100);
    let mut query = ListQuery::new().page(page, size);
    let many = |name: &str| {
        call.asked(name).map(|list| list.split(',').map(|part| json!(part.trim())).collect::<Vec<_>>())
    };
    for (name, column) in
        [("user_ids", "user_id"), ("sso_user_ids", "sso_user_id"), ("organization_ids", "organization_id")]
    {
        if let Some(values) = many(name) {
            query = query.filter(Filter::In(column, values));
        }
    }
    if let Some(role) = call.asked("role") {
        query = query.filter(Filter::Is("user_role", json!(role)));
    }
    if let Some(team) = call.asked("team") {
        query = query.filter(Filter::Holds("teams", team.to_owned()));
    }
    if let Some(email) = call.asked("user_email") {
        query = query.filter(Filter::Contains("user_email", email.to_owned()));
    }
    if let Some(text) = call.asked("search") {
        let columns = ["user_id", "user_email", "user_alias"];
        query =
            query.filter(Filter::Any(columns.map(|column| Filter::Contains(column, text.to_owned())).into()));
    }
    if !call.caller.sees_all() {
        let own = Filter::Is("user_id", json!(call.caller.user_id()));
        let organizations = call.admin.leads_organizations(&call.caller).await?;
        let of_organizations = organizations.iter().map(|id| json!(id)).collect();
        query = query.filter(Filter::Any(vec![own, Filter::In("organization_id", of_organizations)]));
    }
    let order = if call.asked("sort_order") == Some("desc") { Order::Down } else { Order::Up };
    if let Some(column) = call.asked("sort_by") {
        query = query.sort(column, order);
    }
    let found = call.admin.store.list::<User>(&query).await?;
    let mut users = Vec::new();
    for user in found.rows {
        let keys = ListQuery::new().filter(Filter::Is("user_id", json!(user.user_id))).page(1, 1);
        let mut row = shown(json_of(&user));
        row["key_count"] = json!(call.admin.store.list::<VirtualKey>(&keys).await?.total);
        users.push(row);
    }
    Ok(Answer::json(&json!({
        "users": users,
        "total": found.total,
        "page": page,
        "page_size": size,
        "total_pages": found.total.div_ceil(size),
    })))
}

async fn roles(_: Call) -> Outcome {
    let all: Map<String, Value> = ROLES
        .iter()
        .map(|(word, label, text)| ((*word).to_owned(), json!({ "description": text, "ui_label": label })))
        .collect();
    Ok(Answer::json(&all))
}

async fn remove(call: &Call) -> Result<Vec<User>, AdminError> {
    let mut ids = call.texts("user_ids");
    ids.extend(call.text("user_id").map(str::to_owned));
    if ids.is_empty() {
        return Err(AdminError::invalid("user_ids", "user_ids: Field required; or give one user_id"));
    }
    let mut users = Vec::new();
    for id in &ids {
        users.push(call.admin.row::<User>(&[id], || format!("User not found, passed user_id={id}")).await?);
    }
    for user in &users {
        let keys = call.admin.store.delete_user(&user.user_id, &deleter(call), call.admin.now()).await?;
        for key in keys.unwrap_or_default() {
            call.admin.changed(Subject::Key, &key);
        }
        call.admin.changed(Subject::User, &user.user_id);
        call.admin.audit(call, "deleted", TABLE, &user.user_id, json_of(user), Value::Null).await;
    }
    Ok(users)
}

async fn delete(call: Call) -> Outcome {
    let gone = remove(&call).await?;
    erase_logs(&call, &gone, "keep").await?;
    Ok(Answer::json(&gone.len()))
}

async fn erase(call: Call) -> Outcome {
    let gone = remove(&call).await?;
    // Who uses this form asks for a person to be forgotten.
    let rows = erase_logs(&call, &gone, "anonymize").await?;
    let ids: Vec<&str> = gone.iter().map(|user| user.user_id.as_str()).collect();
    Ok(Answer::json(&json!({
        "message": "User deleted", "deleted_users": ids, "erased_log_rows": rows,
    })))
}

/// Rows per statement.
const BATCH: u32 = 1_000;

/// Takes users out of the request log, as asked: nothing, their names, or their requests. Sums stay.
async fn erase_logs(call: &Call, users: &[User], usual: &str) -> Result<u64, AdminError> {
    let how = match call.text("logs").unwrap_or(usual) {
        "keep" => return Ok(0),
        "anonymize" => Erasure::Anonymize,
        "delete" => Erasure::Remove,
        other => {
            return Err(AdminError::invalid(
                "logs",
                format!("logs: `{other}` is none of keep, anonymize, delete"),
            ));
        }
    };
    let mut rows = 0;
    for user in users {
        loop {
            let done = call.admin.store.erase_user_logs(&user.user_id, how, BATCH).await?;
            rows += done;
            if done == 0 {
                break;
            }
        }
        call.admin.store.erase_user_days(&user.user_id, call.admin.now()).await?;
    }
    Ok(rows)
}

/// Rows of the request log in an export.
const MOST_ROWS: u64 = 100_000;

async fn export(call: Call) -> Outcome {
    let user = asked(&call).await?;
    let export = call.admin.store.export_user(&user.user_id, MOST_ROWS).await?;
    let export = export.ok_or_else(|| AdminError::not_found(format!("User {} not found", user.user_id)))?;
    let mut answer = json_of(&export);
    if let Some(row) = answer.get_mut("user") {
        *row = shown(row.take());
    }
    Ok(Answer::json(&answer))
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
