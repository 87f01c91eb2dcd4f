//! `POST /route/explain`: a chat request → which deployments it would try, and why. Calls and counts nothing.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use faregate_router::{Excluded, Facts, Seeded};
use faregate_terms::FaultClass;

use crate::body::Body;
use crate::call::{Arrival, Call};
use crate::gate::{Gate, Table};
use crate::health::Now;
use crate::refusal::Refusal;
use crate::routes::{Found, Operation};
use crate::stage::decode::decode;
use crate::stage::deliver::answer_json;
use crate::stage::fallback::{chain_after, check_groups};
use crate::stage::identify::Principal;
use crate::stage::plan::{Asker, Expected, Planned, Wanted, plan};
use crate::stage::{access, account};

/// Explains a request of the dialect of chat completions.
///
/// # Errors
/// As the request itself would be refused before anybody is asked.
pub async fn route(
    gate: &Gate,
    table: &Table,
    principal: &Principal,
    arrival: Arrival,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    let input_bytes = body.len() as u64;
    let mut arrival = arrival;
    let route = arrival.found.route;
    arrival.found = Found { operation: Operation::ChatCompletions, route, subject: None, verb: None };
    let mut account = account::of(principal, &arrival);
    let call = decode(arrival, body, false)?;
    account::label(&mut account, &call.options.labels);
    access::model(table, principal, &call.model)?;
    check_groups(table, &call, principal)?;
    let asker = Asker { principal, account: &account, input_bytes };
    let mut dice: Seeded = gate.dice();
    let planned = plan(gate, table, &call, asker, &mut dice).await?;
    let group = planned.resolved.group.as_str();
    let fallbacks = |class| -> Vec<String> {
        let chain = chain_after(table, &call, principal, &call.model, group, class);
        chain.iter().flat_map(|chain| chain.iter()).map(|target| target.group.clone()).collect()
    };
    let refusal = planned.plan.as_ref().err().map(
        |refusal| json!({"status": refusal.status(), "type": refusal.kind(), "message": refusal.to_string()}),
    );
    Ok(answer_json(&json!({
        "model": call.model,
        "model_group": group,
        "strategy": planned.plan.as_ref().ok().map(|plan| plan.reason),
        "candidates": candidates(gate, table, &call, &planned, asker).await?,
        "plan": levels(table, &planned),
        "fallbacks": fallbacks(None),
        "context_window_fallbacks": fallbacks(Some(FaultClass::ContextWindow)),
        "content_policy_fallbacks": fallbacks(Some(FaultClass::ContentPolicy)),
        "refusal": refusal,
    })))
}

/// Ids of deployments in the order they would be tried, one list for each level of `order`.
fn levels(table: &Table, planned: &Planned) -> Vec<Vec<String>> {
    let Ok(plan) = &planned.plan else { return Vec::new() };
    let id = |&index: &usize| table.deployments[index].config.id.to_string();
    (0..plan.levels()).map(|level| plan.level(level).iter().map(id).collect()).collect()
}

/// Every deployment of the group, with what the strategies look at.
async fn candidates(
    gate: &Gate,
    table: &Table,
    call: &Call,
    planned: &Planned,
    asker: Asker<'_>,
) -> Result<Vec<Value>, Refusal> {
    let resolved = &planned.resolved;
    let wanted = Wanted::of(gate, table, call, resolved, asker).await?;
    let expected = Expected::of(gate, table, call, resolved, asker);
    let now = Now::of(&gate.health, table, expected.total());
    let judged = table.router.judged(resolved, &wanted.wish(call, asker), &now);
    let row = |(index, excluded): (usize, Option<Excluded>)| {
        let deployment = &table.router.deployments()[index];
        let rest = gate.health.cooldowns().resting(&deployment.id);
        json!({
            "deployment": deployment.id,
            "excluded": excluded.map(Excluded::word),
            "rests_until": rest.as_ref().map(|rest| rest.until.to_string()),
            "rests_for": rest.as_ref().map(|rest| rest.reason.to_string()),
            "order": deployment.order,
            "weight": deployment.weight,
            "rpm": deployment.rpm,
            "tpm": deployment.tpm,
            "in_flight": now.in_flight(index),
            "tokens_this_minute": now.tokens(index),
            "latency_seconds": now.latency(index, call.stream),
            "usd_per_million_tokens": deployment.price.map(faregate_terms::PicoUsd::to_f64),
            "is_on_trial": now.is_on_trial(index),
            "is_busy": now.is_busy(index),
        })
    };
    // Deployments of other teams are nobody's business.
    let shown = judged.into_iter().filter(|(_, excluded)| *excluded != Some(Excluded::Team));
    Ok(shown.map(row).collect())
}
