//! `general_settings.pass_through_endpoints`: routes of an operator's own and where they lead.
//!
//! Source: compat/config.md section 4.4, and LiteLLM's `pass_through_endpoints.py`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use faregate_terms::{PicoUsd, Secret};

use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::Fields;
use crate::node::{Node, Value};
use crate::position::Position;
use crate::stored::is_of_database;

/// Where the entries are written.
pub(crate) const PATH: &str = "general_settings.pass_through_endpoints";
/// How long a target may keep silent when nobody says otherwise. Source: compat, `pass_through_request_timeout`.
const USUAL_TIMEOUT: Duration = Duration::from_secs(600);
/// The header that does not travel: its value names the one that carries the gateway's key.
const KEY_HEADER: &str = "litellm_user_api_key";
/// Two keys that together make one header, as Langfuse wants it.
const LANGFUSE: [&str; 2] = ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"];

/// Routes of an operator's own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PassThroughSettings {
    /// The routes, in file order, those of the database behind them.
    pub endpoints: Vec<PassThroughEndpoint>,
}

/// One route and where it leads. `Debug` shows no header, parameter or target.
#[derive(Debug, Clone, PartialEq)]
pub struct PassThroughEndpoint {
    /// What management calls know it by.
    pub id: Option<String>,
    /// The route: `/mine`.
    pub path: String,
    /// The URL that requests are sent to; its query may hold a key.
    pub target: Secret,
    /// Headers that are sent there, in order.
    pub headers: Vec<(String, Secret)>,
    /// The header in which clients send the gateway's key.
    pub key_header: Option<String>,
    /// Parameters that are sent unless target or client give them.
    pub default_query: Vec<(String, Secret)>,
    /// Paths below the route lead below the target.
    pub include_subpath: bool,
    /// What it may be called with.
    pub methods: Vec<PassThroughMethod>,
    /// Nobody is asked for a key.
    pub is_public: bool,
    /// The client's headers go on, but for credentials.
    pub forward_headers: bool,
    /// The client's parameters join those of the target instead of taking their place.
    pub merge_query: bool,
    /// What each request costs that is answered without an error.
    pub cost_per_request: PicoUsd,
    /// How long the target may keep silent.
    pub timeout: Duration,
    /// The key is the user of Basic authentication.
    pub key_is_basic_user: bool,
    /// Where the entry begins.
    pub position: Position,
    /// The entry's YAML path.
    pub at: String,
}

/// What a route may be called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassThroughMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl PassThroughMethod {
    /// Every method, by its name.
    const WORDS: [(&str, Self); 6] = [
        ("GET", Self::Get),
        ("HEAD", Self::Head),
        ("POST", Self::Post),
        ("PUT", Self::Put),
        ("PATCH", Self::Patch),
        ("DELETE", Self::Delete),
    ];
    /// What routes take that name none.
    const USUAL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Delete, Self::Patch];

    /// As requests name it.
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }
}

impl PassThroughEndpoint {
    /// True if both would serve some request.
    pub fn is_in_the_way_of(&self, other: &Self) -> bool {
        self.path == other.path && self.methods.iter().any(|method| other.methods.contains(method))
    }

    /// True if the database holds it.
    pub fn is_stored(&self) -> bool {
        is_of_database(&self.position)
    }

    /// A finding about this route; `key` is one of its settings.
    pub fn finding(&self, severity: Severity, key: &str, message: impl Into<String>) -> Diagnostic {
        let path = if key.is_empty() { self.at.clone() } else { format!("{}.{key}", self.at) };
        Diagnostic { severity, ..Diagnostic::error(Some(&self.position), path, message) }
    }
}

impl PassThroughSettings {
    pub(crate) fn read(general: &mut Fields<'_>) -> Self {
        let timeout = timeout(general, "pass_through_request_timeout").unwrap_or(USUAL_TIMEOUT);
        let Some(node) = general.get("pass_through_endpoints") else { return Self::default() };
        let Some(items) = node.items() else {
            let message =
                format!("expected a list of routes, found {}; start each with `- path:`", node.shape());
            general.error("pass_through_endpoints", node, message);
            return Self::default();
        };
        let mut endpoints: Vec<PassThroughEndpoint> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{PATH}[{index}]");
            let Some(endpoint) = endpoint(&mut Fields::of(item, path, general.findings), timeout) else {
                continue;
            };
            if let Some(first) = endpoints.iter().find(|first| first.is_in_the_way_of(&endpoint)) {
                let message = format!("{} serves `{}` with the same methods already", first.at, first.path);
                let found = endpoint.finding(Severity::Warning, "path", message);
                general.findings.push(found.remedy("give it other `methods`, or remove it"));
            }
            endpoints.push(endpoint);
        }
        Self { endpoints }
    }
}

/// Reads one entry; `None` comes with an error.
fn endpoint(fields: &mut Fields<'_>, usual_timeout: Duration) -> Option<PassThroughEndpoint> {
    let node = fields.node;
    node.entries()?;
    let (path, target) = (path(fields), target(fields));
    let (headers, key_header) = headers(fields);
    let methods = methods(fields);
    let parser = fields.word("custom_auth_parser", &[("langfuse", true)]);
    if let Some(guardrails) = fields.get("guardrails") {
        let message = "guardrails do not run here yet: requests go on unchecked";
        let path = fields.at("guardrails");
        fields.findings.warn(&guardrails.at, &path, message);
    }
    let endpoint = PassThroughEndpoint {
        id: fields.filled("id"),
        path: path.clone().unwrap_or_default(),
        target: target.clone().unwrap_or_else(|| Secret::new("")),
        headers,
        key_header,
        default_query: query(fields),
        include_subpath: fields.flag("include_subpath").unwrap_or_default(),
        methods,
        is_public: is_public(fields),
        forward_headers: fields.flag("forward_headers").unwrap_or_default(),
        merge_query: fields.flag("merge_query_params").unwrap_or_default(),
        cost_per_request: fields.money("cost_per_request").unwrap_or_default(),
        timeout: timeout(fields, "timeout").unwrap_or(usual_timeout),
        key_is_basic_user: parser.unwrap_or_default(),
        position: node.at.clone(),
        at: fields.path.clone(),
    };
    (path.is_some() && target.is_some()).then_some(endpoint)
}

fn missing(fields: &mut Fields<'_>, key: &str, remedy: &str) {
    let (at, path) = (fields.node.at.clone(), fields.at(key));
    fields.findings.push(Diagnostic::error(Some(&at), path, "is missing").remedy(remedy));
}

fn path(fields: &mut Fields<'_>) -> Option<String> {
    let Some(path) = fields.filled("path") else {
        missing(fields, "path", "write the route, such as `/mine`");
        return None;
    };
    let node = fields.get("path")?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#*{}\\\"<>^`|".contains(&byte);
    let climbs = || path.split('/').any(|part| matches!(part, "." | ".."));
    let problem = if !path.starts_with('/') {
        "must begin with `/`"
    } else if path.trim_end_matches('/').is_empty() {
        "must name a route below `/`, such as `/mine`"
    } else if !path.bytes().all(is_plain) || climbs() || path.contains("//") {
        "must be a plain path, without query, wildcard, blank or `..`; for all paths below it set `include_subpath`"
    } else {
        return Some(path);
    };
    fields.error("path", node, problem);
    None
}

/// Source: LiteLLM forwards to any URL that an operator names; a module of Python, its other kind of target, is
/// nothing here.
fn target(fields: &mut Fields<'_>) -> Option<Secret> {
    let Some(target) = fields.filled("target") else {
        missing(fields, "target", "write the URL that requests are sent to");
        return None;
    };
    let node = fields.get("target")?;
    let rest = target.strip_prefix("https://").or_else(|| target.strip_prefix("http://"));
    let Some(rest) = rest else {
        fields.error("target", node, "must be a URL that begins with `http://` or `https://`");
        return None;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_sendable = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte);
    let problem = if authority.contains('@') {
        "must not hold a user; send it by `headers`"
    } else if authority.is_empty() || authority.starts_with(':') {
        "must name a host"
    } else if !rest.bytes().all(is_sendable) {
        "holds a character that must be percent-encoded, or a fragment, which is not sent"
    } else {
        return Some(Secret::new(target));
    };
    fields.error("target", node, problem);
    None
}

/// Headers to send, and the one that carries the gateway's key.
fn headers(fields: &mut Fields<'_>) -> (Vec<(String, Secret)>, Option<String>) {
    let given = fields.headers("headers").unwrap_or_default();
    let (mut headers, mut key_header) = (Vec::new(), None);
    let langfuse = LANGFUSE.map(|name| given.iter().find(|(one, _)| one == name).map(|(_, value)| value));
    if let [Some(public), Some(secret)] = langfuse {
        let credential = STANDARD.encode(format!("{public}:{secret}"));
        headers.push(("authorization".to_owned(), Secret::new(format!("Basic {credential}"))));
    }
    for (name, value) in given.iter().filter(|(name, _)| !LANGFUSE.contains(&name.as_str())) {
        let name = name.trim().to_ascii_lowercase();
        let named = if name == KEY_HEADER { value.trim() } else { &name };
        let problem = if !is_header_name(named) {
            "is not a header name"
        } else if !value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)) {
            "holds a line break or another control character"
        } else if name == KEY_HEADER {
            key_header = Some(named.to_ascii_lowercase());
            continue;
        } else {
            headers.push((name, Secret::new(value.as_str())));
            continue;
        };
        if let Some(node) = fields.get("headers") {
            fields.error(&format!("headers.{name}"), node, problem);
        }
    }
    (headers, key_header)
}

/// Source: RFC 9110 section 5.6.2, `token`.
pub(super) fn is_header_name(name: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(is_token)
}

/// A parameter may have several values.
fn query(fields: &mut Fields<'_>) -> Vec<(String, Secret)> {
    let Some(node) = fields.get("default_query_params") else { return Vec::new() };
    let Some(entries) = node.entries() else {
        let message = format!("expected a mapping of parameters to values, found {}", node.shape());
        fields.error("default_query_params", node, message);
        return Vec::new();
    };
    let mut pairs = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.node.is_null()) {
        let values = entry.node.items().unwrap_or(std::slice::from_ref(&entry.node));
        let texts: Option<Vec<String>> = values.iter().map(Node::scalar_text).collect();
        match texts {
            Some(texts) => pairs.extend(texts.into_iter().map(|text| (entry.key.clone(), Secret::new(text)))),
            None => {
                let key = format!("default_query_params.{}", entry.key);
                fields.error(&key, &entry.node, "expected text or a list of texts");
            }
        }
    }
    pairs
}

fn methods(fields: &mut Fields<'_>) -> Vec<PassThroughMethod> {
    let mut methods = Vec::new();
    for text in fields.texts("methods").unwrap_or_default() {
        let word = text.trim().to_ascii_uppercase();
        match PassThroughMethod::WORDS.iter().find(|(name, _)| *name == word) {
            Some((_, method)) if methods.contains(method) => {}
            Some((_, method)) => methods.push(*method),
            None => {
                if let Some(node) = fields.get("methods") {
                    let names = PassThroughMethod::WORDS.map(|(name, _)| name).join(", ");
                    fields.error("methods", node, format!("unknown method `{text}`; use some of {names}"));
                }
            }
        }
    }
    if methods.is_empty() { PassThroughMethod::USUAL.to_vec() } else { methods }
}

/// Only a plain `false` opens a route to everybody: a text that reads like it may have come from anywhere.
fn is_public(fields: &mut Fields<'_>) -> bool {
    match fields.get("auth").map(|node| (node, &node.value)) {
        None => false,
        Some((_, Value::Bool(asks))) => !asks,
        Some((node, _)) => {
            fields.error("auth", node, "must be `true`, or `false` without quotes to let everybody in");
            false
        }
    }
}

fn timeout(fields: &mut Fields<'_>, key: &str) -> Option<Duration> {
    let timeout = fields.seconds(key)?;
    if timeout.is_zero() {
        let node = fields.get(key)?;
        fields.error(key, node, "must be more than 0 seconds");
        return None;
    }
    Some(timeout)
}
