//! How this process does, for those who look after it. Source: compat, endpoints §3.9.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Response};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tracing::level_filters::LevelFilter;

use faregate_wire::dialect::BadRequest;

use super::probes::database;
use crate::body::Body;
use crate::call::Arrival;
use crate::gate::{Gate, Table};
use crate::operation::cache;
use crate::operation::info::query;
use crate::refusal::Refusal;
use crate::stage::deliver::answer_json;
use crate::stage::identify::Principal;

/// Between two looks at what is in flight.
const LOOK: Duration = Duration::from_millis(20);

/// What LiteLLM can send a test event to. Source: compat, behaviour §13.
const SERVICES: &[&str] = &[
    "arize",
    "braintrust",
    "custom_callback_api",
    "datadog",
    "datadog_llm_observability",
    "datadog_metrics",
    "email",
    "galileo",
    "generic_api",
    "langfuse",
    "langfuse_otel",
    "langsmith",
    "ms_teams",
    "newrelic",
    "openmeter",
    "otel",
    "pointfive",
    "signoz",
    "slack",
    "slack_budget_alerts",
    "sqs",
    "webhook",
];

fn for_admins(principal: &Principal) -> Result<(), Refusal> {
    if principal.is_admin() { Ok(()) } else { Err(Refusal::AdminOnly) }
}

/// Everything readiness depends on.
pub(super) fn in_detail(gate: &Gate, table: &Table) -> Value {
    let level = LevelFilter::current();
    let cache = table.answers.as_ref().map(|answers| cache::word(&answers.settings));
    json!({
        "status": "healthy",
        "db": database(gate).1,
        "cache": cache,
        "litellm_version": env!("CARGO_PKG_VERSION"),
        "success_callbacks": table.settings.callbacks,
        "use_aiohttp_transport": false,
        "log_level": level.to_string().to_uppercase(),
        "is_detailed_debug": level >= LevelFilter::DEBUG,
        "show_no_redis_warning": false,
        "show_env_credential_login_warning": false,
    })
}

/// `GET /health/readiness/details`.
///
/// # Errors
/// 401 for all but administrators.
pub fn details(gate: &Gate, table: &Table, principal: &Principal) -> Result<Response<Body>, Refusal> {
    for_admins(principal)?;
    let mut answer = answer_json(&in_detail(gate, table));
    *answer.status_mut() = database(gate).0;
    Ok(answer)
}

/// `GET /health/backlog`: what is in flight, waits, and was turned away.
///
/// # Errors
/// 401 for all but administrators.
pub fn backlog(gate: &Gate, principal: &Principal) -> Result<Response<Body>, Refusal> {
    for_admins(principal)?;
    let (in_flight, waiting) = (gate.settler.in_flight(), gate.health.queue().waiting());
    Ok(answer_json(&json!({
        "in_flight_requests": in_flight,
        "admitted_requests": in_flight.saturating_sub(waiting as u64),
        "queued_requests": waiting,
        "rejected_requests": gate.turned_away.load(Ordering::Relaxed),
    })))
}

/// `GET /health/license`: there is none to have.
///
/// # Errors
/// 401 for all but administrators.
pub fn license(principal: &Principal) -> Result<Response<Body>, Refusal> {
    for_admins(principal)?;
    Ok(answer_json(&json!({
        "has_license": false,
        "license_type": "community",
        "expiration_date": null,
        "allowed_features": [],
        "limits": { "max_users": null, "max_teams": null },
    })))
}

/// `GET /health/shared-status`: whether replicas share what their checks find.
///
/// # Errors
/// 401 for all but administrators.
pub fn shared_status(gate: &Gate, table: &Table, principal: &Principal) -> Result<Response<Body>, Refusal> {
    for_admins(principal)?;
    let checkups = &gate.services.checkups;
    if !checkups.is_shared() {
        let message = "This replica is alone: neither Redis nor PostgreSQL is shared";
        return Ok(answer_json(&json!({ "shared_health_check_enabled": false, "message": message })));
    }
    let ages = table.deployments.iter().filter_map(|it| checkups.age(&it.config.id));
    Ok(answer_json(&json!({
        "shared_health_check_enabled": true,
        "status": {
            "background_health_checks": table.checks.in_background,
            "interval_seconds": table.checks.interval.as_secs_f64(),
            "last_heard_seconds_ago": checkups.silent_for().as_secs_f64(),
            "newest_result_seconds_ago": ages.min().map(|age| age.as_secs_f64()),
        },
    })))
}

/// `GET /health/services`: sends a test event to a callback or alert channel.
///
/// # Errors
/// 400 for a service nobody knows, 501 for the others: none is built.
pub fn services(principal: &Principal, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    for_admins(principal)?;
    let service = query(arrival, "service").filter(|text| !text.is_empty());
    let Some(service) = service else {
        return Err(BadRequest::new("service", "Service must be specified.").into());
    };
    if !SERVICES.contains(&service.as_str()) {
        let text = format!("Service must be in list. Service={service} not in {SERVICES:?}");
        return Err(BadRequest::new("service", text).into());
    }
    Err(Refusal::NotImplemented(format!("{service} cannot be tested: this version sends no events to it")))
}

/// `GET /health/drain`: takes the process out of rotation and answers when nothing is in flight any more, or when
/// the time for that is over.
///
/// # Errors
/// 404 unless it is enabled; 401 without its token.
pub async fn drain(gate: &Gate, table: &Table, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let checks = &table.checks;
    if !checks.drains {
        return Err(Refusal::NotFound("Not Found".to_owned()));
    }
    if let Some(token) = &checks.drain_token {
        let shown = headers.get("x-drain-token").map(HeaderValue::as_bytes).unwrap_or_default();
        if !bool::from(shown.ct_eq(token.expose().as_bytes())) {
            return Err(Refusal::NoDrainToken);
        }
    }
    gate.ending.store(true, Ordering::Release);
    tracing::info!("draining: probes answer 503 from now on");
    let began = gate.settler.in_flight();
    let end = Instant::now() + checks.drain_time;
    while gate.settler.in_flight() > 0 && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
    let left = gate.settler.in_flight();
    let status = if left == 0 { "drained" } else { "timeout" };
    let drained = began.saturating_sub(left);
    Ok(answer_json(&json!({ "status": status, "drained_requests": drained, "in_flight_requests": left })))
}
