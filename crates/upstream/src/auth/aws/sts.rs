//! The security token service: roles for keys, roles for tokens.
//!
//! Source: AWS STS API Reference, `AssumeRole` and `AssumeRoleWithWebIdentity` (version 2011-06-15).

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use faregate_terms::Secret;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use jiff::Timestamp;

use super::sign::Signer;
use super::{Keys, remaining};
use crate::auth::AuthError;
use crate::auth::oauth::{self, PATIENCE};
use crate::auth::query::pair;
use crate::auth::token::Lease;
use crate::client::Transport;

const SERVICE: &str = "AWS STS";

/// The service in one region.
pub(super) struct Sts<'a> {
    pub(super) transport: &'a Transport,
    pub(super) region: &'a str,
    /// Instead of the region's public endpoint.
    pub(super) endpoint: Option<&'a str>,
}

/// Which role, and as whom.
pub(super) struct AssumeRole<'a> {
    pub(super) role: &'a str,
    pub(super) session_name: &'a str,
    pub(super) external_id: Option<&'a str>,
    pub(super) tags: &'a [(String, String)],
}

impl Sts<'_> {
    /// `keys` become the role's.
    pub(super) async fn assume(&self, keys: &Keys, wish: &AssumeRole<'_>) -> Result<Lease<Keys>, AuthError> {
        let mut form = String::new();
        pair(&mut form, "Action", "AssumeRole");
        pair(&mut form, "Version", "2011-06-15");
        pair(&mut form, "RoleArn", wish.role);
        pair(&mut form, "RoleSessionName", wish.session_name);
        if let Some(id) = wish.external_id {
            pair(&mut form, "ExternalId", id);
        }
        for (index, (name, value)) in wish.tags.iter().enumerate() {
            pair(&mut form, &format!("Tags.member.{}.Key", index + 1), name);
            pair(&mut form, &format!("Tags.member.{}.Value", index + 1), value);
        }
        let (mut parts, body) = self.request(form)?.into_parts();
        Signer { keys, region: self.region, service: "sts" }.sign(&mut parts, &body, SystemTime::now())?;
        self.ask(Request::from_parts(parts, body), wish.role).await
    }

    /// `token` becomes the role's keys; nothing else proves who asks.
    pub(super) async fn assume_with_token(
        &self,
        role: &str,
        session_name: &str,
        token: &Secret,
    ) -> Result<Lease<Keys>, AuthError> {
        let mut form = String::new();
        pair(&mut form, "Action", "AssumeRoleWithWebIdentity");
        pair(&mut form, "Version", "2011-06-15");
        pair(&mut form, "RoleArn", role);
        pair(&mut form, "RoleSessionName", session_name);
        pair(&mut form, "WebIdentityToken", token.expose());
        self.ask(self.request(form)?, role).await
    }

    fn request(&self, form: String) -> Result<Request<Bytes>, AuthError> {
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None if self.region.starts_with("cn-") => format!("https://sts.{}.amazonaws.com.cn", self.region),
            None => format!("https://sts.{}.amazonaws.com", self.region),
        };
        let mut request = Request::new(Bytes::from(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = oauth::url(&format!("{endpoint}/"), "aws_sts_endpoint")?;
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        request.headers_mut().insert(CONTENT_TYPE, form_type);
        Ok(request)
    }

    async fn ask(&self, request: Request<Bytes>, role: &str) -> Result<Lease<Keys>, AuthError> {
        let answer = self.transport.exchange(request, PATIENCE).await;
        let (status, body) = answer.map_err(|error| AuthError::unsent(SERVICE, &error))?;
        let xml = String::from_utf8_lossy(&body);
        if !status.is_success() {
            return Err(refusal(status, &xml, role));
        }
        read_keys(&xml).ok_or_else(|| AuthError::nonsense(SERVICE))
    }
}

fn refusal(status: StatusCode, xml: &str, role: &str) -> AuthError {
    let code = element(xml, "Code").unwrap_or_default();
    let text = element(xml, "Message").unwrap_or_default();
    let message = format!("{SERVICE} answered {status} for role {role}: {code} {text}");
    match status.is_client_error() && !code.starts_with("Throttl") {
        true => AuthError::refused(format!(
            "{}; check the role's trust policy and who may assume it",
            message.trim()
        )),
        false => AuthError::unavailable(message.trim()),
    }
}

fn read_keys(xml: &str) -> Option<Lease<Keys>> {
    let keys = Keys {
        access_key_id: element(xml, "AccessKeyId")?.into_owned(),
        secret_access_key: element(xml, "SecretAccessKey")?.into_owned().into(),
        session_token: Some(element(xml, "SessionToken")?.into_owned().into()),
    };
    let end: Timestamp = element(xml, "Expiration")?.parse().ok()?;
    Some(Lease { value: keys, lifetime: Some(remaining(end)) })
}

/// The text of the first element of this name. The elements we read have neither attributes nor children.
fn element<'a>(xml: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let length = xml[start..].find(&format!("</{name}>"))?;
    let text = xml[start..start + length].trim();
    if !text.contains('&') {
        return Some(Cow::Borrowed(text));
    }
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(Cow::Owned(plain.iter().fold(text.to_owned(), |text, (entity, sign)| text.replace(entity, sign))))
}
