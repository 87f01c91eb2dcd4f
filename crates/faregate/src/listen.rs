//! Puts the gate on a socket.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_TYPE,
    ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use listenfd::ListenFd;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use faregate_admin::Admin;
use faregate_gateway::body::Body;
use faregate_gateway::gate::Gate;
use faregate_gateway::pass_through::{self, Matched};
use faregate_gateway::pipeline;
use faregate_gateway::refusal::Refusal;
use faregate_gateway::routes::{Lookup, Operation, find};
use faregate_gateway::stage::decode;
use faregate_gateway::stage::deliver::{refuse, respond};
use faregate_gateway::stage::identify::client_address;

use crate::front_page::FrontPage;
use crate::handover;
use crate::workers::Workers;

/// A client that does not finish its request head in this time is dropped.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// At the end, a connection without any request yet is waited for this long.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// Waiting when no connection can be accepted, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the listener needs to know.
#[derive(Clone, Default)]
pub struct Front {
    /// Prefix of all routes, without trailing slash.
    pub root_path: String,
    /// Origins browsers may call from; empty is any.
    pub cors_origins: Vec<String>,
    /// Whether browsers may send credentials.
    pub cors_credentials: bool,
    /// How long an HTTP/1.1 connection may wait for its next request; 30 seconds when absent.
    pub keepalive: Option<Duration>,
    /// Open connections above which requests are answered 503.
    pub limit: Option<usize>,
    /// What `/` answers.
    pub page: FrontPage,
    /// Ends the drain before its time.
    pub cut: CancellationToken,
    /// The control plane, and where it runs: not on the threads that serve models.
    pub admin: Option<(Arc<Admin>, Handle)>,
}

/// Binds `host:port`.
///
/// # Errors
/// With the address and the remedy.
pub async fn bind(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        let why = if error.kind() == std::io::ErrorKind::AddrInUse {
            "is in use; stop the other process or pass another --port".to_owned()
        } else {
            format!("cannot be listened on: {error}")
        };
        anyhow::anyhow!("{host}:{port} {why}")
    })
}

/// The socket to listen on: systemd's, else that of the process which `handover` lets go on, else a new one.
///
/// # Errors
/// With the address and the remedy.
pub async fn open(host: &str, port: u16, handover: Option<&Path>) -> anyhow::Result<TcpListener> {
    let passed = ListenFd::from_env().take_tcp_listener(0).context("LISTEN_FDS names no TCP socket")?;
    let taken = match (passed, handover) {
        (Some(passed), _) => Some(passed),
        (None, Some(data_dir)) => handover::take(data_dir, host, port)?,
        (None, None) => None,
    };
    let Some(taken) = taken else { return bind(host, port).await };
    taken.set_nonblocking(true)?;
    Ok(TcpListener::from_std(taken)?)
}

/// TLS from a certificate chain and a key, both PEM.
///
/// # Errors
/// If a file cannot be read or the two do not fit.
pub fn tls(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let pem = fs::read(certificate).with_context(|| format!("cannot read {}", certificate.display()))?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} is no PEM certificate", certificate.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate", certificate.display());
    }
    let pem = fs::read(key).with_context(|| format!("cannot read {}", key.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .with_context(|| format!("{} holds no private key", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not fit")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop`, then lets requests in flight finish for at most `drain`.
pub async fn serve(
    listener: TcpListener,
    workers: Workers,
    gate: Arc<Gate>,
    front: Front,
    acceptor: Option<TlsAcceptor>,
    stop: CancellationToken,
    drain: Duration,
) {
    let (tasks, front) = (TaskTracker::new(), Arc::new(front));
    loop {
        let accepted = tokio::select! {
            // Cancel-safe: an accept that is not taken leaves the connection in the backlog.
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (Some(place), Ok(stream)) = (workers.place(), stream.into_std()) else { continue };
        let connection = Connection {
            gate: Arc::clone(&gate),
            front: Arc::clone(&front),
            peer,
            stop: stop.clone(),
            all: tasks.clone(),
        };
        let (runtime, acceptor) = (place.runtime().clone(), acceptor.clone());
        tasks.spawn_on(
            async move {
                let _place = place;
                match TcpStream::from_std(stream) {
                    Ok(stream) => connection.run(stream, acceptor).await,
                    Err(error) => tracing::warn!(%error, "cannot serve a connection"),
                }
            },
            &runtime,
        );
    }
    gate.ending.store(true, Ordering::Release);
    drop(listener);
    tasks.close();
    let why = tokio::select! {
        () = tasks.wait() => return,
        () = tokio::time::sleep(drain) => "the drain time is over",
        () = front.cut.cancelled() => "a second signal came",
    };
    tracing::warn!(open = tasks.len(), "connections are cut: {why}");
}

struct Connection {
    gate: Arc<Gate>,
    front: Arc<Front>,
    peer: SocketAddr,
    stop: CancellationToken,
    all: TaskTracker,
}

impl Connection {
    async fn run(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        // Small stream frames must not wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        match acceptor {
            None => self.http(stream).await,
            // Boxed, so that a plain connection does not carry the room of an encrypted one.
            Some(acceptor) => Box::pin(self.tls(stream, acceptor)).await,
        }
    }

    async fn tls(self, stream: TcpStream, acceptor: TlsAcceptor) {
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(self, stream: S) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.front.keepalive.unwrap_or(HEAD_TIMEOUT));
        builder.http2().timer(TokioTimer::new());
        let (gate, front, peer, all) = (self.gate, self.front, self.peer, self.all);
        let asked = Arc::new(Asked::default());
        let first = Arc::clone(&asked);
        let service = service_fn(move |request| {
            first.now();
            let (gate, front) = (Arc::clone(&gate), Arc::clone(&front));
            let full = front.limit.is_some_and(|limit| all.len() > limit);
            // Boxed, so that its room is given back when the head of a stream is out: the connection would keep it.
            Box::pin(async move {
                Ok::<_, Infallible>(if full {
                    busy(&gate)
                } else {
                    answer(&gate, &front, peer, request).await
                })
            })
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = ending(&self.stop, &asked) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// Waits until a connection must be told to close. One that was only just made has a request on its way, which is
/// served first: closing it would reset it.
async fn ending(stop: &CancellationToken, asked: &Asked) {
    stop.cancelled().await;
    // Told or not, the connection is closed then.
    let _ = tokio::time::timeout(FIRST_REQUEST, asked.first()).await;
}

/// Whether a connection has had a request.
#[derive(Default)]
struct Asked {
    once: AtomicBool,
    told: Notify,
}

impl Asked {
    /// It has. One load for all but the first.
    fn now(&self) {
        if !self.once.load(Ordering::Relaxed) {
            self.once.store(true, Ordering::Release);
            self.told.notify_one();
        }
    }

    async fn first(&self) {
        if !self.once.load(Ordering::Acquire) {
            self.told.notified().await;
        }
    }
}

async fn answer(
    gate: &Arc<Gate>,
    front: &Front,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let origin = head.headers.get(ORIGIN).cloned();
    let is_probe = || matches!(find(&head.method, head.uri.path()), Lookup::Found(_));
    let mut response = if head.method == Method::OPTIONS && !is_probe() {
        let mut headers = HeaderMap::new();
        if let Some(asked) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            // As asked: `*` would leave out `authorization`, and everything when credentials are sent.
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
        respond(StatusCode::NO_CONTENT, headers, Body::full(Bytes::new()))
    } else {
        let path = head.uri.path();
        let place = path.strip_prefix(front.root_path.as_str()).map(|path| (path, find(&head.method, path)));
        let own = match &place {
            Some((path, Lookup::Unknown | Lookup::WrongMethod(_))) => {
                own_route(gate, front, &head.method, path)
            }
            _ => None,
        };
        match (place, own) {
            (Some((_, Lookup::Found(found))), _) => {
                pipeline::serve(gate, found, incoming(head, peer, body)).await
            }
            (_, Some(Matched::Found(endpoint, below))) => {
                // Boxed, so that other requests do not carry the room of it.
                Box::pin(pass_through::serve(gate, endpoint, &below, incoming(head, peer, body))).await
            }
            (Some((_, Lookup::WrongMethod(methods))), _) => {
                refuse(Operation::Models, &Refusal::WrongMethod(methods), "")
            }
            (Some(("" | "/", Lookup::Unknown)), _) => {
                front.page.answer(&head.method, &front.root_path).unwrap_or_else(not_found)
            }
            (Some((path, Lookup::Unknown)), _)
                if front.admin.as_ref().is_some_and(|(admin, _)| admin.knows(path)) =>
            {
                let path = path.to_owned();
                let table = gate.table.load();
                let address = client_address(Some(peer.ip()), &head.headers, table.settings.forwarded_for);
                let admitted = table.credentials.admit(address);
                let is_open =
                    || front.admin.as_ref().is_some_and(|(admin, _)| admin.is_open(&head.method, &path));
                match admitted {
                    Err(refusal) if !is_open() => refuse(Operation::Models, &refusal, ""),
                    _ => Box::pin(manage(front, head, path, body)).await,
                }
            }
            (_, Some(Matched::WrongMethod(methods))) => {
                refuse(Operation::PassThrough, &Refusal::WrongMethod(methods), "")
            }
            (Some((_, Lookup::Unknown)) | None, None) => not_found(),
        }
    };
    allow_origin(front, origin.as_ref(), response.headers_mut());
    response
}

/// A request as the data plane takes it.
fn incoming(head: Parts, peer: SocketAddr, body: Incoming) -> pipeline::Incoming<Incoming> {
    pipeline::Incoming {
        method: head.method,
        query: head.uri.query().map(str::to_owned),
        headers: head.headers,
        client_ip: Some(peer.ip()),
        body,
    }
}

/// The route of an operator's own for what none of the gateway's takes.
fn own_route(gate: &Gate, front: &Front, method: &Method, path: &str) -> Option<Matched> {
    let table = gate.table.load();
    let is_managed = || front.admin.as_ref().is_some_and(|(admin, _)| admin.serves(method, path));
    if table.pass_through.is_empty() || is_managed() {
        return None;
    }
    table.pass_through.find(method, path)
}

/// The largest body of a management call.
const MAX_MANAGEMENT_BODY: usize = 8 * 1024 * 1024;
/// How long a management call may take: reports over months are slow.
const MANAGEMENT_TIMEOUT: Duration = Duration::from_secs(120);

/// Serves a call of the control plane, on its own runtime, so that a long report holds no stream up.
async fn manage(front: &Front, head: Parts, path: String, body: Incoming) -> Response<Body> {
    let Some((admin, runtime)) = front.admin.clone() else { return not_found() };
    let read = tokio::time::timeout(HEAD_TIMEOUT, decode::body(body, MAX_MANAGEMENT_BODY));
    let body = match read.await {
        Ok(Ok(body)) => body,
        Ok(Err(refusal)) => return refuse(Operation::Models, &refusal, ""),
        Err(_) => {
            let refusal = Refusal::BodyLost("nothing complete came in time".to_owned());
            return refuse(Operation::Models, &refusal, "");
        }
    };
    let served = runtime.spawn(async move {
        let serving = admin.serve(&head.method, &path, head.uri.query(), &head.headers, body);
        tokio::time::timeout(MANAGEMENT_TIMEOUT, serving).await
    });
    match served.await {
        Ok(Ok(response)) => response.map(Body::full),
        Ok(Err(_)) => {
            let text =
                r#"{"error":{"message":"The call took too long","type":"timeout_error","code":"504"}}"#;
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            respond(StatusCode::GATEWAY_TIMEOUT, headers, Body::full(Bytes::from_static(text.as_bytes())))
        }
        Err(_) => refuse(Operation::Models, &Refusal::Internal, ""),
    }
}

/// As LiteLLM's server answers above its limit.
fn busy(gate: &Gate) -> Response<Body> {
    gate.turned_away.fetch_add(1, Ordering::Relaxed);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    respond(
        StatusCode::SERVICE_UNAVAILABLE,
        headers,
        Body::full(Bytes::from_static(b"Service Unavailable: more connections than --limit_concurrency")),
    )
}

fn not_found() -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    respond(StatusCode::NOT_FOUND, headers, Body::full(Bytes::from_static(br#"{"detail":"Not Found"}"#)))
}

/// Lets browsers of the allowed origins read the answer.
fn allow_origin(front: &Front, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    let Some(origin) = origin else { return };
    headers.append(VARY, HeaderValue::from_static("origin"));
    let listed =
        front.cors_origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes());
    if !listed && !front.cors_origins.is_empty() {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"));
    if front.cors_credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}
