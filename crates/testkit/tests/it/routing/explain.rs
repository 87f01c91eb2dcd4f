//! What `/route/explain` says is what a request then does, and what a request says of itself.

use std::sync::Arc;

use faregate_config::Env;
use faregate_fake_provider::FakeProvider;
use faregate_gateway::caller::{Caller, Subject};
use faregate_gateway::gate::Services;
use faregate_gateway::ports::{PrincipalSource, Then, Which};
use faregate_gateway::principals::Principals;
use faregate_router::strategy::STRATEGIES;
use faregate_router::{Dice, Seeded};
use faregate_terms::KeyHash;
use faregate_testkit::{Client, Gateway, Reply};
use serde_json::{Value, json};

use super::{ask, called, chat, config, entry, fails, start};

async fn explained(gateway: &Gateway, group: &str, more: Value) -> Value {
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

/// The same request, asked to explain itself.
async fn explains_itself(client: Client, group: &str, more: Value) -> (Reply, Option<Value>) {
    let client = client.with("x-faregate-explain", "true");
    let reply = client.post("/v1/chat/completions", &ask(group, more)).await;
    let told = reply.header("x-faregate-explain").map(|text| serde_json::from_str(text).unwrap());
    (reply, told)
}

#[tokio::test]
async fn with_the_same_dice_every_strategy_does_what_is_explained() {
    let provider = FakeProvider::start().await;
    for (number, strategy) in STRATEGIES.iter().enumerate() {
        let mut dice = Seeded::new(100 + number as u64);
        let entries: Vec<Value> = (0..5).map(|number| random(&provider, number, &mut dice)).collect();
        let gateway = start(entries, json!({"routing_strategy": strategy.name, "num_retries": 0})).await;
        for seed in 1..20 {
            gateway.gate().fix_dice(seed);
            let says = explained(&gateway, "a", json!({})).await;
            let (reply, told) = explains_itself(gateway.client(), "a", json!({})).await;
            let told = told.unwrap();
            assert_eq!(told["plan"], says["plan"], "{}: {told} {says}", strategy.name);
            assert_eq!(reply.header("x-litellm-model-id"), says["plan"][0][0].as_str());
            assert_eq!((&told["answered_by"], &told["strategy"]), (&says["plan"][0][0], &says["strategy"]));
            let score = |told: &Value| -> Vec<Value> {
                told["candidates"].as_array().unwrap().iter().map(|row| row["score"].clone()).collect()
            };
            assert_eq!(score(&told), score(&says), "{}", strategy.name);
            assert_eq!(reply.json()["object"], "chat.completion", "the body is as ever");
        }
    }
}

#[tokio::test]
async fn an_answer_and_a_refusal_tell_every_call_and_why() {
    let provider = FakeProvider::start().await;
    let names: Vec<String> = (0..300).map(|number| format!("up-ü-{number}")).collect();
    let large = names.iter().map(|name| entry(&provider, "large", name, json!({})));
    let small = ["up-1", "up-2"].map(|name| entry(&provider, "a", name, json!({"order": 1})));
    let gateway = start(large.chain(small), json!({"disable_cooldowns": true})).await;
    fails(&provider, "up-1", 503);
    fails(&provider, "up-2", 503);
    let (reply, told) = explains_itself(gateway.client(), "a", json!({"num_retries": 1})).await;
    let told = told.unwrap();
    assert_eq!(reply.status, 503);
    let faults: Vec<&Value> = told["attempts"].as_array().unwrap().iter().map(|it| &it["fault"]).collect();
    assert_eq!(faults, ["ServiceUnavailableError"; 2], "{told}");
    let (reply, told) = explains_itself(gateway.client(), "large", json!({})).await;
    let (told, length) = (told.unwrap(), reply.header("x-faregate-explain").unwrap().len());
    assert!(length <= 4096 && told["candidates_left_out"].as_u64() > Some(0), "{length}: {told}");
    assert_eq!(told["answered_by"], told["plan"][0][0], "beyond ASCII as well: {told}");
}

/// Every key may chat; only `sk-curious` may ask for explanations.
struct Curious;

impl PrincipalSource for Curious {
    fn key(&self, hash: KeyHash, then: Then<Caller>) {
        let mut routes = vec!["/v1/chat/completions".to_owned()];
        if hash == KeyHash::of("sk-curious") {
            routes.push("/route/explain".to_owned());
        }
        then(Ok(Some(Arc::new(Caller { routes, ..Caller::default() }))));
    }

    fn subject(&self, _: &Which, then: Then<Subject>) {
        then(Ok(None));
    }
}

#[tokio::test]
async fn a_key_that_may_not_ask_is_not_told() {
    let provider = FakeProvider::start().await;
    let mut services = Services::alone();
    services.principals = Some(Arc::new(Principals::new(Arc::new(Curious))));
    let config = config([entry(&provider, "a", "up-1", json!({}))], json!({}));
    let gateway = Gateway::start_over(&config, &Env::empty(), services).await;
    let address = gateway.url().trim_start_matches("http://").parse().unwrap();
    for (key, is_told) in [("sk-curious", true), ("sk-plain", false)] {
        let (reply, told) = explains_itself(Client::new(address, key), "a", json!({})).await;
        assert_eq!((reply.status.as_u16(), told.is_some()), (200, is_told), "{key}");
    }
}
