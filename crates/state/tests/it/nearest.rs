//! Vector indexes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use faregate_state::clock::{ManualClock, SystemClock};
use faregate_state::nearest::{MemoryIndex, RedisIndex, VectorIndex};
use faregate_state::redis::{Redis, RedisSettings};
use faregate_state::suite;
use faregate_testkit::redis::{RedisServer, corner};
use proptest::prelude::*;

use crate::support::noon;

const MINUTE: Duration = Duration::from_secs(60);

fn in_memory(bytes: u64) -> MemoryIndex {
    MemoryIndex::new(bytes, Arc::new(SystemClock::new()))
}

#[tokio::test]
async fn an_index_in_memory_keeps_its_promises() {
    suite::vector_index(&in_memory(1 << 20)).await;
}

fn over(redis: &Redis, name: &str) -> RedisIndex {
    RedisIndex::new(redis, name, Duration::from_secs(2), Arc::new(SystemClock::new()))
}

#[tokio::test]
async fn an_index_in_a_redis_that_searches_keeps_its_promises_and_two_do_not_meet() {
    let Some(mut server) = RedisServer::start_with_search() else { return };
    let redis = Redis::new(&RedisSettings::url(&server.url()), "near").unwrap();
    suite::vector_index(&over(&redis, "one")).await;
    suite::vector_index(&over(&redis, "two")).await;
    let (here, there) = (over(&redis, "three"), over(&redis, "three"));
    here.add("a", &ray(7), Bytes::from_static(b"x"), MINUTE).await.unwrap();
    assert!(there.nearest("a", &ray(7)).await.unwrap().is_some(), "replicas share it");
    here.flush().await.unwrap();
    let start = Instant::now();
    while there.nearest("a", &ray(7)).await.unwrap().is_some() {
        assert!(start.elapsed() < Duration::from_secs(1), "a flush reaches other replicas within a second");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.restart();
    let start = Instant::now();
    while here.nearest("a", &ray(7)).await != Ok(None) {
        assert!(start.elapsed() < Duration::from_secs(10), "a server that was emptied knows nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    here.add("a", &ray(7), Bytes::from_static(b"y"), MINUTE).await.unwrap();
    assert!(here.nearest("a", &ray(7)).await.unwrap().is_some(), "its index is made again");
}

#[tokio::test]
async fn a_redis_that_cannot_search_says_so_and_how_to_get_one_that_can() {
    let corner = corner();
    let redis = Redis::new(&RedisSettings::url(&corner.url), &corner.installation).unwrap();
    let index = over(&redis, "none");
    let found = [
        index.ping().await.unwrap_err(),
        index.nearest("a", &ray(1)).await.unwrap_err(),
        index.add("a", &ray(1), Bytes::new(), MINUTE).await.unwrap_err(),
    ];
    for error in found {
        assert!(error.to_string().contains("cannot search vectors"), "{error}");
        assert!(
            error.to_string().contains("use Redis 8, Redis Stack, or Valkey with valkey-search"),
            "{error}"
        );
    }
}

/// A vector of its own for every number.
fn ray(n: u16) -> [f32; 3] {
    let angle = f32::from(n) / 1_000.0;
    [angle.cos(), angle.sin(), 0.0]
}

#[tokio::test]
async fn an_index_in_memory_stays_within_its_bytes_and_forgets_the_oldest_of_any_scope() {
    let index = in_memory(100_000);
    for n in 0..1_000 {
        let scope = if n % 2 == 0 { "even" } else { "odd" };
        index.add(scope, &ray(n), Bytes::from(vec![0; 1_000]), MINUTE).await.unwrap();
        assert!(index.bytes() <= 100_000);
    }
    assert!(index.bytes() > 90_000, "{}", index.bytes());
    let similarity = async |n: u16| {
        let scope = if n.is_multiple_of(2) { "even" } else { "odd" };
        index.nearest(scope, &ray(n)).await.unwrap().unwrap().similarity
    };
    for newest in [999, 998, 930] {
        assert!(similarity(newest).await > 0.999_999, "{newest} is there");
    }
    assert!(similarity(0).await < 0.9, "the first ones are gone");
    index.add("large", &ray(1), Bytes::from(vec![0; 200_000]), MINUTE).await.unwrap();
    assert_eq!(index.bytes(), 0, "what does not fit is not kept");
}

#[tokio::test]
async fn what_is_over_leaves_memory_though_nobody_asks_for_it() {
    let clock = Arc::new(ManualClock::at(noon()));
    let index = MemoryIndex::new(1 << 20, clock.clone());
    for n in 0..100 {
        index.add(&format!("{n:x}"), &ray(n), Bytes::from(vec![0; 1_000]), MINUTE).await.unwrap();
    }
    let full = index.bytes();
    clock.advance(MINUTE - Duration::from_millis(1));
    assert!(index.nearest("0", &ray(0)).await.unwrap().is_some());
    clock.advance(Duration::from_millis(1));
    assert!(index.nearest("0", &ray(0)).await.unwrap().is_none(), "its time is over to the millisecond");
    index.add("one", &ray(0), Bytes::new(), MINUTE).await.unwrap();
    assert!(index.bytes() < full / 50, "{} of {full}", index.bytes());
}

#[tokio::test]
async fn many_large_vectors_are_looked_at_without_holding_up_the_thread() {
    let index = in_memory(1 << 30);
    let vector =
        |n: usize| (0..1_536).map(|part| ((n * 31 + part * 7) % 101) as f32 - 50.0).collect::<Vec<_>>();
    for n in 0..101 {
        for turn in 0..14 {
            let mut vector = vector(n);
            vector[0] += turn as f32;
            index.add("a", &vector, Bytes::from(format!("{n} {turn}")), MINUTE).await.unwrap();
        }
    }
    let near = index.nearest("a", &vector(77)).await.unwrap().unwrap();
    assert_eq!((&near.value[..], near.similarity > 0.999_99), (&b"77 0"[..], true));
}

proptest! {
    /// What a plain comparison of all vectors finds, the index finds.
    #[test]
    fn the_nearest_is_the_nearest(
        vectors in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 37), 1..40),
        asked in prop::collection::vec(-1.0_f32..1.0, 37),
    ) {
        let cosine = |other: &[f32]| {
            let product: f64 = asked.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let length = |of: &[f32]| of.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>().sqrt();
            product / length(&asked) / length(other)
        };
        let best = vectors.iter().map(|vector| cosine(vector)).fold(f64::MIN, f64::max);
        let index = in_memory(1 << 20);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let near = runtime.block_on(async {
            for (n, vector) in vectors.iter().enumerate() {
                index.add("a", vector, Bytes::from(n.to_string()), MINUTE).await.unwrap();
            }
            index.nearest("a", &asked).await.unwrap().unwrap()
        });
        let n: usize = std::str::from_utf8(&near.value).unwrap().parse().unwrap();
        prop_assert!((f64::from(near.similarity) - best).abs() < 1e-5);
        prop_assert!((cosine(&vectors[n]) - best).abs() < 1e-5);
    }
}
