//! Token endpoints and instance metadata.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use faregate_fake_provider::FakeProvider;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::client::{Answer, send};

async fn form(fake: &FakeProvider, path: &str, body: String) -> Answer {
    let request = Request::post(format!("{}{path}", fake.url()));
    send(request.body(Full::new(Bytes::from(body))).unwrap()).await
}

fn jwt(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(header), part(claims))
}

#[tokio::test]
async fn google_exchanges_a_service_account_jwt_and_nothing_less() {
    let fake = FakeProvider::start().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = |exp: u64| json!({"iss": "a@b", "aud": "x", "scope": "s", "iat": now, "exp": exp});
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let rs256 = json!({"alg": "RS256"});
    for (assertion, status) in [
        (jwt(&rs256, &claims(now + 3600)), 200),
        (jwt(&rs256, &claims(now + 9999)), 400),
        (jwt(&json!({"alg": "none"}), &claims(now + 3600)), 400),
        ("abc".to_owned(), 400),
    ] {
        let answer = form(&fake, "/token", format!("{grant}{assertion}")).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[tokio::test]
async fn azure_wants_client_credentials_and_a_default_scope() {
    let fake = FakeProvider::start().await;
    let good = "grant_type=client_credentials&client_id=a&client_secret=b&scope=https%3A%2F%2Fx%2F.default";
    for (body, status) in [
        (good.to_owned(), 200),
        (good.replace(".default", "all"), 400),
        (good.replace("secret=b", "secret=invalid"), 401),
        (good.replace("client_credentials", "password"), 400),
    ] {
        assert_eq!(form(&fake, "/tenant/oauth2/v2.0/token", body.clone()).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn sts_gives_credentials_for_a_role_and_an_identity() {
    let fake = FakeProvider::start().await;
    let role = "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=s";
    for (body, status, word) in [
        (format!("Action=AssumeRole&{role}"), 200, "<SessionToken>fake-sts-token</SessionToken>"),
        (
            format!("Action=AssumeRoleWithWebIdentity&{role}&WebIdentityToken=t"),
            200,
            "<AccessKeyId>ASIAFAKESTS",
        ),
        (format!("Action=AssumeRoleWithWebIdentity&{role}"), 400, "ValidationError"),
        (format!("Action=AssumeRoleWithWebIdentity&{role}&WebIdentityToken=invalid"), 403, "AccessDenied"),
    ] {
        let answer = form(&fake, "/", body).await;
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(word), "{}", answer.text());
    }
}

#[tokio::test]
async fn instance_metadata_wants_its_session_token() {
    let fake = FakeProvider::start().await;
    let call = |method: &str, path: &str, header: (&str, &str)| {
        let request =
            Request::builder().method(method).uri(format!("{}{path}", fake.url())).header(header.0, header.1);
        send(request.body(Full::default()).unwrap())
    };
    let path = "/latest/meta-data/iam/security-credentials/";
    assert_eq!(call("GET", path, ("x", "y")).await.status, 401);
    let token = call("PUT", "/latest/api/token", ("x-aws-ec2-metadata-token-ttl-seconds", "60")).await.text();
    let header = ("x-aws-ec2-metadata-token", token.as_str());
    let role = call("GET", path, header).await.text();
    assert_eq!(call("GET", &format!("{path}{role}"), header).await.json()["AccessKeyId"], "ASIAFAKEIMDS");
}
