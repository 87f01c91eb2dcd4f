//! What is known of users, one by one and page by page.

use faregate_store::{Filter, ListQuery, Order, OrganizationMembership, Team, User, VirtualKey};
use serde_json::{Value, json};

use super::shown;
use crate::Outcome;
use crate::columns::json_of;
use crate::error::AdminError;
use crate::routes::{Answer, Call};

/// The user of the path or query, else the caller.
async fn asked(call: &Call) -> Result<User, AdminError> {
    let own = call.caller.user_id();
    let id = call.path.get("user_id").map(String::as_str).or_else(|| call.asked("user_id")).unwrap_or(own);
    call.admin.may_see_user(&call.caller, id).await?;
    call.admin.row::<User>(&[id], || format!("User {id} not found")).await
}

/// The same, for answers that hold more than the account: keys, teams, requests. Who is in another
/// organization as well is not all the caller's to see.
async fn asked_with_all(call: &Call) -> Result<User, AdminError> {
    let user = asked(call).await?;
    if !call.caller.sees_all() && user.user_id != call.caller.user_id() {
        call.admin.may_change_user(&call.caller, &user).await?;
    }
    Ok(user)
}

async fn keys_of(call: &Call, user: &str) -> Result<Vec<Value>, AdminError> {
    let query = ListQuery::new().filter(Filter::Is("user_id", json!(user))).uncounted();
    Ok(call.admin.store.list::<VirtualKey>(&query).await?.rows.iter().map(json_of).collect())
}

pub(super) async fn info(call: Call) -> Outcome {
    if call.asked("user_id").is_none() && call.caller.is_master {
        return Ok(Answer::json(
            &json!({ "user_id": call.caller.user_id(), "user_info": null, "keys": [], "teams": [] }),
        ));
    }
    let user = asked_with_all(&call).await?;
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

pub(super) async fn info_alone(call: Call) -> Outcome {
    Ok(Answer::json(&shown(json_of(&asked(&call).await?))))
}

pub(super) async fn list(call: Call) -> Outcome {
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
        let led = call.admin.leads_organizations(&call.caller).await?;
        let members =
            ListQuery::new().filter(Filter::In("organization_id", led.iter().map(|id| json!(id)).collect()));
        let members = members.uncounted().page(1, 10_000);
        let members = call.admin.store.list::<OrganizationMembership>(&members).await?.rows;
        let members = members.iter().map(|membership| json!(membership.user_id)).collect();
        query = query.filter(Filter::Any(vec![own, Filter::In("user_id", members)]));
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

/// Rows of the request log in an export.
const MOST_ROWS: u64 = 100_000;

pub(super) async fn export(call: Call) -> Outcome {
    let user = asked_with_all(&call).await?;
    let export = call.admin.store.export_user(&user.user_id, MOST_ROWS).await?;
    let export = export.ok_or_else(|| AdminError::not_found(format!("User {} not found", user.user_id)))?;
    let mut answer = json_of(&export);
    if let Some(row) = answer.get_mut("user") {
        *row = shown(row.take());
    }
    Ok(Answer::json(&answer))
}
