//! A fixed secret in a header: `authorization: Bearer …`, `x-api-key`, `api-key`, `x-goog-api-key`, …

use faregate_terms::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, request};

use super::AuthError;

/// The header, ready to be sent; its value is marked sensitive, so it is neither printed nor indexed by
/// HTTP/2 header compression.
#[derive(Debug)]
pub(super) struct Header {
    name: HeaderName,
    value: HeaderValue,
}

impl Header {
    pub(super) fn new(name: &str, value: &Secret) -> Result<Self, AuthError> {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| AuthError::malformed(format!("`{name}` is not a header name")))?;
        Ok(Self { name, value: sensitive(value.expose())? })
    }

    pub(super) fn bearer(token: &Secret) -> Result<Self, AuthError> {
        Ok(Self { name: AUTHORIZATION, value: bearer_value(token.expose())? })
    }

    pub(super) fn apply(&self, parts: &mut request::Parts) {
        parts.headers.insert(self.name.clone(), self.value.clone());
    }
}

/// `Bearer <token>` as a header value.
pub(super) fn bearer_value(token: &str) -> Result<HeaderValue, AuthError> {
    sensitive(&format!("Bearer {}", token.trim()))
}

pub(super) fn sensitive(text: &str) -> Result<HeaderValue, AuthError> {
    let mut value = HeaderValue::from_str(text.trim()).map_err(|_| {
        AuthError::malformed("the API key holds a character that cannot be sent in a header (a line break?); check how it is set")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
