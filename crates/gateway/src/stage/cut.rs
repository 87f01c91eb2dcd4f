//! Calls that broke off after a part of their answer had gone out, and were continued by others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faregate_terms::{Fault, Partial, PicoUsd, Usage};

use crate::destination::Destination;
use crate::stage::admit::{Admitted, How, Meter};

/// A call that broke off after a part of its answer had gone out.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Where it went.
    pub destination: Arc<Destination>,
    /// When it was sent.
    pub since: Instant,
    /// What it used; counted where the provider did not say.
    pub usage: Usage,
    /// What that cost.
    pub cost: Option<PicoUsd>,
    /// Arrival to its first visible output.
    pub ttft: Option<Duration>,
}

impl Admitted {
    /// Notes that a call broke off and another goes on: what it used stays on the receipt.
    pub(crate) fn cut_off(&mut self, cut: Cut, fault: &Fault) {
        self.attempted(&cut.destination, cut.since, How::Failed { fault, own: true });
        let start = cut.since.saturating_duration_since(self.meter.arrival.at);
        if let Some(note) = self.meter.attempts.last_mut() {
            note.ttft = cut.ttft.and_then(|ttft| ttft.checked_sub(start));
            let Usage { input, output, estimated, .. } = cut.usage;
            note.continued = Some(Partial { input, output, estimated, cost: cut.cost });
        }
        self.meter.ttft = None;
        self.meter.cuts.push(cut);
    }

    /// Nobody went on: the call that broke off last is the one the receipt is about.
    pub(crate) fn not_continued(&mut self) {
        let meter = &mut self.meter;
        let Some(cut) = meter.cuts.pop() else { return };
        let start = cut.since.saturating_duration_since(meter.arrival.at);
        let mut notes = meter.attempts.iter_mut().rev();
        if let Some(note) = notes.find(|note| note.continued.is_some() && note.start == start) {
            note.continued = None;
        }
        (meter.usage, meter.ttft, meter.destination) = (cut.usage, cut.ttft, Some(cut.destination));
    }
}

impl Meter {
    /// What earlier calls used.
    pub(crate) fn used_before(&self) -> Usage {
        let mut usage = Usage::default();
        self.cuts.iter().for_each(|cut| usage.add(&cut.usage));
        usage
    }
}

/// What all calls of a request used, and when the first output was there, which the first of them had.
pub(super) fn over_all_calls(cuts: &[Cut], own: Usage, ttft: Option<Duration>) -> (Usage, Option<Duration>) {
    if cuts.is_empty() {
        return (own, ttft);
    }
    let mut usage = Usage::default();
    cuts.iter().for_each(|cut| usage.add(&cut.usage));
    usage.add(&own);
    (usage, cuts.iter().find_map(|cut| cut.ttft).or(ttft))
}
