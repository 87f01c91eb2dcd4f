//! Which connections are used again, and which never.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use faregate_upstream::{Auth, SendError, Timeouts, Upstream, UpstreamSettings, Verify};
use http::Response;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::server::{Server, pieces, post, whole};
use crate::tls_and_proxy::own_authority;

fn upstream() -> Upstream {
    Upstream::new(&UpstreamSettings::default()).unwrap()
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

/// Reads until the request has come to its end, which is `end`.
async fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
}

async fn ask(upstream: &Upstream, url: &str, body: impl Into<Bytes>) -> Bytes {
    let answer = upstream.send(post(url, &Auth::NONE, body)).await.unwrap();
    answer.body.collect(1024).await.unwrap()
}

#[tokio::test]
async fn bytes_beyond_an_answer_are_never_taken_for_the_next_one() {
    let (listener, url) = listener().await;
    let serving = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        read_until(&mut first, b"one").await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let smuggled = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
        first.write_all(&[&answer[..], smuggled].concat()).await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        read_until(&mut second, b"two").await;
        second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood").await.unwrap();
    });
    let upstream = upstream();
    assert_eq!(ask(&upstream, &url, "one").await, "ok");
    assert_eq!(ask(&upstream, &url, "two").await, "good");
    serving.await.unwrap();
}

#[tokio::test]
async fn an_answer_before_the_end_of_a_large_body_is_read_and_its_connection_not_used_again() {
    let (listener, url) = listener().await;
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nmuch").await.unwrap();
        // The rest of the body stays unread for as long as the connection is there.
        let _ = ended.await;
    });
    let upstream = upstream();
    let body = vec![b'x'; 16 * 1024 * 1024];
    let answer = upstream.send(post(&url, &Auth::NONE, body)).await.unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(answer.body.collect(10).await.unwrap(), "much");
    assert_eq!(upstream.open_connections(), []);
    end.send(()).unwrap();
}

#[tokio::test]
async fn a_connection_that_asks_to_be_closed_is_closed() {
    let (listener, url) = listener().await;
    tokio::spawn(async move {
        for text in ["one", "two"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, text.as_bytes()).await;
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\n";
            stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        }
    });
    let upstream = upstream();
    assert_eq!(ask(&upstream, &url, "one").await, "one");
    assert_eq!(upstream.open_connections(), []);
    assert_eq!(ask(&upstream, &url, "two").await, "two");
}

#[tokio::test]
async fn a_connection_whose_request_was_given_up_while_it_was_made_serves_the_next() {
    let (_, acceptor) = own_authority();
    let (listener, _) = listener().await;
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let (tell, is_made) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        may_go_on.await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        tell.send(()).unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"again") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkept").await.unwrap();
        stream.flush().await.unwrap();
        read
    });
    let settings = UpstreamSettings { ssl_verify: Verify::Off, http2: false, ..UpstreamSettings::default() };
    let upstream = Upstream::new(&settings).unwrap();
    let mut impatient = post(&url, &Auth::NONE, "given up");
    impatient.timeouts = Timeouts { total: Some(Duration::from_millis(20)), ..Timeouts::default() };
    let error = upstream.send(impatient).await.unwrap_err();
    assert!(matches!(error, SendError::Timeout { .. }), "{error:?}");
    go_on.send(()).unwrap();
    is_made.await.unwrap();
    assert_eq!(ask(&upstream, &url, "again").await, "kept");
    let read = String::from_utf8(serving.await.unwrap()).unwrap();
    assert!(!read.contains("given up"), "{read}");
}

#[tokio::test]
async fn requests_at_the_same_time_have_a_connection_each_and_no_more_are_kept_than_may_be() {
    let (feeds, mut fed) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_| {
        let (feed, body) = pieces();
        feeds.send(feed).unwrap();
        http::Response::new(body)
    })
    .await;
    let settings = UpstreamSettings { max_idle_per_host: 2, ..UpstreamSettings::default() };
    let upstream = Upstream::new(&settings).unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(upstream.send(post(&server.url("/"), &Auth::NONE, "")).await.unwrap());
    }
    assert_eq!(server.connections(), 3);
    for answer in answers {
        let feed = fed.recv().await.unwrap();
        feed.send("done");
        drop(feed);
        assert_eq!(answer.body.collect(10).await.unwrap(), "done");
    }
    assert_eq!(upstream.open_connections(), [(server.address.to_string(), 2)]);
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_its_time_is_over() {
    let server = Server::start(|_| http::Response::new(whole("ok"))).await;
    let settings =
        UpstreamSettings { pool_idle_timeout: Duration::from_millis(50), ..UpstreamSettings::default() };
    let upstream = Upstream::new(&settings).unwrap();
    assert_eq!(ask(&upstream, &server.url("/"), "").await, "ok");
    tokio::time::timeout(Duration::from_secs(10), async {
        while !upstream.open_connections().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_http2_connection_that_takes_no_more_requests_is_left_to_those_it_has() {
    let (_, acceptor) = own_authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let (feed, body) = pieces();
    let feed = Arc::new(feed);
    let their_feed = Arc::clone(&feed);
    let (say, mut said) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let open = Mutex::new(Some(body));
        let slow = service_fn(|_| {
            let body = open.lock().unwrap().take().unwrap();
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let (stream, _) = listener.accept().await.unwrap();
        let io = TokioIo::new(acceptor.accept(stream).await.unwrap());
        let mut leaving = pin!(http2::Builder::new(TokioExecutor::new()).serve_connection(io, slow));
        tokio::select! {
            _ = leaving.as_mut() => panic!("the first connection ended"),
            _ = &mut said => leaving.as_mut().graceful_shutdown(),
        }
        // Comes behind the word that the server wants no more.
        their_feed.send("two");
        drop(their_feed);
        let next = async {
            let (stream, _) = listener.accept().await.unwrap();
            let io = TokioIo::new(acceptor.accept(stream).await.unwrap());
            let quick = service_fn(|_| async { Ok::<_, Infallible>(Response::new(whole("next"))) });
            let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, quick).await;
        };
        // Nobody would accept a third one.
        tokio::join!(async { leaving.await.unwrap() }, next);
    });
    let settings = UpstreamSettings { ssl_verify: Verify::Off, ..UpstreamSettings::default() };
    let upstream = Upstream::new(&settings).unwrap();
    feed.send("one");
    let mut first = upstream.send(post(&url, &Auth::NONE, "")).await.unwrap();
    assert_eq!(first.body.chunk().await.unwrap().unwrap(), "one");
    say.send(()).unwrap();
    assert_eq!(first.body.chunk().await.unwrap().unwrap(), "two");
    assert_eq!(ask(&upstream, &url, "").await, "next");
    assert_eq!(ask(&upstream, &url, "").await, "next");
    drop(feed);
    assert_eq!(first.body.collect(10).await.unwrap(), "", "what was under way came to its end");
    drop(upstream);
    serving.await.unwrap();
}
