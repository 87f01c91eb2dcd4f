//! Identity tokens that a platform gives a workload, to be exchanged for a provider's credential.
//!
//! The `oidc/…` words are LiteLLM's (its secret manager's OIDC support).

use std::path::{Path, PathBuf};

use bytes::Bytes;
use faregate_terms::Secret;
use http::{HeaderValue, Request};

use super::AuthError;
use super::google::METADATA_FLAVOR;
use super::header::bearer_value;
use super::oauth::{self, PATIENCE};
use super::query::pair;
use crate::client::Transport;
use crate::env::EnvView;

/// Where an identity token comes from. Read anew for each exchange, since platforms rotate it.
#[derive(Debug, PartialEq)]
pub(super) enum SubjectToken {
    File(PathBuf),
    /// A variable that holds the token.
    Variable(String),
    /// A variable that holds the path of a file with the token.
    FileNamedBy(String),
    /// Google's metadata server, for this audience.
    Google(String),
    /// GitHub Actions, for this audience.
    Github(String),
    /// The text itself.
    Literal(Secret),
}

impl SubjectToken {
    /// `oidc/file/…`, `oidc/env/…`, `oidc/env_path/…`, `oidc/google/…`, `oidc/github/…`, `oidc/azure/…`,
    /// `oidc/circleci/` and `oidc/circleci_v2/`; `None` for any other text.
    pub(super) fn oidc(text: &str) -> Option<Self> {
        let (kind, rest) = text.strip_prefix("oidc/")?.split_once('/')?;
        Some(match kind {
            // The path keeps its leading slash when it is written with two.
            "file" => Self::File(PathBuf::from(rest)),
            "env" => Self::Variable(rest.to_owned()),
            "env_path" => Self::FileNamedBy(rest.to_owned()),
            "google" => Self::Google(rest.to_owned()),
            "github" => Self::Github(rest.to_owned()),
            "azure" => Self::FileNamedBy("AZURE_FEDERATED_TOKEN_FILE".to_owned()),
            "circleci" => Self::Variable("CIRCLE_OIDC_TOKEN".to_owned()),
            "circleci_v2" => Self::Variable("CIRCLE_OIDC_TOKEN_V2".to_owned()),
            _ => return None,
        })
    }

    /// `oidc/…`, an absolute path, or the token itself.
    pub(super) fn parse(text: &str) -> Self {
        match Self::oidc(text) {
            Some(subject) => subject,
            None if Path::new(text).is_absolute() => Self::File(PathBuf::from(text)),
            None => Self::Literal(Secret::new(text)),
        }
    }

    pub(super) async fn read(&self, env: &EnvView, transport: &Transport) -> Result<Secret, AuthError> {
        match self {
            Self::File(path) => read_token_file(path).await,
            Self::Variable(name) => variable(env, name).map(Secret::from),
            Self::FileNamedBy(name) => read_token_file(Path::new(&variable(env, name)?)).await,
            Self::Google(audience) => from_google(audience, env, transport).await,
            Self::Github(audience) => from_github(audience, env, transport).await,
            Self::Literal(token) => Ok(token.clone()),
        }
    }
}

fn variable(env: &EnvView, name: &str) -> Result<String, AuthError> {
    env.get(name).ok_or_else(|| {
        AuthError::missing(format!(
            "environment variable {name}, which names or holds an identity token, is not set"
        ))
    })
}

/// The trimmed text of a file that holds one secret.
pub(super) async fn read_token_file(path: &Path) -> Result<Secret, AuthError> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| {
        AuthError::missing(format!("cannot read the token file {}: {error}", path.display()))
    })?;
    Ok(Secret::new(text.trim()))
}

async fn from_google(audience: &str, env: &EnvView, transport: &Transport) -> Result<Secret, AuthError> {
    let mut query = String::new();
    pair(&mut query, "audience", audience);
    let path = format!("instance/service-accounts/default/identity?{query}");
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = super::google::metadata_url(env, &path)?;
    request.headers_mut().insert(METADATA_FLAVOR, HeaderValue::from_static("Google"));
    let body = oauth::ask(transport, "Google's metadata server", request, PATIENCE).await?;
    String::from_utf8(body.to_vec())
        .map(|text| Secret::new(text.trim()))
        .map_err(|_| AuthError::nonsense("Google's metadata server"))
}

/// Source: GitHub Docs, "OpenID Connect", `ACTIONS_ID_TOKEN_REQUEST_URL`.
async fn from_github(audience: &str, env: &EnvView, transport: &Transport) -> Result<Secret, AuthError> {
    #[derive(serde::Deserialize)]
    struct Issued {
        value: Secret,
    }
    let mut target = variable(env, "ACTIONS_ID_TOKEN_REQUEST_URL")?;
    target.push('&');
    let mut query = String::new();
    pair(&mut query, "audience", audience);
    target.push_str(&query);
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = oauth::url(&target, "ACTIONS_ID_TOKEN_REQUEST_URL")?;
    let token = bearer_value(&variable(env, "ACTIONS_ID_TOKEN_REQUEST_TOKEN")?)?;
    request.headers_mut().insert(http::header::AUTHORIZATION, token);
    let body = oauth::ask(transport, "GitHub Actions", request, PATIENCE).await?;
    let issued: Issued = serde_json::from_slice(&body).map_err(|_| AuthError::nonsense("GitHub Actions"))?;
    Ok(issued.value)
}
