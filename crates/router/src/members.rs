//! The deployments of one name, with what never changes about them worked out once.

use std::collections::HashMap;
use std::ops::Deref;

use faregate_terms::PicoUsd;

use crate::{Deployment, Dice};

/// Larger groups are not looked at whole for each request.
pub(crate) const LARGE: usize = 64;

/// The deployments of one name, by index. The same for every request until the configuration changes.
#[derive(Debug, PartialEq)]
pub struct Members {
    /// The number of their group among [`crate::Router::names`].
    pub group: usize,
    indexes: Box<[usize]>,
    /// What a large group is drawn from, if everybody may use it all and no `order` parts it.
    pool: Option<Pool>,
    /// Orders in place of the deployments' own, by index; most have none.
    orders: HashMap<usize, i64>,
}

impl Eq for Members {}

/// What a large group is drawn from: its shares, and who is cheapest.
#[derive(Debug, PartialEq)]
pub struct Pool {
    /// Shares of the traffic, each added to those before.
    sums: Box<[f64]>,
    /// Indexes, the cheapest first.
    pub(crate) by_price: Box<[usize]>,
}

impl Members {
    pub(crate) fn new(group: usize, indexes: Vec<usize>, deployments: &[Deployment]) -> Self {
        let mut of = indexes.iter().map(|&index| &deployments[index]);
        let order = indexes.first().and_then(|&index| deployments[index].order);
        let is_plain = of.all(|deployment| deployment.team.is_none() && deployment.order == order);
        let pool = (indexes.len() > LARGE && is_plain).then(|| Pool::new(&indexes, deployments));
        Self { group, indexes: indexes.into(), pool, orders: HashMap::new() }
    }

    /// The same with these orders in place of the deployments' own.
    pub(crate) fn ordered(mut self, orders: HashMap<usize, i64>) -> Self {
        if !orders.is_empty() {
            self.pool = None;
            self.orders = orders;
        }
        self
    }

    /// The order of a deployment when it is asked for by this name.
    pub fn order(&self, index: usize, deployments: &[Deployment]) -> Option<i64> {
        self.orders.get(&index).copied().or(deployments[index].order)
    }

    /// What a large group is drawn from; `None` if it has to be looked at whole.
    pub(crate) fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }
}

impl Deref for Members {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.indexes
    }
}

impl Pool {
    fn new(indexes: &[usize], deployments: &[Deployment]) -> Self {
        let share = shares(indexes, deployments);
        let mut sum = 0.0;
        let add = |&index: &usize| {
            sum += share(&deployments[index]);
            sum
        };
        let sums = indexes.iter().map(add).collect();
        let mut by_price = indexes.to_vec();
        by_price.sort_by_key(|&index| price(&deployments[index]));
        Self { sums, by_price: by_price.into() }
    }

    /// A place among the members, by its share; `None` if nobody has any.
    pub(crate) fn draw(&self, dice: &mut dyn Dice) -> Option<usize> {
        let total = self.sums.last().copied().filter(|total| *total > 0.0)?;
        let point = dice.roll() * total;
        Some(self.sums.partition_point(|sum| *sum <= point).min(self.sums.len() - 1))
    }
}

/// The list price; nobody knows what the unpriced cost, so they come last.
pub(crate) fn price(deployment: &Deployment) -> (bool, Option<PicoUsd>) {
    (deployment.price.is_none(), deployment.price)
}

type Share = fn(&Deployment) -> f64;

/// How the share of a deployment is read: `weight`, else `rpm`, else `tpm`, taken from the first of these that
/// any of these has; those without it then get no traffic while others can serve.
pub(crate) fn shares(indexes: &[usize], deployments: &[Deployment]) -> Share {
    let of = |pick: fn(&Deployment) -> bool| indexes.iter().any(|&index| pick(&deployments[index]));
    if of(|d| d.weight.is_some()) {
        |d| d.weight.unwrap_or(0.0).max(0.0)
    } else if of(|d| d.rpm.is_some()) {
        |d| d.rpm.unwrap_or(0) as f64
    } else if of(|d| d.tpm.is_some()) {
        |d| d.tpm.unwrap_or(0) as f64
    } else {
        |_| 1.0
    }
}
