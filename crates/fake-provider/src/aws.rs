//! The AWS side: signature checks, STS and instance metadata.
//!
//! The check is written from the specification and not with the signer's library, so that both cannot be wrong
//! in the same way. Source: AWS, "Create a signed AWS API request" (Signature Version 4).

use http::{HeaderMap, Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::clock::{now, rfc3339};
use crate::dialect::{Head, bearer, header, is_wrong};
use crate::failure::{Class, Failure};
use crate::token::Issued;

/// One accepted credential.
struct Credential {
    key: &'static str,
    secret: &'static str,
    token: Option<&'static str>,
}

/// Accepted credentials: the static one, and those that STS and the metadata service give out.
const CREDENTIALS: &[Credential] = &[
    Credential { key: "AKIDFAKEPROVIDER", secret: "fake-secret-key", token: None },
    Credential { key: "ASIAFAKESTS", secret: "fake-sts-secret", token: Some("fake-sts-token") },
    Credential { key: "ASIAFAKEIMDS", secret: "fake-imds-secret", token: Some("fake-imds-token") },
];

/// The token of the metadata service.
const IMDS_TOKEN: &str = "fake-imds-session";

/// Checks a Bedrock request: a bearer key, or a signature by a known credential.
pub(crate) fn authorize(head: &Head<'_>) -> Result<(), Failure> {
    if let Some(key) = bearer(head.headers) {
        if is_wrong(key) {
            let text = "Authentication failed: Please make sure your API Key is valid.";
            return Err(denied("AccessDeniedException", text));
        }
        return Ok(());
    }
    let Some(authorization) = header(head.headers, "authorization") else {
        return Err(denied("MissingAuthenticationTokenException", "Missing Authentication Token"));
    };
    verify(head, authorization)
}

fn denied(kind: &str, text: &str) -> Failure {
    Failure {
        message: Some(text.to_owned()),
        param: Some(kind.to_owned()),
        ..Failure::new(Class::Authentication)
    }
}

fn verify(head: &Head<'_>, authorization: &str) -> Result<(), Failure> {
    let incomplete = || {
        denied(
            "IncompleteSignatureException",
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.",
        )
    };
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(incomplete)?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(incomplete)
    };
    let (scope, signed, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
    let scope: Vec<&str> = scope.split('/').collect();
    let [key, day, region, service, "aws4_request"] = scope.as_slice() else { return Err(incomplete()) };
    let credential = CREDENTIALS.iter().find(|credential| credential.key == *key);
    let invalid =
        || denied("UnrecognizedClientException", "The security token included in the request is invalid.");
    let credential = credential.ok_or_else(invalid)?;
    if header(head.headers, "x-amz-security-token") != credential.token {
        return Err(invalid());
    }
    if *service != "bedrock" {
        let text = "Credential should be scoped to correct service: 'bedrock'. ";
        return Err(denied("InvalidSignatureException", text));
    }
    let date = header(head.headers, "x-amz-date").ok_or_else(incomplete)?;
    check_date(date, day)?;
    let request = canonical_request(head, signed);
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(&request)));
    let mut signing = hmac(format!("AWS4{}", credential.secret).as_bytes(), day.as_bytes());
    for step in [region, service, &"aws4_request"] {
        signing = hmac(&signing, step.as_bytes());
    }
    if hex(&hmac(&signing, to_sign.as_bytes())) == signature {
        return Ok(());
    }
    Err(denied(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details.",
    ))
}

/// The date must be of the scope's day and within a day of now, which allows for midnight.
fn check_date(date: &str, day: &str) -> Result<(), Failure> {
    let near = [now().saturating_sub(300), now() + 300].map(|time| rfc3339(time).replace(['-', ':'], ""));
    let fresh = *date >= *near[0] && *date <= *near[1];
    if fresh && date.starts_with(day) {
        return Ok(());
    }
    let text = format!("Signature expired: {date} is not within 5 minutes of {}", near[1]);
    Err(denied("InvalidSignatureException", &text))
}

fn canonical_request(head: &Head<'_>, signed: &str) -> String {
    let headers: String =
        signed.split(';').map(|name| format!("{name}:{}\n", canonical_header(head.headers, name))).collect();
    let payload = match header(head.headers, "x-amz-content-sha256") {
        Some("UNSIGNED-PAYLOAD") => "UNSIGNED-PAYLOAD".to_owned(),
        // The true hash, whatever the header claims: a body changed on the way must not pass.
        _ => hex(&Sha256::digest(head.body)),
    };
    let path = canonical_path(head.path);
    format!("POST\n{path}\n{}\n{headers}\n{signed}\n{payload}", canonical_query(head.query))
}

fn canonical_header(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let trimmed = values.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "));
    trimmed.collect::<Vec<_>>().join(",")
}

/// Each segment of the path as sent, encoded once more, as every service but S3 wants it.
fn canonical_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 8);
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

/// `AssumeRole` and `AssumeRoleWithWebIdentity`, as a form POST or in the query.
pub(crate) fn sts(query: &str, body: &[u8]) -> Issued {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body)
        .into_owned()
        .chain(url::form_urlencoded::parse(query.as_bytes()).into_owned())
        .collect();
    let value = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let action = value("Action").unwrap_or_default();
    let missing = match action {
        "AssumeRole" => ["RoleArn", "RoleSessionName"].into_iter().find(|name| value(name).is_none()),
        "AssumeRoleWithWebIdentity" => {
            ["RoleArn", "RoleSessionName", "WebIdentityToken"].into_iter().find(|name| value(name).is_none())
        }
        _ => {
            return sts_error(
                "InvalidAction",
                &format!("Could not find operation {action} for version 2011-06-15"),
            );
        }
    };
    if let Some(name) = missing {
        let text = format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        );
        return sts_error("ValidationError", &text);
    }
    let role = value("RoleArn").unwrap_or_default();
    if is_wrong(role) || value("WebIdentityToken").is_some_and(is_wrong) {
        return sts_error("AccessDenied", &format!("Not authorized to perform sts:{action}"));
    }
    let expires = rfc3339(now() + 3600);
    let session = value("RoleSessionName").unwrap_or_default();
    let xml = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
         <AssumedRoleId>AROAFAKE:{session}</AssumedRoleId><Arn>{role}/{session}</Arn></AssumedRoleUser><Credentials>\
         <AccessKeyId>ASIAFAKESTS</AccessKeyId><SecretAccessKey>fake-sts-secret</SecretAccessKey><SessionToken>\
         fake-sts-token</SessionToken><Expiration>{expires}</Expiration></Credentials></{action}Result>\
         <ResponseMetadata><RequestId>00000000-0000-4000-8000-000000000001</RequestId></ResponseMetadata>\
         </{action}Response>"
    );
    Issued::text(StatusCode::OK, "text/xml", xml)
}

fn sts_error(code: &str, text: &str) -> Issued {
    let status = if code == "AccessDenied" { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
    let xml = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}\
         </Code><Message>{text}</Message></Error><RequestId>00000000-0000-4000-8000-000000000001</RequestId>\
         </ErrorResponse>"
    );
    Issued::text(status, "text/xml", xml)
}

/// Instance metadata, version 2: a token by PUT, then role and credentials with that token.
pub(crate) fn imds(method: &Method, path: &str, headers: &HeaderMap) -> Issued {
    if path == "/latest/api/token" {
        let timed = header(headers, "x-aws-ec2-metadata-token-ttl-seconds").is_some();
        return if method == Method::PUT && timed {
            Issued::text(StatusCode::OK, "text/plain", IMDS_TOKEN.into())
                .with("x-aws-ec2-metadata-token-ttl-seconds", "21600")
        } else {
            Issued::text(StatusCode::BAD_REQUEST, "text/plain", String::new())
        };
    }
    if header(headers, "x-aws-ec2-metadata-token") != Some(IMDS_TOKEN) {
        return Issued::text(StatusCode::UNAUTHORIZED, "text/plain", String::new());
    }
    match path.strip_prefix("/latest/meta-data/iam/security-credentials").map(|rest| rest.trim_matches('/')) {
        Some("") => Issued::text(StatusCode::OK, "text/plain", "fake-role".into()),
        Some("fake-role") => Issued::json(
            StatusCode::OK,
            &serde_json::json!({
                "Code": "Success", "LastUpdated": rfc3339(now()), "Type": "AWS-HMAC", "AccessKeyId": "ASIAFAKEIMDS",
                "SecretAccessKey": "fake-imds-secret", "Token": "fake-imds-token", "Expiration": rfc3339(now() + 21_600),
            }),
        ),
        _ if path == "/latest/meta-data/placement/region" => {
            Issued::text(StatusCode::OK, "text/plain", "us-east-1".into())
        }
        _ => Issued::text(StatusCode::NOT_FOUND, "text/plain", String::new()),
    }
}
