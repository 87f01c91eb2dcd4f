use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_terms::FaultClass;
use serde_json::json;

use super::{called, chat, entry, fails, metric, number, start};

#[tokio::test]
async fn a_group_that_fails_hands_over_to_its_fallback_and_the_headers_say_so() {
    let provider = FakeProvider::start().await;
    let entries = [entry(&provider, "a", "up-a", json!({})), entry(&provider, "b", "up-b", json!({}))];
    let gateway = start(entries, json!({"num_retries": 0, "fallbacks": [{"a": ["b"]}]})).await;
    let mut receipts = gateway.receipts();
    fails(&provider, "up-a", 503);

    let reply = chat(&gateway, "a", json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    assert_eq!(reply.json()["model"], "b", "the group that answered");
    assert_eq!(reply.header("x-litellm-model-group"), Some("b"));
    assert_eq!(reply.header("x-litellm-model-id"), Some("up-b"));
    assert_eq!(number(&reply, "x-litellm-attempted-fallbacks"), Some(1));
    assert_eq!(number(&reply, "x-litellm-attempted-retries"), Some(0));
    assert_eq!(called(&provider), ["up-a", "up-b"]);

    let receipt = receipts.next().await;
    let attempts: Vec<_> = receipt.attempts.iter().map(|it| (it.deployment.as_str(), it.fault)).collect();
    assert_eq!(attempts, [("up-a", Some(FaultClass::Unavailable)), ("up-b", None)]);
    assert_eq!((receipt.requested_model.as_str(), receipt.status), ("a", 200));
    assert_eq!(receipt.model_group.as_ref().unwrap().as_str(), "b");
    let counted = [("requested_model", "a"), ("fallback_model", "b"), ("exception_status", "503")];
    assert_eq!(metric(&gateway, "litellm_deployment_successful_fallbacks_total", &counted).await, [1.0]);
}

#[tokio::test]
async fn retries_come_before_fallbacks_and_a_stream_falls_over_before_its_first_token() {
    let provider = FakeProvider::start().await;
    let entries = [
        entry(&provider, "a", "up-1", json!({})),
        entry(&provider, "a", "up-2", json!({})),
        entry(&provider, "b", "up-b", json!({})),
    ];
    let gateway = start(entries, json!({"num_retries": 2, "fallbacks": [{"a": ["b"]}]})).await;
    fails(&provider, "up-1", 500);
    provider.always(Matcher::model("up-2"), Answer::directive("tokens=8 error_after=0"));

    let frames = gateway.stream("/v1/chat/completions", &super::ask("a", json!({"stream": true}))).await;
    assert_eq!(frames.last().unwrap().data, "[DONE]", "{frames:#?}");
    assert_eq!(frames[0].json().unwrap()["model"], "b");
    let called = called(&provider);
    assert_eq!((called.len(), called.last().unwrap().as_str()), (4, "up-b"), "{called:?}");
    assert_ne!(called[0], called[1], "a retry goes to a sibling");
}

#[tokio::test]
async fn when_all_fail_the_client_gets_the_first_groups_error_and_what_was_tried() {
    let provider = FakeProvider::start().await;
    let entries = ["a", "b", "c"].map(|group| entry(&provider, group, &format!("up-{group}"), json!({})));
    let fallbacks = json!({"num_retries": 0, "fallbacks": [{"a": ["b"]}, {"b": ["c", "a"]}]});
    let gateway = start(entries, fallbacks).await;
    let mut receipts = gateway.receipts();
    for (group, status) in [("a", 503), ("b", 500), ("c", 400)] {
        fails(&provider, &format!("up-{group}"), status);
    }
    let reply = chat(&gateway, "a", json!({})).await;
    assert_eq!(reply.status, 503);
    assert_eq!(called(&provider), ["up-a", "up-b", "up-c"], "a fallback's fallbacks count, each group once");
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Received Model Group=a"), "{message}");
    assert!(message.contains("Available Model Group Fallbacks=[b, c, a]"), "{message}");
    let receipt = receipts.next().await;
    assert_eq!(receipt.model_group.as_ref().unwrap().as_str(), "a");
    assert_eq!(receipt.attempts.len(), 3);
    assert_eq!(
        metric(&gateway, "litellm_deployment_failed_fallbacks_total", &[("fallback_model", "b")]).await,
        [1.0]
    );
}

#[tokio::test]
async fn long_prompts_and_refused_ones_have_fallbacks_of_their_own() {
    let provider = FakeProvider::start().await;
    let entries =
        ["a", "big", "lax", "plain"].map(|group| entry(&provider, group, &format!("up-{group}"), json!({})));
    let gateway = start(
        entries,
        json!({
            "fallbacks": [{"a": ["plain"]}],
            "context_window_fallbacks": [{"a": ["big"]}],
            "content_policy_fallbacks": [{"other": ["lax"]}],
        }),
    )
    .await;
    provider.script(
        Matcher::model("up-a"),
        [Answer::directive("error=context"), Answer::directive("error=policy")],
    );
    let reply = chat(&gateway, "a", json!({})).await;
    assert_eq!(reply.json()["model"], "big");
    let reply = chat(&gateway, "a", json!({})).await;
    assert_eq!(reply.status, 400, "a list that does not name the group leaves it without");
    assert_eq!(reply.json()["error"]["code"], "content_policy_violation");
}

#[tokio::test]
async fn without_lists_of_their_own_they_use_the_plain_ones() {
    let provider = FakeProvider::start().await;
    let entries = ["a", "plain"].map(|group| entry(&provider, group, &format!("up-{group}"), json!({})));
    let gateway = start(entries, json!({"default_fallbacks": ["plain"]})).await;
    for words in ["error=context", "error=policy", "status=400"] {
        provider.script(Matcher::model("up-a"), [Answer::directive(words)]);
        let reply = chat(&gateway, "a", json!({})).await;
        assert_eq!(reply.json()["model"], "plain", "{words}: {}", reply.json());
    }
}

#[tokio::test]
async fn a_request_brings_fallbacks_of_its_own_with_parameters_or_wants_none() {
    let provider = FakeProvider::start().await;
    let entries = ["a", "b", "c"].map(|group| entry(&provider, group, &format!("up-{group}"), json!({})));
    let gateway = start(entries, json!({"num_retries": 0, "fallbacks": [{"a": ["b"]}]})).await;
    fails(&provider, "up-a", 500);
    let own =
        json!([{"model": "c", "temperature": 0.25, "messages": [{"role": "user", "content": "other"}]}]);
    let reply = chat(&gateway, "a", json!({"fallbacks": own})).await;
    assert_eq!(reply.json()["model"], "c", "{}", reply.json());
    let sent: serde_json::Value = serde_json::from_slice(&provider.requests().last().unwrap().body).unwrap();
    assert_eq!((&sent["temperature"], &sent["messages"][0]["content"]), (&json!(0.25), &json!("other")));
    assert_eq!(sent.get("fallbacks"), None);

    let reply = chat(&gateway, "a", json!({"disable_fallbacks": true})).await;
    assert_eq!(reply.status, 500);
    let stolen = json!([{"model": "c", "api_base": "http://elsewhere"}]);
    let reply = chat(&gateway, "a", json!({"fallbacks": stolen})).await;
    assert_eq!(reply.status, 401, "{}", reply.json());
    let unknown = chat(&gateway, "a", json!({"fallbacks": ["nobody", "c"]})).await;
    assert_eq!(unknown.json()["model"], "c");
}

#[tokio::test]
async fn no_more_groups_are_tried_than_allowed() {
    let provider = FakeProvider::start().await;
    let entries = ["a", "b", "c"].map(|group| entry(&provider, group, &format!("up-{group}"), json!({})));
    let router = json!({"num_retries": 0, "max_fallbacks": 1, "fallbacks": [{"a": ["b", "c"]}]});
    let gateway = start(entries, router).await;
    fails(&provider, "up-a", 500);
    fails(&provider, "up-b", 500);
    assert_eq!(chat(&gateway, "a", json!({})).await.status, 500);
    assert_eq!(called(&provider), ["up-a", "up-b"]);
}

#[tokio::test]
async fn a_policy_by_class_decides_how_often() {
    let provider = FakeProvider::start().await;
    let entries = ["up-1", "up-2"].map(|model| entry(&provider, "a", model, json!({})));
    let policy =
        json!({"InternalServerErrorRetries": 3, "BadRequestErrorRetries": 1, "RateLimitErrorRetries": 0});
    let router = json!({"num_retries": 1, "retry_policy": policy, "disable_cooldowns": true});
    let gateway = start(entries, router).await;
    for (status, more, calls) in [
        (500, json!({}), 4),
        (400, json!({}), 2),
        (429, json!({}), 1),
        (503, json!({}), 2),
        (500, json!({"num_retries": 0}), 1),
        (503, json!({"num_retries": 3}), 4),
    ] {
        provider.reset();
        provider.always(Matcher::any(), Answer::status(status));
        let reply = chat(&gateway, "a", more.clone()).await;
        assert_eq!(reply.status, status);
        assert_eq!(called(&provider).len(), calls, "{status} {more}");
    }
}

#[tokio::test]
async fn order_is_a_ladder_of_levels() {
    let provider = FakeProvider::start().await;
    let entries = [
        entry(&provider, "a", "up-1", json!({"order": 1})),
        entry(&provider, "a", "up-2", json!({"order": 2})),
    ];
    let gateway = start(entries, json!({"num_retries": 0})).await;
    for _ in 0..5 {
        assert_eq!(chat(&gateway, "a", json!({})).await.header("x-litellm-model-id"), Some("up-1"));
    }
    fails(&provider, "up-1", 500);
    let reply = chat(&gateway, "a", json!({})).await;
    assert_eq!(reply.header("x-litellm-model-id"), Some("up-2"));
    assert_eq!(reply.json()["model"], "a");
    assert_eq!(number(&reply, "x-litellm-attempted-fallbacks"), Some(1));
}

#[tokio::test]
async fn failures_can_be_rehearsed() {
    let provider = FakeProvider::start().await;
    let entries =
        ["a", "b", "big", "lax"].map(|group| entry(&provider, group, &format!("up-{group}"), json!({})));
    let router = json!({
        "fallbacks": [{"a": ["b"]}],
        "context_window_fallbacks": [{"a": ["big"]}],
        "content_policy_fallbacks": [{"a": ["lax"]}],
        "retry_after": 0,
    });
    let gateway = start(entries, router).await;
    for (member, group) in [
        ("mock_testing_fallbacks", "b"),
        ("mock_testing_context_fallbacks", "big"),
        ("mock_testing_content_policy_fallbacks", "lax"),
        ("mock_testing_rate_limit_error", "a"),
    ] {
        provider.reset();
        let reply = chat(&gateway, "a", json!({member: true})).await;
        assert_eq!(reply.json()["model"], group, "{member}: {}", reply.json());
        assert_eq!(called(&provider), [format!("up-{group}")], "{member}");
    }
    let reply = chat(&gateway, "a", json!({"mock_timeout": true, "timeout": 0.05, "num_retries": 0})).await;
    assert_eq!(reply.status, 408, "whoever is called: {}", reply.json());
}

#[tokio::test]
async fn a_deployment_can_answer_by_itself() {
    let provider = FakeProvider::start().await;
    let entries = [
        entry(&provider, "a", "up-a", json!({"mock_response": "canned"})),
        entry(&provider, "bad", "up-b", json!({"mock_response": "litellm.RateLimitError"})),
    ];
    let gateway = start(entries, json!({"num_retries": 0, "fallbacks": [{"bad": ["a"]}]})).await;
    for group in ["a", "bad"] {
        let reply = chat(&gateway, group, json!({})).await;
        assert_eq!(reply.json()["choices"][0]["message"]["content"], "canned", "{}", reply.json());
        let frames =
            gateway.stream("/v1/chat/completions", &super::ask(group, json!({"stream": true}))).await;
        let text: String = frames
            .iter()
            .filter_map(|frame| frame.json()?["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(text, "canned");
    }
    let reply = chat(&gateway, "a", json!({"mock_response": "mine"})).await;
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "canned", "clients need a key that may");
    assert_eq!(called(&provider), Vec::<String>::new());
}

#[tokio::test]
async fn a_request_as_a_whole_can_have_an_end() {
    let provider = FakeProvider::start().await;
    let entries = ["a", "b"].map(|group| entry(&provider, group, &format!("up-{group}"), json!({})));
    let router = json!({"total_timeout": 0.3, "num_retries": 9, "fallbacks": [{"a": ["b"]}]});
    let gateway = start(entries, router).await;
    provider.always(Matcher::any(), Answer::named("hang"));
    let before = std::time::Instant::now();
    assert_eq!(chat(&gateway, "a", json!({})).await.status, 408);
    assert!(before.elapsed().as_secs_f64() < 5.0);
}
