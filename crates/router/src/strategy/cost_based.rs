use crate::filter::Indexes;
use crate::members::{LARGE, Members, Pool, price};
use crate::{Dice, Scene};

use super::{RANKED, Strategy, sort_lowest};

/// The lowest price of prompt and answer together first; those of unknown price last; equals in random order.
#[derive(Debug, Clone, Copy, Default)]
pub struct CostBased;

impl Strategy for CostBased {
    fn rank(&self, order: &mut [usize], scene: &Scene<'_>, dice: &mut dyn Dice) {
        sort_lowest(order, dice, |index| price(&scene.deployments[index]));
    }

    /// The cheapest that are fit; within one price from anywhere on.
    fn draw(
        &self,
        pool: &Pool,
        _: &Members,
        is_fit: &dyn Fn(usize) -> bool,
        scene: &Scene<'_>,
        dice: &mut dyn Dice,
    ) -> Option<Indexes> {
        let price = |index: &usize| price(&scene.deployments[*index]);
        let mut drawn = Indexes::new();
        let (mut rest, mut looks) = (&*pool.by_price, 0);
        while let Some(cheapest) = rest.first().map(price) {
            let (equals, dearer) = rest.split_at(rest.partition_point(|index| price(index) <= cheapest));
            let from = (dice.roll() * equals.len() as f64) as usize;
            for step in 0..equals.len() {
                let index = equals[(from + step) % equals.len()];
                if is_fit(index) {
                    drawn.push(index);
                }
                looks += 1;
                if drawn.len() == RANKED {
                    return Some(drawn);
                }
                if looks == 2 * LARGE {
                    return None;
                }
            }
            rest = dearer;
        }
        None
    }

    fn score(&self, index: usize, scene: &Scene<'_>) -> Option<f64> {
        scene.deployments[index].price.map(faregate_terms::PicoUsd::to_f64)
    }

    fn reason(&self) -> &'static str {
        "cost-based-routing"
    }
}
