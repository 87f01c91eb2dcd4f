//! One connection: resolve, dial, through a proxy where one is set, TLS, all within one deadline.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::dns::{Dns, ResolveFailed};
use crate::error::{BuildError, ConnectCause, find_cause, innermost};
use crate::settings::{Proxies, UpstreamSettings};

/// Below what hosting platforms cut idle connections at.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

type Tcp = HttpConnector<Dns>;
type Link = MaybeHttpsStream<TokioIo<TcpStream>>;
type Pinned<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// The connector of the pool: everything up to a connection that HTTP can be spoken on.
#[derive(Clone)]
pub(crate) struct Dial {
    inner: HttpsConnector<Route>,
    timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0}")]
    Failed(ConnectCause),
    #[error("timed out")]
    TimedOut(Duration),
}

impl Dial {
    pub(crate) fn new(
        settings: &UpstreamSettings,
        tls: ClientConfig,
        routes: ProxyRoutes,
        open: Arc<OpenConnections>,
    ) -> Result<Self, BuildError> {
        let mut tcp = HttpConnector::new_with_resolver(Dns::new(settings.dns)?);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        // A connection to an https:// proxy carries CONNECT, which is HTTP/1.1.
        let to_proxy = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp.clone());
        let route = Route { tcp, to_proxy, routes, open };
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let inner = match settings.http2 {
            true => builder.enable_all_versions().wrap_connector(route),
            false => builder.enable_http1().wrap_connector(route),
        };
        Ok(Self { inner, timeout: settings.connect_timeout })
    }
}

impl Service<Uri> for Dial {
    type Response = MaybeHttpsStream<Counted>;
    type Error = DialError;
    type Future = Pinned<Self::Response, DialError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        self.inner.poll_ready(cx).map_err(|error| DialError::Failed(cause_of(&*error)))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.inner.call(target);
        let limit = self.timeout;
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(done) => done.map_err(|error| DialError::Failed(cause_of(&*error))),
                Err(_) => Err(DialError::TimedOut(limit)),
            }
        })
    }
}

/// What the route says of itself, else it was the handshake.
fn cause_of(error: &(dyn Error + 'static)) -> ConnectCause {
    match find_cause::<RouteError>(error) {
        Some(RouteError(cause)) => cause.clone(),
        None => ConnectCause::Tls(innermost(error)),
    }
}

/// A failure before TLS towards the target begins.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RouteError(ConnectCause);

impl RouteError {
    fn dialling(error: &(dyn Error + 'static)) -> Self {
        if let Some(failed) = find_cause::<ResolveFailed>(error) {
            return Self(ConnectCause::Dns(failed.to_string()));
        }
        match find_cause::<io::Error>(error).map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => Self(ConnectCause::Refused),
            _ => Self(ConnectCause::Other(innermost(error))),
        }
    }
}

/// Direct, or through a proxy.
#[derive(Clone)]
struct Route {
    tcp: Tcp,
    to_proxy: HttpsConnector<Tcp>,
    routes: ProxyRoutes,
    open: Arc<OpenConnections>,
}

impl Service<Uri> for Route {
    type Response = Counted;
    type Error = RouteError;
    type Future = Pinned<Counted, RouteError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RouteError>> {
        self.tcp.poll_ready(cx).map_err(|error| RouteError::dialling(&error))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let open = Arc::clone(&self.open);
        let host = host_of(&target);
        let Some(proxy) = self.routes.intercept(&target) else {
            let dialling = self.tcp.call(target);
            return Box::pin(async move {
                let tcp = dialling.await.map_err(|error| RouteError::dialling(&error))?;
                Ok(Counted {
                    link: MaybeHttpsStream::Http(tcp),
                    absolute_form: false,
                    _open: open.enter(host),
                })
            });
        };
        let through_tunnel = target.scheme_str() == Some("https");
        let mut to_proxy = self.to_proxy.clone();
        Box::pin(async move {
            let link = match through_tunnel {
                true => {
                    let mut tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
                    if let Some(credential) = proxy.basic_auth() {
                        tunnel = tunnel.with_auth(credential.clone());
                    }
                    tunnel.call(target).await.map_err(|error| proxy_failed(&error))?
                }
                false => to_proxy.call(proxy.uri().clone()).await.map_err(|error| proxy_failed(&*error))?,
            };
            Ok(Counted { link, absolute_form: !through_tunnel, _open: open.enter(host) })
        })
    }
}

fn proxy_failed(error: &(dyn Error + 'static)) -> RouteError {
    RouteError(ConnectCause::Proxy(match RouteError::dialling(error).0 {
        ConnectCause::Other(detail) => detail,
        cause => cause.to_string(),
    }))
}

/// Which targets go through which proxy; nothing where there is no proxy.
#[derive(Clone)]
pub(crate) struct ProxyRoutes(Option<Arc<Matcher>>);

impl ProxyRoutes {
    pub(crate) fn new(proxies: &Proxies) -> Result<Self, BuildError> {
        if proxies.http.is_none() && proxies.https.is_none() {
            return Ok(Self(None));
        }
        let mut builder = Matcher::builder();
        if let Some(url) = &proxies.http {
            check_proxy("HTTP_PROXY", url.expose())?;
            builder = builder.http(url.expose());
        }
        if let Some(url) = &proxies.https {
            check_proxy("HTTPS_PROXY", url.expose())?;
            builder = builder.https(url.expose());
        }
        if let Some(hosts) = &proxies.no {
            builder = builder.no(hosts.as_str());
        }
        Ok(Self(Some(Arc::new(builder.build()))))
    }

    fn intercept(&self, target: &Uri) -> Option<Intercept> {
        let proxies = self.0.as_ref()?;
        if target.host().is_some_and(is_link_local) {
            return None;
        }
        proxies.intercept(target)
    }

    /// The `proxy-authorization` of a request that a proxy gets in absolute form.
    pub(crate) fn credential(&self, target: &Uri) -> Option<HeaderValue> {
        if target.scheme_str() != Some("http") {
            return None;
        }
        self.intercept(target)?.basic_auth().cloned()
    }
}

fn check_proxy(name: &'static str, url: &str) -> Result<(), BuildError> {
    let parsed: Uri = url.parse().map_err(|_| BuildError::Proxy(name))?;
    match parsed.scheme_str() {
        Some("http" | "https") | None if parsed.authority().is_some() => Ok(()),
        _ => Err(BuildError::Proxy(name)),
    }
}

/// Cloud metadata services answer only on the machine itself: a proxy would hand out its own identity.
fn is_link_local(host: &str) -> bool {
    if host == "metadata.google.internal" {
        return true;
    }
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Err(_) => false,
    }
}

/// Host and port of a URL, for messages and counters; leaves out what else an authority may hold.
pub(crate) fn host_of(url: &Uri) -> String {
    let host = url.host().unwrap_or_default();
    let usual = if url.scheme_str() == Some("http") { "80" } else { "443" };
    let port = url.port();
    [host, ":", port.as_ref().map_or(usual, |port| port.as_str())].concat()
}

/// How many connections are open, by target.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections(Mutex<HashMap<String, usize>>);

impl OpenConnections {
    fn enter(self: &Arc<Self>, host: String) -> Open {
        *self.0.lock().entry(host.clone()).or_default() += 1;
        Open { host, all: Arc::clone(self) }
    }

    /// Each target with at least one open connection.
    pub(crate) fn by_host(&self) -> Vec<(String, usize)> {
        self.0.lock().iter().map(|(host, count)| (host.clone(), *count)).collect()
    }
}

/// Counts one connection for as long as it lives.
struct Open {
    host: String,
    all: Arc<OpenConnections>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        if let Some(count) = all.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.host);
            }
        }
    }
}

/// A connection that is counted while it is open.
pub(crate) struct Counted {
    link: Link,
    absolute_form: bool,
    _open: Open,
}

impl fmt::Debug for Counted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Counted").field("absolute_form", &self.absolute_form).finish_non_exhaustive()
    }
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        self.link.connected().proxy(self.absolute_form)
    }
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_read(cx, into)
    }
}

impl Write for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}
