//! The ordered attempts of one request.

use crate::{Dice, Resolved, Router};

/// The attempts a request may make, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One step per attempt, retries included.
    pub steps: Vec<Step>,
}

/// One attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Index of the deployment.
    pub deployment: usize,
    /// Why it stands where it does, for logs and explain.
    pub reason: &'static str,
}

impl Router {
    /// Orders the deployments of `resolved`: each once by the strategy, then again while retries last.
    pub fn plan(&self, resolved: &Resolved, retries: u32, dice: &mut dyn Dice) -> Plan {
        let mut order = resolved.members.clone();
        self.strategy.rank(&mut order, &self.deployments, dice);
        let attempts = 1 + retries as usize;
        let steps = order
            .iter()
            .cycle()
            .take(if order.is_empty() { 0 } else { attempts })
            .enumerate()
            .map(|(n, &deployment)| Step {
                deployment,
                reason: if n == 0 { self.strategy.reason() } else { "retry" },
            })
            .collect();
        Plan { steps }
    }
}
