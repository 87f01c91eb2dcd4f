use crate::Catalog;

fn found(provider: &str, model: &str) -> Option<String> {
    Catalog::built_in().find(provider, model).map(|info| info.key.to_string())
}

#[test]
fn a_model_is_found_with_prefix_bare_or_by_its_provider_s_naming() {
    for (provider, model, key) in [
        ("openai", "gpt-4o", "gpt-4o"),
        ("azure", "gpt-4o", "azure/gpt-4o"),
        ("gemini", "gemini-2.5-flash", "gemini/gemini-2.5-flash"),
        ("vertex_ai", "gemini-2.5-pro", "gemini-2.5-pro"),
        ("openai", "ft:gpt-4o-2024-08-06:acme::abc123", "ft:gpt-4o-2024-08-06"),
        ("cohere", "command-a-03-2025", "command-a-03-2025"),
        ("fireworks_ai", "deepseek-v3", "fireworks_ai/accounts/fireworks/models/deepseek-v3"),
        ("fireworks_ai", "accounts/acme/models/mine-13b", "fireworks-ai-4.1b-to-16b"),
        ("fireworks_ai", "accounts/acme/models/mine-8x7b", "fireworks-ai-moe-up-to-56b"),
        ("fireworks_ai", "accounts/acme/models/mine-8x22b", "fireworks-ai-56b-to-176b"),
        ("together_ai", "acme/mine-7b-chat", "together-ai-4.1b-8b"),
        ("together_ai", "acme/mine-1.5b", "together-ai-up-to-4b"),
        ("vertex_ai", "claude-sonnet-4-5@20250929", "vertex_ai/claude-sonnet-4-5@20250929"),
        ("vertex_ai", "claude-sonnet-4-5@default", "vertex_ai/claude-sonnet-4-5"),
    ] {
        assert_eq!(found(provider, model).as_deref(), Some(key), "{provider}/{model}");
    }
}

#[test]
fn bedrock_names_lose_route_arn_region_geography_and_version() {
    let base = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    for (model, key) in [
        (base.to_owned(), base.to_owned()),
        (format!("converse/{base}"), base.to_owned()),
        (format!("us.{base}"), format!("us.{base}")),
        (format!("apac.{base}"), base.to_owned()),
        (format!("arn:aws:bedrock:us-east-1::foundation-model/{base}"), base.to_owned()),
        (format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{base}"), format!("us.{base}")),
        (format!("us-gov-east-1/{base}"), format!("bedrock/us-gov-east-1/{base}")),
        (format!("eu-central-1/{base}"), base.to_owned()),
    ] {
        assert_eq!(found("bedrock", &model), Some(key), "{model}");
    }
}

#[test]
fn a_namesake_sold_elsewhere_does_not_price_a_model() {
    assert_eq!(found("hosted_vllm", "gpt-4o"), None);
    assert_eq!(found("groq", "deepseek-v4-pro"), None);
    assert_eq!(found("fireworks_ai", "accounts/acme/models/nameless"), None, "an unknown size has no price");
    assert_eq!(found("litellm_proxy", "gpt-4o").as_deref(), Some("gpt-4o"));
}
