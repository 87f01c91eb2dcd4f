//! Several replicas over one store.

use std::sync::Arc;
use std::time::Duration;

use faregate_state::clock::SystemClock;
use faregate_state::limits::lease::{MemoryCounters, SharedCounters};
use faregate_state::limits::{
    Actual, Estimate, Limit, Limits, RedisCounters, Rule, Scope, ScopeKey, Settings, Standing, Window,
};
use faregate_state::redis::{Redis, RedisSettings};
use faregate_state::suite;
use faregate_terms::PicoUsd;
use faregate_testkit::redis::{RedisServer, corner};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{strict, usd};

/// One replica: its limits, and its background half.
pub struct Replica {
    pub limits: Limits,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Replica {
    pub fn start(store: Arc<dyn SharedCounters>, settings: Settings) -> Self {
        let (limits, sync) = Limits::shared(settings, Arc::new(SystemClock::new()), store);
        let stop = CancellationToken::new();
        Self { limits, running: tokio::spawn(sync.run(stop.clone())), stop }
    }

    /// Leaves in good order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }

    /// Gone without a word.
    pub fn crash(self) {
        self.running.abort();
    }
}

pub fn redis_store() -> Arc<dyn SharedCounters> {
    let corner = corner();
    let redis = Redis::new(&RedisSettings::url(&corner.url), &corner.installation).unwrap();
    Arc::new(RedisCounters::new(redis))
}

fn memory_store() -> Arc<dyn SharedCounters> {
    Arc::new(MemoryCounters::new(1_000_000))
}

#[tokio::test]
async fn the_memory_store_keeps_the_promises_of_shared_counters() {
    suite::shared_counters(&MemoryCounters::new(1_000_000), "memory").await;
}

#[tokio::test]
async fn redis_keeps_the_promises_of_shared_counters() {
    suite::shared_counters(&*redis_store(), "redis").await;
}

/// How many of `calls` concurrent requests of one dollar over the replicas were admitted, each held for a
/// moment.
async fn storm(replicas: &[Replica], calls: usize, estimate: Estimate, over: &Limit) -> i128 {
    let running = (0..calls).map(|n| {
        let (limits, over) = (replicas[n % replicas.len()].limits.clone(), over.clone());
        tokio::spawn(async move {
            let key = Limit::budget(
                ScopeKey::of(Scope::Key, format!("k{}", n % 50)),
                usd(50),
                usd(0),
                Window::Endless,
            );
            let hold = limits.reserve(&[key, over], &estimate, "call".into()).await.ok()?;
            tokio::time::sleep(Duration::from_millis(2)).await;
            hold.settle(&Actual { cost: usd(1), ..Actual::default() });
            Some(())
        })
    });
    let mut admitted = 0;
    for call in running.collect::<Vec<_>>() {
        admitted += i128::from(call.await.unwrap().is_some());
    }
    admitted
}

/// What the store knows once all replicas have left.
async fn shared_spend(store: &Arc<dyn SharedCounters>, over: &Limit) -> Standing {
    let reader = Replica::start(Arc::clone(store), Settings::default());
    let least = Estimate::exact(PicoUsd::from_pico(1));
    // Admitted or not, asking makes the counter known.
    drop(reader.limits.reserve(std::slice::from_ref(over), &least, "reader".into()).await);
    let standing = reader.limits.standing(over);
    reader.stop().await;
    standing
}

async fn a_budget_for_a_hundred(store: Arc<dyn SharedCounters>, count: usize) {
    let over = strict(Scope::Team, usd(100));
    let replicas: Vec<Replica> =
        (0..count).map(|_| Replica::start(Arc::clone(&store), Settings::default())).collect();
    let admitted = storm(&replicas, 1_000, Estimate::exact(usd(1)), &over).await;
    for replica in replicas {
        replica.stop().await;
    }
    let spent = shared_spend(&store, &over).await.spent;
    assert_eq!(spent, admitted * usd(1).pico(), "the store has what was admitted");
    assert!((97..=100).contains(&admitted), "{admitted} of 100 used by {count} replicas");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_on_one_and_on_three_replicas_use_a_strict_budget_and_no_more() {
    for count in [1, 3] {
        a_budget_for_a_hundred(memory_store(), count).await;
        a_budget_for_a_hundred(redis_store(), count).await;
    }
}
