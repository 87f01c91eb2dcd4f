//! The route table of the control plane, and what a call is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::AdminError;
use crate::fields::{self, Field};
use crate::roles::{self, Caller, Gate};
use crate::{Admin, Outcome};

/// One route.
pub struct Route {
    /// Method.
    pub method: &'static str,
    /// All paths, in `matchit` syntax; the first is the one in the document.
    pub paths: &'static [&'static str],
    /// Who gets in.
    pub gate: Gate,
    /// What the body may hold.
    pub body: &'static [&'static [Field]],
    /// What the query may hold.
    pub query: &'static [Field],
    /// What it does, for the document.
    pub doc: &'static str,
    /// Does it.
    pub handler: fn(Call) -> BoxFuture<'static, Outcome>,
}

/// Makes the line of a route: method, paths, gate, body, query, doc, handler.
macro_rules! route {
    ($method:literal, $paths:expr, $gate:ident, $body:expr, $query:expr, $doc:literal, $handler:path) => {
        $crate::routes::Route {
            method: $method,
            paths: $paths,
            gate: $crate::roles::Gate::$gate,
            body: $body,
            query: $query,
            doc: $doc,
            handler: |call| Box::pin($handler(call)),
        }
    };
}
pub(crate) use route;

/// Every route of the control plane, by area.
pub fn all() -> impl Iterator<Item = &'static Route> {
    [
        crate::page::ROUTES,
        crate::keys::ROUTES,
        crate::teams::ROUTES,
        crate::teams::callbacks::ROUTES,
        crate::users::ROUTES,
        crate::organizations::ROUTES,
        crate::projects::ROUTES,
        crate::customers::ROUTES,
        crate::budgets::ROUTES,
        crate::tags::ROUTES,
        crate::models::ROUTES,
        crate::access_groups::ROUTES,
        crate::access_group_budgets::ROUTES,
        crate::unified_groups::ROUTES,
        crate::credentials::ROUTES,
        crate::settings::ROUTES,
        crate::pass_through::ROUTES,
        crate::ui::ROUTES,
        crate::routing::ROUTES,
        crate::cache_settings::ROUTES,
        crate::callbacks::ROUTES,
        crate::public::ROUTES,
        crate::sso::ROUTES,
        crate::login::ROUTES,
        crate::own_account::ROUTES,
        crate::search::ROUTES,
        crate::spend::ROUTES,
        crate::spend_reports::ROUTES,
        crate::activity::ROUTES,
        crate::activity_lines::ROUTES,
        crate::cache_activity::ROUTES,
        crate::provider_budgets::ROUTES,
        crate::estimate::ROUTES,
        crate::price_list::ROUTES,
        crate::model_hub::ROUTES,
        crate::model_metrics::ROUTES,
        crate::addresses::ROUTES,
        crate::audit::ROUTES,
        crate::health::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// What a handler gives back.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type.
    pub kind: &'static str,
    /// The bytes.
    pub body: Bytes,
    /// Further headers.
    pub headers: HeaderMap,
}

impl Answer {
    /// 200 with JSON.
    pub fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self { status: 200, kind: "application/json", body: body.into(), headers: HeaderMap::new() }
    }

    /// Sends the browser elsewhere.
    pub fn redirect(status: u16, place: &str) -> Self {
        let mut headers = HeaderMap::new();
        if let Ok(place) = HeaderValue::from_str(place) {
            headers.insert(LOCATION, place);
        }
        Self { status, kind: "text/plain", body: Bytes::new(), headers }
    }

    /// 200 with a page.
    pub fn html(text: impl Into<Bytes>) -> Self {
        Self { status: 200, kind: "text/html; charset=utf-8", body: text.into(), headers: HeaderMap::new() }
    }
}

/// One request, checked.
pub struct Call {
    /// What to work with.
    pub admin: Arc<Admin>,
    /// Who asks.
    pub caller: Caller,
    /// The first path of the route.
    pub route: &'static str,
    /// Variable parts of the path.
    pub path: BTreeMap<String, String>,
    /// The body's known fields.
    pub body: Map<String, Value>,
    /// The query's known fields.
    pub query: Map<String, Value>,
    /// The bearer token, for routes that are open to everybody and check it themselves.
    pub(crate) token: Option<String>,
    /// The cookies of a browser, for the same routes.
    pub(crate) cookies: Option<String>,
    /// The host that was asked for, for the same routes.
    pub(crate) host: Option<String>,
    changed_by: Option<String>,
}

impl Call {
    pub(crate) fn read(
        admin: &Arc<Admin>,
        route: &Route,
        caller: Caller,
        path: BTreeMap<String, String>,
        query: Option<&str>,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Self, AdminError> {
        let is_form = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str().is_ok_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
        });
        let given = if body.is_empty() || route.body.is_empty() {
            Map::new()
        } else if is_form {
            pairs(&String::from_utf8_lossy(body))
        } else {
            serde_json::from_slice::<Map<String, Value>>(body).map_err(|error| {
                AdminError::invalid("request_body", format!("Invalid JSON payload: {error}"))
            })?
        };
        let known: Vec<Field> = route.body.iter().copied().flatten().copied().collect();
        let header = headers.get("litellm-changed-by").and_then(|value| value.to_str().ok());
        let asked = pairs(query.unwrap_or_default());
        let open = |name| {
            let text = headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            text.filter(|_| route.gate == Gate::Public)
        };
        Ok(Self {
            admin: Arc::clone(admin),
            caller,
            route: route.paths.first().copied().unwrap_or_default(),
            path,
            // A DELETE may say in its query what it would say in its body.
            body: if route.method == "DELETE" && given.is_empty() && !known.is_empty() {
                fields::check("query", &known, asked.clone())?
            } else {
                fields::check("body", &known, given)?
            },
            query: fields::check("query", route.query, asked)?,
            token: if route.gate == Gate::Public { roles::presented(headers, None) } else { None },
            cookies: open(COOKIE),
            host: open(HOST),
            changed_by: header.map(str::to_owned),
        })
    }

    /// The same call with another body.
    pub fn with_body(&self, body: Map<String, Value>) -> Self {
        Self {
            admin: Arc::clone(&self.admin),
            caller: self.caller.clone(),
            route: self.route,
            path: self.path.clone(),
            body,
            query: Map::new(),
            token: None,
            cookies: None,
            host: None,
            changed_by: self.changed_by.clone(),
        }
    }

    /// A field of the body.
    pub fn given(&self, name: &str) -> Option<&Value> {
        self.body.get(name).filter(|value| !value.is_null())
    }

    /// A text of the body.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given(name)?.as_str()
    }

    /// Texts of the body.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let list = self.given(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// A field of the body in another form.
    ///
    /// # Errors
    /// 422 naming it.
    pub fn form<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, AdminError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| {
            AdminError::fields(vec![(vec!["body", name], "value_error", format!("{name}: {error}"))])
        })
    }

    /// A text of the query.
    pub fn asked(&self, name: &str) -> Option<&str> {
        self.query.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// A flag of the query.
    pub fn flag(&self, name: &str) -> bool {
        self.query.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The page asked for: its number from 1, and its size.
    pub fn page(&self, size: &str, usual: u64, most: u64) -> (u64, u64) {
        let number = |name: &str| self.query.get(name).and_then(Value::as_u64);
        (number("page").unwrap_or(1).max(1), number(size).unwrap_or(usual).clamp(1, most))
    }

    /// The same call, with somebody named as the author of its changes.
    pub(crate) fn written_by(mut self, author: &str) -> Self {
        self.changed_by = Some(author.to_owned());
        self
    }

    /// Who is named as the author of a change: the header, else the caller.
    pub fn changed_by(&self) -> String {
        self.changed_by.clone().unwrap_or_else(|| self.caller.user_id().to_owned())
    }

    /// The header alone.
    pub fn named_author(&self) -> Option<String> {
        self.changed_by.clone()
    }
}

/// The pairs of a query; a name that comes twice makes a list.
fn pairs(query: &str) -> Map<String, Value> {
    let text = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut map = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (text(name), Value::String(text(value)));
        match map.get_mut(&name) {
            None => drop(map.insert(name, value)),
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    map
}

/// Finds the route of a path.
pub(crate) struct Router(matchit::Router<Vec<&'static Route>>);

/// What a path means.
pub(crate) enum Found {
    Route(&'static Route, BTreeMap<String, String>),
    WrongMethod(Vec<&'static str>),
    Nothing,
}

impl Router {
    pub(crate) fn new() -> Self {
        let mut by_path: BTreeMap<&'static str, Vec<&'static Route>> = BTreeMap::new();
        for route in all() {
            for path in route.paths {
                by_path.entry(path).or_default().push(route);
            }
        }
        let mut router = matchit::Router::new();
        for (path, routes) in by_path {
            if let Err(error) = router.insert(path, routes) {
                // A test inserts them all.
                tracing::error!(path, %error, "two routes are in each other's way");
            }
        }
        Self(router)
    }

    pub(crate) fn knows(&self, path: &str) -> bool {
        self.0.at(path).is_ok()
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let Ok(matched) = self.0.at(path) else { return Found::Nothing };
        match matched.value.iter().find(|route| route.method == method.as_str()) {
            Some(route) => {
                let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
                let parameters = matched.params.iter().map(|(name, value)| (name.to_owned(), text(value)));
                Found::Route(route, parameters.collect())
            }
            None => Found::WrongMethod(matched.value.iter().map(|route| route.method).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_by_all_its_paths() {
        let router = Router::new();
        for route in all() {
            for path in route.paths {
                let plain = path.replace("{*", "{").replace(['{', '}'], "");
                let method = Method::from_bytes(route.method.as_bytes()).unwrap();
                let Found::Route(found, _) = router.find(&method, &plain) else { panic!("{plain}") };
                assert_eq!(found.doc, route.doc, "{plain}");
            }
        }
    }

    #[test]
    fn queries_are_decoded_and_repeated_names_make_lists() {
        let pairs = pairs("a=1&b=x%20y+z&a=2&c");
        assert_eq!(Value::Object(pairs), serde_json::json!({"a": ["1", "2"], "b": "x y z", "c": ""}));
    }
}
