#!/usr/bin/env python3
"""Makes the data files of crates/catalog from the published provider and price lists.

    scripts/make_catalog.py PROVIDERS_JSON PROVIDERS_MD MODEL_PRICES_JSON

PROVIDERS_JSON  one object with a `providers` list, one row per provider
PROVIDERS_MD    the same rows as Markdown tables; used to check that none is missing on either side
MODEL_PRICES    one JSON object, key -> fields, one model per line, sorted by key

Writes crates/catalog/data/providers.json and crates/catalog/data/models.json. What the lists say in
prose is decided here, once: the tables below turn notes into quirks of a closed list (src/quirk.rs),
header descriptions into auth schemes (src/auth.rs) and formats into dialects (src/dialect.rs).
"""

import json
import re
import sys
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "crates" / "catalog" / "data"

PROJECT = "https://github.com/faregate/faregate"

# (header, scheme) of the list -> Auth in src/auth.rs; anything else with "raw key" is a plain header.
AUTH = {
    "Bearer": "bearer",
    "Bearer (omitted when no key)": "bearer_if_key",
    "none": "none",
    "Token": "token",
    "Key": "key",
    "Basic": "basic",
    "key in query string": "query",
    "AWS SigV4": "aws_sigv4",
    "AWS SigV4, or Bearer AWS_BEARER_TOKEN_BEDROCK": "aws_sigv4_or_bearer",
    "Bearer, else AWS SigV4": "aws_sigv4_or_bearer",
    "raw key; Bearer for OAuth tokens": "anthropic",
    "raw key, or Authorization: Bearer <AD token>": "azure",
    "raw key on Azure hosts, Bearer elsewhere": "azure_foundry",
    "Bearer (Google OAuth2 access token)": "google_oauth",
    "Bearer (device-flow token)": "device_flow",
    "Bearer (PAT or OAuth M2M)": "databricks",
    "Bearer (IAM token) or ZenApiKey": "ibm_iam",
    "Bearer (token from OAuth)": "client_credentials",
    "Bearer (client-credentials token)": "client_credentials",
    "Signature version 1 (RSA-SHA256)": "oci_signature",
    "Bearer + X-Snowflake-Authorization-Token-Type": "snowflake",
}

# Operations that OpenAI itself defines; a row of its dialect serves them in that shape under its base URL.
OPENAI_OPERATIONS = {
    "completion", "embedding", "image", "image_edit", "image_variation", "transcription", "speech",
    "moderation", "files", "batches", "fine_tuning", "assistants", "vector_stores", "containers", "videos",
    "evals", "realtime",
}

# Formats that have a codec of their own; the whole provider speaks it unless OPERATION says otherwise.
FAMILIES = {
    "azure_openai": "azure_openai",
    "anthropic_messages": "anthropic",
    "gemini_generate_content": "gemini",
    "vertex_generate_content+vertex_partner": "vertex",
    "vertex_generate_content": "vertex",
    "bedrock": "bedrock",
    "cohere_v2": "cohere",
    "ollama_native": "ollama",
    "replicate_predictions": "replicate",
}

# Rows whose format is the OpenAI one in all but name.
AS_OPENAI = {"azure_ai", "databricks", "huggingface", "openai", "vllm", "text-completion-openai"}

# Rows listed as OpenAI-compatible that need a login or a body of their own.
NOT_OPENAI = {
    "custom": "custom_prompt_body",
    "gdc": "gdc",
    "github_copilot": "github_copilot",
    "ragflow": "ragflow",
}

# Single operations that differ from the row's rule.
OPERATION = {
    ("huggingface", "embedding"): "huggingface_pipeline",
    ("huggingface", "rerank"): "huggingface_pipeline",
    ("huggingface", "completion"): "huggingface_pipeline",
    ("bedrock", "messages"): "bridge",
    ("minimax", "speech"): "minimax_speech",
    ("xai", "transcription"): "xai_transcription",
    ("dashscope", "image"): "dashscope_image",
    ("qwen_ai_platform", "image"): "dashscope_image",
    ("qwencloud", "image"): "dashscope_image",
    ("volcengine", "videos"): "volcengine_videos",
    ("dashscope", "videos"): "dashscope_videos",
    ("mistral", "transcription"): "mistral_transcription",
    ("mistral", "speech"): "mistral_speech",
}

REASONING = {
    "accepted": "yes",
    "unsupported": "no",
    "only if catalogue supports_reasoning": "catalog",
}


def header(name, env=None, default=None):
    row = {"name": name}
    if env:
        row["env"] = env
    if default:
        row["default"] = default
    return {"static_header": row}


# The notes of each provider, as quirks. Rows that are absent need none.
QUIRKS = {
    "openai": ["openai_reasoning_families", {"organization_header": "OPENAI_ORGANIZATION"}],
    "azure": ["openai_reasoning_families", "azure_family_prefix"],
    "azure_ai": ["openai_reasoning_families", "azure_foundry_path", "anthropic_for_claude",
                 "flatten_content_lists", "retry_without_rejected_params"],
    "text-completion-openai": ["flatten_chat_to_prompt"],
    "baseten": ["baseten_dedicated_url"],
    "bedrock_mantle": ["region_in_base", "strip_region_from_model", "anthropic_for_claude"],
    "clarifai": ["clarifai_model_url"],
    "cloudflare": [{"account_in_base": "CLOUDFLARE_ACCOUNT_ID"},
                   {"replace_base_suffix": {"from": "/ai/run", "to": "/ai/v1"}}],
    "codestral": "mistral",
    "cometapi": ["reasoning_field_normalise", "error_in_stream"],
    "dashscope": ["keep_cache_control"],
    "qwen_ai_platform": ["keep_cache_control"],
    "qwencloud": ["keep_cache_control"],
    "databricks": [{"ensure_base_suffix": "/serving-endpoints"}, "split_content_lists"],
    "datarobot": [{"append_path": "/api/v2/genai/llmgw"}],
    "deepinfra": ["tool_choice_auto_or_none", "flatten_tool_content",
                  {"temperature_never_zero": "mistralai/Mistral-7B-Instruct-v0.1"}],
    "deepseek": ["thinking_keeps_type_only", "effort_to_thinking", "drop_non_function_tools",
                 "flatten_content_lists", "fill_reasoning_content",
                 {"messages_base": {"env": "DEEPSEEK_ANTHROPIC_API_BASE",
                                    "default": "https://api.deepseek.com/anthropic"}}],
    "docker_model_runner": [{"append_path": "/v1"}, "flatten_content_lists"],
    "edenai": ["always_include_usage", "cost_in_body"],
    "featherless_ai": ["tool_choice_auto_or_none"],
    "fireworks_ai": [{"model_prefix": "accounts/fireworks/models/"}, "tool_choice_required_to_any",
                     "drop_tool_strict", "always_include_usage", "guided_to_response_format",
                     "refuse_file_parts", "thinking_excludes_effort"],
    "gradient_ai": ["gradient_path"],
    "groq": ["drop_null_assistant_fields", "response_format_simulates_stream", "json_schema_by_tool",
             "unknown_service_tier_to_auto", "reasoning_field_normalise"],
    "heroku": [{"append_path": "/v1"}, "flatten_content_lists"],
    "hosted_vllm": ["drop_tool_strict", "drop_additional_properties", "custom_tools_to_functions",
                    "thinking_budget_to_effort", "video_files_to_video_url", "drop_thinking_blocks",
                    "reasoning_field_normalise"],
    "huggingface": [{"append_path": "/v1"}],
    "inception": ["no_env_key_with_custom_base"],
    "lemonade": ["no_env_key_with_custom_base"],
    "nadir": ["no_env_key_with_custom_base"],
    "litellm_proxy": ["thinking_to_extra_body"],
    "lm_studio": ["wrap_json_schema"],
    "meta_llama": ["response_format_json_schema_only"],
    "minimax": [{"ensure_base_suffix": "/v1"}, "keep_cache_control",
                {"messages_base": {"default": "https://api.minimax.io/anthropic"}}],
    "mistral": [{"ensure_base_suffix": "/v1"}, "tool_choice_required_to_any", "seed_to_random_seed",
                "drop_schema_refs", "flatten_content_lists", "name_on_tool_messages_only",
                "drop_empty_assistant", "drop_reasoning_input", "magistral_reasoning_prompt",
                "split_content_lists", "empty_content_to_null"],
    "modelscope": ["flatten_content_lists"],
    "moonshot": [{"temperature_max": "1"}, {"temperature_min_with_n": "0.3"},
                 "temperature_dropped_when_reasoning", "tool_choice_required_to_prompt",
                 "flatten_content_lists", "fill_reasoning_content"],
    "novita": [header("X-Novita-Source", default="faregate")],
    "nscale": ["drop_stream_options"],
    "openrouter": [header("HTTP-Referer", "OR_SITE_URL", PROJECT), header("X-Title", "OR_APP_NAME", "Faregate"),
                   "usage_include", "effort_max_to_xhigh", "reasoning_field_normalise", "keep_cache_control",
                   "cache_control_into_content", "error_in_stream"],
    "ovhcloud": ["reasoning_field_normalise"],
    "parasail": ["force_store_false"],
    "perplexity": ["citations_to_annotations", "citation_usage"],
    "publicai": ["flatten_content_lists"],
    "sail": ["service_tier_to_completion_window"],
    "sambanova": ["flatten_content_lists"],
    "scx-ai": [{"temperature_max": "1.99"}],
    "tencent": ["effort_to_thinking_type"],
    "together_ai": ["strip_internal_message_fields", "effort_to_reasoning_object", "tools_by_catalog"],
    "vercel_ai_gateway": [header("http-referer", "VERCEL_SITE_URL", PROJECT),
                          header("x-title", "VERCEL_APP_NAME", "Faregate")],
    "vllm": [{"ensure_base_suffix": "/v1"}],
    "xai": ["drop_tool_strict", "drop_message_name", {"drop_silently": "web_search_options"},
            {"drop_for_models": {"param": "stop", "models": ["grok-3-mini", "grok-4", "grok-code-fast"]}},
            {"drop_for_models": {"param": "frequency_penalty", "models": ["grok-4", "grok-code-fast"]}},
            "empty_finish_to_tool_calls", "fold_reasoning_tokens"],
    "zai": ["keep_cache_control"],
}

# Renames said in the notes rather than in the list's own column.
RENAME = {"fireworks_ai": {"truncate_prompt_tokens": "prompt_truncate_len"}}

# Where the list leaves the base open although the notes name it.
NOTES = {
    "vllm": "the list's in-process library; treated as hosted_vllm at its own address",
}


def auth_of(row):
    name, scheme = row["auth"]["header"], row["auth"]["scheme"]
    if scheme == "raw key":
        return {"header": name}
    return AUTH[scheme]


def dialect_of(row, operation):
    """The dialect (src/dialect.rs) of one operation of one provider."""
    name, listed = row["name"], row["dialect"]
    bridged = operation.endswith("*")
    operation = operation.rstrip("*")
    special = OPERATION.get((name, operation))
    if operation == "chat" and bridged:
        # Chat by way of another operation: nothing to bridge to, since bridges lead to chat.
        return operation, {"not_supported": listed}
    if special == "bridge" or bridged:
        return operation, "bridge"
    if special:
        return operation, {"not_supported": special}
    if operation == "passthrough":
        return operation, "passthrough"
    if name in NOT_OPENAI:
        return operation, {"not_supported": NOT_OPENAI[name]}
    if listed in FAMILIES:
        if name == "azure_ai":
            raise SystemExit("azure_ai is an OpenAI row")
        return operation, FAMILIES[listed]
    if listed.startswith("openai_chat") or name in AS_OPENAI:
        if operation == "chat":
            return operation, "openai_chat"
        if operation == "responses":
            return operation, "openai_responses"
        if operation == "messages":
            return operation, "anthropic"
        if operation in OPENAI_OPERATIONS:
            return operation, "openai"
        return operation, {"not_supported": operation}
    return operation, {"not_supported": listed}


def quirks_of(name):
    quirks = QUIRKS.get(name, [])
    return QUIRKS[quirks] if isinstance(quirks, str) else quirks


def provider_row(row):
    listed = row["quirks"]
    notes = NOTES.get(row["name"], listed.get("notes", ""))
    default_key = re.search(r"key defaults to ([\w-]+)", notes)
    conditional = dict(listed.get("conditional_params", {}))
    out = {
        "name": row["name"],
        "aliases": row["aliases"],
        "tier": row["tier"],
        "base_url": row["base_url"],
        "base_url_env": row["base_url_env"],
        "key_env": row["key_env"],
        "default_key": default_key.group(1) if default_key else None,
        "auth": auth_of(row),
        "operations": [list(dialect_of(row, mode)) for mode in row["modes"]],
        "rename": [list(pair) for pair in {**listed.get("rename", {}), **RENAME.get(row["name"], {})}.items()],
        "unsupported_params": listed.get("unsupported_params", []),
        "conditional_params": [list(pair) for pair in conditional.items()],
        "also_accepts": listed.get("extra_params", []),
        "reasoning_effort": REASONING.get(listed.get("reasoning_effort")),
        "quirks": quirks_of(row["name"]),
        "notes": notes,
    }
    if row["prefix"] != row["name"] + "/":
        raise SystemExit(f"{row['name']}: prefix {row['prefix']} is not its name")
    return {key: value for key, value in out.items() if value not in (None, [], "")}


def names_in_tables(markdown):
    """First cells of the tables that list providers (sections 3, 4 and 5)."""
    names = set()
    section = ""
    for line in markdown.splitlines():
        if line.startswith("## "):
            section = line[3:].split(".")[0]
        elif line.startswith("### "):
            section = ""
        elif section in ("3", "4", "5") and line.startswith("| ") and not line.startswith("| Provider"):
            names.add(line.split("|")[1].strip())
    return names


def write_providers(listed, markdown):
    rows = sorted((provider_row(row) for row in listed["providers"]), key=lambda row: row["name"])
    names = {row["name"] for row in rows}
    difference = names ^ names_in_tables(markdown)
    if difference:
        raise SystemExit(f"in one provider list only: {sorted(difference)}")
    stale = set(QUIRKS) - names
    if stale:
        raise SystemExit(f"quirks for unknown providers: {sorted(stale)}")
    lines = [json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in rows]
    baseline = json.dumps(listed["openai_param_baseline"], separators=(",", ":"))
    text = '{"param_baseline":' + baseline + ',\n"providers":[\n' + ",\n".join(lines) + "\n]}\n"
    (DATA / "providers.json").write_text(text)
    return len(rows)


def write_models(text):
    """Copies the list line by line: numbers keep their digits. The reader searches the lines by key."""
    lines = text.splitlines()
    if lines[0] != "{" or lines[-1] != "}":
        raise SystemExit("the price list does not start and end with a brace on its own line")
    previous = ""
    out = []
    for line in lines[1:-1]:
        match = re.fullmatch(r'"([ -!#-\[\]-~]+)": (\{.*\}),?', line)
        if not match:
            raise SystemExit(f"not one model per line: {line[:80]}")
        key, entry = match.groups()
        if key <= previous:
            raise SystemExit(f"not sorted: {key}")
        json.loads(entry)
        previous = key
        out.append(f'"{key}":{entry}')
    (DATA / "models.json").write_text("{\n" + ",\n".join(out) + "\n}\n")
    return len(out)


def main():
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    providers, markdown, prices = (Path(argument).read_text() for argument in sys.argv[1:])
    DATA.mkdir(parents=True, exist_ok=True)
    print(write_providers(json.loads(providers), markdown), "providers")
    print(write_models(prices), "models")


if __name__ == "__main__":
    main()
