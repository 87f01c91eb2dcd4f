//! Routing strategies: one file each, one line in [`STRATEGIES`], and that line owns the name.

mod cost_based;
mod latency_based;
mod least_busy;
mod simple_shuffle;
mod usage_based;

pub use cost_based::CostBased;
pub use latency_based::LatencyBased;
pub use least_busy::LeastBusy;
pub use simple_shuffle::SimpleShuffle;
pub use usage_based::UsageBased;

use std::cmp::Ordering;
use std::time::Duration;

use smallvec::SmallVec;

use crate::filter::Indexes;
use crate::members::{LARGE, Members, Pool};
use crate::{Dice, Scene};

/// Orders the deployments of a group for one request.
pub trait Strategy: Send + Sync {
    /// Puts `order` (indexes into the scene's deployments) best first.
    fn rank(&self, order: &mut [usize], scene: &Scene<'_>, dice: &mut dyn Dice);

    /// The best few of a large group, without looking at all of it: of some taken at random. `None` if too few
    /// of those are fit; the group is then looked at whole.
    fn draw(
        &self,
        _: &Pool,
        members: &Members,
        is_fit: &dyn Fn(usize) -> bool,
        scene: &Scene<'_>,
        dice: &mut dyn Dice,
    ) -> Option<Indexes> {
        let mut drawn = sample(members, is_fit, dice)?;
        self.rank(&mut drawn, scene, dice);
        Some(drawn.iter().copied().take(RANKED).collect())
    }

    /// The number that a deployment is ranked by, for explanations.
    fn score(&self, index: usize, scene: &Scene<'_>) -> Option<f64>;

    /// Why the first is first, for logs and explanations.
    fn reason(&self) -> &'static str;
}

/// `routing_strategy_args`, with their defaults. Source: compat, config §3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Args {
    /// How long a measured latency counts.
    pub ttl: Duration,
    /// Deployments slower than the fastest by at most this part of its latency share the traffic.
    pub lowest_latency_buffer: f64,
    /// Measured latencies that are kept of each deployment.
    pub max_latency_list_size: usize,
    /// Compare streams by this percentile of their times to the first token, not by the mean.
    pub ttft_percentile: Option<f64>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            lowest_latency_buffer: 0.0,
            max_latency_list_size: 10,
            ttft_percentile: None,
        }
    }
}

/// A strategy's entry in the registry.
pub struct Entry {
    /// The word of `router_settings.routing_strategy`.
    pub name: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
    /// True if deployments over their own rpm or tpm are left out.
    pub minds_rates: bool,
    /// Makes one.
    pub make: fn(&Args) -> Box<dyn Strategy>,
}

/// Every strategy there is.
pub const STRATEGIES: &[Entry] = &[
    Entry {
        name: "simple-shuffle",
        doc: "random, by weight, else rpm, else tpm; the default",
        minds_rates: false,
        make: |_| Box::new(SimpleShuffle),
    },
    Entry {
        name: "least-busy",
        doc: "fewest requests in flight",
        minds_rates: false,
        make: |_| Box::new(LeastBusy),
    },
    Entry {
        name: "usage-based-routing",
        doc: "fewest tokens in the current minute, within each deployment's rpm and tpm",
        minds_rates: true,
        make: |_| Box::new(UsageBased),
    },
    Entry {
        name: "usage-based-routing-v2",
        doc: "the same",
        minds_rates: true,
        make: |_| Box::new(UsageBased),
    },
    Entry {
        name: "latency-based-routing",
        doc: "the fastest lately: time to the first token for streams, time per token otherwise",
        minds_rates: true,
        make: |args| Box::new(LatencyBased { buffer: args.lowest_latency_buffer }),
    },
    Entry {
        name: "cost-based-routing",
        doc: "the cheapest by list price",
        minds_rates: true,
        make: |_| Box::new(CostBased),
    },
];

/// The entry of that name.
pub fn named(name: &str) -> Option<&'static Entry> {
    STRATEGIES.iter().find(|entry| entry.name == name)
}

/// Puts `order` into a random order, each as likely as any other.
fn shuffle(order: &mut [usize], dice: &mut dyn Dice) {
    for place in (1..order.len()).rev() {
        let other = (dice.roll() * (place + 1) as f64) as usize;
        order.swap(place, other.min(place));
    }
}

/// A part of a large group, at random; `None` if hardly anybody in it is fit.
fn sample(
    members: &[usize],
    is_fit: &dyn Fn(usize) -> bool,
    dice: &mut dyn Dice,
) -> Option<SmallVec<[usize; LARGE]>> {
    let count = members.len();
    let mut place = (dice.roll() * count as f64) as usize;
    let step = coprime(1 + (dice.roll() * (count - 1) as f64) as usize, count);
    let mut drawn = SmallVec::new();
    // A step that has no factor in common with the count comes by everybody once.
    for _ in 0..count.min(2 * LARGE) {
        let index = members[place % count];
        if is_fit(index) {
            drawn.push(index);
            if drawn.len() == LARGE {
                break;
            }
        }
        place = (place + step) % count;
    }
    (drawn.len() >= RANKED).then_some(drawn)
}

/// The next number from `step` on that has no factor in common with `count`.
fn coprime(step: usize, count: usize) -> usize {
    let has_none = |step: &usize| {
        let (mut one, mut other) = (*step, count);
        while other > 0 {
            (one, other) = (other, one % other);
        }
        one == 1
    };
    (step..step + count).find(has_none).unwrap_or(1)
}

/// Places of an order that are ranked. Few requests try more deployments; those that do go on in any order.
const RANKED: usize = 8;

/// Puts the lowest numbers first; equals in random order.
fn sort_lowest<T: PartialOrd>(order: &mut [usize], dice: &mut dyn Dice, number: impl Fn(usize) -> T) {
    shuffle(order, dice);
    let mut numbered: SmallVec<[(T, usize); RANKED]> =
        order.iter().map(|&index| (number(index), index)).collect();
    let compare =
        |one: &(T, usize), other: &(T, usize)| one.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal);
    if numbered.len() > RANKED {
        numbered.select_nth_unstable_by(RANKED - 1, compare);
        numbered[..RANKED].sort_by(compare);
    } else {
        numbered.sort_by(compare);
    }
    for (place, (_, index)) in order.iter_mut().zip(numbered) {
        *place = index;
    }
}

#[cfg(test)]
mod tests;
