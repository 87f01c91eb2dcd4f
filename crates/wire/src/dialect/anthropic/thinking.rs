//! How much a Claude model is to think, and what that forbids.
//!
//! Source: Anthropic API, "Extended thinking" and "Adaptive thinking".

use serde_json::{Map, Number, Value, json};

use crate::chat::{ChatRequest, Effort, Message, Part, Reasoning, Role, ToolChoice};
use crate::dialect::{Losses, Target, Unsupported};

#[cfg(test)]
mod tests;

/// The least budget the API takes, tokens.
const LEAST_BUDGET: u64 = 1024;
/// What a model may write when neither client nor catalog gives a bound, tokens.
///
/// Source: LiteLLM, `DEFAULT_ANTHROPIC_CHAT_MAX_TOKENS`.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// The least `top_p` while a model thinks.
const LEAST_TOP_P: f64 = 0.95;

/// What to send for reasoning and for the parameters reasoning restricts.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Plan {
    /// The `thinking` object.
    pub thinking: Option<Value>,
    /// `output_config.effort`.
    pub effort: Option<String>,
    /// `max_tokens`.
    pub max_tokens: u64,
    /// `temperature`, within the dialect's 0 to 1.
    pub temperature: Option<Number>,
    /// `top_p`.
    pub top_p: Option<Number>,
    /// `top_k`.
    pub top_k: Option<u64>,
}

impl Plan {
    /// True when the model will think, so no tool may be forced.
    pub(in crate::dialect) fn thinks(&self) -> bool {
        self.thinking.as_ref().is_some_and(|it| it["type"] != "disabled")
    }
}

/// Decides, noting what is lost.
pub(in crate::dialect) fn plan(request: &ChatRequest, target: &Target<'_>, losses: &mut Losses) -> Plan {
    let sampling = &request.sampling;
    let mut plan = Plan {
        max_tokens: sampling
            .max_output_tokens
            .or(target.abilities.max_output_tokens)
            .unwrap_or(DEFAULT_MAX_TOKENS),
        temperature: sampling.temperature.clone(),
        top_p: sampling.top_p.clone(),
        top_k: sampling.top_k,
        ..Plan::default()
    };
    if let Some(reasoning) = &request.reasoning {
        plan.effort = effort(reasoning, target, losses);
        plan.thinking = thinking(reasoning, request, target, &mut plan, losses);
    }
    if target.abilities.sampling == Some(false) {
        restrict(&mut plan, f64::INFINITY, losses);
    } else if plan.thinks() {
        restrict(&mut plan, LEAST_TOP_P, losses);
    } else if plan.temperature.as_ref().and_then(Number::as_f64).is_some_and(|it| it > 1.0) {
        // OpenAI's scale ends at 2, this one at 1.
        losses.note("sampling.temperature");
        plan.temperature = Some(Number::from(1));
    }
    plan
}

/// `output_config.effort`, for models that have it. A wish in OpenAI's words is one for thinking, which
/// models without the adaptive kind answer with a budget; a budget becomes an effort only where it must.
fn effort(reasoning: &Reasoning, target: &Target<'_>, losses: &mut Losses) -> Option<String> {
    let abilities = &target.abilities;
    let in_our_words = reasoning.effort_only || reasoning.adaptive || reasoning.budget.is_some();
    let wish = match (&reasoning.effort, reasoning.budget) {
        (Some(Effort::None), _) => return None,
        (Some(effort), _) if abilities.adaptive_thinking || in_our_words || reasoning.disabled => {
            effort.clone()
        }
        (None, Some(budget)) if budget > 0 && takes_no_budget(target) => Effort::of_budget(budget),
        _ => return None,
    };
    if !abilities.effort_config {
        if reasoning.effort_only {
            losses.note("reasoning.effort");
        }
        return None;
    }
    let wish = match wish {
        Effort::Minimal => Effort::Low,
        wish => abilities.effort(wish, losses),
    };
    Some(wish.word().to_owned())
}

fn takes_no_budget(target: &Target<'_>) -> bool {
    target.abilities.adaptive_thinking && !target.abilities.legacy_thinking
}

fn thinking(
    reasoning: &Reasoning,
    request: &ChatRequest,
    target: &Target<'_>,
    plan: &mut Plan,
    losses: &mut Losses,
) -> Option<Value> {
    let abilities = &target.abilities;
    let off = reasoning.disabled || reasoning.budget == Some(0);
    // OpenAI's `none` is the default of models that think with a budget only.
    if off || (reasoning.effort == Some(Effort::None) && abilities.adaptive_thinking) {
        if abilities.always_thinks {
            losses.note("reasoning.disabled");
            return None;
        }
        return (abilities.reasoning != Some(false)).then(|| json!({"type": "disabled"}));
    }
    let asked = reasoning.adaptive || reasoning.budget.is_some() || reasoning.effort.is_some();
    if !asked || reasoning.effort_only || reasoning.effort == Some(Effort::None) {
        return None;
    }
    if abilities.reasoning == Some(false) {
        losses.note("reasoning");
        return None;
    }
    if forced(request) {
        // The API refuses both at once; the tool is the stricter wish.
        losses.note("reasoning");
        return None;
    }
    let prefers_budget = reasoning.budget.is_some() && abilities.legacy_thinking;
    if abilities.adaptive_thinking && !prefers_budget {
        if reasoning.budget.is_some() {
            losses.note("reasoning.budget");
        }
        return Some(with_display(json!({"type": "adaptive"}), reasoning, true));
    }
    if unsigned_tool_turn(&request.messages) {
        losses.note("reasoning.signature");
        return None;
    }
    let budget = budget(reasoning, request, plan, losses)?;
    let thinking = json!({"type": "enabled", "budget_tokens": budget});
    Some(with_display(thinking, reasoning, false))
}

/// The budget, which must be below `max_tokens`; `None` if there is no room for the least one.
fn budget(reasoning: &Reasoning, request: &ChatRequest, plan: &mut Plan, losses: &mut Losses) -> Option<u64> {
    let effort = reasoning.effort.as_ref().unwrap_or(&Effort::Medium);
    let wanted = reasoning.budget.unwrap_or_else(|| effort.budget()).max(LEAST_BUDGET);
    if wanted < plan.max_tokens {
        return Some(wanted);
    }
    if request.sampling.max_output_tokens.is_none() {
        plan.max_tokens = wanted + DEFAULT_MAX_TOKENS;
        return Some(wanted);
    }
    losses.note("reasoning.budget");
    // Half for thinking leaves half for the answer.
    (plan.max_tokens > LEAST_BUDGET).then(|| (plan.max_tokens / 2).max(LEAST_BUDGET))
}

fn with_display(thinking: Value, reasoning: &Reasoning, adaptive: bool) -> Value {
    let display = match reasoning.summary.as_deref() {
        Some(word @ ("summarized" | "omitted")) => word,
        // Other dialects' wish for a summary; adaptive models leave it out by default.
        Some("auto" | "concise" | "detailed") if adaptive => "summarized",
        _ => return thinking,
    };
    let mut members = match thinking {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    members.insert("display".to_owned(), json!(display));
    Value::Object(members)
}

/// Some models refuse to be forced; answering without the tool would break what the client counts on.
pub(in crate::dialect) fn check_forced(
    request: &ChatRequest,
    target: &Target<'_>,
) -> Result<(), Unsupported> {
    if target.abilities.forced_tools != Some(false) || !forced(request) {
        return Ok(());
    }
    Err(Unsupported {
        what: "tool_choice".to_owned(),
        why: "it cannot be forced to call a tool; send tool_choice `auto` and ask for the call in the prompt"
            .to_owned(),
    })
}

fn forced(request: &ChatRequest) -> bool {
    matches!(
        request.tool_choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::AnyOf { required: true, .. })
    )
}

/// True when the turn that is going on has a tool call without the thinking that led to it: with a budget
/// the API insists on getting it back.
fn unsigned_tool_turn(messages: &[Message]) -> bool {
    let Some(last) = messages.iter().rposition(|message| message.role == Role::Assistant) else {
        return false;
    };
    let awaits_tools = messages[last + 1..].iter().all(|message| message.role == Role::Tool);
    let parts = &messages[last].parts;
    let calls = parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
    let signed = parts.iter().any(|part| {
        matches!(part, Part::Reasoning { signature: Some(it), .. }
            if matches!(it.family, crate::chat::Family::Anthropic | crate::chat::Family::Bedrock))
    });
    awaits_tools && calls && !signed
}

/// Temperature must be 1, `top_p` at least `least`, and `top_k` absent.
fn restrict(plan: &mut Plan, least: f64, losses: &mut Losses) {
    if plan.temperature.take_if(|it| it.as_f64() != Some(1.0)).is_some() {
        losses.note("sampling.temperature");
    }
    if plan.top_p.take_if(|it| it.as_f64().is_none_or(|it| it < least)).is_some() {
        losses.note("sampling.top_p");
    }
    if plan.top_k.take().is_some() {
        losses.note("sampling.top_k");
    }
}
