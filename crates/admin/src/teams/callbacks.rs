//! Logging callbacks of single teams, which live in the team's metadata. Source: compat, endpoints §2.2, and LiteLLM's
//! `team_callback_endpoints.py`.
//!
//! They are kept and shown as LiteLLM does, their secrets sealed. Calling them is another matter: an answer says so
//! where there is no such callback here.

use std::collections::BTreeMap;

use faregate_state::invalidate::Subject;
use faregate_store::seal::CALLBACK_PREFIX;
use faregate_store::{Patch, Team};
use serde_json::{Map, Value, json};

use super::TABLE;
use crate::Outcome;
use crate::access::Standing;
use crate::callbacks::is_known;
use crate::columns::json_of;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const ADD: &[Field] = &[
    required("callback_name", Holds::Text, "langfuse, langsmith, gcs_bucket..."),
    field("callback_type", Holds::Text, "success, failure or success_and_failure"),
    required(
        "callback_vars",
        Holds::Object,
        "variables of the callback; secrets among them are sealed at rest",
    ),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("POST", &["/team/{team_id}/callback"], Key, &[ADD], &[], "Add a logging callback to a team", add),
    route!("GET", &["/team/{team_id}/callback"], Key, &[], &[], "Logging callbacks of a team", shown),
    route!(
        "DELETE",
        &["/team/{team_id}/callback/{callback_name}"],
        Key,
        &[],
        &[],
        "Take a logging callback from a team",
        remove
    ),
    route!(
        "POST",
        &["/team/{team_id}/disable_logging"],
        Admin,
        &[],
        &[],
        "Take all logging callbacks from a team",
        disable
    ),
];

/// Where callbacks stand in the metadata.
const LOGGING: &str = "logging";
/// Where they stood in older versions.
const SETTINGS: &str = "callback_settings";
const VARIABLES: &str = "callback_vars";
/// Instead of a secret.
const REDACTED: &str = "***REDACTED***";
/// When a callback is called.
const TYPES: [&str; 3] = ["success", "failure", "success_and_failure"];
/// Which variables there are. Source: LiteLLM, `StandardCallbackDynamicParams`.
const KNOWN_VARIABLES: &[&str] = &[
    "langfuse_public_key",
    "langfuse_secret",
    "langfuse_secret_key",
    "langfuse_host",
    "langfuse_environment",
    "langfuse_span_scope",
    "langfuse_prompt_version",
    "gcs_bucket_name",
    "gcs_path_service_account",
    "langsmith_api_key",
    "langsmith_project",
    "langsmith_base_url",
    "langsmith_sampling_rate",
    "langsmith_tenant_id",
    "humanloop_api_key",
    "arize_api_key",
    "arize_space_key",
    "arize_space_id",
    "arize_success_sampling_rate",
    "arize_error_sampling_rate",
    "arize_otlp_protocol",
    "posthog_api_key",
    "posthog_api_url",
    "wandb_api_key",
    "weave_project_id",
    "dd_api_key",
    "dd_site",
    "dd_agent_host",
    "dd_agent_port",
    "newrelic_api_key",
    "newrelic_region",
    "signoz_ingestion_endpoint",
    "signoz_ingestion_key",
    "turn_off_message_logging",
    "litellm_disabled_callbacks",
    "capture_message_content",
    "excluded_services",
];
/// Parts of a name that make its value a secret. Source: LiteLLM, `SensitiveDataMasker`.
const SECRET_PARTS: &[&str] = &[
    "password",
    "secret",
    "key",
    "token",
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "access",
    "private",
    "certificate",
    "fingerprint",
    "tenancy",
];

/// The team of the path, if the caller may change it, and as what. A team that is not there and one that is none of
/// theirs look the same.
async fn led(call: &Call) -> Result<(Team, Standing), AdminError> {
    let id = call.path.get("team_id").map(String::as_str).unwrap_or_default();
    match super::found(call, id).await {
        Ok(team) => {
            let standing = call.admin.must_lead_team(&call.caller, &team).await?;
            Ok((team, standing))
        }
        Err(missing) if missing.status != 404 || call.caller.is_admin() => Err(missing),
        Err(_) => Err(AdminError::forbidden("You do not have access to this team")),
    }
}

async fn add(call: Call) -> Outcome {
    let (team, standing) = led(&call).await?;
    let (name, kind) = (call.text("callback_name").unwrap_or_default(), kind(&call)?);
    let variables = variables(&call)?;
    let mut entries = entries(&team.metadata);
    if standing < Standing::ProxyAdmin {
        keeps_families(&variables, &opened(&call, &entries))?;
    }
    if entries.iter().any(|entry| entry["callback_name"] == name && entry["callback_type"] == kind) {
        let team = &team.team_id;
        return Err(AdminError::invalid(
            "callback_name",
            format!(
                "callback_name = {name} already exists in team_callback_settings, for team_id = {team} and event = \
                 {kind}"
            ),
        ));
    }
    entries.push(json!({ "callback_name": name, "callback_type": kind, "callback_vars": variables }));
    let mut metadata = object(&team.metadata);
    metadata.insert(LOGGING.to_owned(), Value::Array(entries));
    let row = set(&call, &team, metadata).await?;
    let mut told = json!({ "status": "success", "data": row });
    if !is_known(name) {
        told["message"] = json!(format!("Kept; {name} is no callback of Faregate, so nothing is sent there"));
    }
    Ok(Answer::json(&told))
}

async fn shown(call: Call) -> Outcome {
    let (team, _) = led(&call).await?;
    let (success, failure, variables) = in_effect(&call, &team.metadata);
    Ok(Answer::json(&json!({
        "status": "success",
        "data": {
            "team_id": team.team_id, "success_callbacks": success, "failure_callbacks": failure,
            "callback_vars": variables,
        },
    })))
}

async fn remove(call: Call) -> Outcome {
    let (team, _) = led(&call).await?;
    let name = call.path.get("callback_name").cloned().unwrap_or_default();
    let id = team.team_id.clone();
    let all = entries(&team.metadata);
    let kept: Vec<Value> =
        all.iter().filter(|entry| entry["callback_name"] != name.as_str()).cloned().collect();
    if kept.len() == all.len() {
        let text = format!("callback_name = {name} is not registered for team_id = {id}.");
        return Err(AdminError::not_found(text));
    }
    let mut metadata = object(&team.metadata);
    metadata.insert(LOGGING.to_owned(), Value::Array(kept));
    let left = Value::Object(metadata.clone());
    set(&call, &team, metadata).await?;
    let (success, failure, _) = in_effect(&call, &left);
    Ok(Answer::json(&json!({
        "status": "success",
        "message": format!("Callback {name} removed for team {id}"),
        "data": { "team_id": id, "success_callbacks": success, "failure_callbacks": failure },
    })))
}

async fn disable(call: Call) -> Outcome {
    let (team, _) = led(&call).await?;
    let mut metadata = object(&team.metadata);
    let mut settings = object(&team.metadata[SETTINGS]);
    for (name, empty) in [("callbacks", json!([])), (VARIABLES, json!({}))] {
        settings.entry(name).or_insert(empty);
    }
    for name in ["success_callback", "failure_callback"] {
        settings.insert(name.to_owned(), json!([]));
    }
    metadata.insert(SETTINGS.to_owned(), Value::Object(settings));
    metadata.insert(LOGGING.to_owned(), json!([]));
    set(&call, &team, metadata).await?;
    let id = &team.team_id;
    Ok(Answer::json(&json!({
        "status": "success",
        "message": format!("Logging disabled for team {id}"),
        "data": { "team_id": id, "success_callbacks": [], "failure_callbacks": [] },
    })))
}

/// When the callback is called, in LiteLLM's word.
fn kind(call: &Call) -> Result<&str, AdminError> {
    let kind = call.text("callback_type").unwrap_or("success_and_failure");
    if TYPES.contains(&kind) {
        return Ok(kind);
    }
    let text = format!("callback_type: `{kind}` is none of {}", TYPES.join(", "));
    Err(AdminError::fields(vec![(vec!["body", "callback_type"], "literal_error", text)]))
}

/// The variables of the body as texts.
fn variables(call: &Call) -> Result<Map<String, Value>, AdminError> {
    let mut variables = Map::new();
    for (name, value) in call.given(VARIABLES).and_then(Value::as_object).into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let problem = if !KNOWN_VARIABLES.contains(&name.as_str()) {
            format!("Invalid callback variable: {name}. Must be one of {}", KNOWN_VARIABLES.join(", "))
        } else if text.starts_with("os.environ/") {
            format!("{name}: variables of the gateway's environment are not for teams; give the value itself")
        } else {
            variables.insert(name.clone(), Value::String(text));
            continue;
        };
        return Err(AdminError::fields(vec![(vec!["body", VARIABLES, name], "value_error", problem)]));
    }
    Ok(variables)
}

/// Variables of one service belong to one callback: all are put together when a callback is called, so that a second
/// entry could send the first one's secret elsewhere. Who gives the same values again may.
fn keeps_families(given: &Map<String, Value>, before: &[Value]) -> Result<(), AdminError> {
    let family = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
    let stored = || before.iter().filter_map(|entry| entry[VARIABLES].as_object()).flatten();
    let held: Vec<(String, &Value)> = stored().map(|(name, value)| (family(name), value)).collect();
    let by_name: BTreeMap<&str, &Value> = stored().map(|(name, value)| (name.as_str(), value)).collect();
    for (name, value) in given {
        let of = family(name);
        let same = match by_name.get(name.as_str()) {
            Some(known) => *known == value,
            None => held.contains(&(of.clone(), value)),
        };
        if !same && held.iter().any(|(known, _)| *known == of) {
            return Err(AdminError::invalid(
                name,
                format!(
                    "{of} is already configured by another callback entry on this team. Remove that entry before \
                     setting {name} here."
                ),
            ));
        }
    }
    Ok(())
}

/// What is called after success and after failure, and the variables without their secrets. The older place counts only
/// where the newer one is not used.
fn in_effect(call: &Call, metadata: &Value) -> (Vec<String>, Vec<String>, Map<String, Value>) {
    let (mut success, mut failure, mut variables) = (Vec::new(), Vec::new(), Map::new());
    let once = |list: &mut Vec<String>, name: &str| {
        if !list.iter().any(|known| known == name) {
            list.push(name.to_owned());
        }
    };
    if metadata[LOGGING].is_null() {
        let settings = &metadata[SETTINGS];
        let texts = |name: &str| settings[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        texts("success_callback").for_each(|name| once(&mut success, name));
        texts("failure_callback").for_each(|name| once(&mut failure, name));
        variables = object(&settings[VARIABLES]);
    }
    for entry in opened(call, &entries(metadata)) {
        let Some(name) = entry["callback_name"].as_str() else { continue };
        let kind = entry["callback_type"].as_str().unwrap_or("success_and_failure");
        if kind != "failure" {
            once(&mut success, name);
        }
        if kind != "success" {
            once(&mut failure, name);
        }
        variables.extend(object(&entry[VARIABLES]));
    }
    for (name, value) in &mut variables {
        if is_secret(name) || value.as_str().is_some_and(|text| text.starts_with(CALLBACK_PREFIX)) {
            *value = json!(REDACTED);
        }
    }
    (success, failure, variables)
}

/// Stores the metadata with its secrets sealed.
async fn set(call: &Call, team: &Team, metadata: Map<String, Value>) -> Result<Option<Team>, AdminError> {
    let mut metadata = Value::Object(metadata);
    seal(call, &mut metadata)?;
    let patch = Patch::new().set("metadata", metadata);
    let row = call.admin.store.update::<Team>(&[&team.team_id], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::Team, &team.team_id);
    let (before, after) = (without_variables(json_of(team)), without_variables(json_of(&row)));
    call.admin.audit(call, "updated", TABLE, &team.team_id, before, after).await;
    Ok(row)
}

/// Seals the secrets of callbacks in a team's metadata; those that are sealed stay.
pub(super) fn seal(call: &Call, metadata: &mut Value) -> Result<(), AdminError> {
    each_variable(metadata, &mut |name, text| {
        if !text.is_empty() && is_secret(name) && !text.starts_with(CALLBACK_PREFIX) {
            *text = format!("{CALLBACK_PREFIX}{}", call.admin.salt()?.seal(text, call.admin.cipher())?);
        }
        Ok(())
    })
}

/// The entries with their secrets opened; one that does not open stays as it is.
fn opened(call: &Call, entries: &[Value]) -> Vec<Value> {
    let mut metadata = json!({ LOGGING: entries });
    let salt = call.admin.salt().ok();
    // Only reads: there is nothing that could fail.
    drop(each_variable(&mut metadata, &mut |_, text| {
        let plain = text.strip_prefix(CALLBACK_PREFIX).and_then(|sealed| salt.as_ref()?.open(sealed).ok());
        if let Some(plain) = plain {
            plain.expose().clone_into(text);
        }
        Ok(())
    }));
    self::entries(&metadata)
}

fn each_variable(
    metadata: &mut Value,
    change: &mut dyn FnMut(&str, &mut String) -> Result<(), AdminError>,
) -> Result<(), AdminError> {
    let Value::Object(members) = metadata else { return Ok(()) };
    for place in [LOGGING, SETTINGS] {
        let holders = match members.get_mut(place) {
            Some(Value::Array(entries)) => entries.iter_mut().collect(),
            Some(settings) => vec![settings],
            None => Vec::new(),
        };
        for holder in holders {
            let Some(variables) = holder.get_mut(VARIABLES).and_then(Value::as_object_mut) else { continue };
            for (name, value) in variables {
                if let Value::String(text) = value {
                    change(name, text)?;
                }
            }
        }
    }
    Ok(())
}

/// A row for the audit log, which tells which variables there were and not what they held.
fn without_variables(mut row: Value) -> Value {
    if let Some(metadata) = row.get_mut("metadata") {
        drop(each_variable(metadata, &mut |_, text| {
            REDACTED.clone_into(text);
            Ok(())
        }));
    }
    row
}

fn is_secret(name: &str) -> bool {
    name == "gcs_path_service_account"
        || name.to_lowercase().split(['_', '-']).any(|part| SECRET_PARTS.contains(&part))
}

fn entries(metadata: &Value) -> Vec<Value> {
    metadata[LOGGING].as_array().cloned().unwrap_or_default()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
