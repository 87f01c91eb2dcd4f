//! Streams that begin and then trickle: given up for another deployment before anything of them went out.

use std::time::Duration;

use faregate_terms::FaultClass;

use super::*;

fn guarded() -> Value {
    json!({"num_retries": 1, "stream_guard": {"a": {"tokens": 10, "within": 0.2}}})
}

/// Deployments `up-1`, tried first, and `up-2`, whose tokens cost a cent each.
fn two(provider: &FakeProvider) -> Vec<Value> {
    let price = json!({"order": 1, "input_cost_per_token": 0, "output_cost_per_token": 0.01});
    let mut second = price.clone();
    second["order"] = json!(2);
    vec![entry(provider, "a", "up-1", price), entry(provider, "a", "up-2", second)]
}

async fn answered(gateway: &Gateway) -> String {
    let frames = gateway.stream("/v1/chat/completions", &ask("a", json!({"stream": true}))).await;
    assert_eq!(frames.last().unwrap().data, "[DONE]");
    let texts = frames.iter().filter_map(|frame| frame.json());
    texts.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_stream_that_trickles_is_given_up_for_one_that_flows() {
    let provider = FakeProvider::start().await;
    // Both of one order: a guard turns to a deployment of the same level.
    let mut entries = two(&provider);
    entries
        .iter_mut()
        .for_each(|entry| drop(entry["litellm_params"].as_object_mut().unwrap().remove("order")));
    entries[0]["litellm_params"]["weight"] = json!(1000);
    entries[1]["litellm_params"]["weight"] = json!(0.001);
    let gateway = start(entries, guarded()).await;
    gateway.gate().fix_dice(7);
    let mut receipts = gateway.receipts();
    provider.always(Matcher::model("up-1"), Answer::directive("tokens=40 delay_ms=60"));
    provider.always(Matcher::model("up-2"), Answer::text("a full answer at once"));
    assert_eq!(answered(&gateway).await, "a full answer at once");
    assert_eq!(called(&provider), ["up-1", "up-2"]);
    provider.cancelled().await;
    let receipt = receipts.next().await;
    let first = &receipt.attempts[0];
    assert_eq!((first.deployment.as_str(), first.fault), ("up-1", Some(FaultClass::Timeout)));
    let lost = first.discarded.as_ref().unwrap().cost.unwrap();
    assert!(lost.pico() > 0 && receipt.log.discarded_cost == lost, "what came of it is paid: {lost:?}");
    assert!(receipt.cost.unwrap().pico() > lost.pico());
    let ttft = receipt.ttft.unwrap();
    assert!(ttft >= Duration::from_millis(200), "the first token is that of the second answer: {ttft:?}");
}

#[tokio::test]
async fn a_stream_that_breaks_while_it_is_watched_is_another_ones() {
    let provider = FakeProvider::start().await;
    let mut entries = two(&provider);
    entries
        .iter_mut()
        .for_each(|entry| drop(entry["litellm_params"].as_object_mut().unwrap().remove("order")));
    entries[0]["litellm_params"]["weight"] = json!(1000);
    entries[1]["litellm_params"]["weight"] = json!(0.001);
    let gateway = start(entries, guarded()).await;
    gateway.gate().fix_dice(7);
    provider.always(Matcher::model("up-1"), Answer::directive("tokens=40 cut_after=4"));
    provider.always(Matcher::model("up-2"), Answer::text("whole"));
    assert_eq!(answered(&gateway).await, "whole");
}

#[tokio::test]
async fn short_answers_pass_and_the_only_deployment_may_trickle() {
    let provider = FakeProvider::start().await;
    let gateway = start(two(&provider), guarded()).await;
    provider.always(Matcher::model("up-1"), Answer::text("short"));
    assert_eq!(answered(&gateway).await, "short");
    assert_eq!(called(&provider), ["up-1"]);
    let third = || entry(&provider, "a", "up-3", json!({}));
    let once = json!({"num_retries": 0, "stream_guard": {"a": {"tokens": 10, "within": 0.2}}});
    provider.always(Matcher::model("up-3"), Answer::directive("tokens=12 delay_ms=40"));
    for gateway in [start([third()], guarded()).await, start([third(), third()], once).await] {
        assert!(answered(&gateway).await.contains("tok11"), "slow is better than nothing");
    }
}
