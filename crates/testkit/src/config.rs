//! Configurations for tests.

use faregate_fake_provider::FakeProvider;
use serde_json::{Value, json};

use crate::gateway::MASTER_KEY;

/// One model group per provider dialect, named like the dialect, all served by `provider`:
/// `openai`, `responses`, `azure`, `anthropic`, `gemini`, `cohere`, `ollama`, and `groq` for the
/// OpenAI-compatible ones.
pub fn every_dialect(provider: &FakeProvider) -> String {
    let base = provider.url();
    let deployments = [
        ("openai", json!({"model": "openai/gpt-4o", "api_key": "sk-up", "api_base": format!("{base}/v1")})),
        (
            "responses",
            json!({"model": "openai/responses/gpt-4o", "api_key": "sk-up", "api_base": format!("{base}/v1")}),
        ),
        (
            "azure",
            json!({"model": "azure/gpt-4o", "api_key": "az-up", "api_base": base, "api_version": "2024-10-21"}),
        ),
        (
            "anthropic",
            json!({"model": "anthropic/claude-sonnet-4-5", "api_key": "sk-ant-up", "api_base": base}),
        ),
        ("gemini", json!({"model": "gemini/gemini-2.5-pro", "api_key": "AIza-up", "api_base": base})),
        ("cohere", json!({"model": "cohere_chat/command-a-03-2025", "api_key": "co-up", "api_base": base})),
        ("ollama", json!({"model": "ollama_chat/llama3.1", "api_base": base})),
        (
            "groq",
            json!({"model": "groq/llama-3.3-70b-versatile", "api_key": "gsk-up", "api_base": format!("{base}/openai/v1")}),
        ),
    ];
    of(deployments)
}

/// A configuration of groups and their `litellm_params`, with [`MASTER_KEY`]. JSON is YAML.
pub fn of<'a>(deployments: impl IntoIterator<Item = (&'a str, Value)>) -> String {
    let list: Vec<Value> = deployments
        .into_iter()
        .map(|(name, params)| json!({"model_name": name, "litellm_params": params}))
        .collect();
    json!({"model_list": list, "general_settings": {"master_key": MASTER_KEY}}).to_string()
}
