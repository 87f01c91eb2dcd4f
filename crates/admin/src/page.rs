//! The document, and a page that shows it.

use crate::Outcome;
use crate::openapi::document;
use crate::routes::{Answer, Call, Route, route};

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/openapi.json"], Public, &[], &[], "This document", json),
    route!("GET", &["/docs", "/redoc"], Public, &[], &[], "This document, to be read", page),
];

async fn json(_: Call) -> Outcome {
    Ok(Answer::json(&document()))
}

async fn page(_: Call) -> Outcome {
    Ok(Answer::html(include_str!("page.html")))
}
