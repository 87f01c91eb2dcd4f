//! Deployments that fail and stall at random: clients notice nothing, and retries never become a storm.
//!
//! `FAREGATE_STORM_REQUESTS=20000 cargo test -p faregate-testkit --test it storm` asks more often.

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_router::{Dice, Seeded};
use futures_util::stream::{self, StreamExt};
use serde_json::json;

use super::{chat, entry, metric, start};

/// Requests at the same time.
const ABREAST: usize = 40;

#[expect(clippy::disallowed_methods, reason = "how many is the tester's choice")]
fn requests() -> usize {
    let asked = std::env::var("FAREGATE_STORM_REQUESTS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(2_000)
}

/// Of ten calls three fail and one is never answered.
fn unwell(provider: &FakeProvider, model: &str, calls: usize, dice: &mut Seeded) {
    let answer = |roll: f64| match roll {
        roll if roll < 0.3 => Answer::status(500),
        roll if roll < 0.4 => Answer::directive("stall_after=0"),
        _ => Answer::directive("tokens=1"),
    };
    let answers: Vec<Answer> = (0..calls).map(|_| answer(dice.roll())).collect();
    provider.script(Matcher::model(model), answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_healthy_deployment_beside_two_unwell_ones_is_enough() {
    let (provider, count) = (FakeProvider::start().await, requests());
    let mut dice = Seeded::new(11);
    for model in ["up-1", "up-2"] {
        unwell(&provider, model, 2 * count, &mut dice);
    }
    let entries = ["up-1", "up-2", "up-3"].map(|model| entry(&provider, "a", model, json!({"timeout": 1.5})));
    let gateway = start(entries, json!({"total_timeout": 30})).await;
    let answered = stream::iter(0..count)
        .map(|_| async { usize::from(chat(&gateway, "a", json!({})).await.status == 200) })
        .buffer_unordered(ABREAST)
        .fold(0, |sum, one| async move { sum + one })
        .await;
    let missed = count - answered;
    assert!(missed * 10_000 <= count, "{missed} of {count} had no answer within the deadline");
    let calls = provider.stats().requests as f64 / count as f64;
    assert!(calls <= 1.3, "{calls} calls per request");
}

#[tokio::test]
async fn when_nobody_answers_retries_are_refused_and_the_fallback_serves() {
    let provider = FakeProvider::start().await;
    let entries = [("a", "up-1"), ("a", "up-2"), ("b", "up-b")]
        .map(|(group, model)| entry(&provider, group, model, json!({})));
    let router = json!({
        "num_retries": 4, "disable_cooldowns": true, "fallbacks": [{"a": ["b"]}],
        "retry_budget": {"ratio": 0.1, "min_per_second": 0.5},
    });
    let gateway = start(entries, router).await;
    for model in ["up-1", "up-2"] {
        provider.always(Matcher::model(model), Answer::status(500));
    }
    for _ in 0..100 {
        let reply = chat(&gateway, "a", json!({})).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["model"]), (200, &json!("b")));
    }
    let calls = super::called(&provider).iter().filter(|model| *model != "up-b").count();
    // 100 requests, a tenth of them, half a retry per second of the window; the first few go to one not yet known
    // to fail.
    assert!((100..125).contains(&calls), "{calls}");
    let refused = metric(&gateway, "faregate_retries_refused_total", &[("model_group", "a")]).await;
    assert!(refused[0] >= 80.0, "{refused:?}");
}

#[tokio::test]
async fn without_a_budget_every_request_retries_as_often_as_it_may() {
    let provider = FakeProvider::start().await;
    let entries = ["up-1", "up-2"].map(|model| entry(&provider, "a", model, json!({})));
    let router = json!({"num_retries": 2, "disable_cooldowns": true, "retry_budget": {"enabled": false, "min_per_second": 0}});
    let gateway = start(entries, router).await;
    provider.always(Matcher::any(), Answer::status(500));
    for _ in 0..20 {
        assert_eq!(chat(&gateway, "a", json!({})).await.status, 500);
    }
    assert_eq!(provider.stats().requests, 60);
}
