//! `POST /route/explain`: a chat request → which deployments it would try, and why. Calls and counts nothing, but for
//! the vectors that an auto router chooses by. A
//! request with `x-faregate-explain: true` gets the same told in a header of its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use serde_json::{Map, Value, json};

use faregate_router::{Excluded, Facts, Seeded};
use faregate_terms::{AttemptNote, FaultClass};

use crate::auto_router::Choice;
use crate::body::Body;
use crate::call::{Arrival, Call};
use crate::gate::{Gate, Table};
use crate::health::Now;
use crate::refusal::Refusal;
use crate::routes::{Found, Operation};
use crate::stage::admit::Meter;
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
    gate: &Arc<Gate>,
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
    let mut call = decode(arrival, body, false)?;
    account::label(&mut account, &call.options.labels);
    access::model(table, principal, &call.model)?;
    let asker = Asker { principal, account: &account, input_bytes };
    let mut choice = None;
    if let Some(router) = table.auto_router(&call.model) {
        let chosen = router.choose(gate, table, &call, asker).await;
        call = call.redirected(&chosen.group, &Map::new())?;
        choice = Some(chosen.explained());
    }
    check_groups(table, &call, principal)?;
    let mut dice: Seeded = gate.dice();
    let planned = plan(gate, table, &call, asker, &mut dice).await?;
    let group = planned.resolved.group.as_str();
    let fallbacks = |class| -> Vec<String> {
        let chain = chain_after(table, &call, principal, &call.model, group, class);
        chain.iter().flat_map(|chain| chain.iter()).map(|target| target.group.clone()).collect()
    };
    Ok(answer_json(&json!({
        "model": call.model,
        "model_group": group,
        "auto_router": choice,
        "strategy": strategy(&planned),
        "candidates": candidates(gate, table, &call, &planned, asker).await?,
        "plan": levels(table, &planned),
        "plan_is_partial": planned.plan.as_ref().is_ok_and(faregate_router::Plan::is_partial),
        "fallbacks": fallbacks(None),
        "context_window_fallbacks": fallbacks(Some(FaultClass::ContextWindow)),
        "content_policy_fallbacks": fallbacks(Some(FaultClass::ContentPolicy)),
        "refusal": refusal(&planned),
    })))
}

/// The plan of a request that was asked to explain itself, told in a header of its answer.
pub struct Explained {
    facts: Value,
    candidates: Vec<Value>,
}

/// Asks a request to explain itself, and carries the explanation.
pub static EXPLAIN: HeaderName = HeaderName::from_static("x-faregate-explain");
/// Proxies refuse longer headers.
const LONGEST: usize = 4096;

impl Explained {
    /// Looks at what a request may try; `None` if it does not ask, or may not know.
    ///
    /// # Errors
    /// If the body has to be read for that and cannot be.
    pub async fn of(
        gate: &Gate,
        table: &Table,
        call: &Call,
        planned: &Planned,
        asker: Asker<'_>,
        choice: Option<&Choice>,
    ) -> Result<Option<Box<Self>>, Refusal> {
        let asks = call.arrival.headers.get(&EXPLAIN).is_some_and(|value| value.as_bytes() != b"false");
        if !asks || !access::may(asker.principal, Operation::RouteExplain) {
            return Ok(None);
        }
        let brief = |row: Value| {
            let kept = |name: &str| row.get(name).filter(|value| !value.is_null()).cloned();
            let members = ["deployment", "excluded", "rests_for", "score"];
            members.into_iter().filter_map(|name| Some((name.to_owned(), kept(name)?))).collect()
        };
        let candidates = candidates(gate, table, call, planned, asker).await?;
        let facts = json!({
            "model_group": planned.resolved.group.as_str(),
            "auto_router": choice.map(Choice::explained),
            "strategy": strategy(planned),
            "plan": levels(table, planned),
        });
        Ok(Some(Box::new(Self { facts, candidates: candidates.into_iter().map(brief).collect() })))
    }

    /// The same with what became of it; as many candidates as a header may hold.
    pub fn header(mut self, meter: &Meter) -> Option<HeaderValue> {
        let ms = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        let attempt = |note: &AttemptNote| {
            json!({
                "deployment": note.deployment, "start_ms": ms(note.start), "wait_ms": ms(note.wait),
                "duration_ms": ms(note.duration), "fault": note.fault.map(FaultClass::name),
                "discarded": note.discarded.is_some(), "continued": note.continued.is_some(),
            })
        };
        self.facts["attempts"] = meter.attempts.iter().map(attempt).collect();
        self.facts["answered_by"] = json!(meter.destination.as_deref().map(|it| it.deployment.as_str()));
        self.facts["answered_group"] = json!(meter.group);
        let shown = self.candidates.len();
        for left_out in [0, shown / 2, shown - shown / 8, shown - shown / 64, shown] {
            let shown = &self.candidates[..shown - left_out];
            self.facts["candidates"] = json!(shown);
            self.facts["candidates_left_out"] = json!(left_out);
            let text = ascii(&self.facts.to_string());
            if text.len() <= LONGEST {
                return HeaderValue::try_from(text).ok();
            }
            // Of a large group the order is as long.
            if left_out == self.candidates.len() {
                self.facts["plan"] = json!("too long for a header");
            }
        }
        HeaderValue::try_from(ascii(&self.facts.to_string())).ok().filter(|value| value.len() <= LONGEST)
    }
}

/// JSON with every character beyond ASCII escaped, as headers need it.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn strategy(planned: &Planned) -> Option<&'static str> {
    planned.plan.as_ref().ok().map(|plan| plan.reason)
}

fn refusal(planned: &Planned) -> Option<Value> {
    let refusal = planned.plan.as_ref().err()?;
    Some(json!({"status": refusal.status(), "type": refusal.kind(), "message": refusal.to_string()}))
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
    let now = Now::of(&gate.health, table, &resolved.members, &planned.budgets, expected.total());
    let wish = wanted.wish(call, asker);
    let judged = table.router.judged(resolved, &wish, &now);
    let row = |(index, excluded): (usize, Option<Excluded>)| {
        let deployment = &table.router.deployments()[index];
        let rest = gate.health.cooldowns().resting(&deployment.id);
        json!({
            "deployment": deployment.id,
            "excluded": excluded.map(Excluded::word),
            "rests_until": rest.as_ref().map(|rest| rest.until.to_string()),
            "rests_for": rest.as_ref().map(|rest| rest.reason.to_string()),
            "score": table.router.score(resolved, index, &wish, &now),
            "order": resolved.members.order(index, table.router.deployments()),
            "weight": deployment.weight,
            "rpm": deployment.rpm,
            "tpm": deployment.tpm,
            "in_flight": now.in_flight(index),
            "tokens_this_minute": now.tokens(index),
            "latency_seconds": now.latency(index, call.stream),
            "usd_per_million_tokens": deployment.price.map(faregate_terms::PicoUsd::to_f64),
            "is_on_trial": now.is_on_trial(index),
            "is_busy": now.is_busy(index),
            "failed_health_check": gate.services.checkups.is_out(&deployment.id),
            "is_shaky": now.is_shaky(index),
            "keys_out": table.deployments[index].keyring.as_ref().map(|ring| ring.out().0),
        })
    };
    // Deployments of other teams are nobody's business.
    let shown = judged.into_iter().filter(|(_, excluded)| *excluded != Some(Excluded::Team));
    Ok(shown.map(row).collect())
}
