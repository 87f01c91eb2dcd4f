//! Effort, adaptive thinking and budgets, on models that know one or the other.

use serde_json::{Value, json};

use crate::chat::ChatRequest;
use crate::dialect::{
    Abilities, ClientCall, Dialect, Flavor, Losses, ProviderDialect, Quirks, Target, Unsupported,
};

/// Claude Haiku 4.5: a budget only.
fn budget_only() -> Abilities {
    Abilities { reasoning: Some(true), ..Abilities::default() }
}

/// Claude Opus 4.5: a budget, and an effort up to high.
fn budget_and_effort() -> Abilities {
    Abilities { effort_config: true, ..budget_only() }
}

/// Claude Opus 4.6: adaptive, and still a budget.
fn both() -> Abilities {
    let max_effort = Some(true);
    Abilities { adaptive_thinking: true, legacy_thinking: true, max_effort, ..budget_and_effort() }
}

/// Claude Opus 4.7 and later: adaptive only.
fn adaptive_only() -> Abilities {
    Abilities { legacy_thinking: false, xhigh_effort: Some(true), ..both() }
}

/// What of a client's request reaches a model with these abilities: `thinking`, the effort, the losses.
fn sent(dialect: Dialect, members: &Value, abilities: Abilities) -> (Value, Value, Vec<String>) {
    let mut losses = Losses::default();
    let body = render(dialect, members, abilities, &mut losses).unwrap();
    (body["thinking"].clone(), body["output_config"]["effort"].clone(), losses.into_names())
}

fn request(dialect: Dialect, members: &Value) -> ChatRequest {
    let mut body = json!({"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    dialect.client().unwrap().decode(&crate::json::write(&body), &ClientCall::default()).unwrap()
}

fn render(
    dialect: Dialect,
    members: &Value,
    abilities: Abilities,
    losses: &mut Losses,
) -> Result<Value, Unsupported> {
    let request = request(dialect, members);
    let (quirks, flavor) = (Quirks::default(), Flavor::Plain);
    let model = "claude";
    let target =
        Target { provider: "x", model, flavor, abilities, quirks: &quirks, may_modify: false, betas: vec![] };
    let body = super::super::Provider.body(&request, &target, losses)?;
    Ok(crate::json::read(&body).unwrap())
}

#[test]
fn an_effort_without_thinking_stays_an_effort_without_thinking() {
    let low = json!({"output_config": {"effort": "low"}});
    for abilities in [budget_and_effort(), both(), adaptive_only()] {
        let found = sent(Dialect::Anthropic, &low, abilities);
        assert_eq!(found, (Value::Null, json!("low"), vec![]));
    }
    let lost = vec!["reasoning.effort".to_owned()];
    assert_eq!(sent(Dialect::Anthropic, &low, budget_only()), (Value::Null, Value::Null, lost));
}

#[test]
fn adaptive_thinking_is_a_budget_where_a_model_has_no_other() {
    let wish = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}});
    let adaptive = json!({"type": "adaptive"});
    let budget = json!({"type": "enabled", "budget_tokens": 4096});
    for (abilities, thinking, effort) in [
        (budget_only(), &budget, Value::Null),
        (budget_and_effort(), &budget, json!("high")),
        (both(), &adaptive, json!("high")),
        (adaptive_only(), &adaptive, json!("high")),
    ] {
        assert_eq!(sent(Dialect::Anthropic, &wish, abilities), (thinking.clone(), effort, vec![]));
    }
}

#[test]
fn a_budget_becomes_an_effort_only_where_no_budget_is_taken() {
    let wish = json!({"thinking": {"type": "enabled", "budget_tokens": 4096}});
    let budget = wish["thinking"].clone();
    for abilities in [budget_only(), budget_and_effort(), both()] {
        assert_eq!(sent(Dialect::Anthropic, &wish, abilities), (budget.clone(), Value::Null, vec![]));
    }
    let lost = vec!["reasoning.budget".to_owned()];
    let found = sent(Dialect::Anthropic, &wish, adaptive_only());
    assert_eq!(found, (json!({"type": "adaptive"}), json!("high"), lost));
}

#[test]
fn openais_effort_asks_for_thinking() {
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    let adaptive = json!({"type": "adaptive"});
    let lost = || vec!["reasoning.effort".to_owned()];
    for (word, abilities, thinking, effort, losses) in [
        ("low", budget_only(), budget(1024), Value::Null, vec![]),
        ("high", budget_and_effort(), budget(4096), Value::Null, vec![]),
        ("minimal", adaptive_only(), adaptive.clone(), json!("low"), vec![]),
        ("medium", both(), adaptive.clone(), json!("medium"), vec![]),
        ("xhigh", both(), adaptive.clone(), json!("high"), lost()),
        ("xhigh", adaptive_only(), adaptive.clone(), json!("xhigh"), vec![]),
        ("max", both(), adaptive.clone(), json!("max"), vec![]),
        ("none", both(), json!({"type": "disabled"}), Value::Null, vec![]),
        ("none", budget_only(), Value::Null, Value::Null, vec![]),
    ] {
        let found = sent(Dialect::OpenAiChat, &json!({"reasoning_effort": word}), abilities);
        assert_eq!(found, (thinking, effort, losses), "{word}");
    }
}

#[test]
fn an_effort_comes_back_as_it_was_asked_for() {
    let openai = Dialect::OpenAiChat.provider().unwrap();
    for word in ["low", "medium", "high", "xhigh"] {
        let mut losses = Losses::default();
        let asked = json!({"reasoning_effort": word});
        let claude = render(Dialect::OpenAiChat, &asked, adaptive_only(), &mut losses).unwrap();
        let request = request(Dialect::Anthropic, &claude);
        let quirks = Quirks::default();
        let (flavor, abilities) = (Flavor::Plain, budget_only());
        let target = Target {
            provider: "x",
            model: "gpt-5",
            flavor,
            abilities,
            quirks: &quirks,
            may_modify: false,
            betas: vec![],
        };
        let body: Value = crate::json::read(&openai.body(&request, &target, &mut losses).unwrap()).unwrap();
        assert_eq!(body["reasoning_effort"], word);
        assert!(losses.names().is_empty(), "{word}: {losses:?}");
    }
}

#[test]
fn models_that_always_think_are_not_told_to_stop() {
    let abilities = || Abilities { always_thinks: true, ..adaptive_only() };
    let lost = vec!["reasoning.disabled".to_owned()];
    let anthropic = json!({"thinking": {"type": "disabled"}});
    assert_eq!(sent(Dialect::Anthropic, &anthropic, abilities()), (Value::Null, Value::Null, lost.clone()));
    let openai = json!({"reasoning_effort": "none"});
    assert_eq!(sent(Dialect::OpenAiChat, &openai, abilities()), (Value::Null, Value::Null, lost));
}

#[test]
fn sampling_and_forced_tools_a_model_does_not_take_are_not_sent() {
    let abilities = || Abilities { sampling: Some(false), forced_tools: Some(false), ..adaptive_only() };
    let mut losses = Losses::default();
    let wish = json!({"temperature": 0.2, "top_p": 0.99});
    let body = render(Dialect::OpenAiChat, &wish, abilities(), &mut losses).unwrap();
    assert!(body.get("temperature").is_none() && body.get("top_p").is_none());
    assert_eq!(losses.names(), ["sampling.temperature", "sampling.top_p"]);
    let one = render(Dialect::OpenAiChat, &json!({"temperature": 1}), abilities(), &mut losses).unwrap();
    assert_eq!(one["temperature"], 1);
    let tool = json!({"type": "function", "function": {"name": "f"}});
    let forced = json!({"tools": [tool], "tool_choice": "required"});
    let refused = render(Dialect::OpenAiChat, &forced, abilities(), &mut losses).unwrap_err();
    assert_eq!(refused.what, "tool_choice");
    assert!(refused.why.contains("`auto`"));
}
