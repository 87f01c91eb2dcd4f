//! Google access tokens: service accounts, application default credentials, workload identity.
//!
//! Source: Google, "Using OAuth 2.0 for Server to Server Applications", AIP-4110 (application default
//! credentials), AIP-4117 (external accounts), "Access tokens from the metadata server".

mod external;
mod grant;
mod key_file;

use std::path::PathBuf;

use bytes::Bytes;
use faregate_terms::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Uri, request};

use super::AuthError;
use super::header::{bearer_value, sensitive};
use super::oauth::{self, PATIENCE};
use super::token::{Lease, TokenCache};
use crate::client::Transport;
use crate::env::EnvView;
use grant::Granter;
use key_file::KeyFile;

/// The scope that covers every Google Cloud API.
pub const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
pub(super) const METADATA_FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
const USER_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");
const METADATA: &str = "Google's metadata server";

/// Which Google identity.
#[derive(Debug, Clone, PartialEq)]
pub enum GoogleCredentials {
    /// Application default credentials: `GOOGLE_APPLICATION_CREDENTIALS`, then what `gcloud auth
    /// application-default login` left, then the metadata server.
    Default,
    /// The path of a JSON key file of any type; read whenever a token is fetched.
    File(PathBuf),
    /// The JSON text of a key file.
    Json(Secret),
}

impl GoogleCredentials {
    /// LiteLLM's `vertex_credentials`: JSON text when it looks like an object, else a path.
    pub fn parse(text: &str) -> Self {
        match text.trim_start().starts_with('{') {
            true => Self::Json(Secret::new(text)),
            false => Self::File(PathBuf::from(text)),
        }
    }
}

/// The scheme: fetches, keeps and applies the token.
#[derive(Debug)]
pub(super) struct Google {
    credentials: GoogleCredentials,
    scopes: String,
    env: EnvView,
    transport: Transport,
    cache: TokenCache<Identity>,
    project: TokenCache<Option<String>>,
}

/// What a request needs.
#[derive(Clone)]
struct Identity {
    authorization: HeaderValue,
    /// Who pays for a call made as a user.
    user_project: Option<HeaderValue>,
}

impl Google {
    pub(super) fn new(
        credentials: GoogleCredentials,
        scopes: &[String],
        env: &EnvView,
        transport: &Transport,
    ) -> Self {
        let scopes = if scopes.is_empty() { CLOUD_PLATFORM.to_owned() } else { scopes.join(" ") };
        Self {
            credentials,
            scopes,
            env: env.clone(),
            transport: transport.clone(),
            cache: TokenCache::default(),
            project: TokenCache::default(),
        }
    }

    pub(super) async fn apply(&self, parts: &mut request::Parts) -> Result<(), AuthError> {
        let identity = self.cache.get(|| self.fetch()).await?;
        parts.headers.insert(AUTHORIZATION, identity.authorization);
        if let Some(project) = identity.user_project {
            parts.headers.insert(USER_PROJECT, project);
        }
        Ok(())
    }

    /// The project the credential belongs to, as far as it says.
    pub(super) async fn project_id(&self) -> Result<Option<String>, AuthError> {
        self.project
            .get(async || {
                let file = self.key_file().await?;
                let named = file.as_ref().and_then(KeyFile::project_id).map(str::to_owned);
                let value =
                    match named.or_else(|| self.env.first(&["GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"])) {
                        None if file.is_none() => {
                            Some(metadata_text(&self.env, &self.transport, "project/project-id").await?)
                        }
                        project => project,
                    };
                Ok(Lease { value, lifetime: None })
            })
            .await
    }

    async fn fetch(&self) -> Result<Lease<Identity>, AuthError> {
        let Some(file) = self.key_file().await? else { return self.ask_metadata().await };
        let user_project = file.quota_project().map(sensitive).transpose()?;
        let granter = Granter { transport: &self.transport, scopes: &self.scopes };
        let lease = granter.token(&file).await?;
        let authorization = bearer_value(&lease.value)?;
        Ok(Lease { value: Identity { authorization, user_project }, lifetime: lease.lifetime })
    }

    /// `None` when nothing is configured, hence the metadata server is to be asked.
    async fn key_file(&self) -> Result<Option<KeyFile>, AuthError> {
        match &self.credentials {
            GoogleCredentials::Json(text) => KeyFile::parse(text.expose(), "vertex_credentials").map(Some),
            GoogleCredentials::File(path) => KeyFile::read(path).await.map(Some),
            GoogleCredentials::Default => {
                if let Some(path) = self.env.get("GOOGLE_APPLICATION_CREDENTIALS") {
                    return KeyFile::read(&PathBuf::from(path)).await.map(Some);
                }
                match self.well_known_file() {
                    Some(path) if tokio::fs::try_exists(&path).await.unwrap_or(false) => {
                        KeyFile::read(&path).await.map(Some)
                    }
                    _ => Ok(None),
                }
            }
        }
    }

    fn well_known_file(&self) -> Option<PathBuf> {
        let folder = match self.env.get("CLOUDSDK_CONFIG") {
            Some(folder) => PathBuf::from(folder),
            None => self.env.home()?.join(".config/gcloud"),
        };
        Some(folder.join("application_default_credentials.json"))
    }

    async fn ask_metadata(&self) -> Result<Lease<Identity>, AuthError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = metadata_url(&self.env, "instance/service-accounts/default/token")?;
        request.headers_mut().insert(METADATA_FLAVOR, HeaderValue::from_static("Google"));
        let lease =
            oauth::get_token(&self.transport, METADATA, request).await.map_err(|error| AuthError {
                message: format!(
                    "no Google credential: set vertex_credentials or GOOGLE_APPLICATION_CREDENTIALS, or run \
                 `gcloud auth application-default login` ({error})"
                ),
                ..error
            })?;
        let authorization = bearer_value(&lease.value)?;
        Ok(Lease { value: Identity { authorization, user_project: None }, lifetime: lease.lifetime })
    }
}

/// `path` below `computeMetadata/v1`, at the server that `GCE_METADATA_HOST` may name.
pub(super) fn metadata_url(env: &EnvView, path: &str) -> Result<Uri, AuthError> {
    let host = env.get("GCE_METADATA_HOST").unwrap_or_else(|| "metadata.google.internal".to_owned());
    oauth::url(&format!("http://{host}/computeMetadata/v1/{path}"), "GCE_METADATA_HOST")
}

async fn metadata_text(env: &EnvView, transport: &Transport, path: &str) -> Result<String, AuthError> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = metadata_url(env, path)?;
    request.headers_mut().insert(METADATA_FLAVOR, HeaderValue::from_static("Google"));
    let body = oauth::ask(transport, METADATA, request, PATIENCE).await?;
    String::from_utf8(body.to_vec())
        .map(|text| text.trim().to_owned())
        .map_err(|_| AuthError::nonsense(METADATA))
}
