//! What the database adds to a file: models, credentials and whole sections of settings.
//!
//! Source: compat/config.md section 0, "DB overlay": models and credentials of both exist side by side, a stored
//! setting wins over the file's of the same name.

use std::path::Path;

use serde_json::{Map, Value as Json};

use crate::diagnostic::{Diagnostic, Findings, Severity};
use crate::env::Env;
use crate::fields::Fields;
use crate::node::{Entry, Node, Value};
use crate::position::Position;
use crate::schema::{Credential, DeploymentConfig, PassThroughSettings, credential, read_model_list};
use crate::substitute;

/// The name that findings give as their file.
pub(crate) const ORIGIN: &str = "database";
const GENERAL: &str = "general_settings";
/// The setting that does not take the place of the file's.
const ROUTES: &str = "pass_through_endpoints";
/// Sections whose entries are taken over one by one.
pub const STORED_SECTIONS: [&str; 4] =
    [GENERAL, "litellm_settings", "router_settings", "environment_variables"];

/// Opened rows of the database, in the form in which a file would write them. `Debug` shows counts only: values
/// hold secrets.
#[derive(Clone, Default, PartialEq)]
pub struct Stored {
    /// Entries for `model_list`, with their ids in `model_info.id`.
    pub models: Vec<Json>,
    /// Entries for `credential_list`.
    pub credentials: Vec<Json>,
    /// Entries of [`STORED_SECTIONS`], by section.
    pub sections: Map<String, Json>,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (models, credentials) = (self.models.len(), self.credentials.len());
        let sections: Vec<&String> = self.sections.keys().collect();
        write!(out, "<{models} models, {credentials} credentials, {sections:?}>")
    }
}

impl Stored {
    /// True if the database has nothing to add.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty() && self.credentials.is_empty() && self.sections.is_empty()
    }

    /// What is wrong with one more model, were it stored; empty if it can be read.
    pub fn problems_of(&self, model: &Json, env: &Env) -> Vec<Diagnostic> {
        let errors = errors_of(model, &list(&self.credentials), env);
        errors.into_iter().filter(Diagnostic::is_error).collect()
    }

    /// What is wrong with the pass-through routes among the settings; empty if all can be read.
    pub fn problems_of_routes(&self, env: &Env) -> Vec<Diagnostic> {
        let routes = self.sections.get(GENERAL).and_then(|general| general.get(ROUTES)?.as_array());
        let errors = routes.into_iter().flatten().flat_map(|route| errors_of_route(route, env));
        errors.filter(Diagnostic::is_error).collect()
    }

    /// Puts everything over the tree of a file. A model that cannot be read is left out, with a warning.
    pub(crate) fn lay_over(&self, root: &mut Node, env: &Env, findings: &mut Findings) {
        for section in STORED_SECTIONS {
            let Some(Json::Object(entries)) = self.sections.get(section) else { continue };
            let Some(place) = entry_of(root, section, Value::Map(Vec::new())) else { return };
            for (key, value) in entries {
                if section == GENERAL && key == ROUTES {
                    lay_routes_beside(place, value.as_array().map_or(&[], Vec::as_slice), env, findings);
                } else {
                    set(place, key, node(value));
                }
            }
        }
        let named = |item: &Node| item.get("credential_name").and_then(Node::scalar_text);
        let Some(credentials) = entry_of(root, "credential_list", Value::List(Vec::new())) else { return };
        if let Value::List(known) = &mut credentials.value {
            let stored: Vec<Node> = self.credentials.iter().map(node).collect();
            known.retain(|one| {
                named(one).is_none_or(|name| !stored.iter().any(|new| named(new).as_ref() == Some(&name)))
            });
            known.extend(stored);
        }
        let credentials = credentials.clone();
        let models = entry_of(root, "model_list", Value::List(Vec::new()));
        let Some(Value::List(models)) = models.map(|node| &mut node.value) else { return };
        for model in &self.models {
            let errors = errors_of(model, &credentials, env);
            if !errors.iter().any(Diagnostic::is_error) {
                models.push(node(model));
                continue;
            }
            let name = model["model_name"].as_str().unwrap_or_default();
            leave_out("model", name, errors, findings);
        }
    }
}

/// The deployment that a request describes as an entry of `model_list` would, nothing of it read from the
/// environment; `credentials` fill what it names of them.
///
/// # Errors
/// What is wrong with it, each naming the field and never its value.
pub fn deployment_of(entry: &Json, credentials: &[Credential]) -> Result<DeploymentConfig, Vec<String>> {
    let mut findings = Findings::default();
    let mut root = Node::new(Value::Map(Vec::new()), at());
    set(&mut root, "model_list", list(std::slice::from_ref(entry)));
    let read = read_model_list(&root, credentials, &mut findings).into_iter().next();
    let errors: Vec<String> = findings
        .sorted(&[])
        .into_iter()
        .filter(Diagnostic::is_error)
        .map(|error| {
            let path = error.path.trim_start_matches("model_list[0].");
            let remedy = error.remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
            format!("{path}: {}{remedy}", error.message)
        })
        .collect();
    read.filter(|_| errors.is_empty()).ok_or(errors)
}

/// Whether something stands in the database.
pub(crate) fn is_of_database(at: &Position) -> bool {
    &*at.file == Path::new(ORIGIN)
}

fn at() -> Position {
    Position::new(Path::new(ORIGIN), 1, 1)
}

/// Findings about a model as the only one of a list.
fn errors_of(model: &Json, credentials: &Node, env: &Env) -> Vec<Diagnostic> {
    let mut findings = Findings::default();
    let mut root = Node::new(Value::Map(Vec::new()), at());
    set(&mut root, "credential_list", credentials.clone());
    set(&mut root, "model_list", list(std::slice::from_ref(model)));
    substitute::substitute(&mut root, "", env, &mut findings);
    let credentials = credential::read(&root, &mut findings);
    read_model_list(&root, &credentials, &mut findings);
    findings.sorted(&[])
}

/// What is wrong with a row does not keep the others from serving.
fn leave_out(what: &str, name: &str, errors: Vec<Diagnostic>, findings: &mut Findings) {
    for error in errors {
        let message = format!("{what} `{name}` is left out: {}", error.message);
        findings.push(Diagnostic { severity: Severity::Warning, message, ..error });
    }
}

/// Pass-through routes of both serve, a stored one in the place of the file's with the same path. One that cannot be
/// read is left out, with a warning. Source: LiteLLM's `_pass_through_endpoints_beside_db`.
fn lay_routes_beside(general: &mut Node, stored: &[Json], env: &Env, findings: &mut Findings) {
    let Some(routes) = entry_of(general, ROUTES, Value::List(Vec::new())) else { return };
    let Value::List(known) = &mut routes.value else { return };
    let path_of = |route: &Node| route.get("path").and_then(Node::scalar_text);
    for route in stored {
        let errors = errors_of_route(route, env);
        if !errors.iter().any(Diagnostic::is_error) {
            let path = route["path"].as_str();
            known.retain(|one| is_of_database(&one.at) || path_of(one).as_deref() != path);
            known.push(node(route));
            continue;
        }
        let name = route["path"].as_str().unwrap_or_default();
        leave_out("pass-through route", name, errors, findings);
    }
}

/// Findings about a pass-through route as the only one of a list.
fn errors_of_route(route: &Json, env: &Env) -> Vec<Diagnostic> {
    let mut findings = Findings::default();
    let (mut root, mut general) =
        (Node::new(Value::Map(Vec::new()), at()), Node::new(Value::Map(Vec::new()), at()));
    set(&mut general, ROUTES, list(std::slice::from_ref(route)));
    set(&mut root, GENERAL, general);
    substitute::substitute(&mut root, "", env, &mut findings);
    if let Some(general) = root.get(GENERAL) {
        PassThroughSettings::read(&mut Fields::of(general, GENERAL, &mut findings));
    }
    findings.sorted(&[])
}

fn list(items: &[Json]) -> Node {
    Node::new(Value::List(items.iter().map(node).collect()), at())
}

/// The value of a key of a mapping, made if it is missing, null or of another kind.
fn entry_of<'a>(map: &'a mut Node, key: &str, empty: Value) -> Option<&'a mut Node> {
    if !matches!(map.value, Value::Map(_)) {
        map.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut map.value else { return None };
    let place = match entries.iter().position(|entry| entry.key == key) {
        Some(place) => place,
        None => {
            entries.push(Entry { key: key.to_owned(), key_at: at(), node: Node::new(Value::Null, at()) });
            entries.len() - 1
        }
    };
    let node = &mut entries[place].node;
    if node.is_null() {
        node.value = empty;
    }
    Some(node)
}

fn set(map: &mut Node, key: &str, value: Node) {
    let Value::Map(entries) = &mut map.value else { return };
    match entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => entry.node = value,
        None => entries.push(Entry { key: key.to_owned(), key_at: at(), node: value }),
    }
}

fn node(value: &Json) -> Node {
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i128() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.to_string()),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(members) => Value::Map(
            members
                .iter()
                .map(|(key, value)| Entry { key: key.clone(), key_at: at(), node: node(value) })
                .collect(),
        ),
    };
    Node::new(value, at())
}
