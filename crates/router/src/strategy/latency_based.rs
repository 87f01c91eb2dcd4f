use crate::{Dice, Scene};

use super::{Strategy, shuffle, sort_lowest};

/// The fastest lately first. Deployments of which nothing is known come before, so that they get known;
/// those within the buffer of the fastest share the traffic evenly.
#[derive(Debug, Clone, Copy, Default)]
pub struct LatencyBased {
    /// Part of the lowest latency by which others may be slower.
    pub buffer: f64,
}

impl Strategy for LatencyBased {
    fn rank(&self, order: &mut [usize], scene: &Scene<'_>, dice: &mut dyn Dice) {
        let latency = |index: usize| scene.facts.latency(index, scene.wish.stream).unwrap_or(0.0);
        sort_lowest(order, dice, latency);
        let Some(&fastest) = order.first() else { return };
        let most = latency(fastest) * (1.0 + self.buffer.max(0.0));
        let near = order.iter().take_while(|&&index| latency(index) <= most).count();
        shuffle(&mut order[..near], dice);
    }

    fn score(&self, index: usize, scene: &Scene<'_>) -> Option<f64> {
        scene.facts.latency(index, scene.wish.stream)
    }

    fn reason(&self) -> &'static str {
        "latency-based-routing"
    }
}
