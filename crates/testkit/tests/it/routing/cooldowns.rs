use std::sync::Arc;
use std::time::Duration;

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::gate::{Services, limit_settings};
use faregate_state::clock::{Clock, ManualClock};
use faregate_state::cooldown::Cooldowns;
use faregate_state::limits::Limits;
use serde_json::json;

use super::{called, chat, config, entry, fails, metric, number, start_over};

/// Services over a clock that the test moves.
fn over(clock: &Arc<ManualClock>) -> Services {
    let clock: Arc<dyn Clock> = clock.clone();
    Services {
        limits: Limits::alone(limit_settings(), Arc::clone(&clock)),
        cooldowns: Cooldowns::alone(Arc::clone(&clock)),
        clock,
        ..Services::alone()
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap()))
}

#[tokio::test]
async fn a_rate_limited_deployment_rests_at_once_and_comes_back_by_one_trial() {
    let (provider, clock) = (FakeProvider::start().await, clock());
    let entries = ["up-1", "up-2"].map(|model| entry(&provider, "a", model, json!({})));
    let gateway = start_over(entries, json!({"cooldown_time": 30}), over(&clock)).await;
    fails(&provider, "up-1", 429);
    while !called(&provider).contains(&"up-1".to_owned()) {
        assert_eq!(chat(&gateway, "a", json!({})).await.status, 200, "the sibling answers");
    }
    provider.reset();
    for _ in 0..20 {
        assert_eq!(chat(&gateway, "a", json!({})).await.header("x-litellm-model-id"), Some("up-2"));
    }
    let of = [("model_id", "up-1")];
    assert_eq!(metric(&gateway, "litellm_deployment_state", &of).await, [2.0]);
    let of = [("model_id", "up-1"), ("exception_status", "429")];
    assert_eq!(metric(&gateway, "litellm_deployment_cooled_down_total", &of).await, [1.0]);

    // Half open: one failure on trial is enough to rest again.
    clock.advance(Duration::from_secs(31));
    provider.always(Matcher::model("up-1"), Answer::status(500));
    provider.reset();
    provider.script(Matcher::model("up-1"), [Answer::status(500)]);
    for _ in 0..30 {
        assert_eq!(chat(&gateway, "a", json!({})).await.status, 200);
    }
    let count = called(&provider).iter().filter(|model| *model == "up-1").count();
    assert_eq!(count, 1, "the trial failed");
    clock.advance(Duration::from_secs(31));
    provider.reset();
    for _ in 0..30 {
        assert_eq!(chat(&gateway, "a", json!({})).await.status, 200);
    }
    assert!(called(&provider).iter().filter(|model| *model == "up-1").count() > 5, "it has recovered");
    assert_eq!(metric(&gateway, "litellm_deployment_state", &[("model_id", "up-1")]).await, [0.0]);
}

#[tokio::test]
async fn when_all_rest_the_client_is_told_for_how_long() {
    let (provider, clock) = (FakeProvider::start().await, clock());
    let entries = ["up-1", "up-2"].map(|model| entry(&provider, "a", model, json!({})));
    let gateway = start_over(entries, json!({"cooldown_time": 7}), over(&clock)).await;
    provider.always(Matcher::any(), Answer::directive("status=429"));
    let reply = chat(&gateway, "a", json!({})).await;
    assert_eq!((reply.status.as_u16(), called(&provider).len()), (429, 2), "each once, then nobody is left");
    assert_eq!(reply.json()["error"]["type"], "throttling_error", "the provider's own words");
    clock.advance(Duration::from_secs(2));
    let reply = chat(&gateway, "a", json!({})).await;
    assert_eq!(reply.status, 429);
    assert_eq!(number(&reply, "retry-after"), Some(5));
    let error = &reply.json()["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("all_deployments_in_cooldown"), &json!("429")));
    let message = error["message"].as_str().unwrap();
    for part in [
        "No deployments available for selected model, Try again in 5 seconds.",
        "All deployments for selected model are in cooldown.",
        "Passed model=a. pre-call-checks=false, cooldown_list=[up-",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(called(&provider).len(), 2, "nobody was bothered");
}

#[tokio::test]
async fn a_group_at_rest_has_its_fallbacks() {
    let (provider, clock) = (FakeProvider::start().await, clock());
    let entries = [("a", "up-1"), ("a", "up-2"), ("b", "up-b")]
        .map(|(group, model)| entry(&provider, group, model, json!({})));
    let router = json!({"cooldown_time": 60, "fallbacks": [{"a": ["b"]}]});
    let gateway = start_over(entries, router, over(&clock)).await;
    fails(&provider, "up-1", 429);
    fails(&provider, "up-2", 429);
    for _ in 0..3 {
        assert_eq!(chat(&gateway, "a", json!({})).await.json()["model"], "b");
    }
    assert_eq!(called(&provider).len(), 2 + 3);
}

#[tokio::test]
async fn the_only_deployment_is_kept_unless_its_failure_lasts() {
    for (status, rests) in [(429, false), (500, false), (401, true), (404, true), (402, false), (400, false)]
    {
        let (provider, clock) = (FakeProvider::start().await, clock());
        let entries = [entry(&provider, "a", "up-1", json!({}))];
        let gateway = start_over(entries, json!({"num_retries": 0}), over(&clock)).await;
        fails(&provider, "up-1", status);
        chat(&gateway, "a", json!({})).await;
        provider.reset();
        let reply = chat(&gateway, "a", json!({})).await;
        assert_eq!(reply.status == 429, rests, "{status}: {}", reply.json());
        assert_eq!(called(&provider).is_empty(), rests, "{status}");
    }
}

#[tokio::test]
async fn a_number_of_failures_can_be_set_and_a_reload_forgets_none() {
    let (provider, clock) = (FakeProvider::start().await, clock());
    let entries = || ["up-1", "up-2"].map(|model| entry(&provider, "a", model, json!({})));
    let router = json!({"allowed_fails": 2, "cooldown_time": 30, "num_retries": 1});
    let gateway = start_over(entries(), router.clone(), over(&clock)).await;
    fails(&provider, "up-1", 500);
    let count = || called(&provider).iter().filter(|model| *model == "up-1").count();
    while count() < 3 {
        assert_eq!(chat(&gateway, "a", json!({})).await.status, 200);
    }
    let more = entry(&provider, "b", "up-b", json!({}));
    gateway.swap(&config(entries().into_iter().chain([more]), router));
    for _ in 0..20 {
        chat(&gateway, "a", json!({})).await;
    }
    assert_eq!(count(), 3, "three failures, then it rests, also under the next configuration");
}

#[tokio::test]
async fn cooldowns_can_be_switched_off() {
    let (provider, clock) = (FakeProvider::start().await, clock());
    let own = |model, time| entry(&provider, "a", model, json!({"cooldown_time": time}));
    let entries = [own("up-1", 0), own("up-2", 60)];
    let gateway = start_over(entries, json!({"num_retries": 3}), over(&clock)).await;
    provider.always(Matcher::any(), Answer::status(429));
    chat(&gateway, "a", json!({})).await;
    let called = called(&provider);
    let count = |model: &str| called.iter().filter(|it| *it == model).count();
    assert_eq!((count("up-2"), count("up-1") > 1), (1, true), "{called:?}");
}
