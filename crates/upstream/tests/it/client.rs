//! Pooling, time limits, cancellation and fixed keys.

use std::time::Duration;

use bytes::Bytes;
use faregate_terms::{Fault, FaultClass, Secret};
use faregate_upstream::{
    Auth, AuthSpec, ConnectCause, DnsChoice, EnvView, SendError, Timeouts, Upstream, UpstreamSettings, Wait,
};
use http::{HeaderValue, Response, StatusCode};
use tokio::net::TcpListener;

use crate::server::{Server, pieces, post, whole};

fn upstream() -> Upstream {
    Upstream::new(&UpstreamSettings::default()).unwrap()
}

#[tokio::test]
async fn bytes_arrive_and_return_exactly_and_the_connection_is_used_again() {
    let server = Server::start(|seen| {
        Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .header("x-kept", "yes")
            .body(whole(seen.body.clone()))
            .unwrap()
    })
    .await;
    let upstream = upstream();
    let body = Bytes::from_static(b"{\"a\" :\t1, \"\xc3\xa9\": \"\\u00e9\"}\n");
    for _ in 0..3 {
        let mut request = post(&server.url("/v1/x%3Ay?a=b%20c"), &Auth::NONE, body.clone());
        request.headers.insert("host", HeaderValue::from_static("the-gateway.example"));
        request.headers.insert("content-length", HeaderValue::from_static("7"));
        let answer = upstream.send(request).await.unwrap();
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
        assert_eq!(answer.headers["x-kept"], "yes");
        assert_eq!(answer.body.collect(1024).await.unwrap(), body);
    }
    assert_eq!(server.connections(), 1);
    let host = server.address.to_string();
    assert_eq!(upstream.open_connections(), [(host.clone(), 1)]);
    let seen = &server.seen()[0];
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/v1/x%3Ay?a=b%20c", host.as_str()));
    assert!(seen.header("user-agent").starts_with("faregate/"));
    assert_eq!(seen.body, body);
}

#[tokio::test]
async fn fixed_keys_go_where_their_scheme_says() {
    let server = Server::start(|_| Response::new(whole("ok"))).await;
    let upstream = upstream();
    let specs = [
        AuthSpec::Bearer(Secret::new("sk-1\n")),
        AuthSpec::Header { name: "X-Api-Key".into(), secret: "k2".into() },
        AuthSpec::Header { name: "authorization".into(), secret: "Token k3".into() },
        AuthSpec::Query { name: "key".into(), secret: "k&4 é".into() },
    ];
    for spec in specs {
        let auth = upstream.authenticator(spec, &EnvView::empty()).unwrap();
        upstream.send(post(&server.url("/p?alt=sse"), &auth, "")).await.unwrap();
    }
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), "Bearer sk-1");
    assert_eq!(seen[1].header("x-api-key"), "k2");
    assert_eq!(seen[2].header("authorization"), "Token k3");
    assert_eq!(seen[3].target, "/p?alt=sse&key=k%264%20%C3%A9");
}

#[tokio::test]
async fn a_key_that_cannot_be_sent_is_refused_without_being_shown() {
    let error =
        upstream().authenticator(AuthSpec::Bearer("sk-se\ncret".into()), &EnvView::empty()).unwrap_err();
    assert!(error.message.contains("line break") && !error.message.contains("cret"), "{error}");
}

#[tokio::test]
async fn deployments_with_the_same_credential_share_it_while_it_is_in_use() {
    let upstream = upstream();
    let env = EnvView::empty();
    let auth = |key: &str, env: &EnvView| upstream.authenticator(AuthSpec::Bearer(key.into()), env).unwrap();
    let first = auth("a", &env);
    assert!(std::sync::Arc::ptr_eq(&first, &auth("a", &env)));
    assert!(!std::sync::Arc::ptr_eq(&first, &auth("b", &env)));
    assert!(!std::sync::Arc::ptr_eq(&first, &auth("a", &EnvView::empty())));
}

#[tokio::test]
async fn a_server_that_does_not_begin_to_answer_is_a_timeout_that_names_only_the_host() {
    let server = Server::start_async(|_| std::future::pending()).await;
    let mut request = post(&server.url("/secret-path?key=sk-secret"), &Auth::NONE, "x");
    request.timeouts = Timeouts { first_byte: Some(Duration::from_millis(50)), ..Timeouts::default() };
    let error = upstream().send(request).await.unwrap_err();
    assert!(matches!(error, SendError::Timeout { wait: Wait::FirstByte, .. }), "{error:?}");
    let fault = Fault::from(error);
    assert_eq!(fault.class, FaultClass::Timeout);
    assert_eq!(fault.message, format!("{} did not begin to answer within 0.05s", server.address));
}

#[tokio::test]
async fn a_body_that_stalls_is_an_error_and_the_pieces_before_it_are_not_lost() {
    let (feed, body) = pieces();
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::start(move |_| Response::new(body.lock().unwrap().take().unwrap())).await;
    let upstream = upstream();
    let mut request = post(&server.url("/"), &Auth::NONE, "");
    request.timeouts.idle = Some(Duration::from_millis(80));
    feed.send("one");
    let mut answer = upstream.send(request).await.unwrap();
    assert_eq!(answer.body.chunk().await.unwrap().unwrap(), "one");
    feed.send("two");
    assert_eq!(answer.body.chunk().await.unwrap().unwrap(), "two");
    let error = answer.body.chunk().await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Timeout { wait: Wait::Idle, .. }), "{error:?}");
    assert!(answer.body.chunk().await.is_none());
    tokio::time::timeout(Duration::from_secs(1), feed.cancelled()).await.unwrap();
}

#[tokio::test]
async fn the_total_limit_ends_a_body_that_keeps_coming() {
    let (feed, body) = pieces();
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::start(move |_| Response::new(body.lock().unwrap().take().unwrap())).await;
    let upstream = upstream();
    let mut request = post(&server.url("/"), &Auth::NONE, "");
    request.timeouts.total = Some(Duration::from_millis(150));
    request.timeouts.idle = Some(Duration::from_secs(60));
    let mut answer = upstream.send(request).await.unwrap();
    let error = loop {
        feed.send(".");
        match answer.body.chunk().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SendError::Timeout { wait: Wait::Total, .. }), "{error:?}");
}

#[tokio::test]
async fn dropping_the_body_or_the_request_tells_the_provider_within_a_second() {
    let (feed, body) = pieces();
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::start(move |_| Response::new(body.lock().unwrap().take().unwrap())).await;
    let upstream = upstream();
    feed.send("one");
    let mut answer = upstream.send(post(&server.url("/"), &Auth::NONE, "")).await.unwrap();
    answer.body.chunk().await.unwrap().unwrap();
    drop(answer);
    tokio::time::timeout(Duration::from_secs(1), feed.cancelled()).await.unwrap();

    let (feed, body) = pieces();
    let body = std::sync::Arc::new(body);
    let (arrived, mut arrivals) = tokio::sync::mpsc::channel(1);
    let holds = std::sync::Mutex::new(Some(body));
    let server = Server::start_async(move |_| {
        let (held, arrived) = (holds.lock().unwrap().take(), arrived.clone());
        async move {
            arrived.send(()).await.unwrap();
            let _held = held;
            std::future::pending().await
        }
    })
    .await;
    let url = server.url("/");
    let sending = tokio::spawn(async move { upstream.send(post(&url, &Auth::NONE, "")).await.map(drop) });
    arrivals.recv().await.unwrap();
    sending.abort();
    tokio::time::timeout(Duration::from_secs(1), feed.cancelled()).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_went_stale_in_the_pool_is_replaced_without_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Each connection is closed after one answer, without a word in its headers.
    let serving = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            assert_ne!(stream.read(&mut buffer).await.unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    });
    let upstream = upstream();
    for _ in 0..3 {
        let answer = upstream.send(post(&format!("http://{address}/"), &Auth::NONE, "x")).await.unwrap();
        assert_eq!(answer.body.collect(10).await.unwrap(), "ok");
        // The close has been seen when the connection is no longer counted.
        while !upstream.open_connections().is_empty() {
            tokio::task::yield_now().await;
        }
    }
    serving.await.unwrap();
}

#[tokio::test]
async fn a_connection_cut_in_mid_body_is_an_error_not_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
    });
    let mut answer = upstream().send(post(&format!("http://{address}/"), &Auth::NONE, "")).await.unwrap();
    assert_eq!(answer.body.chunk().await.unwrap().unwrap(), "one");
    let error = answer.body.chunk().await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Broken { .. }), "{error:?}");
    assert_eq!(error.class(), FaultClass::Connection);
}

#[tokio::test]
async fn refused_and_unresolved_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = upstream().send(post(&format!("http://{closed}/"), &Auth::NONE, "")).await.unwrap_err();
    assert!(matches!(&error, SendError::Connect { cause: ConnectCause::Refused, .. }), "{error:?}");
    assert!(error.is_unsent());

    for dns in [DnsChoice::System, DnsChoice::Builtin] {
        let upstream = Upstream::new(&UpstreamSettings { dns, ..UpstreamSettings::default() }).unwrap();
        let error =
            upstream.send(post("http://no-such-host.invalid./?key=s", &Auth::NONE, "")).await.unwrap_err();
        let SendError::Connect { host, cause: ConnectCause::Dns(_) } = &error else { panic!("{error:?}") };
        assert_eq!(host, "no-such-host.invalid.:80");
    }
}

#[tokio::test]
async fn a_peer_that_accepts_and_never_shakes_hands_is_a_connect_timeout() {
    // The kernel completes the TCP handshake; nobody ever answers the TLS one.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings =
        UpstreamSettings { connect_timeout: Duration::from_millis(50), ..UpstreamSettings::default() };
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let error = Upstream::new(&settings).unwrap().send(post(&url, &Auth::NONE, "")).await.unwrap_err();
    assert!(matches!(error, SendError::Timeout { wait: Wait::Connect, .. }), "{error:?}");
    assert!(error.is_unsent());
}

#[tokio::test]
async fn a_name_resolves_with_either_resolver() {
    let server = Server::start(|_| Response::new(whole("ok"))).await;
    for dns in [DnsChoice::System, DnsChoice::Builtin] {
        let upstream = Upstream::new(&UpstreamSettings { dns, ..UpstreamSettings::default() }).unwrap();
        let url = format!("http://localhost:{}/", server.address.port());
        assert_eq!(upstream.send(post(&url, &Auth::NONE, "")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn an_answer_over_the_callers_limit_is_refused() {
    let server = Server::start(|_| Response::new(whole("12345"))).await;
    let answer = upstream().send(post(&server.url("/"), &Auth::NONE, "")).await.unwrap();
    let error = answer.body.collect(4).await.unwrap_err();
    assert!(matches!(error, SendError::TooLarge { limit: 4, .. }), "{error:?}");
}

#[tokio::test]
async fn a_url_that_cannot_be_called_says_so() {
    for url in ["/v1/chat", "ftp://host/x"] {
        let error = upstream().send(post(url, &Auth::NONE, "")).await.unwrap_err();
        assert!(matches!(error, SendError::Unsendable(_)), "{error:?}");
    }
}
