//! Budgets of providers and deployments: routing passes over who has spent it, a restart remembers, and replicas
//! together do not pass it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_testkit::postgres::Database;
use faregate_testkit::redis::RedisServer;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::cluster::{BEGUN, MASTER, replicas, settled};
use crate::process::{Running, faregate};

/// Every answer has three tokens, at a cent each.
const THREE_CENTS: &str = "one two three";

async fn provider() -> FakeProvider {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::any(), Answer::text(THREE_CENTS));
    provider
}

fn entry(provider: &FakeProvider, group: &str, id: &str, model: &str, more: &Value) -> Value {
    let mut params = json!({
        "model": model, "api_key": "sk-up", "api_base": format!("{}/v1", provider.url()),
        "input_cost_per_token": 0, "output_cost_per_token": 0.01,
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"model_name": group, "litellm_params": params, "model_info": {"id": id}})
}

fn start(folder: &Path, config: &Value) -> Running {
    fs::write(folder.join("config.yaml"), config.to_string()).unwrap();
    let mut command = faregate(folder, &["--config", "config.yaml"]);
    command.env("LITELLM_MASTER_KEY", MASTER);
    Running::of(command)
}

fn get(running: &Running, path: &str) -> Value {
    let answer = running.call("GET", path, MASTER, b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn excluded(running: &Running) -> Value {
    let body = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let told = running.call("POST", "/route/explain", MASTER, body.as_bytes()).json();
    let told = told["candidates"].as_array().unwrap().iter();
    told.map(|candidate| (candidate["deployment"].as_str().unwrap(), candidate["excluded"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_over_its_budget_is_passed_over_then_refused_and_a_killed_process_remembers() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let config = json!({
        "model_list": [
            entry(&provider, "a", "first", "openai/fake-a", &json!({"order": 1})),
            entry(&provider, "a", "second", "groq/fake-b", &json!({"order": 2})),
        ],
        "router_settings": {"provider_budget_config": {
            "openai": {"budget_limit": 0.05, "time_period": "30d"},
            "groq": {"max_budget": 0.03, "budget_duration": "30d"},
            "anthropic": {"budget_limit": 9, "time_period": "1d"},
        }},
        "litellm_settings": {"callbacks": ["prometheus"]},
    });
    let running = start(folder.path(), &config);
    for served in ["first", "first", "second"] {
        let answer = running.chat("a", MASTER);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("x-litellm-model-id").as_deref(), Some(served));
    }
    let over = "No deployments available - crossed budget: Exceeded budget for provider openai: 0.06 >= 0.05\n\
                Exceeded budget for provider groq: 0.03 >= 0.03";
    let refused = |running: &Running| {
        let answer = running.chat("a", MASTER);
        assert_eq!((answer.status, answer.message().as_str()), (429, over));
        assert_eq!(answer.json()["error"]["type"], "budget_exceeded");
        assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"));
    };
    refused(&running);
    assert_eq!(excluded(&running), json!({"first": "budget", "second": "budget"}));

    let since = Instant::now();
    while get(&running, "/provider/budgets")["providers"]["groq"]["spend"] != 0.03 {
        assert!(since.elapsed() < Duration::from_secs(30), "{}", get(&running, "/provider/budgets"));
        std::thread::sleep(Duration::from_millis(50));
    }
    let shown = get(&running, "/provider/budgets")["providers"]["openai"].clone();
    assert_eq!((&shown["budget_limit"], &shown["spend"]), (&json!(0.05), &json!(0.06)));
    assert_eq!(shown["time_period"], "30d");
    assert!(shown["budget_reset_at"].as_str().unwrap().ends_with("-01T00:00:00.000Z"), "{shown}");
    let metrics = running.call("GET", "/metrics", MASTER, b"").body;
    for line in ["api_provider=\"groq\"} 0", "api_provider=\"anthropic\"} 9"] {
        let line = format!("litellm_provider_remaining_budget_metric{{{line}");
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }

    drop(running);
    let running = start(folder.path(), &config);
    refused(&running);
    assert_eq!(provider.requests().len(), 3, "nobody was asked in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tags_budget_counts_its_period_alone_and_a_killed_process_remembers() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let config = |budgets: Value| {
        json!({
            "model_list": [entry(&provider, "a", "first", "openai/fake-a", &json!({}))],
            "litellm_settings": {"tag_budget_config": budgets},
        })
    };
    let ask = |running: &Running| {
        let body = json!({"model": "a", "tags": ["red"], "messages": [{"role": "user", "content": "hi"}]});
        running.call("POST", "/v1/chat/completions", MASTER, body.to_string().as_bytes()).status
    };
    let mut running = start(folder.path(), &config(json!({})));
    for _ in 0..3 {
        assert_eq!(ask(&running), 200);
    }
    running.signal("TERM");
    assert_eq!(running.ended(), Some(0));
    // What was spent before the budget is not of its period.
    let budgets = json!({"red": {"max_budget": 0.05, "budget_duration": "30d"}});
    let running = start(folder.path(), &config(budgets.clone()));
    assert_eq!([ask(&running), ask(&running), ask(&running)], [200, 200, 422]);
    // At once: what is in the journal alone counts as well.
    drop(running);
    let running = start(folder.path(), &config(budgets));
    assert_eq!(ask(&running), 422, "a killed process remembers the period");
    assert_eq!(provider.requests().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_over_its_budget_is_passed_over_and_then_another_group_answers() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let budget = json!({"max_budget": 0.03, "budget_duration": "1d", "order": 1});
    let config = json!({
        "model_list": [
            entry(&provider, "a", "small", "openai/fake-a", &budget),
            entry(&provider, "a", "other", "openai/fake-a", &json!({"max_budget": 0.05, "order": 2})),
            entry(&provider, "b", "spare", "openai/fake-a", &json!({})),
        ],
        "router_settings": {"fallbacks": [{"a": ["b"]}]},
    });
    let running = start(folder.path(), &config);
    for served in ["small", "other", "other", "spare"] {
        let answer = running.chat("a", MASTER);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("x-litellm-model-id").as_deref(), Some(served));
    }
    assert_eq!(excluded(&running), json!({"small": "budget", "other": "budget"}));
    let none = running.call("GET", "/provider/budgets", MASTER, b"");
    assert!(none.status == 404 && none.body.contains("provider_budget_config"), "{}", none.body);
}

/// Three replicas, a strict budget of 99 cents at one provider, and three times as many requests as that pays.
async fn exact(with_redis: bool) {
    let (database, provider) = (Database::create().await, provider().await);
    let config = json!({
        "model_list": [entry(&provider, "a", "one", "openai/fake-a", &json!({}))],
        "router_settings": {"provider_budget_config": {"openai": {"budget_limit": 0.99, "time_period": "30d"}}},
        "general_settings": {"strict_budgets": true},
    });
    let redis = with_redis.then(RedisServer::start);
    let url = redis.as_ref().map(RedisServer::url);
    let all = replicas(3, &config, &database.url(), url.as_deref());
    tokio::time::sleep(BEGUN).await;
    let nothing = json!({});
    let asks = (0..99).map(|number| settled(&all[number % 3].1.address, MASTER, &nothing));
    let (mut answered, mut cents) = (0, 0);
    for (status, body) in join_all(asks).await {
        match status {
            200 => {
                answered += 1;
                // The last cents may pay for a shorter answer.
                let body: Value = serde_json::from_str(&body).unwrap();
                cents += body["usage"]["completion_tokens"].as_u64().unwrap();
            }
            _ => assert!(status == 429 && body.contains("crossed budget"), "{status}: {body}"),
        }
    }
    assert!((97..=99).contains(&cents), "{cents} cents of the 99 that there are");
    assert_eq!(provider.requests().len(), answered);
    let since = Instant::now();
    let spent = cents as f64 / 100.0;
    loop {
        let shown = get(&all[0].1, "/provider/budgets")["providers"]["openai"]["spend"].as_f64().unwrap();
        if (shown - spent).abs() < 1e-9 {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "{shown} booked of {spent}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_over_redis_do_not_pass_a_providers_strict_budget() {
    exact(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_over_postgres_do_not_pass_a_providers_strict_budget() {
    exact(false).await;
}
