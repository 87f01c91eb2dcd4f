//! Answers that were kept: who gets them, in which form, what they cost, and what a cache that fails costs.

mod away;
mod forms;
mod items;
mod semantic;
mod shared;

use std::sync::Arc;

use faregate_config::Env;
use faregate_fake_provider::FakeProvider;
use faregate_gateway::caller::{Caller, Subject};
use faregate_gateway::gate::Services;
use faregate_gateway::ports::{PrincipalSource, Then, Which};
use faregate_gateway::principals::Principals;
use faregate_state::limits::Limit;
use faregate_terms::{Account, KeyHash};
use faregate_testkit::{Client, Gateway, MASTER_KEY, Reply, config};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// A provider and a gateway with a cache in front of it.
struct Cached {
    provider: FakeProvider,
    gateway: Gateway,
}

/// The kit's groups, with these `litellm_settings` and no retries.
fn with_settings(provider: &FakeProvider, litellm: Value) -> String {
    let mut config: Value = serde_json::from_str(&config::every_dialect(provider)).unwrap();
    config["litellm_settings"] = litellm;
    config["router_settings"] = json!({"num_retries": 0});
    config.to_string()
}

/// `cache: true` with these parameters on top of a cache in memory.
fn caching(params: Value) -> Value {
    let mut all = json!({"type": "local"});
    all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
    json!({"cache": true, "cache_params": all, "callbacks": ["prometheus"]})
}

impl Cached {
    async fn with(params: Value) -> Self {
        let provider = FakeProvider::start().await;
        let gateway = Gateway::start(&with_settings(&provider, caching(params))).await;
        Self { provider, gateway }
    }

    /// The same with virtual keys: `sk-<team>-<anything>` belongs to that team.
    async fn with_keys(params: Value, limits: Vec<Limit>) -> Self {
        let provider = FakeProvider::start().await;
        let mut services = Services::alone();
        services.principals = Some(Arc::new(Principals::new(Arc::new(Teams(limits)))));
        let config = with_settings(&provider, caching(params));
        let gateway = Gateway::start_over(&config, &Env::empty(), services).await;
        Self { provider, gateway }
    }

    fn client(&self, key: &str) -> Client {
        Client::new(self.gateway.url().trim_start_matches("http://").parse().unwrap(), key)
    }

    /// Calls that reached the provider.
    fn calls(&self) -> u64 {
        self.provider.stats().requests
    }

    /// Asks and tells whether the cache answered.
    async fn is_hit(&self, body: &Value) -> bool {
        is_hit(&self.gateway.post(CHAT, body).await)
    }

    /// The value of the first series of this name.
    async fn metric(&self, name: &str) -> Option<f64> {
        let text = String::from_utf8(self.gateway.get("/metrics").await.body.to_vec()).unwrap();
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

fn is_hit(reply: &Reply) -> bool {
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.header("x-litellm-cache-key").is_some()
}

/// Asks until the cache answers: on a busy machine a store may take longer than a request waits for it.
async fn until_hit(gateway: &Gateway, body: &Value) -> Reply {
    let start = std::time::Instant::now();
    loop {
        let reply = gateway.post(CHAT, body).await;
        if is_hit(&reply) {
            return reply;
        }
        assert!(start.elapsed().as_secs() < 30, "nothing is kept");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn ask(content: &str, more: Value) -> Value {
    let mut body = json!({"model": "openai", "messages": [{"role": "user", "content": content}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Knows every key; all have the same limits.
struct Teams(Vec<Limit>);

const KEYS: [(&str, &str); 3] = [("sk-red-1", "red"), ("sk-red-2", "red"), ("sk-blue-1", "blue")];

impl PrincipalSource for Teams {
    fn key(&self, hash: KeyHash, then: Then<Caller>) {
        let team = KEYS.iter().find(|(key, _)| KeyHash::of(key) == hash).map(|(_, team)| (*team).to_owned());
        let account = Account { api_key: hash.to_string(), team, ..Account::default() };
        then(Ok(Some(Arc::new(Caller { account, limits: self.0.clone(), ..Caller::default() }))));
    }

    fn subject(&self, _: &Which, then: Then<Subject>) {
        then(Ok(None));
    }
}

#[tokio::test]
async fn requests_say_how_they_want_to_be_served() {
    let cached = Cached::with(json!({})).await;
    let with = |cache: Value| ask("controls", json!({"cache": cache}));
    assert!(!cached.is_hit(&with(json!({"no-store": true}))).await);
    assert!(!cached.is_hit(&with(json!({}))).await, "what must not be kept was not");
    assert!(cached.is_hit(&with(json!({"no-store": true}))).await, "it may still be found");
    assert!(!cached.is_hit(&with(json!({"no-cache": true}))).await);
    assert!(!cached.is_hit(&ask("controls", json!({"caching": false}))).await);
    assert!(cached.is_hit(&ask("controls", json!({"caching": true}))).await);
    assert!(!cached.is_hit(&with(json!({"namespace": "other"}))).await);
    assert!(cached.is_hit(&with(json!({"namespace": "other"}))).await);
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    assert!(!cached.is_hit(&with(json!({"s-maxage": 0.05}))).await, "older than it may be");
    assert!(cached.is_hit(&with(json!({"s-maxage": 60}))).await);
    let brief = |content| ask(content, json!({"cache": {"ttl": 0.3}}));
    assert!(!cached.is_hit(&brief("brief")).await);
    assert!(cached.is_hit(&brief("brief")).await);
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert!(!cached.is_hit(&brief("brief")).await, "its time was over");
    let reply = cached.gateway.post(CHAT, &with(json!({"ttl": "long"}))).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["param"]), (400, &json!("cache.ttl")));
    assert!(!cached.provider.requests().iter().any(|request| request.json().get("cache").is_some()));
}

#[tokio::test]
async fn whatever_may_change_the_answer_makes_another_request() {
    let cached = Cached::with(json!({})).await;
    let base = ask("same", json!({"temperature": 0.5}));
    assert!(!cached.is_hit(&base).await);
    for other in [
        json!({"temperature": 0.6}),
        json!({"top_k": 5}),
        json!({"seed": 1}),
        json!({"user": "somebody"}),
        json!({"model": "groq"}),
        json!({"messages": [{"role": "user", "content": "Same"}]}),
        json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}),
    ] {
        let mut body = base.clone();
        body.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        assert!(!cached.is_hit(&body).await, "{other}");
    }
    let mut traced = base.clone();
    traced["metadata"] = json!({"trace_id": "t1"});
    assert!(cached.is_hit(&traced).await, "what only the gateway reads does not count");
    let response = async |trace: &str| {
        let body = json!({"model": "openai", "input": "same", "metadata": {"trace": trace}});
        is_hit(&cached.gateway.post("/v1/responses", &body).await)
    };
    assert!(!response("one").await && !response("two").await, "a response repeats its metadata");
    assert!(response("one").await);
    // Members in another order, with other white space.
    let shuffled = r#"{ "temperature":0.5 , "messages": [ {"role":"user","content":"same"} ],
        "model": "openai"}"#;
    let client = cached.client(MASTER_KEY);
    assert!(is_hit(&client.call(http::Method::POST, CHAT, shuffled.into()).await));
}

#[tokio::test]
async fn only_those_who_ask_are_served_where_the_cache_is_off_by_default() {
    let cached = Cached::with(json!({"mode": "default_off"})).await;
    for _ in 0..2 {
        assert!(!cached.is_hit(&ask("a", json!({}))).await);
    }
    let opted = ask("a", json!({"cache": {"use-cache": true}}));
    assert!(!cached.is_hit(&opted).await);
    assert!(cached.is_hit(&opted).await);
    let listed = Cached::with(json!({"supported_call_types": ["aresponses"]})).await;
    for _ in 0..2 {
        assert!(!listed.is_hit(&ask("a", json!({}))).await);
    }
}

#[tokio::test]
async fn a_hit_costs_nothing_and_says_what_it_saved() {
    let cached = Cached::with(json!({})).await;
    let mut receipts = cached.gateway.receipts();
    let first = cached.gateway.post(CHAT, &ask("price", json!({}))).await;
    let second = cached.gateway.post(CHAT, &ask("price", json!({}))).await;
    let cost = first.header("x-litellm-response-cost").unwrap();
    assert_ne!(cost, "0");
    assert_eq!(second.header("x-litellm-response-cost"), Some("0"));
    assert_eq!(second.header("x-faregate-cache-saved"), Some(cost));
    let (paid, free) = (receipts.next().await, receipts.next().await);
    assert_eq!((paid.log.cache_hit, free.log.cache_hit), (Some(false), Some(true)));
    assert_eq!(free.cost, Some(faregate_terms::PicoUsd::ZERO));
    assert_eq!(free.usage, paid.usage);
    assert_eq!(free.deployment, paid.deployment);
    assert!(free.attempts.is_empty());
    assert_eq!(free.log.cache_key.as_deref(), second.header("x-litellm-cache-key"));
    let metadata: Value = serde_json::from_str(free.log.metadata.as_deref().unwrap()).unwrap();
    assert_eq!(
        metadata["saved_cache_cost"].to_string().parse::<f64>().unwrap(),
        cost.parse::<f64>().unwrap()
    );
    assert_eq!(cached.metric("litellm_cache_hits_metric_total").await, Some(1.0));
    assert_eq!(cached.metric("litellm_cache_misses_metric_total").await, Some(1.0));
    let tokens = cached.metric("litellm_cached_tokens_metric_total").await;
    assert_eq!(tokens, Some(paid.usage.total() as f64));
    assert_eq!(cached.metric("litellm_deployment_total_requests_total").await, Some(1.0));
}

#[tokio::test]
async fn errors_and_broken_streams_are_not_kept() {
    let cached = Cached::with(json!({})).await;
    for _ in 0..2 {
        let reply = cached.gateway.post(CHAT, &ask("[[fake: status=400]]", json!({}))).await;
        assert_eq!(reply.status, 400);
    }
    assert_eq!(cached.calls(), 2);
    let broken = ask("[[fake: tokens=9 cut_after=4]]", json!({"stream": true}));
    for _ in 0..2 {
        let reply = cached.gateway.post(CHAT, &broken).await;
        assert!(reply.header("x-litellm-cache-key").is_none());
    }
    assert_eq!(cached.calls(), 4);
}

#[tokio::test]
async fn a_cache_survives_a_reload_that_leaves_its_settings_alone() {
    let cached = Cached::with(json!({})).await;
    assert!(!cached.is_hit(&ask("kept", json!({}))).await);
    cached.gateway.swap(&with_settings(&cached.provider, caching(json!({}))));
    assert!(cached.is_hit(&ask("kept", json!({}))).await);
    cached.gateway.swap(&with_settings(&cached.provider, caching(json!({"ttl": 5}))));
    assert!(!cached.is_hit(&ask("kept", json!({}))).await);
}
