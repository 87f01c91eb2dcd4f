//! Groups with a strategy of their own (`router_settings.routing_groups`).

use std::collections::HashMap;

use faregate_config::{OpenMap, RoutingGroup, Snapshot, Strategy};
use faregate_router::Grouping;
use faregate_router::strategy::{self, Args};

use super::{args, entry};

/// What the router makes of them.
pub(super) fn groupings(snapshot: &Snapshot) -> impl Iterator<Item = Grouping> {
    snapshot.router.routing_groups.iter().map(|group| Grouping {
        name: group.name.clone(),
        models: group.models.iter().map(ToString::to_string).collect(),
        strategy: match group.strategy {
            Some(strategy) => (entry(strategy).make)(&args(&group.args)),
            // By order, and equals by their shares. Source: LiteLLM, `_resolve_strategy`.
            None => (strategy::STRATEGIES[0].make)(&Args::default()),
        },
        priorities: group.strategy.is_none().then(|| {
            let order = |order: &u64| i64::try_from(*order).unwrap_or(i64::MAX);
            group.priorities.iter().map(|(model, it)| (model.clone(), order(it))).collect()
        }),
    })
}

/// The strategies of single groups, by their names.
pub(super) struct Own<'a>(HashMap<&'a str, (Strategy, &'a OpenMap)>);

impl<'a> Own<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let of = |group: &'a RoutingGroup| {
            let strategy = group.strategy?;
            Some(group.models.iter().map(move |model| (model.as_str(), (strategy, &group.args))))
        };
        Self(snapshot.router.routing_groups.iter().filter_map(of).flatten().collect())
    }

    /// Of a group, if it has its own.
    pub(super) fn get(&self, group: &str) -> Option<(Strategy, &'a OpenMap)> {
        self.0.get(group).copied()
    }

    /// True if any of them keeps to its deployments' rates.
    pub(super) fn minds_rates(&self) -> bool {
        self.0.values().any(|(strategy, _)| entry(*strategy).minds_rates)
    }
}
