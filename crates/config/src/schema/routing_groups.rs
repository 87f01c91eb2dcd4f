//! `router_settings.routing_groups`: groups that share a strategy of their own.

use std::collections::{BTreeMap, BTreeSet};

use faregate_terms::ModelGroup;

use super::router::{Strategy, counts};
use crate::fields::Fields;
use crate::open_map::OpenMap;

/// One entry. Source: LiteLLM, `RoutingGroup`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoutingGroup {
    /// The name by which the deployments of all can be asked for.
    pub name: String,
    /// The groups.
    pub models: Vec<ModelGroup>,
    /// How their deployments share traffic; `None` for `priority`.
    pub strategy: Option<Strategy>,
    /// Options of the strategy.
    pub args: OpenMap,
    /// For `priority`: the order of each, the lowest first.
    pub priorities: BTreeMap<String, u64>,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Vec<RoutingGroup> {
    let Some(node) = fields.get("routing_groups").filter(|node| !node.is_null()) else { return Vec::new() };
    let Some(items) = node.items() else {
        fields.error("routing_groups", node, format!("expected a list, found {}", node.shape()));
        return Vec::new();
    };
    let mut names = BTreeSet::new();
    let mut owners: BTreeMap<ModelGroup, String> = BTreeMap::new();
    let mut groups = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{}[{index}]", fields.at("routing_groups"));
        let mut entry = Fields::of(item, path, fields.findings);
        let group = one(&mut entry);
        if group.name.is_empty() || group.name == "default" || !names.insert(group.name.clone()) {
            entry.error("group_name", item, "expected a name that is no other's and not `default`");
            continue;
        }
        for model in group.models.iter().filter(|_| group.strategy.is_some()) {
            if let Some(owner) = owners.insert(model.clone(), group.name.clone()) {
                let message = format!("`{model}` is in `{owner}` already; a group has one strategy");
                entry.error("models", item, message);
            }
        }
        groups.push(group);
    }
    groups
}

fn one(fields: &mut Fields<'_>) -> RoutingGroup {
    let models = fields.texts("models").unwrap_or_default().into_iter().map(ModelGroup::from).collect();
    let is_by_priority = fields
        .get("routing_strategy")
        .and_then(crate::node::Node::scalar_text)
        .is_some_and(|word| word == "priority");
    let group = RoutingGroup {
        name: fields.filled("group_name").unwrap_or_default(),
        models,
        strategy: match is_by_priority {
            true => None,
            false => Some(fields.word("routing_strategy", Strategy::WORDS).unwrap_or_default()),
        },
        args: fields.open("routing_strategy_args").unwrap_or_default(),
        priorities: fields.child("model_priorities").map(|mut map| counts(&mut map)).unwrap_or_default(),
    };
    check(fields, &group);
    group
}

/// Source: LiteLLM, `RoutingGroup._validate_model_priorities`.
fn check(fields: &mut Fields<'_>, group: &RoutingGroup) {
    let node = fields.node;
    if group.models.is_empty() {
        fields.error("models", node, "expected the names of one group or more");
    }
    if group.strategy.is_some() {
        if !group.priorities.is_empty() {
            fields.error("model_priorities", node, "belongs to `routing_strategy: priority` alone");
        }
        return;
    }
    let models: BTreeSet<&str> = group.models.iter().map(ModelGroup::as_str).collect();
    let ranked: BTreeSet<&str> = group.priorities.keys().map(String::as_str).collect();
    if models != ranked || group.priorities.values().any(|order| *order == 0) {
        fields.error("model_priorities", node, "expected a whole number from 1 on for each of `models`");
    }
}
