//! Fallbacks between model groups, and aliases of groups.

use std::collections::BTreeMap;

use faregate_terms::ModelGroup;

use crate::diagnostic::{Diagnostic, Findings};
use crate::fields::{Fields, flag_of};
use crate::node::{Node, Value};
use crate::open_map::OpenMap;

/// Which groups to try after a group fails, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fallbacks {
    /// After any error that may be tried elsewhere.
    pub general: BTreeMap<ModelGroup, Vec<FallbackTarget>>,
    /// `default_fallbacks` and the key `*`: for groups without an entry of their own.
    pub default: Vec<FallbackTarget>,
    /// After a prompt that does not fit the context window.
    pub context_window: BTreeMap<ModelGroup, Vec<FallbackTarget>>,
    /// After a content policy refusal.
    pub content_policy: BTreeMap<ModelGroup, Vec<FallbackTarget>>,
}

/// One fallback: a group, and request members that replace the client's for that attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct FallbackTarget {
    /// The group to try.
    pub group: ModelGroup,
    /// Members of the request to replace; empty in the plain form.
    pub overrides: OpenMap,
}

/// What a `model_group_alias` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupAlias {
    /// The group that answers.
    pub group: ModelGroup,
    /// Left out of `/v1/models`.
    pub hidden: bool,
}

impl Fallbacks {
    /// Reads all four keys; `router_settings` wins over `litellm_settings`, key by key.
    pub(crate) fn read(root: &Node, findings: &mut Findings) -> Self {
        let mut fallbacks = Self {
            general: table(root, "fallbacks", findings),
            context_window: table(root, "context_window_fallbacks", findings),
            content_policy: table(root, "content_policy_fallbacks", findings),
            default: Vec::new(),
        };
        fallbacks.default = fallbacks.general.remove("*").unwrap_or_default();
        if let Some((node, path)) = either(root, "default_fallbacks") {
            fallbacks.default.extend(targets(node, &path, findings));
        }
        fallbacks
    }
}

/// The key's value in `router_settings`, else in `litellm_settings`, and its path.
fn either<'a>(root: &'a Node, key: &str) -> Option<(&'a Node, String)> {
    ["router_settings", "litellm_settings"]
        .into_iter()
        .find_map(|section| Some((root.get(section)?.get(key)?, format!("{section}.{key}"))))
}

type Table = BTreeMap<ModelGroup, Vec<FallbackTarget>>;

/// A list of mappings, as LiteLLM wants it, or one mapping.
fn table(root: &Node, key: &str, findings: &mut Findings) -> Table {
    let mut table = Table::new();
    let Some((node, path)) = either(root, key) else { return table };
    match &node.value {
        Value::Map(_) => add(&mut table, node, &path, findings),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if item.entries().is_some() {
                    add(&mut table, item, &path, findings);
                } else {
                    shape_error(item, &path, findings);
                }
            }
        }
        _ => shape_error(node, &path, findings),
    }
    table
}

fn shape_error(node: &Node, path: &str, findings: &mut Findings) {
    let message = format!("expected a mapping of a model to its fallbacks, found {}", node.shape());
    findings.push(
        Diagnostic::error(Some(&node.at), path, message)
            .remedy("write for example `- gpt-4o: [claude-sonnet]`"),
    );
}

fn add(table: &mut Table, node: &Node, path: &str, findings: &mut Findings) {
    for entry in node.entries().unwrap_or_default() {
        let targets = targets(&entry.node, &format!("{path}.{}", entry.key), findings);
        table.entry(ModelGroup::from(entry.key.as_str())).or_default().extend(targets);
    }
}

fn targets(node: &Node, path: &str, findings: &mut Findings) -> Vec<FallbackTarget> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        Value::Text(_) => std::slice::from_ref(node),
        _ => {
            findings.error(&node.at, path, format!("expected a list of models, found {}", node.shape()));
            return Vec::new();
        }
    };
    let mut targets = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let group = match item.entries() {
            Some(_) => item.get("model").and_then(Node::scalar_text),
            None => item.scalar_text(),
        };
        let Some(group) = group else {
            let message = format!("expected a model or a mapping with `model`, found {}", item.shape());
            findings.error(&item.at, &format!("{path}[{index}]"), message);
            continue;
        };
        let overrides = item.entries().unwrap_or_default().iter().filter(|entry| entry.key != "model");
        targets.push(FallbackTarget {
            group: ModelGroup::new(group),
            overrides: OpenMap(overrides.map(|entry| (entry.key.clone(), entry.node.to_json())).collect()),
        });
    }
    targets
}

/// Reads `router_settings.model_group_alias`: a name to a group, or to `{model, hidden}`.
pub(crate) fn read_aliases(root: &Node, findings: &mut Findings) -> BTreeMap<ModelGroup, GroupAlias> {
    let Some(section) = root.get("router_settings") else { return BTreeMap::new() };
    let mut settings = Fields::of(section, "router_settings", findings);
    let Some(mut fields) = settings.child("model_group_alias") else { return BTreeMap::new() };
    let mut aliases = BTreeMap::new();
    for entry in fields.entries() {
        let node = &entry.node;
        let group = match node.entries() {
            Some(_) => node.get("model").and_then(Node::scalar_text),
            None => node.scalar_text(),
        };
        match group {
            Some(group) => {
                let hidden = node.get("hidden").and_then(flag_of).unwrap_or_default();
                let alias = GroupAlias { group: ModelGroup::new(group), hidden };
                aliases.insert(ModelGroup::from(entry.key.as_str()), alias);
            }
            None => {
                fields.error(&entry.key, node, "expected a model name or a mapping with `model` and `hidden`")
            }
        }
    }
    aliases
}
