use crate::{Dice, Scene};

use super::{Strategy, sort_lowest};

/// Fewest requests in flight first; equals in random order, so that idle deployments share what little there
/// is.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastBusy;

impl Strategy for LeastBusy {
    fn rank(&self, order: &mut [usize], scene: &Scene<'_>, dice: &mut dyn Dice) {
        sort_lowest(order, dice, |index| scene.facts.in_flight(index));
    }

    fn score(&self, index: usize, scene: &Scene<'_>) -> Option<f64> {
        Some(scene.facts.in_flight(index) as f64)
    }

    fn reason(&self) -> &'static str {
        "least-busy"
    }
}
