//! What a browser sees at `/`.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use faregate_gateway::body::Body;
use faregate_gateway::stage::deliver::respond;

/// The answer to `GET /`, where LiteLLM has its API pages.
#[derive(Debug, Clone, Default)]
pub enum FrontPage {
    /// The reference of all routes.
    #[default]
    Reference,
    /// Somewhere else.
    Redirect(HeaderValue),
    /// Nothing there.
    None,
}

impl FrontPage {
    /// The answer; none where nothing is. `root` is the prefix of all routes.
    pub fn answer(&self, method: &Method, root: &str) -> Option<Response<Body>> {
        let mut headers = HeaderMap::new();
        if !matches!(self, Self::None) && method != Method::GET && method != Method::HEAD {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let body = Bytes::from_static(br#"{"detail":"Method Not Allowed"}"#);
            return Some(respond(StatusCode::METHOD_NOT_ALLOWED, headers, Body::full(body)));
        }
        match self {
            Self::None => None,
            Self::Redirect(target) => {
                headers.insert(LOCATION, target.clone());
                Some(respond(StatusCode::TEMPORARY_REDIRECT, headers, Body::full(Bytes::new())))
            }
            Self::Reference => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
                Some(respond(
                    StatusCode::OK,
                    headers,
                    Body::full(Bytes::from(faregate_admin::reference(root))),
                ))
            }
        }
    }
}
