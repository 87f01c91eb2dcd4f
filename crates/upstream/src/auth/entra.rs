//! Microsoft Entra ID (Azure AD) tokens for Azure OpenAI and Azure AI.
//!
//! Source: Microsoft identity platform, "OAuth 2.0 client credentials flow" and "resource owner password
//! credentials"; LiteLLM's `azure_ad_token`, `tenant_id`, `client_id`, `client_secret`, `azure_username`,
//! `azure_password`, `azure_scope` and the environment variables of `compat/env.md`.

use faregate_terms::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderValue, request};

use super::AuthError;
use super::oauth::{self, as_bearer};
use super::subject::SubjectToken;
use super::token::{Lease, TokenCache};
use crate::client::Transport;
use crate::env::EnvView;

const SERVICE: &str = "Microsoft Entra ID";
const DEFAULT_AUTHORITY: &str = "https://login.microsoftonline.com";
const DEFAULT_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How to get a token. What is absent is taken from the `AZURE_*` environment variables.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EntraSpec {
    /// A token made elsewhere (`AZURE_AD_TOKEN`), or `oidc/…` for one to exchange as a client assertion.
    pub token: Option<Secret>,
    /// The directory (`AZURE_TENANT_ID`).
    pub tenant_id: Option<String>,
    /// The application (`AZURE_CLIENT_ID`).
    pub client_id: Option<String>,
    /// The application's secret (`AZURE_CLIENT_SECRET`).
    pub client_secret: Option<Secret>,
    /// A user, for the password flow (`AZURE_USERNAME`).
    pub username: Option<String>,
    /// The user's password (`AZURE_PASSWORD`).
    pub password: Option<Secret>,
    /// What the token is for (`AZURE_SCOPE`); default `https://cognitiveservices.azure.com/.default`.
    pub scope: Option<String>,
    /// The login endpoint of a sovereign cloud (`AZURE_AUTHORITY_HOST`).
    pub authority: Option<String>,
}

impl EntraSpec {
    fn filled(mut self, env: &EnvView) -> Self {
        let secret = |name| env.get(name).map(Secret::from);
        self.tenant_id = self.tenant_id.or_else(|| env.get("AZURE_TENANT_ID"));
        self.client_id = self.client_id.or_else(|| env.get("AZURE_CLIENT_ID"));
        self.client_secret = self.client_secret.or_else(|| secret("AZURE_CLIENT_SECRET"));
        self.username = self.username.or_else(|| env.get("AZURE_USERNAME"));
        self.password = self.password.or_else(|| secret("AZURE_PASSWORD"));
        self.scope = self.scope.or_else(|| env.get("AZURE_SCOPE"));
        self.authority = self.authority.or_else(|| env.get("AZURE_AUTHORITY_HOST"));
        let federated = env.get("AZURE_FEDERATED_TOKEN_FILE").map(|path| format!("oidc/file/{path}").into());
        let can_log_in = self.client_secret.is_some() || self.password.is_some();
        if self.token.is_none() && !can_log_in {
            self.token = secret("AZURE_AD_TOKEN").or(federated);
        }
        self
    }
}

/// The scheme: fetches, keeps and applies the token.
#[derive(Debug)]
pub(super) struct Entra {
    spec: EntraSpec,
    env: EnvView,
    transport: Transport,
    cache: TokenCache<HeaderValue>,
}

impl Entra {
    pub(super) fn new(spec: EntraSpec, env: &EnvView, transport: &Transport) -> Self {
        Self {
            spec: spec.filled(env),
            env: env.clone(),
            transport: transport.clone(),
            cache: TokenCache::default(),
        }
    }

    pub(super) async fn apply(&self, parts: &mut request::Parts) -> Result<(), AuthError> {
        let token = self.cache.get(|| self.fetch()).await?;
        parts.headers.insert(AUTHORIZATION, token);
        Ok(())
    }

    async fn fetch(&self) -> Result<Lease<HeaderValue>, AuthError> {
        let spec = &self.spec;
        let Some(token) = &spec.token else { return self.log_in(None).await };
        match SubjectToken::oidc(token.expose()) {
            Some(subject) => {
                let assertion = subject.read(&self.env, &self.transport).await?;
                self.log_in(Some(&assertion)).await
            }
            // Whoever made this token replaces it: we cannot know when it ends.
            None => as_bearer(&Lease { value: token.expose().to_owned(), lifetime: None }),
        }
    }

    async fn log_in(&self, assertion: Option<&Secret>) -> Result<Lease<HeaderValue>, AuthError> {
        let spec = &self.spec;
        let need = |value: &Option<String>, what: &str| {
            value.clone().ok_or_else(|| {
                AuthError::missing(format!(
                    "no Entra ID {what}: set an api_key, azure_ad_token, or tenant_id, client_id and client_secret"
                ))
            })
        };
        let tenant = need(&spec.tenant_id, "tenant_id")?;
        let client = need(&spec.client_id, "client_id")?;
        let scope = spec.scope.as_deref().unwrap_or(DEFAULT_SCOPE);
        let mut fields = vec![("client_id", client.as_str()), ("scope", scope)];
        match (assertion, &spec.client_secret, &spec.username, &spec.password) {
            (Some(assertion), ..) => fields.extend([
                ("grant_type", "client_credentials"),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", assertion.expose()),
            ]),
            (None, Some(secret), ..) => {
                fields.extend([("grant_type", "client_credentials"), ("client_secret", secret.expose())]);
            }
            (None, None, Some(user), Some(password)) => {
                fields.extend([
                    ("grant_type", "password"),
                    ("username", user),
                    ("password", password.expose()),
                ]);
            }
            _ => need(&None, "client_secret").map(drop)?,
        }
        let authority = spec.authority.as_deref().unwrap_or(DEFAULT_AUTHORITY).trim_end_matches('/');
        let url = oauth::url(&format!("{authority}/{tenant}/oauth2/v2.0/token"), "the Entra ID authority")?;
        as_bearer(&oauth::token(&self.transport, SERVICE, url, &fields).await?)
    }
}
