//! OpenAI responses beyond one answer: continuing, fetching, deleting and cancelling stored ones.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use faregate_wire::dialect::{BadRequest, ClientCall, Dialect, openai_responses};
use faregate_wire::envelope::Mark;

use crate::body::Body;
use crate::call::{Arrival, Call};
use crate::gate::Gate;
use crate::health;
use crate::refusal::Refusal;
use crate::sessions::Stored;
use crate::stage::admit::Admitted;
use crate::stage::deliver::answer_json;
use crate::stage::render::render;
use crate::stage::send::Answer;
use crate::stage::settle::Recorded;

/// Continues from a stored response: its conversation goes in front of the new input, and items that are
/// referred to by id take the place of their references.
///
/// # Errors
/// 404 if `previous_response_id` names none.
pub fn resume(gate: &Arc<Gate>, call: &Arc<Call>) -> Result<(), Refusal> {
    if call.dialect != Dialect::OpenAiResponses {
        return Ok(());
    }
    let previous = call.envelope.get::<String>("previous_response_id");
    let refers = call.envelope.mentions(Mark::ItemReference);
    if previous.is_none() && !refers {
        return Ok(());
    }
    let mut items: Vec<Value> = Vec::new();
    if let Some(previous) = previous {
        let stored = gate.sessions.get(&previous).ok_or_else(|| {
            Refusal::NotFound(format!(
                "Previous response with id '{previous}' not found. Stored responses live in this replica's \
                 memory; send the whole conversation as `input` instead"
            ))
        })?;
        items.extend(stored.input.iter().chain(stored.output.iter()).cloned());
    }
    items.extend(openai_responses::input_items(call.envelope.body()).map_err(Refusal::Invalid)?);
    for item in &mut items {
        if item.get("type").and_then(Value::as_str) == Some("item_reference")
            && let Some(found) = item.get("id").and_then(Value::as_str).and_then(|id| gate.sessions.item(id))
        {
            *item = found;
        }
    }
    let input = faregate_wire::json::write(&items);
    let members = [("input", input.as_slice())];
    let body = call.envelope.merged(members.iter().copied(), true);
    let client_call =
        ClientCall { path_model: Some(&call.model), path_stream: Some(call.stream), alt_sse: false };
    let request = call.client.decode(&body, &client_call)?;
    call.preset(Arc::new(request));
    Ok(())
}

/// Hands the answer to `deliver`, and keeps it if it is a response that may be stored.
pub fn finish(
    gate: &Arc<Gate>,
    call: &Arc<Call>,
    admitted: Box<Admitted>,
    mut answer: Answer,
    deliver: impl FnOnce(&Arc<Call>, Box<Admitted>, Answer) -> (Response<Body>, Recorded),
) -> (Response<Body>, Recorded) {
    let is_ours = call.dialect == Dialect::OpenAiResponses;
    let storable = is_ours && call.envelope.raw("store") != Some(b"false");
    let ties = admitted.ties.filter(|_| is_ours);
    if !storable && ties.is_none() {
        return deliver(call, admitted, answer);
    }
    let deployment = admitted.meter.destination.as_ref().map(|it| it.deployment.clone());
    let note = {
        let (gate, call) = (Arc::clone(gate), Arc::clone(call));
        move |body: &Bytes| {
            if storable {
                keep(&gate, &call, body);
            }
            if let (Some(ties), Some(deployment)) = (ties, &deployment) {
                health::keep(&gate.health.affinity, &ties.of(body), deployment);
            }
        }
    };
    match &mut answer {
        Answer::Same { body, .. } | Answer::Made { body, .. } => note(body),
        Answer::Translated { response, .. } => {
            let body = render(call, response, &mut faregate_wire::dialect::Losses::default());
            note(&Bytes::from(body));
        }
        // What another replica answered, or this one has forgotten, can be continued as well.
        Answer::Cached(kept) => {
            if let Some(body) = kept.whole(call).filter(|body| storable && is_new(gate, body)) {
                keep(gate, call, &body);
            }
        }
        Answer::Stream { pump, .. } => {
            let call = Arc::clone(call);
            pump.on_done(Box::new(move |response| {
                let body = render(&call, &response, &mut faregate_wire::dialect::Losses::default());
                note(&Bytes::from(body));
            }));
        }
    }
    deliver(call, admitted, answer)
}

/// True if no response is stored by the id of this one.
fn is_new(gate: &Gate, body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    serde_json::from_slice::<Named>(body).is_ok_and(|named| gate.sessions.get(&named.id).is_none())
}

fn keep(gate: &Arc<Gate>, call: &Call, body: &Bytes) {
    let Ok(mut response) = serde_json::from_slice::<Value>(body) else { return };
    let Some(id) = response.get("id").and_then(Value::as_str).map(str::to_owned) else { return };
    if let Some(members) = response.as_object_mut() {
        members.insert("model".to_owned(), json!(call.model));
    }
    let mut input: Vec<Value> = Vec::new();
    if let Some(stored) =
        call.envelope.get::<String>("previous_response_id").and_then(|id| gate.sessions.get(&id))
    {
        input.extend(stored.input.iter().chain(stored.output.iter()).cloned());
    }
    input.extend(openai_responses::input_items(call.envelope.body()).unwrap_or_default());
    let output = response.get("output").and_then(Value::as_array).cloned().unwrap_or_default();
    gate.sessions.keep(&id, Stored::new(response, input, output, body));
}

/// `GET /v1/responses/{id}`.
///
/// # Errors
/// 404 if there is none.
pub fn get(gate: &Gate, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    Ok(answer_json(&stored(gate, arrival)?.response))
}

/// `DELETE /v1/responses/{id}`.
///
/// # Errors
/// 404 if there is none.
pub fn delete(gate: &Gate, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    let id = arrival.found.subject.clone().unwrap_or_default();
    if !gate.sessions.remove(&id) {
        return Err(unknown(&id));
    }
    Ok(answer_json(&json!({ "id": id, "object": "response", "deleted": true })))
}

/// `POST /v1/responses/{id}/cancel`. Only background responses can be cancelled, and this version makes
/// none: every stored response is complete.
///
/// # Errors
/// 404 if there is none, 400 as it is complete.
pub fn cancel(gate: &Gate, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    stored(gate, arrival)?;
    Err(BadRequest::new(
        "response_id",
        "Cannot cancel a synchronous response: it is complete. Close the connection to stop one that runs",
    )
    .into())
}

/// `GET /v1/responses/{id}/input_items`.
///
/// # Errors
/// 404 if there is none.
pub fn input_items(gate: &Gate, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    let stored = stored(gate, arrival)?;
    // The API lists newest first and gives every item an id.
    let mut seen = HashSet::new();
    let data: Vec<Value> = stored
        .input
        .iter()
        .enumerate()
        .rev()
        .map(|(index, item)| {
            let mut item = item.clone();
            if let Some(members) = item.as_object_mut() {
                let id = members.get("id").and_then(Value::as_str).map(str::to_owned);
                let id = id.filter(|id| seen.insert(id.clone())).unwrap_or_else(|| format!("item_{index}"));
                members.insert("id".to_owned(), json!(id));
            }
            item
        })
        .collect();
    let id = |item: Option<&Value>| item.and_then(|item| item.get("id").cloned()).unwrap_or(Value::Null);
    Ok(answer_json(&json!({
        "object": "list",
        "first_id": id(data.first()),
        "last_id": id(data.last()),
        "has_more": false,
        "data": data,
    })))
}

fn stored(gate: &Gate, arrival: &Arrival) -> Result<Stored, Refusal> {
    let id = arrival.found.subject.clone().unwrap_or_default();
    gate.sessions.get(&id).ok_or_else(|| unknown(&id))
}

fn unknown(id: &str) -> Refusal {
    Refusal::NotFound(format!("Response with id '{id}' not found"))
}
