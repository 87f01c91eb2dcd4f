use faregate_terms::PicoUsd;

use crate::{Dice, Scene};

use super::{Strategy, sort_lowest};

/// The lowest price of prompt and answer together first; those of unknown price last; equals in random order.
#[derive(Debug, Clone, Copy, Default)]
pub struct CostBased;

impl Strategy for CostBased {
    fn rank(&self, order: &mut [usize], scene: &Scene<'_>, dice: &mut dyn Dice) {
        sort_lowest(order, dice, |index| {
            let price: Option<PicoUsd> = scene.deployments[index].price;
            (price.is_none(), price)
        });
    }

    fn reason(&self) -> &'static str {
        "cost-based-routing"
    }
}
