//! The way there and back: authorization code with PKCE. Source: RFC 6749 §4.1, RFC 7636, OpenID Connect Core 1.0 §3.1.
//!
//! What has to be remembered in between is sealed into a cookie of the browser that began, so that any replica may go
//! on, and nobody else's browser can.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use faregate_integrations::web::{WebReply, WebRequest};
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::people;
use super::provider::{Proof, Provider};
use crate::error::AdminError;
use crate::login;
use crate::routes::{Answer, Call};
use crate::{Admin, Outcome};

const COOKIE: &str = "faregate_sso";
/// How long somebody may take to sign in there.
const MINUTES: i64 = 10;

/// What is remembered while somebody is away.
#[derive(Serialize, Deserialize)]
struct Away {
    provider: String,
    state: String,
    nonce: String,
    verifier: String,
    expires: i64,
}

fn random() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn refused(message: impl Into<String>) -> AdminError {
    AdminError::unauthorized("auth_error", message)
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    pairs.iter().map(|(name, value)| format!("{name}={}", part(value))).collect::<Vec<_>>().join("&")
}

/// Where the provider sends people back to.
fn back(call: &Call) -> Result<String, AdminError> {
    let snapshot = call.admin.snapshot.load();
    let base = match (snapshot.env.filled("PROXY_BASE_URL"), &call.host) {
        (Some(base), _) => base.trim_end_matches('/').to_owned(),
        (None, Some(host)) => {
            let root = snapshot.env.filled("SERVER_ROOT_PATH").unwrap_or_default().trim_matches('/');
            format!("http://{host}/{root}").trim_end_matches('/').to_owned()
        }
        (None, None) => {
            let message = "Single sign-on needs the URL of this gateway; set PROXY_BASE_URL";
            return Err(AdminError::new(500, "auth_error", message));
        }
    };
    Ok(format!("{base}/sso/callback"))
}

fn provider(admin: &Admin) -> Result<Option<Provider>, AdminError> {
    Provider::of(&admin.snapshot.load().env)
}

/// Sends the browser to the provider; without one to our own page.
pub(super) async fn start(call: Call) -> Outcome {
    let Some(provider) = provider(&call.admin)? else { return login::page() };
    let back = back(&call)?;
    let away = Away {
        provider: provider.name.to_owned(),
        state: provider.state.clone().map_or_else(random, |own| format!("{own}.{}", random())),
        nonce: random(),
        verifier: random(),
        expires: call.admin.now().millis() + MINUTES * 60_000,
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(away.verifier.as_bytes()));
    let mut asked = vec![
        ("response_type", "code"),
        ("client_id", provider.client_id.as_str()),
        ("redirect_uri", back.as_str()),
        ("scope", provider.scope.as_str()),
        ("state", away.state.as_str()),
        ("nonce", away.nonce.as_str()),
    ];
    if provider.pkce {
        asked.extend([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
    }
    let joint = if provider.authorize.contains('?') { '&' } else { '?' };
    let mut answer = Answer::redirect(303, &format!("{}{joint}{}", provider.authorize, encoded(&asked)));
    let text = serde_json::to_string(&away).unwrap_or_default();
    let sealed = call.admin.salt()?.seal(&text, call.admin.cipher())?;
    set_cookie(&mut answer.headers, &call.admin, &sealed, MINUTES * 60);
    Ok(answer)
}

/// `HttpOnly`, unlike the session's: no page needs it.
fn set_cookie(headers: &mut HeaderMap, admin: &Admin, value: &str, seconds: i64) {
    let base = admin.snapshot.load().env.filled("PROXY_BASE_URL").map(str::to_owned);
    let secure = if base.is_some_and(|base| base.starts_with("https://")) { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(SET_COOKIE, value);
    }
}

/// What the cookie of this browser remembers.
fn remembered(call: &Call) -> Option<Away> {
    let cookies = call.cookies.as_deref()?;
    let value = cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
    let plain = call.admin.salt().ok()?.open(value).ok()?;
    let away: Away = serde_json::from_str(plain.expose()).ok()?;
    (away.expires > call.admin.now().millis()).then_some(away)
}

/// Back from the provider: finds out who it is, and gives them a session.
pub(super) async fn callback(call: Call) -> Outcome {
    if let Some(error) = call.asked("error") {
        let more = call.asked("error_description").unwrap_or_default();
        return Err(refused(format!("The identity provider refused the sign-in: {error} {more}").trim_end()));
    }
    let Some(provider) = provider(&call.admin)? else {
        return Err(AdminError::invalid(
            "",
            "No identity provider is configured; set GENERIC_CLIENT_ID or another in the environment",
        ));
    };
    let again = "; begin again at /sso/key/generate";
    let Some(away) = remembered(&call).filter(|away| away.provider == provider.name) else {
        return Err(refused(format!("This sign-in was not begun in this browser, or too long ago{again}")));
    };
    let state = call.asked("state").unwrap_or_default();
    if !bool::from(state.as_bytes().ct_eq(away.state.as_bytes())) {
        return Err(refused(format!("state: belongs to another sign-in{again}")));
    }
    let code = call.asked("code").ok_or_else(|| refused(format!("code: the provider sent none{again}")))?;
    let tokens = exchange(&call, &provider, &away, code).await?;
    let claims = claims(&call.admin, &provider, &away, &tokens).await?;
    let call = call.written_by(&format!("sso:{}", provider.name));
    let user = people::welcome(&call, &provider, &claims).await?;
    let token = login::begin_elsewhere(&call.admin, &user).await?;
    let mut answer = Answer::redirect(303, &login::landing(&call.admin, "/?login=success"));
    answer.headers.extend(login::cookie(&call.admin, &token));
    set_cookie(&mut answer.headers, &call.admin, "", 0);
    Ok(answer)
}

/// The code for tokens.
async fn exchange(call: &Call, provider: &Provider, away: &Away, code: &str) -> Result<Value, AdminError> {
    let back = back(call)?;
    let mut form =
        vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", back.as_str())];
    if provider.pkce {
        form.push(("code_verifier", away.verifier.as_str()));
    }
    let mut headers = HeaderMap::new();
    match provider.proof {
        Proof::Post => {
            form.push(("client_id", provider.client_id.as_str()));
            form.push(("client_secret", provider.client_secret.as_str()));
        }
        Proof::Basic { id_in_body } => {
            // RFC 6749 §2.3.1: both are form-encoded first.
            let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let pair = format!("{}:{}", part(&provider.client_id), part(&provider.client_secret));
            let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)));
            headers.extend(value.ok().map(|value| (AUTHORIZATION, value)));
            if id_in_body {
                form.push(("client_id", provider.client_id.as_str()));
            }
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let body = Bytes::from(encoded(&form));
    let request = WebRequest { method: Method::POST, url: provider.token.clone(), headers, body };
    ask(&call.admin, request, "the token endpoint").await
}

/// Everything the provider says of who signed in: the id token, and what the userinfo endpoint says over it.
async fn claims(
    admin: &Admin,
    provider: &Provider,
    away: &Away,
    tokens: &Value,
) -> Result<Value, AdminError> {
    let mut claims = match tokens["id_token"].as_str() {
        Some(token) => inside(token, provider, away, admin.now().millis() / 1000)?,
        None => Value::Object(serde_json::Map::new()),
    };
    let access = tokens["access_token"].as_str().unwrap_or_default();
    let bearer = HeaderValue::from_str(&format!("Bearer {access}"));
    let bearer = bearer.map_err(|_| refused("The identity provider gave no usable access token"))?;
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    if provider.name == "generic" {
        headers.extend(extra_headers(admin));
    }
    let request =
        WebRequest { method: Method::GET, url: provider.userinfo.clone(), headers, body: Bytes::new() };
    let info = ask(admin, request, "the userinfo endpoint").await?;
    if let (Some(told), Some(known)) = (info["sub"].as_str(), claims["sub"].as_str())
        && told != known
    {
        return Err(refused("The userinfo endpoint speaks of somebody else than the id token"));
    }
    if let (Value::Object(claims), Value::Object(info)) = (&mut claims, info) {
        claims.extend(info);
    }
    Ok(claims)
}

/// `GENERIC_SSO_HEADERS`: `name=value`, comma list.
fn extra_headers(admin: &Admin) -> HeaderMap {
    let snapshot = admin.snapshot.load();
    let list = snapshot.env.filled("GENERIC_SSO_HEADERS").unwrap_or_default();
    let pairs = list.split(',').filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter_map(|(name, value)| {
            Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::from_str(value.trim()).ok()?))
        })
        .collect()
}

/// The claims of an id token. It came from the provider itself over TLS, which stands for its signature
/// (OpenID Connect Core §3.1.3.7, 6); whom it is for and what it answers is checked.
fn inside(token: &str, provider: &Provider, away: &Away, now: i64) -> Result<Value, AdminError> {
    let bad = |what: &str| refused(format!("The id token of the identity provider {what}"));
    let middle = token.split('.').nth(1).ok_or_else(|| bad("is none"))?;
    let bytes = URL_SAFE_NO_PAD.decode(middle.trim_end_matches('=')).map_err(|_| bad("is none"))?;
    let claims: Value = serde_json::from_slice(&bytes).map_err(|_| bad("is none"))?;
    if !claims.is_object() {
        return Err(bad("is none"));
    }
    let for_us = super::provider::listed(&claims["aud"]).contains(&provider.client_id);
    if !for_us {
        return Err(bad("is for another client"));
    }
    if claims["exp"].as_i64().is_none_or(|expires| expires <= now) {
        return Err(bad("has run out"));
    }
    if claims["nonce"].as_str().is_some_and(|nonce| nonce != away.nonce) {
        return Err(bad("answers another sign-in"));
    }
    Ok(claims)
}

/// Asks and reads JSON.
async fn ask(admin: &Admin, mut request: WebRequest, whom: &str) -> Result<Value, AdminError> {
    let Some(web) = &admin.web else {
        return Err(AdminError::new(501, "auth_error", "Single sign-on is not available here"));
    };
    request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let failed = |problem: String| {
        tracing::warn!(whom, problem, "the identity provider cannot be used");
        AdminError::new(502, "auth_error", format!("The identity provider cannot be used: {whom}: {problem}"))
    };
    let WebReply { status, body } = web(request).await.map_err(|error| failed(error.to_string()))?;
    if !(200..300).contains(&status) {
        // What it says may name a wrong secret or redirect URL, which an operator wants to know.
        let said = String::from_utf8_lossy(&body);
        let said: String = said.chars().filter(|it| !it.is_control()).take(300).collect();
        tracing::warn!(whom, status, said, "the identity provider refused");
        return Err(refused(format!("The identity provider refused the sign-in: {whom} answered {status}")));
    }
    serde_json::from_slice(&body).map_err(|error| failed(format!("its answer is no JSON: {error}")))
}
