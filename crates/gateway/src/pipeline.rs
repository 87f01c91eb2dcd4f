//! The path of a request, top to bottom.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use serde_json::Map;
use uuid::Uuid;

use faregate_terms::CallId;

use crate::body::Body;
use crate::call::{Arrival, Call};
use crate::gate::{Gate, Table};
use crate::operation;
use crate::operation::explain::Explained;
use crate::refusal::Refusal;
use crate::routes::{Found, Operation};
use crate::stage::admit::Admitted;
use crate::stage::attempt::attempt;
use crate::stage::decode::{self, decode};
use crate::stage::deliver::{deliver, refuse};
use crate::stage::identify::{Principal, client_address, identify};
use crate::stage::lookup::lookup;
use crate::stage::plan::plan;
use crate::stage::relay::{self, Relay};
use crate::stage::reserve::reserve;
use crate::stage::send::Answer;
use crate::stage::transcript::Transcript;
use crate::stage::{access, account, fallback, items, mirror};

/// The longest `x-litellm-call-id` taken over from a client.
const MAX_CALL_ID: usize = 128;
/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);

/// A request head with the connection's facts.
pub struct Incoming<B> {
    /// Method.
    pub method: Method,
    /// Query string.
    pub query: Option<String>,
    /// Headers.
    pub headers: HeaderMap,
    /// The peer's address.
    pub client_ip: Option<IpAddr>,
    /// The body, not yet read.
    pub body: B,
}

/// Serves one request of the data plane.
pub async fn serve<B>(gate: &Arc<Gate>, found: Found, incoming: Incoming<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let table = gate.table.load_full();
    let operation = found.operation;
    let is_for_models = operation::goes_to_models(&found);
    let Incoming { query, headers, client_ip, body, .. } = incoming;
    let client_ip = client_address(client_ip, &headers, table.settings.forwarded_for);
    let arrival = arrival(found, query, headers, client_ip);
    let call_id = arrival.id.clone();
    let served = if is_for_models {
        model(gate, &table, Arc::new(arrival), body).await
    } else {
        // Boxed, so that a model's call does not carry the room of every other operation.
        Box::pin(operation::serve(gate, &table, arrival, body)).await
    };
    served.unwrap_or_else(|refusal| refuse(operation, &refusal, call_id.as_str()))
}

/// Serves one request to a model, a chat of any dialect or a task, from first byte to receipt.
async fn model<B>(
    gate: &Arc<Gate>,
    table: &Table,
    arrival: Arc<Arrival>,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let principal = identify(gate, table, &arrival).await?;
    access::route(&principal, &arrival)?;
    let mut admitted = Admitted::new(Arc::clone(&gate.settler), principal, Arc::clone(&arrival));
    let outcome = answer(gate, table, arrival, body, &mut admitted).await;
    match outcome {
        Ok((call, answer)) => {
            let explained = explanation(&mut admitted);
            let (mut response, recorded) =
                operation::responses::finish(gate, &call, admitted, answer, deliver);
            recorded.await;
            explain(&mut response, explained);
            Ok(response)
        }
        Err(refusal) => {
            admitted.refused(&refusal);
            let Some(explained) = explanation(&mut admitted) else { return Err(refusal) };
            let arrival = &admitted.meter.arrival;
            let mut response = refuse(arrival.found.operation, &refusal, arrival.id.as_str());
            explain(&mut response, Some(explained));
            Ok(response)
        }
    }
}

/// What a request that asked for it is told about its routing.
fn explanation(admitted: &mut Admitted) -> Option<HeaderValue> {
    admitted.explained.take()?.header(&admitted.meter)
}

fn explain(response: &mut Response<Body>, explained: Option<HeaderValue>) {
    if let Some(explained) = explained {
        response.headers_mut().insert(operation::explain::EXPLAIN.clone(), explained);
    }
}

async fn answer<B>(
    gate: &Arc<Gate>,
    table: &Table,
    arrival: Arc<Arrival>,
    body: B,
    admitted: &mut Admitted,
) -> Result<(Arc<Call>, Answer), Refusal>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bytes = read(body, table).await?;
    admitted.meter.input_bytes = bytes.len() as u64;
    let mut call = match arrival.found.operation {
        Operation::Transcriptions => Box::pin(decode::upload(arrival, bytes)).await?,
        _ => decode(arrival, bytes, false)?,
    };
    if call.task.is_some() {
        // Sound is no text.
        admitted.meter.input_bytes = call.envelope.body().len() as u64;
    }
    call.options.preferred_timeout = admitted.principal.preferences().and_then(|it| it.timeout);
    let mut call = Arc::new(call);
    admitted.meter.requested_model.clone_from(&call.model);
    admitted.meter.stream = call.stream;
    account::label(&mut admitted.meter.account, &call.options.labels);
    if let Some(redacted) = table.settings.transcripts {
        admitted.meter.transcript = Some(Box::new(Transcript::of(&call, redacted)));
    }
    access::model(table, &admitted.principal, &call.model)?;
    if !table.auto_routers.is_empty() {
        call = Box::pin(chosen(gate, table, call, admitted)).await?;
    }
    fallback::check_groups(table, &call, &admitted.principal)?;
    operation::responses::resume(gate, &call)?;
    if let Some(answers) = &table.answers {
        // Boxed, so that requests carry no room for it where the cache is off.
        if let Some(kept) = Box::pin(lookup(gate, table, answers, &call, admitted)).await? {
            return Ok((call, Answer::Cached(kept)));
        }
    }
    let call = items::narrowed(call, admitted)?;
    let mut dice = gate.dice();
    let planned = plan(gate, table, &call, admitted.asker(), &mut dice).await?;
    admitted.meter.group = Some(planned.resolved.group.clone());
    let choice = admitted.choice.as_deref();
    admitted.explained = Explained::of(gate, table, &call, &planned, admitted.asker(), choice).await?;
    reserve(gate, table, &call, &planned, admitted).await?;
    admitted.open();
    if relay::is_wanted(table, &call, planned.resolved.group.as_str()) {
        admitted.meter.said = Some(Box::default());
    }
    if table.routing.mirrors {
        mirror::send(gate, table, &call, &planned, admitted);
    }
    let (call, answer) = attempt(gate, table, call, &planned, admitted, &mut dice).await?;
    let answer = items::completed(&call, answer, admitted);
    if admitted.meter.said.is_some() {
        admitted.relay = Some(Relay::new(gate, &call));
    }
    Ok((call, answer))
}

/// The call for the group that an auto router chooses, if the client's is one.
async fn chosen(
    gate: &Arc<Gate>,
    table: &Table,
    call: Arc<Call>,
    admitted: &mut Admitted,
) -> Result<Arc<Call>, Refusal> {
    let Some(router) = table.auto_router(&call.model) else { return Ok(call) };
    let choice = router.choose(gate, table, &call, admitted.asker()).await;
    let redirected = call.redirected(&choice.group, &Map::new())?;
    admitted.choice = Some(Box::new(choice));
    Ok(Arc::new(redirected))
}

/// Reads the body within the time and size allowed.
pub(crate) async fn read<B>(body: B, table: &Table) -> Result<Bytes, Refusal>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    tokio::time::timeout(BODY_TIMEOUT, decode::body(body, table.settings.max_body)).await.unwrap_or_else(
        |_| Err(Refusal::BodyLost(format!("nothing complete came within {} s", BODY_TIMEOUT.as_secs()))),
    )
}

pub(crate) fn arrival(
    found: Found,
    query: Option<String>,
    headers: HeaderMap,
    client_ip: Option<IpAddr>,
) -> Arrival {
    let given = headers.get("x-litellm-call-id").and_then(|value| value.to_str().ok());
    let fresh = CallId::from(Uuid::now_v7().to_string());
    // A client may choose its id again, but pays again.
    let (id, own_id) = match given.filter(|id| !id.is_empty() && id.len() <= MAX_CALL_ID) {
        Some(given) => (CallId::from(given), Some(fresh)),
        None => (fresh, None),
    };
    Arrival { id, own_id, at: Instant::now(), found, headers, query, client_ip }
}

/// Lets only holders of a key that may call this route go on, where keys are needed.
///
/// # Errors
/// 401 and 403 for everybody else.
pub(crate) async fn authorised(gate: &Gate, table: &Table, arrival: &Arrival) -> Result<Principal, Refusal> {
    let principal = identify(gate, table, arrival).await?;
    access::route(&principal, arrival)?;
    Ok(principal)
}
