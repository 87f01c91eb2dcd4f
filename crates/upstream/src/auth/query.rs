//! A fixed secret in the query: `?key=…`.

use std::fmt;

use faregate_terms::Secret;
use http::{Uri, request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::AuthError;

/// RFC 3986's unreserved characters stay as they are.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `name=value`, encoded.
pub(super) struct Query(Secret);

impl Query {
    pub(super) fn new(name: &str, value: &Secret) -> Self {
        let name = utf8_percent_encode(name, RESERVED);
        let value = utf8_percent_encode(value.expose().trim(), RESERVED);
        Self(Secret::new(format!("{name}={value}")))
    }

    /// Adds the pair behind whatever query the URL has.
    pub(super) fn apply(&self, parts: &mut request::Parts) -> Result<(), AuthError> {
        let path = parts.uri.path();
        let target = match parts.uri.query() {
            Some(query) if !query.is_empty() => format!("{path}?{query}&{}", self.0.expose()),
            _ => format!("{path}?{}", self.0.expose()),
        };
        let unusable =
            || AuthError::malformed("the request's URL cannot take a query; check the deployment's base URL");
        let mut uri = parts.uri.clone().into_parts();
        uri.path_and_query = Some(target.parse().map_err(|_| unusable())?);
        parts.uri = Uri::from_parts(uri).map_err(|_| unusable())?;
        Ok(())
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Query")
    }
}

/// One pair of an `application/x-www-form-urlencoded` body or of a query.
pub(super) fn pair(into: &mut String, name: &str, value: &str) {
    if !into.is_empty() {
        into.push('&');
    }
    into.extend(utf8_percent_encode(name, RESERVED));
    into.push('=');
    into.extend(utf8_percent_encode(value, RESERVED));
}
