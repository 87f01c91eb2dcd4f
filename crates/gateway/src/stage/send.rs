//! One call to one destination: render, send, read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use faregate_terms::{Fault, FaultClass};
use faregate_upstream::{Outgoing, Payload, Timeouts};
use faregate_wire::chat::{ChatResponse, unfold};
use faregate_wire::dialect::{Edit, Features, FollowUp, Framing, Glance, Head, Losses, Malformed, Route};

use crate::call::Call;
use crate::destination::{BETA_HEADER, Destination};
use crate::gate::Table;
use crate::refusal::Refusal;
use crate::stage::admit::Meter;
use crate::stage::lookup::Cached;
use crate::stage::params;
use crate::stage::pump::{Primed, Pump};
use crate::stage::task;

/// The largest answer that is collected before it is passed on.
const MAX_ANSWER: usize = 256 * 1024 * 1024;
/// The largest error body that is read.
const MAX_ERROR: usize = 256 * 1024;
/// How often a call is made again without what the provider named as unknown to it.
const MAX_WITHOUT: usize = 2;
/// How often an unfinished prediction is asked for.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// A provider's answer.
pub enum Answer {
    /// All of it, in the client's own dialect: the bytes as they came.
    Same {
        /// Its bytes.
        body: Bytes,
        /// Its headers.
        headers: HeaderMap,
        /// What the receipt needs of it.
        glance: Glance,
    },
    /// All of it, to be rendered in the client's dialect.
    Translated {
        /// What it says.
        response: ChatResponse,
        /// Its headers.
        headers: HeaderMap,
    },
    /// All of it, as the client is to have it.
    Made {
        /// Its bytes.
        body: Bytes,
        /// Their media type.
        kind: HeaderValue,
        /// The provider's headers.
        headers: HeaderMap,
        /// What the receipt needs of it.
        glance: Glance,
    },
    /// A stream whose first visible output is there.
    Stream {
        /// Where the bytes come from.
        pump: Box<Pump>,
        /// The provider's headers.
        headers: HeaderMap,
    },
    /// One that was kept.
    Cached(Box<Cached>),
}

/// What one attempt sends.
pub(super) struct Prepared {
    route: Route,
    body: Payload,
    /// Media type of the body.
    kind: HeaderValue,
    /// True if the body went through as bytes and the answer may as well.
    same: bool,
    losses: Losses,
}

impl Prepared {
    /// A body whose answer is read whole.
    pub(super) fn whole(route: Route, body: Payload, kind: HeaderValue, losses: Losses) -> Self {
        Self { route, body, kind, same: false, losses }
    }
}

/// What came of it.
pub(super) struct Exchanged {
    same: bool,
    framing: Framing,
    /// The key it was sent with, by its place.
    key: usize,
    /// A 2xx answer.
    pub(super) answer: faregate_upstream::Answer,
}

/// The media type of almost all bodies.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Makes one call. A budget bounds its answer to `longest` tokens; what comes of it is noted in `meter`.
///
/// # Errors
/// The provider's failure, or what keeps this call from being made to it.
pub(super) async fn send(
    table: &Table,
    call: &Arc<Call>,
    destination: &Arc<Destination>,
    longest: Option<u64>,
    meter: &mut Meter,
    left: Option<Duration>,
) -> Result<Answer, Refusal> {
    if let Some(task) = &call.task {
        // Boxed, so that a chat does not carry the room of it.
        return Box::pin(task::send(table, call, task, destination, meter, left)).await;
    }
    let upstream_refusal = |fault: Fault| Refusal::upstream(fault, destination.provider.name);
    let prepare = |without: &[String]| prepare(table, call, destination, longest, without);
    let Exchanged { same, framing, key, answer } =
        exchange(table, call, destination, meter, left, prepare).await?;
    let streamed = call.stream && framing != Framing::Whole && is_stream(&answer.headers);
    if streamed {
        // A stream that may be continued is read, so that it is known what was said.
        let same = same && meter.said.is_none();
        let pump = Pump::new(call, destination, framing, same, answer.body, table);
        return match Box::new(pump).prime(meter).await {
            Primed::Ready(pump) => Ok(Answer::Stream { pump, headers: answer.headers }),
            Primed::Failed(fault) => Err(upstream_refusal(fault)),
        };
    }
    let body = collect(answer.body).await.map_err(upstream_refusal)?;
    whole(table, call, destination, key, same, body, answer.headers).await.map_err(upstream_refusal)
}

/// A whole body, within bounds.
pub(super) async fn collect(body: faregate_upstream::Body) -> Result<Bytes, Fault> {
    body.collect(MAX_ANSWER).await.map_err(Fault::from)
}

/// Sends what `prepare` makes until a 2xx answer comes: again without what the provider named as unknown to it, and
/// with another key where one failed.
///
/// # Errors
/// The provider's failure, or what keeps this call from being made to it.
pub(super) async fn exchange(
    table: &Table,
    call: &Call,
    destination: &Destination,
    meter: &mut Meter,
    left: Option<Duration>,
    mut prepare: impl FnMut(&[String]) -> Result<Prepared, Refusal>,
) -> Result<Exchanged, Refusal> {
    destination
        .settle_project()
        .await
        .map_err(|fault| Refusal::upstream(fault, destination.provider.name))?;
    let upstream_refusal = |fault: Fault| Refusal::upstream(fault, destination.provider.name);
    let mut without: Vec<String> = Vec::new();
    let mut again = 0;
    let mut key = destination.keyring.as_ref().map_or(0, |ring| ring.pick());
    let mut since = Instant::now();
    loop {
        let prepared = prepare(&without)?;
        meter.losses = prepared.losses.into_names();
        let headers = headers(table, call, destination, &prepared.route, prepared.kind)?;
        let url = destination.url(&prepared.route.path).map_err(upstream_refusal)?;
        let timeouts = timeouts(call, destination, left);
        let answer = table
            .upstream
            .send(Outgoing {
                method: Method::POST,
                url,
                headers,
                body: prepared.body,
                auth: destination.credential(key),
                timeouts,
            })
            .await
            .map_err(|error| upstream_refusal(error.into()))?;
        if answer.status.is_success() {
            return Ok(Exchanged { same: prepared.same, framing: prepared.route.framing, key, answer });
        }
        let status = answer.status.as_u16();
        let head_headers = answer.headers;
        let body = answer.body.collect(MAX_ERROR).await.unwrap_or_default();
        let rejected = destination.rejected(call, status, &body);
        if rejected.is_empty() || again == MAX_WITHOUT {
            let head = Head { status, headers: &head_headers };
            let fault = destination.codec().fault(&head, &body);
            let Some(other) = destination.other_key(key, &fault) else {
                return Err(upstream_refusal(fault));
            };
            meter.key_failed(destination, since, fault.class);
            (key, since) = (other, Instant::now());
            continue;
        }
        again += 1;
        without.extend(rejected);
    }
}

/// Reads a whole answer; asks again for predictions that are not done.
async fn whole(
    table: &Table,
    call: &Arc<Call>,
    destination: &Arc<Destination>,
    key: usize,
    same: bool,
    mut body: Bytes,
    headers: HeaderMap,
) -> Result<Answer, Fault> {
    let codec = destination.codec();
    while let FollowUp::Poll { url } | FollowUp::Stream { url } = codec.follow_up(&body) {
        tokio::time::sleep(POLL_EVERY).await;
        body = fetch(table, call, destination, key, &url).await?;
    }
    let unreadable = |malformed: Malformed| Fault::new(FaultClass::BadGateway, malformed.to_string());
    if same && !call.stream {
        let glance = codec.glance(&destination.target(), &body).map_err(unreadable)?;
        return Ok(Answer::Same { body, headers, glance });
    }
    let decoded = codec.decode(&destination.target(), &body).map_err(unreadable)?;
    if call.stream {
        // The provider cannot stream this: its whole answer is spelled as a stream.
        let pump = Pump::replay(call, destination, unfold(&decoded), table);
        return Ok(Answer::Stream { pump: Box::new(pump), headers });
    }
    Ok(Answer::Translated { response: decoded, headers })
}

async fn fetch(
    table: &Table,
    call: &Arc<Call>,
    destination: &Arc<Destination>,
    key: usize,
    url: &str,
) -> Result<Bytes, Fault> {
    let url = destination.follow(url)?;
    let request = Outgoing {
        method: Method::GET,
        url,
        headers: HeaderMap::new(),
        body: Payload::default(),
        auth: destination.credential(key),
        timeouts: timeouts(call, destination, None),
    };
    let answer = table.upstream.send(request).await.map_err(Fault::from)?;
    let (status, headers) = (answer.status, answer.headers);
    let body = answer.body.collect(MAX_ANSWER).await.map_err(Fault::from)?;
    if status.is_success() {
        Ok(body)
    } else {
        Err(destination.codec().fault(&Head { status: status.as_u16(), headers: &headers }, &body))
    }
}

/// Renders the body for a destination: spliced bytes within a dialect, a translation otherwise. An answer
/// that a budget bounds to `longest` tokens is read on its way, so it is always translated. What `without`
/// names, the provider has refused before.
fn prepare(
    table: &Table,
    call: &Call,
    destination: &Destination,
    longest: Option<u64>,
    without: &[String],
) -> Result<Prepared, Refusal> {
    destination.check(call)?;
    let changed = params::without_paths(call, &destination.params)?;
    let call = changed.as_ref().unwrap_or(call);
    let mut target = destination.target();
    let codec = destination.codec();
    let asked = destination.betas_asked(call);
    let dropped = params::to_drop(call, &destination.params, destination.provider.name, &destination.model)?;
    let mut losses = Losses::default();
    let wants_usage = table.settings.always_include_stream_usage.unwrap_or(true);
    let body = if longest.is_none() && destination.takes_bytes_of(call, &dropped) {
        target.betas = codec.betas(Features::Bytes(&call.envelope), &asked, &target, &mut losses);
        let mut edits = codec.edits(&target, call.stream, wants_usage || call.include_usage);
        edits.extend(dropped.iter().filter_map(|name| destination.baseline_name(name)).map(Edit::Remove));
        let body = call.envelope.spliced(&edits);
        let route = codec.route(&target, call.stream);
        let body = destination.with_extra_body(body)?;
        return Ok(Prepared { route, body, kind: JSON, same: true, losses });
    } else {
        let request = call.request()?;
        let mut own = None;
        if !dropped.is_empty() || destination.defaults.is_some() || longest.is_some() {
            let mut changed = (*request).clone();
            params::remove(&mut changed, &dropped, &mut losses);
            if let Some(defaults) = &destination.defaults {
                params::fill(&mut changed, defaults);
            }
            if let Some(longest) = longest {
                let asked = changed.sampling.max_output_tokens.unwrap_or(u64::MAX);
                changed.sampling.max_output_tokens = Some(asked.min(longest.max(1)));
            }
            own = Some(changed);
        }
        let request = own.as_ref().unwrap_or(&request);
        target.betas = codec.betas(Features::Request(request), &asked, &target, &mut losses);
        let body = codec.body(request, &target, &mut losses)?;
        without.iter().for_each(|path| losses.note(format!("param.{path}")));
        vec![Bytes::from(destination.mended(body, call, without)?)]
    };
    let route = codec.route(&target, call.stream);
    let body = destination.with_extra_body(body)?;
    Ok(Prepared::whole(route, body, JSON, losses))
}

/// The provider request a call would make, for `/utils/transform_request`.
///
/// # Errors
/// As an attempt's.
pub fn preview(
    table: &Table,
    call: &Call,
    destination: &Destination,
) -> Result<(String, HeaderMap, Bytes), Refusal> {
    let prepared = prepare(table, call, destination, None, &[])?;
    let headers = headers(table, call, destination, &prepared.route, prepared.kind)?;
    let url = destination
        .url(&prepared.route.path)
        .map_err(|fault| Refusal::upstream(fault, destination.provider.name))?;
    Ok((url.to_string(), headers, prepared.body.whole()))
}

fn headers(
    table: &Table,
    call: &Call,
    destination: &Destination,
    route: &Route,
    kind: HeaderValue,
) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, kind);
    if call.stream && route.framing == Framing::Sse {
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    }
    for (name, value) in &route.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if table.settings.forward_client_headers {
        for (name, value) in &call.arrival.headers {
            if is_forwarded(name.as_str()) {
                headers.insert(name.clone(), value.clone());
            }
        }
    }
    for (name, value) in destination.headers.iter().chain(&call.options.extra_headers) {
        let bad = || {
            Refusal::Invalid(faregate_wire::dialect::BadRequest::new(
                "extra_headers",
                format!("header `{name}` has a name or value that HTTP does not allow"),
            ))
        };
        let name: HeaderName = name.parse().map_err(|_| bad())?;
        if name.as_str() == BETA_HEADER && destination.takes_betas() {
            continue; // Among those of the route already, with the client's and our own.
        }
        if !FORBIDDEN_HEADERS.contains(&name.as_str()) {
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| bad())?);
        }
    }
    Ok(headers)
}

/// True if a client's header of this name goes on to the provider, where that is permitted.
pub(crate) fn is_forwarded(name: &str) -> bool {
    let is_ours = name.starts_with("x-stainless")
        || name.starts_with("x-litellm")
        || matches!(name, "x-api-key" | "x-goog-api-key" | "x-forwarded-for" | "x-real-ip");
    name.starts_with("x-") && !is_ours
}

/// Headers that only the connection itself may set.
const FORBIDDEN_HEADERS: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"];

/// How long a call may take: what the client says, else its key or team, the deployment, the router, and never longer than
/// what is `left` of the request's time.
fn timeouts(call: &Call, destination: &Destination, left: Option<Duration>) -> Timeouts {
    let within = |time: Duration| left.map_or(time, |left| time.min(left));
    let overall =
        within(call.options.timeout.or(call.options.preferred_timeout).unwrap_or(destination.timeout));
    if !call.stream {
        return Timeouts { first_byte: None, idle: None, total: Some(overall) };
    }
    let first = call.options.stream_timeout.or(destination.stream_timeout).map_or(overall, within);
    Timeouts { first_byte: Some(first), idle: Some(first), total: None }
}

/// How long a destination is waited for before anything comes of it.
pub(super) fn patience(call: &Call, destination: &Destination, left: Option<Duration>) -> Duration {
    let timeouts = timeouts(call, destination, left);
    timeouts.first_byte.or(timeouts.total).unwrap_or(destination.timeout)
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Some servers label their streams as plain text or not at all; a JSON document is no stream.
    !kind.starts_with("application/json") || kind.contains("ndjson")
}
