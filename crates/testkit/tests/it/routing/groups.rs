//! Groups with a strategy of their own, and calls beyond a group's retries.

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_testkit::Gateway;
use serde_json::{Value, json};

use super::{called, chat, entry, fails, start};

async fn served_by(gateway: &Gateway, group: &str) -> String {
    let reply = chat(gateway, group, json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.header("x-litellm-model-id").unwrap().to_owned()
}

/// Groups `a` and `b` with a dear and a cheap deployment each.
async fn four(provider: &FakeProvider, router: Value) -> Gateway {
    let own = |model: &'static str, price: f64| {
        entry(
            provider,
            &model[..1],
            model,
            json!({"input_cost_per_token": price, "output_cost_per_token": price}),
        )
    };
    let entries = [own("a-dear", 9e-6), own("a-cheap", 2e-6), own("b-dear", 9e-6), own("b-cheap", 1e-6)];
    start(entries, router).await
}

#[tokio::test]
async fn a_group_has_its_own_strategy_and_others_the_routers() {
    let provider = FakeProvider::start().await;
    let groups = json!([{"group_name": "saving", "models": ["a"], "routing_strategy": "cost-based-routing"}]);
    let gateway = four(&provider, json!({"routing_groups": groups})).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        assert_eq!(served_by(&gateway, "a").await, "a-cheap");
        seen.push(served_by(&gateway, "b").await);
    }
    assert!(seen.contains(&"b-dear".to_owned()) && seen.contains(&"b-cheap".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn a_groups_name_stands_for_the_deployments_of_all_its_models() {
    let provider = FakeProvider::start().await;
    let groups =
        json!([{"group_name": "all", "models": ["a", "b"], "routing_strategy": "cost-based-routing"}]);
    let gateway =
        four(&provider, json!({"routing_groups": groups, "num_retries": 3, "cooldown_time": 0})).await;
    assert_eq!(served_by(&gateway, "all").await, "b-cheap");
    fails(&provider, "b-cheap", 500);
    let reply = chat(&gateway, "all", json!({})).await;
    assert_eq!(reply.header("x-litellm-model-id"), Some("a-cheap"), "the next in price, of another model");
    assert_eq!((reply.header("x-litellm-model-group"), &reply.json()["model"]), (Some("all"), &json!("all")));
    let listed = gateway.get("/v1/models").await.json();
    let ids: Vec<_> = listed["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert!(ids.contains(&&json!("all")), "{ids:?}");
}

#[tokio::test]
async fn priorities_are_tried_in_their_order() {
    let provider = FakeProvider::start().await;
    let groups = json!([{
        "group_name": "best", "models": ["a", "b"], "routing_strategy": "priority",
        "model_priorities": {"b": 1, "a": 2},
    }]);
    let gateway =
        four(&provider, json!({"routing_groups": groups, "num_retries": 1, "cooldown_time": 0})).await;
    for _ in 0..8 {
        assert!(served_by(&gateway, "best").await.starts_with('b'));
    }
    fails(&provider, "b-dear", 500);
    fails(&provider, "b-cheap", 500);
    assert!(served_by(&gateway, "best").await.starts_with('a'), "the next order, when the first has failed");
    assert!(served_by(&gateway, "a").await.starts_with('a'), "the models keep their names");
}

#[tokio::test]
async fn only_groups_whose_strategy_keeps_to_rates_do() {
    let provider = FakeProvider::start().await;
    let entries = ["a", "b"].map(|name| entry(&provider, name, name, json!({"rpm": 2})));
    let groups =
        json!([{"group_name": "even", "models": ["a"], "routing_strategy": "usage-based-routing-v2"}]);
    let gateway = start(entries, json!({"routing_groups": groups, "num_retries": 0})).await;
    for (group, expected) in [("a", [200, 200, 429]), ("b", [200; 3])] {
        for status in expected {
            assert_eq!(chat(&gateway, group, json!({})).await.status, status, "{group}");
        }
    }
}

/// A group of four, of which the last to be tried answers.
async fn last_of_four(provider: &FakeProvider, more: Value) -> Gateway {
    let names = ["up-1", "up-2", "up-3", "up-4"];
    let shares = [1e6, 1e3, 1.0, 1e-3];
    let entries =
        names.iter().zip(shares).map(|(name, weight)| entry(provider, "a", name, json!({"weight": weight})));
    for name in &names[..3] {
        provider.always(Matcher::model(*name), Answer::status(500));
    }
    let mut router = json!({"num_retries": 0, "cooldown_time": 0, "enable_weighted_failover": true});
    router.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    start(entries, router).await
}

#[tokio::test]
async fn a_group_fails_over_to_all_of_its_deployments_as_far_as_it_may() {
    for (router, body, calls, status) in [
        (json!({}), json!({}), 4, 200),
        (json!({"num_retries": 1}), json!({}), 4, 200),
        (json!({"max_fallbacks": 2}), json!({}), 3, 500),
        (json!({}), json!({"max_fallbacks": 1}), 2, 500),
        (json!({}), json!({"disable_fallbacks": true}), 1, 500),
        (json!({"enable_weighted_failover": false}), json!({}), 1, 500),
    ] {
        let provider = FakeProvider::start().await;
        let gateway = last_of_four(&provider, router.clone()).await;
        let reply = chat(&gateway, "a", body.clone()).await;
        assert_eq!((reply.status.as_u16(), called(&provider).len()), (status, calls), "{router} {body}");
    }
}

#[tokio::test]
async fn what_no_other_deployment_mends_is_not_failed_over() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::any(), Answer::status(400));
    let gateway = last_of_four(&provider, json!({})).await;
    assert_eq!(chat(&gateway, "a", json!({})).await.status, 400);
    assert_eq!(called(&provider), ["up-1"]);
}
