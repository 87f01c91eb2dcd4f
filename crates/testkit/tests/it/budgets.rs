//! Budgets hold under a crowd, and refuse nobody they could pay.

use std::sync::Arc;

use faregate_config::Env;
use faregate_fake_provider::FakeProvider;
use faregate_gateway::caller::{Caller, Subject};
use faregate_gateway::gate::Services;
use faregate_gateway::ports::{PrincipalSource, Then, Which};
use faregate_gateway::principals::Principals;
use faregate_state::limits::{Limit, Rule, Scope, ScopeKey, Standing, Window};
use faregate_terms::{Account, KeyHash, PicoUsd};
use faregate_testkit::{Client, Gateway, config};
use serde_json::{Value, json};

/// Every key of this test belongs to one team.
struct OneTeam(Vec<Limit>);

impl PrincipalSource for OneTeam {
    fn key(&self, hash: KeyHash, then: Then<Caller>) {
        let account = Account { api_key: hash.to_string(), team: Some("team".into()), ..Account::default() };
        let caller = Caller { account, limits: self.0.clone(), ..Caller::default() };
        then(Ok(Some(Arc::new(caller))));
    }

    fn subject(&self, _: &Which, then: Then<Subject>) {
        then(Ok(None));
    }
}

fn usd(text: &str) -> PicoUsd {
    PicoUsd::parse(text).unwrap()
}

fn team_budget(max: &str, rule: Rule) -> Limit {
    let scope = ScopeKey::of(Scope::Team, "team");
    Limit::budget(scope, usd(max), PicoUsd::ZERO, Window::Endless).with_rule(rule)
}

/// A model whose every answer costs three cents: three tokens at one cent.
fn model(provider: &FakeProvider) -> Value {
    json!({
        "model": "openai/gpt-4o-fake-text", "api_key": "sk-up", "api_base": format!("{}/v1", provider.url()),
        "input_cost_per_token": 0, "output_cost_per_token": 0.01,
    })
}

struct Crowd {
    gateway: Gateway,
    limit: Limit,
    services: faregate_state::limits::Limits,
    _provider: FakeProvider,
}

impl Crowd {
    async fn under(limit: Limit) -> Self {
        let provider = FakeProvider::start().await;
        let mut services = Services::alone();
        services.principals = Some(Arc::new(Principals::new(Arc::new(OneTeam(vec![limit.clone()])))));
        let limits = services.limits.clone();
        let config = config::of([("m", model(&provider))]);
        let gateway = Gateway::start_over(&config, &Env::empty(), services).await;
        Self { gateway, limit, services: limits, _provider: provider }
    }

    fn client(&self, number: usize) -> Client {
        let address = self.gateway.url().trim_start_matches("http://").parse().unwrap();
        Client::new(address, &format!("sk-crowd-{}", number % 50))
    }

    /// Sends this many requests at once; tells how many were answered.
    async fn storm(&self, count: usize, body: &Value) -> usize {
        let asks = (0..count).map(|number| async move {
            let reply = self.client(number).post("/v1/chat/completions", body).await;
            if reply.status != 200 {
                let error = reply.json();
                assert_eq!(reply.status, 422, "{error}");
                assert_eq!(error["error"]["type"], "budget_exceeded", "{error}");
                assert_eq!(reply.header("x-should-retry"), Some("false"), "SDKs must not try again");
            }
            usize::from(reply.status == 200)
        });
        futures_util::future::join_all(asks).await.into_iter().sum()
    }

    fn standing(&self) -> Standing {
        self.services.standing(&self.limit)
    }
}

fn ask(more: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_strict_budget_for_a_hundred_answers_pays_for_a_hundred_and_not_one_more() {
    for body in [ask(json!({})), ask(json!({"max_tokens": 64_000})), ask(json!({"stream": true}))] {
        let crowd = Crowd::under(team_budget("3", Rule::Within)).await;
        let answered = crowd.storm(1000, &body).await;
        let standing = crowd.standing();
        assert!(standing.spent <= usd("3").pico(), "{body}: spent {}", PicoUsd::from_pico(standing.spent));
        assert_eq!(standing.held, 0, "{body}: nothing is held when nothing is under way");
        assert!(answered >= 97, "{body}: {answered} answers, spent {}", PicoUsd::from_pico(standing.spent));
        crowd.gateway.stop().await;
    }
}

#[tokio::test]
async fn the_default_rule_admits_while_something_is_left() {
    let crowd = Crowd::under(team_budget("3", Rule::Below)).await;
    let answered = crowd.storm(1000, &ask(json!({"max_tokens": 64_000}))).await;
    let standing = crowd.standing();
    // The last request admitted may pass the limit by what it costs.
    assert!(standing.spent <= usd("3.03").pico(), "spent {}", PicoUsd::from_pico(standing.spent));
    assert!(answered >= 100, "{answered} answers");
    crowd.gateway.stop().await;
}

#[tokio::test]
async fn a_stream_ends_cleanly_where_its_budget_ends() {
    let crowd = Crowd::under(team_budget("0.40", Rule::Within)).await;
    // Two hundred words, of which the budget pays for some.
    let words = vec!["word"; 200].join(" ");
    let body = json!({
        "model": "m", "stream": true, "messages": [{"role": "user", "content": words}],
        "stream_options": {"include_usage": true},
    });
    let frames = crowd.client(0).stream("/v1/chat/completions", &body).await;
    assert_eq!(frames.last().unwrap().data, "[DONE]");
    let reasons: Vec<String> = frames
        .iter()
        .filter_map(|frame| frame.json()?["choices"][0]["finish_reason"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(reasons, ["length"], "{frames:#?}");
    assert!(crowd.standing().spent <= usd("0.40").pico(), "{:?}", crowd.standing());
    crowd.gateway.stop().await;
}
