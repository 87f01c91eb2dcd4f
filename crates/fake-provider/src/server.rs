//! Listens, routes, answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::aws;
use crate::control::{Answer, Control};
use crate::dialect::openai_responses::{self, OpenAiResponses};
use crate::dialect::{Dialect, Head, Refused, ollama};
use crate::failure::{Class, Failure};
use crate::fault::{FakeBody, Faults, Step};
use crate::log::{Log, Tracked};
use crate::reply::{Ask, Reply, compose};
use crate::route::{Route, route};
use crate::scenario::Scenario;
use crate::steps::Steps;
use crate::store::Store;
use crate::token::{self, Issued};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub log: Arc<Log>,
    pub desk: Desk,
}

/// What tests put in and requests leave behind.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub control: Control,
    pub store: Store,
}

impl Desk {
    pub(crate) fn clear(&self) {
        self.control.clear();
        self.store.clear();
    }
}

/// Accepts connections for ever.
pub(crate) async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors or the like: existing connections go on, new ones wait.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        // Without it small frames wait for the client's acknowledgement; failing to set it only slows.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let connected = shared.log.connects();
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(serve(&shared, request).await) }
            });
            // An error here is a client that left or a cut on purpose.
            let served = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "connection ended");
            }
            drop(connected);
        });
    }
}

/// Binds `address`.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<FakeBody> {
    let (head, body) = request.into_parts();
    if let Some(rest) = head.uri.path().strip_prefix("/__fake__/") {
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        return crate::desk::serve(shared, rest, &body);
    }
    let mut tracked = shared.log.arrives();
    let Ok(body) = body.collect().await else {
        // The client left while sending; nobody reads this answer, and the log counts it as cancelled.
        return plain(StatusCode::BAD_REQUEST, "the request body broke off", None);
    };
    let body = body.to_bytes();
    shared.log.keep(&mut tracked, &head, &body);
    answer(Some(&shared.desk), &head, &body, Some(tracked)).await
}

/// Answers one request; without `desk` nothing is scripted or stored, without `tracked` nothing is logged.
pub(crate) async fn answer(
    desk: Option<&Desk>,
    parts: &http::request::Parts,
    body: &Bytes,
    tracked: Option<Tracked>,
) -> Response<FakeBody> {
    let path = parts.uri.path();
    let scripted = match desk.and_then(|desk| desk.control.next(path, body)) {
        Some(Answer::Raw { status, headers, frames }) => return raw(status, &headers, frames, tracked),
        Some(Answer::Scenario(scenario)) => Some(*scenario),
        None => None,
    };
    let query = parts.uri.query().unwrap_or_default();
    let store = desk.map(|desk| &desk.store);
    let mut head = Head { path, query, headers: &parts.headers, body, store, model: None, stream: None };
    match route(&parts.method, path) {
        Route::Generate { dialect, model, stream } => {
            head.model = model.as_deref();
            head.stream = stream;
            generate(dialect, &head, scripted, tracked).await
        }
        Route::Count { dialect, model } => {
            head.model = model.as_deref();
            done(dialect, &head, dialect.authorize(&head).and_then(|()| dialect.count(&head, body)), tracked)
        }
        Route::Task(kind, model) => {
            head.model = model.as_deref();
            crate::task::serve(kind, &head, scripted, tracked).await
        }
        Route::StoredResponse(rest) => {
            let answer = store.ok_or(Failure::new(Class::NotFound));
            let answer = answer.and_then(|store| openai_responses::stored(store, &head, &parts.method, rest));
            done(&OpenAiResponses, &head, answer, tracked)
        }
        Route::Predict(model) => {
            head.model = model.as_deref();
            crate::predict::create(&head, scripted, tracked).await
        }
        Route::Prediction(wish, id) => crate::predict::proceed(&head, wish, id, tracked),
        Route::Models => models(tracked),
        Route::Tags => json_response(StatusCode::OK, &ollama::tags(), tracked),
        Route::Sts => issue(aws::sts(query, body), tracked),
        Route::Imds => issue(aws::imds(&parts.method, path, &parts.headers), tracked),
        Route::GoogleToken => issue(token::google(body), tracked),
        Route::GoogleMetadata => {
            issue(token::google_metadata(parts.headers.contains_key("metadata-flavor")), tracked)
        }
        Route::AzureToken => issue(token::azure(body), tracked),
        Route::Unknown => plain(StatusCode::NOT_FOUND, "no such route", tracked),
    }
}

fn done(
    dialect: &dyn Dialect,
    head: &Head<'_>,
    answer: Result<Value, Failure>,
    tracked: Option<Tracked>,
) -> Response<FakeBody> {
    match answer {
        Ok(answer) => json_response(StatusCode::OK, &answer, tracked),
        Err(failure) => refused(dialect.refuse(head, &failure), tracked),
    }
}

fn issue(issued: Issued, tracked: Option<Tracked>) -> Response<FakeBody> {
    let mut response = Response::new(FakeBody::whole(issued.body, tracked));
    *response.status_mut() = issued.status;
    for (name, value) in issued.headers {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn generate(
    dialect: &'static dyn Dialect,
    head: &Head<'_>,
    scripted: Option<Scenario>,
    tracked: Option<Tracked>,
) -> Response<FakeBody> {
    let (ask, scenario) = match understand(dialect, head, scripted) {
        Ok(understood) => understood,
        Err(failure) => return refused(dialect.refuse(head, &failure), tracked),
    };
    let faults = scenario.faults;
    if !faults.first_byte.is_zero() {
        tokio::time::sleep(faults.first_byte).await;
    }
    if faults.never_answers(ask.stream) {
        std::future::pending::<()>().await;
    }
    let reply = match compose(&ask, &scenario, &dialect.style()) {
        Ok(reply) => reply,
        Err(failure) if failure.class == Class::Policy && dialect.blocks_in_answer() => Reply::blocked(&ask),
        Err(failure) => {
            let head = Head { model: Some(&ask.model), ..*head };
            return refused(dialect.refuse(&head, &failure), tracked);
        }
    };
    if let Some(store) = head.store {
        dialect.keep(store, &ask, &reply);
    }
    let (kind, body) = if ask.stream {
        let steps = faults.steps(dialect.frames(&ask, &reply), || dialect.broken(&ask), dialect.garbage());
        (dialect.stream_type(&ask), FakeBody::steps(steps, tracked))
    } else {
        ("application/json", whole(dialect, &dialect.whole(&ask, &reply), &faults, tracked))
    };
    let mut response = Response::new(body);
    for (name, value) in dialect.headers() {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Checks the request and finds the scenario it asks for.
pub(crate) fn understand(
    dialect: &'static dyn Dialect,
    head: &Head<'_>,
    scripted: Option<Scenario>,
) -> Result<(Ask, Scenario), Failure> {
    dialect.authorize(head)?;
    let json: Value = serde_json::from_slice(head.body)
        .map_err(|_| Failure::invalid("We could not parse the JSON body of your request."))?;
    let body = json.as_object().ok_or_else(|| Failure::invalid("The request body must be a JSON object."))?;
    let ask = dialect.read(head, body)?;
    let scenario = scripted.unwrap_or_else(|| {
        let base = Scenario::of_model(&ask.model).unwrap_or_default();
        let scenario = Scenario::of_directive(&ask.last_user, base.clone()).unwrap_or(base);
        Scenario { steps: Steps::of_body(head.body, &json), ..scenario }
    });
    Ok((ask, scenario))
}

/// A complete answer; cut and garbage have their forms here too.
fn whole(dialect: &dyn Dialect, answer: &Value, faults: &Faults, tracked: Option<Tracked>) -> FakeBody {
    let bytes = Bytes::from(answer.to_string());
    if faults.cut_after.is_some() {
        let half = Step::Send(bytes.slice(..bytes.len() / 2));
        return FakeBody::steps(vec![half, Step::Cut], tracked).announcing(bytes.len() as u64);
    }
    if faults.garbage_after.is_some() {
        return FakeBody::whole(dialect.garbage(), tracked);
    }
    FakeBody::whole(bytes, tracked)
}

fn models(tracked: Option<Tracked>) -> Response<FakeBody> {
    let row = |id: &str| json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "fake"});
    let rows = ["fake-text", "fake-tools", "fake-agent", "fake-reasoning"].map(row);
    json_response(StatusCode::OK, &json!({"object": "list", "data": rows}), tracked)
}

pub(crate) fn refused(refused: Refused, tracked: Option<Tracked>) -> Response<FakeBody> {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(status, &refused.body, tracked);
    for (name, value) in refused.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn raw(
    status: u16,
    headers: &[(String, String)],
    frames: Vec<Bytes>,
    tracked: Option<Tracked>,
) -> Response<FakeBody> {
    let mut frames = frames;
    let single = if frames.len() == 1 { frames.pop() } else { None };
    let body = match single {
        Some(bytes) => FakeBody::whole(bytes, tracked),
        None => FakeBody::steps(frames.into_iter().map(Step::Send).collect(), tracked),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let pairs = headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    });
    response.headers_mut().extend(pairs.collect::<HeaderMap>());
    response
}

/// A JSON answer.
pub(crate) fn json_response(
    status: StatusCode,
    body: &Value,
    tracked: Option<Tracked>,
) -> Response<FakeBody> {
    let mut response = Response::new(FakeBody::whole(Bytes::from(body.to_string()), tracked));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A text answer.
pub(crate) fn plain(status: StatusCode, text: &'static str, tracked: Option<Tracked>) -> Response<FakeBody> {
    let mut response = Response::new(FakeBody::whole(Bytes::from_static(text.as_bytes()), tracked));
    *response.status_mut() = status;
    response
}
