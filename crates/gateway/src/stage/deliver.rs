//! The provider's answer → the client's, with the headers LiteLLM's clients read.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use faregate_terms::Usage;
use faregate_wire::dialect::{Dialect, ErrorNote, Losses};
use faregate_wire::envelope::splice_model;
use faregate_wire::json;

use crate::body::Body;
use crate::call::Call;
use crate::refusal::Refusal;
use crate::routes::Operation;
use crate::stage::admit::Admitted;
use crate::stage::labels::{self, describe, put};
use crate::stage::lookup::Cached;
use crate::stage::render::render;
use crate::stage::send::{Answer, JSON};
use crate::stage::settle::{Recorded, estimate};

/// Renders `answer` for the client and lets the admitted request go with it. A whole answer must not go out
/// before it is on record; a stream sees to that itself.
pub fn deliver(call: &Arc<Call>, mut admitted: Box<Admitted>, answer: Answer) -> (Response<Body>, Recorded) {
    admitted.meter.status = 200;
    match answer {
        Answer::Same { body, headers, glance } => {
            note(&mut admitted, &glance.usage, glance.id);
            let mut out = Vec::with_capacity(body.len() + 32);
            let name = json::write(&call.model);
            let named = admitted.meter.destination.as_ref().is_some_and(|it| it.codec().names_model());
            let body = if named && splice_model(&body, &name, &mut out) { Bytes::from(out) } else { body };
            whole(call, admitted, body, JSON, &headers)
        }
        Answer::Made { body, kind, headers, glance } => {
            note(&mut admitted, &glance.usage, glance.id);
            whole(call, admitted, body, kind, &headers)
        }
        Answer::Translated { response, headers } => {
            note(&mut admitted, &response.usage, response.id.clone());
            let mut losses = Losses::default();
            let body = render(call, &response, &mut losses);
            admitted.meter.losses.extend(losses.into_names());
            whole(call, admitted, Bytes::from(body), JSON, &headers)
        }
        Answer::Cached(kept) => cached(call, admitted, *kept),
        Answer::Stream { mut pump, headers } => {
            admitted.meter.stream = true;
            let mut out = stream_head(call);
            describe(call, &admitted, &headers, &mut out);
            pump.carry(admitted);
            (respond(StatusCode::OK, out, Body::stream(pump)), Recorded::default())
        }
    }
}

/// Headers of an answer for which there is room from the start: ours, the key's limits, the provider's.
const HEADERS: usize = 48;

fn stream_head(call: &Call) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(HEADERS);
    let kind = call.client.stream_type(call.alt_sse);
    out.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Tells nginx in front of us not to hold the stream back.
    out.insert("x-accel-buffering", HeaderValue::from_static("no"));
    out
}

/// An answer that was kept: it costs nothing, and says what that saved.
fn cached(call: &Arc<Call>, mut admitted: Box<Admitted>, kept: Cached) -> (Response<Body>, Recorded) {
    let mut headers = if call.stream { stream_head(call) } else { HeaderMap::with_capacity(24) };
    if !call.stream {
        headers.insert(CONTENT_TYPE, kept.kind.clone().unwrap_or(JSON));
    }
    admitted.meter.stream = call.stream;
    admitted.first_output();
    describe(call, &admitted, &HeaderMap::new(), &mut headers);
    put(&mut headers, &labels::COST, "0");
    if let Some(looked) = &admitted.meter.looked {
        put(&mut headers, &labels::CACHE_KEY, &looked.key);
        if let Some(similarity) = looked.similarity {
            put(&mut headers, &labels::SIMILARITY, &similarity.to_string());
        }
        if let Some(saved) = looked.hit.as_ref().and_then(|facts| facts.cost) {
            put(&mut headers, &labels::CACHE_SAVED, &saved.to_string());
        }
    }
    if let Some(transcript) = &mut admitted.meter.transcript {
        transcript.piece(&kept.body);
    }
    admitted.complete();
    let recorded = admitted.settle();
    (respond(StatusCode::OK, headers, Body::full(kept.body)), recorded)
}

/// Takes from a whole answer what the receipt needs.
fn note(admitted: &mut Admitted, usage: &Usage, id: String) {
    admitted.meter.usage.absorb(usage);
    if !id.is_empty() {
        admitted.meter.upstream_id = Some(id);
    }
}

fn whole(
    call: &Arc<Call>,
    mut admitted: Box<Admitted>,
    body: Bytes,
    kind: HeaderValue,
    upstream: &HeaderMap,
) -> (Response<Body>, Recorded) {
    admitted.meter.output_bytes = body.len() as u64;
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(CONTENT_TYPE, kind);
    if let Some(keep) = &mut admitted.keep {
        keep.kind(&headers[CONTENT_TYPE]);
    }
    admitted.complete();
    // What nobody counted is counted before it is priced.
    estimate(&mut admitted.meter);
    let cost = admitted.meter.price();
    describe(call, &admitted, upstream, &mut headers);
    if let Some(cost) = cost {
        let cost = cost.text();
        put(&mut headers, &labels::COST, cost.as_str());
        put(&mut headers, &labels::COST_ORIGINAL, cost.as_str());
    }
    if let Some(transcript) = &mut admitted.meter.transcript {
        transcript.piece(&body);
    }
    if let Some(mut keep) = admitted.keep.take() {
        keep.piece(&body);
        keep.finish(&mut admitted);
    }
    let recorded = admitted.settle();
    (respond(StatusCode::OK, headers, Body::full(body)), recorded)
}

/// Renders a refusal in the dialect of the route that was called.
pub fn refuse(operation: Operation, refusal: &Refusal, call_id: &str) -> Response<Body> {
    let note = refusal.note(call_id);
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    put(&mut headers, &labels::CALL_ID, call_id);
    headers.insert(labels::VERSION.clone(), labels::OUR_VERSION);
    put(&mut headers, &labels::COST, "0");
    if let Some(wait) = refusal.retry_after() {
        put(&mut headers, &RETRY_AFTER, &wait.as_secs_f64().ceil().to_string());
    }
    for (name, value) in refusal.headers() {
        put(&mut headers, &HeaderName::from_static(name), value);
    }
    if let Refusal::WrongMethod(methods) = refusal {
        put(&mut headers, &ALLOW, &methods.join(", "));
    }
    let client = crate::stage::decode::client_of(operation).map(|(_, client)| client);
    let body = match client {
        Some(client) => {
            for (name, value) in client.error_headers(&note) {
                put(&mut headers, &HeaderName::from_static(name), &value);
            }
            client.error(&note)
        }
        None => openai_error(&note),
    };
    let status = StatusCode::from_u16(note.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, headers, Body::full(body))
}

/// The error shape of routes without a dialect of their own.
fn openai_error(note: &ErrorNote) -> Vec<u8> {
    Dialect::OpenAiChat.client().map_or_else(Vec::new, |client| client.error(note))
}

/// A JSON answer of the gateway's own.
pub fn answer_json(value: &serde_json::Value) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    respond(StatusCode::OK, headers, Body::full(json::write(value)))
}

/// Puts a response together.
pub fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
