//! Named provider credentials. Source: compat, endpoints §3.10.

use faregate_state::invalidate::Subject;
use faregate_store::{Credential, Filter, ListQuery, Patch, ProxyModel};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::json_of;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};
use crate::stored::masked_members;

const TABLE: &str = "LiteLLM_CredentialsTable";
/// What a deployment's parameters hold that is a credential. Source: LiteLLM's CredentialLiteLLMParams.
const CREDENTIAL_PARAMS: &[&str] = &[
    "api_key",
    "api_base",
    "api_version",
    "vertex_project",
    "vertex_location",
    "vertex_credentials",
    "region_name",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_region_name",
    "aws_role_name",
    "aws_session_name",
    "aws_profile_name",
    "azure_ad_token",
    "tenant_id",
    "client_id",
    "client_secret",
    "watsonx_region_name",
];

const NEW: &[Field] = &[
    required("credential_name", Holds::Text, "what litellm_credential_name of a model refers to"),
    field("display_name", Holds::Text, "how it is labelled"),
    required("credential_info", Holds::Object, "description, e.g. custom_llm_provider"),
    field("credential_values", Holds::Object, "the parameters, e.g. api_key; sealed at rest"),
    field("model_id", Holds::Text, "a stored model whose values to copy"),
];
const CHANGE: &[Field] = &[
    field("credential_name", Holds::Text, "cannot be changed"),
    field("display_name", Holds::Text, "how it is labelled; null clears it"),
    field("credential_info", Holds::Object, "members to set"),
    field("credential_values", Holds::Object, "values to set"),
    field("credential_values_to_delete", Holds::Texts, "names of values to remove"),
    field("model_id", Holds::Text, "a stored model whose values to copy"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("POST", &["/credentials"], Admin, &[NEW], &[], "Store a named provider credential", new),
    route!("GET", &["/credentials"], Admin, &[], &[], "Credentials, values masked", list),
    route!(
        "GET",
        &["/credentials/by_name/{*credential_name}"],
        Admin,
        &[],
        &[],
        "One credential, masked",
        info
    ),
    route!(
        "GET",
        &["/credentials/by_model/{model_id}"],
        Admin,
        &[],
        &[],
        "The credential values of a deployment, masked",
        of_model
    ),
    route!(
        "PATCH",
        &["/credentials/{*credential_name}"],
        Admin,
        &[CHANGE],
        &[],
        "Update a credential",
        update
    ),
    route!("DELETE", &["/credentials/{*credential_name}"], Admin, &[], &[], "Delete a credential", delete),
];

/// The values of a stored model that are a credential.
async fn values_of_model(call: &Call, id: &str) -> Result<Map<String, Value>, AdminError> {
    let model: ProxyModel = call.admin.row(&[id], || "Model not found".to_owned()).await?;
    let params = call.admin.opened(model.litellm_params)?;
    let kept = |name: &&String| CREDENTIAL_PARAMS.contains(&name.as_str());
    let params = params.as_object().into_iter().flatten();
    Ok(params.filter(|(name, _)| kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect())
}

async fn find(call: &Call, name: &str) -> Result<Option<Credential>, AdminError> {
    let query = ListQuery::new().filter(Filter::Is("credential_name", json!(name))).uncounted();
    Ok(call.admin.store.list::<Credential>(&query).await?.rows.into_iter().next())
}

async fn stored(call: &Call, name: &str) -> Result<Credential, AdminError> {
    match find(call, name).await? {
        Some(row) => Ok(row),
        None if in_config(call, name) => Err(AdminError::invalid(
            "credential_name",
            format!("Credential '{name}' is defined in config and cannot be edited from the API or UI."),
        )),
        None => Err(AdminError::not_found("Credential not found in DB.")),
    }
}

fn in_config(call: &Call, name: &str) -> bool {
    call.admin.snapshot.load().credentials.iter().any(|one| one.name == name)
}

fn shown(row: &Credential) -> Value {
    json!({
        "credential_name": row.credential_name,
        "display_name": row.display_name,
        "credential_info": row.credential_info,
        "credential_values": row.credential_values,
        "source": "db",
    })
}

/// A row with its values opened and masked.
fn masked(call: &Call, mut row: Credential) -> Result<Value, AdminError> {
    row.credential_values = masked_members(&call.admin.opened(row.credential_values)?);
    Ok(shown(&row))
}

fn of_config(credential: &faregate_config::Credential) -> Value {
    let values: Map<String, Value> =
        credential.value_names().map(|name| (name.to_owned(), json!("****"))).collect();
    json!({
        "credential_name": credential.name,
        "display_name": null,
        "credential_info": credential.info.0,
        "credential_values": values,
        "source": "config",
    })
}

async fn new(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let name = call.text("credential_name").unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return Err(AdminError::invalid("credential_name", "credential_name is empty"));
    }
    if find(&call, &name).await?.is_some() || in_config(&call, &name) {
        return Err(AdminError::new(
            409,
            "bad_request_error",
            format!("Credential '{name}' already exists. Choose another name, or update it."),
        ));
    }
    let mut values = match call.text("model_id") {
        Some(id) => values_of_model(&call, id).await?,
        None => Map::new(),
    };
    values.extend(call.given("credential_values").and_then(Value::as_object).cloned().unwrap_or_default());
    if values.is_empty() {
        return Err(AdminError::invalid(
            "credential_values",
            "Credential values are required. Unable to infer credential values from model ID.",
        ));
    }
    let row = Credential {
        credential_id: uuid::Uuid::new_v4().to_string(),
        credential_name: name.clone(),
        display_name: call.text("display_name").map(str::to_owned),
        credential_values: call.admin.sealed(Value::Object(values))?,
        credential_info: call.given("credential_info").cloned().unwrap_or_default(),
        created_by: call.changed_by(),
        updated_by: call.changed_by(),
        ..Credential::default()
    };
    call.admin.store.insert(&row, call.admin.now()).await?;
    serve(&call, &name).await;
    call.admin.audit(&call, "created", TABLE, &name, Value::Null, json_of(&row)).await;
    Ok(Answer::json(&json!({ "success": true, "message": "Credential created successfully" })))
}

async fn list(call: Call) -> Outcome {
    let rows =
        call.admin.store.list::<Credential>(&ListQuery::new().page(1, 100_000).uncounted()).await?.rows;
    let mut all: Vec<Value> = Vec::new();
    for row in rows {
        all.push(masked(&call, row)?);
    }
    let snapshot = call.admin.snapshot.load();
    for credential in &snapshot.credentials {
        if !all.iter().any(|known| known["credential_name"] == credential.name.as_str()) {
            all.push(of_config(credential));
        }
    }
    Ok(Answer::json(&json!({ "success": true, "credentials": all })))
}

fn name_of(call: &Call) -> String {
    call.path.get("credential_name").cloned().unwrap_or_default()
}

async fn info(call: Call) -> Outcome {
    let name = name_of(&call);
    if let Some(row) = find(&call, &name).await? {
        return Ok(Answer::json(&masked(&call, row)?));
    }
    let snapshot = call.admin.snapshot.load();
    let found = snapshot.credentials.iter().find(|one| one.name == name);
    let found = found
        .ok_or_else(|| AdminError::not_found(format!("Credential not found. Got credential name: {name}")))?;
    Ok(Answer::json(&of_config(found)))
}

async fn of_model(call: Call) -> Outcome {
    let id = call.path.get("model_id").cloned().unwrap_or_default();
    let values = values_of_model(&call, &id).await?;
    Ok(Answer::json(&json!({
        "credential_name": format!("{id}-credential-{}", uuid::Uuid::new_v4()),
        "credential_values": masked_members(&Value::Object(values)),
        "credential_info": {},
    })))
}

async fn update(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let name = name_of(&call);
    if call.text("credential_name").is_some_and(|given| given != name) {
        return Err(AdminError::invalid(
            "credential_name",
            "credential_name is immutable. Set display_name to change how the credential is labeled.",
        ));
    }
    let before = stored(&call, &name).await?;
    let opened = call.admin.opened(before.credential_values.clone())?;
    let mut values = opened.as_object().cloned().unwrap_or_default();
    if let Some(id) = call.text("model_id") {
        values.extend(values_of_model(&call, id).await?);
    }
    let given = call.given("credential_values").and_then(Value::as_object).cloned().unwrap_or_default();
    let gone = call.texts("credential_values_to_delete");
    if let Some(both) = gone.iter().find(|name| given.contains_key(*name)) {
        return Err(AdminError::invalid(
            "credential_values_to_delete",
            format!("credential_values_to_delete overlaps credential_values for key(s): {both}"),
        ));
    }
    values.extend(given);
    values.retain(|name, _| !gone.contains(name));
    let mut info = before.credential_info.as_object().cloned().unwrap_or_default();
    info.extend(call.given("credential_info").and_then(Value::as_object).cloned().unwrap_or_default());
    let mut patch = Patch::new()
        .set("credential_values", call.admin.sealed(Value::Object(values))?)
        .set("credential_info", info)
        .set("updated_by", call.changed_by());
    if call.body.contains_key("display_name") {
        patch = patch.set("display_name", call.text("display_name"));
    }
    let row =
        call.admin.store.update::<Credential>(&[&before.credential_id], &patch, call.admin.now()).await?;
    serve(&call, &name).await;
    call.admin.audit(&call, "updated", TABLE, &name, json_of(&before), json_of(&row)).await;
    Ok(Answer::json(&json!({ "success": true, "message": "Credential updated successfully" })))
}

async fn delete(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let name = name_of(&call);
    let before = stored(&call, &name).await?;
    call.admin.store.delete::<Credential>(&[&before.credential_id]).await?;
    serve(&call, &name).await;
    call.admin.audit(&call, "deleted", TABLE, &name, json_of(&before), Value::Null).await;
    Ok(Answer::json(&json!({ "success": true, "message": "Credential deleted successfully" })))
}

/// Tells the other replicas, and waits until this one serves the change.
async fn serve(call: &Call, name: &str) {
    call.admin.changed(Subject::Settings, name);
    call.admin.apply().await;
}
