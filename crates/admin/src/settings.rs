//! Settings stored in the database, which win over the file's. Source: compat, endpoints §3.10 and config §0.

use faregate_config::{KeyStatus, STORED_SECTIONS, Stored, Strictness, known_keys, read_over};
use faregate_state::invalidate::Subject;
use faregate_store::ConfigRow;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::pass_through;
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_Config";
const GENERAL: &str = "general_settings";
const ENVIRONMENT: &str = "environment_variables";
/// A setting each of whose entries is checked apart, since one that cannot be read keeps no other from being served.
const ROUTES_OF_OPERATORS: &str = "pass_through_endpoints";
const CALLBACKS: [&str; 3] = ["success_callback", "failure_callback", "callbacks"];

const SECTIONS: &[Field] = &[
    field("environment_variables", Holds::Object, "variables to set; sealed at rest"),
    field("litellm_settings", Holds::Object, "settings to set"),
    field("general_settings", Holds::Object, "settings to set"),
    field("router_settings", Holds::Object, "settings to set"),
];
const SET: &[Field] = &[
    required("field_name", Holds::Text, "a key of general_settings"),
    required("field_value", Holds::Any, "its value"),
    field("config_type", Holds::Text, "general_settings"),
];
const NAMED: &[Field] = &[
    required("field_name", Holds::Text, "a key of general_settings"),
    field("config_type", Holds::Text, "general_settings"),
];
const KIND: &[Field] = &[required("config_type", Holds::Text, "general_settings")];
const CALLBACK: &[Field] = &[required("callback_name", Holds::Text, "the callback")];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "POST",
        &["/config/update"],
        Admin,
        &[SECTIONS],
        &[],
        "Store sections of the configuration",
        update
    ),
    route!("POST", &["/config/field/update"], Admin, &[SET], &[], "Store one general setting", set_field),
    route!("GET", &["/config/field/info"], Viewer, &[], NAMED, "One general setting", field_info),
    route!("GET", &["/config/list"], Viewer, &[], KIND, "General settings that may be stored", list),
    route!(
        "POST",
        &["/config/field/delete"],
        Admin,
        &[NAMED],
        &[],
        "Forget a stored general setting",
        delete_field
    ),
    route!(
        "POST",
        &["/config/callback/delete"],
        Admin,
        &[CALLBACK],
        &[],
        "Forget a stored callback",
        delete_callback
    ),
];

/// A stored section; empty if there is none.
pub(crate) async fn section(call: &Call, name: &str) -> Result<Map<String, Value>, AdminError> {
    let row = call.admin.store.get::<ConfigRow>(&[name]).await?;
    Ok(row.and_then(|row| row.param_value.as_object().cloned()).unwrap_or_default())
}

/// Stores one setting of a section, and serves it.
///
/// # Errors
/// 400 naming what could not be served, 500 where the database's settings do not count.
pub(crate) async fn store(
    call: &Call,
    section_name: &str,
    setting: &str,
    value: Value,
) -> Result<(), AdminError> {
    call.admin.stores_models()?;
    let mut after = section(call, section_name).await?;
    after.insert(setting.to_owned(), value);
    let mut candidate = Stored::default();
    candidate.sections.insert(section_name.to_owned(), Value::Object(after.clone()));
    checked(call, &candidate)?;
    put(call, section_name, after).await?;
    call.admin.apply().await;
    Ok(())
}

/// Writes a section and serves it.
async fn put(call: &Call, name: &str, after: Map<String, Value>) -> Result<(), AdminError> {
    let before = call.admin.store.get::<ConfigRow>(&[name]).await?;
    let row = ConfigRow {
        param_name: name.to_owned(),
        param_value: Value::Object(after),
        ..before.clone().unwrap_or_default()
    };
    call.admin.store.put(&row, call.admin.now()).await?;
    call.admin.changed(Subject::Settings, name);
    let hide = |value: Value| if name == ENVIRONMENT { hidden(&value) } else { value };
    let before = before.map(|row| hide(row.param_value)).unwrap_or_default();
    let action = if before.is_null() { "created" } else { "updated" };
    call.admin.audit(call, action, TABLE, name, before, hide(row.param_value)).await;
    Ok(())
}

/// Names without values.
fn hidden(object: &Value) -> Value {
    let names = object.as_object().into_iter().flatten();
    Value::Object(names.map(|(name, _)| (name.clone(), json!("****"))).collect())
}

/// Refuses sections that could not be served, naming the setting and the remedy.
pub(crate) fn checked(call: &Call, stored: &Stored) -> Result<(), AdminError> {
    let env = call.admin.snapshot.load().env.clone();
    let reading = read_over(None, stored, &env, Strictness::Lenient);
    let ours = |path: &str| STORED_SECTIONS.iter().any(|section| path.starts_with(section));
    if let Some(found) = reading.findings.iter().find(|found| found.is_error() && ours(&found.path)) {
        let remedy = found.remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        return Err(AdminError::invalid(&found.path, format!("{}: {}{remedy}", found.path, found.message)));
    }
    let unknown: Vec<&str> = reading
        .keys
        .iter()
        .filter(|key| key.status == KeyStatus::Unknown)
        .filter_map(|key| key.path.strip_prefix("router_settings."))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(AdminError::invalid(
        "router_settings",
        format!("Unsupported router settings: {} are not valid router settings", unknown.join(", ")),
    ))
}

async fn update(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let mut sections = Vec::new();
    let mut candidate = Stored::default();
    for name in STORED_SECTIONS {
        let Some(given) = call.given(name).and_then(Value::as_object) else { continue };
        let mut after = section(&call, name).await?;
        if name == ENVIRONMENT {
            candidate.sections.insert(name.to_owned(), Value::Object(given.clone()));
            after.extend(sealed_once(&call, given)?);
        } else {
            if let Some(routes) = given.get(ROUTES_OF_OPERATORS).and_then(Value::as_array) {
                pass_through::check_all(&call, routes)?;
            }
            let given = given.iter().filter(|(_, value)| !value.is_null());
            for (key, value) in given {
                let value = match (after.get(key), value) {
                    // Callbacks are added to those that are there.
                    (Some(Value::Array(known)), Value::Array(more)) if CALLBACKS.contains(&key.as_str()) => {
                        let more = more.iter().filter(|one| !known.contains(one));
                        Value::Array(known.iter().chain(more).cloned().collect())
                    }
                    _ => value.clone(),
                };
                after.insert(key.clone(), value);
            }
            candidate.sections.insert(name.to_owned(), Value::Object(after.clone()));
        }
        sections.push((name, after));
    }
    checked(&call, &candidate)?;
    for (name, after) in sections {
        put(&call, name, after).await?;
    }
    call.admin.apply().await;
    Ok(Answer::json(&json!({ "message": "Config updated successfully" })))
}

/// Seals values; one that was read back sealed and is sent again stays as it is.
fn sealed_once(call: &Call, given: &Map<String, Value>) -> Result<Map<String, Value>, AdminError> {
    let salt = call.admin.salt()?;
    let mut all = Map::new();
    for (name, value) in given {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let sealed = if salt.open(&text).is_ok() { text } else { salt.seal(&text, call.admin.cipher())? };
        all.insert(name.clone(), json!(sealed));
    }
    Ok(all)
}

/// The name of a general setting that there is.
fn general(call: &Call, name: Option<&str>) -> Result<&'static faregate_config::Key, AdminError> {
    let kind = call.text("config_type").or_else(|| call.asked("config_type"));
    if kind.is_some_and(|kind| kind != GENERAL) {
        return Err(AdminError::invalid("config_type", "config_type must be general_settings"));
    }
    let name = name.unwrap_or_default();
    known_keys(GENERAL)
        .find(|key| key.name == name)
        .ok_or_else(|| AdminError::invalid("field_name", format!("Invalid field={name} passed in.")))
}

async fn set_field(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let name = general(&call, call.text("field_name"))?.name;
    let mut after = section(&call, GENERAL).await?;
    let value = call.body.get("field_value").cloned().unwrap_or_default();
    if let (ROUTES_OF_OPERATORS, Some(routes)) = (name, value.as_array()) {
        pass_through::check_all(&call, routes)?;
    }
    after.insert(name.to_owned(), value);
    let mut candidate = Stored::default();
    candidate.sections.insert(GENERAL.to_owned(), Value::Object(after.clone()));
    checked(&call, &candidate)?;
    put(&call, GENERAL, after.clone()).await?;
    call.admin.apply().await;
    Ok(Answer::json(&json!({ "param_name": GENERAL, "param_value": columns::masked(Value::Object(after)) })))
}

async fn delete_field(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let name = general(&call, call.text("field_name"))?.name;
    let mut after = section(&call, GENERAL).await?;
    if after.remove(name).is_none() {
        return Err(AdminError::invalid("field_name", format!("Field name={name} not in config")));
    }
    put(&call, GENERAL, after.clone()).await?;
    call.admin.apply().await;
    Ok(Answer::json(&json!({ "param_name": GENERAL, "param_value": columns::masked(Value::Object(after)) })))
}

async fn field_info(call: Call) -> Outcome {
    let name = general(&call, call.asked("field_name"))?.name;
    let stored = section(&call, GENERAL).await?;
    let set_in_file = call.admin.snapshot.load().settings.contains(&format!("{GENERAL}.{name}"));
    let (value, source) = match stored.get(name) {
        Some(value) => (columns::masked(json!({ name: value }))[name].clone(), "db"),
        None if set_in_file => (json!("****"), "config"),
        None => {
            return Err(AdminError::invalid("field_name", format!("Field name={name} not in DB")));
        }
    };
    Ok(Answer::json(&json!({ "field_name": name, "field_value": value, "source": source, "editable": true })))
}

async fn list(call: Call) -> Outcome {
    if call.asked("config_type") != Some(GENERAL) {
        return Err(AdminError::invalid("config_type", "config_type must be general_settings"));
    }
    let stored = columns::masked(Value::Object(section(&call, GENERAL).await?));
    let all = known_keys(GENERAL).map(|key| {
        json!({
            "field_name": key.name,
            "field_type": key.kind,
            "field_description": key.doc,
            "field_value": stored.get(key.name),
            "stored_in_db": stored.get(key.name).map(|_| true),
            "field_default_value": (key.default != "-").then_some(key.default),
            "premium_field": false,
            "nested_fields": null,
        })
    });
    Ok(Answer::json(&all.collect::<Vec<_>>()))
}

async fn delete_callback(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let name = call.text("callback_name").unwrap_or_default().to_ascii_lowercase();
    let mut after = section(&call, "litellm_settings").await?;
    let mut found = false;
    for key in CALLBACKS {
        if let Some(Value::Array(list)) = after.get_mut(key) {
            let before = list.len();
            list.retain(|one| one.as_str().is_none_or(|text| !text.eq_ignore_ascii_case(&name)));
            found |= list.len() < before;
        }
    }
    if !found {
        return Err(AdminError::not_found(format!("Callback '{name}' not found in active callbacks")));
    }
    let left: Vec<&Value> =
        CALLBACKS.iter().filter_map(|key| after.get(*key)?.as_array()).flatten().collect();
    let left = json!(left);
    put(&call, "litellm_settings", after).await?;
    call.admin.apply().await;
    Ok(Answer::json(&json!({
        "message": format!("Successfully deleted callback: {name}"),
        "removed_callback": name,
        "remaining_callbacks": left,
        "deleted_at": call.admin.now(),
    })))
}
