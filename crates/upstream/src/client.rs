//! The client: one pool of connections for every provider.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, request};
use http_body_util::Full;
use tokio::time::Instant;

use crate::auth::{Auth, AuthError, AuthSpec, Authenticators};
use crate::body::Body;
use crate::connect::{Dial, DialError, OpenConnections, ProxyRoutes, host_of};
use crate::env::EnvView;
use crate::error::{BuildError, SendError, Wait, innermost};
use crate::payload::Payload;
use crate::pool::{Arriving, Failed, Keep, Pool};
use crate::settings::{Timeouts, UpstreamSettings};
use crate::upload::{Outbound, Upload};
use crate::{tls, worker};

/// One request to a provider, complete but for its credential.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: Method,
    /// Absolute, `http` or `https`, percent-encoded as it shall be sent.
    pub url: Uri,
    /// Sent as they are, but for `host`, `content-length`, `transfer-encoding` and `connection`, which are ours
    /// to write; `user-agent` is added where it is absent.
    pub headers: HeaderMap,
    /// Sent byte for byte.
    pub body: Payload,
    /// What makes the provider accept it.
    pub auth: &'a Auth,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// The head of a provider's answer, whatever its status, and its body to come.
#[derive(Debug)]
pub struct Answer {
    /// Any status; an error status is an answer too.
    pub status: StatusCode,
    /// As they came.
    pub headers: HeaderMap,
    /// As it comes.
    pub body: Body,
}

/// The HTTP client. Cheap to clone; all clones share connections and credentials.
#[derive(Clone)]
pub struct Upstream {
    transport: Transport,
    authenticators: Arc<Authenticators>,
}

impl Upstream {
    /// Builds the client. Must be called within a tokio runtime. Reads certificate files, so not on the
    /// request path.
    pub fn new(settings: &UpstreamSettings) -> Result<Self, BuildError> {
        Ok(Self { transport: Transport::new(settings)?, authenticators: Arc::default() })
    }

    /// What applies `spec` to requests. Equal specs with the same `env` share one, tokens included, for as
    /// long as any of them is in use. Fetches nothing yet.
    pub fn authenticator(&self, spec: AuthSpec, env: &EnvView) -> Result<Arc<Auth>, AuthError> {
        self.authenticators.get(spec, env, &self.transport)
    }

    /// Sends `request` and waits for the head of the answer.
    ///
    /// Dropping the future, or the answer's body, cancels the request at the provider. A request that met a
    /// pooled connection which the provider had just closed, and of which nothing was sent, goes out again
    /// on another; nothing else is retried, and no redirect is followed.
    pub async fn send(&self, request: Outgoing<'_>) -> Result<Answer, SendError> {
        let Outgoing { method, url, headers, body, auth, timeouts } = request;
        let deadline = timeouts.total.and_then(|total| Some((Instant::now().checked_add(total)?, total)));
        let mut parts = Request::new(()).into_parts().0;
        parts.method = method;
        parts.uri = url;
        parts.headers = headers;
        let host: Arc<str> = host_of(&parts.uri).into();
        let sending = pin!(async {
            auth.apply(&mut parts, &body).await?;
            self.transport.begin(parts, whole(body), timeouts.first_byte, Arc::clone(&host)).await
        });
        let answer = within(deadline, &host, sending).await?;
        let (head, incoming) = answer.into_parts();
        let body = Body::new(incoming, Arc::clone(&host), timeouts.idle, deadline);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends `request` with a body that still comes in, and no credential but its headers; otherwise as
    /// [`Upstream::send`]. The time to the first byte counts the upload.
    pub async fn forward(&self, request: Request<Upload>, timeouts: Timeouts) -> Result<Answer, SendError> {
        let (parts, body) = request.into_parts();
        let deadline = timeouts.total.and_then(|total| Some((Instant::now().checked_add(total)?, total)));
        let host: Arc<str> = host_of(&parts.uri).into();
        let sending =
            pin!(self.transport.begin(parts, Outbound::Live(body), timeouts.first_byte, Arc::clone(&host)));
        let (head, incoming) = within(deadline, &host, sending).await?.into_parts();
        let body = Body::new(incoming, Arc::clone(&host), timeouts.idle, deadline);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Open connections by target (`host:port`), idle ones included; for metrics.
    pub fn open_connections(&self) -> Vec<(String, usize)> {
        self.transport.open.by_host()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Upstream").field("open", &self.open_connections()).finish_non_exhaustive()
    }
}

fn whole(body: Payload) -> Outbound {
    Outbound::Whole(Full::new(body))
}

/// `work`, unless the total deadline comes first. Borrowed, as each of the two waits would hold it whole.
async fn within<T>(
    deadline: Option<(Instant, Duration)>,
    host: &str,
    work: Pin<&mut impl Future<Output = Result<T, SendError>>>,
) -> Result<T, SendError> {
    let Some((at, after)) = deadline else { return work.await };
    match tokio::time::timeout_at(at, work).await {
        Ok(done) => done,
        Err(_) => Err(SendError::Timeout { host: host.to_owned(), wait: Wait::Total, after }),
    }
}

/// The pool without credentials: what the auth schemes themselves fetch their tokens with.
#[derive(Clone)]
pub(crate) struct Transport {
    /// One per worker, and one for everybody else.
    pools: Arc<[Arc<Pool>]>,
    routes: ProxyRoutes,
    open: Arc<OpenConnections>,
    user_agent: HeaderValue,
}

impl Transport {
    fn new(settings: &UpstreamSettings) -> Result<Self, BuildError> {
        let routes = ProxyRoutes::new(&settings.proxies)?;
        let open = Arc::new(OpenConnections::default());
        let dial = Dial::new(settings, tls::client_config(settings)?, routes.clone(), Arc::clone(&open))?;
        let user_agent =
            HeaderValue::from_str(&settings.user_agent).unwrap_or(HeaderValue::from_static("faregate"));
        let keep = Keep { most: settings.max_idle_per_host, idle: settings.pool_idle_timeout };
        let pools = (0..=settings.workers).map(|_| Arc::new(Pool::new(dial.clone(), keep))).collect();
        Ok(Self { pools, routes, open, user_agent })
    }

    /// Sends and waits for the head. `parts` carry their credential already.
    async fn begin(
        &self,
        mut parts: request::Parts,
        body: Outbound,
        first_byte: Option<Duration>,
        host: Arc<str>,
    ) -> Result<http::Response<Arriving>, SendError> {
        check_target(&parts.uri)?;
        parts.headers.entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        // A client's own `host` names us, not the provider; its framing is that of another body.
        for framing in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
            parts.headers.remove(framing);
        }
        if let Some(credential) = self.routes.credential(&parts.uri) {
            parts.headers.insert(PROXY_AUTHORIZATION, credential);
        }
        let own = self.pools.get(worker::number()).unwrap_or(&self.pools[0]);
        let answering = own.send(Request::from_parts(parts, body), &host);
        let answered = match first_byte {
            None => answering.await,
            Some(after) => match tokio::time::timeout(after, answering).await {
                Ok(answered) => answered,
                Err(_) => {
                    return Err(SendError::Timeout { host: host.to_string(), wait: Wait::FirstByte, after });
                }
            },
        };
        answered.map_err(|failed| classify(failed, &host))
    }

    /// One small exchange with a token service or metadata server, wholly within `limit`.
    pub(crate) async fn exchange(
        &self,
        request: Request<Bytes>,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), SendError> {
        let (parts, body) = request.into_parts();
        let host: Arc<str> = host_of(&parts.uri).into();
        let deadline = Instant::now().checked_add(limit).map(|at| (at, limit));
        let exchanged = pin!(async {
            let (head, incoming) =
                self.begin(parts, whole(body.into()), None, Arc::clone(&host)).await?.into_parts();
            let body = Body::new(incoming, Arc::clone(&host), None, None).collect(MAX_TOKEN_ANSWER).await?;
            Ok((head.status, body))
        });
        within(deadline, &host, exchanged).await
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Transport")
    }
}

/// No token service answers more than this.
const MAX_TOKEN_ANSWER: usize = 256 * 1024;

fn check_target(url: &Uri) -> Result<(), SendError> {
    let known = matches!(url.scheme_str(), Some("http" | "https"));
    match url.host() {
        Some(host) if known && !host.is_empty() => Ok(()),
        _ => Err(SendError::Unsendable(
            "the provider's base URL must begin with http:// or https:// and name a host".to_owned(),
        )),
    }
}

fn classify(failed: Failed, host: &str) -> SendError {
    let host = host.to_owned();
    match failed {
        Failed::Dial(DialError::Failed(cause)) => SendError::Connect { host, cause },
        Failed::Dial(DialError::TimedOut(after)) => SendError::Timeout { host, wait: Wait::Connect, after },
        Failed::Http(error) => SendError::Broken { host, detail: innermost(&error) },
    }
}
