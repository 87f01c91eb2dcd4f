//! Google's credential files, by their `type`.

use std::collections::HashMap;
use std::path::Path;

use faregate_terms::Secret;
use serde::Deserialize;

use crate::auth::AuthError;

pub(super) const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// A parsed file. Members we have no use for are ignored.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum KeyFile {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(AuthorizedUser),
    ExternalAccount(ExternalAccount),
    ImpersonatedServiceAccount(Impersonated),
}

/// A robot account with its private key.
#[derive(Deserialize)]
pub(super) struct ServiceAccount {
    pub(super) client_email: String,
    /// PKCS #8 in PEM.
    pub(super) private_key: Secret,
    pub(super) private_key_id: Option<String>,
    #[serde(default = "token_uri")]
    pub(super) token_uri: String,
    project_id: Option<String>,
    quota_project_id: Option<String>,
}

/// What `gcloud auth application-default login` leaves.
#[derive(Deserialize)]
pub(super) struct AuthorizedUser {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) refresh_token: Secret,
    #[serde(default = "token_uri")]
    pub(super) token_uri: String,
    quota_project_id: Option<String>,
}

/// Workload identity federation: somebody else's token, exchanged at Google's STS.
#[derive(Deserialize)]
pub(super) struct ExternalAccount {
    pub(super) audience: String,
    pub(super) subject_token_type: String,
    pub(super) token_url: String,
    pub(super) credential_source: CredentialSource,
    pub(super) service_account_impersonation_url: Option<String>,
    quota_project_id: Option<String>,
}

/// Where the foreign token comes from; exactly one of the first four is set.
#[derive(Deserialize)]
pub(super) struct CredentialSource {
    pub(super) file: Option<String>,
    pub(super) url: Option<String>,
    pub(super) environment_id: Option<String>,
    pub(super) executable: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) headers: HashMap<String, String>,
    #[serde(default)]
    pub(super) format: SourceFormat,
}

/// How the token lies in the file or answer.
#[derive(Deserialize, Default)]
pub(super) struct SourceFormat {
    #[serde(default, rename = "type")]
    pub(super) kind: FormatKind,
    pub(super) subject_token_field_name: Option<String>,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum FormatKind {
    #[default]
    Text,
    Json,
}

/// One identity that may act as a service account.
#[derive(Deserialize)]
pub(super) struct Impersonated {
    pub(super) service_account_impersonation_url: String,
    pub(super) source_credentials: Box<KeyFile>,
    #[serde(default)]
    pub(super) delegates: Vec<String>,
    quota_project_id: Option<String>,
}

fn token_uri() -> String {
    TOKEN_URI.to_owned()
}

impl KeyFile {
    pub(super) async fn read(path: &Path) -> Result<Self, AuthError> {
        let text = tokio::fs::read_to_string(path).await.map_err(|error| {
            AuthError::missing(format!("cannot read the Google credential file {}: {error}", path.display()))
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// `origin` is what a message calls the text.
    pub(super) fn parse(text: &str, origin: &str) -> Result<Self, AuthError> {
        serde_json::from_str(text).map_err(|error| {
            // serde_json's messages name members and positions; a wrong value could be quoted, so only the
            // kind and the place are shown.
            let what = match error.is_data() {
                true => {
                    "is not a Google credential of a known type (service_account, authorized_user, \
                         external_account, impersonated_service_account) or lacks a member"
                }
                false => "is not JSON",
            };
            AuthError::malformed(format!("{origin}, line {}: {what}", error.line()))
        })
    }

    pub(super) fn project_id(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount(account) => account.project_id.as_deref(),
            Self::AuthorizedUser(_) | Self::ExternalAccount(_) | Self::ImpersonatedServiceAccount(_) => {
                self.quota_project()
            }
        }
    }

    /// The project to be named in `x-goog-user-project`.
    pub(super) fn quota_project(&self) -> Option<&str> {
        match self {
            Self::ServiceAccount(account) => account.quota_project_id.as_deref(),
            Self::AuthorizedUser(user) => user.quota_project_id.as_deref(),
            Self::ExternalAccount(external) => external.quota_project_id.as_deref(),
            Self::ImpersonatedServiceAccount(impersonated) => impersonated.quota_project_id.as_deref(),
        }
    }
}
