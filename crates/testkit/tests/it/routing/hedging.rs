//! A second call beside a slow one: the first to answer wins, the other is cancelled and on the receipt.

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_terms::{FaultClass, PicoUsd, Receipt};
use faregate_testkit::Gateway;
use serde_json::{Value, json};

use super::{ask, called, chat, config, entry, metric};

/// Two deployments of one group, of which `up-1` comes first, at a dollar per million tokens of prompt.
async fn hedged(provider: &FakeProvider, rule: Value) -> Gateway {
    let own = |model, weight| {
        let prices = json!({"input_cost_per_token": 1e-6, "output_cost_per_token": 0.0, "weight": weight});
        entry(provider, "a", model, prices)
    };
    let entries = [own("up-1", 1000.0), own("up-2", 0.0001)];
    Gateway::start(&config(entries, json!({"num_retries": 0, "hedging": {"a": rule}}))).await
}

/// A request that is answered at once: hedges are paid from what answers cost.
async fn earn(gateway: &Gateway) {
    assert_eq!(chat(gateway, "a", json!({})).await.status, 200);
}

fn deployments(receipt: &Receipt) -> Vec<(&str, bool, Option<FaultClass>)> {
    let of = receipt.attempts.iter();
    of.map(|note| (note.deployment.as_str(), note.discarded.is_some(), note.fault)).collect()
}

#[tokio::test]
async fn the_second_call_answers_when_the_first_does_not_and_both_are_paid() {
    for stream in [true, false] {
        let provider = FakeProvider::start().await;
        let gateway = hedged(&provider, json!({"after": 0.05, "max_extra_spend": 100})).await;
        earn(&gateway).await;
        let mut receipts = gateway.receipts();
        provider.always(Matcher::model("up-1"), Answer::directive("stall_after=0"));
        let reply = chat(&gateway, "a", json!({"stream": stream})).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-litellm-model-id")), (200, Some("up-2")));
        provider.cancelled().await;
        let receipt = receipts.next().await;
        assert_eq!(deployments(&receipt), [("up-1", true, None), ("up-2", false, None)], "stream {stream}");
        let discarded = receipt.attempts[0].discarded.and_then(|it| it.cost).unwrap();
        assert!(discarded > PicoUsd::ZERO && receipt.log.discarded_cost == discarded, "{receipt:?}");
        let own = i128::from(receipt.usage.input) * 1_000_000;
        assert_eq!(receipt.cost, Some(PicoUsd::from_pico(own) + discarded), "both are paid");
        assert_eq!(receipt.deployment.as_ref().map(|id| id.as_str()), Some("up-2"));
        let won = [("model_group", "a"), ("outcome", "won")];
        assert_eq!(metric(&gateway, "faregate_hedges_total", &won).await, [1.0]);
    }
}

#[tokio::test]
async fn the_first_call_may_still_win() {
    let provider = FakeProvider::start().await;
    let gateway = hedged(&provider, json!({"after": 0.02, "max_extra_spend": 100})).await;
    earn(&gateway).await;
    let mut receipts = gateway.receipts();
    provider.always(Matcher::model("up-1"), Answer::directive("first_byte_ms=400"));
    provider.script(Matcher::model("up-2"), [Answer::directive("stall_after=0"), Answer::status(500)]);
    for expected in [("up-2", true, None), ("up-2", false, Some(FaultClass::Internal))] {
        let frames = gateway.stream("/v1/chat/completions", &ask("a", json!({"stream": true}))).await;
        assert_eq!(frames.last().unwrap().data, "[DONE]");
        assert_eq!(deployments(&*receipts.next().await), [expected, ("up-1", false, None)]);
    }
}

#[tokio::test]
async fn nothing_is_hedged_beyond_what_it_may_cost_or_where_nobody_can_tell_who_is_slow() {
    for rule in [json!({"after": 0.02, "max_extra_spend": 0}), json!({"after": "p95"})] {
        let provider = FakeProvider::start().await;
        let gateway = hedged(&provider, rule).await;
        earn(&gateway).await;
        provider.reset();
        provider.always(Matcher::model("up-1"), Answer::directive("first_byte_ms=200"));
        assert_eq!(chat(&gateway, "a", json!({"stream": true})).await.status, 200);
        assert_eq!(called(&provider), ["up-1"]);
    }
}
