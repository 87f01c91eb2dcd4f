//! A cache that is off, away or broken.

use std::time::{Duration, Instant};

use faregate_fake_provider::FakeProvider;
use faregate_testkit::redis::RedisServer;
use faregate_testkit::{Gateway, config};
use serde_json::json;

use super::{CHAT, Cached, ask, is_hit, until_hit};

#[tokio::test]
async fn a_redis_that_dies_is_a_cache_that_knows_nothing() {
    let mut server = RedisServer::start();
    let cached = Cached::with(json!({"type": "redis", "url": server.url()})).await;
    until_hit(&cached.gateway, &ask("a", json!({}))).await;
    assert_eq!(cached.gateway.get("/cache/ping").await.json()["cache_type"], "redis");
    server.pause();
    let start = Instant::now();
    for n in 0..20 {
        assert!(!cached.is_hit(&ask(&format!("paused {n}"), json!({}))).await);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    server.resume();
    server.kill();
    for stream in [false, true] {
        let reply = cached.gateway.post(CHAT, &ask("a", json!({"stream": stream}))).await;
        assert!(!is_hit(&reply));
    }
    assert!(cached.metric("faregate_cache_failures_total").await.unwrap() > 0.0);
    let ping = cached.gateway.get("/cache/ping").await;
    assert_eq!(ping.status, 503, "{}", ping.json());
}

#[tokio::test]
async fn a_folder_keeps_answers_across_processes_and_one_that_cannot_be_written_costs_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("answers");
    let params = json!({"type": "disk", "disk_cache_dir": folder});
    let body = ask("on disk", json!({}));
    let one = Cached::with(params.clone()).await;
    until_hit(&one.gateway, &body).await;
    one.gateway.stop().await;
    let two = Cached::with(params).await;
    assert!(two.is_hit(&body).await || two.is_hit(&body).await, "a busy machine may miss once");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, b"in the way").unwrap();
    // Requests that wait for one under way would be served by its answer while that is not written yet.
    let broken = Cached::with(json!({"type": "disk", "disk_cache_dir": folder, "coalesce": false})).await;
    for _ in 0..2 {
        assert!(!broken.is_hit(&body).await);
    }
    assert!(broken.metric("faregate_cache_failures_total").await.unwrap() > 0.0);
}

#[tokio::test]
async fn the_caches_own_calls_are_for_administrators_and_need_a_cache() {
    let cached = Cached::with_keys(json!({}), Vec::new()).await;
    let ping = cached.gateway.get("/cache/ping").await.json();
    assert_eq!((&ping["status"], &ping["cache_type"]), (&json!("healthy"), &json!("local")));
    assert_eq!(cached.client("sk-red-1").get("/cache/ping").await.status, 401);
    let body = ask("a", json!({}));
    assert!(!cached.is_hit(&body).await);
    let reply = cached.gateway.post(CHAT, &body).await;
    let keys = json!({"keys": [reply.header("x-litellm-cache-key").unwrap()]});
    assert_eq!(cached.client("sk-red-1").post("/cache/delete", &keys).await.status, 401);
    assert_eq!(cached.gateway.post("/cache/delete", &keys).await.status, 200);
    assert!(!cached.is_hit(&body).await);
    assert_eq!(cached.gateway.post("/cache/flushall", &json!({})).await.status, 200);
    assert!(!cached.is_hit(&body).await);
    assert_eq!(cached.gateway.post("/cache/delete", &json!({"key": "x"})).await.status, 400);
    assert_eq!(cached.gateway.get("/cache/redis/info").await.status, 503);

    let provider = FakeProvider::start().await;
    let off = Gateway::start(&config::every_dialect(&provider)).await;
    assert_eq!(off.get("/cache/ping").await.status, 503);
    for _ in 0..2 {
        assert!(!is_hit(&off.post(CHAT, &body).await));
    }
}
