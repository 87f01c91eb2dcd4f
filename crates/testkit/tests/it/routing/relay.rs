//! A stream of text that breaks off is continued elsewhere: the client reads one text, the receipt has both calls.

use std::sync::Arc;

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::gate::Services;
use faregate_gateway::principals::Principals;
use faregate_state::limits::{Limit, Rule, Scope, ScopeKey, Window};
use faregate_terms::{Ending, FaultClass, PicoUsd, Receipt};
use faregate_testkit::{Client as Caller, Frame, Gateway};
use serde_json::{Value, json};

use super::mirror::One;
use super::{called, entry, metric, start, start_over};

/// A stream that is cut after some of its twenty tokens.
const CUT: &str = "tokens=20 cut_after=14";

/// Two deployments of group `a`, of which `up-1` comes first, and one of group `b`. What the provider was told
/// before wins.
async fn gateway(provider: &FakeProvider, first: &str, router: Value) -> Gateway {
    provider.always(Matcher::model("up-1"), Answer::directive(first));
    provider.always(Matcher::model("up-2"), Answer::directive("tokens=20"));
    provider.always(Matcher::model("up-3"), Answer::directive("tokens=20"));
    let own = |group, model, weight| {
        let prices = json!({"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "weight": weight});
        entry(provider, group, model, prices)
    };
    let mut settings = json!({"enable_mid_stream_fallback_continuation": true, "cooldown_time": 0});
    settings.as_object_mut().unwrap().extend(router.as_object().cloned().unwrap_or_default());
    start([own("a", "up-1", 1000.0), own("a", "up-2", 0.0001), own("b", "up-3", 1.0)], settings).await
}

fn whole() -> String {
    (0..20).map(|index| format!("tok{index} ")).collect()
}

/// A client: where it asks, what, and how it reads text and errors.
struct Client {
    name: &'static str,
    path: &'static str,
    body: Value,
    text: fn(&Value) -> Option<&str>,
    /// What its stream has exactly once.
    once: &'static [&'static str],
}

fn clients() -> [Client; 4] {
    let messages = json!([{"role": "user", "content": "hi"}]);
    [
        Client {
            name: "chat",
            path: "/v1/chat/completions",
            body: json!({"model": "a", "stream": true, "messages": messages, "stream_options": {"include_usage": true}}),
            text: |event| event["choices"][0]["delta"]["content"].as_str(),
            once: &["\"role\"", "\"finish_reason\":\"stop\"", "[DONE]", "\"prompt_tokens\""],
        },
        Client {
            name: "messages",
            path: "/v1/messages",
            body: json!({"model": "a", "stream": true, "max_tokens": 100, "messages": messages}),
            text: |event| event["delta"]["text"].as_str(),
            once: &["message_start", "content_block_start", "content_block_stop", "message_stop"],
        },
        Client {
            name: "responses",
            path: "/v1/responses",
            body: json!({"model": "a", "stream": true, "input": "hi"}),
            text: |event| (event["type"] == "response.output_text.delta").then(|| event["delta"].as_str())?,
            once: &[
                "response.created",
                "response.output_item.added",
                "response.output_text.done",
                "response.completed",
            ],
        },
        Client {
            name: "gemini",
            path: "/v1beta/models/a:streamGenerateContent?alt=sse",
            body: json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
            text: |event| event["candidates"][0]["content"]["parts"][0]["text"].as_str(),
            once: &["\"finishReason\""],
        },
    ]
}

impl Client {
    fn said(&self, frames: &[Frame]) -> String {
        let events: Vec<Value> = frames.iter().filter_map(Frame::json).collect();
        events.iter().filter_map(|event| (self.text)(event)).collect()
    }

    /// How often a mark is in the stream: in the names of events, or in their data where these have none.
    fn count(&self, frames: &[Frame], mark: &str) -> usize {
        let is_in = |frame: &&Frame| match &frame.event {
            Some(event) => event == mark,
            None => frame.data.contains(mark),
        };
        frames.iter().filter(is_in).count()
    }
}

fn is_broken(frames: &[Frame]) -> bool {
    frames.iter().any(|frame| frame.data.contains("\"error\":{"))
}

async fn chat(gateway: &Gateway, more: Value) -> Vec<Frame> {
    let mut body = clients()[0].body.clone();
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    gateway.stream("/v1/chat/completions", &body).await
}

fn text_of(frames: &[Frame]) -> String {
    clients()[0].said(frames)
}

fn priced(input: u64, output: u64) -> PicoUsd {
    PicoUsd::from_pico(i128::from(input) * 1_000_000 + i128::from(output) * 2_000_000)
}

/// What holds of every receipt of a stream that was continued.
fn check(receipt: &Receipt, name: &str) {
    let of = receipt.attempts.iter();
    let calls: Vec<_> =
        of.map(|note| (note.deployment.as_str(), note.fault.is_some(), note.continued.is_some())).collect();
    assert_eq!(calls, [("up-1", true, true), ("up-2", false, false)], "{name}");
    let part = receipt.attempts[0].continued.unwrap();
    assert!(part.estimated && part.output > 0 && part.input > 0, "{name}: {part:?}");
    assert_eq!(part.cost, Some(priced(part.input, part.output)), "{name}");
    let usage = &receipt.usage;
    assert!(usage.estimated && usage.output > part.output && usage.input > part.input, "{name}: {usage:?}");
    assert_eq!(receipt.cost, Some(priced(usage.input, usage.output)), "{name}: both calls are paid");
    assert_eq!(receipt.ending, Ending::Complete, "{name}");
    assert_eq!(receipt.deployment.as_ref().map(|id| id.as_str()), Some("up-2"), "{name}");
    let first = receipt.attempts[0].ttft.map(|ttft| receipt.attempts[0].start + ttft);
    assert_eq!(receipt.ttft, first, "{name}: the first output was the first call's");
    assert!(receipt.attempts[1].ttft.is_some(), "{name}");
}

#[tokio::test]
async fn every_client_reads_one_text_and_the_receipt_has_both_calls() {
    for client in clients() {
        let provider = FakeProvider::start().await;
        let gateway = gateway(&provider, CUT, json!({})).await;
        let mut receipts = gateway.receipts();
        let frames = gateway.stream(client.path, &client.body).await;
        let name = client.name;
        assert_eq!(client.said(&frames), whole(), "{name}: {frames:?}");
        for mark in client.once {
            assert_eq!(client.count(&frames, mark), 1, "{name}: {mark} in {frames:#?}");
        }
        assert!(!is_broken(&frames), "{name}: {frames:?}");
        check(&*receipts.next().await, name);
        let counted = [("model_group", "a"), ("outcome", "continued")];
        assert_eq!(metric(&gateway, "faregate_continuations_total", &counted).await, [1.0]);
    }
}

#[tokio::test]
async fn another_provider_goes_on_from_the_text_and_the_client_is_told_of_all_that_was_used() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("claude-up"), Answer::directive(CUT));
    provider.always(Matcher::model("up-2"), Answer::directive("tokens=20"));
    let first = json!({
        "model_name": "a", "model_info": {"id": "claude-up"},
        "litellm_params": {
            "model": "anthropic/claude-up", "api_key": "sk-up", "api_base": provider.url(), "weight": 1000,
        },
    });
    let second = entry(&provider, "a", "up-2", json!({"weight": 0.0001}));
    let router = json!({"mid_stream_fallback_groups": ["a"]});
    let gateway = start([first, second], router).await;
    let mut receipts = gateway.receipts();
    let frames = chat(&gateway, json!({"max_tokens": 50})).await;
    assert_eq!(text_of(&frames), whole());
    let receipt = receipts.next().await;
    let told = frames.iter().filter_map(Frame::json).find_map(|event| {
        Some((event["usage"]["prompt_tokens"].as_u64()?, event["usage"]["completion_tokens"].as_u64()?))
    });
    assert_eq!(told, Some((receipt.usage.input, receipt.usage.output)));
    let sent: Value = serde_json::from_slice(&provider.requests().last().unwrap().body).unwrap();
    let messages = sent["messages"].as_array().unwrap();
    let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user"], "{sent}");
    let said = messages[1]["content"].as_str().unwrap_or_else(|| panic!("{sent}"));
    assert!(whole().starts_with(said) && said.starts_with("tok0 tok1 "), "{said}");
    let most = sent["max_tokens"].as_u64().or(sent["max_completion_tokens"].as_u64());
    assert!(most.is_some_and(|most| most < 50), "what was said counts: {sent}");
}

#[tokio::test]
async fn every_way_of_breaking_off_is_continued() {
    for (fault, class) in [
        ("tokens=20 cut_after=14", FaultClass::Connection),
        ("tokens=20 error_after=14", FaultClass::Internal),
        ("tokens=20 stall_after=14", FaultClass::Timeout),
    ] {
        let provider = FakeProvider::start().await;
        let gateway = gateway(&provider, fault, json!({"stream_timeout": 0.4})).await;
        let mut receipts = gateway.receipts();
        assert_eq!(text_of(&chat(&gateway, json!({})).await), whole(), "{fault}");
        let receipt = receipts.next().await;
        check(&receipt, fault);
        assert_eq!(receipt.attempts[0].fault, Some(class), "{fault}");
    }
}

#[tokio::test]
async fn the_request_wins_over_the_setting_and_without_either_a_broken_stream_ends_in_an_error() {
    for (router, asked, is_continued) in [
        (json!({"enable_mid_stream_fallback_continuation": false}), json!({}), false),
        (
            json!({"enable_mid_stream_fallback_continuation": false}),
            json!({"mid_stream_fallback": true}),
            true,
        ),
        (json!({}), json!({"mid_stream_fallback": false}), false),
        (
            json!({"enable_mid_stream_fallback_continuation": false, "mid_stream_fallback_groups": ["a"]}),
            json!({}),
            true,
        ),
        (
            json!({"enable_mid_stream_fallback_continuation": false, "mid_stream_fallback_groups": ["b"]}),
            json!({}),
            false,
        ),
    ] {
        let provider = FakeProvider::start().await;
        let gateway = gateway(&provider, CUT, router.clone()).await;
        let frames = chat(&gateway, asked.clone()).await;
        assert_eq!(
            (text_of(&frames) == whole(), is_broken(&frames)),
            (is_continued, !is_continued),
            "{router} {asked}"
        );
        let sent: Value = serde_json::from_slice(&provider.requests()[0].body).unwrap();
        assert_eq!(sent["mid_stream_fallback"], Value::Null, "the word is not for providers");
    }
}

#[tokio::test]
async fn what_is_more_than_one_plain_text_is_not_continued() {
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    for (first, more) in [
        (CUT, json!({"n": 2})),
        (CUT, json!({"logprobs": true})),
        ("cut_after=2", json!({"response_format": {"type": "json_object"}})),
        ("tools=1 cut_after=3", json!({"tools": tools})),
        ("reasoning=1 tokens=20 cut_after=14", json!({})),
    ] {
        let provider = FakeProvider::start().await;
        let gateway = gateway(&provider, first, json!({})).await;
        let mut receipts = gateway.receipts();
        assert!(is_broken(&chat(&gateway, more.clone()).await), "{first} {more}");
        let receipt = receipts.next().await;
        assert_eq!((receipt.attempts.len(), receipt.ending), (1, Ending::Broken), "{first} {more}");
        assert_eq!(called(&provider), ["up-1"]);
    }
}

#[tokio::test]
async fn fallbacks_follow_where_the_group_has_had_its_chance() {
    let provider = FakeProvider::start().await;
    let router = json!({"num_retries": 0, "fallbacks": [{"a": ["b"]}]});
    let gateway = gateway(&provider, CUT, router).await;
    let mut receipts = gateway.receipts();
    assert_eq!(text_of(&chat(&gateway, json!({})).await), whole());
    assert_eq!(called(&provider), ["up-1", "up-3"]);
    let receipt = receipts.next().await;
    assert_eq!(receipt.model_group.as_ref().map(|group| group.as_str()), Some("b"));
}

#[tokio::test]
async fn a_stream_may_break_off_again() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("up-2"), Answer::directive("tokens=20 cut_after=17"));
    let gateway = gateway(&provider, CUT, json!({"num_retries": 1, "fallbacks": [{"a": ["b"]}]})).await;
    let mut receipts = gateway.receipts();
    assert_eq!(text_of(&chat(&gateway, json!({})).await), whole());
    assert_eq!(called(&provider), ["up-1", "up-2", "up-3"]);
    let receipt = receipts.next().await;
    let usage = &receipt.usage;
    assert_eq!(receipt.attempts.iter().filter(|note| note.continued.is_some()).count(), 2);
    assert_eq!(receipt.cost, Some(priced(usage.input, usage.output)), "all three calls are paid");
}

#[tokio::test]
async fn where_nobody_goes_on_the_client_is_told_and_pays_what_it_got() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("up-2"), Answer::status(500));
    let gateway = gateway(&provider, CUT, json!({"num_retries": 1})).await;
    let mut receipts = gateway.receipts();
    let frames = chat(&gateway, json!({})).await;
    assert!(is_broken(&frames) && whole().starts_with(&text_of(&frames)), "{frames:?}");
    assert_eq!(frames.iter().filter(|frame| frame.data.contains("\"error\":{")).count(), 1);
    let receipt = receipts.next().await;
    assert_eq!(receipt.ending, Ending::Broken);
    let of = receipt.attempts.iter();
    let calls: Vec<_> = of.map(|note| (note.deployment.as_str(), note.continued.is_some())).collect();
    assert_eq!(calls, [("up-1", false), ("up-2", false)]);
    assert_eq!(receipt.deployment.as_ref().map(|id| id.as_str()), Some("up-1"));
    assert!(receipt.usage.output > 0 && receipt.usage.estimated);
    assert_eq!(receipt.cost, Some(priced(receipt.usage.input, receipt.usage.output)));
}

#[tokio::test]
async fn the_calls_that_follow_are_bounded_by_retries_and_time() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider, CUT, json!({"num_retries": 0})).await;
    assert!(is_broken(&chat(&gateway, json!({})).await), "no retries, no fallbacks");
    assert_eq!(called(&provider), ["up-1"]);
    let provider = FakeProvider::start().await;
    let late = "tokens=20 stall_after=14";
    let gateway = self::gateway(&provider, late, json!({"total_timeout": 0.3, "stream_timeout": 0.4})).await;
    assert!(is_broken(&chat(&gateway, json!({})).await), "the request's time is over");
    assert_eq!(called(&provider), ["up-1"]);
}

#[tokio::test]
async fn a_client_that_leaves_meanwhile_pays_what_it_got() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("up-2"), Answer::directive("stall_after=0"));
    let gateway = gateway(&provider, CUT, json!({})).await;
    let mut receipts = gateway.receipts();
    let asked = tokio::spawn({
        let client = gateway.client();
        async move { client.stream("/v1/chat/completions", &clients()[0].body).await }
    });
    while called(&provider).len() < 2 {
        tokio::task::yield_now().await;
    }
    asked.abort();
    let receipt = receipts.next().await;
    assert_eq!(receipt.ending, Ending::ClientClosed);
    let part = receipt.attempts[0].continued.unwrap();
    assert_eq!(receipt.attempts.len(), 2, "the call under way is noted as well: {:?}", receipt.attempts);
    assert!(receipt.cost >= part.cost && part.cost > Some(PicoUsd::ZERO), "{receipt:?}");
}

#[tokio::test]
async fn budgets_hold_and_pay_what_all_calls_cost() {
    let key = ScopeKey::of(Scope::Key, "k");
    let budget = Limit::budget(key, PicoUsd::parse("100").unwrap(), PicoUsd::ZERO, Window::Endless);
    let budget = budget.with_rule(Rule::Within);
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("up-1"), Answer::directive(CUT));
    provider.always(Matcher::model("up-2"), Answer::directive("tokens=20"));
    let own = |model, weight| {
        let prices = json!({"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "weight": weight});
        entry(&provider, "a", model, prices)
    };
    let router = json!({"enable_mid_stream_fallback_continuation": true});
    let mut services = Services::alone();
    services.principals = Some(Arc::new(Principals::new(Arc::new(One(vec![budget.clone()])))));
    let limits = services.limits.clone();
    let gateway = start_over([own("up-1", 1000.0), own("up-2", 0.0001)], router, services).await;
    let mut receipts = gateway.receipts();
    let client = Caller::new(gateway.url().trim_start_matches("http://").parse().unwrap(), "sk-one");
    let frames = client.stream("/v1/chat/completions", &clients()[0].body).await;
    assert_eq!(text_of(&frames), whole());
    let receipt = receipts.next().await;
    check(&receipt, "under a budget");
    let standing = limits.standing(&budget);
    assert_eq!((standing.spent, standing.held), (receipt.cost.unwrap().pico(), 0));
}
