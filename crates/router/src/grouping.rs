//! Names that share a strategy and may be asked for as one (`router_settings.routing_groups`).

use std::collections::HashMap;
use std::sync::Arc;

use faregate_terms::ModelGroup;

use crate::strategy::Strategy;
use crate::{Members, Router};

/// Names that share a strategy. Source: LiteLLM, `RoutingGroup`.
pub struct Grouping {
    /// The name by which the deployments of all can be asked for, unless another has it.
    pub name: String,
    /// The names. Those without deployments are passed over.
    pub models: Vec<String>,
    /// How deployments are chosen.
    pub strategy: Box<dyn Strategy>,
    /// The order of each name's deployments when all are asked for, the lowest first, in place of their own. The
    /// names themselves then keep the strategy they have.
    pub priorities: Option<HashMap<String, i64>>,
}

impl Router {
    /// The same router with these groupings.
    #[must_use]
    pub fn grouped(mut self, groupings: impl IntoIterator<Item = Grouping>) -> Self {
        for grouping in groupings {
            let Grouping { name, models, strategy, priorities } = grouping;
            let number = self.strategies.len();
            self.strategies.push(strategy);
            if priorities.is_none() {
                for members in models.iter().filter_map(|model| self.groups.get(model.as_str())) {
                    self.strategy_of[members.group] = number;
                }
            }
            self.add_union(name, &models, number, priorities.as_ref());
        }
        self
    }

    /// Makes a name for the deployments of all `models`; wildcards stand for no deployment of their own.
    fn add_union(
        &mut self,
        name: String,
        models: &[String],
        strategy: usize,
        priorities: Option<&HashMap<String, i64>>,
    ) {
        if self.groups.contains_key(name.as_str()) || self.aliases.contains_key(&name) {
            return;
        }
        let mut indexes = Vec::new();
        let mut orders = HashMap::new();
        for model in models.iter().filter(|model| !model.contains('*')) {
            for &index in self.groups.get(model.as_str()).into_iter().flat_map(|members| members.iter()) {
                indexes.push(index);
                if let Some(order) = priorities.and_then(|priorities| priorities.get(model)) {
                    orders.insert(index, *order);
                }
            }
        }
        if indexes.is_empty() {
            return;
        }
        let members = Members::new(self.names.len(), indexes, &self.deployments).ordered(orders);
        let name = ModelGroup::from(name);
        self.names.push(name.clone());
        self.strategy_of.push(strategy);
        self.groups.insert(name, Arc::new(members));
    }

    /// How the deployments of a name are chosen.
    pub(crate) fn strategy(&self, members: &Members) -> &dyn Strategy {
        let number = self.strategy_of.get(members.group).copied().unwrap_or_default();
        self.strategies.get(number).unwrap_or(&self.strategies[0]).as_ref()
    }
}
