//! Entra ID tokens.

use faregate_terms::FaultClass;
use faregate_upstream::{AuthProblem, AuthSpec, EntraSpec, EnvView, SendError, Upstream, UpstreamSettings};

use crate::server::{Server, env, ok, post, status};

const TOKEN_PATH: &str = "/tenant/oauth2/v2.0/token";

async fn entra() -> Server {
    Server::start(|seen| match seen.target.as_str() {
        TOKEN_PATH if seen.field("client_secret").as_deref() == Some("wrong") => status(
            401,
            r#"{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1"}"#,
        ),
        TOKEN_PATH => ok(r#"{"token_type": "Bearer", "expires_in": "3599", "access_token": "entra-1"}"#),
        _ => ok("{}"),
    })
    .await
}

fn application(server: &Server, secret: &str) -> EntraSpec {
    EntraSpec {
        tenant_id: Some("tenant".into()),
        client_id: Some("app".into()),
        client_secret: Some(secret.into()),
        authority: Some(server.url("")),
        ..EntraSpec::default()
    }
}

#[tokio::test]
async fn an_applications_secret_becomes_a_token_that_parallel_requests_fetch_once() {
    let server = entra().await;
    let upstream = Upstream::new(&UpstreamSettings::default()).unwrap();
    let spec = AuthSpec::AzureEntra(application(&server, "s&cret"));
    let auth = upstream.authenticator(spec, &EnvView::empty()).unwrap();
    let requests: Vec<_> = (0..10)
        .map(|_| {
            let (upstream, auth, url) = (upstream.clone(), auth.clone(), server.url("/provider"));
            tokio::spawn(async move { upstream.send(post(&url, &auth, "")).await.unwrap().status })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    let asked = server.seen_at(TOKEN_PATH);
    assert_eq!(asked.len(), 1);
    let field = |name: &str| asked[0].field(name).unwrap();
    assert_eq!(field("grant_type"), "client_credentials");
    assert_eq!((field("client_id"), field("client_secret")), ("app".into(), "s&cret".into()));
    assert_eq!(field("scope"), "https://cognitiveservices.azure.com/.default");
    assert!(server.seen_at("/provider").iter().all(|seen| seen.header("authorization") == "Bearer entra-1"));
}

#[tokio::test]
async fn a_user_and_a_workload_get_tokens_from_the_environment_alone() {
    let server = entra().await;
    let authority = server.url("/");
    let variables = |name: &'static str, value: &str, more: (&'static str, &'static str)| {
        env([
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_ID", "app"),
            ("AZURE_AUTHORITY_HOST", &authority),
            ("AZURE_SCOPE", "scope"),
            (name, value),
            more,
        ])
    };
    let user = variables("AZURE_USERNAME", "u@x", ("AZURE_PASSWORD", "p"));
    let seen = server.call_with(AuthSpec::AzureEntra(EntraSpec::default()), &user).await.unwrap();
    assert_eq!(seen.header("authorization"), "Bearer entra-1");
    let asked = server.seen_at(TOKEN_PATH).pop().unwrap();
    assert_eq!(asked.field("grant_type").as_deref(), Some("password"));
    assert_eq!((asked.field("username"), asked.field("password")), (Some("u@x".into()), Some("p".into())));
    assert_eq!(asked.field("scope").as_deref(), Some("scope"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "federated\n").unwrap();
    let workload = variables("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap(), ("UNUSED", ""));
    server.call_with(AuthSpec::AzureEntra(EntraSpec::default()), &workload).await.unwrap();
    let asked = server.seen_at(TOKEN_PATH).pop().unwrap();
    assert_eq!(asked.field("client_assertion").as_deref(), Some("federated"));
}

#[tokio::test]
async fn a_token_made_elsewhere_is_sent_as_it_is() {
    let server = entra().await;
    let spec = EntraSpec { token: Some("made-elsewhere".into()), ..EntraSpec::default() };
    let seen = server.call_with(AuthSpec::AzureEntra(spec), &EnvView::empty()).await.unwrap();
    assert_eq!(seen.header("authorization"), "Bearer made-elsewhere");
    assert!(server.seen_at(TOKEN_PATH).is_empty());
}

#[tokio::test]
async fn a_refused_secret_says_what_the_service_said_and_is_not_sent_on() {
    let server = entra().await;
    let spec = AuthSpec::AzureEntra(application(&server, "wrong"));
    let SendError::Auth(error) = server.call_with(spec, &EnvView::empty()).await.unwrap_err() else {
        panic!()
    };
    assert_eq!((error.problem, error.class()), (AuthProblem::Refused, FaultClass::Authentication));
    assert!(error.message.contains("AADSTS7000215: Invalid client secret provided."), "{error}");
    assert!(!error.message.contains("Trace ID"), "{error}");
    assert!(server.seen_at("/provider").is_empty());

    let nothing = AuthSpec::AzureEntra(EntraSpec::default());
    let SendError::Auth(error) = server.call_with(nothing, &EnvView::empty()).await.unwrap_err() else {
        panic!()
    };
    assert_eq!(error.problem, AuthProblem::Missing);
    assert!(error.message.contains("client_secret"), "{error}");
}

#[tokio::test]
async fn a_service_that_is_down_is_a_connection_fault_not_a_wrong_credential() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = entra().await;
    let spec = EntraSpec { authority: Some(format!("http://{closed}")), ..application(&server, "x") };
    let error = server.call_with(AuthSpec::AzureEntra(spec), &EnvView::empty()).await.unwrap_err();
    assert_eq!(error.class(), FaultClass::Connection);
    assert!(error.to_string().contains("Microsoft Entra ID"), "{error}");
}
