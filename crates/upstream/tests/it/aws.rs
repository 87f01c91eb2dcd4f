//! AWS credentials, from wherever they come.

use std::sync::atomic::{AtomicUsize, Ordering};

use faregate_terms::FaultClass;
use faregate_upstream::{
    AuthProblem, AuthSpec, AwsSpec, EnvView, SendError, Upstream, UpstreamSettings, aws_region,
};

use crate::server::{Seen, Server, env, ok, post, status};

const KEYS: &str = r#"{"Code": "Success", "AccessKeyId": "AKMACHINE", "SecretAccessKey": "s", "Token": "machine-token", "Expiration": "2099-01-01T00:00:00Z"}"#;

fn sts_answer(action: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>\
         <SessionToken>role&amp;token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
         </Credentials></{action}Result></{action}Response>"
    )
}

/// STS at `/`, instance metadata, a container agent and the provider in one.
async fn aws() -> Server {
    Server::start(|seen| match seen.target.as_str() {
        "/" if seen.field("RoleArn").as_deref() == Some("arn:forbidden") => status(
            403,
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User &quot;x&quot; is not \
             authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>",
        ),
        "/" => ok(sts_answer(&seen.field("Action").unwrap())),
        "/latest/api/token" if seen.method == "PUT" => ok("imds-token"),
        "/latest/meta-data/iam/security-credentials/" => ok("my-role\n"),
        "/latest/meta-data/iam/security-credentials/my-role"
            if seen.header("x-aws-ec2-metadata-token") == "imds-token" =>
        {
            ok(KEYS)
        }
        "/container/keys" if seen.header("authorization") == "agent-token" => ok(KEYS),
        "/provider" => ok("{}"),
        other => status(404, other.to_owned()),
    })
    .await
}

fn bedrock() -> AwsSpec {
    AwsSpec { service: "bedrock".into(), region: Some("eu-west-1".into()), ..AwsSpec::default() }
}

fn with_keys() -> AwsSpec {
    AwsSpec { access_key_id: Some("AKOWN".into()), secret_access_key: Some("own-secret".into()), ..bedrock() }
}

fn signer(seen: &Seen) -> &str {
    let rest = seen.header("authorization").strip_prefix("AWS4-HMAC-SHA256 Credential=").unwrap();
    rest.split('/').next().unwrap()
}

#[tokio::test]
async fn explicit_keys_sign_the_bytes_that_are_sent() {
    let server = aws().await;
    let seen = server.call_with(AuthSpec::Aws(with_keys()), &EnvView::empty()).await.unwrap();
    assert_eq!(signer(&seen), "AKOWN");
    assert!(
        seen.header("authorization")
            .contains("/eu-west-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date")
    );
    assert_eq!(seen.header("x-amz-security-token"), "");
}

#[tokio::test]
async fn a_role_in_another_account_is_assumed_once_with_everything_its_owner_asks_for() {
    let server = aws().await;
    let spec = AwsSpec {
        role_name: Some("arn:aws:iam::2:role/them".into()),
        session_name: Some("us".into()),
        external_id: Some("agreed".into()),
        session_tags: vec![("team".into(), "a&b".into()), ("env".into(), "prod".into())],
        sts_endpoint: Some(server.url("")),
        ..with_keys()
    };
    let upstream = Upstream::new(&UpstreamSettings::default()).unwrap();
    let auth = upstream.authenticator(AuthSpec::Aws(spec), &EnvView::empty()).unwrap();
    let url = server.url("/provider");
    let calls = (post(&url, &auth, ""), post(&url, &auth, ""));
    let (one, two) = tokio::join!(upstream.send(calls.0), upstream.send(calls.1));
    one.unwrap();
    two.unwrap();

    let asked = server.seen_at("/");
    assert_eq!(asked.len(), 1);
    assert_eq!(signer(&asked[0]), "AKOWN");
    assert!(asked[0].header("authorization").contains("/eu-west-1/sts/aws4_request"));
    let field = |name: &str| asked[0].field(name).unwrap();
    assert_eq!((field("Action"), field("Version")), ("AssumeRole".into(), "2011-06-15".into()));
    assert_eq!(
        (field("RoleArn"), field("RoleSessionName")),
        ("arn:aws:iam::2:role/them".into(), "us".into())
    );
    assert_eq!(field("ExternalId"), "agreed");
    assert_eq!((field("Tags.member.1.Key"), field("Tags.member.1.Value")), ("team".into(), "a&b".into()));
    assert_eq!(field("Tags.member.2.Value"), "prod");
    for seen in server.seen_at("/provider") {
        assert_eq!((signer(&seen), seen.header("x-amz-security-token")), ("ASIAROLE", "role&token"));
    }
}

#[tokio::test]
async fn a_web_identity_gets_its_role_without_any_key() {
    let server = aws().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "jwt\n").unwrap();
    let path = file.to_str().unwrap();
    let sts = server.url("");
    let as_param = |token: &str| AwsSpec {
        role_name: Some("arn:r".into()),
        web_identity_token: Some(token.into()),
        sts_endpoint: Some(sts.clone()),
        ..bedrock()
    };
    let from_env = env([
        ("AWS_WEB_IDENTITY_TOKEN_FILE", path),
        ("AWS_ROLE_ARN", "arn:r"),
        ("AWS_ENDPOINT_URL_STS", &sts),
    ]);
    let cases = [
        (as_param("jwt"), EnvView::empty()),
        (as_param(path), EnvView::empty()),
        (as_param(&format!("oidc/file/{path}")), EnvView::empty()),
        (as_param("oidc/env/MY_TOKEN"), env([("MY_TOKEN", "jwt")])),
        (bedrock(), from_env),
    ];
    for (spec, env) in cases {
        let seen = server.call_with(AuthSpec::Aws(spec.clone()), &env).await.unwrap();
        assert_eq!(signer(&seen), "ASIAROLE");
        let asked = server.seen_at("/").pop().unwrap();
        assert_eq!(asked.field("Action").as_deref(), Some("AssumeRoleWithWebIdentity"));
        assert_eq!(
            (asked.field("RoleArn"), asked.field("WebIdentityToken")),
            (Some("arn:r".into()), Some("jwt".into())),
            "{spec:?}"
        );
        assert_eq!(asked.header("authorization"), "");
    }
}

#[tokio::test]
async fn a_profile_leads_through_its_source_to_a_role() {
    let server = aws().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".aws");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("config"),
        "[profile p]\nrole_arn = arn:p\nsource_profile = base\nexternal_id = e\n",
    )
    .unwrap();
    std::fs::write(
        folder.join("credentials"),
        "[base]\naws_access_key_id = AKBASE\naws_secret_access_key = s\n",
    )
    .unwrap();
    let sts = server.url("");
    let env = env([("HOME", home.path().to_str().unwrap()), ("AWS_STS_ENDPOINT", &sts)]);
    let spec = AwsSpec { profile: Some("p".into()), ..bedrock() };
    let seen = server.call_with(AuthSpec::Aws(spec), &env).await.unwrap();
    assert_eq!(signer(&seen), "ASIAROLE");
    let asked = server.seen_at("/").pop().unwrap();
    assert_eq!((signer(&asked), asked.field("ExternalId")), ("AKBASE", Some("e".into())));
}

#[tokio::test]
async fn with_nothing_said_the_environment_the_container_and_the_instance_are_asked() {
    let server = aws().await;
    let host = server.url("");
    let container = server.url("/container/keys");
    let cases = [
        (
            env([("AWS_ACCESS_KEY_ID", "AKENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")]),
            "AKENV",
            "t",
        ),
        (
            env([
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "agent-token"),
            ]),
            "AKMACHINE",
            "machine-token",
        ),
        (env([("AWS_EC2_METADATA_SERVICE_ENDPOINT", host.as_str())]), "AKMACHINE", "machine-token"),
    ];
    for (env, key, token) in cases {
        let seen = server.call_with(AuthSpec::Aws(bedrock()), &env).await.unwrap();
        assert_eq!((signer(&seen), seen.header("x-amz-security-token")), (key, token));
    }
}

#[tokio::test]
async fn bedrocks_api_key_is_a_bearer_unless_the_deployment_has_a_credential_of_its_own() {
    let server = aws().await;
    let env = env([("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key")]);
    let seen = server.call_with(AuthSpec::Aws(bedrock()), &env).await.unwrap();
    assert_eq!(seen.header("authorization"), "Bearer bedrock-key");
    let seen = server.call_with(AuthSpec::Aws(with_keys()), &env).await.unwrap();
    assert_eq!(signer(&seen), "AKOWN");
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_names_itself_and_the_remedy() {
    let server = aws().await;
    let spec = AwsSpec {
        role_name: Some("arn:forbidden".into()),
        sts_endpoint: Some(server.url("")),
        ..with_keys()
    };
    let error = server.call_with(AuthSpec::Aws(spec), &EnvView::empty()).await.unwrap_err();
    assert_eq!(error.class(), FaultClass::Authentication);
    let message = error.to_string();
    for words in ["arn:forbidden", "AccessDenied", "User \"x\" is not authorized", "trust policy"] {
        assert!(message.contains(words), "{message}");
    }
    assert!(!message.contains("own-secret"), "{message}");
}

#[tokio::test]
async fn no_credential_at_all_says_what_to_set() {
    let server = aws().await;
    let env = env([("AWS_EC2_METADATA_DISABLED", "true")]);
    let error = server.call_with(AuthSpec::Aws(bedrock()), &env).await.unwrap_err();
    let SendError::Auth(error) = error else { panic!("{error:?}") };
    assert_eq!(error.problem, AuthProblem::Missing);
    assert!(error.message.contains("aws_access_key_id"), "{error}");
}

#[tokio::test]
async fn keys_near_their_end_are_renewed() {
    let issued = AtomicUsize::new(0);
    let server = Server::start(move |seen| match seen.target.as_str() {
        "/keys" => {
            let number = issued.fetch_add(1, Ordering::SeqCst);
            // The first ones are over before they can be used twice.
            let year = if number == 0 { 2001 } else { 2099 };
            ok(format!(r#"{{"AccessKeyId": "AK{number}", "SecretAccessKey": "s", "Token": "t", "Expiration": "{year}-01-01T00:00:00Z"}}"#))
        }
        _ => ok("{}"),
    })
    .await;
    let url = server.url("/keys");
    let env = env([("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str())]);
    let upstream = Upstream::new(&UpstreamSettings::default()).unwrap();
    let auth = upstream.authenticator(AuthSpec::Aws(bedrock()), &env).unwrap();
    for _ in 0..3 {
        upstream.send(post(&server.url("/provider"), &auth, "")).await.unwrap();
    }
    let seen = server.seen_at("/provider");
    assert_eq!(seen.iter().map(signer).collect::<Vec<_>>(), ["AK0", "AK1", "AK1"]);
}

#[test]
fn the_region_is_the_deployments_then_the_environments_then_litellms() {
    let env = env([("AWS_REGION", "eu-north-1"), ("AWS_DEFAULT_REGION", "x")]);
    assert_eq!(aws_region(Some("us-east-2"), &env), "us-east-2");
    assert_eq!(aws_region(None, &env), "eu-north-1");
    assert_eq!(aws_region(Some(""), &EnvView::empty()), "us-west-2");
}
