//! Routes of an operator's own: what they lead to, and how requests get there.
//!
//! Asked only about what no other route takes. Nothing of a body is read or kept: bytes go through as they come.
//! Start at [`serve`]. Source: compat/config.md section 4.4, and LiteLLM's `pass_through_endpoints.py`.

mod endpoint;
mod headers;
mod relay;
mod serve;
mod subpath;
mod upload;

use std::collections::HashMap;
use std::sync::Arc;

use faregate_config::{Severity, Snapshot};
use http::Method;

pub use endpoint::Endpoint;
pub use serve::serve;
pub use subpath::{Climbs, Subpath};

use crate::gate::Skipped;
use crate::routes::{self, Lookup};

/// Every route of an operator's own.
#[derive(Debug, Default)]
pub struct Routes {
    by_path: HashMap<Box<str>, Vec<Arc<Endpoint>>>,
    /// Those that take paths below them, the longest first.
    above: Vec<Arc<Endpoint>>,
}

/// What a path means among them.
#[derive(Debug)]
pub enum Matched {
    /// A route, and what comes behind its path.
    Found(Arc<Endpoint>, Box<str>),
    /// The path is there, but not with this method; these are.
    WrongMethod(Vec<&'static str>),
}

impl Routes {
    /// Those of a configuration. What cannot serve is left out and named, what never will is named.
    pub(crate) fn of(snapshot: &Snapshot, skipped: &mut Vec<Skipped>) -> Self {
        let mut routes = Self::default();
        for config in &snapshot.general.pass_through.endpoints {
            let mut complain = |severity, key: &str, message: String| {
                let finding = config.finding(severity, key, message);
                skipped.push(Skipped { finding, group: config.path.clone() });
            };
            let endpoint = match Endpoint::new(config) {
                Ok(endpoint) => Arc::new(endpoint),
                Err(bad) => {
                    complain(Severity::Error, bad.key, bad.message);
                    continue;
                }
            };
            if endpoint.methods.iter().all(|method| is_native(method, &config.path)) {
                let text = "is a route of the gateway's own, which goes first; choose another path";
                complain(Severity::Warning, "path", text.to_owned());
            }
            routes.add(endpoint);
        }
        // The first of two that would serve the same stays first.
        routes.above.sort_by_key(|endpoint| std::cmp::Reverse(endpoint.path.trim_end_matches('/').len()));
        routes
    }

    fn add(&mut self, endpoint: Arc<Endpoint>) {
        if endpoint.include_subpath {
            self.above.push(Arc::clone(&endpoint));
        }
        self.by_path.entry(endpoint.path.clone()).or_default().push(endpoint);
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// Finds the route of a path: the one with just this path, else the longest above it.
    pub fn find(&self, method: &Method, path: &str) -> Option<Matched> {
        let mut allowed = Vec::new();
        let exact = self.by_path.get(path).into_iter().flatten().map(|endpoint| (endpoint, ""));
        let above = self.above.iter().filter_map(|endpoint| {
            let below = path.strip_prefix(endpoint.path.trim_end_matches('/'))?;
            below.starts_with('/').then_some((endpoint, below))
        });
        for (endpoint, below) in exact.chain(above) {
            if endpoint.methods.contains(method) {
                return Some(Matched::Found(Arc::clone(endpoint), below.into()));
            }
            let names = endpoint.methods.iter().filter_map(|method| name(method));
            allowed.extend(names.filter(|name| !allowed.contains(name)).collect::<Vec<_>>());
        }
        (!allowed.is_empty()).then_some(Matched::WrongMethod(allowed))
    }
}

/// The name of a method that routes may have.
fn name(method: &Method) -> Option<&'static str> {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].into_iter().find(|name| method == name)
}

fn is_native(method: &Method, path: &str) -> bool {
    matches!(routes::find(method, path), Lookup::Found(_))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use faregate_config::{Env, Strictness, read_text};

    use super::*;

    fn routes(entries: &str) -> (Routes, Vec<String>) {
        let text = format!("general_settings:\n  pass_through_endpoints:\n{entries}");
        let reading = read_text(&text, Path::new("c.yaml"), &Env::empty(), Strictness::Lenient);
        let mut skipped = Vec::new();
        let routes = Routes::of(&reading.snapshot.unwrap(), &mut skipped);
        (routes, skipped.iter().map(|one| one.finding.to_string()).collect())
    }

    fn found(routes: &Routes, method: &Method, path: &str) -> Option<(String, String)> {
        match routes.find(method, path)? {
            Matched::Found(endpoint, below) => Some((endpoint.path.to_string(), below.into_string())),
            Matched::WrongMethod(methods) => Some((methods.join(" "), "405".to_owned())),
        }
    }

    #[test]
    fn the_path_itself_goes_first_and_then_the_longest_above_it() {
        let (routes, complaints) = routes(
            "  - {path: /a, target: 'http://up/1', include_subpath: true}\n\
             \x20 - {path: /a/b, target: 'http://up/2', include_subpath: true, methods: [GET]}\n\
             \x20 - {path: /a/b/c, target: 'http://up/3', methods: [post]}\n\
             \x20 - {path: /one, target: 'http://up/4', methods: [PUT]}\n",
        );
        assert_eq!(complaints, Vec::<String>::new());
        for (method, path, expected) in [
            (Method::GET, "/a", Some(("/a", ""))),
            (Method::GET, "/a/", Some(("/a", "/"))),
            (Method::GET, "/a/x/y", Some(("/a", "/x/y"))),
            (Method::GET, "/a/b/x", Some(("/a/b", "/x"))),
            (Method::POST, "/a/b/x", Some(("/a", "/b/x"))),
            (Method::POST, "/a/b/c", Some(("/a/b/c", ""))),
            (Method::GET, "/a/b/c", Some(("/a/b", "/c"))),
            (Method::GET, "/ab", None),
            (Method::PUT, "/one", Some(("/one", ""))),
            (Method::PUT, "/one/two", None),
            (Method::GET, "/one", Some(("PUT", "405"))),
            (Method::HEAD, "/a", Some(("GET POST PUT DELETE PATCH", "405"))),
        ] {
            let expected = expected.map(|(path, below)| (path.to_owned(), below.to_owned()));
            assert_eq!(found(&routes, &method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_route_that_the_gateway_has_itself_is_warned_of() {
        let (_, complaints) = routes(
            "  - {path: /v1/models, target: 'http://up', methods: [GET]}\n\
             \x20 - {path: /v1/chat/completions, target: 'http://up'}\n",
        );
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("pass_through_endpoints[0].path: is a route of the gateway's own"));
    }
}
