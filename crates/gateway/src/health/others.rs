//! What other replicas do with the deployments, next to what this one does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use faregate_state::figures::{Figure, Mean, Summary, TELL_EVERY};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Health, Vitals};
use crate::gate::{Deployment, Gate, Table};

/// What others do with one deployment, as they last said. A request reads it as it is.
#[derive(Debug, Default)]
pub(super) struct Others {
    in_flight: AtomicU64,
    minute: AtomicI64,
    tokens: AtomicU64,
    per_token: Packed,
    to_first: Packed,
}

impl Others {
    /// Calls under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Tokens of this minute.
    pub fn tokens(&self, minute: i64) -> u64 {
        // Between the two a minute may turn: one look is off, the next is not.
        if self.minute.load(Ordering::Relaxed) == minute { self.tokens.load(Ordering::Relaxed) } else { 0 }
    }

    /// Time per token.
    pub fn per_token(&self) -> Mean {
        self.per_token.load()
    }

    /// Time to the first token.
    pub fn to_first(&self) -> Mean {
        self.to_first.load()
    }

    /// From now on they do this.
    pub fn set(&self, minute: i64, figure: &Figure) {
        self.in_flight.store(figure.in_flight, Ordering::Relaxed);
        self.tokens.store(figure.tokens, Ordering::Relaxed);
        self.minute.store(minute, Ordering::Relaxed);
        self.per_token.store(figure.per_token);
        self.to_first.store(figure.to_first);
    }
}

/// A mean and its samples, read and written in one.
#[derive(Debug, Default)]
struct Packed(AtomicU64);

impl Packed {
    fn load(&self) -> Mean {
        let both = self.0.load(Ordering::Relaxed);
        Mean { samples: (both >> 32) as u32, seconds: f64::from(f32::from_bits(both as u32)) }
    }

    fn store(&self, mean: Mean) {
        let seconds = u64::from((mean.seconds as f32).to_bits());
        self.0.store(u64::from(mean.samples) << 32 | seconds, Ordering::Relaxed);
    }
}

/// Tells other replicas what this one's deployments do, and has requests reckon with what they say, until `stop`. Ends at
/// once if there are none.
pub async fn share(gate: Arc<Gate>, stop: CancellationToken) {
    let figures = gate.services.figures.clone();
    if !figures.is_shared() {
        return;
    }
    // What others said is taken up twice as often as something is told.
    let mut ticks = tokio::time::interval(TELL_EVERY / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u64.. {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let health = &gate.health;
        if tick % 2 == 0 {
            figures.tell(health.summary(&gate.table.load()));
        }
        if let Some(others) = figures.others(health.minute()) {
            health.hear(&others);
        }
    }
}

impl Health {
    /// What this replica has its deployments do.
    fn summary(&self, table: &Table) -> Summary {
        let (minute, now) = (self.minute(), self.clock.steady());
        let deployments = table.deployments.iter().zip(table.vitals(self));
        let figure = |(deployment, vitals): (&Deployment, &Arc<Vitals>)| {
            let figure = vitals.figure(minute, now, &deployment.care.memory)?;
            Some((deployment.config.id.clone(), figure))
        };
        let figures: HashMap<_, _> = deployments.filter_map(figure).collect();
        Summary { minute, figures }
    }

    /// What others do counts from now on, for every deployment there is.
    fn hear(&self, others: &Summary) {
        for (id, vitals) in &*self.known.read() {
            let figure = others.figures.get(id).copied().unwrap_or_default();
            vitals.others.set(others.minute, &figure);
        }
    }
}
