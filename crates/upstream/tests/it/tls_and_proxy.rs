//! Certificates, HTTP/2 and forward proxies.

use std::sync::Arc;
use std::time::Duration;

use faregate_terms::Secret;
use faregate_upstream::{
    Auth, BuildError, ConnectCause, Proxies, SendError, Upstream, UpstreamSettings, Verify,
};
use http::Response;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::server::{Server, pieces, post, status, whole};

/// A certificate authority's PEM text, and a server identity for `localhost` that it signed.
pub fn own_authority() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&server_key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn only_a_trusted_certificate_is_accepted_unless_checks_are_off() {
    let (pem, acceptor) = own_authority();
    let server = Server::start_tls(acceptor, |_| Response::new(whole("ok"))).await;
    let url = format!("https://localhost:{}/", server.address.port());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();

    let with = |ssl_verify: Verify, ca_file| {
        Upstream::new(&UpstreamSettings { ssl_verify, ca_file, ..UpstreamSettings::default() }).unwrap()
    };
    let error = with(Verify::On, None).send(post(&url, &Auth::NONE, "")).await.unwrap_err();
    let SendError::Connect { cause: ConnectCause::Tls(detail), .. } = &error else { panic!("{error:?}") };
    assert!(detail.contains("UnknownIssuer"), "{detail}");

    for upstream in [
        with(Verify::Bundle(file.clone()), None),
        with(Verify::On, Some(file.clone())),
        with(Verify::Off, None),
    ] {
        assert_eq!(upstream.send(post(&url, &Auth::NONE, "")).await.unwrap().status, 200);
    }

    let missing =
        UpstreamSettings { ca_file: Some(folder.path().join("none.pem")), ..UpstreamSettings::default() };
    assert!(matches!(Upstream::new(&missing), Err(BuildError::CaFile { .. })));
}

#[tokio::test]
async fn http2_is_negotiated_and_carries_parallel_requests_on_one_connection() {
    let (_, acceptor) = own_authority();
    let server = Server::start_tls(acceptor, |seen| Response::new(whole(seen.body.clone()))).await;
    let url = format!("https://localhost:{}/", server.address.port());
    let settings = UpstreamSettings { ssl_verify: Verify::Off, ..UpstreamSettings::default() };
    let upstream = Upstream::new(&settings).unwrap();
    upstream.send(post(&url, &Auth::NONE, "warm")).await.unwrap().body.collect(10).await.unwrap();
    let (one, two) = tokio::join!(
        upstream.send(post(&url, &Auth::NONE, "one")),
        upstream.send(post(&url, &Auth::NONE, "two"))
    );
    assert_eq!(one.unwrap().body.collect(10).await.unwrap(), "one");
    assert_eq!(two.unwrap().body.collect(10).await.unwrap(), "two");
    assert_eq!(server.connections(), 1);

    let http1 = Upstream::new(&UpstreamSettings { http2: false, ..settings }).unwrap();
    http1.send(post(&url, &Auth::NONE, "")).await.unwrap();
    assert!(server.seen().last().unwrap().target.starts_with('/'), "origin form is HTTP/1.1's");
}

#[tokio::test]
async fn dropping_a_body_on_http2_resets_its_stream_and_keeps_the_connection() {
    let (_, acceptor) = own_authority();
    let (feed, body) = pieces();
    let body = std::sync::Mutex::new(Some(body));
    let server = Server::start_tls(acceptor, move |_| {
        Response::new(body.lock().unwrap().take().unwrap_or_else(|| whole("ok")))
    })
    .await;
    let url = format!("https://localhost:{}/", server.address.port());
    let settings = UpstreamSettings { ssl_verify: Verify::Off, ..UpstreamSettings::default() };
    let upstream = Upstream::new(&settings).unwrap();
    feed.send("one");
    let mut answer = upstream.send(post(&url, &Auth::NONE, "")).await.unwrap();
    answer.body.chunk().await.unwrap().unwrap();
    drop(answer);
    tokio::time::timeout(Duration::from_secs(1), feed.cancelled()).await.unwrap();
    let answer = upstream.send(post(&url, &Auth::NONE, "")).await.unwrap();
    assert_eq!(answer.body.collect(10).await.unwrap(), "ok");
    assert_eq!(server.connections(), 1);
}

/// A proxy that understands CONNECT, connects everything to `target`, and reports each request head.
async fn connect_proxy(target: std::net::SocketAddr) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (report, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).await.unwrap();
            }
            report.send(head).unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let mut onward = TcpStream::connect(target).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut onward).await });
        }
    });
    (port, heads)
}

#[tokio::test]
async fn https_goes_through_a_tunnel_with_the_proxys_credential() {
    let (_, acceptor) = own_authority();
    let server = Server::start_tls(acceptor, |_| Response::new(whole("ok"))).await;
    let (port, mut heads) = connect_proxy(server.address).await;
    let proxies = Proxies {
        https: Some(Secret::new(format!("http://user:p%40ss@127.0.0.1:{port}"))),
        ..Proxies::default()
    };
    let settings = UpstreamSettings { ssl_verify: Verify::Off, proxies, ..UpstreamSettings::default() };
    let upstream = Upstream::new(&settings).unwrap();
    let answer = upstream.send(post("https://provider.example/v1", &Auth::NONE, "")).await.unwrap();
    assert_eq!(answer.body.collect(10).await.unwrap(), "ok");
    let head = heads.recv().await.unwrap().to_ascii_lowercase();
    assert!(head.starts_with("connect provider.example:443 http/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic dxnlcjpwqhnz"), "{head}");
    assert_eq!(server.seen()[0].header("proxy-authorization"), "");
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_away_is_named_as_the_cause() {
    let refusing = Server::start(|_| status(407, "")).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (address, words) in [(refusing.address, "authorization required"), (closed, "connection refused")] {
        let https = Some(Secret::new(format!("http://user:pw-secret@{address}")));
        let proxies = Proxies { https, ..Proxies::default() };
        let upstream = Upstream::new(&UpstreamSettings { proxies, ..UpstreamSettings::default() }).unwrap();
        let error = upstream.send(post("https://provider.example/v1", &Auth::NONE, "")).await.unwrap_err();
        let SendError::Connect { cause: ConnectCause::Proxy(detail), .. } = &error else {
            panic!("{error:?}")
        };
        assert!(detail.contains(words), "{detail}");
        assert!(!error.to_string().contains("pw-secret"), "{error}");
    }
}

#[tokio::test]
async fn http_goes_to_the_proxy_in_absolute_form_except_where_no_proxy_says_otherwise() {
    let proxy = Server::start(|_| Response::new(whole("from the proxy"))).await;
    let direct = Server::start(|_| Response::new(whole("direct"))).await;
    let proxies = Proxies {
        http: Some(Secret::new(format!("http://user:pw@{}", proxy.address))),
        https: None,
        no: Some("localhost, 10.0.0.0/8".to_owned()),
    };
    let upstream = Upstream::new(&UpstreamSettings { proxies, ..UpstreamSettings::default() }).unwrap();
    let answer = upstream.send(post("http://provider.example/v1?x=1", &Auth::NONE, "")).await.unwrap();
    assert_eq!(answer.body.collect(100).await.unwrap(), "from the proxy");
    assert_eq!(proxy.seen()[0].target, "http://provider.example/v1?x=1");
    assert_eq!(proxy.seen()[0].header("proxy-authorization"), "Basic dXNlcjpwdw==");

    let url = format!("http://localhost:{}/", direct.address.port());
    let answer = upstream.send(post(&url, &Auth::NONE, "")).await.unwrap();
    assert_eq!(answer.body.collect(100).await.unwrap(), "direct");
    assert_eq!(direct.seen()[0].header("proxy-authorization"), "");
}

#[tokio::test]
async fn a_proxy_url_that_is_none_is_refused_without_showing_its_password() {
    let proxies = Proxies { https: Some("socks9://u:pass word@h".into()), ..Proxies::default() };
    let error = Upstream::new(&UpstreamSettings { proxies, ..UpstreamSettings::default() }).unwrap_err();
    assert!(error.to_string().contains("HTTPS_PROXY") && !error.to_string().contains("pass word"), "{error}");
}
