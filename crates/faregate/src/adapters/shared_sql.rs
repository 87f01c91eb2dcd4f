//! What replicas agree through when they share a database and no Redis.

use std::collections::BTreeSet;
use std::time::Duration;

use faregate_state::feed::{LOG_LENGTH, News, SharedLog};
use faregate_state::lease::SharedClaims;
use faregate_state::limits::Name;
use faregate_state::limits::lease::{
    Around, CounterState, Exchange, PARALLEL_TTL_MS, SharedCounters, Statement, StoreError, YOUNG_MS, decide,
};
use faregate_store::{SharedNotes, SharedState, Store};
use faregate_terms::UtcMillis;
use futures_util::future::BoxFuture;

/// Counters in the database.
pub struct SqlCounters(pub Store);

/// One topic of the log in the database.
pub struct SqlLog {
    /// The database.
    pub store: Store,
    /// The topic.
    pub topic: &'static str,
}

/// Jobs claimed in the database.
pub struct SqlClaims(pub Store);

fn away(error: faregate_store::StoreError) -> StoreError {
    StoreError(error.to_string())
}

impl SharedCounters for SqlCounters {
    fn exchange<'a>(
        &'a self,
        replica: &'a str,
        batch: &'a [Statement],
    ) -> BoxFuture<'a, Result<Exchange, StoreError>> {
        Box::pin(async move {
            let names: BTreeSet<&str> = batch.iter().map(|statement| statement.name.as_str()).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let mut exchange =
                Exchange { answers: Vec::new(), wanted: Vec::new(), replicas: 1, known: false };
            let answered =
                self.0.shared_exchange(replica, &names, |notes| answer(replica, batch, notes, &mut exchange));
            exchange.wanted = answered.await.map_err(away)?.wanted.into_iter().map(Name::new).collect();
            Ok(exchange)
        })
    }
}

/// Decides every statement, as [`MemoryCounters`](faregate_state::limits::lease::MemoryCounters) does.
fn answer(
    replica: &str,
    batch: &[Statement],
    notes: &SharedNotes,
    exchange: &mut Exchange,
) -> Vec<SharedState> {
    let now = notes.now_ms;
    let silence = |name: &str| notes.seen.get(name).map_or(i64::MAX, |at| now - at);
    let alive = notes.seen.values().filter(|at| now - **at <= PARALLEL_TTL_MS).count();
    exchange.replicas = u32::try_from(alive).unwrap_or(u32::MAX).max(1);
    exchange.known = notes.known;
    let young = now - notes.born_ms < YOUNG_MS;
    let around = Around { now_ms: now, silence: &silence, replicas: exchange.replicas, young };
    let mut states: std::collections::BTreeMap<&str, CounterState> = std::collections::BTreeMap::new();
    for statement in batch {
        let name = statement.name.as_str();
        let state = states.entry(name).or_insert_with(|| {
            notes.texts.get(name).and_then(|text| CounterState::decode(text)).unwrap_or_default()
        });
        exchange.answers.push(decide(state, replica, statement, &around));
    }
    let kept = states.into_iter().map(|(name, state)| SharedState {
        name: name.to_owned(),
        text: state.encode(),
        wanted_until_ms: state.want_until_ms,
    });
    kept.collect()
}

impl SharedLog for SqlLog {
    fn append<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.store.shared_append(self.topic, entries, LOG_LENGTH as u64).await.map_err(away)
        })
    }

    fn since(&self, version: u64) -> BoxFuture<'_, Result<News, StoreError>> {
        Box::pin(async move {
            let tail = self.store.shared_since(self.topic, version).await.map_err(away)?;
            let missing = version > 0 && (tail.newest < version || tail.oldest > version + 1);
            let entries = if missing && tail.entries.is_empty() {
                self.store.shared_since(self.topic, 0).await.map_err(away)?.entries
            } else {
                tail.entries
            };
            Ok(News { version: tail.newest, entries, gap: missing })
        })
    }
}

impl SharedClaims for SqlClaims {
    fn claim<'a>(
        &'a self,
        job: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let now = UtcMillis::from_millis(self.0.shared_now().await.map_err(away)?);
            let until = now.plus_millis(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
            self.0.acquire_lease(job, holder, now, until).await.map_err(away)
        })
    }

    fn release<'a>(&'a self, job: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.0.release_lease(job, holder).await.map_err(away) })
    }
}
