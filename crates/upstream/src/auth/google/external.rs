//! Workload identity federation (AIP-4117): a foreign token from a file or URL, exchanged at Google's STS.

use bytes::Bytes;
use faregate_terms::Secret;
use http::{HeaderName, HeaderValue, Request};

use super::CLOUD_PLATFORM;
use super::grant::Granter;
use super::key_file::{CredentialSource, ExternalAccount, FormatKind, SourceFormat};
use crate::auth::AuthError;
use crate::auth::oauth::{self, PATIENCE};
use crate::auth::subject::read_token_file;
use crate::auth::token::Lease;

const SERVICE: &str = "Google's security token service";

pub(super) async fn token(
    granter: &Granter<'_>,
    account: &ExternalAccount,
) -> Result<Lease<String>, AuthError> {
    let subject = subject(granter, &account.credential_source).await?;
    // The federated token only serves to act as the service account, which then has the wanted scopes.
    let scope = match account.service_account_impersonation_url {
        Some(_) => CLOUD_PLATFORM,
        None => granter.scopes,
    };
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", account.audience.as_str()),
        ("scope", scope),
        ("subject_token_type", account.subject_token_type.as_str()),
        ("subject_token", subject.expose()),
    ];
    let url = oauth::url(&account.token_url, "token_url of the external account")?;
    let federated = oauth::token(granter.transport, SERVICE, url, &fields).await?;
    match &account.service_account_impersonation_url {
        Some(url) => granter.act_as(url, &[], &federated.value).await,
        None => Ok(federated),
    }
}

async fn subject(granter: &Granter<'_>, source: &CredentialSource) -> Result<Secret, AuthError> {
    if let Some(path) = &source.file {
        return pick(&read_token_file(path.as_ref()).await?, &source.format);
    }
    if let Some(url) = &source.url {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = oauth::url(url, "credential_source.url")?;
        for (name, value) in &source.headers {
            let unusable =
                || AuthError::malformed("credential_source.headers holds something that is not a header");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            request.headers_mut().insert(name, HeaderValue::from_str(value).map_err(|_| unusable())?);
        }
        let body = oauth::ask(granter.transport, "credential_source.url", request, PATIENCE).await?;
        let text = std::str::from_utf8(&body).map_err(|_| AuthError::nonsense("credential_source.url"))?;
        return pick(&Secret::new(text.trim()), &source.format);
    }
    let kind = match (&source.environment_id, &source.executable) {
        (Some(_), _) => "an AWS identity",
        (None, Some(_)) => "an executable",
        (None, None) => "neither a file nor a url",
    };
    Err(AuthError::malformed(format!(
        "credential_source of the external account is {kind}, which is not supported; use a file or url source"
    )))
}

/// The token within the text that holds it.
fn pick(text: &Secret, format: &SourceFormat) -> Result<Secret, AuthError> {
    if format.kind == FormatKind::Text {
        return Ok(text.clone());
    }
    let member = format.subject_token_field_name.as_deref().unwrap_or("access_token");
    serde_json::from_str::<serde_json::Value>(text.expose())
        .ok()
        .and_then(|value| value[member].as_str().map(Secret::from))
        .ok_or_else(|| {
            AuthError::malformed(format!("the external account's source has no text member `{member}`"))
        })
}
