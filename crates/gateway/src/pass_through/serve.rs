//! The path of a request to a target, top to bottom.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use faregate_terms::{ErrorNote, FaultClass, PicoUsd};
use faregate_upstream::{Answer, SendError, Timeouts, Upload, UploadError};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response};

use crate::body::Body;
use crate::call::{Arrival, Labels};
use crate::gate::{Gate, Table};
use crate::pass_through::relay::Download;
use crate::pass_through::upload::{Bounded, WhyNot};
use crate::pass_through::{Climbs, Endpoint, Subpath, headers};
use crate::pipeline::{self, Incoming};
use crate::refusal::Refusal;
use crate::routes::{Found, Operation};
use crate::stage::admit::Admitted;
use crate::stage::deliver::{refuse, respond};
use crate::stage::identify::{Principal, client_address, identify_at};
use crate::stage::{access, account, labels, reserve};

/// What spend logs say where no model is known. Source: LiteLLM's `pass_through_request`.
const NO_MODEL: &str = "unknown";
/// What a target that knows its price charged for a request. Source: LiteLLM's `upstream_usage_headers.py`.
const REPORTED_COST: &str = "x-litellm-response-cost";

/// Serves one request of `endpoint`; `below` is what stands behind its path.
pub async fn serve<B>(
    gate: &Arc<Gate>,
    endpoint: Arc<Endpoint>,
    below: &str,
    incoming: Incoming<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<UploadError>,
{
    let table = gate.table.load_full();
    let Incoming { method, query, headers, client_ip, body } = incoming;
    let client_ip = client_address(client_ip, &headers, table.settings.forwarded_for);
    let operation = Operation::PassThrough;
    let subject = Some(endpoint.path.to_string());
    let found = Found { operation, route: "pass-through", subject, verb: None };
    let arrival = Arc::new(pipeline::arrival(found, query, headers, client_ip));
    let asked = Asked { gate, table: &table, endpoint: &endpoint, arrival: &arrival };
    let served = asked.serve(method, below, body).await;
    served.unwrap_or_else(|refusal| refuse(operation, &refusal, arrival.id.as_str()))
}

/// One request with what it needs to be served.
struct Asked<'a> {
    gate: &'a Arc<Gate>,
    table: &'a Table,
    endpoint: &'a Endpoint,
    arrival: &'a Arc<Arrival>,
}

impl Asked<'_> {
    async fn serve<B>(&self, method: Method, below: &str, body: B) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<UploadError>,
    {
        let below = Subpath::resolve(below).map_err(|Climbs| Refusal::BadPath)?;
        let principal = self.principal(&below).await?;
        let limit = self.table.settings.max_body;
        if body.size_hint().lower() > limit as u64 {
            return Err(Refusal::TooLarge { limit });
        }
        let arrival = Arc::clone(self.arrival);
        let mut admitted = Admitted::new(Arc::clone(&self.gate.settler), principal, arrival);
        let answered = self.ask(method, &below, body, &mut admitted).await;
        match answered {
            Ok((answer, since)) => Ok(deliver(self.endpoint, admitted, answer, since)),
            Err(refusal) => {
                admitted.meter.cost = Some(Some(PicoUsd::ZERO));
                admitted.refused(&refusal);
                Err(refusal)
            }
        }
    }

    /// Who calls, and may.
    async fn principal(&self, below: &Subpath) -> Result<Principal, Refusal> {
        let Some(place) = &self.endpoint.key else {
            self.table.credentials.admit(self.arrival.client_ip)?;
            return Ok(Principal::Anonymous);
        };
        let principal = identify_at(self.gate, self.table, self.arrival, place).await?;
        let route = format!("{}{}", self.endpoint.path.trim_end_matches('/'), below.shown);
        access::pass_through(&principal, &route)?;
        Ok(principal)
    }

    /// Holds what the request costs in every limit, and asks the target.
    async fn ask<B>(
        &self,
        method: Method,
        below: &Subpath,
        body: B,
        admitted: &mut Admitted,
    ) -> Result<(Answer, Instant), Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<UploadError>,
    {
        let Self { gate, table, endpoint, arrival } = *self;
        NO_MODEL.clone_into(&mut admitted.meter.requested_model);
        admitted.meter.target = Some(endpoint.base.clone());
        account::label(&mut admitted.meter.account, &Labels::of_headers(&arrival.headers));
        reserve::flat(gate, table, endpoint.cost, admitted).await?;
        admitted.open();
        // From here on the target may do what it is paid for, also if the client leaves.
        admitted.meter.cost = Some(Some(endpoint.cost));
        let url = endpoint.url(below, arrival.query.as_deref()).ok_or(Refusal::BadPath)?;
        let why_not = WhyNot::default();
        let bounded = Bounded::new(body, table.settings.max_body, Arc::clone(&why_not));
        let mut request = Request::new(Upload::new(bounded));
        *request.method_mut() = method;
        *request.uri_mut() = url;
        *request.headers_mut() = headers::outgoing(endpoint, &arrival.headers, &table.credentials);
        let (first_byte, idle) = (Some(endpoint.timeout), Some(endpoint.timeout));
        let since = Instant::now();
        let answer = table.upstream.forward(request, Timeouts { first_byte, idle, total: None }).await;
        admitted.meter.upstream_time = since.elapsed();
        // A body that broke off breaks the target's connection as well, which is not the target's fault.
        answer.map(|answer| (answer, since)).map_err(|error| match why_not.get() {
            Some(refusal) => refusal.clone(),
            None => unanswered(&error),
        })
    }
}

/// What the client is told of a target that does not answer.
fn unanswered(error: &SendError) -> Refusal {
    let message = error.to_string();
    let is_late = error.class() == FaultClass::Timeout;
    if is_late { Refusal::TargetLate(message) } else { Refusal::TargetAway(message) }
}

/// Lets the answer go out as it comes, and the request with it.
fn deliver(
    endpoint: &Endpoint,
    mut admitted: Box<Admitted>,
    answer: Answer,
    since: Instant,
) -> Response<Body> {
    let status = answer.status;
    let meter = &mut admitted.meter;
    meter.status = status.as_u16();
    meter.stream = is_stream(&answer.headers);
    if status.as_u16() >= 400 {
        let class = FaultClass::of_status(meter.status).name();
        meter.cost = Some(Some(PicoUsd::ZERO));
        meter.class = Some(class);
        meter.error = Some(ErrorNote {
            code: meter.status.to_string(),
            class: class.to_owned(),
            message: format!("the target of `{}` answered with status {}", endpoint.path, meter.status),
        });
    } else {
        meter.cost = Some(Some(cost(endpoint, &answer.headers)));
    }
    let mut out = headers::incoming(&answer.headers);
    labels::describe_passed(&admitted, &mut out);
    respond(status, out, Body::stream(Box::new(Download::new(answer.body, admitted, since))))
}

/// What the target says that it charged, else what the route is said to cost. What it says and nobody can read is
/// nothing, not the other: it has contradicted that.
fn cost(endpoint: &Endpoint, headers: &HeaderMap) -> PicoUsd {
    let Some(reported) = headers.get(REPORTED_COST) else { return endpoint.cost };
    let reported = reported.to_str().ok().and_then(|text| PicoUsd::parse(text.trim()).ok());
    reported.filter(|cost| *cost >= PicoUsd::ZERO).unwrap_or_else(|| {
        tracing::warn!(
            route = &*endpoint.path,
            "the target's {REPORTED_COST} is no amount; it counts as nothing"
        );
        PicoUsd::ZERO
    })
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}
