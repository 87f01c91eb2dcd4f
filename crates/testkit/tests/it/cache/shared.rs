//! Who shares answers, and who waits for whom.

use std::time::Duration;

use faregate_config::Env;
use faregate_fake_provider::FakeProvider;
use faregate_state::limits::{Limit, Rule, Scope, ScopeKey, Window};
use faregate_terms::PicoUsd;
use faregate_testkit::Gateway;
use faregate_testkit::redis::corner;
use serde_json::json;

use super::{CHAT, Cached, ask, caching, is_hit, with_settings};

#[tokio::test]
async fn answers_are_shared_as_far_as_the_setting_says() {
    for (isolation, same_team, other_team) in
        [("none", true, true), ("team", true, false), ("key", false, false), ("end_user", false, false)]
    {
        let cached = Cached::with_keys(json!({"isolation": isolation}), Vec::new()).await;
        let body = ask("ours", json!({}));
        let hit = async |key: &str| is_hit(&cached.client(key).post(CHAT, &body).await);
        assert!(!hit("sk-red-1").await, "{isolation}");
        assert!(hit("sk-red-1").await, "{isolation}");
        assert_eq!(hit("sk-red-2").await, same_team, "{isolation}");
        assert_eq!(hit("sk-blue-1").await, other_team, "{isolation}");
    }
}

#[tokio::test]
async fn a_hit_needs_no_budget_but_counts_as_a_request() {
    let scope = || ScopeKey::of(Scope::Team, "all");
    let cent = PicoUsd::parse("0.000001").unwrap();
    let budget = Limit::budget(scope(), cent, PicoUsd::ZERO, Window::Endless).with_rule(Rule::Below);
    let cached = Cached::with_keys(json!({}), vec![budget]).await;
    let client = cached.client("sk-red-1");
    assert!(!is_hit(&client.post(CHAT, &ask("dear", json!({}))).await));
    assert_eq!(client.post(CHAT, &ask("another", json!({}))).await.status, 422, "the budget is spent");
    assert!(is_hit(&client.post(CHAT, &ask("dear", json!({}))).await));
    let cached = Cached::with_keys(json!({}), vec![Limit::requests(scope(), 2)]).await;
    let client = cached.client("sk-red-1");
    for expected in [200, 200, 429] {
        assert_eq!(client.post(CHAT, &ask("often", json!({}))).await.status, expected);
    }
    assert_eq!(cached.calls(), 1);
}

#[tokio::test]
async fn an_answer_that_a_budget_bounded_is_not_kept() {
    let budget = Limit::budget(
        ScopeKey::of(Scope::Team, "all"),
        PicoUsd::parse("0.0005").unwrap(),
        PicoUsd::ZERO,
        Window::Endless,
    );
    let cached = Cached::with_keys(json!({}), vec![budget.with_rule(Rule::Within)]).await;
    let body = ask("a short question", json!({"max_tokens": 16_000}));
    let client = cached.client("sk-red-1");
    for _ in 0..2 {
        let reply = client.post(CHAT, &body).await;
        assert!(reply.header("x-litellm-cache-key").is_none(), "{}", reply.json());
    }
}

async fn crowd(cached: &Cached, count: usize, content: &str, statuses: u16) -> Vec<bytes::Bytes> {
    let body = ask(content, json!({}));
    let asks = (0..count).map(|_| cached.gateway.post(CHAT, &body));
    let replies = futures_util::future::join_all(asks).await;
    let bodies = replies.into_iter().map(|reply| {
        assert_eq!(reply.status, statuses);
        reply.body
    });
    bodies.collect()
}

#[tokio::test]
async fn identical_requests_at_the_same_time_make_one_call() {
    let cached = Cached::with(json!({})).await;
    let mut receipts = cached.gateway.receipts();
    let bodies = crowd(&cached, 50, "[[fake: first_byte_ms=300]] all at once", 200).await;
    assert_eq!(cached.calls(), 1);
    assert!(bodies.iter().all(|body| body == &bodies[0]));
    let mut paid = 0;
    for _ in 0..50 {
        paid += usize::from(receipts.next().await.cost != Some(PicoUsd::ZERO));
    }
    assert_eq!(paid, 1, "one pays");
    let flights = &cached.gateway.gate().table.load().answers.clone().unwrap().flights;
    assert_eq!(flights.count(), 0);
}

#[tokio::test]
async fn an_error_is_nobody_elses_and_waiting_can_be_turned_off() {
    let cached = Cached::with(json!({})).await;
    crowd(&cached, 5, "[[fake: status=400 first_byte_ms=200]]", 400).await;
    assert_eq!(cached.calls(), 5);
    let cached = Cached::with(json!({"coalesce": false})).await;
    crowd(&cached, 5, "[[fake: first_byte_ms=200]]", 200).await;
    assert_eq!(cached.calls(), 5);
}

#[tokio::test]
async fn replicas_share_answers_over_redis_and_drop_them_together() {
    let corner = corner();
    let provider = FakeProvider::start().await;
    let params = json!({"type": "redis", "url": corner.url, "namespace": corner.installation});
    let config = with_settings(&provider, caching(params));
    let (one, two) = (
        Gateway::start_with(&config, &Env::empty()).await,
        Gateway::start_with(&config, &Env::empty()).await,
    );
    let body = ask("over there", json!({}));
    // A busy machine may take longer for the first connection than a request waits.
    while !is_hit(&one.post(CHAT, &body).await) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reply = loop {
        let reply = two.post(CHAT, &body).await;
        if is_hit(&reply) {
            break reply;
        }
    };
    let key = reply.header("x-litellm-cache-key").unwrap();
    assert!(key.starts_with(&format!("{}:", corner.installation)), "{key}");
    let info = two.get("/cache/redis/info").await.json();
    assert!(
        info["num_clients"].as_i64().unwrap() > 0 && info["info"]["uptime_in_seconds"].is_string(),
        "{info}"
    );
    let deleted = one.post("/cache/delete", &json!({"keys": [key]})).await;
    assert_eq!(deleted.json(), json!({"status": "success"}));
    assert!(!is_hit(&two.post(CHAT, &body).await));
    while !is_hit(&two.post(CHAT, &body).await) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(one.post("/cache/flushall", &json!({})).await.json(), json!({"status": "success"}));
    assert!(!is_hit(&one.post(CHAT, &body).await));
}
