//! Messages, cooldowns and claims between replicas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faregate_state::affinity::{self, Affinity};
use faregate_state::clock::{Clock, ManualClock, SystemClock};
use faregate_state::cooldown::{self, Cooldowns};
use faregate_state::feed::{MemoryLog, RedisLog, SharedLog};
use faregate_state::figures::{self, Figure, Figures, Mean, Summary};
use faregate_state::invalidate::{self, Change, Invalidations, Subject};
use faregate_state::lease::{Leadership, MemoryClaims, RedisClaims};
use faregate_state::redis::{Redis, RedisSettings};
use faregate_state::suite;
use faregate_terms::DeploymentId;
use faregate_testkit::redis::{RedisServer, corner};
use tokio_util::sync::CancellationToken;

use crate::support::noon;

fn redis() -> Redis {
    let corner = corner();
    Redis::new(&RedisSettings::url(&corner.url), &corner.installation).unwrap()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

#[tokio::test]
async fn logs_keep_their_promises_in_memory_and_in_redis() {
    suite::shared_log(&MemoryLog::default()).await;
    suite::shared_log(&RedisLog::new(&redis(), "suite")).await;
}

#[tokio::test]
async fn claims_keep_their_promises_in_memory_and_in_redis() {
    suite::shared_claims(&MemoryClaims::new(clock()), "memory").await;
    suite::shared_claims(&RedisClaims::new(&redis()), "redis").await;
}

#[tokio::test]
async fn a_leader_stops_leading_before_another_can_begin() {
    let clock = Arc::new(ManualClock::at(noon()));
    let claims = Arc::new(MemoryClaims::new(clock.clone()));
    let one = Leadership::new(claims.clone(), clock.clone());
    let other = Leadership::new(claims, clock.clone());
    let lead = one.lead("resets", Duration::from_secs(10)).await.unwrap();
    assert!(lead.holds() && other.lead("resets", Duration::from_secs(10)).await.is_none());
    clock.advance(Duration::from_secs(10));
    assert!(!lead.holds());
    let next = other.lead("resets", Duration::from_secs(10)).await.unwrap();
    next.release().await;
    assert!(one.lead("resets", Duration::from_secs(10)).await.is_some());
}

/// The next change, or a failed test after a while; a second is the promise, the rest is for busy machines.
async fn soon(changes: &mut invalidate::Changes) -> Change {
    tokio::time::timeout(Duration::from_secs(3), changes.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_revoked_key_is_heard_of_by_every_replica_within_a_second() {
    let shared: Arc<dyn SharedLog> = Arc::new(RedisLog::new(&redis(), invalidate::TOPIC));
    let stop = CancellationToken::new();
    let (here, run) = Invalidations::shared(shared.clone(), clock(), stop.clone());
    let follow = tokio::spawn(run);
    let (there, run) = Invalidations::shared(shared, clock(), stop.clone());
    let follow_there = tokio::spawn(run);
    let (mut local, mut remote) = (here.subscribe(), there.subscribe());
    // Both have found their place in the log; what they remembered until then may be outdated.
    assert_eq!(soon(&mut local).await, Change::Everything);
    assert_eq!(soon(&mut remote).await, Change::Everything);
    here.publish(Subject::Key, "a:b c");
    let expected = Change::One(Subject::Key, "a:b c".into());
    assert_eq!(soon(&mut local).await, expected);
    assert_eq!(soon(&mut remote).await, expected);
    stop.cancel();
    follow.await.unwrap();
    follow_there.await.unwrap();
}

#[tokio::test]
async fn a_replica_that_may_have_missed_changes_drops_everything() {
    let mut server = RedisServer::start();
    let redis = || Redis::new(&RedisSettings::url(&server.url()), "missed").unwrap();
    let log: Arc<dyn SharedLog> = Arc::new(RedisLog::new(&redis(), invalidate::TOPIC));
    log.append(&["key:old".to_owned()]).await.unwrap();
    let stop = CancellationToken::new();
    let (feed, run) = Invalidations::shared(log, clock(), stop.clone());
    let mut changes = feed.subscribe();
    let follow = tokio::spawn(run);
    let other: Arc<dyn SharedLog> = Arc::new(RedisLog::new(&redis(), invalidate::TOPIC));
    assert_eq!(soon(&mut changes).await, Change::Everything, "it has found its place in the log");
    server.kill();
    let start = Instant::now();
    while feed.silent_for() < Duration::from_millis(400) {
        assert!(start.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    feed.publish(Subject::Team, "kept until the store is back");
    assert_eq!(soon(&mut changes).await, Change::One(Subject::Team, "kept until the store is back".into()));
    server.restart();
    let heard = tokio::time::timeout(Duration::from_secs(5), async {
        while changes.next().await != Some(Change::Everything) {}
    });
    heard.await.unwrap();
    let mut entries = Vec::new();
    for _ in 0..100 {
        if let Ok(news) = other.since(0).await {
            entries = news.entries;
        }
        if !entries.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(entries, ["team:kept until the store is back"]);
    stop.cancel();
    follow.await.unwrap();
}

#[test]
fn a_deployment_rests_as_long_as_the_longest_reason() {
    let clock = Arc::new(ManualClock::at(noon()));
    let cooldowns = Cooldowns::alone(clock.clone());
    let id = DeploymentId::from("one");
    cooldowns.rest(&id, Duration::from_secs(30), "429");
    cooldowns.rest(&id, Duration::from_secs(5), "500");
    let rest = cooldowns.resting(&id).unwrap();
    assert_eq!((&*rest.reason, rest.until), ("429", noon() + jiff::SignedDuration::from_secs(30)));
    assert_eq!(cooldowns.all().len(), 1);
    clock.step_by_ms(-86_400_000);
    clock.advance(Duration::from_secs(29));
    assert!(cooldowns.resting(&id).is_some(), "a step of the clock changes nothing");
    clock.advance(Duration::from_secs(1));
    assert_eq!((cooldowns.resting(&id), cooldowns.all().len()), (None, 0));
    cooldowns.rest(&id, Duration::from_secs(30), "429");
    cooldowns.wake(&id);
    assert_eq!(cooldowns.resting(&id), None);
}

#[tokio::test]
async fn a_rest_is_honoured_by_all_replicas_and_by_one_that_starts_later() {
    for log in [
        Arc::new(MemoryLog::default()) as Arc<dyn SharedLog>,
        Arc::new(RedisLog::new(&redis(), cooldown::TOPIC)),
    ] {
        let stop = CancellationToken::new();
        let replica = || {
            let (cooldowns, run) = Cooldowns::shared(log.clone(), clock(), stop.clone());
            tokio::spawn(run);
            cooldowns
        };
        let (one, two) = (replica(), replica());
        let id = DeploymentId::from("group one/deployment");
        one.rest(&id, Duration::from_secs(60), "rate limited");
        let late = replica();
        let start = Instant::now();
        while two.resting(&id).is_none() || late.resting(&id).is_none() {
            assert!(start.elapsed() < Duration::from_secs(3));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(&*two.resting(&id).unwrap().reason, "rate_limited");
        two.wake(&id);
        while one.resting(&id).is_some() {
            assert!(start.elapsed() < Duration::from_secs(3));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    }
}

#[tokio::test]
async fn what_served_a_request_is_heard_of_by_every_replica_and_known_where_the_store_is_away() {
    let shared: Arc<dyn SharedLog> = Arc::new(RedisLog::new(&redis(), affinity::TOPIC));
    let stop = CancellationToken::new();
    let (here, run) = Affinity::shared(shared.clone(), clock(), stop.clone());
    let follow = tokio::spawn(run);
    let (there, run) = Affinity::shared(shared.clone(), clock(), stop.clone());
    let follow_there = tokio::spawn(run);
    let ttl = Duration::from_secs(300);
    here.keep(7, &DeploymentId::from("a"), ttl, true);
    here.keep(8, &DeploymentId::from("a"), ttl, false);
    let heard = async {
        while there.find(7).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), heard).await.unwrap();
    assert_eq!((there.find(7), there.find(8)), (Some("a".into()), None), "only what is to be told");
    assert_eq!(here.find(8), Some("a".into()));
    let (late, run) = Affinity::shared(shared, clock(), stop.clone());
    let follow_late = tokio::spawn(run);
    let heard = async {
        while late.find(7).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), heard).await.unwrap();
    stop.cancel();
    for task in [follow, follow_there, follow_late] {
        task.await.unwrap();
    }
    let dead = Redis::new(&RedisSettings::url("redis://127.0.0.1:1"), "nobody").unwrap();
    let stop = CancellationToken::new();
    let (alone, run) =
        Affinity::shared(Arc::new(RedisLog::new(&dead, affinity::TOPIC)), clock(), stop.clone());
    let follow = tokio::spawn(run);
    alone.keep(7, &DeploymentId::from("b"), ttl, true);
    assert_eq!(alone.find(7), Some("b".into()), "nothing waits for the store");
    stop.cancel();
    follow.await.unwrap();
}

#[tokio::test]
async fn a_log_of_what_is_soon_worth_nothing_keeps_little() {
    let log = RedisLog::new(&redis(), "brief").keeping(3);
    let entries: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    log.append(&entries).await.unwrap();
    assert_eq!(log.since(0).await.unwrap().entries, entries[7..]);
}

/// A deployment with calls under way, in minute 7.
fn busy(id: &str, in_flight: u64) -> Summary {
    let per_token = Mean { samples: 2, seconds: 0.25 };
    let figure = Figure { in_flight, tokens: 40, per_token, to_first: Mean::default() };
    Summary { minute: 7, figures: [(DeploymentId::from(id), figure)].into() }
}

/// Waits until `figures` says that the others do this, as long as `speaks` goes on with what it says.
async fn others(figures: &Figures, expected: &Summary, speaks: impl Fn()) {
    let said = async {
        loop {
            speaks();
            if figures.others(7).is_some_and(|others| others == *expected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), said).await.unwrap();
}

#[tokio::test]
async fn figures_of_a_replica_count_for_the_others_until_it_leaves_or_is_silent() {
    let nothing = Summary { minute: 7, ..Summary::default() };
    let log: Arc<dyn SharedLog> = Arc::new(RedisLog::new(&redis(), figures::TOPIC).keeping(figures::KEPT));
    for log in [Arc::new(MemoryLog::default()) as Arc<dyn SharedLog>, log] {
        let replica = || {
            let stop = CancellationToken::new();
            let (figures, run) = Figures::shared(log.clone(), clock(), stop.clone());
            (figures, tokio::spawn(run), stop)
        };
        let ((one, one_runs, one_stops), (two, two_runs, two_stops)) = (replica(), replica());
        others(&two, &busy("a", 3), || one.tell(busy("a", 3))).await;
        assert_eq!(one.others(7), None, "its own figures are not those of others");
        others(&two, &busy("b", 1), || one.tell(busy("b", 1))).await;
        one_stops.cancel();
        one_runs.await.unwrap();
        others(&two, &nothing, || one.tell(busy("b", 1))).await;

        let ((gone, gone_runs, _), (stays, stays_runs, _)) = (replica(), replica());
        let both = Summary {
            figures: [busy("a", 2), busy("b", 5)].into_iter().flat_map(|it| it.figures).collect(),
            ..nothing.clone()
        };
        others(&two, &both, || {
            gone.tell(busy("a", 2));
            stays.tell(busy("b", 5));
        })
        .await;
        gone_runs.abort();
        let since = Instant::now();
        others(&two, &busy("b", 5), || stays.tell(busy("b", 5))).await;
        assert!(since.elapsed() > Duration::from_secs(1), "a short silence is nothing");
        stays_runs.abort();
        two_stops.cancel();
        two_runs.await.unwrap();
    }
}

#[tokio::test]
async fn figures_stay_here_where_there_is_nobody_or_no_store() {
    let alone = Figures::alone(clock());
    alone.tell(busy("a", 3));
    assert!(!alone.is_shared() && alone.others(7).is_none());
    let dead = Redis::new(&RedisSettings::url("redis://127.0.0.1:1"), "nobody").unwrap();
    let stop = CancellationToken::new();
    let log = Arc::new(RedisLog::new(&dead, figures::TOPIC));
    let (figures, run) = Figures::shared(log, clock(), stop.clone());
    let runs = tokio::spawn(run);
    figures.tell(busy("a", 3));
    assert_eq!(figures.others(7), None, "nothing waits for the store");
    stop.cancel();
    runs.await.unwrap();
}

#[tokio::test]
async fn figures_of_others_run_out_with_the_store_and_return_with_it() {
    let mut server = RedisServer::start();
    let redis = Redis::new(&RedisSettings::url(&server.url()), "figures").unwrap();
    let stop = CancellationToken::new();
    let replica = || {
        let log = Arc::new(RedisLog::new(&redis, figures::TOPIC).keeping(figures::KEPT));
        let (figures, run) = Figures::shared(log, clock(), stop.clone());
        tokio::spawn(run);
        figures
    };
    let (one, two) = (replica(), replica());
    others(&two, &busy("a", 3), || one.tell(busy("a", 3))).await;
    server.kill();
    let nothing = Summary { minute: 7, ..Summary::default() };
    others(&two, &nothing, || one.tell(busy("a", 3))).await;
    server.restart();
    others(&two, &busy("a", 4), || one.tell(busy("a", 4))).await;
    stop.cancel();
}
