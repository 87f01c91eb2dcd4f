//! The way of one request through the deployments of a level.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{Facts, Members};

/// A walk over the deployments of one level: each once, then again, as long as somebody is well.
#[derive(Debug)]
pub struct Walk<'a> {
    order: &'a [usize],
    /// The whole of a large group of which `order` is the best; asked when that is used up.
    rest: Option<&'a Arc<Members>>,
    /// Those called, as often as they were.
    called: Few,
    /// Those that refuse this request whatever their state.
    refused: Few,
    /// Those that admit no more.
    out: Few,
    /// True once somebody was named: what was fit when the plan was made may rest since.
    begun: bool,
}

/// Few requests call many deployments.
type Few = SmallVec<[usize; 4]>;

/// Why one deployment comes before another: the lowest goes first, the first in order among equals.
type Rank = (bool, usize, bool);

impl<'a> Walk<'a> {
    /// Starts at the best.
    pub fn new(order: &'a [usize]) -> Self {
        Self { order, rest: None, called: Few::new(), refused: Few::new(), out: Few::new(), begun: false }
    }

    /// The same, with a whole group behind `order`.
    pub(crate) fn with_rest(order: &'a [usize], rest: Option<&'a Arc<Members>>) -> Self {
        Self { rest, ..Self::new(order) }
    }

    /// The deployment to try next: the first in order that does not rest, was called least, and of those one
    /// whose last calls went well; only if all have refused the request, one of these, so that the client gets
    /// the provider's own words. `None` if all rest.
    pub fn step(&mut self, facts: &dyn Facts) -> Option<usize> {
        let index = self.peek(facts)?;
        self.called.push(index);
        self.begun = true;
        Some(index)
    }

    /// The deployment that [`Walk::step`] would name.
    pub fn peek(&self, facts: &dyn Facts) -> Option<usize> {
        if let (false, Some(&best)) = (self.begun, self.order.first()) {
            return Some(best);
        }
        let mut best: Option<(Rank, usize)> = None;
        for &index in self.order.iter().filter(|index| self.may(**index, facts)) {
            let rank = self.rank(index, facts);
            if rank == Rank::default() {
                return Some(index);
            }
            if best.is_none_or(|(known, _)| rank < known) {
                best = Some((rank, index));
            }
        }
        match best {
            Some(((false, 0, _), index)) => Some(index),
            _ => self.beyond(facts).or(best.map(|(_, index)| index)),
        }
    }

    /// True if the next step goes to a deployment that was not called yet and whose last calls went well.
    pub fn changes_for_the_better(&self, facts: &dyn Facts) -> bool {
        self.peek(facts).is_some_and(|index| self.rank(index, facts) == Rank::default())
    }

    /// True if the next step goes to a deployment that was not called yet.
    pub fn has_fresh(&self, facts: &dyn Facts) -> bool {
        self.peek(facts).is_some_and(|index| !self.called.contains(&index))
    }

    /// True if [`Walk::step`] would find somebody who does not rest.
    pub fn has_more(&self, facts: &dyn Facts) -> bool {
        self.order.iter().any(|index| !self.out.contains(index) && !facts.rests(*index))
            || self.beyond(facts).is_some()
    }

    /// Leaves a deployment out: it admits no more.
    pub fn leave_out(&mut self, index: usize) {
        if self.called.last() == Some(&index) {
            self.called.pop();
        }
        self.out.push(index);
        self.begun = true;
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

    fn may(&self, index: usize, facts: &dyn Facts) -> bool {
        !self.out.contains(&index) && (!self.begun || !facts.rests(index))
    }

    fn rank(&self, index: usize, facts: &dyn Facts) -> Rank {
        let calls = self.called.iter().filter(|called| **called == index).count();
        (self.refused.contains(&index), calls, facts.is_shaky(index))
    }

    /// Somebody of the rest who was not called.
    fn beyond(&self, facts: &dyn Facts) -> Option<usize> {
        let fresh = |index: &usize| {
            !self.order.contains(index)
                && !self.called.contains(index)
                && !self.out.contains(index)
                && !facts.rests(*index)
                && !facts.is_spent(*index)
                && !facts.is_full(*index)
        };
        self.rest?.iter().copied().find(fresh)
    }
}
