//! One route: where it leads, and what is sent there.

use std::time::Duration;

use faregate_config::PassThroughEndpoint;
use faregate_terms::{PicoUsd, Secret};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::pass_through::subpath::Subpath;
use crate::stage::identify::KeyPlace;

/// What stays as it is in a parameter. Source: RFC 3986 section 2.3, unreserved.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A route of an operator's own.
#[derive(Debug)]
pub struct Endpoint {
    /// The route.
    pub path: Box<str>,
    /// What it may be called with.
    pub methods: Vec<Method>,
    /// True if it takes paths below it.
    pub include_subpath: bool,
    /// Where the key is; `None` if nobody is asked for one.
    pub key: Option<KeyPlace>,
    /// Headers that are sent, those that hold secrets marked as such.
    pub headers: HeaderMap,
    /// True if the client's go on as well.
    pub forward_headers: bool,
    /// What a request costs that is answered without an error.
    pub cost: PicoUsd,
    /// How long the target may keep silent.
    pub timeout: Duration,
    /// The target as logs name it: without its query.
    pub base: Box<str>,
    target: Target,
    default_query: Vec<(String, Secret)>,
    merge_query: bool,
}

#[derive(Debug)]
struct Target {
    scheme: Scheme,
    authority: Authority,
    path: Box<str>,
    query: Option<Secret>,
}

/// A setting that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Bad {
    /// Which.
    pub key: &'static str,
    /// Why.
    pub message: String,
}

impl Endpoint {
    /// Resolves a route's settings.
    pub(super) fn new(config: &PassThroughEndpoint) -> Result<Self, Bad> {
        let target = Target::parse(config.target.expose())
            .ok_or_else(|| Bad { key: "target", message: "is not a URL that can be sent".to_owned() })?;
        let mut headers = HeaderMap::with_capacity(config.headers.len());
        for (name, value) in &config.headers {
            let bad = || Bad {
                key: "headers",
                message: format!("`{name}` has a name or value that HTTP does not allow"),
            };
            let parsed: HeaderName = name.parse().map_err(|_| bad())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
            value.set_sensitive(true);
            headers.append(parsed, value);
        }
        let methods = config.methods.iter().filter_map(|method| method.name().parse().ok()).collect();
        let place = || KeyPlace {
            header: config.key_header.as_deref().map(Into::into),
            is_basic_user: config.key_is_basic_user,
        };
        Ok(Self {
            path: config.path.as_str().into(),
            methods,
            include_subpath: config.include_subpath,
            key: (!config.is_public).then(place),
            headers,
            forward_headers: config.forward_headers,
            cost: config.cost_per_request,
            timeout: config.timeout,
            base: format!("{}://{}{}", target.scheme, target.authority, target.path).into(),
            target,
            default_query: config.default_query.clone(),
            merge_query: config.merge_query,
        })
    }

    /// The URL for a request; `None` if the client's part of it cannot be sent.
    pub fn url(&self, below: &Subpath, query: Option<&str>) -> Option<Uri> {
        let Target { scheme, authority, path, .. } = &self.target;
        let mut full = String::with_capacity(path.len() + below.sent.len() + 64);
        if below.sent.is_empty() {
            full.push_str(path);
        } else {
            full.push_str(path.trim_end_matches('/'));
            full.push_str(&below.sent);
        }
        if let Some(query) = self.query(query.filter(|query| !query.is_empty())) {
            full.push('?');
            full.push_str(&query);
        }
        Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query(full).build().ok()
    }

    /// Parameters that are sent. Where neither defaults nor merging ask for more, the client's take the place of the
    /// target's own; else all are sent, of the same name those of the client before those of the target before
    /// defaults. Source: LiteLLM's `get_merged_query_parameters`, and httpx's `params`.
    fn query(&self, client: Option<&str>) -> Option<String> {
        let own = self.target.query.as_ref().map(Secret::expose);
        if !self.merge_query && self.default_query.is_empty() {
            return client.or(own).map(str::to_owned);
        }
        let pairs = |query: Option<&'_ str>| -> Vec<String> {
            let pairs = query.into_iter().flat_map(|query| query.split('&'));
            pairs.filter(|pair| !pair.is_empty()).map(str::to_owned).collect()
        };
        let quoted = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        let defaults = self.default_query.iter();
        let mut all: Vec<String> =
            defaults.map(|(name, value)| format!("{}={}", quoted(name), quoted(value.expose()))).collect();
        for stronger in [pairs(own), pairs(client)] {
            all.retain(|pair| !stronger.iter().any(|one| name_of(one) == name_of(pair)));
            all.extend(stronger);
        }
        (!all.is_empty()).then(|| all.join("&"))
    }
}

fn name_of(pair: &str) -> String {
    let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
    percent_decode_str(&name).decode_utf8_lossy().into_owned()
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let parts = text.parse::<Uri>().ok()?.into_parts();
        let (path, query) = match &parts.path_and_query {
            Some(both) => (both.path(), both.query()),
            None => ("/", None),
        };
        Some(Self {
            scheme: parts.scheme.clone()?,
            authority: parts.authority.clone()?,
            path: path.into(),
            query: query.filter(|query| !query.is_empty()).map(Secret::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use faregate_config::{Env, Strictness, read_text};

    use super::*;

    fn endpoint(entry: &str) -> Endpoint {
        let text = format!("general_settings: {{pass_through_endpoints: [{entry}]}}");
        let reading = read_text(&text, Path::new("c.yaml"), &Env::empty(), Strictness::Lenient);
        Endpoint::new(&reading.snapshot.unwrap().general.pass_through.endpoints[0]).unwrap()
    }

    #[test]
    fn parameters_of_client_target_and_defaults_are_sent_by_these_rules() {
        let plain = "{path: /p, target: 'http://up/x?key=own&v=1'}";
        let merged = "{path: /p, target: 'http://up/x?key=own&v=1', merge_query_params: true}";
        let defaults =
            "{path: /p, target: 'http://up/x?v=1', default_query_params: {v: 9, 'a b': c&d, l: [1, 2]}}";
        for (entry, client, sent) in [
            (plain, None, "key=own&v=1"),
            (plain, Some(""), "key=own&v=1"),
            (plain, Some("q=1"), "q=1"),
            (merged, Some("v=2&q=%20"), "key=own&v=2&q=%20"),
            (merged, None, "key=own&v=1"),
            (defaults, None, "a%20b=c%26d&l=1&l=2&v=1"),
            (defaults, Some("a+b=mine&l=3"), "v=1&a+b=mine&l=3"),
        ] {
            let url = endpoint(entry).url(&Subpath::default(), client).unwrap();
            assert_eq!(url.query(), Some(sent), "{entry} {client:?}");
        }
    }

    #[test]
    fn paths_below_the_route_lead_below_the_target() {
        for (target, below, path) in [
            ("http://up", "", "http://up/"),
            ("http://up", "/a", "http://up/a"),
            ("http://up/v1/", "", "http://up/v1/"),
            ("http://up/v1/", "/a/b/", "http://up/v1/a/b/"),
            ("https://up:8443/v1?k=s", "/a%2Fb", "https://up:8443/v1/a%2Fb?k=s"),
        ] {
            let endpoint = endpoint(&format!("{{path: /p, target: '{target}', include_subpath: true}}"));
            let below = Subpath::resolve(below).unwrap();
            assert_eq!(endpoint.url(&below, None).unwrap().to_string(), path);
        }
    }

    #[test]
    fn nothing_of_a_secret_is_printed() {
        let endpoint = endpoint(
            "{path: /p, target: 'http://up/?key=target-secret', headers: {x-token: header-secret}, \
             default_query_params: {key: query-secret}}",
        );
        let shown = format!("{endpoint:?}");
        assert!(!shown.contains("-secret"), "{shown}");
    }
}
