//! What the wish for reasoning becomes: `thinkingConfig`.
//!
//! Source: Gemini API, "Gemini thinking": Gemini 3 takes a level, 2.5 a budget; Gemini 3 and 2.5 Pro
//! cannot stop thinking altogether.

use serde_json::{Map, Value, json};

use crate::chat::{Effort, Family, Reasoning};
use crate::dialect::{Losses, Target};

/// Whether the model is of the third generation or later.
pub(super) fn is_third(model: &str) -> bool {
    let generation = model.split("gemini-").nth(1).and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    generation.is_some_and(|number| number >= 3)
}

/// Renders `thinkingConfig`.
pub(super) fn config(wish: &Reasoning, target: &Target<'_>, losses: &mut Losses) -> Option<Value> {
    if target.abilities.reasoning == Some(false) {
        let off = wish.disabled || wish.effort == Some(Effort::None);
        if !off {
            losses.note("reasoning");
        }
        return None;
    }
    let mut config = Map::new();
    if wish.disabled || wish.effort == Some(Effort::None) {
        return off(target.model, losses);
    }
    let shows = !matches!(wish.summary.as_deref(), Some("none" | "omitted"));
    config.insert("includeThoughts".to_owned(), json!(shows));
    match (&wish.effort, wish.budget) {
        (Some(effort), None) if is_third(target.model) => {
            config.insert("thinkingLevel".to_owned(), json!(level(effort, target.model)));
        }
        (_, Some(tokens)) => {
            config.insert("thinkingBudget".to_owned(), json!(tokens));
        }
        (Some(effort), None) => {
            config.insert("thinkingBudget".to_owned(), json!(budget(effort, target.model)));
        }
        // The third generation decides unless told otherwise.
        (None, None) if wish.adaptive && !is_third(target.model) => {
            config.insert("thinkingBudget".to_owned(), json!(-1));
        }
        (None, None) => {}
    }
    Some(Value::Object(config))
}

fn off(model: &str, losses: &mut Losses) -> Option<Value> {
    if is_third(model) {
        losses.note("reasoning.disabled");
        return Some(json!({"thinkingLevel": level(&Effort::Minimal, model)}));
    }
    if model.contains("2.5-pro") {
        losses.note("reasoning.disabled");
        return Some(json!({"thinkingBudget": 128}));
    }
    Some(json!({"thinkingBudget": 0}))
}

fn level<'a>(effort: &'a Effort, model: &str) -> &'a str {
    match effort {
        Effort::None | Effort::Minimal if model.contains("flash") => "minimal",
        Effort::None | Effort::Minimal | Effort::Low => "low",
        // Gemini 3 Pro has two levels; its successors have three.
        Effort::Medium if model.contains("gemini-3-pro") => "high",
        Effort::Medium => "medium",
        Effort::High | Effort::Xhigh | Effort::Max => "high",
        Effort::Other(word) => word,
    }
}

/// Each model of the second generation has a least budget of its own.
fn budget(effort: &Effort, model: &str) -> u64 {
    let least = match model {
        model if model.contains("flash-lite") => 512,
        model if model.contains("2.5-pro") => 128,
        _ => 1,
    };
    effort.budget().max(least)
}

/// Members of `thinkingConfig` that a Gemini client sent and nobody reads.
pub(super) fn rest(extra: &crate::chat::Extra) -> Option<&Map<String, Value>> {
    extra.get(Family::Gemini, "thinkingConfig").and_then(Value::as_object)
}
