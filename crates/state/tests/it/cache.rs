//! Caches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use faregate_state::cache::{MemoryCache, RedisCache, ResponseCache};
use faregate_state::clock::SystemClock;
use faregate_state::redis::{Redis, RedisSettings};
use faregate_state::suite;
use faregate_testkit::redis::{RedisServer, corner};

fn over(redis: &Redis, namespace: &str) -> RedisCache {
    RedisCache::new(redis, namespace, Duration::from_secs(1), Arc::new(SystemClock::new()))
}

#[tokio::test]
async fn caches_keep_their_promises_in_memory_in_redis_and_in_a_cluster() {
    suite::response_cache(&MemoryCache::new(1 << 20)).await;
    let corner = corner();
    let redis = Redis::new(&RedisSettings::url(&corner.url), &corner.installation).unwrap();
    suite::response_cache(&over(&redis, "one")).await;
    suite::response_cache(&over(&redis, "two")).await;
    let cluster = RedisServer::start_cluster();
    let settings = RedisSettings { cluster: true, ..RedisSettings::url(&cluster.url()) };
    suite::response_cache(&over(&Redis::new(&settings, "cache").unwrap(), "")).await;
}

#[tokio::test]
async fn a_cache_in_memory_stays_within_its_bytes() {
    let cache = MemoryCache::new(100_000);
    for n in 0..1_000 {
        cache.put(&format!("key {n}"), Bytes::from(vec![0; 1_000]), Duration::from_secs(60)).await.unwrap();
    }
    assert!((50_000..=100_000).contains(&cache.bytes()), "{}", cache.bytes());
}

#[tokio::test]
async fn a_flush_reaches_other_replicas_within_a_second() {
    let corner = corner();
    let redis = Redis::new(&RedisSettings::url(&corner.url), &corner.installation).unwrap();
    let (here, there) = (over(&redis, "flush"), over(&redis, "flush"));
    here.put("a", Bytes::from_static(b"old"), Duration::from_secs(60)).await.unwrap();
    assert!(there.get("a").await.unwrap().is_some());
    here.flush().await.unwrap();
    let start = Instant::now();
    while there.get("a").await.unwrap().is_some() {
        assert!(start.elapsed() < Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_redis_that_does_not_answer_costs_the_deadline_a_few_times_and_then_nothing() {
    let server = RedisServer::start();
    let redis = Redis::new(&RedisSettings::url(&server.url()), "slow").unwrap();
    let cache = RedisCache::new(&redis, "slow", Duration::from_millis(30), Arc::new(SystemClock::new()));
    // The first call connects, which may take longer on a busy machine.
    while cache.get("a").await.is_err() {}
    server.pause();
    let start = Instant::now();
    for _ in 0..1_000 {
        assert!(cache.get("a").await.is_err());
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "without a breaker it is half a minute: {:?}",
        start.elapsed()
    );
    server.resume();
    let start = Instant::now();
    while cache.get("a").await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "it comes back by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
