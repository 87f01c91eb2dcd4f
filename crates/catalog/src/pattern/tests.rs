use super::*;
use crate::Catalog;

#[test]
fn claude_versions_are_read_without_taking_dates_for_minors() {
    for (name, expected) in [
        ("claude-sonnet-4-5", Some(("sonnet", 4, 5))),
        ("claude-opus-4-20250514", Some(("opus", 4, 0))),
        ("claude-opus-4.7", Some(("opus", 4, 7))),
        ("us.anthropic.claude-haiku-5-v1:0", Some(("haiku", 5, 0))),
        ("claude-sonnet-4-10", Some(("sonnet", 4, 10))),
        ("claude-sonnet-12", None),
        ("claude-3-5-sonnet", None),
        ("claude", None),
    ] {
        let found = Claude::in_name(name).map(|claude| (claude.family, claude.major, claude.minor));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn an_unlisted_claude_gets_the_family_baseline_and_no_price() {
    let info = Catalog::built_in().find("anthropic", "claude-opus-7-1").expect("a Claude");
    assert_eq!((info.max_input_tokens, info.max_output_tokens), (Some(200_000), Some(64_000)));
    assert!(info.supports("supports_function_calling") && info.supports("supports_adaptive_thinking"));
    assert!(!info.supports("supports_legacy_thinking"));
    assert!(info.prices.is_empty());
    let info = Catalog::built_in().find("openrouter", "anthropic/claude-mythos-9").expect("a Claude");
    assert!(info.supports("thinking_always_on") && info.supports("supports_tool_search"));
    let info = Catalog::built_in().find("wandb", "anything").expect("a wandb model");
    assert!(info.supports("supports_reasoning"));
}

#[test]
fn families_fill_what_rows_leave_open_and_overrule_nothing() {
    let fill_of = |provider: &str, key: &str, stated: Option<(&str, bool)>| {
        let mut info = ModelInfo::bare(key);
        if let Some((name, value)) = stated {
            info.fill(name, value);
        }
        fill(provider, &mut info);
        info
    };
    assert!(fill_of("bedrock", "anthropic.claude-opus-4-6-v1:0", None).supports("supports_legacy_thinking"));
    assert!(!fill_of("anthropic", "claude-opus-4-7", None).supports("supports_mid_conversation_system"));
    assert!(fill_of("anthropic", "claude-opus-4-8", None).supports("supports_mid_conversation_system"));
    assert!(!fill_of("openrouter", "anthropic/claude-opus-4-8", None).supports("supports_tool_search"));
    assert!(fill_of("azure", "azure/gpt-5.1", None).supports("supports_reasoning"));
    assert!(fill_of("openai", "o1-pro", None).supports("supports_reasoning"));
    assert!(!fill_of("openai", "gpt-4.1", None).supports("supports_reasoning"));
    assert!(!fill_of("openai", "gpt-5-search-api", None).supports("supports_reasoning"));
    assert!(!fill_of("openai", "omni-moderation-latest", None).supports("supports_reasoning"));
    assert!(!fill_of("openai", "gpt-5", Some(("supports_reasoning", false))).supports("supports_reasoning"));
}

#[test]
fn unlisted_gemini_chat_models_are_recognised_and_their_other_variants_are_not() {
    for (model, chats) in [
        ("gemini-4-pro", true),
        ("gemini-2.5-flash-lite-preview-11-2026", true),
        ("gemini-4-flash-tts", false),
        ("gemini-4-flash-image", false),
        ("gemini-2.0-pro-new", false),
        ("gemini-4-ultra", false),
    ] {
        assert_eq!(is_gemini_chat(model), chats, "{model}");
    }
    let info = Catalog::built_in().find("gemini", "gemini-9-pro").expect("a Gemini");
    assert!(info.supports("supports_web_search") && info.prices.is_empty());
}
