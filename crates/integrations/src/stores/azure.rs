//! What Azure wants of every request.

use http::{HeaderName, HeaderValue, Method};

use super::Ask;

const VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const BLOB_TYPE: HeaderName = HeaderName::from_static("x-ms-blob-type");

/// Adds the version of the API, with which tokens of Entra are taken, and the kind of what is written.
pub(super) fn complete(ask: &mut Ask) {
    ask.headers.insert(VERSION, HeaderValue::from_static("2021-08-06"));
    if ask.method == Method::PUT {
        ask.headers.insert(BLOB_TYPE, HeaderValue::from_static("BlockBlob"));
    }
}
