//! What a browser sees at `/`.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use faregate_gateway::body::Body;
use faregate_gateway::routes::ROUTES;
use faregate_gateway::stage::deliver::respond;

/// The answer to `GET /`, where LiteLLM has its API pages.
#[derive(Debug, Clone, Default)]
pub enum FrontPage {
    /// The list of routes.
    #[default]
    Routes,
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
            Self::Routes => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
                Some(respond(StatusCode::OK, headers, Body::full(Bytes::from(routes(root)))))
            }
        }
    }
}

fn routes(root: &str) -> String {
    let root = root.replace('&', "&amp;").replace('<', "&lt;");
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Faregate</title><h1>Faregate {}</h1>\n\
         <p>An LLM gateway. Clients use this address as their base URL, with <code>{root}/v1</code> for OpenAI's.</p>\n\
         <table>\n",
        env!("CARGO_PKG_VERSION")
    );
    for row in ROUTES {
        let path = row.paths.first().copied().unwrap_or_default();
        page.push_str(&format!(
            "<tr><td>{}<td><code>{root}{path}</code><td>{}</tr>\n",
            row.method,
            row.doc.replace('<', "&lt;")
        ));
    }
    page.push_str("</table></html>\n");
    page
}
