//! What is known of keys, one by one and page by page.

use faregate_store::{Budget, DeletedKey, Filter, ListQuery, Order, Record, Team, User, VirtualKey};
use serde::Serialize;
use serde_json::{Value, json};

use super::{find, rules};
use crate::Outcome;
use crate::access::{Standing, is_listed};
use crate::columns::json_of;
use crate::error::AdminError;
use crate::routes::{Answer, Call};

async fn details(call: &Call, key: VirtualKey) -> Result<Value, AdminError> {
    let budget = match &key.budget_id {
        Some(id) => call.admin.store.get::<Budget>(&[id]).await?,
        None => None,
    };
    let mut info = json_of(&key);
    if let Value::Object(map) = &mut info {
        map.remove("token");
        map.insert("litellm_budget_table".to_owned(), json!(budget));
        map.insert("object_permission".to_owned(), Value::Null);
    }
    Ok(info)
}

pub(super) async fn info(call: Call) -> Outcome {
    let asked = call.asked("key").unwrap_or_else(|| call.caller.key_hash()).to_owned();
    let key = find(&call, &asked).await?;
    call.admin.may_see_key(&call.caller, &key).await?;
    let info = details(&call, key).await?;
    Ok(Answer::json(&json!({ "key": asked, "info": info })))
}

pub(super) async fn infos(call: Call) -> Outcome {
    let (mut found, mut infos) = (Vec::new(), Vec::new());
    for asked in call.texts("keys") {
        let Ok(key) = find(&call, &asked).await else { continue };
        if call.admin.may_see_key(&call.caller, &key).await.is_ok() {
            infos.push(details(&call, key).await?);
            found.push(asked);
        }
    }
    Ok(Answer::json(&json!({ "key": found, "info": infos })))
}

pub(super) async fn list(call: Call) -> Outcome {
    may_ask(&call).await?;
    let query = asked(&call).await?;
    match call.asked("status") {
        Some("deleted") => page_of::<DeletedKey>(&call, query).await,
        _ => page_of::<VirtualKey>(&call, query).await,
    }
}

/// What may not be asked for by who cannot see it, as LiteLLM refuses it.
async fn may_ask(call: &Call) -> Result<(), AdminError> {
    for (name, words) in
        [("status", &["active", "expired", "revoked", "deleted"][..]), ("expires", &["active", "expired"])]
    {
        if let Some(value) = call.asked(name).filter(|value| !words.contains(value)) {
            let words = words.join(", ");
            return Err(AdminError::invalid(
                name,
                format!("Invalid {name} value `{value}`. Supported: {words}"),
            ));
        }
    }
    if call.caller.sees_all() || !call.admin.leads_organizations(&call.caller).await?.is_empty() {
        return Ok(());
    }
    let own = call.caller.user_id();
    let refused = |name: &str, whose: &str| {
        AdminError::forbidden(format!("You are not authorized to check {whose} keys; leave `{name}` out"))
            .about(name)
    };
    if call.asked("user_id").is_some_and(|user| user != own) {
        return Err(refused("user_id", "another user's"));
    }
    if let Some(id) = call.asked("team_id")
        && call.caller.team_id() != Some(id)
    {
        let team = call.admin.store.get::<Team>(&[id]).await?;
        if !team.is_some_and(|team| is_listed(own, &team)) {
            return Err(refused("team_id", "this team's"));
        }
    }
    if let Some(id) = call.asked("organization_id") {
        let memberships = call.admin.organizations_of(own).await?;
        if !memberships.iter().any(|membership| membership.organization_id == id) {
            return Err(refused("organization_id", "this organization's"));
        }
    }
    Ok(())
}

/// The rows asked for, among those the caller may see.
async fn asked(call: &Call) -> Result<ListQuery, AdminError> {
    let mut query = ListQuery::new();
    for (name, column) in [
        ("user_id", "user_id"),
        ("team_id", "team_id"),
        ("organization_id", "organization_id"),
        ("project_id", "project_id"),
        ("agent_id", "agent_id"),
        ("key_hash", "token"),
    ] {
        if let Some(value) = call.asked(name) {
            query = query.filter(Filter::Is(column, json!(value)));
        }
    }
    if let Some(alias) = call.asked("key_alias") {
        query = query.filter(if call.flag("substring_matching") {
            Filter::Contains("key_alias", alias.to_owned())
        } else {
            Filter::Is("key_alias", json!(alias))
        });
    }
    if let Some(text) = call.asked("search") {
        query = query.filter(Filter::Any(vec![
            Filter::Contains("key_alias", text.to_owned()),
            Filter::Contains("token", text.to_owned()),
        ]));
    }
    if let Some(group) = call.asked("access_group_id") {
        query = query.filter(Filter::Holds("access_group_ids", group.to_owned()));
    }
    query = match call.asked("status") {
        Some("revoked") => query.filter(Filter::Is("blocked", json!(true))),
        // Each live key has one status: what is blocked is neither active nor expired.
        Some(word @ ("active" | "expired")) => {
            query.filter(Filter::Not("blocked", json!(true))).filter(expires(call, word))
        }
        _ => query,
    };
    if let Some(word) = call.asked("expires") {
        query = query.filter(expires(call, word));
    }
    if !call.caller.sees_all() {
        query = query.filter(visible(call).await?);
    }
    let sort = call.asked("sort_by").unwrap_or("created_at").to_owned();
    let order = if call.asked("sort_order") == Some("asc") { Order::Up } else { Order::Down };
    Ok(query.sort(&sort, order))
}

fn expires(call: &Call, word: &str) -> Filter {
    let now = json!(call.admin.now());
    if word == "expired" {
        return Filter::Below("expires", now);
    }
    Filter::Any(vec![Filter::Empty("expires"), Filter::AtLeast("expires", now)])
}

async fn page_of<T: Record + Serialize>(call: &Call, query: ListQuery) -> Outcome {
    let (page, size) = call.page("size", 10, 100);
    let found = call.admin.store.list::<T>(&query.page(page, size)).await?;
    let expand = call.query.get("expand").is_some_and(|value| value.to_string().contains("user"));
    let whole = expand || call.flag("return_full_object") || call.asked("status") == Some("deleted");
    let mut keys = Vec::new();
    for row in &found.rows {
        let mut row = json_of(row);
        if !whole {
            keys.push(row["token"].take());
            continue;
        }
        if expand
            && let Some(id) = row["user_id"].as_str()
            && let Some(user) = call.admin.store.get::<User>(&[id]).await?
        {
            row["user"] = json!({
                "user_id": user.user_id, "user_email": user.user_email, "user_alias": user.user_alias,
            });
        }
        keys.push(row);
    }
    Ok(Answer::json(&json!({
        "keys": keys,
        "total_count": found.total,
        "current_page": page,
        "total_pages": found.total.div_ceil(size),
    })))
}

/// Keys that a caller without rights on all of them may see in a list.
async fn visible(call: &Call) -> Result<Filter, AdminError> {
    let user = call.caller.user_id();
    let mut any = vec![Filter::Is("token", json!(call.caller.key_hash()))];
    if !user.is_empty() {
        any.push(Filter::Is("user_id", json!(user)));
        if call.flag("include_created_by_keys") {
            any.push(Filter::Is("created_by", json!(user)));
        }
    }
    let asked = call.asked("team_id");
    if asked.is_some() || call.flag("include_team_keys") {
        let teams = match call.admin.store.get::<User>(&[user]).await? {
            Some(user) => user.teams,
            None => Vec::new(),
        };
        for id in teams.iter().filter(|id| asked.is_none_or(|asked| asked == id.as_str())) {
            let Some(team) = call.admin.store.get::<Team>(&[id]).await? else { continue };
            let standing = call.admin.standing(&call.caller, &team).await?;
            if standing >= Standing::TeamAdmin
                || (standing == Standing::Member && rules::members_may(&team, "/key/list"))
            {
                any.push(Filter::Is("team_id", json!(id)));
            }
        }
    }
    let led = call.admin.leads_organizations(&call.caller).await?;
    if !led.is_empty() {
        let led: Vec<Value> = led.iter().map(|id| json!(id)).collect();
        let query = ListQuery::new().filter(Filter::In("organization_id", led.clone())).uncounted();
        let teams = call.admin.store.list::<Team>(&query.page(1, 10_000)).await?.rows;
        any.push(Filter::In("team_id", teams.iter().map(|team| json!(team.team_id)).collect()));
        any.push(Filter::In("organization_id", led));
    }
    Ok(Filter::Any(any))
}

pub(super) async fn aliases(call: Call) -> Outcome {
    let (page, size) = call.page("size", 50, 500);
    let mut query =
        ListQuery::new().filter(Filter::Present("key_alias")).sort("key_alias", Order::Up).page(page, size);
    if let Some(text) = call.asked("search") {
        query = query.filter(Filter::Contains("key_alias", text.to_owned()));
    }
    if let Some(team) = call.asked("team_id") {
        query = query.filter(Filter::Is("team_id", json!(team)));
    }
    if !call.caller.sees_all() {
        query = query.filter(visible(&call).await?);
    }
    let found = call.admin.store.list::<VirtualKey>(&query).await?;
    let aliases: Vec<_> = found.rows.into_iter().filter_map(|row| row.key_alias).collect();
    Ok(Answer::json(&json!({
        "aliases": aliases,
        "total_count": found.total,
        "current_page": page,
        "total_pages": found.total.div_ceil(size),
        "size": size,
    })))
}
