//! Embeddings: what was embedded before is not sent again.

use std::time::Duration;

use faregate_fake_provider::{Answer, Faults, Matcher, Scenario};
use serde_json::{Value, json};

use super::*;

const EMBEDDINGS: &str = "/v1/embeddings";

async fn cached(params: Value) -> Cached {
    let provider = FakeProvider::start().await;
    let mut config: Value = serde_json::from_str(&with_settings(&provider, caching(params))).unwrap();
    let base = provider.url();
    let more = [
        (
            "embed",
            json!({"model": "openai/text-embedding-3-small", "api_key": "sk-up", "api_base": format!("{base}/v1")}),
        ),
        ("embed-2", json!({"model": "cohere/embed-v4.0", "api_key": "co-up", "api_base": base})),
    ];
    let list = config["model_list"].as_array_mut().unwrap();
    list.extend(more.map(|(name, params)| json!({"model_name": name, "litellm_params": params})));
    let gateway = Gateway::start(&config.to_string()).await;
    Cached { provider, gateway }
}

impl Cached {
    async fn embed(&self, model: &str, input: Value) -> Reply {
        let reply = self.gateway.post(EMBEDDINGS, &json!({"model": model, "input": input})).await;
        assert_eq!(reply.status, 200, "{}", reply.json());
        reply
    }

    /// The texts that the last call to the provider embedded.
    fn sent(&self) -> Value {
        let last = self.provider.requests().pop().unwrap().json();
        if last["texts"].is_array() { last["texts"].clone() } else { last["input"].clone() }
    }
}

fn vectors(reply: &Reply) -> Vec<Value> {
    reply.json()["data"].as_array().unwrap().iter().map(|row| row["embedding"].clone()).collect()
}

#[tokio::test]
async fn only_new_texts_are_embedded_whatever_list_the_others_stood_in() {
    for model in ["embed", "embed-2"] {
        let cached = cached(json!({})).await;
        let mut receipts = cached.gateway.receipts();
        let first = cached.embed(model, json!(["one of the first texts", "two of them"])).await;
        let paid = receipts.next().await;
        let second = cached.embed(model, json!(["two of them", "three", "one of the first texts"])).await;
        assert_eq!(cached.sent(), json!(["three"]), "{model}");
        let (old, new) = (vectors(&first), vectors(&second));
        assert_eq!((&new[0], &new[2]), (&old[1], &old[0]), "{model}");
        assert_ne!(new[1], new[0]);
        let indexes: Vec<_> =
            second.json()["data"].as_array().unwrap().iter().map(|row| row["index"].as_u64()).collect();
        assert_eq!(indexes, [Some(0), Some(1), Some(2)]);
        let part = receipts.next().await;
        assert!(
            part.usage.input < paid.usage.input && part.usage.input > 0,
            "{model}: only the new text is paid"
        );
        assert_eq!(part.log.cache_hit, Some(false));
        let told = second.json()["usage"]["prompt_tokens"].as_u64().unwrap();
        assert_eq!(told, part.usage.input + paid.usage.input, "the client is told of all of them");
        // A text alone is the same as a list of it.
        let alone = cached.embed(model, json!("three")).await;
        assert_eq!(vectors(&alone)[0], new[1]);
        assert!(is_hit(&alone));
        let free = receipts.next().await;
        assert_eq!((free.cost, free.log.cache_hit), (Some(faregate_terms::PicoUsd::ZERO), Some(true)));
        assert_eq!(alone.header("x-litellm-response-cost"), Some("0"));
        assert_eq!(cached.calls(), 2, "{model}");
    }
}

#[tokio::test]
async fn a_vector_of_another_length_form_or_model_is_another_answer() {
    let cached = cached(json!({})).await;
    let bodies = [
        json!({"model": "embed", "input": "x"}),
        json!({"model": "embed", "input": "x", "dimensions": 8}),
        json!({"model": "embed", "input": "x", "encoding_format": "base64"}),
        json!({"model": "embed-2", "input": "x"}),
        json!({"model": "embed", "input": [1, 2]}),
        json!({"model": "embed", "input": [[1, 2]], "user": "u"}),
    ];
    for (index, body) in bodies.iter().enumerate() {
        let reply = cached.gateway.post(EMBEDDINGS, body).await;
        assert!(!is_hit(&reply), "{body}");
        assert_eq!(cached.calls(), index as u64 + 1);
    }
    for body in &bodies {
        assert!(is_hit(&cached.gateway.post(EMBEDDINGS, body).await), "{body}");
    }
    assert_eq!(cached.calls(), bodies.len() as u64);
}

#[tokio::test]
async fn the_request_decides_whether_it_is_looked_up_and_kept() {
    let cached = cached(json!({})).await;
    let with = |cache: Value| json!({"model": "embed", "input": "x", "cache": cache});
    assert!(!is_hit(&cached.gateway.post(EMBEDDINGS, &with(json!({"no-store": true}))).await));
    assert!(!is_hit(&cached.gateway.post(EMBEDDINGS, &with(json!({}))).await), "nothing was stored");
    assert!(is_hit(&cached.gateway.post(EMBEDDINGS, &with(json!({}))).await));
    assert!(!is_hit(&cached.gateway.post(EMBEDDINGS, &with(json!({"no-cache": true}))).await));
    assert_eq!(cached.calls(), 3);
}

#[tokio::test]
async fn call_types_that_are_not_listed_are_not_kept() {
    let cached = cached(json!({"supported_call_types": ["acompletion"]})).await;
    for _ in 0..2 {
        assert!(!is_hit(&cached.embed("embed", json!("x")).await));
    }
    assert_eq!(cached.calls(), 2);
}

#[tokio::test]
async fn the_same_at_the_same_time_is_embedded_once() {
    let cached = cached(json!({})).await;
    let slow = Scenario {
        faults: Faults { first_byte: Duration::from_millis(300), ..Faults::default() },
        ..Scenario::default()
    };
    cached.provider.always(Matcher::any(), Answer::Scenario(Box::new(slow)));
    let body = json!({"model": "embed", "input": ["one", "two"]});
    let all = futures_util::future::join_all((0..8).map(|_| cached.gateway.post(EMBEDDINGS, &body))).await;
    assert_eq!(cached.calls(), 1);
    assert_eq!(all.iter().filter(|reply| is_hit(reply)).count(), 7);
    for reply in &all {
        assert_eq!(vectors(reply), vectors(&all[0]));
    }
}
