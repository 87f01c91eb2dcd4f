use std::sync::Arc;
use std::time::{Duration, Instant};

use faregate_state::limits::{Actual, Hold};
use faregate_terms::{Fault, FaultClass, PicoUsd, Usage};

use super::vitals::Done;
use super::{Care, Health, Vitals};
use crate::metrics::{DeploymentLabels, Outage};

/// One call to a deployment: counts as in flight until it ends, however it does.
pub struct Ticket {
    health: Arc<Health>,
    vitals: Arc<Vitals>,
    care: Arc<Care>,
    labels: Arc<DeploymentLabels>,
    /// What it holds in the deployment's own limits.
    hold: Option<Hold>,
    expected: u64,
    began: i64,
    since: Duration,
    sent: Instant,
    is_trial: bool,
    open: bool,
}

/// What an answer took.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// When its first output was there, for a stream.
    pub first: Option<Instant>,
    /// What it used.
    pub usage: &'a Usage,
}

impl Ticket {
    /// A call begins. `expected` tokens count until the true number is known.
    pub fn take(
        health: &Arc<Health>,
        vitals: &Arc<Vitals>,
        care: &Arc<Care>,
        labels: &Arc<DeploymentLabels>,
        hold: Option<Hold>,
        expected: u64,
        sent: Instant,
    ) -> Self {
        let began = health.minute();
        let is_trial = vitals.enter(expected, began);
        Self {
            health: Arc::clone(health),
            vitals: Arc::clone(vitals),
            care: Arc::clone(care),
            labels: Arc::clone(labels),
            hold,
            expected,
            began,
            since: health.clock.steady(),
            sent,
            is_trial,
            open: true,
        }
    }

    /// True if the call was expected to use so and so many tokens.
    pub fn expects(&self) -> bool {
        self.expected > 0
    }

    /// The deployment answered in full.
    pub fn answered(mut self, measured: &Measured<'_>) {
        let now = self.health.clock.steady();
        let usage = measured.usage;
        let took = now.saturating_sub(self.since).as_secs_f64();
        let per_token = if usage.output > 0 { took / usage.output as f64 } else { took };
        let done = Done {
            began: self.began,
            minute: self.health.minute(),
            expected: self.expected,
            tokens: usage.total(),
            per_token: Some(per_token),
            to_first: measured.first.map(|at| at.saturating_duration_since(self.sent).as_secs_f64()),
        };
        self.vitals.answered(&done, now, &self.care.memory);
        self.health.metrics.outage(&self.vitals, &self.labels, Outage::None);
        self.close(true, usage);
    }

    /// The deployment failed. `is_own` is false if the client's own timeout ended the call.
    pub fn failed(mut self, fault: &Fault, is_own: bool) {
        self.vitals.forget(self.expected, self.began);
        let mut is_well = true;
        if is_own {
            if fault.class == FaultClass::Timeout {
                self.vitals.was_slow(self.health.clock.steady(), &self.care.memory);
            }
            // A trial that ended in a rest is over by that.
            is_well = !self.health.judge(&self.vitals, &self.care, &self.labels, fault, self.is_trial);
        }
        self.close(is_well && is_own, &Usage::default());
    }

    /// The call was not made after all.
    pub fn unused(mut self) {
        self.vitals.forget(self.expected, self.began);
        self.close(false, &Usage::default());
    }

    fn close(&mut self, is_well: bool, usage: &Usage) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        if self.is_trial {
            self.vitals.tried(is_well);
        }
        if let Some(hold) = self.hold.take() {
            hold.settle(&Actual {
                cost: PicoUsd::ZERO,
                input_tokens: usage.input,
                output_tokens: usage.output,
            });
            self.health.gives_place();
        }
        self.vitals.leave();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            // The client left: nothing is proved, and what was used is not known.
            self.close(false, &Usage { input: self.expected, ..Usage::default() });
        }
    }
}
