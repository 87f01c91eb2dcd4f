//! `GET /health`: how the deployments are, asked now or found in the background.

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::call::Arrival;
use crate::checkup::{Finding, Verdict, round};
use crate::gate::{Deployment, Gate, Table};
use crate::operation::info::query;
use crate::refusal::Refusal;
use crate::stage::access;
use crate::stage::deliver::answer_json;
use crate::stage::identify::Principal;
use crate::stage::plan::team;

/// What only administrators see. Source: LiteLLM, `ADMIN_ONLY_HEALTH_DISPLAY_PARAMS`.
const ADMIN_ONLY: [&str; 3] = ["api_base", "api_version", "aws_bedrock_runtime_endpoint"];

/// Checks what the caller may use, or the one it names by `model` or `model_id`.
///
/// # Errors
/// 404 for an id that nobody has, 403 for what the caller may not use.
pub async fn check(
    gate: &Arc<Gate>,
    table: &Table,
    principal: &Principal,
    arrival: &Arrival,
) -> Result<Response<Body>, Refusal> {
    let asked = |name: &str| query(arrival, name).filter(|text| !text.is_empty());
    let (model, id) = (asked("model"), asked("model_id"));
    let chosen = targets(table, principal, model.as_deref(), id.as_deref())?;
    let found = if table.checks.in_background {
        let known = |&index: &usize| gate.services.checkups.of(&table.deployments[index].config.id);
        chosen.iter().filter_map(|index| Some((*index, known(index)?))).collect::<Vec<_>>()
    } else {
        let allowed =
            |index: &usize| !(table.checks.skip_disabled && table.deployments[*index].config.info.check.off);
        let chosen: Vec<usize> = chosen.into_iter().filter(allowed).collect();
        // Boxed, so that no other operation carries the room of it.
        let found = Box::pin(round(gate, table, &chosen, Some(principal.label()))).await;
        chosen.into_iter().zip(found).collect()
    };
    let shows_all = principal.is_admin();
    let rows = |well: bool| -> Vec<Value> {
        let of_kind = found.iter().filter(|(_, it)| (it.verdict == Verdict::Healthy) == well);
        of_kind.map(|(index, it)| row(table, &table.deployments[*index], it, shows_all)).collect()
    };
    let (healthy, unhealthy) = (rows(true), rows(false));
    let is_down = healthy.is_empty() && (model.is_some() || id.is_some());
    let mut answer = answer_json(&json!({
        "healthy_count": healthy.len(),
        "unhealthy_count": unhealthy.len(),
        "healthy_endpoints": healthy,
        "unhealthy_endpoints": unhealthy,
    }));
    if is_down {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    if !shows_all {
        let notice = "api_base, api_version, aws_bedrock_runtime_endpoint are admin-only on this endpoint";
        answer.headers_mut().insert("litellm-health-field-notice", HeaderValue::from_static(notice));
    }
    Ok(answer)
}

/// The deployments a question is about, by their index.
fn targets(
    table: &Table,
    principal: &Principal,
    model: Option<&str>,
    id: Option<&str>,
) -> Result<Vec<usize>, Refusal> {
    let team = team(principal);
    let may = |index: &usize| {
        let config = &table.deployments[*index].config;
        let name = match config.info.team_public_model_name.as_deref() {
            Some(name) if config.info.team_id.is_some() => name,
            _ => config.group.as_str(),
        };
        team.may_use(config.info.team_id.as_deref()) && access::sees(table, principal, name)
    };
    let all = || 0..table.deployments.len();
    let is = |index: &usize, id: &str| table.deployments[*index].config.id.as_str() == id;
    let named: Vec<usize> = match (id, model) {
        (Some(id), _) => {
            let found: Vec<usize> = all().filter(|index| is(index, id)).collect();
            if found.is_empty() {
                return Err(Refusal::NotFound(format!("Model with ID {id} not found")));
            }
            found
        }
        (None, Some(model)) => match table.router.resolve(model, table.prefixed(model).as_deref(), team) {
            Ok(found) => found.members.to_vec(),
            Err(_) => all().filter(|&index| table.deployments[index].upstream_model == model).collect(),
        },
        (None, None) => return Ok(all().filter(may).collect()),
    };
    let permitted: Vec<usize> = named.into_iter().filter(may).collect();
    if permitted.is_empty() && !principal.is_admin() {
        let what =
            id.map_or_else(|| format!("model {}", model.unwrap_or_default()), |id| format!("model_id {id}"));
        return Err(Refusal::CheckDenied(what));
    }
    Ok(permitted)
}

/// One deployment as LiteLLM shows it. Source: LiteLLM, `HEALTH_DISPLAY_PARAMS`.
fn row(table: &Table, deployment: &Deployment, finding: &Finding, shows_all: bool) -> Value {
    let (params, info) = (&deployment.config.params, &deployment.config.info);
    let mut row = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() && (shows_all || !ADMIN_ONLY.contains(&name)) {
            row.insert(name.to_owned(), value);
        }
    };
    put("model", json!(params.model));
    put("model_id", json!(deployment.config.id.as_str()));
    if table.checks.details {
        put("custom_llm_provider", json!(params.provider));
        put("mode", json!(info.mode));
        put("base_model", json!(info.base_model));
        put("api_base", json!(params.api_base.as_deref().and_then(|base| base.split('?').next())));
        put("api_version", json!(params.api_version));
        put("aws_bedrock_runtime_endpoint", json!(params.aws.bedrock_runtime_endpoint));
        put("aws_region_name", json!(params.aws.region_name));
        put("region_name", json!(params.region_name));
        put("vertex_project", json!(params.vertex.project));
        put("vertex_location", json!(params.vertex.location));
        put("rpm", json!(params.rpm));
        put("tpm", json!(params.tpm));
        put("error", json!(finding.error));
        for (name, value) in &finding.notes {
            put(name, json!(value));
        }
    }
    put("exception_status", json!(finding.status));
    put("checked_at", json!(jiff::Timestamp::from_millisecond(finding.at).ok().map(|at| at.to_string())));
    put("response_time_ms", json!(finding.took_ms));
    Value::Object(row)
}
