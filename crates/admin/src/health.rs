//! Stored results of health checks. Source: compat, endpoints §3.9.

use std::collections::BTreeMap;

use faregate_store::{Filter, HealthCheck, ListQuery, Order};
use serde_json::{Value, json};

use crate::Outcome;
use crate::fields::{Field, Holds, field};
use crate::routes::{Answer, Call, Route, route};

const HISTORY: &[Field] = &[
    field("model", Holds::Text, "a model_name"),
    field("status_filter", Holds::Text, "healthy or unhealthy"),
    field("limit", Holds::Int, "100 when absent, 1000 at most"),
    field("offset", Holds::Int, "rows to skip"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/health/history"], Admin, &[], HISTORY, "Health checks, newest first", history),
    route!(
        "GET",
        &["/health/latest"],
        Admin,
        &[],
        &[],
        "The newest health check of every deployment",
        latest
    ),
];

fn row(check: &HealthCheck) -> Value {
    let mut row = json!(check);
    if let Some(members) = row.as_object_mut() {
        members.remove("updated_at");
    }
    row
}

async fn history(call: Call) -> Outcome {
    let number = |name: &str, usual: u64| call.query.get(name).and_then(Value::as_u64).unwrap_or(usual);
    let (limit, offset) = (number("limit", 100).clamp(1, 1000), number("offset", 0));
    let mut query = ListQuery::new().slice(offset, limit).sort("checked_at", Order::Down).uncounted();
    for (name, column) in [("model", "model_name"), ("status_filter", "status")] {
        if let Some(value) = call.asked(name) {
            query = query.filter(Filter::Is(column, json!(value)));
        }
    }
    let found = call.admin.store.list::<HealthCheck>(&query).await?;
    let rows: Vec<Value> = found.rows.iter().map(row).collect();
    Ok(Answer::json(&json!({
        "total_records": rows.len(), "health_checks": rows, "limit": limit, "offset": offset,
    })))
}

async fn latest(call: Call) -> Outcome {
    let checks = call.admin.store.latest_health_checks().await?;
    let name = |check: &HealthCheck| check.model_id.clone().unwrap_or_else(|| check.model_name.clone());
    let rows: BTreeMap<String, Value> = checks.iter().map(|check| (name(check), row(check))).collect();
    Ok(Answer::json(&json!({ "total_models": rows.len(), "latest_health_checks": rows })))
}
