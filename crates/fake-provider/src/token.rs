//! Token endpoints: Google's service accounts and metadata server, Azure AD's client credentials.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::dialect::{is_wrong, serial};

/// An answer of a token endpoint.
pub(crate) struct Issued {
    pub status: StatusCode,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Bytes,
}

impl Issued {
    pub(crate) fn text(status: StatusCode, kind: &'static str, text: String) -> Self {
        Self { status, headers: vec![("content-type", kind)], body: Bytes::from(text) }
    }

    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        Self::text(status, "application/json", value.to_string())
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

struct Form(Vec<(String, String)>);

impl Form {
    fn of(body: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(body).into_owned().collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

fn google_token() -> Issued {
    let token = format!("ya29.fake-{}", serial());
    Issued::json(StatusCode::OK, &json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}))
}

/// Google's `POST /token`: the JWT grant of service accounts and the refresh grant of users.
///
/// The assertion must be a JWT with the members Google asks for; its signature is not checked, because the
/// public key of the test's service account is not known here.
pub(crate) fn google(body: &[u8]) -> Issued {
    let form = Form::of(body);
    match form.get("grant_type") {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => match check_jwt(form.get("assertion")) {
            Ok(()) => google_token(),
            Err(text) => refused("invalid_grant", text),
        },
        "refresh_token" if form.get("refresh_token").is_empty() || is_wrong(form.get("refresh_token")) => {
            refused("invalid_grant", "Bad Request")
        }
        "refresh_token" => google_token(),
        other => refused("unsupported_grant_type", &format!("Invalid grant_type: {other}")),
    }
}

fn refused(error: &str, text: &str) -> Issued {
    Issued::json(StatusCode::BAD_REQUEST, &json!({"error": error, "error_description": text}))
}

fn check_jwt(assertion: &str) -> Result<(), &'static str> {
    let mut parts = assertion.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let (Some(Some(header)), Some(Some(claims)), Some(Some(signature)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("Invalid JWT: must be a three-part token");
    };
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
    let (header, claims) = (parse(&header), parse(&claims));
    if header["alg"] != "RS256" || signature.is_empty() {
        return Err("Invalid JWT Signature.");
    }
    let text = |name: &str| claims[name].as_str().is_some_and(|value| !value.is_empty());
    if !text("iss") || !text("aud") || !(text("scope") || text("target_audience")) {
        return Err("Invalid JWT: iss, aud and scope are required");
    }
    let (issued, expires) = (claims["iat"].as_u64().unwrap_or(0), claims["exp"].as_u64().unwrap_or(0));
    if expires <= crate::clock::now() || expires > issued + 3600 {
        return Err(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.",
        );
    }
    Ok(())
}

/// Google's metadata server: the default service account's token.
pub(crate) fn google_metadata(flavored: bool) -> Issued {
    if !flavored {
        return Issued::text(
            StatusCode::FORBIDDEN,
            "text/html",
            "Missing Metadata-Flavor:Google header.".into(),
        );
    }
    google_token().with("metadata-flavor", "Google")
}

/// Azure AD's `POST /{tenant}/oauth2/v2.0/token`: client credentials by secret or assertion.
pub(crate) fn azure(body: &[u8]) -> Issued {
    let form = Form::of(body);
    let refused = |status: StatusCode, error: &str, text: &str| {
        Issued::json(status, &json!({"error": error, "error_description": text, "error_codes": [7_000_215]}))
    };
    if form.get("grant_type") != "client_credentials" {
        let text = "AADSTS70003: The app requested an unsupported grant type.";
        return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type", text);
    }
    if !form.get("scope").ends_with("/.default") {
        let text = "AADSTS1002012: The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.";
        return refused(StatusCode::BAD_REQUEST, "invalid_scope", text);
    }
    let assertion = form.get("client_assertion");
    let secret = form.get("client_secret");
    let proof = if secret.is_empty() { assertion } else { secret };
    if form.get("client_id").is_empty() || proof.is_empty() || is_wrong(proof) {
        let text = "AADSTS7000215: Invalid client secret provided.";
        return refused(StatusCode::UNAUTHORIZED, "invalid_client", text);
    }
    let token = format!("eyJ0eXAiOiJKV1QifQ.fake.{}", serial());
    let answer =
        json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token});
    Issued::json(StatusCode::OK, &answer)
}
