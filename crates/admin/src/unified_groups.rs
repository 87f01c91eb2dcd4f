//! Unified access groups: models (and MCP servers and agents, once there are any) that teams and keys get together.
//! Source: compat, endpoints §2.8, and LiteLLM, `access_group_endpoints.py`.
//!
//! A group adds to what a key or team lists. A list that is empty allows everything already.

use std::collections::BTreeSet;

use faregate_state::invalidate::Subject;
use faregate_store::{AccessGroup, Filter, ListQuery, Patch, Team, VirtualKey};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, hash_of, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_AccessGroupTable";
/// Groups, teams and keys that are read at once: as many as anybody has.
const MOST: u64 = 100_000;
const COLUMNS: [&str; 5] =
    ["access_group_name", "description", "access_model_names", "access_mcp_server_ids", "access_agent_ids"];

const NAME: &[Field] = &[required("access_group_name", Holds::Text, "the group's name; no other has it")];
const GROUP: &[Field] = &[
    field("description", Holds::Text, "what it is for"),
    field("access_model_names", Holds::Texts, "models that it lets call"),
    field("access_mcp_server_ids", Holds::Texts, "MCP servers that it lets use; kept, there are none yet"),
    field("access_agent_ids", Holds::Texts, "agents that it lets use; kept, there are none yet"),
    field("assigned_team_ids", Holds::Texts, "teams that have it"),
    field("assigned_key_ids", Holds::Texts, "keys that have it, or their hashes"),
];
const RENAMED: &[Field] = &[field("access_group_name", Holds::Text, "another name")];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "POST",
        &["/v1/access_group", "/v1/unified_access_group"],
        Admin,
        &[NAME, GROUP],
        &[],
        "Create an access group, and give it to teams and keys",
        new
    ),
    route!("GET", &["/v1/access_group", "/v1/unified_access_group"], Admin, &[], &[], "Access groups", list),
    route!(
        "GET",
        &["/v1/access_group/{access_group_id}", "/v1/unified_access_group/{access_group_id}"],
        Admin,
        &[],
        &[],
        "Details of an access group",
        info
    ),
    route!(
        "PUT",
        &["/v1/access_group/{access_group_id}", "/v1/unified_access_group/{access_group_id}"],
        Admin,
        &[RENAMED, GROUP],
        &[],
        "Change an access group, and who has it",
        update
    ),
    route!(
        "DELETE",
        &["/v1/access_group/{access_group_id}", "/v1/unified_access_group/{access_group_id}"],
        Admin,
        &[],
        &[],
        "Delete an access group, and take it from everybody",
        delete
    ),
];

/// The group as LiteLLM shows it, with names beside ids.
async fn shown(call: &Call, group: &AccessGroup) -> Result<Value, AdminError> {
    let store = &call.admin.store;
    let mut teams = Vec::new();
    for id in &group.assigned_team_ids {
        let alias = store.get::<Team>(&[id]).await?.and_then(|team| team.team_alias);
        teams.push(json!({ "id": id, "name": alias }));
    }
    let mut keys = Vec::new();
    for id in &group.assigned_key_ids {
        let alias = store.get::<VirtualKey>(&[id]).await?.and_then(|key| key.key_alias);
        keys.push(json!({ "id": id, "name": alias }));
    }
    let mut shown = json_of(group);
    shown["assigned_teams"] = json!(teams);
    shown["assigned_keys"] = json!(keys);
    let plain = |ids: &[String]| ids.iter().map(|id| json!({ "id": id, "name": null })).collect::<Vec<_>>();
    shown["access_mcp_servers"] = json!(plain(&group.access_mcp_server_ids));
    shown["access_agents"] = json!(plain(&group.access_agent_ids));
    Ok(shown)
}

/// Whom a body gives the group: teams and hashes of keys, all of them known.
struct Holders {
    teams: Option<BTreeSet<String>>,
    keys: Option<BTreeSet<String>>,
}

async fn holders(call: &Call) -> Result<Holders, AdminError> {
    let named = |name: &str| call.body.contains_key(name).then(|| call.texts(name));
    let teams: Option<BTreeSet<String>> = named("assigned_team_ids").map(|ids| ids.into_iter().collect());
    let keys: Option<BTreeSet<String>> =
        named("assigned_key_ids").map(|ids| ids.iter().map(|id| hash_of(id)).collect());
    for id in teams.iter().flatten() {
        if call.admin.store.get::<Team>(&[id]).await?.is_none() {
            let message = format!("assigned_team_ids: team '{id}' does not exist");
            return Err(AdminError::invalid("assigned_team_ids", message));
        }
    }
    for id in keys.iter().flatten() {
        if call.admin.store.get::<VirtualKey>(&[id]).await?.is_none() {
            let message = "assigned_key_ids: one of the keys does not exist; give keys or their hashes";
            return Err(AdminError::invalid("assigned_key_ids", message));
        }
    }
    Ok(Holders { teams, keys })
}

async fn named_twice(call: &Call, name: &str, own: &str) -> Result<(), AdminError> {
    let query = ListQuery::new().filter(Filter::Is("access_group_name", json!(name))).uncounted();
    let rows = call.admin.store.list::<AccessGroup>(&query).await?.rows;
    if rows.iter().all(|row| row.access_group_id == own) {
        return Ok(());
    }
    let message = format!("Access group with name '{name}' already exists; choose another name");
    Err(AdminError::new(409, "bad_request_error", message).about("access_group_name"))
}

async fn found(call: &Call) -> Result<AccessGroup, AdminError> {
    let id = call.path.get("access_group_id").map(String::as_str).unwrap_or_default();
    call.admin.row(&[id], || format!("Access group '{id}' not found")).await
}

fn columns_of(call: &Call) -> Result<Map<String, Value>, AdminError> {
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, &COLUMNS);
    for (name, value) in &mut columns {
        if value.is_null() && name != "description" {
            *value = json!([]);
        }
    }
    if columns
        .get("access_group_name")
        .is_some_and(|name| name.as_str().is_none_or(|it| it.trim().is_empty()))
    {
        return Err(AdminError::invalid("access_group_name", "access_group_name: give the group a name"));
    }
    columns.insert("updated_by".to_owned(), json!(call.changed_by()));
    Ok(columns)
}

async fn new(call: Call) -> Outcome {
    named_twice(&call, call.text("access_group_name").unwrap_or_default(), "").await?;
    let holders = holders(&call).await?;
    let mut group: AccessGroup = columns::row(columns_of(&call)?)?;
    group.access_group_id = uuid::Uuid::new_v4().to_string();
    group.created_by = Some(call.changed_by());
    group.assigned_team_ids = holders.teams.clone().unwrap_or_default().into_iter().collect();
    group.assigned_key_ids = holders.keys.clone().unwrap_or_default().into_iter().collect();
    call.admin.store.insert(&group, call.admin.now()).await?;
    hand_out(&call, &group.access_group_id, &holders).await?;
    let row: AccessGroup =
        call.admin.row(&[&group.access_group_id], || "Access group not found".to_owned()).await?;
    call.admin.audit(&call, "created", TABLE, &row.access_group_id, Value::Null, json_of(&row)).await;
    Ok(Answer { status: 201, ..Answer::json(&shown(&call, &row).await?) })
}

async fn list(call: Call) -> Outcome {
    let rows = call.admin.store.list::<AccessGroup>(&ListQuery::new().page(1, MOST).uncounted()).await?.rows;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        all.push(shown(&call, row).await?);
    }
    Ok(Answer::json(&all))
}

async fn info(call: Call) -> Outcome {
    let group = found(&call).await?;
    Ok(Answer::json(&shown(&call, &group).await?))
}

async fn update(call: Call) -> Outcome {
    let before = found(&call).await?;
    if let Some(name) = call.text("access_group_name") {
        named_twice(&call, name, &before.access_group_id).await?;
    }
    let holders = holders(&call).await?;
    let mut columns = columns_of(&call)?;
    for (name, ids) in [("assigned_team_ids", &holders.teams), ("assigned_key_ids", &holders.keys)] {
        if let Some(ids) = ids {
            columns.insert(name.to_owned(), json!(ids));
        }
    }
    let id = before.access_group_id.clone();
    let patch = columns::patch(columns);
    let row = call.admin.store.update::<AccessGroup>(&[&id], &patch, call.admin.now()).await?;
    hand_out(&call, &id, &holders).await?;
    let row = row.ok_or_else(|| AdminError::not_found(format!("Access group '{id}' not found")))?;
    call.admin.audit(&call, "updated", TABLE, &id, json_of(&before), json_of(&row)).await;
    Ok(Answer::json(&shown(&call, &row).await?))
}

async fn delete(call: Call) -> Outcome {
    let before = found(&call).await?;
    let nobody = Holders { teams: Some(BTreeSet::new()), keys: Some(BTreeSet::new()) };
    hand_out(&call, &before.access_group_id, &nobody).await?;
    call.admin.store.delete::<AccessGroup>(&[&before.access_group_id]).await?;
    call.admin.audit(&call, "deleted", TABLE, &before.access_group_id, json_of(&before), Value::Null).await;
    Ok(Answer {
        status: 204,
        kind: "application/json",
        body: bytes::Bytes::new(),
        headers: http::HeaderMap::new(),
    })
}

/// Puts the group into the lists of those who get it and out of those of everybody else, and tells replicas of all
/// who have it: what it allows may have changed.
async fn hand_out(call: &Call, id: &str, holders: &Holders) -> Result<(), AdminError> {
    let (store, now) = (&call.admin.store, call.admin.now());
    let having = || {
        ListQuery::new().filter(Filter::Holds("access_group_ids", id.to_owned())).page(1, MOST).uncounted()
    };
    let teams = store.list::<Team>(&having()).await?.rows;
    let mut told: BTreeSet<String> = teams.iter().map(|team| team.team_id.clone()).collect();
    if let Some(wanted) = &holders.teams {
        for team in teams.iter().filter(|team| !wanted.contains(&team.team_id)) {
            let patch = Patch::new().set("access_group_ids", without(&team.access_group_ids, id));
            store.update::<Team>(&[&team.team_id], &patch, now).await?;
        }
        for new in wanted.iter().filter(|wanted| !told.contains(*wanted)) {
            if let Some(team) = store.get::<Team>(&[new]).await? {
                let patch = Patch::new().set("access_group_ids", with(&team.access_group_ids, id));
                store.update::<Team>(&[new], &patch, now).await?;
            }
        }
        told.extend(wanted.iter().cloned());
    }
    told.iter().for_each(|team| call.admin.changed(Subject::Team, team));
    let keys = store.list::<VirtualKey>(&having()).await?.rows;
    let mut told: BTreeSet<String> = keys.iter().map(|key| key.token.clone()).collect();
    if let Some(wanted) = &holders.keys {
        for key in keys.iter().filter(|key| !wanted.contains(&key.token)) {
            let patch = Patch::new().set("access_group_ids", without(&key.access_group_ids, id));
            store.update::<VirtualKey>(&[&key.token], &patch, now).await?;
        }
        for new in wanted.iter().filter(|wanted| !told.contains(*wanted)) {
            if let Some(key) = store.get::<VirtualKey>(&[new]).await? {
                let patch = Patch::new().set("access_group_ids", with(&key.access_group_ids, id));
                store.update::<VirtualKey>(&[new], &patch, now).await?;
            }
        }
        told.extend(wanted.iter().cloned());
    }
    told.iter().for_each(|key| call.admin.changed(Subject::Key, key));
    Ok(())
}

fn without(ids: &[String], id: &str) -> Vec<String> {
    ids.iter().filter(|one| *one != id).cloned().collect()
}

fn with(ids: &[String], id: &str) -> Vec<String> {
    let mut ids = without(ids, id);
    ids.push(id.to_owned());
    ids
}
