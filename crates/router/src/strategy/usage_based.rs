use crate::{Dice, Scene};

use super::{Strategy, sort_lowest};

/// Fewest tokens in the current minute first; equals in random order.
///
/// That no deployment passes its rpm or tpm is not decided here: those at their limit are no candidates.
#[derive(Debug, Clone, Copy, Default)]
pub struct UsageBased;

impl Strategy for UsageBased {
    fn rank(&self, order: &mut [usize], scene: &Scene<'_>, dice: &mut dyn Dice) {
        sort_lowest(order, dice, |index| scene.facts.tokens(index));
    }

    fn score(&self, index: usize, scene: &Scene<'_>) -> Option<f64> {
        Some(scene.facts.tokens(index) as f64)
    }

    fn reason(&self) -> &'static str {
        "usage-based-routing"
    }
}
