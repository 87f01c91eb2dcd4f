//! From a credential file to an access token.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;

use super::external;
use super::key_file::{AuthorizedUser, Impersonated, KeyFile, ServiceAccount};
use crate::auth::AuthError;
use crate::auth::header::bearer_value;
use crate::auth::oauth::{self, PATIENCE};
use crate::auth::token::Lease;
use crate::client::Transport;

const SERVICE: &str = "Google's token service";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest Google grants.
const LIFETIME: i64 = 3600;

/// What every grant needs besides the file.
pub(super) struct Granter<'a> {
    pub(super) transport: &'a Transport,
    /// Separated by blanks.
    pub(super) scopes: &'a str,
}

impl Granter<'_> {
    /// Boxed, since an impersonated account has another credential inside.
    pub(super) fn token<'s>(
        &'s self,
        file: &'s KeyFile,
    ) -> Pin<Box<dyn Future<Output = Result<Lease<String>, AuthError>> + Send + 's>> {
        Box::pin(async move {
            match file {
                KeyFile::ServiceAccount(account) => self.service_account(account).await,
                KeyFile::AuthorizedUser(user) => self.authorized_user(user).await,
                KeyFile::ExternalAccount(external) => external::token(self, external).await,
                KeyFile::ImpersonatedServiceAccount(impersonated) => self.impersonated(impersonated).await,
            }
        })
    }

    async fn service_account(&self, account: &ServiceAccount) -> Result<Lease<String>, AuthError> {
        let assertion = assertion(account, self.scopes, Timestamp::now())?;
        let url = oauth::url(&account.token_uri, "token_uri of the service account")?;
        let fields = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
        oauth::token(self.transport, SERVICE, url, &fields).await
    }

    async fn authorized_user(&self, user: &AuthorizedUser) -> Result<Lease<String>, AuthError> {
        let url = oauth::url(&user.token_uri, "token_uri of the authorized user")?;
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", user.client_id.as_str()),
            ("client_secret", user.client_secret.expose()),
            ("refresh_token", user.refresh_token.expose()),
        ];
        oauth::token(self.transport, SERVICE, url, &fields).await
    }

    async fn impersonated(&self, impersonated: &Impersonated) -> Result<Lease<String>, AuthError> {
        let source = self.token(&impersonated.source_credentials).await?;
        let url = &impersonated.service_account_impersonation_url;
        self.act_as(url, &impersonated.delegates, &source.value).await
    }

    /// Source: IAM Service Account Credentials API, `generateAccessToken`.
    pub(super) async fn act_as(
        &self,
        url: &str,
        delegates: &[String],
        token: &str,
    ) -> Result<Lease<String>, AuthError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Generated {
            access_token: String,
            expire_time: Timestamp,
        }
        let scopes: Vec<&str> = self.scopes.split(' ').collect();
        let body = json!({"scope": scopes, "delegates": delegates, "lifetime": format!("{LIFETIME}s")});
        let mut request = Request::new(Bytes::from(body.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = oauth::url(url, "service_account_impersonation_url")?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(AUTHORIZATION, bearer_value(token)?);
        let answer = oauth::ask(self.transport, SERVICE, request, PATIENCE).await?;
        let generated: Generated =
            serde_json::from_slice(&answer).map_err(|_| AuthError::nonsense(SERVICE))?;
        let left = generated.expire_time.duration_since(Timestamp::now());
        Ok(Lease {
            value: generated.access_token,
            lifetime: Some(Duration::try_from(left).unwrap_or_default()),
        })
    }
}

/// The signed JWT that a service account trades for a token (RFC 7523).
fn assertion(account: &ServiceAccount, scopes: &str, now: Timestamp) -> Result<String, AuthError> {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": account.private_key_id});
    let claims = json!({
        "iss": account.client_email,
        "scope": scopes,
        "aud": account.token_uri,
        "iat": now.as_second(),
        "exp": now.as_second() + LIFETIME,
    });
    let encode = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let unusable = || {
        AuthError::malformed(
            "private_key of the Google service account is not a PEM RSA key; use the key file as downloaded",
        )
    };
    // Keys pasted into an environment variable often carry `\n` as two characters.
    let pem = account.private_key.expose().replace("\\n", "\n");
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unusable())?;
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|_| unusable())?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| unusable())?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}
