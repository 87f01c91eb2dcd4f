//! What `/route/explain` says is what a request then does.

use faregate_fake_provider::FakeProvider;
use faregate_router::{Dice, Seeded};
use serde_json::{Value, json};

use super::{called, chat, entry, fails, start};

async fn explained(gateway: &faregate_testkit::Gateway, group: &str, more: Value) -> Value {
    let reply = gateway.post("/route/explain", &super::ask(group, more)).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.json()
}

/// A deployment with settings by chance.
fn random(provider: &FakeProvider, number: usize, dice: &mut Seeded) -> Value {
    let mut pick = |of: u64| (dice.roll() * of as f64) as u64;
    let (tag, region) = (["red", "blue", "default"][pick(3) as usize], ["eu", "us"][pick(2) as usize]);
    let mut more = json!({
        "order": 1 + pick(2), "tags": [tag], "region_name": region,
        "input_cost_per_token": (1 + number) as f64 * 1e-6, "output_cost_per_token": 0.0,
        "model_info": {"max_input_tokens": 20 + pick(2) * 1000},
    });
    if pick(2) == 0 {
        more.as_object_mut().unwrap().remove("order");
    }
    entry(provider, "a", &format!("up-{number}"), more)
}

#[tokio::test]
async fn the_live_path_does_what_is_explained() {
    let provider = FakeProvider::start().await;
    for seed in 0..40 {
        let mut dice = Seeded::new(seed);
        let entries: Vec<Value> = (0..5).map(|number| random(&provider, number, &mut dice)).collect();
        let router = json!({
            "routing_strategy": "cost-based-routing", "enable_tag_filtering": true, "enable_pre_call_checks": true,
            "num_retries": 0,
        });
        let gateway = start(entries, router).await;
        for tags in ["red", "blue", "none"] {
            let text = vec!["word"; if dice.roll() < 0.5 { 5 } else { 100 }].join(" ");
            let mut more = json!({"tags": [tags], "messages": [{"role": "user", "content": text}]});
            if dice.roll() < 0.3 {
                more["allowed_model_region"] = json!("eu");
            }
            provider.reset();
            let says = explained(&gateway, "a", more.clone()).await;
            assert_eq!(called(&provider), Vec::<String>::new(), "nobody is called");
            let does = chat(&gateway, "a", more.clone()).await;
            let first = says["plan"][0][0].as_str();
            assert_eq!(does.header("x-litellm-model-id"), first, "seed {seed} {more}: {says}");
            let refused = says["refusal"]["status"].as_u64();
            assert_eq!(refused, (does.status != 200).then(|| does.status.as_u16().into()), "{says}");
            let fit =
                says["candidates"].as_array().unwrap().iter().filter(|row| row["excluded"].is_null()).count();
            let planned: usize =
                says["plan"].as_array().unwrap().iter().map(|it| it.as_array().unwrap().len()).sum();
            assert_eq!(fit, planned, "{says}");
        }
    }
}

#[tokio::test]
async fn it_tells_who_rests_and_where_a_failure_leads() {
    let provider = FakeProvider::start().await;
    let entries = [("a", "up-1"), ("a", "up-2"), ("b", "up-b"), ("big", "up-big")]
        .map(|(group, model)| entry(&provider, group, model, json!({})));
    let router = json!({"cooldown_time": 60, "fallbacks": [{"a": ["b"]}], "context_window_fallbacks": [{"a": ["big"]}]});
    let gateway = start(entries, router).await;
    fails(&provider, "up-1", 429);
    while !called(&provider).contains(&"up-1".to_owned()) {
        chat(&gateway, "a", json!({})).await;
    }
    let says = explained(&gateway, "a", json!({})).await;
    assert_eq!(says["plan"], json!([["up-2"]]), "{says}");
    let resting = &says["candidates"][0];
    assert_eq!((&resting["excluded"], &resting["rests_for"]), (&json!("cooldown"), &json!("429")));
    assert_eq!(says["fallbacks"], json!(["b"]));
    assert_eq!(says["context_window_fallbacks"], json!(["big"]));
    assert_eq!(says["content_policy_fallbacks"], json!(["b"]));
    let own = explained(&gateway, "a", json!({"fallbacks": ["big"]})).await;
    assert_eq!(own["fallbacks"], json!(["big"]));
}
