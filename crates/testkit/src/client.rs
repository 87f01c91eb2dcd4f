//! A plain HTTP/1.1 client: one connection per request, nothing retried, nothing hidden.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Calls one gateway with one key.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    key: String,
    more: HeaderMap,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none; the body is shown.
    #[expect(clippy::panic, reason = "a test that expects JSON has failed without")]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's text, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The `event:` line, if there is one.
    pub event: Option<String>,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

impl Frame {
    /// The data as JSON; `None` for `[DONE]` and other words.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.data).ok()
    }
}

impl Client {
    /// A client of `address` that sends `key` as a bearer token.
    pub fn new(address: SocketAddr, key: &str) -> Self {
        Self { address, key: key.to_owned(), more: HeaderMap::new() }
    }

    /// The same client with a further header.
    ///
    /// # Panics
    /// If HTTP does not allow the value.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test that sends no header has failed")]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.more.insert(name, value.parse().expect("a header's value"));
        self
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::POST, path, Bytes::from(body.to_string())).await
    }

    /// Gets.
    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Posts JSON and collects the events of the stream; comments are left out.
    ///
    /// # Panics
    /// If the answer is no event stream; it is shown.
    pub async fn stream(&self, path: &str, body: &Value) -> Vec<Frame> {
        let reply = self.post(path, body).await;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let kind = reply.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{} {kind}: {text}", reply.status);
        frames(&text)
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Panics
    /// If the gateway does not answer, or breaks off.
    #[expect(clippy::expect_used, reason = "a test without an answer has failed")]
    pub async fn call(&self, method: Method, path: &str, body: Bytes) -> Reply {
        let stream = TcpStream::connect(self.address).await.expect("the gateway accepts connections");
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.expect("a connection speaks HTTP/1.1");
        let driver = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .expect("path and key make a request");
        request.headers_mut().extend(self.more.clone());
        let answer = sender.send_request(request).await.expect("the gateway answers");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("the answer is whole").to_bytes();
        drop(sender);
        driver.abort();
        Reply { status: head.status, headers: head.headers, body }
    }
}

/// Server-sent events of a whole stream, comments left out.
pub fn frames(text: &str) -> Vec<Frame> {
    let text = text.replace("\r\n", "\n");
    let read = |block: &str| {
        let field = |name: &str| {
            let values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let values: Vec<&str> = values.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect();
            (!values.is_empty()).then(|| values.join("\n"))
        };
        Some(Frame { event: field("event"), data: field("data")? })
    };
    text.split("\n\n").filter_map(read).collect()
}
