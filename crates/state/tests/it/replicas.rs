//! Several replicas over one store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use faregate_state::clock::{Clock, ManualClock, SystemClock};
use faregate_state::feed::RedisLog;
use faregate_state::lease::RedisClaims;
use faregate_state::limits::lease::{
    self, Around, CounterState, Exchange, Kind, MemoryCounters, SharedCounters, Statement, StoreError,
    WindowId,
};
use faregate_state::limits::{
    Actual, Cause, Denied, Estimate, Limit, Limits, Meter, Name, RedisCounters, Rule, Schedule, Scope,
    ScopeKey, Settings, Standing, Window,
};
use faregate_state::redis::{Redis, RedisSettings};
use faregate_state::suite;
use faregate_terms::PicoUsd;
use faregate_testkit::redis::{RedisServer, corner};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{budget, strict, usd};

/// One replica: its limits, and its background half.
pub struct Replica {
    pub limits: Limits,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Replica {
    pub fn start(store: Arc<dyn SharedCounters>, settings: Settings) -> Self {
        Self::with_clock(store, settings, Arc::new(SystemClock::new()))
    }

    pub fn with_clock(store: Arc<dyn SharedCounters>, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let (limits, sync) = Limits::shared(settings, clock, store);
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

/// A corner of Redis that is not young.
pub fn redis_store() -> Arc<dyn SharedCounters> {
    let corner = corner();
    let mut connection = redis::Client::open(corner.url.as_str()).unwrap().get_connection().unwrap();
    let born = format!("{{faregate:{}}}:limits:born", corner.installation);
    redis::cmd("SET").arg(born).arg(1).exec(&mut connection).unwrap();
    let redis = Redis::new(&RedisSettings::url(&corner.url), &corner.installation).unwrap();
    Arc::new(RedisCounters::new(&redis))
}

fn memory_store() -> Arc<dyn SharedCounters> {
    Arc::new(MemoryCounters::new(1_000_000))
}

#[tokio::test]
async fn the_memory_store_keeps_the_promises_of_shared_counters() {
    suite::shared_counters(&MemoryCounters::new(1_000_000), "memory").await;
}

/// A store of rows, as one over SQL is: a counter in one column, a replica in one row.
#[derive(Default)]
struct Rows(parking_lot::Mutex<(HashMap<String, String>, HashMap<String, i64>)>);

impl SharedCounters for Rows {
    fn exchange<'a>(
        &'a self,
        replica: &'a str,
        batch: &'a [Statement],
    ) -> BoxFuture<'a, Result<Exchange, StoreError>> {
        Box::pin(async move {
            let now = jiff::Timestamp::now().as_millisecond();
            let mut tables = self.0.lock();
            let (counters, replicas) = &mut *tables;
            let known = replicas.insert(replica.to_owned(), now).is_some();
            let silence = |name: &str| replicas.get(name).map_or(i64::MAX, |seen| now - seen);
            let alive = u32::try_from(replicas.len()).unwrap();
            let around = Around { now_ms: now, silence: &silence, replicas: alive, young: false };
            let mut answers = Vec::new();
            for statement in batch {
                let row = counters.entry(statement.name.as_str().to_owned()).or_default();
                let mut state = CounterState::decode(row).unwrap_or_default();
                answers.push(lease::decide(&mut state, replica, statement, &around));
                *row = state.encode();
            }
            let states = counters.iter().map(|(name, row)| (name, CounterState::decode(row).unwrap()));
            let wanted = states.filter(|(_, state)| state.want_until_ms > now);
            let wanted = wanted.map(|(name, _)| Name::new(name.as_str())).collect();
            Ok(Exchange { answers, wanted, replicas: alive, known })
        })
    }
}

#[tokio::test]
async fn a_store_of_rows_keeps_the_promises_of_shared_counters() {
    suite::shared_counters(&Rows::default(), "rows").await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_default_rule_each_replica_passes_the_budget_by_its_last_request_at_most() {
    for store in [memory_store(), redis_store()] {
        let over = budget(Scope::Team, usd(100));
        let replicas: Vec<Replica> =
            (0..3).map(|_| Replica::start(Arc::clone(&store), Settings::default())).collect();
        let admitted = storm(&replicas, 1_000, Estimate::exact(usd(1)), &over).await;
        assert!((100..=103).contains(&admitted), "{admitted} for 100");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_patience_overestimates_on_three_replicas_refuse_nobody_who_can_be_paid() {
    let store = memory_store();
    let settings = || Settings { patience: Duration::from_secs(20), ..Settings::default() };
    let replicas: Vec<Replica> = (0..3).map(|_| Replica::start(Arc::clone(&store), settings())).collect();
    let over = strict(Scope::Team, usd(100));
    // Each holds five dollars if it can and costs one: a client with max_tokens of 64,000.
    let estimate = Estimate { likely: usd(5), least: usd(1), ..Estimate::default() };
    let admitted = storm(&replicas, 300, estimate, &over).await;
    assert!((97..=100).contains(&admitted), "{admitted} of 100");
}

/// A store whose answers take a while.
pub struct Slow(pub Arc<dyn SharedCounters>, pub Duration);

impl SharedCounters for Slow {
    fn exchange<'a>(
        &'a self,
        replica: &'a str,
        batch: &'a [Statement],
    ) -> BoxFuture<'a, Result<Exchange, StoreError>> {
        Box::pin(async move {
            tokio::time::sleep(self.1 / 2).await;
            let exchange = self.0.exchange(replica, batch).await;
            tokio::time::sleep(self.1 / 2).await;
            exchange
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_two_seconds_changes_nothing_about_a_strict_budget() {
    let store: Arc<dyn SharedCounters> = Arc::new(Slow(memory_store(), Duration::from_secs(2)));
    let over = strict(Scope::Team, usd(100));
    let replicas: Vec<Replica> =
        (0..3).map(|_| Replica::start(Arc::clone(&store), Settings::default())).collect();
    let admitted = storm(&replicas, 1_000, Estimate::exact(usd(1)), &over).await;
    assert!((97..=100).contains(&admitted), "{admitted} of 100");
    let spent: i128 = replicas.iter().map(|replica| replica.limits.standing(&over).spent).max().unwrap();
    assert!(spent <= usd(100).pico());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leased_scopes_and_default_budgets_do_not_feel_a_slow_store() {
    let store: Arc<dyn SharedCounters> = Arc::new(Slow(memory_store(), Duration::from_secs(2)));
    let replica = Replica::start(Arc::clone(&store), Settings::default());
    let team = [budget(Scope::Team, usd(1_000)), Limit::requests(ScopeKey::of(Scope::Team, "one"), 100_000)];
    let mut slowest = Duration::ZERO;
    for call in 0..200 {
        let start = std::time::Instant::now();
        let hold = replica.limits.reserve(&team, &Estimate::exact(usd(1)), "call".into()).await.unwrap();
        if call > 0 {
            slowest = slowest.max(start.elapsed());
        }
        hold.settle(&Actual { cost: usd(1), ..Actual::default() });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(slowest < Duration::from_millis(500), "far below the store's two seconds: {slowest:?}");
    assert!(replica.limits.degraded());
    assert_eq!(replica.limits.standing(&team[0]).spent, usd(200).pico());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_under_load_fails_no_request_and_loses_no_spend() {
    let mut server = RedisServer::start();
    let store = || -> Arc<dyn SharedCounters> {
        Arc::new(RedisCounters::new(&Redis::new(&RedisSettings::url(&server.url()), "kill").unwrap()))
    };
    let settings = || Settings { timeout: Duration::from_millis(300), ..Settings::default() };
    let replicas: Vec<Replica> = (0..3).map(|_| Replica::start(store(), settings())).collect();
    let over = [budget(Scope::Team, usd(10_000)), strict(Scope::Key, usd(10_000))];
    // One replica has come, spent, and gone before: no living one knows that spend as its own.
    let early = Replica::start(store(), settings());
    let hold = early.limits.reserve(&over, &Estimate::exact(usd(50)), "early".into()).await.unwrap();
    hold.settle(&Actual { cost: usd(50), ..Actual::default() });
    early.stop().await;
    let mut spent = usd(50).pico();
    let mut phase = async |name: &str, calls: usize| {
        for call in 0..calls {
            let replica = &replicas[call % 3];
            let start = std::time::Instant::now();
            let hold = replica.limits.reserve(&over, &Estimate::exact(usd(1)), "call".into()).await;
            let hold = hold.unwrap_or_else(|denied| panic!("{name}: {denied}"));
            assert!(start.elapsed() < Duration::from_secs(3), "{name}: {:?}", start.elapsed());
            hold.settle(&Actual { cost: usd(1), ..Actual::default() });
            spent += usd(1).pico();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    phase("before", 300).await;
    server.pause();
    phase("paused", 600).await;
    server.resume();
    phase("resumed", 150).await;
    server.kill();
    phase("killed", 600).await;
    server.restart();
    phase("restarted", 300).await;
    settled(&replicas, &over, spent).await;
}

/// Waits until every replica knows of `spent` in all of `over`.
async fn settled(replicas: &[Replica], over: &[Limit], spent: i128) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut all = Vec::new();
        for replica in replicas {
            // A change, so that the replica has something to state and hears of the others.
            drop(replica.limits.reserve(over, &Estimate::default(), "look".into()).await);
            all.extend(over.iter().map(|limit| replica.limits.standing(limit).spent));
        }
        if all.iter().all(|one| *one == spent) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{spent} spent, replicas know of {all:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_store_that_has_only_begun_delays_nobody_but_strict_budgets() {
    let memory = Arc::new(MemoryCounters::new(1_000_000));
    memory.forget();
    let replica = Replica::start(memory.clone(), Settings::default());
    let one = Estimate::exact(usd(1));
    let start = std::time::Instant::now();
    let team = [budget(Scope::Team, usd(10)), Limit::requests(ScopeKey::of(Scope::Team, "one"), 5)];
    drop(replica.limits.reserve(&team, &one, "call".into()).await.unwrap());
    assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
    let grown = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        memory.advance(3_000);
    });
    assert!(replica.limits.reserve(&[strict(Scope::Key, usd(9))], &one, "call".into()).await.is_ok());
    grown.await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300), "not before the store gives leases");
}

#[tokio::test]
async fn a_strict_budget_without_a_lease_is_refused_while_the_store_is_away_and_the_default_one_is_not() {
    let memory = Arc::new(MemoryCounters::new(1_000_000));
    memory.fail(true);
    let replica =
        Replica::start(memory.clone(), Settings { tick: Duration::from_millis(5), ..Settings::default() });
    let one = Estimate::exact(usd(1));
    let denied =
        replica.limits.reserve(&[strict(Scope::Key, usd(9))], &one, "call".into()).await.unwrap_err();
    assert_eq!(denied.cause, Cause::StoreAway);
    assert_eq!(denied.retry_after, Some(Duration::from_secs(1)));
    let known = Limit::budget(ScopeKey::of(Scope::Team, "one"), usd(10), usd(9), Window::Endless);
    let team = [known, Limit::requests(ScopeKey::of(Scope::Team, "one"), 5)];
    replica
        .limits
        .reserve(&team, &one, "call".into())
        .await
        .unwrap()
        .settle(&Actual { cost: usd(1), ..Actual::default() });
    let over = replica.limits.reserve(&team, &one, "call".into()).await.unwrap_err();
    assert_eq!(
        (over.cause, over.standing.spent),
        (Cause::Over, usd(10).pico()),
        "the record and what was spent here"
    );
    memory.fail(false);
    let mut admitted = replica.limits.reserve(&[strict(Scope::Key, usd(9))], &one, "call".into()).await;
    for _ in 0..200 {
        if admitted.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        admitted = replica.limits.reserve(&[strict(Scope::Key, usd(9))], &one, "call".into()).await;
    }
    assert!(admitted.is_ok(), "the store is back");
}

#[tokio::test]
async fn what_a_crashed_replica_had_leased_comes_back_and_what_it_spent_does_not() {
    let memory = Arc::new(MemoryCounters::new(1_000_000));
    let over = [strict(Scope::Team, usd(100)), Limit::parallel(ScopeKey::of(Scope::Team, "one"), 1)];
    let crashed = Replica::start(memory.clone(), Settings::default());
    crashed
        .limits
        .reserve(&over, &Estimate::exact(usd(10)), "a".into())
        .await
        .unwrap()
        .settle(&Actual { cost: usd(10), ..Actual::default() });
    let live = crashed.limits.reserve(&over, &Estimate::exact(usd(20)), "b".into()).await.unwrap();
    let name = over[0].name();
    let stated = || {
        memory.counter(name).is_some_and(|state| state.parts.values().any(|part| part.held == usd(20).pico()))
    };
    for _ in 0..1_000 {
        if stated() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(stated());
    crashed.crash();
    let other = Replica::start(
        memory.clone(),
        Settings { recall_wait: Duration::from_millis(60), ..Settings::default() },
    );
    let ask = async |dollars| other.limits.reserve(&over, &Estimate::exact(usd(dollars)), "c".into()).await;
    assert_eq!(ask(1).await.unwrap_err().standing.limit.meter(), Meter::Parallel, "its slot is still taken");
    memory.advance(20_000);
    assert!(ask(1).await.is_ok(), "slots come back within seconds");
    memory.advance(120_000);
    assert!(ask(71).await.is_err(), "what it held may have been spent");
    assert!(ask(70).await.is_ok(), "its unused lease is given to others");
    memory.advance(600_000);
    assert!(ask(90).await.is_ok() && ask(91).await.is_err(), "in the end only what it spent counts");
    drop(live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_keep_rates_and_parallel_requests_within_their_limits() {
    for store in [memory_store(), redis_store()] {
        let replicas: Vec<Replica> =
            (0..3).map(|_| Replica::start(Arc::clone(&store), Settings::default())).collect();
        let over = [
            Limit::requests(ScopeKey::of(Scope::Key, "one"), 60),
            Limit::parallel(ScopeKey::of(Scope::Team, "one"), 10),
        ];
        let mut holds = Vec::new();
        for call in 0..30 {
            holds.extend(replicas[call % 3].limits.reserve(&over, &Estimate::default(), "call".into()).await);
        }
        assert_eq!(holds.len(), 10, "in flight at once");
        drop(holds);
        let mut admitted = 10;
        for call in 0..90 {
            admitted += usize::from(
                replicas[call % 3]
                    .limits
                    .reserve(&over[..1], &Estimate::default(), "call".into())
                    .await
                    .is_ok(),
            );
        }
        assert_eq!(admitted, 60, "in a minute");
    }
}

#[tokio::test]
async fn a_lease_that_is_not_used_goes_to_who_needs_it() {
    for store in [memory_store(), redis_store()] {
        let (idle, busy) = (
            Replica::start(Arc::clone(&store), Settings::default()),
            Replica::start(store, Settings::default()),
        );
        let over = [strict(Scope::Team, usd(100))];
        let hold = idle.limits.reserve(&over, &Estimate::exact(usd(1)), "call".into()).await.unwrap();
        hold.settle(&Actual { cost: usd(1), ..Actual::default() });
        // All the rest, of which the idle replica has leased a good part.
        let rest = busy.limits.reserve(&over, &Estimate::exact(usd(99)), "call".into()).await;
        assert_eq!(rest.unwrap().cost(), usd(99));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_serves_as_well_as_one_server() {
    let server = RedisServer::start_cluster();
    let settings = RedisSettings { cluster: true, ..RedisSettings::url(&server.url()) };
    let redis = Redis::new(&settings, "cluster").unwrap();
    suite::shared_counters(&RedisCounters::new(&redis), "cluster").await;
    suite::shared_log(&RedisLog::new(&redis, "cluster")).await;
    suite::shared_claims(&RedisClaims::new(&redis), "cluster").await;
}

#[tokio::test]
async fn redis_takes_back_what_crashed_replicas_had_as_the_reference_does() {
    let server = RedisServer::start();
    let redis = Redis::new(&RedisSettings::url(&server.url()), "crash").unwrap();
    let (counters, reference) = (RedisCounters::new(&redis), MemoryCounters::new(1_000_000));
    let base = |kind: Kind| Statement {
        name: Name::new(format!("{kind:?}")),
        seq: 1,
        kind,
        limit: 100,
        length_ms: 0,
        window: WindowId::default(),
        spent: if kind == Kind::Budget { 10 } else { 0 },
        held: 20,
        keep: 0,
        need: 40,
        greedy: false,
        leave: false,
        seed: 0,
        history: None,
    };
    server.command(&["SET", "{faregate:crash}:limits:born", "1"]);
    let first = [base(Kind::Budget), base(Kind::Parallel)];
    for store in [&counters as &dyn SharedCounters, &reference] {
        store.exchange("crashed", &first).await.unwrap();
    }
    let mut allowances = Vec::new();
    for (seq, passed) in (2..).zip([1_000_i64, 15_000, 110_000, 500_000]) {
        // Whoever was seen before is seen that much earlier.
        let script = "for _, one in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZINCRBY', KEYS[1], -ARGV[1], one) end";
        server.command(&["EVAL", script, "1", "{faregate:crash}:limits:replicas", &passed.to_string()]);
        reference.advance(passed);
        let ask = |kind| Statement { seq, spent: 0, held: 0, need: 100, ..base(kind) };
        let asks = [ask(Kind::Budget), ask(Kind::Parallel)];
        let got = counters.exchange("other", &asks).await.unwrap();
        let expected = reference.exchange("other", &asks).await.unwrap();
        for (got, expected) in got.answers.iter().zip(&expected.answers) {
            assert_eq!(got.allowance, expected.allowance, "after {passed} ms more");
            assert_eq!((got.others_spent, got.others_held), (expected.others_spent, expected.others_held));
        }
        allowances.push((got.answers[0].allowance, got.answers[1].allowance, got.replicas));
    }
    assert_eq!(allowances, [(30, 40, 2), (30, 100, 1), (70, 100, 1), (90, 100, 1)]);
}

#[tokio::test]
async fn a_lowered_limit_counts_on_every_replica_at_once() {
    let store = memory_store();
    let replicas: Vec<Replica> =
        (0..2).map(|_| Replica::start(Arc::clone(&store), Settings::default())).collect();
    let at = |max| [strict(Scope::Team, usd(max))];
    for replica in &replicas {
        // Both have leases of hundreds of dollars now.
        let hold = replica.limits.reserve(&at(1_000), &Estimate::exact(usd(4)), "call".into()).await.unwrap();
        hold.settle(&Actual { cost: usd(4), ..Actual::default() });
    }
    let ask = async |replica: usize, dollars| {
        replicas[replica].limits.reserve(&at(10), &Estimate::exact(usd(dollars)), "call".into()).await
    };
    assert!(ask(0, 3).await.is_err());
    let kept = ask(1, 2).await;
    assert!(kept.is_ok() && ask(0, 1).await.is_err());
}

#[tokio::test]
async fn replicas_whose_clocks_disagree_open_a_day_once() {
    for store in [memory_store(), redis_store()] {
        let midnight: jiff::Timestamp = "2999-11-22T00:00:00Z".parse().unwrap();
        let before = midnight - jiff::SignedDuration::from_secs(1);
        let clocks = [Arc::new(ManualClock::at(before)), Arc::new(ManualClock::at(before))];
        // Waits for others are counted by the clock, which stands still here.
        let settings =
            || Settings { recall_wait: Duration::ZERO, hear_wait: Duration::ZERO, ..Settings::default() };
        let replicas: Vec<Replica> = clocks
            .iter()
            .map(|clock| Replica::with_clock(Arc::clone(&store), settings(), clock.clone()))
            .collect();
        let schedule = Arc::new(Schedule::utc("1d".parse().unwrap()));
        let window = Window::Calendar { ends: midnight, schedule };
        let daily =
            Limit::budget(ScopeKey::of(Scope::Key, "one"), usd(10), usd(0), window).with_rule(Rule::Within);
        let daily = [daily];
        let spend = async |replica: usize| {
            let hold =
                replicas[replica].limits.reserve(&daily, &Estimate::exact(usd(10)), "call".into()).await;
            hold.map(|hold| hold.settle(&Actual { cost: usd(10), ..Actual::default() })).is_ok()
        };
        assert!(spend(0).await && !spend(1).await, "one day, one budget");
        clocks[0].advance(Duration::from_secs(2));
        assert!(spend(0).await, "a new day");
        assert!(!spend(1).await, "whose clock is behind hears of it, and that it is spent");
        clocks[1].advance(Duration::from_secs(2));
        assert!(!spend(1).await, "midnight comes once");
        clocks[0].step_by_ms(-86_400_000);
        assert!(!spend(0).await, "and does not come back");
        clocks[1].advance(Duration::from_secs(86_400));
        assert!(spend(1).await && !spend(0).await, "the day after is the other's to open");
    }
}

#[tokio::test]
async fn thousands_of_counters_change_hands_when_a_replica_leaves() {
    for store in [memory_store(), redis_store()] {
        let (one, two) = (
            Replica::start(Arc::clone(&store), Settings::default()),
            Replica::start(store, Settings::default()),
        );
        let limit = |n: usize| {
            let scope = ScopeKey::of(Scope::Key, format!("key {n}"));
            [Limit::budget(scope, usd(10), usd(0), Window::Endless).with_rule(Rule::Within)]
        };
        let spend = async |replica: &Replica, dollars| {
            let calls = (0..2_000).map(|n| {
                let limits = replica.limits.clone();
                tokio::spawn(async move {
                    let hold = limits.reserve(&limit(n), &Estimate::exact(usd(dollars)), "call".into()).await;
                    hold.map(|hold| hold.settle(&Actual { cost: usd(dollars), ..Actual::default() })).is_ok()
                })
            });
            let mut done = 0;
            for call in calls.collect::<Vec<_>>() {
                done += usize::from(call.await.unwrap());
            }
            done
        };
        assert_eq!(spend(&one, 6).await, 2_000);
        one.stop().await;
        assert_eq!(spend(&two, 5).await, 0, "what the other one spent counts");
        assert_eq!(spend(&two, 4).await, 2_000, "and what it did not need is free");
        two.stop().await;
    }
}

#[tokio::test]
async fn a_budget_known_to_be_spent_refuses_without_asking_anybody() {
    let memory = Arc::new(MemoryCounters::new(1_000_000));
    let (one, two) = (
        Replica::start(memory.clone(), Settings::default()),
        Replica::start(memory.clone(), Settings::default()),
    );
    let limits = |max| {
        [
            strict(Scope::Key, usd(max)),
            budget(Scope::Team, usd(max)),
            Limit::requests(ScopeKey::of(Scope::Key, "one"), 2),
        ]
    };
    let ask = async |replica: &Replica, over: &[Limit]| {
        let hold = replica.limits.reserve(over, &Estimate::exact(usd(5)), "call".into()).await?;
        hold.settle(&Actual { cost: usd(5), ..Actual::default() });
        Ok::<(), Box<Denied>>(())
    };
    let all = limits(10);
    assert!(ask(&one, &all).await.is_ok() && ask(&two, &all).await.is_ok());
    settled(&[two], &all[..2], usd(10).pico()).await;
    assert!(ask(&one, &all).await.is_err());
    memory.fail(true);
    for limit in &all {
        let denied = ask(&one, std::slice::from_ref(limit)).now_or_never().unwrap().unwrap_err();
        assert_eq!(denied.cause, Cause::Over, "{denied}");
    }
    memory.fail(false);
    assert!(ask(&one, &limits(20)[..1]).await.is_ok(), "a raised limit counts at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_refused_while_the_limit_has_room_that_is_not_leased_yet() {
    let limits: [fn() -> Limit; 3] = [
        || strict(Scope::Team, usd(2_000)),
        || budget(Scope::Team, usd(2_000)),
        || Limit::requests(ScopeKey::of(Scope::Team, "t"), 2_000),
    ];
    for limit in limits {
        let store = Slow(memory_store(), Duration::from_millis(10));
        let replica = Replica::start(Arc::new(store), Settings::default());
        let running = (0..2_000).map(|n: u64| {
            let (limits, over) = (replica.limits.clone(), limit());
            tokio::spawn(async move {
                // They come over the time of many exchanges and end at once, so that nothing is held for long.
                tokio::time::sleep(Duration::from_micros(n * 100)).await;
                let hold = limits.reserve(&[over], &Estimate::exact(usd(1)), "call".into()).await;
                hold.map(|hold| hold.settle(&Actual { cost: usd(1), ..Actual::default() }))
            })
        });
        for call in running.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
        replica.stop().await;
    }
}
