use crate::filter::Indexes;
use crate::members::{LARGE, Members, Pool, shares};
use crate::{Dice, Scene};

use super::{RANKED, Strategy};

/// Random order; a deployment's chance to come next is its share among those left.
///
/// The share is `weight`, else `rpm`, else `tpm`, taken from the first of these that any deployment of the
/// group has; deployments without it then get no traffic while others can serve.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimpleShuffle;

impl Strategy for SimpleShuffle {
    fn rank(&self, order: &mut [usize], scene: &Scene<'_>, dice: &mut dyn Dice) {
        let deployments = scene.deployments;
        let share = shares(order, deployments);
        let mut total: f64 = order.iter().map(|&index| share(&deployments[index])).sum();
        for place in 0..order.len().saturating_sub(1).min(RANKED) {
            let rest = &order[place..];
            let chosen = if total > 0.0 {
                let mut point = dice.roll() * total;
                rest.iter().position(|&index| {
                    point -= share(&deployments[index]);
                    point < 0.0
                })
            } else {
                Some((dice.roll() * rest.len() as f64) as usize)
            };
            let offset = chosen.unwrap_or(rest.len() - 1).min(rest.len() - 1);
            total -= share(&deployments[order[place + offset]]);
            order.swap(place, place + offset);
        }
    }

    /// Draws until a few different ones are fit, which is the same as drawing from the fit alone.
    fn draw(
        &self,
        pool: &Pool,
        members: &Members,
        is_fit: &dyn Fn(usize) -> bool,
        _: &Scene<'_>,
        dice: &mut dyn Dice,
    ) -> Option<Indexes> {
        let mut drawn = Indexes::new();
        for _ in 0..LARGE {
            let index = members[pool.draw(dice)?];
            if !drawn.contains(&index) && is_fit(index) {
                drawn.push(index);
                if drawn.len() == RANKED {
                    return Some(drawn);
                }
            }
        }
        None
    }

    fn score(&self, index: usize, scene: &Scene<'_>) -> Option<f64> {
        let deployment = &scene.deployments[index];
        deployment.weight.or(deployment.rpm.map(|n| n as f64)).or(deployment.tpm.map(|n| n as f64))
    }

    fn reason(&self) -> &'static str {
        "simple-shuffle"
    }
}
