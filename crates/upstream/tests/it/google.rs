//! Google access tokens.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use faregate_upstream::{
    AuthProblem, AuthSpec, EnvView, GoogleCredentials, SendError, Upstream, UpstreamSettings,
};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::server::{Seen, Server, env, ok, status};

const KEY: &str = include_str!("fixtures/service_account_key.pem");

/// Token service, STS, IAM and metadata server in one.
async fn google() -> Server {
    Server::start(|seen| match seen.target.split('?').next().unwrap() {
        "/token" if seen.field("refresh_token").as_deref() == Some("revoked") => status(
            400,
            r#"{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}"#,
        ),
        "/token" => ok(r#"{"access_token": "ya29.token", "expires_in": 3599, "token_type": "Bearer"}"#),
        "/sts" => ok(r#"{"access_token": "federated", "expires_in": 3600, "token_type": "Bearer"}"#),
        "/sa:generateAccessToken" => {
            ok(r#"{"accessToken": "ya29.impersonated", "expireTime": "2099-01-01T00:00:00Z"}"#)
        }
        "/subject" => ok(r#"{"id_token": "from-url"}"#),
        "/computeMetadata/v1/instance/service-accounts/default/token"
            if seen.header("metadata-flavor") == "Google" =>
        {
            ok(r#"{"access_token": "ya29.metadata", "expires_in": 3000, "token_type": "Bearer"}"#)
        }
        "/computeMetadata/v1/project/project-id" => ok("machine-project"),
        "/provider" => ok("{}"),
        other => status(404, other.to_owned()),
    })
    .await
}

fn service_account(server: &Server) -> Value {
    json!({
        "type": "service_account",
        "project_id": "robot-project",
        "private_key_id": "kid-1",
        "private_key": KEY,
        "client_email": "robot@robot-project.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": server.url("/token"),
    })
}

fn spec(credentials: GoogleCredentials) -> AuthSpec {
    AuthSpec::Google { credentials, scopes: Vec::new() }
}

fn text_spec(credential: &Value) -> AuthSpec {
    spec(GoogleCredentials::parse(&credential.to_string()))
}

fn write(folder: &Path, name: &str, text: impl ToString) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The claims of a JWT whose signature is right.
fn verified_claims(asked: &Seen) -> (Value, Value) {
    let token = asked.field("assertion").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .verify(signed.as_bytes(), &decode(signature))
        .unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let parse = |part: &str| serde_json::from_slice(&decode(part)).unwrap();
    (parse(header), parse(claims))
}

#[tokio::test]
async fn a_service_account_signs_for_its_token_whether_given_as_text_or_file() {
    let server = google().await;
    let account = service_account(&server);
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "key.json", &account);
    for credentials in [GoogleCredentials::parse(&account.to_string()), GoogleCredentials::parse(&file)] {
        let seen = server.call_with(spec(credentials), &EnvView::empty()).await.unwrap();
        assert_eq!(seen.header("authorization"), "Bearer ya29.token");
    }
    let asked = server.seen_at("/token");
    assert_eq!(asked[0].field("grant_type").as_deref(), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    let (header, claims) = verified_claims(&asked[0]);
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "kid-1"}));
    assert_eq!(claims["iss"], "robot@robot-project.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    assert_eq!(claims["aud"], server.url("/token"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
}

#[tokio::test]
async fn a_key_with_its_line_breaks_written_out_still_works() {
    let server = google().await;
    let mut account = service_account(&server);
    account["private_key"] = json!(KEY.replace('\n', "\\n"));
    server.call_with(text_spec(&account), &EnvView::empty()).await.unwrap();
    verified_claims(&server.seen_at("/token")[0]);
}

#[tokio::test]
async fn default_credentials_are_the_named_file_then_gclouds_then_the_machine() {
    let server = google().await;
    let home = tempfile::tempdir().unwrap();
    let home_path = home.path().to_str().unwrap();
    let metadata = server.address.to_string();
    let machine = env([("HOME", home_path), ("GCE_METADATA_HOST", &metadata)]);
    let default = || spec(GoogleCredentials::Default);
    let seen = server.call_with(default(), &machine).await.unwrap();
    assert_eq!(seen.header("authorization"), "Bearer ya29.metadata");

    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "quota_project_id": "payer", "token_uri": server.url("/token"),
    });
    let gcloud = home.path().join(".config/gcloud");
    std::fs::create_dir_all(&gcloud).unwrap();
    write(&gcloud, "application_default_credentials.json", &user);
    let seen = server.call_with(default(), &machine).await.unwrap();
    assert_eq!(seen.header("authorization"), "Bearer ya29.token");
    assert_eq!(seen.header("x-goog-user-project"), "payer");
    let asked = server.seen_at("/token").pop().unwrap();
    assert_eq!(
        (asked.field("grant_type"), asked.field("refresh_token")),
        (Some("refresh_token".into()), Some("r".into()))
    );

    let named = write(home.path(), "named.json", service_account(&server));
    let named = env([("HOME", home_path), ("GOOGLE_APPLICATION_CREDENTIALS", &named)]);
    server.call_with(default(), &named).await.unwrap();
    verified_claims(&server.seen_at("/token").pop().unwrap());
}

#[tokio::test]
async fn a_foreign_workload_exchanges_its_token_and_may_act_as_a_service_account() {
    let server = google().await;
    let folder = tempfile::tempdir().unwrap();
    let mut account = json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": server.url("/sts"),
        "credential_source": {"file": write(folder.path(), "token", "from-file\n")},
    });
    let seen = server.call_with(text_spec(&account), &EnvView::empty()).await.unwrap();
    assert_eq!(seen.header("authorization"), "Bearer federated");
    let asked = server.seen_at("/sts").pop().unwrap();
    assert_eq!(asked.field("subject_token").as_deref(), Some("from-file"));
    assert_eq!(asked.field("grant_type").as_deref(), Some("urn:ietf:params:oauth:grant-type:token-exchange"));
    assert_eq!(asked.field("audience").as_deref(), account["audience"].as_str());

    account["credential_source"] = json!({
        "url": server.url("/subject"),
        "headers": {"X-Asked-By": "us"},
        "format": {"type": "json", "subject_token_field_name": "id_token"},
    });
    account["service_account_impersonation_url"] = json!(server.url("/sa:generateAccessToken"));
    let seen = server.call_with(text_spec(&account), &EnvView::empty()).await.unwrap();
    assert_eq!(seen.header("authorization"), "Bearer ya29.impersonated");
    assert_eq!(server.seen_at("/subject")[0].header("x-asked-by"), "us");
    assert_eq!(server.seen_at("/sts").pop().unwrap().field("subject_token").as_deref(), Some("from-url"));
    assert_eq!(server.seen_at("/sa:generateAccessToken")[0].header("authorization"), "Bearer federated");

    account["credential_source"] = json!({"environment_id": "aws1"});
    let error = server.call_with(text_spec(&account), &EnvView::empty()).await.unwrap_err();
    assert!(error.to_string().contains("AWS identity, which is not supported"), "{error}");
}

#[tokio::test]
async fn the_project_comes_with_the_credential_or_the_machine() {
    let server = google().await;
    let upstream = Upstream::new(&UpstreamSettings::default()).unwrap();
    let metadata = server.address.to_string();
    let account = text_spec(&service_account(&server));
    let auth = upstream.authenticator(account, &EnvView::empty()).unwrap();
    assert_eq!(auth.project_id().await.unwrap().as_deref(), Some("robot-project"));
    let machine = env([("GCE_METADATA_HOST", &metadata)]);
    let auth = upstream.authenticator(spec(GoogleCredentials::Default), &machine).unwrap();
    assert_eq!(auth.project_id().await.unwrap().as_deref(), Some("machine-project"));
    let auth = upstream.authenticator(AuthSpec::Bearer("k".into()), &machine).unwrap();
    assert_eq!(auth.project_id().await.unwrap(), None);
}

#[tokio::test]
async fn a_credential_that_cannot_work_says_why_and_shows_nothing_of_itself() {
    let server = google().await;
    let mut broken_key = service_account(&server);
    broken_key["private_key"] = json!("top-secret");
    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "top-secret", "refresh_token": "revoked",
        "token_uri": server.url("/token"),
    });
    let cases = [
        (text_spec(&broken_key), AuthProblem::Malformed, "not a PEM RSA key"),
        (text_spec(&json!({"type": "top-secret"})), AuthProblem::Malformed, "vertex_credentials, line 1"),
        (text_spec(&user), AuthProblem::Refused, "Token has been expired or revoked"),
        (spec(GoogleCredentials::parse("/no/such/file.json")), AuthProblem::Missing, "/no/such/file.json"),
    ];
    for (spec, problem, words) in cases {
        let error = server.call_with(spec, &EnvView::empty()).await.unwrap_err();
        let SendError::Auth(error) = error else { panic!("{error:?}") };
        assert_eq!(error.problem, problem, "{error}");
        assert!(error.message.contains(words) && !error.message.contains("top-secret"), "{error}");
    }
}
