//! Streams that begin and then trickle: given up for another deployment before anything of them went out.

use std::time::Duration;

use faregate_terms::FaultClass;

use super::*;

fn guarded() -> Value {
    json!({"num_retries": 1, "stream_guard": {"a": {"tokens": 10, "within": 0.2}}})
}

/// Deployments `up-1`, which comes first, and `up-2`, whose tokens cost a cent each.
async fn two(provider: &FakeProvider) -> Gateway {
    let priced = |model, weight| {
        let params = json!({"weight": weight, "input_cost_per_token": 0, "output_cost_per_token": 0.01});
        entry(provider, "a", model, params)
    };
    let gateway = start([priced("up-1", 1000.0), priced("up-2", 0.001)], guarded()).await;
    gateway.gate().fix_dice(7);
    gateway
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
    let gateway = two(&provider).await;
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
    let gateway = two(&provider).await;
    provider.always(Matcher::model("up-1"), Answer::directive("tokens=40 cut_after=4"));
    provider.always(Matcher::model("up-2"), Answer::text("whole"));
    assert_eq!(answered(&gateway).await, "whole");
}

#[tokio::test]
async fn short_answers_pass_and_the_only_deployment_may_trickle() {
    let provider = FakeProvider::start().await;
    let gateway = two(&provider).await;
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
