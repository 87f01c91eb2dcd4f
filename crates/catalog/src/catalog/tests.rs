use super::*;

fn built_in() -> Catalog {
    Catalog::built_in()
}

#[test]
fn every_entry_reads_and_is_found_where_it_lies() {
    let mut count = 0;
    for (key, raw) in lines(&BUILT_IN) {
        count += 1;
        let info = ModelInfo::parse(key, Cow::Borrowed(raw)).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(info.listed_provider.is_some(), "{key}");
        assert_ne!(info.mode, Some(crate::Mode::Other), "{key}");
        assert_eq!(search(&BUILT_IN, key), Some(raw), "{key}");
    }
    assert_eq!(count, 4240);
    assert_eq!(built_in().len(), 4240);
}

#[test]
fn every_field_that_looks_like_a_price_is_understood() {
    for (key, raw) in lines(&BUILT_IN) {
        let entry: serde_json::Map<String, serde_json::Value> = serde_json::from_str(raw).expect(key);
        for field in entry.keys().filter(|name| name.contains("cost") || name.contains("pricing")) {
            // Guardrail units are named by the provider and billed by guardrail results, not by usage.
            assert!(crate::is_price_field(field) || field == "guardrail_cost_per_unit", "{key}: {field}");
        }
    }
}

#[test]
fn a_key_that_is_not_in_the_list_is_not_found_wherever_it_would_lie() {
    for key in ["", "0", "gpt-4o-", "gpt-4", "zzzz", "{", "}", "\""] {
        let listed = lines(&BUILT_IN).any(|(known, _)| known == key);
        assert_eq!(search(&BUILT_IN, key).is_some(), listed, "{key}");
    }
}

#[test]
fn identity_limits_and_capabilities_are_typed() {
    let info = built_in().find("openai", "gpt-4o").expect("gpt-4o");
    assert_eq!(info.mode, Some(crate::Mode::Chat));
    assert_eq!((info.max_input_tokens, info.max_output_tokens), (Some(128_000), Some(16_384)));
    assert!(info.supports("supports_function_calling"));
    assert!(!info.supports("supports_reasoning"));
    assert_eq!(info.flag("supports_reasoning"), None);
    assert_eq!(info.json("source"), Some("https://developers.openai.com/api/docs/pricing".into()));
    assert!(info.raw().starts_with('{') && info.raw().ends_with('}'));
}

#[test]
fn overriding_entries_win_whole_and_the_rest_stays() {
    let json = br#"{"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 1e-6}, "mine": {"mode": "chat"}}"#;
    let catalog = Catalog::with_overrides(json, Sanity::NONE).expect("a good list");
    let info = catalog.find("openai", "gpt-4o").expect("gpt-4o");
    assert_eq!(info.prices.flat(crate::PriceKind::InputToken), faregate_terms::Price::parse("0.000001").ok());
    assert_eq!(info.prices.flat(crate::PriceKind::OutputToken), None);
    assert!(catalog.contains("mine") && catalog.contains("gpt-4o-mini"));
    assert_eq!(catalog.len(), 4241);
    assert_eq!(catalog.keys().filter(|key| *key == "gpt-4o").count(), 1);
}

#[test]
fn a_bad_list_is_refused_with_its_reason() {
    for (json, sanity, reason) in [
        ("[]", Sanity::NONE, "not a JSON object"),
        ("{\"a\": {}", Sanity::NONE, "not a JSON object"),
        ("{}", Sanity::DOWNLOAD, "has 0 models, fewer than the 2120 expected"),
        (r#"{"a": {"input_cost_per_token": "free"}}"#, Sanity::NONE, "entry `a`: input_cost_per_token"),
        (r#"{"a": {"input_cost_per_token": -1}}"#, Sanity::NONE, "cannot be negative"),
        (r#"{"a": 3}"#, Sanity::NONE, "entry `a`"),
    ] {
        let error = Catalog::with_overrides(json.as_bytes(), sanity).expect_err(json).to_string();
        assert!(error.contains(reason), "{json}: {error}");
    }
}

#[test]
fn the_memory_of_read_entries_is_bounded() {
    let catalog = built_in();
    for number in 0..3 * KEPT {
        catalog.find("wandb", &format!("unknown-{number}"));
        catalog.find("openai", &format!("ft:gpt-4o-2024-08-06:org:{number}"));
    }
    assert!(catalog.read.read().expect("not poisoned").len() <= KEPT);
}
