use super::*;

#[test]
fn every_listed_provider_has_a_row_that_is_found_by_name() {
    let listed = include_str!("../../tests/fixtures/provider_names.txt");
    let names: Vec<&str> = listed.lines().collect();
    assert_eq!(names.len(), 195);
    for name in &names {
        assert_eq!(provider(name).map(|row| row.name), Some(*name));
    }
    assert_eq!(providers().len(), names.len(), "rows that nobody listed");
}

#[test]
fn rows_are_sorted_so_that_binary_search_holds() {
    assert!(providers().is_sorted_by_key(|row| row.name));
}

#[test]
fn tiers_a_and_b_serve_chat_wherever_they_offer_it_except_for_formats_named_here() {
    let missing: Vec<&str> = providers()
        .iter()
        .filter(|row| {
            row.tier != Tier::C && row.dialect(Operation::Chat).is_some() && !row.serves(Operation::Chat)
        })
        .map(|row| row.name)
        .collect();
    assert_eq!(missing, ["github_copilot", "oci", "watsonx"]);
}

#[test]
fn known_rows_read_as_published() {
    let mistral = provider("mistral").expect("mistral");
    assert_eq!(mistral.base_url, Some("https://api.mistral.ai/v1"));
    assert_eq!(mistral.key_env, ["MISTRAL_AZURE_API_KEY", "MISTRAL_API_KEY"]);
    assert_eq!(mistral.renamed("max_completion_tokens"), "max_tokens");
    assert_eq!(mistral.renamed("temperature"), "temperature");
    assert!(mistral.has(Quirk::SeedToRandomSeed));
    assert_eq!(mistral.reasoning_effort, Some(ReasoningEffort::Catalog));
    let vllm = provider("hosted_vllm").expect("hosted_vllm");
    assert_eq!(vllm.default_key, Some("fake-api-key"));
    let fireworks = provider("fireworks_ai").expect("fireworks_ai");
    assert!(fireworks.has(Quirk::ModelPrefix("accounts/fireworks/models/")));
    assert_eq!(
        provider("xai").and_then(|row| row.dialect(Operation::Responses)),
        Some(Dialect::OpenaiResponses)
    );
    assert_eq!(provider("anthropic").map(|row| row.auth), Some(Auth::Anthropic));
    assert!(param_baseline().contains(&"reasoning_effort"));
}

#[test]
fn notes_that_speak_of_a_default_key_or_a_rename_are_carried_out() {
    for row in providers() {
        assert_eq!(row.notes.contains("key defaults to"), row.default_key.is_some(), "{}", row.name);
        for (param, capability) in &row.conditional_params {
            assert!(capability.starts_with("supports_"), "{}: {param}", row.name);
        }
    }
}

#[test]
fn a_bridge_serves_only_where_chat_does() {
    for row in providers() {
        assert_ne!(row.dialect(Operation::Chat), Some(Dialect::Bridge), "{}", row.name);
    }
    let copilot = provider("github_copilot").expect("github_copilot");
    assert_eq!(copilot.dialect(Operation::Responses), Some(Dialect::Bridge));
    assert!(!copilot.serves(Operation::Responses));
    assert!(provider("openai").expect("openai").serves(Operation::Messages));
}
