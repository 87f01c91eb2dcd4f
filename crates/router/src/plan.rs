//! The order in which a request tries deployments.

use std::cmp::Reverse;
use std::sync::Arc;

use faregate_terms::DeploymentId;
use smallvec::{SmallVec, smallvec};

use crate::filter::{Indexes, Nobody};
use crate::{Dice, Facts, Members, Resolved, Router, Walk, Wish};

/// What a strategy may look at.
pub struct Scene<'a> {
    /// Every deployment, by index.
    pub deployments: &'a [crate::Deployment],
    /// How they are.
    pub facts: &'a dyn Facts,
    /// What is asked.
    pub wish: &'a Wish<'a>,
}

/// The deployments a request may try, best first, in levels of `order`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    order: Indexes,
    /// Where each level ends in `order`.
    ends: SmallVec<[usize; 2]>,
    /// The whole of a large group of which the order names only the best.
    rest: Option<Arc<Members>>,
    /// Why the first stands first, for logs and explanations.
    pub reason: &'static str,
}

impl Plan {
    /// How many levels there are.
    pub fn levels(&self) -> usize {
        self.ends.len()
    }

    /// The deployments of a level, best first; empty beyond the last.
    pub fn level(&self, level: usize) -> &[usize] {
        let end = self.ends.get(level).copied().unwrap_or(self.order.len());
        let start = if level == 0 { 0 } else { self.ends.get(level - 1).copied().unwrap_or(end) };
        &self.order[start.min(end)..end]
    }

    /// Every deployment, best first; of a large group the best ones.
    pub fn all(&self) -> &[usize] {
        &self.order
    }

    /// True if there are more deployments than the order names, to be tried after those.
    pub fn is_partial(&self) -> bool {
        self.rest.is_some()
    }

    /// The index of a deployment of the first level that may well be called first; `None` for others.
    pub fn index_of(&self, id: &DeploymentId, router: &Router, facts: &dyn Facts) -> Option<usize> {
        let is_it = |index: &&usize| router.deployments[**index].id == *id;
        let members = self.rest.as_deref().map_or(self.level(0), |members| members);
        let index = *members.iter().find(is_it)?;
        let is_out = facts.rests(index)
            || facts.is_spent(index)
            || facts.is_full(index)
            || facts.is_busy(index)
            || facts.is_on_trial(index)
            || facts.is_pressed() && facts.is_shaky(index);
        (!is_out).then_some(index)
    }

    /// Puts a deployment of the first level first, for this reason.
    pub fn put_first(&mut self, index: usize, reason: &'static str) {
        match self.order.iter().position(|known| *known == index) {
            Some(place) => self.order[..=place].rotate_right(1),
            None => {
                self.order.insert(0, index);
                self.ends.iter_mut().for_each(|end| *end += 1);
            }
        }
        self.reason = reason;
    }

    /// A walk through a level.
    pub fn walk(&self, level: usize) -> Walk<'_> {
        Walk::with_rest(self.level(level), self.rest.as_ref())
    }
}

impl Router {
    /// Orders those deployments of `resolved` that may serve `wish` now.
    ///
    /// # Errors
    /// [`Nobody`] says why none may.
    pub fn plan(
        &self,
        resolved: &Resolved,
        wish: &Wish<'_>,
        facts: &dyn Facts,
        dice: &mut dyn Dice,
    ) -> Result<Plan, Nobody> {
        let strategy = self.strategy(&resolved.members);
        let reason = strategy.reason();
        if let Some(order) = self.drawn(resolved, wish, facts, dice) {
            let ends = smallvec![order.len()];
            return Ok(Plan { order, ends, rest: Some(Arc::clone(&resolved.members)), reason });
        }
        let mut order = self.candidates(resolved, wish, facts)?;
        let mut ends = SmallVec::new();
        let level = |index: &usize| level(resolved.members.order(*index, &self.deployments));
        if order.len() > 1 {
            order.sort_by_key(level);
            let scene = Scene { deployments: &self.deployments, facts, wish };
            let mut start = 0;
            while start < order.len() {
                let of = level(&order[start]);
                let end = start + order[start..].iter().take_while(|index| level(index) == of).count();
                let members = &mut order[start..end];
                if members.len() > 1 {
                    strategy.rank(members, &scene, dice);
                    put_back(members, facts);
                }
                ends.push(end);
                start = end;
            }
        } else {
            ends.push(order.len());
        }
        Ok(Plan { order, ends, rest: None, reason })
    }

    /// The number by which the strategy of `resolved` ranks a deployment for `wish`.
    pub fn score(
        &self,
        resolved: &Resolved,
        index: usize,
        wish: &Wish<'_>,
        facts: &dyn Facts,
    ) -> Option<f64> {
        let scene = Scene { deployments: &self.deployments, facts, wish };
        self.strategy(&resolved.members).score(index, &scene)
    }

    /// The best few of a large group, if nothing but their state keeps anybody from serving, and there are
    /// some at once. Looking at a thousand deployments for each request would cost more than all the rest of
    /// its way.
    fn drawn(
        &self,
        resolved: &Resolved,
        wish: &Wish<'_>,
        facts: &dyn Facts,
        dice: &mut dyn Dice,
    ) -> Option<Indexes> {
        let pool = resolved.members.pool()?;
        if self.checks.tags.is_some() || self.checks.pre_call || wish.region.is_some() {
            return None;
        }
        let is_pressed = facts.is_pressed();
        let is_fit = |index: usize| {
            !(facts.rests(index)
                || facts.is_spent(index)
                || facts.is_full(index)
                || facts.is_busy(index)
                || facts.is_on_trial(index)
                || is_pressed && facts.is_shaky(index))
        };
        let scene = Scene { deployments: &self.deployments, facts, wish };
        self.strategy(&resolved.members).draw(pool, &resolved.members, &is_fit, &scene, dice)
    }
}

/// Those that should not be anybody's first choice now go behind the others.
fn put_back(members: &mut [usize], facts: &dyn Facts) {
    let is_pressed = facts.is_pressed();
    // One request at a time finds out whether a deployment has recovered.
    members.sort_by_key(|&index| {
        (facts.is_busy(index), facts.is_on_trial(index), is_pressed && facts.is_shaky(index))
    });
}

/// Lower orders first; those without come last. Source: compat, config §1.1 `order`.
fn level(order: Option<i64>) -> (Reverse<bool>, i64) {
    (Reverse(order.is_some()), order.unwrap_or_default())
}
