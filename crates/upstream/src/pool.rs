//! Connections to providers: kept while idle; one request at a time over HTTP/1.1, many over HTTP/2.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_service::Service as _;

use crate::connect::{Dial, DialError};
use crate::lane::{Lane, Passage};
use crate::upload::Outbound;

/// A provider that went away without a word is noticed by the ping, not by the next request.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(20);
const HTTP2_PING_WAITS: Duration = Duration::from_secs(10);
/// Idle connections are looked through this often at least, so that one the provider closed is given up soon.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// How many connections are kept, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// Of one scheme, host and port.
    pub(crate) most: usize,
    pub(crate) idle: Duration,
}

/// Connections that requests of the same threads share.
pub(crate) struct Pool {
    dial: Dial,
    keep: Keep,
    /// By host and port, without TLS and with it.
    hosts: [Mutex<HashMap<Arc<str>, Host, RandomState>>; 2],
    /// True while a task looks after idle connections.
    swept: AtomicBool,
}

#[derive(Default)]
struct Host {
    /// The one used last is at the back.
    idle: VecDeque<(Lane, Instant)>,
    shared: Option<(http2::SendRequest<Outbound>, Instant)>,
}

/// A connection to send one request on.
enum Link {
    Http1(Lane),
    Http2(http2::SendRequest<Outbound>),
}

/// The body of an answer, as its connection brings it.
#[derive(Debug)]
pub(crate) enum Arriving {
    /// With the connection, and where that goes afterwards.
    Http1(Passage, Home),
    /// The connection runs by itself.
    Http2(Incoming),
}

/// Where a connection belongs.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pool: Arc<Pool>,
    host: Arc<str>,
    is_https: bool,
}

impl Arriving {
    /// The next piece.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self {
            Self::Http1(passage, _) => passage.poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    /// What is known of its end.
    pub(crate) fn incoming(&self) -> &Incoming {
        match self {
            Self::Http1(passage, _) => passage.body(),
            Self::Http2(body) => body,
        }
    }

    /// Nobody reads on. The connection is kept if the answer is all there, as `is_over` may know.
    pub(crate) fn part(self, is_over: bool) {
        if let Self::Http1(passage, home) = self
            && let Some(lane) = passage.into_lane(is_over)
        {
            home.put(lane);
        }
    }
}

impl Pool {
    pub(crate) fn new(dial: Dial, keep: Keep) -> Self {
        Self { dial, keep, hosts: Default::default(), swept: AtomicBool::new(false) }
    }

    /// Sends `request` and waits for the head of its answer. One that met a connection which the provider had just
    /// closed, and of which nothing was sent, goes out again on another.
    pub(crate) async fn send(
        self: &Arc<Self>,
        mut request: Request<Outbound>,
        host: &Arc<str>,
    ) -> Result<Response<Arriving>, Failed> {
        let url = request.uri().clone();
        let is_https = url.scheme_str() == Some("https");
        let home = Home { pool: Arc::clone(self), host: Arc::clone(host), is_https };
        loop {
            let (link, is_used) = match home.take() {
                Some(link) => (link, true),
                None => (home.connect(&url).await?, false),
            };
            let sent = match link {
                Link::Http1(lane) => {
                    address(&mut request, &url, lane.absolute_form);
                    let answer = lane.send(request).await;
                    answer.map(|answer| answer.map(|body| Arriving::Http1(body, home.clone())))
                }
                Link::Http2(mut sender) => {
                    *request.uri_mut() = url.clone();
                    request.headers_mut().remove(HOST);
                    sender.try_send_request(request).await.map(|answer| answer.map(Arriving::Http2))
                }
            };
            let mut failed = match sent {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            match failed.take_message() {
                Some(unsent) if is_used => {
                    // One that is about to end is not offered again.
                    home.unshare();
                    request = unsent;
                }
                _ => return Err(failed.into_error().into()),
            }
        }
    }

    /// Drops what the peer has closed and what has been idle for too long; true if something is left.
    fn sweep(&self) -> bool {
        let mut left = false;
        for hosts in &self.hosts {
            hosts.lock().retain(|_, host| {
                host.idle.retain_mut(|(lane, since)| since.elapsed() < self.keep.idle && lane.is_free());
                host.shared
                    .take_if(|(sender, since)| sender.is_closed() || since.elapsed() >= self.keep.idle);
                let is_kept = !host.idle.is_empty() || host.shared.is_some();
                left |= is_kept;
                is_kept
            });
        }
        left
    }
}

impl Home {
    fn hosts(&self) -> &Mutex<HashMap<Arc<str>, Host, RandomState>> {
        &self.pool.hosts[usize::from(self.is_https)]
    }

    /// A connection that is there already.
    fn take(&self) -> Option<Link> {
        let mut hosts = self.hosts().lock();
        let host = hosts.get_mut(&*self.host)?;
        if let Some((sender, since)) = &mut host.shared {
            if !sender.is_closed() {
                *since = Instant::now();
                return Some(Link::Http2(sender.clone()));
            }
            host.shared = None;
        }
        while let Some((mut lane, since)) = host.idle.pop_back() {
            // The ones before it have been idle for longer.
            if since.elapsed() >= self.pool.keep.idle {
                host.idle.clear();
                return None;
            }
            if lane.is_free() {
                return Some(Link::Http1(lane));
            }
        }
        None
    }

    /// Offers the HTTP/2 connection to nobody any more.
    fn unshare(&self) {
        if let Some(host) = self.hosts().lock().get_mut(&*self.host) {
            host.shared = None;
        }
    }

    /// A new connection. It is made even if nobody waits for it any longer, and kept for the next request then: a
    /// provider far away would else never be reached by requests that are given up early.
    async fn connect(&self, url: &Uri) -> Result<Link, Failed> {
        let (tell, told) = oneshot::channel();
        let (home, url) = (self.clone(), url.clone());
        tokio::spawn(async move {
            let made = home.establish(url).await;
            if let Err(Ok(Link::Http1(lane))) = tell.send(made) {
                home.put(lane);
            }
        });
        told.await.unwrap_or_else(|_| {
            Err(Failed::Dial(DialError::Failed(crate::ConnectCause::Other(
                "the runtime is ending".to_owned(),
            ))))
        })
    }

    async fn establish(&self, url: Uri) -> Result<Link, Failed> {
        let mut dial = self.pool.dial.clone();
        poll_fn(|cx| dial.poll_ready(cx)).await?;
        let io = dial.call(url).await?;
        let facts = io.connected();
        if !facts.is_negotiated_h2() {
            return Ok(Link::Http1(Lane::open(io, facts.is_proxied()).await?));
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .keep_alive_interval(HTTP2_PING_EVERY)
            .keep_alive_timeout(HTTP2_PING_WAITS);
        let (sender, connection) = builder.handshake(io).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP/2 connection ended");
            }
        });
        self.hosts().lock().entry(Arc::clone(&self.host)).or_default().shared =
            Some((sender.clone(), Instant::now()));
        self.see_to_sweeping();
        Ok(Link::Http2(sender))
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, lane: Lane) {
        let mut hosts = self.hosts().lock();
        let host = match hosts.get_mut(&*self.host) {
            Some(host) => host,
            None => hosts.entry(Arc::clone(&self.host)).or_default(),
        };
        if host.idle.len() < self.pool.keep.most {
            host.idle.push_back((lane, Instant::now()));
            drop(hosts);
            self.see_to_sweeping();
        }
    }

    /// Nobody else hears it when an idle connection is closed.
    fn see_to_sweeping(&self) {
        if self.pool.swept.load(Ordering::Relaxed) || self.pool.swept.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.pool.swept.store(false, Ordering::Release);
            return;
        };
        runtime.spawn(keep_sweeping(Arc::downgrade(&self.pool)));
    }
}

/// Looks after idle connections until there are none.
async fn keep_sweeping(pool: Weak<Pool>) {
    loop {
        let Some(every) = pool.upgrade().map(|pool| pool.keep.idle.min(SWEEP_EVERY)) else { return };
        tokio::time::sleep(every).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.sweep() {
            pool.swept.store(false, Ordering::Release);
            // One may have been kept just before that was said.
            if !pool.sweep() || pool.swept.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }
}

/// Writes the request's target as HTTP/1.1 wants it: what is absolute for a proxy has a path alone otherwise.
fn address(request: &mut Request<Outbound>, url: &Uri, absolute_form: bool) {
    if !request.headers().contains_key(HOST)
        && let Some(value) = host_header(url)
    {
        request.headers_mut().insert(HOST, value);
    }
    *request.uri_mut() = match absolute_form {
        true => url.clone(),
        false => Uri::from(url.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"))),
    };
}

/// Host, and port unless it is the scheme's own.
fn host_header(url: &Uri) -> Option<HeaderValue> {
    let host = url.host()?;
    let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
    match url.port_u16().filter(|port| *port != usual) {
        Some(port) => HeaderValue::from_maybe_shared(Bytes::from(format!("{host}:{port}"))).ok(),
        None => HeaderValue::from_str(host).ok(),
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pool").field("keep", &self.keep).finish_non_exhaustive()
    }
}
