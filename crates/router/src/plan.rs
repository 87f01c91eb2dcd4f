//! The order in which a request tries deployments.

use std::cmp::Reverse;

use smallvec::SmallVec;

use crate::filter::{Indexes, Nobody};
use crate::{Dice, Facts, Resolved, Router, Wish};

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

    /// Every deployment, best first.
    pub fn all(&self) -> &[usize] {
        &self.order
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
        let mut order = self.candidates(resolved, wish, facts)?;
        let mut ends = SmallVec::new();
        let level = |index: &usize| level(self.deployments[*index].order);
        if order.len() > 1 {
            order.sort_by_key(level);
            let scene = Scene { deployments: &self.deployments, facts, wish };
            let mut start = 0;
            while start < order.len() {
                let of = level(&order[start]);
                let end = start + order[start..].iter().take_while(|index| level(index) == of).count();
                let members = &mut order[start..end];
                if members.len() > 1 {
                    self.strategy.rank(members, &scene, dice);
                    // One request at a time finds out whether a deployment has recovered.
                    members.sort_by_key(|&index| (facts.is_busy(index), facts.is_on_trial(index)));
                }
                ends.push(end);
                start = end;
            }
        } else {
            ends.push(order.len());
        }
        Ok(Plan { order, ends, reason: self.strategy.reason() })
    }
}

/// Lower orders first; those without come last. Source: compat, config §1.1 `order`.
fn level(order: Option<i64>) -> (Reverse<bool>, i64) {
    (Reverse(order.is_some()), order.unwrap_or_default())
}

/// A walk over the deployments of one level: each once, then again, as long as somebody is well.
#[derive(Debug)]
pub struct Walk<'a> {
    order: &'a [usize],
    next: usize,
    /// Those that refuse this request whatever their state.
    refused: Indexes,
    /// Those that admit no more.
    out: Indexes,
    /// True once somebody was named: what was fit when the plan was made may rest since.
    begun: bool,
}

impl<'a> Walk<'a> {
    /// Starts at the best.
    pub fn new(order: &'a [usize]) -> Self {
        Self { order, next: 0, refused: Indexes::new(), out: Indexes::new(), begun: false }
    }

    /// The deployment to try next: the next in order that does not rest and has not refused; else one that
    /// has refused, so that the client gets the provider's own words. `None` if all rest.
    pub fn step(&mut self, facts: &dyn Facts) -> Option<usize> {
        let count = self.order.len();
        let around = (0..count).map(|offset| (self.next + offset) % count);
        let well = |place: &usize| {
            let index = self.order[*place];
            !self.out.contains(&index) && (!self.begun || !facts.rests(index))
        };
        let willing = |place: &usize| !self.refused.contains(&self.order[*place]);
        let place = around.clone().find(|place| well(place) && willing(place)).or_else(|| {
            let mut around = around.clone();
            around.find(well)
        })?;
        self.next = place + 1;
        self.begun = true;
        Some(self.order[place])
    }

    /// True if [`Walk::step`] would find somebody.
    pub fn has_more(&self, facts: &dyn Facts) -> bool {
        self.order.iter().any(|index| !self.out.contains(index) && !facts.rests(*index))
    }

    /// Leaves a deployment out: it admits no more.
    pub fn leave_out(&mut self, index: usize) {
        self.out.push(index);
    }

    /// Takes those in again that were left out.
    pub fn take_in(&mut self) {
        self.out.clear();
    }

    /// Notes that a deployment refuses this request for good.
    pub fn refuses(&mut self, index: usize) {
        if !self.refused.contains(&index) {
            self.refused.push(index);
        }
    }
}
