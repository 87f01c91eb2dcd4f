//! Limits of the caller, when another deployment or group answers than the first.

use std::sync::Arc;

use faregate_config::Env;
use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::caller::{Caller, Grant, Granter, ModelLimit, Subject};
use faregate_gateway::gate::Services;
use faregate_gateway::ports::{PrincipalSource, Then, Which};
use faregate_gateway::principals::Principals;
use faregate_gateway::steering::Preferences;
use faregate_state::limits::{Limit, Limits, Rule, Scope, ScopeKey, Window};
use faregate_terms::{Account, KeyHash, PicoUsd};
use faregate_testkit::{Client, Gateway, Reply};
use futures_util::future::{join, join3};
use serde_json::{Value, json};

use super::{called, chat, config, entry, fails, start};

/// Every key is this one.
struct One {
    limits: Vec<Limit>,
    model_limits: Vec<ModelLimit>,
    models: Vec<String>,
    settings: Value,
}

impl PrincipalSource for One {
    fn key(&self, _: KeyHash, then: Then<Caller>) {
        let grants = vec![Grant { whose: Granter::Key, models: self.models.clone() }];
        then(Ok(Some(Arc::new(Caller {
            account: Account { api_key: "k".into(), ..Account::default() },
            limits: self.limits.clone(),
            model_limits: self.model_limits.clone(),
            grants,
            preferences: Preferences::read(&self.settings),
            ..Caller::default()
        }))));
    }

    fn subject(&self, which: &Which, then: Then<Subject>) {
        let european = *which == Which::EndUser("european".into());
        let subject = || Arc::new(Subject { region: Some("eu".to_owned()), ..Subject::default() });
        then(Ok(european.then(subject)));
    }
}

struct Stage {
    provider: FakeProvider,
    gateway: Gateway,
    limits: Limits,
}

impl Stage {
    /// Groups `a`, whose answers are cheap and which fails, and `b`, whose answers cost 3 cents.
    async fn with(one: One, general: Value) -> Self {
        let provider = FakeProvider::start().await;
        let priced = |group, model, price| {
            entry(&provider, group, model, json!({"input_cost_per_token": 0, "output_cost_per_token": price}))
        };
        let entries = [priced("a", "up-a", 0.0001), priced("b", "up-b", 0.01)];
        fails(&provider, "up-a", 500);
        let router = json!({"num_retries": 0, "fallbacks": [{"a": ["b"]}]});
        let mut config: Value = serde_json::from_str(&config(entries, router)).unwrap();
        config["general_settings"].as_object_mut().unwrap().extend(general.as_object().unwrap().clone());
        let mut services = Services::alone();
        services.principals = Some(Arc::new(Principals::new(Arc::new(one))));
        let limits = services.limits.clone();
        let gateway = Gateway::start_over(&config.to_string(), &Env::empty(), services).await;
        Self { provider, gateway, limits }
    }

    async fn ask(&self, more: Value) -> Reply {
        let address = self.gateway.url().trim_start_matches("http://").parse().unwrap();
        Client::new(address, "sk-one").post("/v1/chat/completions", &super::ask("a", more)).await
    }
}

fn one(limits: Vec<Limit>) -> One {
    One { limits, model_limits: Vec::new(), models: Vec::new(), settings: Value::Null }
}

fn usd(text: &str) -> PicoUsd {
    PicoUsd::parse(text).unwrap()
}

fn budget(max: &str) -> Limit {
    let scope = ScopeKey::of(Scope::Key, "k");
    Limit::budget(scope, usd(max), PicoUsd::ZERO, Window::Endless).with_rule(Rule::Within)
}

#[tokio::test]
async fn a_strict_budget_holds_when_a_dearer_group_answers() {
    let limit = budget("0.10");
    let stage = Stage::with(one(vec![limit.clone()]), json!({})).await;
    let mut answers = 0;
    for _ in 0..6 {
        let reply = stage.ask(json!({})).await;
        answers += usize::from(reply.status == 200);
        let standing = stage.limits.standing(&limit);
        assert!(standing.spent <= usd("0.10").pico(), "{}", PicoUsd::from_pico(standing.spent));
        assert_eq!(standing.held, 0);
    }
    assert!(answers >= 3, "{answers} answers of 3 cents each");
}

#[tokio::test]
async fn a_request_with_a_fallback_is_one_request() {
    let limit = Limit::requests(ScopeKey::of(Scope::Key, "k"), 3);
    let stage = Stage::with(one(vec![limit]), json!({})).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(stage.ask(json!({})).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[tokio::test]
async fn a_fallback_counts_in_the_limits_of_its_own_model() {
    let per_model = |model: &str, most| ModelLimit {
        model: model.to_owned(),
        limit: Limit::requests(ScopeKey::per_model(Scope::Key, "k", model), most),
    };
    let one = One { model_limits: vec![per_model("a", 10), per_model("b", 2)], ..one(Vec::new()) };
    let stage = Stage::with(one, json!({})).await;
    for expected in [200, 200, 500] {
        assert_eq!(stage.ask(json!({})).await.status, expected);
    }
    assert_eq!(called(&stage.provider).iter().filter(|model| *model == "up-b").count(), 2);
}

#[tokio::test]
async fn configured_fallbacks_are_open_unless_access_is_enforced_and_a_clients_own_are_not() {
    for (general, status) in [(json!({}), 200), (json!({"enforce_fallback_model_access": true}), 500)] {
        let one = One { models: vec!["a".into()], ..one(Vec::new()) };
        let stage = Stage::with(one, general).await;
        assert_eq!(stage.ask(json!({})).await.status, status);
        let reply = stage.ask(json!({"fallbacks": ["b"]})).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]["type"]),
            (403, &json!("key_model_access_denied"))
        );
    }
}

#[tokio::test]
async fn a_keys_own_settings_come_before_the_routers_and_after_the_requests() {
    let settings = json!({"num_retries": 2, "fallbacks": []});
    let stage = Stage::with(One { settings, ..one(Vec::new()) }, json!({})).await;
    for (more, calls) in [(json!({}), 3), (json!({"num_retries": 1}), 2)] {
        stage.provider.reset();
        fails(&stage.provider, "up-a", 500);
        let mut body = more.clone();
        body["disable_fallbacks"] = json!(true);
        assert_eq!(stage.ask(body).await.status, 500);
        assert_eq!(called(&stage.provider).len(), calls, "{more}");
    }
}

#[tokio::test]
async fn an_end_user_is_served_in_its_region_or_not_at_all() {
    let stage = Stage::with(one(Vec::new()), json!({})).await;
    let reply = stage.ask(json!({"user": "european", "allowed_model_region": "us"})).await;
    assert_eq!(reply.status, 400, "{}", reply.json());
    assert_eq!(called(&stage.provider), Vec::<String>::new(), "no fallback either");
    assert_eq!(stage.ask(json!({"user": "somebody"})).await.status, 200);
}

#[tokio::test]
async fn of_those_that_wait_for_a_place_the_most_urgent_goes_first() {
    let provider = FakeProvider::start().await;
    let entries = [entry(&provider, "a", "up-1", json!({"max_parallel_requests": 1}))];
    let gateway = start(entries, json!({"default_priority": 3})).await;
    provider.always(Matcher::any(), Answer::directive("first_byte_ms=200"));
    let says = |text: &str, more: Value| {
        let mut more = more;
        more["messages"] = json!([{"role": "user", "content": text}]);
        more
    };
    let (asks, gate) = (&gateway, gateway.gate());
    let queued = async |count: usize| {
        while gate.health.queue().waiting() < count {
            tokio::task::yield_now().await;
        }
    };
    let first = chat(asks, "a", says("first", json!({})));
    let later = async {
        provider.received(1).await;
        let patient = chat(asks, "a", says("patient", json!({"priority": 9})));
        let usual = async {
            queued(1).await;
            chat(asks, "a", says("usual", json!({}))).await
        };
        let urgent = async {
            queued(2).await;
            chat(asks, "a", says("urgent", json!({"priority": 0}))).await
        };
        join3(patient, usual, urgent).await
    };
    let (first, (patient, usual, urgent)) = join(first, later).await;
    for reply in [first, patient, usual, urgent] {
        assert_eq!(reply.status, 200, "{}", reply.json());
    }
    let order: Vec<String> = provider
        .requests()
        .iter()
        .map(|request| request.json()["messages"][0]["content"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(order, ["first", "urgent", "usual", "patient"]);
    assert!(provider.requests().iter().all(|request| request.json().get("priority").is_none()));
}
