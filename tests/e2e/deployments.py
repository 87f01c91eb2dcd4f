"""One model group per provider dialect, all pointing at the fake provider."""

import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# What the gateway speaks. A codec that lands adds its word here, and every suite then runs it.
CLIENTS = {"chat", "gemini", "responses", "anthropic", "bedrock"}
PROVIDERS = {"openai", "responses", "azure", "anthropic", "gemini", "vertex-gemini", "vertex-anthropic", "bedrock", "cohere", "ollama", "groq"}

# The scenario is asked for in the prompt, so one upstream model per provider is enough.
ALL = [
    "openai",
    "responses",
    "azure",
    "anthropic",
    "gemini",
    "vertex-gemini",
    "vertex-anthropic",
    "bedrock",
    "cohere",
    "ollama",
    "groq",
]
GROUPS = [group for group in ALL if group in PROVIDERS]
# Text alone: these have tests of their own.
PLAIN = ["replicate", "text", "azure-text", "local"]


def service_account(token_url: str) -> str:
    """A Google service account with a fresh key, whose token endpoint is ours."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "e2e",
            "private_key_id": "e2e",
            "private_key": pem.decode(),
            "client_email": "e2e@e2e.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": token_url,
        }
    )


def config(upstream: str) -> dict:
    """The gateway's configuration, as data; `upstream` is the fake provider's base URL."""
    vertex = {
        "vertex_project": "e2e",
        "vertex_location": "us-central1",
        "vertex_credentials": service_account(f"{upstream}/token"),
        "api_base": upstream,
    }
    params = {
        "openai": {"model": "openai/gpt-4o", "api_key": "sk-up", "api_base": f"{upstream}/v1"},
        "responses": {"model": "openai/responses/gpt-4o", "api_key": "sk-up", "api_base": f"{upstream}/v1"},
        "azure": {"model": "azure/gpt-4o", "api_key": "az-up", "api_base": upstream, "api_version": "2024-10-21"},
        "anthropic": {"model": "anthropic/claude-sonnet-4-5", "api_key": "sk-ant-up", "api_base": upstream},
        "gemini": {"model": "gemini/gemini-2.5-pro", "api_key": "AIza-up", "api_base": upstream},
        "vertex-gemini": {"model": "vertex_ai/gemini-2.5-pro", **vertex},
        "vertex-anthropic": {"model": "vertex_ai/claude-sonnet-4-5@20250929", **vertex},
        "bedrock": {
            "model": "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws_access_key_id": "AKIDFAKEPROVIDER",
            "aws_secret_access_key": "fake-secret-key",
            "aws_region_name": "us-east-1",
            "aws_bedrock_runtime_endpoint": upstream,
        },
        "cohere": {"model": "cohere_chat/command-a-03-2025", "api_key": "co-up", "api_base": upstream},
        "ollama": {"model": "ollama_chat/llama3.1", "api_base": upstream},
        "replicate": {"model": "replicate/meta/meta-llama-3-8b-instruct", "api_key": "r8-up", "api_base": f"{upstream}/v1"},
        "text": {"model": "text-completion-openai/gpt-3.5-turbo-instruct", "api_key": "sk-up", "api_base": f"{upstream}/v1"},
        "azure-text": {"model": "azure_text/instruct", "api_key": "az-up", "api_base": upstream, "api_version": "2024-10-21"},
        "local": {"model": "openai/a-model-nobody-knows", "api_key": "sk-up", "api_base": f"{upstream}/v1"},
        "groq": {"model": "groq/llama-3.3-70b-versatile", "api_key": "gsk-up", "api_base": f"{upstream}/openai/v1"},
    }
    return {
        "model_list": [{"model_name": name, "litellm_params": params[name]} for name in [*ALL, *PLAIN]],
        # A parameter that one of the providers lacks is no matter of these tests.
        "litellm_settings": {"drop_params": True, "num_retries": 0, "callbacks": ["prometheus"]},
        # A test of one failure must not be felt by the next test.
        "router_settings": {"disable_cooldowns": True},
    }
