//! Callbacks and alerts, to be looked at: what is configured, and what of it there is here. Source: compat, endpoints
//! §3.10, and LiteLLM, `/get/config/callbacks`.

use faregate_config::{AlertDestination, AlertSettings, CHANGE_ALERTS, Env};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::routes::{Answer, Call, Route, route};
use crate::{routing, settings};

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "GET",
        &["/get/config/callbacks"],
        Viewer,
        &[],
        &[],
        "Callbacks, alerts and router settings that are configured",
        configured
    ),
    route!("GET", &["/callbacks/list"], Viewer, &[], &[], "Callbacks that run", running),
    route!("GET", &["/callbacks/configs"], Viewer, &[], &[], "Callbacks that there are, as forms", forms),
    route!("GET", &["/alerting/settings"], Viewer, &[], &[], "Settings of alerts, as a form", alerting),
    route!(
        "GET",
        &["/active/callbacks", "/settings"],
        Admin,
        &[],
        &[],
        "Callbacks and settings in service",
        active
    ),
];

/// A callback that there is.
struct Known {
    name: &'static str,
    shown: &'static str,
    doc: &'static str,
}

/// Every callback that there is. Others may be configured; they are shown as not supported, and `check` names them.
const KNOWN: &[Known] =
    &[Known { name: "prometheus", shown: "Prometheus", doc: "metrics at /metrics, for Prometheus to fetch" }];

pub(crate) fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|known| known.name == name)
}

/// LiteLLM's word for when a callback is called.
fn when(call: &Call, name: &String) -> &'static str {
    let litellm = &call.admin.snapshot.load().litellm;
    if litellm.success_callbacks.contains(name) {
        "success"
    } else if litellm.failure_callbacks.contains(name) {
        "failure"
    } else {
        "success_and_failure"
    }
}

async fn configured(call: Call) -> Outcome {
    let snapshot = call.admin.snapshot.load_full();
    let callbacks: Vec<Value> = snapshot
        .litellm
        .callbacks
        .iter()
        .map(|name| {
            json!({
                "name": name, "variables": {}, "type": when(&call, name), "supported": is_known(name),
            })
        })
        .collect();
    let alerts = &snapshot.general.alerts;
    let (router, _) = routing::in_service(&call).await?;
    let available: Map<String, Value> = KNOWN
        .iter()
        .map(|known| {
            let shown = json!({
                "litellm_callback_name": known.name, "litellm_callback_params": [],
                "ui_callback_name": known.shown,
            });
            (known.name.to_owned(), shown)
        })
        .collect();
    Ok(Answer::json(&json!({
        "status": "success",
        "callbacks": callbacks,
        "alerts": destinations(alerts, &snapshot.env),
        "active_alerting_destinations": alerts.named,
        "router_settings": router,
        "available_callbacks": available,
    })))
}

/// Where alerts go. A URL of Slack is a secret: whoever has it writes there.
fn destinations(alerts: &AlertSettings, env: &Env) -> Vec<Value> {
    let shown = |name: &str| (name.to_owned(), env.filled(name).map_or(Value::Null, |_| json!("****")));
    let variables = |names: &[&str]| Value::Object(names.iter().map(|name| shown(name)).collect());
    let types: Vec<&str> =
        std::iter::once("budget_alerts").chain(CHANGE_ALERTS).filter(|kind| alerts.wants(kind)).collect();
    let by_type: Map<String, Value> =
        alerts.by_type.iter().map(|(kind, urls)| (kind.clone(), json!(vec!["****"; urls.len()]))).collect();
    alerts
        .to
        .iter()
        .map(|destination| match destination {
            AlertDestination::Slack => json!({
                "name": "slack", "variables": variables(&["SLACK_WEBHOOK_URL"]), "active_alerts": types,
                "alerts_to_webhook": by_type,
            }),
            AlertDestination::Webhook => json!({
                "name": "webhook", "variables": variables(&["WEBHOOK_URL"]), "active_alerts": ["budget_alerts"],
                "alerts_to_webhook": {},
            }),
        })
        .collect()
}

async fn running(call: Call) -> Outcome {
    let mut lists = json!({ "success": [], "failure": [], "success_and_failure": [] });
    let snapshot = call.admin.snapshot.load_full();
    for name in snapshot.litellm.callbacks.iter().filter(|name| is_known(name)) {
        if let Some(list) = lists[when(&call, name)].as_array_mut() {
            list.push(json!(name));
        }
    }
    Ok(Answer::json(&lists))
}

async fn forms(_: Call) -> Outcome {
    let form = |known: &Known| {
        json!({
            "id": known.name, "displayName": known.shown, "logo": null, "supports_key_team_logging": false,
            "dynamic_params": {}, "description": known.doc,
        })
    };
    Ok(Answer::json(&KNOWN.iter().map(form).collect::<Vec<_>>()))
}

async fn alerting(call: Call) -> Outcome {
    let alerts = call.admin.snapshot.load().general.alerts.clone();
    let stored = settings::section(&call, "general_settings").await?;
    let args = stored.get("alerting_args");
    let row = |name: &str, kind: &str, doc: &str, value: Value, default: Value, stored: bool| {
        json!({
            "field_name": name, "field_type": kind, "field_description": doc, "field_value": value,
            "field_default_value": default, "stored_in_db": stored, "premium_field": false,
        })
    };
    Ok(Answer::json(&json!([
        row(
            "slack_alerting",
            "Boolean",
            "tell Slack of budgets that are used up",
            json!(alerts.to.contains(&AlertDestination::Slack)),
            json!(false),
            stored.contains_key("alerting"),
        ),
        row(
            "budget_alert_ttl",
            "Integer",
            "seconds until the same budget alert goes out again",
            json!(alerts.budget_ttl.map(|ttl| ttl.as_secs())),
            json!(86_400),
            args.is_some_and(|args| args.get("budget_alert_ttl").is_some()),
        ),
    ])))
}

async fn active(call: Call) -> Outcome {
    let snapshot = call.admin.snapshot.load_full();
    let running: Vec<&String> = snapshot.litellm.callbacks.iter().filter(|name| is_known(name)).collect();
    let of = |kind: &str| running.iter().filter(|name| when(&call, name) == kind).collect::<Vec<_>>();
    Ok(Answer::json(&json!({
        "alerting": snapshot.general.alerts.named,
        "litellm.callbacks": of("success_and_failure"),
        "litellm.input_callback": [],
        "litellm.failure_callback": of("failure"),
        "litellm.success_callback": of("success"),
        "litellm._async_success_callback": of("success"),
        "litellm._async_failure_callback": of("failure"),
        "num_callbacks": running.len(),
        "num_alerting": snapshot.general.alerts.to.len(),
        "litellm.request_timeout": snapshot.litellm.request_timeout.map(|timeout| timeout.as_secs_f64()),
    })))
}
