use std::sync::Arc;

use faregate_config::Env;
use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::caller::{Caller, Subject};
use faregate_gateway::gate::Services;
use faregate_gateway::ports::{PrincipalSource, Then, Which};
use faregate_gateway::principals::Principals;
use faregate_terms::{Account, KeyHash};
use faregate_testkit::{Client, Gateway};
use futures_util::future::join_all;
use serde_json::json;

use super::{called, chat, config, entry, start};

async fn counts(gateway: &Gateway, provider: &FakeProvider, requests: usize) -> (usize, usize) {
    for _ in 0..requests {
        assert_eq!(chat(gateway, "a", json!({})).await.status, 200);
    }
    let called = called(provider);
    let of = |model: &str| called.iter().filter(|it| *it == model).count();
    (of("up-1"), of("up-2"))
}

#[tokio::test]
async fn the_cheapest_serves_while_it_can() {
    let provider = FakeProvider::start().await;
    let own = |model, price| {
        let prices = json!({"input_cost_per_token": price, "output_cost_per_token": price});
        entry(&provider, "a", model, prices)
    };
    let entries = [own("up-1", 0.001), own("up-2", 0.0001)];
    let gateway = start(entries, json!({"routing_strategy": "cost-based-routing"})).await;
    assert_eq!(counts(&gateway, &provider, 10).await, (0, 10));
}

#[tokio::test]
async fn shares_by_group_and_id_win_over_the_deployments_own() {
    let provider = FakeProvider::start().await;
    let entries = ["up-1", "up-2"].map(|model| entry(&provider, "a", model, json!({"weight": 1})));
    let gateway = start(entries, json!({"weights": {"a": {"up-1": 0, "up-2": 3}, "b": {"up-1": 9}}})).await;
    assert_eq!(counts(&gateway, &provider, 20).await, (0, 20));
}

#[tokio::test]
async fn the_fastest_serves_once_both_are_known() {
    let provider = FakeProvider::start().await;
    let entries = ["up-1", "up-2"].map(|model| entry(&provider, "a", model, json!({})));
    let gateway = start(entries, json!({"routing_strategy": "latency-based-routing"})).await;
    provider.always(Matcher::model("up-1"), Answer::directive("first_byte_ms=80"));
    let (slow, fast) = counts(&gateway, &provider, 20).await;
    assert!(slow <= 2 && fast >= 18, "{slow} {fast}");
}

#[tokio::test]
async fn the_least_busy_gets_the_next_request() {
    let provider = FakeProvider::start().await;
    let entries = ["up-1", "up-2"].map(|model| entry(&provider, "a", model, json!({})));
    let gateway = start(entries, json!({"routing_strategy": "least-busy"})).await;
    provider.always(Matcher::any(), Answer::directive("first_byte_ms=400"));
    let asks = (0..10).map(|_| chat(&gateway, "a", json!({})));
    assert!(join_all(asks).await.iter().all(|reply| reply.status == 200));
    let called = called(&provider);
    let first = called.iter().filter(|model| *model == "up-1").count();
    assert!((4..=6).contains(&first), "{called:?}");
}

#[tokio::test]
async fn no_deployment_gets_more_than_its_rpm_and_the_rest_is_told_so() {
    let provider = FakeProvider::start().await;
    let entries =
        [("up-1", 3), ("up-2", 5)].map(|(model, rpm)| entry(&provider, "a", model, json!({"rpm": rpm})));
    for strategy in ["usage-based-routing", "usage-based-routing-v2", "cost-based-routing"] {
        provider.reset();
        let gateway = start(entries.clone(), json!({"routing_strategy": strategy})).await;
        let replies = join_all((0..20).map(|_| chat(&gateway, "a", json!({})))).await;
        let answered = replies.iter().filter(|reply| reply.status == 200).count();
        let called = called(&provider);
        let of = |model: &str| called.iter().filter(|it| *it == model).count();
        assert_eq!((answered, of("up-1"), of("up-2")), (8, 3, 5), "{strategy}");
        let refused = replies.iter().find(|reply| reply.status != 200).unwrap();
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["error"]["type"]),
            (429, &json!("rate_limit_error"))
        );
    }
}

#[tokio::test]
async fn no_deployment_has_more_in_flight_than_it_may_and_the_rest_waits() {
    let provider = FakeProvider::start().await;
    let own = |model| entry(&provider, "a", model, json!({"max_parallel_requests": 2}));
    let gateway = start(["up-1", "up-2"].map(own), json!({})).await;
    provider.always(Matcher::any(), Answer::directive("first_byte_ms=400"));
    let before = std::time::Instant::now();
    let asks = join_all((0..8).map(|_| chat(&gateway, "a", json!({}))));
    let look = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        called(&provider).len()
    };
    let (replies, at_once) = tokio::join!(asks, look);
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(at_once, 4, "two each");
    assert!(before.elapsed().as_millis() >= 800);
    let hasty = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        chat(&gateway, "a", json!({"timeout": 0.1})).await
    };
    let (_, hasty) = tokio::join!(join_all((0..4).map(|_| chat(&gateway, "a", json!({})))), hasty);
    assert_eq!(hasty.status, 429, "nobody waits longer than an attempt may take: {}", hasty.json());
}

#[tokio::test]
async fn a_small_tpm_admits_what_may_fit_and_counts_what_was_used() {
    let provider = FakeProvider::start().await;
    // Each request is taken to need far more until its few tokens are known.
    let entries = [entry(&provider, "a", "up-1", json!({"tpm": 60}))];
    let gateway = start(entries, json!({"routing_strategy": "usage-based-routing-v2"})).await;
    let mut answers = 0;
    while chat(&gateway, "a", json!({})).await.status == 200 {
        answers += 1;
        assert!(answers < 60, "nobody counts");
    }
    assert!(answers >= 2, "{answers}");
}

#[tokio::test]
async fn tags_lead_to_the_deployments_that_have_them() {
    let provider = FakeProvider::start().await;
    let entries = [("up-1", "free"), ("up-2", "paid"), ("up-3", "default")]
        .map(|(model, tag)| entry(&provider, "a", model, json!({"tags": [tag]})));
    let gateway = start(entries, json!({"enable_tag_filtering": true})).await;
    for (tags, expected) in [
        (json!({"metadata": {"tags": ["paid"]}}), "up-2"),
        (json!({"tags": ["free"]}), "up-1"),
        (json!({"tags": ["stranger"]}), "up-3"),
        (json!({}), "up-3"),
    ] {
        let reply = chat(&gateway, "a", tags.clone()).await;
        assert_eq!(reply.header("x-litellm-model-id"), Some(expected), "{tags}: {}", reply.json());
    }
    let reply = chat(&gateway, "a", json!({"tags": ["free", "&paid"]})).await;
    assert_eq!(reply.status, 401);
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Not allowed to access model due to tags configuration"), "{message}");
}

#[tokio::test]
async fn a_region_is_never_left() {
    let provider = FakeProvider::start().await;
    let entries = [("up-1", "eu"), ("up-2", "us")]
        .map(|(model, region)| entry(&provider, "a", model, json!({"region_name": region})));
    let gateway = start(entries, json!({})).await;
    for _ in 0..8 {
        let reply = chat(&gateway, "a", json!({"allowed_model_region": "eu"})).await;
        assert_eq!(reply.header("x-litellm-model-id"), Some("up-1"));
    }
    assert_eq!(chat(&gateway, "a", json!({"allowed_model_region": "jp"})).await.status, 400);
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_goes_to_a_larger_model_before_anybody_is_asked() {
    let provider = FakeProvider::start().await;
    let own = |group, model, window| {
        entry(&provider, group, model, json!({"model_info": {"max_input_tokens": window}}))
    };
    let entries = [own("a", "up-1", 40), own("a", "up-2", 400), own("big", "up-3", 100_000)];
    let router = json!({"enable_pre_call_checks": true, "context_window_fallbacks": [{"a": ["big"]}]});
    let gateway = start(entries, router).await;
    for (words, expected) in [(60, "up-2"), (1000, "up-3")] {
        let text = vec!["word"; words].join(" ");
        let body = json!({"messages": [{"role": "user", "content": text}]});
        let reply = chat(&gateway, "a", body).await;
        assert_eq!(reply.header("x-litellm-model-id"), Some(expected), "{}", reply.json());
    }
    let text = vec!["word"; 1000].join(" ");
    let body = json!({"messages": [{"role": "user", "content": text}], "disable_fallbacks": true});
    let reply = chat(&gateway, "a", body).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["error"]["code"]),
        (400, &json!("context_length_exceeded"))
    );
}

/// Keys named for their team; `sk-none` has none.
struct Teams;

impl PrincipalSource for Teams {
    fn key(&self, hash: KeyHash, then: Then<Caller>) {
        let team = ["red", "blue"].into_iter().find(|team| KeyHash::of(&format!("sk-{team}")) == hash);
        let account = Account { team: team.map(str::to_owned), ..Account::default() };
        then(Ok(Some(Arc::new(Caller { account, ..Caller::default() }))));
    }

    fn subject(&self, _: &Which, then: Then<Subject>) {
        then(Ok(None));
    }
}

#[tokio::test]
async fn a_teams_deployments_are_for_that_team() {
    let provider = FakeProvider::start().await;
    let entries = [
        entry(
            &provider,
            "internal",
            "up-1",
            json!({"model_info": {"team_id": "red", "team_public_model_name": "gpt"}}),
        ),
        entry(&provider, "gpt", "up-2", json!({})),
    ];
    let mut services = Services::alone();
    services.principals = Some(Arc::new(Principals::new(Arc::new(Teams))));
    let gateway = Gateway::start_over(&config(entries, json!({})), &Env::empty(), services).await;
    let address = gateway.url().trim_start_matches("http://").parse().unwrap();
    for (key, group, expected) in [
        ("sk-red", "gpt", Some("up-1")),
        ("sk-blue", "gpt", Some("up-2")),
        ("sk-none", "gpt", Some("up-2")),
        ("sk-red", "internal", Some("up-1")),
        ("sk-blue", "internal", None),
        ("sk-none", "internal", None),
    ] {
        let client = Client::new(address, key);
        let reply = client.post("/v1/chat/completions", &super::ask(group, json!({}))).await;
        assert_eq!(reply.header("x-litellm-model-id"), expected, "{key} {group}: {}", reply.json());
        let listed = client.get("/v1/models").await.json();
        let names: Vec<_> = listed["data"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
        assert_eq!(names.contains(&json!("internal")), key == "sk-red", "{key}: {names:?}");
    }
}

#[tokio::test]
async fn deployments_that_refuse_a_parameter_are_passed_over_where_calls_are_checked_before() {
    let provider = FakeProvider::start().await;
    let refuses = json!({"model": "perplexity/sonar", "weight": 1000, "model_info": {"id": "refuses"}});
    let entries = || {
        let takes = entry(&provider, "a", "up-takes", json!({"weight": 0.001}));
        [
            entry(&provider, "a", "up-refuses", refuses.clone()),
            takes,
            entry(&provider, "b", "b", refuses.clone()),
        ]
    };
    let gateway = start(entries(), json!({"enable_pre_call_checks": true, "num_retries": 0})).await;
    let reply = chat(&gateway, "a", json!({"seed": 7})).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-litellm-model-id")), (200, Some("up-takes")));
    let told = gateway.post("/route/explain", &super::ask("a", json!({"seed": 7}))).await.json();
    assert_eq!(told["candidates"][0]["excluded"], "parameters", "{told}");
    // Nobody takes it: the refusal names it. Dropped, everybody does.
    let refused = chat(&gateway, "b", json!({"seed": 7})).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("seed"), "{}", refused.text());
    assert_eq!(chat(&gateway, "b", json!({"seed": 7, "drop_params": true})).await.status, 200);
    let unchecked = start(entries(), json!({"num_retries": 0})).await;
    unchecked.gate().fix_dice(7);
    assert_eq!(chat(&unchecked, "a", json!({"seed": 7})).await.status, 400);
}
