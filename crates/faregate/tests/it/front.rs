//! The listener as browsers, TLS clients and proxies meet it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tempfile::{TempDir, tempdir};

use crate::process::{Answer, Running, errors, faregate, run};

fn demo(variables: &[(&str, &str)], args: &[&str]) -> (TempDir, Running, String) {
    let folder = tempdir().unwrap();
    let mut command = faregate(folder.path(), args);
    command.envs(variables.iter().copied());
    let running = Running::of(command);
    let key = fs::read_to_string(folder.path().join("data/master_key")).unwrap().trim().to_owned();
    (folder, running, key)
}

#[test]
fn the_front_page_is_the_reference_unless_told_otherwise() {
    let (_folder, running, _) = demo(&[], &[]);
    let page = running.call("GET", "/", "none", b"");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("text/html") && page.body.contains("\"/openapi.json\""), "{}", page.body);
    let document = running.call("GET", "/openapi.json", "none", b"").json();
    for path in ["/v1/chat/completions", "/v1beta/models/{model}:generateContent", "/key/generate"] {
        assert!(document["paths"][path]["post"]["summary"].is_string(), "{path}");
    }
    assert_eq!(running.call("POST", "/", "none", b"").status, 405);
    let (_folder, running, _) = demo(&[("NO_DOCS", "true")], &[]);
    assert_eq!(running.call("GET", "/", "none", b"").status, 404);
    let (_folder, running, _) = demo(&[("ROOT_REDIRECT_URL", "/elsewhere")], &[]);
    let answer = running.call("GET", "/", "none", b"");
    assert_eq!(answer.status, 307);
    assert!(answer.head.contains("location: /elsewhere"), "{}", answer.head);
}

#[test]
fn server_root_path_is_in_front_of_every_route() {
    let (_folder, running, key) = demo(&[("SERVER_ROOT_PATH", "/llm/")], &[]);
    assert_eq!(running.call("GET", "/llm/v1/models", &key, b"").status, 200);
    assert_eq!(running.call("GET", "/v1/models", &key, b"").status, 404);
    assert!(running.call("GET", "/llm", &key, b"").body.contains("\"/llm/openapi.json\""));
}

#[test]
fn browsers_of_listed_origins_may_send_what_they_ask_to_send_and_others_may_not() {
    let (_folder, running, key) = demo(&[("LITELLM_CORS_ORIGINS", "https://a.test, https://b.test")], &[]);
    let preflight = |origin: &str| {
        let more = format!(
            "origin: {origin}\r\naccess-control-request-method: POST\r\naccess-control-request-headers: authorization,x-api-key\r\n"
        );
        Answer::read(running.begin("OPTIONS /v1/chat/completions", &key, &more, b""))
    };
    let allowed = preflight("https://b.test");
    assert_eq!(allowed.status, 204);
    for header in
        ["allow-origin: https://b.test", "allow-headers: authorization,x-api-key", "allow-methods: get, post"]
    {
        assert!(allowed.head.contains(&format!("access-control-{header}")), "{}", allowed.head);
    }
    assert!(!preflight("https://c.test").head.contains("access-control-allow-origin"));
    let call = Answer::read(running.begin("GET /v1/models", &key, "origin: https://a.test\r\n", b""));
    assert!(call.head.contains("access-control-allow-origin: https://a.test"), "{}", call.head);
}

#[test]
fn above_the_limit_of_connections_requests_are_503() {
    let (_folder, running, key) = demo(&[], &["--limit_concurrency", "1"]);
    assert_eq!(running.call("GET", "/v1/models", &key, b"").status, 200);
    let _open = TcpStream::connect(&running.address).unwrap();
    assert_eq!(running.call("GET", "/v1/models", &key, b"").status, 503);
}

#[test]
fn an_idle_connection_is_closed_after_the_keepalive_time() {
    let (_folder, running, _) = demo(&[], &["--keepalive_timeout", "1"]);
    let mut open = TcpStream::connect(&running.address).unwrap();
    let line = b"GET /health/liveliness HTTP/1.1\r\nhost: test\r\n\r\n";
    open.write_all(line).unwrap();
    let mut all = Vec::new();
    // Ends only when the gateway closes.
    open.read_to_end(&mut all).unwrap();
    assert!(String::from_utf8_lossy(&all).starts_with("HTTP/1.1 200"));
}

/// Writes `cert.pem` and `key.pem` for `localhost`.
fn certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

fn tls(
    folder: &Path,
    address: &str,
    protocol: &[u8],
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()).unwrap();
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(connection, TcpStream::connect(address).unwrap())
}

#[test]
fn the_tls_listener_speaks_http_1_and_http_2_by_what_the_client_offers() {
    let folder = tempdir().unwrap();
    certificate(folder.path());
    let args = ["--ssl_certfile_path", "cert.pem", "--ssl_keyfile_path", "key.pem"];
    let running = Running::start(folder.path(), &args);
    assert!(running.greeting.iter().any(|line| line.contains("listening on https://")));

    let mut one = tls(folder.path(), &running.address, b"http/1.1");
    one.write_all(b"GET /health/liveliness HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(Answer::read(&mut one).body, "\"I'm alive!\"");
    assert_eq!(one.conn.alpn_protocol(), Some(&b"http/1.1"[..]));

    let mut two = tls(folder.path(), &running.address, b"h2");
    two.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut head = [0; 9];
    two.read_exact(&mut head).unwrap();
    assert_eq!(two.conn.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(head[3], 4, "the first frame of HTTP/2 is SETTINGS");

    let health = run(folder.path(), &["health", "--url", &format!("https://{}", running.address)]);
    assert_eq!(health.status.code(), Some(0), "{}", errors(&health));
}

#[test]
fn half_of_tls_and_files_that_are_no_certificate_are_refused() {
    let folder = tempdir().unwrap();
    certificate(folder.path());
    for (args, expected) in [
        (
            &["--ssl_certfile_path", "cert.pem"][..],
            "TLS needs both --ssl_certfile_path and --ssl_keyfile_path",
        ),
        (
            &["--ssl_certfile_path", "key.pem", "--ssl_keyfile_path", "key.pem"],
            "key.pem holds no certificate",
        ),
        (&["--ssl_certfile_path", "none.pem", "--ssl_keyfile_path", "key.pem"], "cannot read none.pem"),
    ] {
        let output = run(folder.path(), &[&["--host", "127.0.0.1", "--port", "0"], args].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(expected), "{}", errors(&output));
    }
}
