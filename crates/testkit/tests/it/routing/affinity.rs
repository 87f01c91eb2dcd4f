//! Requests that belong together go to one deployment, while it is well.

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::gate::Services;
use faregate_testkit::Gateway;
use serde_json::{Value, json};

use super::{ask, chat, entry, fails, metric, start, start_over};

async fn two(provider: &FakeProvider, checks: Value) -> Gateway {
    let prices = json!({
        "input_cost_per_token": 1e-6, "output_cost_per_token": 0.0, "cache_read_input_token_cost": 1e-7,
    });
    let entries = ["up-1", "up-2"].map(|model| entry(provider, "a", model, prices.clone()));
    start(entries, json!({"optional_pre_call_checks": checks, "cooldown_time": 600})).await
}

/// A conversation after so many turns, its last message marked as worth caching.
fn conversation(topic: &str, turns: usize) -> Value {
    let text = |turn: usize| format!("{topic} {turn} {}", "word ".repeat(600));
    let mut messages: Vec<Value> = Vec::new();
    for turn in 0..turns {
        messages.push(json!({"role": "user", "content": [{"type": "text", "text": text(turn)}]}));
        messages.push(json!({"role": "assistant", "content": "yes"}));
    }
    let marked = json!({"type": "text", "text": text(turns), "cache_control": {"type": "ephemeral"}});
    messages.push(json!({"role": "user", "content": [marked]}));
    json!({"messages": messages})
}

async fn served_by(gateway: &Gateway, body: Value) -> String {
    let reply = chat(gateway, "a", body).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.header("x-litellm-model-id").unwrap().to_owned()
}

#[tokio::test]
async fn a_conversation_stays_where_its_beginning_is_cached_and_moves_when_that_rests() {
    let provider = FakeProvider::start().await;
    let gateway = two(&provider, json!(["prompt_caching"])).await;
    let mut homes = Vec::new();
    for topic in 0..8 {
        let topic = format!("topic-{topic}");
        let home = served_by(&gateway, conversation(&topic, 1)).await;
        for turns in 2..6 {
            assert_eq!(served_by(&gateway, conversation(&topic, turns)).await, home, "{topic} {turns}");
        }
        homes.push(home);
    }
    assert!(homes.contains(&"up-1".to_owned()) && homes.contains(&"up-2".to_owned()), "{homes:?}");
    let (home, other) = if homes[0] == "up-1" { ("up-1", "up-2") } else { ("up-2", "up-1") };
    let says = gateway.post("/route/explain", &ask("a", conversation("topic-0", 6))).await.json();
    assert_eq!((&says["plan"][0][0], &says["strategy"]), (&json!(home), &json!("prompt_caching")));
    fails(&provider, home, 429);
    for turns in 6..10 {
        assert_eq!(served_by(&gateway, conversation("topic-0", turns)).await, other);
    }
    let kept = metric(&gateway, "faregate_affinity_total", &[("check", "prompt_caching")]).await;
    assert!(kept[0] >= 8.0 * 4.0, "{kept:?}");
}

#[tokio::test]
async fn what_the_prompt_cache_saved_is_counted() {
    let provider = FakeProvider::start().await;
    let gateway = two(&provider, json!(["prompt_caching"])).await;
    let mut receipts = gateway.receipts();
    provider.always(Matcher::any(), Answer::directive("scenario=cache"));
    for turns in 1..3 {
        served_by(&gateway, conversation("saving", turns)).await;
    }
    assert_eq!(receipts.next().await.log.metadata, None, "the first went anywhere");
    let metadata: Value = serde_json::from_str(receipts.next().await.log.metadata.as_ref().unwrap()).unwrap();
    // 800 of 1000 tokens at a tenth of their price.
    let expected = json!({"check": "prompt_caching", "prompt_cache_saved": 0.00072});
    assert_eq!(metadata["faregate_affinity"], expected);
    let saved = metric(&gateway, "faregate_affinity_saved_usd_total", &[("model_group", "a")]).await;
    assert!((saved[0] - 0.00072).abs() < 1e-9, "{saved:?}");
}

#[tokio::test]
async fn a_session_and_a_caller_stay_and_short_prompts_do_not() {
    let provider = FakeProvider::start().await;
    let sessions = two(&provider, json!(["session_affinity"])).await;
    let mut homes = Vec::new();
    for session in 0..8 {
        let body = || json!({"litellm_session_id": format!("s{session}")});
        let home = served_by(&sessions, body()).await;
        for _ in 0..4 {
            assert_eq!(served_by(&sessions, body()).await, home);
        }
        homes.push(home);
    }
    assert!(homes.contains(&"up-1".to_owned()) && homes.contains(&"up-2".to_owned()), "{homes:?}");
    let callers = two(&provider, json!(["deployment_affinity"])).await;
    let home = served_by(&callers, json!({})).await;
    for _ in 0..10 {
        assert_eq!(served_by(&callers, json!({})).await, home, "one key, one deployment");
    }
    let short = two(&provider, json!(["prompt_caching"])).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.push(served_by(&short, json!({})).await);
    }
    assert!(seen.contains(&"up-1".to_owned()) && seen.contains(&"up-2".to_owned()), "{seen:?}");
}

async fn response(gateway: &Gateway, body: Value) -> (String, Value) {
    let mut whole = json!({"model": "a", "store": true});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let reply = gateway.post("/v1/responses", &whole).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    (reply.header("x-litellm-model-id").unwrap().to_owned(), reply.json())
}

#[tokio::test]
async fn a_response_is_gone_on_from_where_it_was_made() {
    let provider = FakeProvider::start().await;
    let gateway = two(&provider, json!(["responses_api_deployment_check"])).await;
    let mut homes = Vec::new();
    for number in 0..8 {
        let (home, mut answer) = response(&gateway, json!({"input": format!("question {number}")})).await;
        for _ in 0..3 {
            let next = json!({"input": "and then?", "previous_response_id": answer["id"]});
            let (served, later) = response(&gateway, next).await;
            assert_eq!(served, home);
            answer = later;
        }
        homes.push(home);
    }
    assert!(homes.contains(&"up-1".to_owned()) && homes.contains(&"up-2".to_owned()), "{homes:?}");
}

#[tokio::test]
async fn sealed_reasoning_goes_back_to_who_sealed_it() {
    for stream in [false, true] {
        let provider = FakeProvider::start().await;
        provider.always(Matcher::any(), Answer::directive("reasoning=1"));
        let gateway = two(&provider, json!(["encrypted_content_affinity"])).await;
        let mut homes = Vec::new();
        for number in 0..8 {
            let question = json!({"role": "user", "content": format!("question {number} {stream}")});
            let asked = json!({
                "store": false, "include": ["reasoning.encrypted_content"], "input": [question], "stream": stream,
                "reasoning": {"effort": "low"},
            });
            let (home, answer) = if stream {
                let mut body = asked.clone();
                body["model"] = json!("a");
                let reply = gateway.post("/v1/responses", &body).await;
                let home = reply.header("x-litellm-model-id").unwrap().to_owned();
                let frames = faregate_testkit::frames(&reply.text());
                let last = frames
                    .iter()
                    .filter_map(|frame| frame.json())
                    .find(|it| it["type"] == "response.completed");
                (home, last.unwrap()["response"].clone())
            } else {
                response(&gateway, asked).await
            };
            let mut input = vec![question];
            input.extend(answer["output"].as_array().unwrap().clone());
            assert!(input[1]["encrypted_content"].is_string(), "{answer}");
            input.push(json!({"role": "user", "content": "and then?"}));
            for _ in 0..3 {
                let (served, _) = response(&gateway, json!({"store": false, "input": input})).await;
                assert_eq!(served, home, "stream {stream}");
            }
            homes.push(home);
        }
        assert!(homes.contains(&"up-1".to_owned()) && homes.contains(&"up-2".to_owned()), "{homes:?}");
    }
}

#[tokio::test]
async fn replicas_that_hear_of_each_other_keep_a_session_where_it_is() {
    let provider = FakeProvider::start().await;
    let prices = json!({"input_cost_per_token": 1e-6, "output_cost_per_token": 0.0});
    // The other replica has read its models in another order.
    let entries = |names: [&str; 2]| names.map(|name| entry(&provider, "a", name, prices.clone()));
    let router = json!({"optional_pre_call_checks": ["session_affinity"]});
    let affinity = Services::alone().affinity;
    let services = || Services { affinity: affinity.clone(), ..Services::alone() };
    let here = start_over(entries(["up-1", "up-2"]), router.clone(), services()).await;
    let other = entry(&provider, "z", "up-z", json!({}));
    let there = start_over(std::iter::once(other).chain(entries(["up-2", "up-1"])), router, services()).await;
    let mut homes = Vec::new();
    for session in 0..8 {
        let body = || json!({"litellm_session_id": format!("s{session}")});
        let home = served_by(&here, body()).await;
        assert_eq!(served_by(&there, body()).await, home);
        homes.push(home);
    }
    assert!(homes.contains(&"up-1".to_owned()) && homes.contains(&"up-2".to_owned()), "{homes:?}");
}
