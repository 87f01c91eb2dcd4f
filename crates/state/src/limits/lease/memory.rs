//! The shared store without a store.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{
    Around, CounterState, Exchange, PARALLEL_TTL_MS, SharedCounters, Statement, StoreError, YOUNG_MS, decide,
};
use crate::limits::limit::Name;

/// A shared store in this process: for tests, and for several limiters in one process.
#[derive(Debug, Default)]
pub struct MemoryCounters(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    now_ms: i64,
    counters: HashMap<Name, CounterState>,
    seen: HashMap<String, i64>,
    failing: bool,
    /// Time of the first exchange.
    born_ms: Option<i64>,
}

impl MemoryCounters {
    /// An empty store, not young, whose clock shows `now_ms` until [`MemoryCounters::advance`].
    pub fn new(now_ms: i64) -> Self {
        Self(Mutex::new(Memory { now_ms, born_ms: Some(now_ms - YOUNG_MS), ..Memory::default() }))
    }

    /// Lets the store's time pass.
    pub fn advance(&self, ms: i64) {
        self.0.lock().now_ms += ms;
    }

    /// Makes every exchange fail, or none.
    pub fn fail(&self, failing: bool) {
        self.0.lock().failing = failing;
    }

    /// Forgets everything, as a Redis without persistence does when it restarts.
    pub fn forget(&self) {
        let mut memory = self.0.lock();
        memory.counters.clear();
        memory.seen.clear();
        memory.born_ms = None;
    }

    /// The counter of this name.
    pub fn counter(&self, name: &Name) -> Option<CounterState> {
        self.0.lock().counters.get(name).cloned()
    }
}

impl Memory {
    fn exchange(&mut self, replica: &str, batch: &[Statement]) -> Result<Exchange, StoreError> {
        if self.failing {
            return Err(StoreError("told to fail".to_owned()));
        }
        let now = self.now_ms;
        let known = self.seen.insert(replica.to_owned(), now).is_some();
        let seen = &self.seen;
        let silence = |name: &str| seen.get(name).map_or(i64::MAX, |at| now - at);
        let alive = seen.values().filter(|at| now - **at <= PARALLEL_TTL_MS).count();
        let replicas = u32::try_from(alive).unwrap_or(u32::MAX).max(1);
        let born = *self.born_ms.get_or_insert(now);
        let around = Around { now_ms: now, silence: &silence, replicas, young: now - born < YOUNG_MS };
        let answers = batch.iter().map(|statement| {
            let state = self.counters.entry(statement.name.clone()).or_default();
            decide(state, replica, statement, &around)
        });
        let answers = answers.collect();
        let wanted = self.counters.iter().filter(|(_, state)| state.want_until_ms > now);
        let wanted = wanted.map(|(name, _)| name.clone()).collect();
        Ok(Exchange { answers, wanted, replicas, known })
    }
}

impl SharedCounters for MemoryCounters {
    fn exchange<'a>(
        &'a self,
        replica: &'a str,
        batch: &'a [Statement],
    ) -> BoxFuture<'a, Result<Exchange, StoreError>> {
        Box::pin(async move { self.0.lock().exchange(replica, batch) })
    }
}
