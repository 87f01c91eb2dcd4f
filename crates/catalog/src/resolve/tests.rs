use super::*;

fn leads(
    model: &str,
    custom: Option<&str>,
    base: Option<&str>,
) -> Result<(&'static str, String), UnknownProvider> {
    resolve(model, custom, base, &Catalog::built_in()).map(|found| (found.provider.name, found.model))
}

#[test]
fn a_prefix_names_the_provider_and_the_rest_is_the_model() {
    for (model, provider, rest) in [
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("groq/meta-llama/llama-4", "groq", "meta-llama/llama-4"),
        ("bedrock/us-east-1/anthropic.claude-v2", "bedrock", "us-east-1/anthropic.claude-v2"),
        ("azure/my-deployment", "azure", "my-deployment"),
        ("azure/command-a-03-2025", "openai", "azure/command-a-03-2025"),
        ("azure/mistral-large-latest", "openai", "azure/mistral-large-latest"),
        ("cohere/command-a-03-2025", "cohere_chat", "command-a-03-2025"),
        ("anthropic/claude-instant-1.2", "anthropic_text", "claude-instant-1.2"),
        ("anthropic/claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
        ("openrouter/anthropic/claude-sonnet-4.5", "openrouter", "anthropic/claude-sonnet-4.5"),
        ("openrouter/auto", "openrouter", "openrouter/auto"),
        ("ai21/jamba-large", "ai21_chat", "jamba-large"),
        ("openai/*", "openai", "*"),
    ] {
        assert_eq!(leads(model, None, None), Ok((provider, rest.to_owned())), "{model}");
    }
}

#[test]
fn an_explicit_provider_wins_and_only_its_own_prefix_is_cut() {
    assert_eq!(leads("gpt-4o", Some("azure"), None), Ok(("azure", "gpt-4o".to_owned())));
    assert_eq!(leads("azure/gpt-4o", Some("azure"), None), Ok(("azure", "gpt-4o".to_owned())));
    let whole = "anthropic/claude-sonnet-4.5".to_owned();
    assert_eq!(leads(&whole, Some("openrouter"), None), Ok(("openrouter", whole.clone())));
    assert_eq!(leads(&whole, Some("litellm_proxy"), None), Ok(("litellm_proxy", whole.clone())));
}

#[test]
fn a_known_host_in_the_base_names_the_provider() {
    let leads_to = |base: &str| leads("some-model", None, Some(base)).map(|(provider, _)| provider);
    assert_eq!(leads_to("https://api.groq.com/openai/v1"), Ok("groq"));
    assert_eq!(leads_to("https://api.openai.com:443/v1"), Ok("openai"));
    assert_eq!(leads_to("https://api.z.ai/api/paas/v4"), Ok("zai"));
    assert!(leads_to("https://api.groq.com.example.org/v1").is_err(), "a look-alike host is not known");
    assert!(leads_to("http://localhost:22088/v1").is_err(), "local addresses name nobody");
}

#[test]
fn bare_names_are_looked_up_in_the_catalogue_and_then_by_family() {
    for (model, provider) in [
        ("gpt-4o", "openai"),
        ("text-embedding-3-small", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("claude-opus-9", "anthropic"),
        ("claude-opus-9-20290101", "anthropic"),
        ("gemini-2.5-pro", "vertex_ai"),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"),
        ("eu.anthropic.claude-opus-9-v1:0", "bedrock"),
        ("amazon.nova-pro-v1:0", "bedrock"),
        ("command-a-03-2025", "cohere_chat"),
        ("ft:gpt-4o-2024-08-06:acme::abc", "openai"),
        ("*", "openai"),
    ] {
        assert_eq!(leads(model, None, None), Ok((provider, model.to_owned())), "{model}");
    }
    let version = format!("acme/model:{}", "a0".repeat(32));
    assert_eq!(leads(&version, None, None), Ok(("replicate", version.clone())));
}

#[test]
fn an_unknown_provider_is_refused_with_the_nearest_name_and_the_remedies() {
    let error = leads("opnai/gpt-4o", None, None).expect_err("a typo");
    assert_eq!(error.nearest, Some("openai"));
    let message = error.to_string();
    assert!(
        message.contains("did you mean `openai`?") && message.contains("custom_llm_provider"),
        "{message}"
    );
    let error = leads("x", Some("antropic"), None).expect_err("a typo");
    assert_eq!((error.asked.as_deref(), error.nearest), (Some("antropic"), Some("anthropic")));
    assert_eq!(leads("my-own-model", None, None).expect_err("unknown").nearest, None);
}

/// Every prefix of the table works and `custom_llm_provider` accepts every name.
#[test]
fn every_row_is_reachable_by_prefix_and_by_name() {
    for row in providers() {
        let found = leads(&format!("{}/vendor/some-model", row.name), None, None).expect(row.name);
        assert_eq!(found, (row.name, "vendor/some-model".to_owned()));
        assert_eq!(leads("vendor/some-model", Some(row.name), None).expect(row.name).0, row.name);
    }
}
