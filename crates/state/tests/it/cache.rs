//! Caches.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use faregate_state::cache::{DiskCache, MemoryCache, RedisCache, ResponseCache};
use faregate_state::clock::SystemClock;
use faregate_state::redis::{Redis, RedisSettings};
use faregate_state::suite;
use faregate_testkit::redis::{RedisServer, corner};
use tokio::net::{TcpListener, TcpStream};

fn over(redis: &Redis, namespace: &str) -> RedisCache {
    RedisCache::new(redis, namespace, Duration::from_secs(1), Arc::new(SystemClock::new()))
}

fn in_folder(folder: &Path, bytes: u64) -> DiskCache {
    let patience = Duration::from_secs(5);
    DiskCache::new(folder.to_owned(), bytes, patience, Arc::new(SystemClock::new()))
}

#[tokio::test]
async fn caches_keep_their_promises_in_memory_on_disk_in_redis_and_in_a_cluster() {
    suite::response_cache(&MemoryCache::new(1 << 20)).await;
    let folder = tempfile::tempdir().unwrap();
    suite::response_cache(&in_folder(folder.path(), 1 << 20)).await;
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

const MINUTE: Duration = Duration::from_secs(60);

/// Files below a folder, and their bytes.
fn weigh(folder: &Path) -> (usize, u64) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.fold((0, 0), |(files, bytes), entry| {
        let kind = entry.metadata().unwrap();
        let (more, size) = if kind.is_dir() { weigh(&entry.path()) } else { (1, kind.len()) };
        (files + more, bytes + size)
    })
}

#[tokio::test]
async fn a_cache_on_disk_stays_within_its_bytes_and_outlives_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let cache = in_folder(folder.path(), 100 * 4096);
    for n in 0..300 {
        cache.put(&format!("key {n}"), Bytes::from(vec![7; 4000]), MINUTE).await.unwrap();
    }
    let (files, bytes) = weigh(folder.path());
    assert!((50..=100).contains(&files), "{files} files");
    assert!(bytes <= 100 * 4096, "{bytes} bytes");
    // Another process finds them, and a smaller bound drops some of them.
    let next = in_folder(folder.path(), 20 * 4096);
    let mut found = 0;
    for n in 0..300 {
        found += usize::from(next.get(&format!("key {n}")).await.unwrap().is_some());
    }
    assert!(found > 0, "what was there is found");
    let start = Instant::now();
    while weigh(folder.path()).0 > 20 {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", weigh(folder.path()));
        next.put("one more", Bytes::from_static(b"x"), MINUTE).await.unwrap();
    }
}

#[tokio::test]
async fn a_broken_file_is_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let cache = in_folder(folder.path(), 1 << 20);
    cache.put("a", Bytes::from_static(b"a value of some length"), MINUTE).await.unwrap();
    let values = folder.path().join("values");
    let shelf = std::fs::read_dir(values).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::read_dir(shelf).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    for broken in [&whole[..whole.len() - 1], &whole[..7], b"", b"something else of a fair length"] {
        std::fs::write(&file, broken).unwrap();
        assert_eq!(cache.get("a").await.unwrap(), None);
        assert!(!file.exists());
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_is_an_error_and_nothing_worse() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let cache = in_folder(&folder.path().join("file").join("below"), 1 << 20);
    assert!(cache.put("a", Bytes::from_static(b"x"), MINUTE).await.is_err());
    assert!(cache.get("a").await.is_err() && cache.ping().await.is_err());
}

#[tokio::test]
async fn a_redis_tells_of_itself_and_others_have_nothing_to_tell() {
    let corner = corner();
    let redis = Redis::new(&RedisSettings::url(&corner.url), &corner.installation).unwrap();
    let facts = over(&redis, "facts").server().await.unwrap().unwrap();
    assert!(facts.info.contains("redis_version") || facts.info.contains("valkey_version"), "{facts:?}");
    assert!(facts.clients.is_some_and(|clients| !clients.is_empty()));
    assert_eq!(MemoryCache::new(1).server().await.unwrap(), None);
}

/// Passes bytes on to a server, each connection's first ones late.
async fn behind_a_slow_door(port: u16, late: Duration) -> u16 {
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = door.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = door.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address.port()
}

#[tokio::test]
async fn a_connection_that_takes_longer_than_a_call_is_made_beside() {
    let server = RedisServer::start();
    let port = behind_a_slow_door(server.port(), Duration::from_millis(300)).await;
    let redis = Redis::new(&RedisSettings::url(&format!("redis://127.0.0.1:{port}")), "door").unwrap();
    let cache = RedisCache::new(&redis, "", Duration::from_millis(50), Arc::new(SystemClock::new()));
    let start = Instant::now();
    while cache.get("a").await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "no connection is ever made");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
