use crate::{Deployment, Dice, Scene};

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

    fn reason(&self) -> &'static str {
        "simple-shuffle"
    }
}

type Share = fn(&Deployment) -> f64;

fn shares(order: &[usize], deployments: &[Deployment]) -> Share {
    let of = |pick: fn(&Deployment) -> bool| order.iter().any(|&index| pick(&deployments[index]));
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
