//! Router settings to be looked at, and fallbacks by model. Source: compat, endpoints §2.12 and §3.10.

use faregate_config::{Key, KeyStatus, known_keys};
use faregate_router::strategy::STRATEGIES;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::masked;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};
use crate::settings;

const SECTION: &str = "router_settings";

const SET: &[Field] = &[
    required("model", Holds::Text, "the model group"),
    required("fallback_models", Holds::Texts, "groups to try after it, in this order"),
    field("fallback_type", Holds::Text, "general, context_window or content_policy; general when absent"),
];
const KIND: &[Field] =
    &[field("fallback_type", Holds::Text, "general, context_window or content_policy; general when absent")];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "GET",
        &["/router/settings"],
        Admin,
        &[],
        &[],
        "Router settings, with values and sources",
        current
    ),
    route!("GET", &["/router/fields"], Admin, &[], &[], "Router settings that there are", all),
    route!("POST", &["/fallback"], Admin, &[SET], &[], "Set the fallbacks of a model group", set_fallback),
    route!("GET", &["/fallback/{model}"], Admin, &[], KIND, "Fallbacks of a model group", fallback),
    route!(
        "DELETE",
        &["/fallback/{model}"],
        Admin,
        &[],
        KIND,
        "Forget the fallbacks of a model group",
        forget
    ),
];

/// One setting, as the UI's form takes it.
pub(crate) fn described(key: &Key, value: Option<&Value>) -> Value {
    let default = (key.default != "-").then_some(key.default);
    let mut shown = json!({
        "field_name": key.name,
        "field_type": kind(key.kind),
        "field_value": value,
        "field_description": key.doc,
        "field_default": default,
        "options": null,
        "ui_field_name": key.name.split('_').map(capital).collect::<Vec<_>>().join(" "),
        "link": null,
    });
    if key.name == "routing_strategy" {
        shown["options"] = json!(STRATEGIES.iter().map(|strategy| strategy.name).collect::<Vec<_>>());
    }
    shown
}

/// LiteLLM's words for types.
fn kind(word: &str) -> &'static str {
    match word {
        "int" => "Integer",
        "number" | "seconds" => "Float",
        "bool" => "Boolean",
        word if word.starts_with("map") => "Dictionary",
        word if word.starts_with("list") || word.starts_with("texts") => "List",
        _ => "String",
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Settings that do something here.
fn keys() -> impl Iterator<Item = &'static Key> {
    let works = |key: &&Key| matches!(key.status, KeyStatus::Honoured | KeyStatus::Kept);
    known_keys(SECTION).filter(works).filter(|key| !key.name.starts_with("redis_"))
}

fn page(current: &Map<String, Value>) -> Value {
    let strategies = STRATEGIES.iter().map(|strategy| (strategy.name.to_owned(), json!(strategy.doc)));
    json!({
        "fields": keys().map(|key| described(key, current.get(key.name))).collect::<Vec<_>>(),
        "routing_strategy_descriptions": strategies.collect::<Map<_, _>>(),
        "routing_group_strategies": STRATEGIES.iter().map(|strategy| strategy.name).collect::<Vec<_>>(),
    })
}

async fn all(_: Call) -> Outcome {
    Ok(Answer::json(&page(&Map::new())))
}

async fn current(call: Call) -> Outcome {
    let (values, stored) = in_service(&call).await?;
    let mut page = page(&values);
    let source = |name: &String| if stored.contains_key(name) { "db" } else { "config" };
    let sources: Map<String, Value> = keys()
        .map(|key| {
            let name = key.name.to_owned();
            let source = match values.contains_key(&name) {
                true => source(&name),
                false if key.default == "-" => "unset",
                false => "default",
            };
            (name, json!(source))
        })
        .collect();
    page["current_values"] = Value::Object(values);
    page["source"] = Value::Object(sources);
    Ok(Answer::json(&page))
}

/// The section as it serves, masked, and the part of it that is stored.
pub(crate) async fn in_service(call: &Call) -> Result<(Map<String, Value>, Map<String, Value>), AdminError> {
    let written = call.admin.snapshot.load().router.written.0.clone();
    let stored = settings::section(call, SECTION).await?;
    let shown = masked(Value::Object(written)).as_object().cloned().unwrap_or_default();
    Ok((shown, stored))
}

/// The setting that a kind of fallbacks is.
fn setting(kind: Option<&str>) -> Result<&'static str, AdminError> {
    match kind.unwrap_or("general") {
        "general" => Ok("fallbacks"),
        "context_window" => Ok("context_window_fallbacks"),
        "content_policy" => Ok("content_policy_fallbacks"),
        other => Err(AdminError::fields(vec![(
            vec!["fallback_type"],
            "literal_error",
            format!("fallback_type: `{other}` is none of general, context_window, content_policy"),
        )])),
    }
}

/// The table of fallbacks that serves: group → groups.
fn table(call: &Call, setting: &str) -> Vec<(String, Vec<Value>)> {
    let snapshot = call.admin.snapshot.load();
    let rows = match snapshot.router.written.get(setting) {
        Some(Value::Array(rows)) => rows.iter().filter_map(Value::as_object).flatten().collect::<Vec<_>>(),
        Some(Value::Object(rows)) => rows.iter().collect(),
        _ => Vec::new(),
    };
    let groups = |value: &Value| value.as_array().cloned().unwrap_or_default();
    rows.into_iter().map(|(name, value)| (name.clone(), groups(value))).collect()
}

async fn save(call: &Call, setting: &str, table: Vec<(String, Vec<Value>)>) -> Result<(), AdminError> {
    let rows: Vec<Value> = table.into_iter().map(|(name, groups)| json!({ name: groups })).collect();
    settings::store(call, SECTION, setting, Value::Array(rows)).await
}

async fn set_fallback(call: Call) -> Outcome {
    let model = call.text("model").unwrap_or_default().to_owned();
    let kind = call.text("fallback_type").unwrap_or("general").to_owned();
    let setting = setting(Some(&kind))?;
    let groups = call.texts("fallback_models");
    let snapshot = call.admin.snapshot.load_full();
    let known = |name: &str| {
        snapshot.deployments.iter().any(|one| one.group.as_str() == name)
            || snapshot.aliases.contains_key(name)
    };
    for name in std::iter::once(&model).chain(&groups) {
        if !known(name) {
            let field = if *name == model { "model" } else { "fallback_models" };
            let message =
                format!("{field}: model `{name}` is not in the router; add it first, see `/v1/models`");
            return Err(AdminError::new(404, "not_found_error", message).about(field));
        }
    }
    if groups.is_empty() || groups.contains(&model) {
        let message = "fallback_models: name at least one group, and not the model itself";
        return Err(AdminError::invalid("fallback_models", message));
    }
    let mut rows = table(&call, setting);
    rows.retain(|(name, _)| *name != model);
    rows.push((model.clone(), groups.iter().map(|name| json!(name)).collect()));
    save(&call, setting, rows).await?;
    Ok(Answer::json(&json!({
        "model": model, "fallback_models": groups, "fallback_type": kind,
        "message": format!("Fallback configuration created/updated successfully for model '{model}'"),
    })))
}

fn unknown(model: &str, kind: &str) -> AdminError {
    AdminError::not_found(format!("No {kind} fallbacks configured for model '{model}'"))
}

async fn fallback(call: Call) -> Outcome {
    let model = call.path.get("model").cloned().unwrap_or_default();
    let kind = call.asked("fallback_type").unwrap_or("general");
    let rows = table(&call, setting(Some(kind))?);
    let (_, groups) =
        rows.into_iter().find(|(name, _)| *name == model).ok_or_else(|| unknown(&model, kind))?;
    Ok(Answer::json(&json!({ "model": model, "fallback_models": groups, "fallback_type": kind })))
}

async fn forget(call: Call) -> Outcome {
    let model = call.path.get("model").cloned().unwrap_or_default();
    let kind = call.asked("fallback_type").unwrap_or("general").to_owned();
    let setting = setting(Some(&kind))?;
    let mut rows = table(&call, setting);
    let before = rows.len();
    rows.retain(|(name, _)| *name != model);
    if rows.len() == before {
        return Err(unknown(&model, &kind));
    }
    save(&call, setting, rows).await?;
    Ok(Answer::json(&json!({
        "model": model, "fallback_type": kind,
        "message": format!("Fallback configuration deleted successfully for model '{model}'"),
    })))
}
