//! Routing strategies: one file each, one line in [`STRATEGIES`], and that line owns the name.

mod simple_shuffle;

pub use simple_shuffle::SimpleShuffle;

use crate::{Deployment, Dice};

/// Orders the deployments of a group for one request.
pub trait Strategy: Send + Sync {
    /// Puts `order` (indexes into `deployments`) best first.
    fn rank(&self, order: &mut [usize], deployments: &[Deployment], dice: &mut dyn Dice);

    /// Why the first is first, for logs and explain.
    fn reason(&self) -> &'static str;
}

/// A strategy's entry in the registry.
pub struct Entry {
    /// The word of `router_settings.routing_strategy`.
    pub name: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
    /// Makes one.
    pub make: fn() -> Box<dyn Strategy>,
}

/// Every strategy there is.
pub const STRATEGIES: &[Entry] = &[Entry {
    name: "simple-shuffle",
    doc: "random, by weight, else rpm, else tpm; the default",
    make: || Box::new(SimpleShuffle),
}];

/// The strategy of that name.
pub fn named(name: &str) -> Option<Box<dyn Strategy>> {
    STRATEGIES.iter().find(|entry| entry.name == name).map(|entry| (entry.make)())
}
