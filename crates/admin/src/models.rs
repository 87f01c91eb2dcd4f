//! Models stored in the database. Source: compat, endpoints §3.7; the words of refusals are LiteLLM's.

use faregate_state::invalidate::Subject;
use faregate_store::{Patch, ProxyModel, Team};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};
use crate::stored;

const TABLE: &str = "LiteLLM_ProxyModelTable";

const NEW: &[Field] = &[
    required("model_name", Holds::Text, "the name that clients ask for; may hold *"),
    required("litellm_params", Holds::Object, "how to reach it: `model` and any parameter of a deployment"),
    field("model_info", Holds::Object, "what it is: id, prices, team_id, base_model and more"),
    field("blocked", Holds::Flag, "keep it out of service"),
];
const CHANGE: &[Field] = &[
    field("model_name", Holds::Text, "the name that clients ask for"),
    field("litellm_params", Holds::Object, "parameters to set; null removes one"),
    field("model_info", Holds::Object, "members to set; `id` names the model"),
    field("blocked", Holds::Flag, "keep it out of service"),
];
const ID: &[Field] = &[required("id", Holds::Text, "the model's id")];
const MODEL_ID: &[Field] = &[required("model_id", Holds::Text, "the model's id")];

pub(crate) const ROUTES: &[Route] = &[
    route!("POST", &["/model/new"], User, &[NEW], &[], "Add a deployment to the database", new),
    route!("POST", &["/model/update"], User, &[CHANGE], &[], "Update a deployment", update),
    route!(
        "PATCH",
        &["/model/{model_id}/update"],
        User,
        &[CHANGE],
        &[],
        "Update a deployment by its id",
        update_by_id
    ),
    route!("POST", &["/model/delete"], User, &[ID], &[], "Delete a deployment", delete),
    route!("POST", &["/model/block"], Admin, &[MODEL_ID], &[], "Take a deployment out of service", block),
    route!(
        "POST",
        &["/model/unblock"],
        Admin,
        &[MODEL_ID],
        &[],
        "Put a deployment back into service",
        unblock
    ),
];

/// Who may change a model: proxy admins, and admins of the team whose own it is.
async fn permitted(call: &Call, info: &Value) -> Result<Option<Team>, AdminError> {
    let team = match info["team_id"].as_str().filter(|id| !id.is_empty()) {
        Some(id) => {
            let missing = || format!("Team id={id} does not exist in db");
            let found = call.admin.store.get::<Team>(&[id]).await?;
            Some(found.ok_or_else(|| AdminError::invalid("model_info.team_id", missing()))?)
        }
        None => None,
    };
    match &team {
        _ if call.caller.is_admin() => {}
        Some(team) => call.admin.may_change_team(&call.caller, team).await?,
        None => {
            return Err(AdminError::forbidden(
                "Only proxy admins may change models; set model_info.team_id to change one of your team",
            ));
        }
    }
    Ok(team)
}

/// What only proxy admins may set: a stored credential, and whether a model is blocked.
fn admins_only(call: &Call) -> Result<(), AdminError> {
    if call.caller.is_admin() {
        return Ok(());
    }
    let params = call.given("litellm_params");
    if params.is_some_and(|params| params.get("litellm_credential_name").is_some()) {
        return Err(AdminError::forbidden(
            "Only a proxy admin can attach or change a stored credential (litellm_credential_name) on a model.",
        ));
    }
    if let Some(name) = params.and_then(naming_a_variable) {
        // A deployment of one's own would be sent the operator's secrets.
        return Err(AdminError::forbidden(format!(
            "Only a proxy admin can name a variable of the environment in a model; give `{name}` itself"
        ))
        .about("litellm_params"));
    }
    if call.body.contains_key("blocked") {
        return Err(AdminError::forbidden("Only proxy admins can set a model's blocked flag."));
    }
    Ok(())
}

/// The first member whose value is read from the environment.
fn naming_a_variable(params: &Value) -> Option<String> {
    let named = |value: &Value| match value {
        Value::String(text) => text.trim().starts_with("os.environ/"),
        value => naming_a_variable(value).is_some(),
    };
    match params {
        Value::Object(members) => {
            members.iter().find(|(_, value)| named(value)).map(|(name, _)| name.clone())
        }
        Value::Array(items) => items.iter().any(named).then(|| "os.environ".to_owned()),
        _ => None,
    }
}

/// Refuses a model that could not be served.
async fn checked(call: &Call, model: &ProxyModel) -> Result<(), AdminError> {
    let stored = call.admin.stored().await?;
    if let Some(name) = model.litellm_params["litellm_credential_name"].as_str() {
        let in_file = call.admin.snapshot.load().credentials.iter().any(|one| one.name == name);
        if !in_file && !stored.credentials.iter().any(|one| one["credential_name"] == name) {
            return Err(AdminError::invalid(
                "litellm_params.litellm_credential_name",
                format!(
                    "Credential '{name}' not found. Create it via /credentials before attaching it to a model."
                ),
            ));
        }
    }
    let env = call.admin.snapshot.load().env.clone();
    let problems = stored.problems_of(&stored::entry(model), &env);
    let Some(first) = problems.first() else { return Ok(()) };
    let field = first.path.trim_start_matches("model_list[0].").to_owned();
    let words = problems.iter().map(|problem| {
        let path = problem.path.trim_start_matches("model_list[0].");
        let remedy = problem.remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        format!("{path}: {}{remedy}", problem.message)
    });
    Err(AdminError::invalid(&field, words.collect::<Vec<_>>().join("\n")))
}

/// As callers see it: parameters opened, secrets masked.
fn shown(model: &ProxyModel) -> Value {
    columns::masked(json_of(model))
}

async fn new(call: Call) -> Outcome {
    if call.admin.snapshot.load().general.people.no_models_by_internal_users && !call.caller.is_admin() {
        return Err(AdminError::forbidden(
            "Model creation is disabled for internal users by disable_model_add_for_internal_users; ask a proxy admin",
        ));
    }
    call.admin.stores_models()?;
    admins_only(&call)?;
    let mut info = call.given("model_info").cloned().unwrap_or_else(|| json!({}));
    let team = permitted(&call, &info).await?;
    let id = match info["id"].as_str().filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    let taken = call.admin.snapshot.load().deployments.iter().any(|one| one.id.as_str() == id);
    if taken || call.admin.store.get::<ProxyModel>(&[&id]).await?.is_some() {
        return Err(AdminError::invalid("model_info.id", format!("Model with id={id} already exists")));
    }
    let public = call.text("model_name").unwrap_or_default().trim().to_owned();
    if public.is_empty() {
        return Err(AdminError::invalid("model_name", "model_name is empty; give the name clients ask for"));
    }
    let mut name = public.clone();
    if let Some(team) = &team {
        // Members ask for the public name; nobody else can reach the deployment by accident.
        name = format!("model_name_{}_{}", team.team_id, uuid::Uuid::new_v4());
        info["team_public_model_name"] = json!(public);
    }
    info["id"] = json!(id);
    info["db_model"] = json!(true);
    let mut model = ProxyModel {
        model_id: id.clone(),
        model_name: name,
        litellm_params: call.given("litellm_params").cloned().unwrap_or_default(),
        model_info: info,
        blocked: call.given("blocked").and_then(Value::as_bool).unwrap_or_default(),
        created_by: call.changed_by(),
        updated_by: call.changed_by(),
        ..ProxyModel::default()
    };
    checked(&call, &model).await?;
    let plain = model.litellm_params.clone();
    model.litellm_params = call.admin.sealed(plain.clone())?;
    let now = call.admin.now();
    call.admin.store.insert(&model, now).await?;
    if let Some(team) = team {
        allow_to_team(&call, &team, &public).await?;
    }
    model = call.admin.row(&[&id], || not_found(&id)).await?;
    model.litellm_params = plain;
    serve(&call, &id).await;
    call.admin.audit(&call, "created", TABLE, &id, Value::Null, json_of(&model)).await;
    Ok(Answer::json(&shown(&model)))
}

/// A team whose models are restricted may use its own new one.
async fn allow_to_team(call: &Call, team: &Team, model: &str) -> Result<(), AdminError> {
    if team.models.is_empty() || team.models.iter().any(|known| known == model) {
        return Ok(());
    }
    let mut models = team.models.clone();
    models.push(model.to_owned());
    let patch = Patch::new().set("models", models);
    call.admin.store.update::<Team>(&[&team.team_id], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::Team, &team.team_id);
    Ok(())
}

fn not_found(id: &str) -> String {
    format!("Model {id} not found on proxy.")
}

/// The stored row, if the caller may change it; its parameters opened.
async fn own(call: &Call, id: &str) -> Result<ProxyModel, AdminError> {
    let Some(mut model) = call.admin.store.get::<ProxyModel>(&[id]).await? else {
        if call.admin.snapshot.load().deployments.iter().any(|one| one.id.as_str() == id) {
            return Err(AdminError::invalid(
                "model_info.id",
                "Cannot edit config-based model. Store model in DB via /model/new first.",
            ));
        }
        return Err(AdminError::not_found(not_found(id)));
    };
    permitted(call, &model.model_info).await?;
    model.litellm_params = call.admin.opened(model.litellm_params)?;
    Ok(model)
}

async fn update(call: Call) -> Outcome {
    let named = call.given("model_info").and_then(|info| info["id"].as_str()).unwrap_or_default().to_owned();
    if named.is_empty() {
        return Err(AdminError::invalid("model_info.id", "model_info.id is missing; it names the model"));
    }
    change(&call, &named).await
}

async fn update_by_id(call: Call) -> Outcome {
    let id = call.path.get("model_id").cloned().unwrap_or_default();
    change(&call, &id).await
}

async fn change(call: &Call, id: &str) -> Outcome {
    call.admin.stores_models()?;
    admins_only(call)?;
    let before = own(call, id).await?;
    let mut after = before.clone();
    if let Some(name) = call.text("model_name").filter(|name| !name.trim().is_empty()) {
        if after.model_info["team_id"].is_string() {
            after.model_info["team_public_model_name"] = json!(name);
        } else {
            name.clone_into(&mut after.model_name);
        }
    }
    merge(&mut after.litellm_params, call.given("litellm_params"));
    merge(&mut after.model_info, call.given("model_info"));
    after.model_info["id"] = json!(id);
    after.model_info["db_model"] = json!(true);
    if after.model_info["team_id"] != before.model_info["team_id"] {
        permitted(call, &after.model_info).await?;
    }
    if let Some(blocked) = call.given("blocked").and_then(Value::as_bool) {
        after.blocked = blocked;
    }
    checked(call, &after).await?;
    let patch = Patch::new()
        .set("model_name", &after.model_name)
        .set("litellm_params", call.admin.sealed(after.litellm_params.clone())?)
        .set("model_info", &after.model_info)
        .set("blocked", after.blocked)
        .set("updated_by", call.changed_by());
    let row = call.admin.store.update::<ProxyModel>(&[id], &patch, call.admin.now()).await?;
    let plain = after.litellm_params;
    after = row.ok_or_else(|| AdminError::not_found(not_found(id)))?;
    after.litellm_params = plain;
    serve(call, id).await;
    call.admin.audit(call, "updated", TABLE, id, json_of(&before), json_of(&after)).await;
    Ok(Answer::json(&shown(&after)))
}

/// Sets members; a null removes one.
fn merge(into: &mut Value, given: Option<&Value>) {
    let Some(given) = given.and_then(Value::as_object) else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(into) = into else { return };
    for (name, value) in given {
        if value.is_null() {
            into.remove(name);
        } else {
            into.insert(name.clone(), value.clone());
        }
    }
}

async fn delete(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let id = call.text("id").unwrap_or_default().to_owned();
    let before = own(&call, &id).await?;
    call.admin.store.delete::<ProxyModel>(&[&id]).await?;
    serve(&call, &id).await;
    call.admin.audit(&call, "deleted", TABLE, &id, json_of(&before), Value::Null).await;
    Ok(Answer::json(&json!({ "message": format!("Model: {id} deleted successfully") })))
}

async fn set_blocked(call: &Call, blocked: bool) -> Outcome {
    call.admin.stores_models()?;
    let id = call.text("model_id").unwrap_or_default().to_owned();
    let before = own(call, &id).await?;
    let patch = Patch::new().set("blocked", blocked).set("updated_by", call.changed_by());
    let row = call.admin.store.update::<ProxyModel>(&[&id], &patch, call.admin.now()).await?;
    let mut after = row.ok_or_else(|| AdminError::not_found(not_found(&id)))?;
    after.litellm_params = before.litellm_params.clone();
    serve(call, &id).await;
    let action = if blocked { "blocked" } else { "unblocked" };
    call.admin.audit(call, action, TABLE, &id, json_of(&before), json_of(&after)).await;
    Ok(Answer::json(&shown(&after)))
}

async fn block(call: Call) -> Outcome {
    set_blocked(&call, true).await
}

async fn unblock(call: Call) -> Outcome {
    set_blocked(&call, false).await
}

/// Tells the other replicas, and waits until this one serves the change.
async fn serve(call: &Call, id: &str) {
    call.admin.changed(Subject::Model, id);
    call.admin.apply().await;
}
