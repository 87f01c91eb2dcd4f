//! Model access groups: names that stand for several models in the `models` of keys and teams. A deployment says in
//! `model_info.access_groups` which groups it is in. Source: compat, endpoints §2.8; words are LiteLLM's.

use std::collections::{BTreeMap, BTreeSet};

use faregate_state::invalidate::Subject;
use faregate_store::{ListQuery, Patch, ProxyModel};
use serde_json::{Value, json};

use crate::Outcome;
use crate::access_group_budgets::of_group;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_ProxyModelTable";
/// Deployments that are read: as many as anybody has.
const MOST: u64 = 1_000_000;

const NEW: &[Field] = &[
    required("access_group", Holds::Text, "the group's name"),
    field("model_names", Holds::Texts, "public names; all their stored deployments join"),
    field("model_ids", Holds::Texts, "ids of stored deployments that join"),
];
const MEMBERS: &[Field] = &[
    field("model_names", Holds::Texts, "public names; all their stored deployments are in it from now on"),
    field("model_ids", Holds::Texts, "ids of stored deployments that are in it from now on"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("POST", &["/access_group/new"], Admin, &[NEW], &[], "Create a model access group", new),
    route!("GET", &["/access_group/list"], Admin, &[], &[], "Model access groups", list),
    route!(
        "GET",
        &["/access_group/{access_group}/info"],
        Admin,
        &[],
        &[],
        "Details of a model access group",
        info
    ),
    route!(
        "PUT",
        &["/access_group/{access_group}/update"],
        Admin,
        &[MEMBERS],
        &[],
        "Replace the members of a model access group",
        update
    ),
    route!(
        "DELETE",
        &["/access_group/{access_group}/delete"],
        Admin,
        &[],
        &[],
        "Delete a model access group",
        delete
    ),
];

/// Public names and number of deployments, by group; those of the file count as well.
fn groups(call: &Call) -> BTreeMap<String, (BTreeSet<String>, usize)> {
    let mut groups: BTreeMap<String, (BTreeSet<String>, usize)> = BTreeMap::new();
    for deployment in &call.admin.snapshot.load().deployments {
        let of = deployment.info.all.get("access_groups").and_then(Value::as_array);
        for group in of.into_iter().flatten().filter_map(Value::as_str) {
            let (names, count) = groups.entry(group.to_owned()).or_default();
            names.insert(deployment.group.to_string());
            *count += 1;
        }
    }
    groups
}

async fn shown(call: &Call, name: &str, names: &BTreeSet<String>, count: usize) -> Result<Value, AdminError> {
    let (spend, budget) = of_group(call, name).await?;
    Ok(json!({
        "access_group": name, "model_names": names, "deployment_count": count, "spend": spend, "budget": budget,
    }))
}

/// The group of the path: its name, public names of models, and number of deployments.
///
/// # Errors
/// 404.
pub(crate) fn named(call: &Call) -> Result<(String, BTreeSet<String>, usize), AdminError> {
    let name = call.path.get("access_group").cloned().unwrap_or_default();
    match groups(call).remove(&name) {
        Some((names, count)) => Ok((name, names, count)),
        None => Err(AdminError::not_found(format!("Access group '{name}' not found"))),
    }
}

async fn stored(call: &Call) -> Result<Vec<ProxyModel>, AdminError> {
    Ok(call.admin.store.list::<ProxyModel>(&ListQuery::new().page(1, MOST).uncounted()).await?.rows)
}

/// Ids of the stored deployments that a body names.
///
/// # Errors
/// 400 naming what is not there, or is of the file, which calls cannot change.
async fn wanted(call: &Call) -> Result<BTreeSet<String>, AdminError> {
    let (names, ids) = (call.texts("model_names"), call.texts("model_ids"));
    if names.is_empty() && ids.is_empty() {
        return Err(AdminError::invalid(
            "model_names",
            "Either model_names or model_ids must be provided and non-empty",
        ));
    }
    let stored = stored(call).await?;
    let missing: Vec<&str> = ids
        .iter()
        .filter(|id| !stored.iter().any(|model| model.model_id == **id))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(AdminError::invalid(
            "model_ids",
            format!("Deployment with model_id '{}' not found in Database.", missing.join("', '")),
        ));
    }
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| !stored.iter().any(|model| model.model_name == **name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(AdminError::invalid(
            "model_names",
            format!(
                "Model(s) not found: {}. Only models of the database can be put into a group by a call; those of the \
                 file say so in model_info.access_groups",
                missing.join(", ")
            ),
        ));
    }
    let by_name = stored.into_iter().filter(|model| names.contains(&model.model_name));
    Ok(by_name.map(|model| model.model_id).chain(ids).collect())
}

/// Makes exactly these stored deployments members; returns how many rows changed.
async fn assign(call: &Call, group: &str, members: &BTreeSet<String>) -> Result<usize, AdminError> {
    let mut changed = 0;
    for model in stored(call).await? {
        let mut info = model.model_info.clone();
        let mut of: Vec<String> = info["access_groups"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        let (is, should) = (of.iter().any(|name| name == group), members.contains(&model.model_id));
        if is == should {
            continue;
        }
        if should {
            of.push(group.to_owned());
        } else {
            of.retain(|name| name != group);
        }
        info["access_groups"] = json!(of);
        let patch = Patch::new().set("model_info", &info).set("updated_by", call.changed_by());
        call.admin.store.update::<ProxyModel>(&[&model.model_id], &patch, call.admin.now()).await?;
        call.admin.audit(call, "updated", TABLE, &model.model_id, model.model_info, info).await;
        changed += 1;
    }
    call.admin.changed(Subject::Model, "");
    call.admin.apply().await;
    Ok(changed)
}

async fn new(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let name = call.text("access_group").unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return Err(AdminError::invalid("access_group", "access_group is required and cannot be empty"));
    }
    if groups(&call).contains_key(&name) {
        return Err(AdminError::new(
            409,
            "bad_request_error",
            format!("Access group '{name}' already exists. Use /access_group/{name}/update to change it."),
        ));
    }
    let changed = assign(&call, &name, &wanted(&call).await?).await?;
    Ok(Answer::json(&json!({
        "access_group": name, "model_names": call.texts("model_names"), "models_updated": changed,
    })))
}

async fn list(call: Call) -> Outcome {
    let mut all = Vec::new();
    for (name, (names, count)) in groups(&call) {
        all.push(shown(&call, &name, &names, count).await?);
    }
    Ok(Answer::json(&json!({ "access_groups": all })))
}

async fn info(call: Call) -> Outcome {
    let (name, names, count) = named(&call)?;
    Ok(Answer::json(&shown(&call, &name, &names, count).await?))
}

async fn update(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let (name, ..) = named(&call)?;
    let changed = assign(&call, &name, &wanted(&call).await?).await?;
    Ok(Answer::json(&json!({
        "access_group": name, "model_names": call.texts("model_names"), "models_updated": changed,
    })))
}

async fn delete(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let (name, ..) = named(&call)?;
    let changed = assign(&call, &name, &BTreeSet::new()).await?;
    if groups(&call).contains_key(&name) {
        return Err(AdminError::invalid(
            "access_group",
            format!(
                "Access group '{name}' has models of the file; take it out of their model_info.access_groups"
            ),
        ));
    }
    Ok(Answer::json(&json!({
        "access_group": name, "models_updated": changed,
        "message": format!("Access group '{name}' deleted successfully"),
    })))
}
