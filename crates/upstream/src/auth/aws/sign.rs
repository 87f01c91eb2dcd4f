//! Signature Version 4 over the final bytes.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, request};

use super::Keys;
use crate::auth::AuthError;

/// Who signs for what.
pub(super) struct Signer<'a> {
    pub(super) keys: &'a Keys,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

impl Signer<'_> {
    /// Adds `authorization`, `x-amz-date` and, for temporary keys, `x-amz-security-token`.
    ///
    /// Signs `host`, `content-type` and `x-amz-*`: headers that a proxy on the way may add or change would
    /// break the signature.
    pub(super) fn sign(
        &self,
        parts: &mut request::Parts,
        body: &[u8],
        time: SystemTime,
    ) -> Result<(), AuthError> {
        let unsignable = |what: &str| AuthError::malformed(format!("the request cannot be signed: {what}"));
        let identity: Identity = Credentials::new(
            &self.keys.access_key_id,
            self.keys.secret_access_key.expose(),
            self.keys.session_token.as_ref().map(|token| token.expose().to_owned()),
            None,
            "faregate",
        )
        .into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(time)
            .settings(self.settings())
            .build()
            .map_err(|_| unsignable("a part of the credential is missing"))?
            .into();
        let signed = |name: &HeaderName| *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-");
        let mut headers = Vec::new();
        for (name, value) in parts.headers.iter().filter(|(name, _)| signed(name)) {
            headers.push((name.as_str(), value.to_str().map_err(|_| unsignable("a header is not ASCII"))?));
        }
        let request = SignableRequest::new(
            parts.method.as_str(),
            parts.uri.to_string(),
            headers.into_iter(),
            SignableBody::Bytes(body),
        )
        .map_err(|_| unsignable("its URL"))?;
        let (instructions, _) =
            sign(request, &params).map_err(|_| unsignable("its URL or headers"))?.into_parts();
        let (added, _) = instructions.into_parts();
        for header in added {
            let mut value =
                HeaderValue::from_str(header.value()).map_err(|_| unsignable("the access key"))?;
            // A signature is good for five minutes to whoever reads it.
            value.set_sensitive(header.sensitive() || header.name() == AUTHORIZATION);
            parts.headers.insert(HeaderName::from_static(header.name()), value);
        }
        Ok(())
    }

    /// S3 is the one service that signs the path as it is, and wants the payload's hash in a header.
    fn settings(&self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        if self.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        settings
    }
}

#[cfg(test)]
mod tests;
