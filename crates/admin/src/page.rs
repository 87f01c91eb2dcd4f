//! The document, and a page that shows it.

use crate::Outcome;
use crate::openapi::document;
use crate::routes::{Answer, Call, Route, route};

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/openapi.json"], Public, &[], &[], "This document", json),
    route!("GET", &["/docs", "/redoc"], Public, &[], &[], "This document, to be read", page),
];

async fn json(call: Call) -> Outcome {
    Ok(Answer::json(&document(&call.admin.others)))
}

async fn page(_: Call) -> Outcome {
    // Beside the document, wherever a proxy in front has put both.
    Ok(Answer::html(reference(".")))
}

/// The page that shows the document; `root` is what comes before `/openapi.json`.
pub fn reference(root: &str) -> String {
    let root = root.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    include_str!("page.html").replace("ROOT", &root)
}
