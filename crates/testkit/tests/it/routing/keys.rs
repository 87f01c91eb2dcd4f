//! Several keys of one deployment.

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::gate::Services;
use faregate_terms::FaultClass;
use serde_json::{Value, json};

use super::{chat, config, entry, start, start_over};

/// The last four characters of the key of each call.
fn keys(provider: &FakeProvider) -> Vec<String> {
    let of = |headers: &[(String, String)]| {
        let value = &headers.iter().find(|(name, _)| name == "authorization").unwrap().1;
        value[value.len() - 4..].to_owned()
    };
    provider.requests().iter().map(|request| of(&request.headers)).collect()
}

fn deployment(provider: &FakeProvider) -> Value {
    let own = json!({"api_key": "sk-number-aaaa", "api_keys": ["sk-number-bbbb", "sk-number-cccc"]});
    entry(provider, "a", "up-1", own)
}

#[tokio::test]
async fn a_dead_key_leaves_a_tired_one_rests_and_the_client_notices_nothing() {
    let provider = FakeProvider::start().await;
    let gateway = start([deployment(&provider)], json!({"num_retries": 0})).await;
    let mut receipts = gateway.receipts();
    provider.script(Matcher::any(), [Answer::status(401), Answer::directive("status=429 retry_after=60")]);
    assert_eq!(chat(&gateway, "a", json!({})).await.status, 200);
    assert_eq!(keys(&provider), ["aaaa", "bbbb", "cccc"]);
    let receipt = receipts.next().await;
    let faults: Vec<_> = receipt.attempts.iter().map(|note| note.fault).collect();
    assert_eq!(faults, [Some(FaultClass::Authentication), Some(FaultClass::RateLimit), None]);
    for _ in 0..5 {
        assert_eq!(chat(&gateway, "a", json!({"stream": true})).await.status, 200);
    }
    assert!(keys(&provider)[3..].iter().all(|key| key == "cccc"), "{:?}", keys(&provider));
    assert!(!gateway.gate().health.cooldowns().rests(&"up-1".into()), "the deployment is well");
}

#[tokio::test]
async fn well_keys_take_turns_and_without_one_the_client_gets_the_providers_words() {
    let provider = FakeProvider::start().await;
    let gateway = start([deployment(&provider)], json!({"num_retries": 0})).await;
    for _ in 0..6 {
        assert_eq!(chat(&gateway, "a", json!({})).await.status, 200);
    }
    assert_eq!(keys(&provider), ["aaaa", "bbbb", "cccc", "aaaa", "bbbb", "cccc"]);
    provider.reset();
    provider.always(Matcher::any(), Answer::status(401));
    let reply = chat(&gateway, "a", json!({})).await;
    assert_eq!((reply.status.as_u16(), keys(&provider).len()), (401, 3), "each key once");
    assert!(gateway.gate().health.cooldowns().rests(&"up-1".into()), "a deployment without a key rests");
}

#[tokio::test]
async fn what_one_replica_finds_out_of_a_key_others_and_later_configurations_know() {
    let provider = FakeProvider::start().await;
    let rests = Services::alone().key_rests;
    let services = || Services { key_rests: rests.clone(), ..Services::alone() };
    let here = start_over([deployment(&provider)], json!({"num_retries": 0}), services()).await;
    let there = start_over([deployment(&provider)], json!({"num_retries": 0}), services()).await;
    provider.script(Matcher::any(), [Answer::status(401)]);
    assert_eq!(chat(&here, "a", json!({})).await.status, 200);
    assert_eq!(keys(&provider), ["aaaa", "bbbb"]);
    for _ in 0..6 {
        assert_eq!(chat(&there, "a", json!({})).await.status, 200);
    }
    assert!(!keys(&provider)[2..].contains(&"aaaa".to_owned()), "{:?}", keys(&provider));
    provider.reset();
    let mut changed = deployment(&provider);
    changed["litellm_params"]["timeout"] = json!(60);
    there.swap(&config([changed.clone()], json!({"num_retries": 0})));
    for _ in 0..6 {
        assert_eq!(chat(&there, "a", json!({})).await.status, 200);
    }
    assert!(!keys(&provider).contains(&"aaaa".to_owned()), "a reload forgets none: {:?}", keys(&provider));
    changed["litellm_params"]["api_key"] = json!("sk-number-dddd");
    there.swap(&config([changed], json!({"num_retries": 0})));
    for _ in 0..6 {
        assert_eq!(chat(&there, "a", json!({})).await.status, 200);
    }
    assert!(keys(&provider).contains(&"dddd".to_owned()), "another key in its place is well");
}
