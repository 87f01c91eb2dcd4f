//! Who changed what. Source: compat, endpoints §2.16.

use faregate_store::{AuditLog, Filter, ListQuery, Order};
use serde_json::json;

use crate::Outcome;
use crate::fields::{Field, Holds, field};
use crate::routes::{Answer, Call, Route, route};

const LIST: &[Field] = &[
    field("page", Holds::Int, "from 1"),
    field("page_size", Holds::Int, "10 when absent, 100 at most"),
    field("changed_by", Holds::Text, ""),
    field("changed_by_api_key", Holds::Text, ""),
    field("action", Holds::Text, "created, updated, deleted, blocked or rotated"),
    field("table_name", Holds::Text, ""),
    field("object_id", Holds::Text, ""),
    field("start_date", Holds::Text, ""),
    field("end_date", Holds::Text, ""),
    field("sort_by", Holds::Text, "a column; updated_at when absent"),
    field("sort_order", Holds::Text, "asc or desc"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/audit"], Admin, &[], LIST, "Changes, newest first", list),
    route!("GET", &["/audit/{id}"], Admin, &[], &[], "One change", one),
];

async fn list(call: Call) -> Outcome {
    let (page, size) = call.page("page_size", 10, 100);
    let mut query = ListQuery::new().page(page, size);
    for name in ["changed_by", "changed_by_api_key", "action", "table_name", "object_id"] {
        if let Some(value) = call.asked(name) {
            query = query.filter(Filter::Is(name, json!(value)));
        }
    }
    if let Some(from) = call.asked("start_date") {
        query = query.filter(Filter::AtLeast("updated_at", json!(from)));
    }
    if let Some(to) = call.asked("end_date") {
        query = query.filter(Filter::AtMost("updated_at", json!(to)));
    }
    let order = if call.asked("sort_order") == Some("asc") { Order::Up } else { Order::Down };
    let found = call
        .admin
        .store
        .list::<AuditLog>(&query.sort(call.asked("sort_by").unwrap_or("updated_at"), order))
        .await?;
    Ok(Answer::json(&json!({
        "audit_logs": found.rows,
        "total": found.total,
        "page": page,
        "page_size": size,
        "total_pages": found.total.div_ceil(size),
    })))
}

async fn one(call: Call) -> Outcome {
    let id = call.path.get("id").map(String::as_str).unwrap_or_default();
    let row: AuditLog = call.admin.row(&[id], || format!("Audit log {id} not found")).await?;
    Ok(Answer::json(&row))
}
