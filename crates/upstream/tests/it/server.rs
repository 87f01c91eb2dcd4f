//! A scripted HTTP server: answers by a function, remembers what it received, counts connections.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use faregate_upstream::{Auth, AuthSpec, EnvView, Outgoing, SendError, Timeouts, Upstream, UpstreamSettings};
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What a server answers with: pieces that the test sends when it likes.
pub struct Pieces {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    /// Closed when hyper drops the body.
    _gone: mpsc::Sender<()>,
}

/// The test's end of [`Pieces`].
pub struct Feed {
    sender: mpsc::UnboundedSender<Bytes>,
    gone: mpsc::Receiver<()>,
}

pub fn pieces() -> (Feed, Pieces) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (gone_sender, gone) = mpsc::channel(1);
    (Feed { sender, gone }, Pieces { receiver, _gone: gone_sender })
}

/// A body that is there at once.
pub fn whole(text: impl Into<Bytes>) -> Pieces {
    let (feed, pieces) = pieces();
    feed.send(text);
    pieces
}

impl Feed {
    pub fn send(&self, bytes: impl Into<Bytes>) {
        self.sender.send(bytes.into()).unwrap();
    }

    /// Returns when the server has seen that nobody wants the body any more.
    pub async fn cancelled(mut self) {
        assert_eq!(self.gone.recv().await, None);
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.receiver.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    /// As in the request line: path and query, or absolute for a proxy.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The decoded value of one field of a form body.
    pub fn field(&self, name: &str) -> Option<String> {
        self.text().split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let decode =
                |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
            (decode(key) == name).then(|| decode(value))
        })
    }
}

pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Answering = Pin<Box<dyn Future<Output = Response<Pieces>> + Send>>;
type Handler = Arc<dyn Fn(Seen) -> Answering + Send + Sync>;

impl Server {
    /// Answers at once by `answer`.
    pub async fn start(answer: impl Fn(&Seen) -> Response<Pieces> + Send + Sync + 'static) -> Self {
        Self::serve(
            None,
            Arc::new(move |seen| {
                let answer = answer(&seen);
                Box::pin(async move { answer })
            }),
        )
        .await
    }

    /// Answers when the future of `answer` is ready.
    pub async fn start_async<F>(answer: impl Fn(Seen) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Pieces>> + Send + 'static,
    {
        Self::serve(None, Arc::new(move |seen| Box::pin(answer(seen)))).await
    }

    pub async fn start_tls(
        acceptor: TlsAcceptor,
        answer: impl Fn(&Seen) -> Response<Pieces> + Send + Sync + 'static,
    ) -> Self {
        let handler: Handler = Arc::new(move |seen| {
            let answer = answer(&seen);
            Box::pin(async move { answer })
        });
        Self::serve(Some(acceptor), handler).await
    }

    async fn serve(tls: Option<TlsAcceptor>, handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (count, log) = (Arc::clone(&connections), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (tls, handler, log) = (tls.clone(), Arc::clone(&handler), Arc::clone(&log));
                tokio::spawn(async move {
                    match tls {
                        None => speak(stream, handler, log).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                speak(stream, handler, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, connections, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: Handler,
    log: Arc<Mutex<Vec<Seen>>>,
) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            let seen =
                Seen { method: head.method, target: head.uri.to_string(), headers: head.headers, body };
            log.lock().unwrap().push(seen.clone());
            Ok::<_, std::io::Error>(handler(seen).await)
        }
    });
    // An error is a client that went away, which several tests are about.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// A POST of `body` without limits.
pub fn post<'a>(url: &str, auth: &'a Auth, body: impl Into<Bytes>) -> Outgoing<'a> {
    Outgoing {
        method: Method::POST,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: body.into().into(),
        auth,
        timeouts: Timeouts::default(),
    }
}

/// An environment of exactly these variables.
pub fn env<const N: usize>(variables: [(&str, &str); N]) -> EnvView {
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    EnvView::new(move |name| {
        variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    })
}

pub fn status(code: u16, text: impl Into<Bytes>) -> Response<Pieces> {
    Response::builder().status(code).body(whole(text)).unwrap()
}

pub fn ok(text: impl Into<Bytes>) -> Response<Pieces> {
    status(200, text)
}

impl Server {
    /// What arrived at this path, in order.
    pub fn seen_at(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.target.split('?').next() == Some(path)).collect()
    }

    /// Sends one request to `/provider` with `spec`'s credential and returns it as it arrived.
    pub async fn call_with(&self, spec: AuthSpec, env: &EnvView) -> Result<Seen, SendError> {
        let upstream = Upstream::new(&UpstreamSettings::default()).unwrap();
        let auth = upstream.authenticator(spec, env)?;
        upstream.send(post(&self.url("/provider"), &auth, "{}")).await?;
        Ok(self.seen_at("/provider").pop().unwrap())
    }
}
