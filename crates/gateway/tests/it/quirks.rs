//! What reaches a provider for the quirks of its row: body, address and headers.

use faregate_config::Env;
use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_testkit::{Gateway, config};
use serde_json::{Value, json};

/// A gateway with one deployment per model string, each at its provider's own address; nothing is sent.
async fn gateway(models: &[&str]) -> Gateway {
    let deployments = models.iter().map(|model| (*model, json!({"model": model, "api_key": "sk-up"})));
    Gateway::start(&config::of(deployments)).await
}

/// The provider request that a chat call would make.
async fn preview(gateway: &Gateway, mut body: Value) -> Value {
    if body.get("messages").is_none() {
        body["messages"] = json!([{"role": "user", "content": "hello"}]);
    }
    let asked = json!({"call_type": "completion", "request_body": body});
    let reply = gateway.post("/utils/transform_request", &asked).await;
    let mut answer = reply.json();
    answer["status"] = json!(reply.status.as_u16());
    answer
}

/// The body a provider gets for `request` to `model`.
async fn sent(model: &str, mut request: Value) -> Value {
    let gateway = gateway(&[model]).await;
    request["model"] = json!(model);
    let answer = preview(&gateway, request).await;
    assert_eq!(answer["status"], 200, "{model}: {answer}");
    answer["raw_request_body"].clone()
}

/// The refusal's text for `request` to `model`.
async fn refused(model: &str, mut request: Value) -> String {
    let gateway = gateway(&[model]).await;
    request["model"] = json!(model);
    let answer = preview(&gateway, request).await;
    assert_eq!(answer["status"], 400, "{model}: {answer}");
    answer["error"]["message"].as_str().unwrap().to_owned()
}

fn tool() -> Value {
    json!([{"type": "function", "function": {"name": "now", "parameters": {"type": "object"}, "strict": true}}])
}

#[tokio::test]
async fn conversations_are_spelled_as_the_row_asks() {
    let turns = json!([
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "ann"},
        {"role": "assistant", "content": "", "reasoning_content": "hm"},
        {"role": "user", "content": "c"},
    ]);
    let body = sent("mistral/mistral-large-latest", json!({"messages": turns})).await;
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": "ab"}, {"role": "user", "content": "c"}]),
        "names, empty turns and thoughts are not sent"
    );

    let marked = json!([
        {"role": "user", "content": "a", "cache_control": {"type": "ephemeral"}},
        {"role": "assistant", "content": null, "tool_calls":
            [{"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "noon", "cache_control": {"type": "ephemeral"}},
    ]);
    let body = sent("openrouter/anthropic/claude-sonnet-4.5", json!({"messages": marked})).await;
    let part = |text: &str| json!([{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]);
    assert_eq!(body["messages"][0]["content"], part("a"));
    assert_eq!(body["messages"][2]["content"], part("noon"), "{body}");
    assert!(body["messages"][2].get("cache_control").is_none());
    let body = sent("openrouter/openai/gpt-4o", json!({"messages": marked})).await;
    assert!(!body.to_string().contains("cache_control"), "other families get no marks: {body}");

    let asked = json!({"messages": turns, "reasoning_effort": "high"});
    let body = sent("mistral/magistral-medium-latest", asked).await;
    assert!(body.get("reasoning_effort").is_none(), "{body}");
    assert_eq!(body["messages"][0]["role"], "system");
    assert!(body["messages"][0]["content"].as_str().unwrap().contains("[THINK]"), "{body}");

    let video = json!([{"role": "user", "content": [
        {"type": "file", "file": {"file_data": "data:video/mp4;base64,AAAA"}}]}]);
    let gateway = Gateway::start(&config::of([(
        "vllm",
        json!({"model": "hosted_vllm/qwen-vl", "api_base": "http://127.0.0.1:9/v1"}),
    )]))
    .await;
    let body = &preview(&gateway, json!({"model": "vllm", "messages": video})).await["raw_request_body"];
    assert_eq!(body["messages"][0]["content"][0]["video_url"]["url"], "data:video/mp4;base64,AAAA", "{body}");
}

#[tokio::test]
async fn files_are_refused_where_none_are_taken() {
    let file = json!([{"role": "user", "content": [
        {"type": "text", "text": "read"},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}]}]);
    let text = refused("fireworks_ai/glm-5", json!({"messages": file})).await;
    assert!(text.contains("messages[0].content[1]") && text.contains("takes no files"), "{text}");
}

#[tokio::test]
async fn tools_and_the_choice_among_them_follow_the_row() {
    let body =
        sent("mistral/mistral-large-latest", json!({"tools": tool(), "tool_choice": "required"})).await;
    assert_eq!(body["tool_choice"], "any");

    let request = json!({"tools": tool(), "tool_choice": "required"});
    let text = refused("deepinfra/meta-llama/some-model", request.clone()).await;
    assert!(text.contains("tool_choice"), "{text}");
    let mut dropping = request.clone();
    dropping["drop_params"] = json!(true);
    let body = sent("deepinfra/meta-llama/some-model", dropping).await;
    assert!(body.get("tool_choice").is_none() && body.get("tools").is_some(), "{body}");
    let body = sent("deepinfra/meta-llama/some-model", json!({"tools": tool(), "tool_choice": "auto"})).await;
    assert_eq!(body["tool_choice"], "auto");

    let body = sent("moonshot/kimi-k2-turbo-preview", request.clone()).await;
    assert!(body.get("tool_choice").is_none(), "{body}");
    let turns = body["messages"].as_array().unwrap();
    assert_eq!(turns.len(), 2, "the wish is said in words: {body}");
    assert_eq!(turns[1]["role"], "user");

    let mut mixed = tool();
    mixed.as_array_mut().unwrap().push(json!({"type": "web_search"}));
    let body = sent("deepseek/deepseek-chat", json!({"tools": mixed})).await;
    assert_eq!(body["tools"].as_array().unwrap().len(), 1, "{body}");
    let body = sent("deepseek/deepseek-chat", json!({"tools": [{"type": "web_search"}]})).await;
    assert!(body.get("tools").is_none(), "{body}");

    let custom = json!([{"type": "custom", "custom": {"name": "shell"}}]);
    let gateway = Gateway::start(&config::of([(
        "vllm",
        json!({"model": "hosted_vllm/qwen", "api_base": "http://127.0.0.1:9/v1"}),
    )]))
    .await;
    let body = &preview(&gateway, json!({"model": "vllm", "tools": custom})).await["raw_request_body"];
    assert_eq!(body["tools"][0]["function"]["name"], "shell", "{body}");
}

#[tokio::test]
async fn temperatures_stay_where_the_provider_takes_them() {
    let model = "deepinfra/mistralai/Mistral-7B-Instruct-v0.1";
    let body = sent(model, json!({"temperature": 0})).await;
    assert_eq!(body["temperature"], 0.0001);
    let body = sent(model, json!({"temperature": 0.5})).await;
    assert_eq!(body["temperature"], 0.5);
    let body = sent("deepinfra/other", json!({"temperature": 0})).await;
    assert_eq!(body["temperature"].as_f64(), Some(0.0));

    let body = sent("moonshot/moonshot-v1-8k", json!({"temperature": 1.7})).await;
    assert_eq!(body["temperature"].as_f64(), Some(1.0));
    let body = sent("moonshot/moonshot-v1-8k", json!({"temperature": 0.1, "n": 2})).await;
    assert_eq!(body["temperature"].as_f64(), Some(0.3));
    let body = sent("moonshot/kimi-k2.6", json!({"temperature": 0.5})).await;
    assert!(body.get("temperature").is_none(), "reasoning models take none: {body}");
}

#[tokio::test]
async fn wishes_for_reasoning_are_said_in_the_providers_words() {
    for (model, effort, name, said) in [
        ("openrouter/openai/gpt-5", "max", "reasoning_effort", json!("xhigh")),
        ("openrouter/openai/gpt-5", "high", "reasoning_effort", json!("high")),
        ("together_ai/zai-org/GLM-5.2", "none", "reasoning", json!({"enabled": false})),
        ("together_ai/openai/gpt-oss-120b", "none", "reasoning_effort", json!("low")),
        ("together_ai/openai/gpt-oss-120b", "xhigh", "reasoning_effort", json!("high")),
        ("together_ai/deepseek-ai/DeepSeek-V4-Pro", "low", "reasoning_effort", json!("high")),
        ("together_ai/deepseek-ai/DeepSeek-V4-Pro", "xhigh", "reasoning_effort", json!("max")),
        ("deepseek/deepseek-chat", "none", "thinking", json!({"type": "disabled"})),
        ("deepseek/deepseek-chat", "low", "thinking", json!({"type": "enabled"})),
        ("tencent/some-model", "none", "thinking", json!({"type": "disabled"})),
    ] {
        let body =
            sent(model, json!({"reasoning_effort": effort, "allowed_openai_params": ["reasoning_effort"]}))
                .await;
        assert_eq!(body[name], said, "{model} {effort}: {body}");
        let other = if name == "reasoning_effort" { "reasoning" } else { "reasoning_effort" };
        assert!(body.get(other).is_none(), "{model} {effort}: {body}");
    }
    let thinking = json!({"type": "enabled", "budget_tokens": 2048});
    let body = sent("deepseek/deepseek-chat", json!({"thinking": thinking})).await;
    assert_eq!(body["thinking"], json!({"type": "enabled"}), "the type only");
    let body = sent("tencent/some-model", json!({"thinking": {"type": "adaptive"}})).await;
    assert_eq!(body["thinking"], json!({"type": "adaptive"}));

    let gateway = Gateway::start(&config::of([
        ("proxy", json!({"model": "litellm_proxy/m", "api_key": "sk-up", "api_base": "http://127.0.0.1:9"})),
        ("vllm", json!({"model": "hosted_vllm/qwen", "api_base": "http://127.0.0.1:9/v1"})),
    ]))
    .await;
    let body = &preview(&gateway, json!({"model": "proxy", "thinking": thinking})).await["raw_request_body"];
    assert_eq!(body["thinking"], thinking, "the next gateway gets it as written: {body}");
    assert!(body.get("reasoning_effort").is_none());
    let body = &preview(&gateway, json!({"model": "vllm", "thinking": thinking})).await["raw_request_body"];
    assert_eq!(body["reasoning_effort"], "medium", "{body}");

    let both = json!({"thinking": thinking, "reasoning_effort": "low",
        "allowed_openai_params": ["thinking", "reasoning_effort"]});
    let text = refused("fireworks_ai/glm-5", both).await;
    assert!(text.contains("not both"), "{text}");
}

#[tokio::test]
async fn output_formats_take_the_form_the_provider_knows() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "r", "schema": schema}});

    let body = sent("meta_llama/Llama-4", json!({"response_format": {"type": "json_object"}})).await;
    assert!(body.get("response_format").is_none(), "{body}");
    let body = sent("meta_llama/Llama-4", json!({"response_format": format})).await;
    assert_eq!(body["response_format"]["type"], "json_schema");

    let body = sent("groq/openai/gpt-oss-120b", json!({"response_format": format, "stream": true})).await;
    assert_eq!(body["response_format"]["type"], "json_schema", "native support is used: {body}");
    assert!(body.get("stream").is_none(), "the answer is fetched whole: {body}");
    let body = sent("groq/llama-3.1-8b-instant", json!({"response_format": format})).await;
    assert_eq!(body["tools"][0]["type"], "function", "a tool stands in: {body}");

    for (member, value, said) in [
        (
            "guided_json",
            schema.clone(),
            json!({"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}),
        ),
        ("guided_grammar", json!("root ::= \"a\""), json!({"type": "grammar", "grammar": "root ::= \"a\""})),
        (
            "guided_choice",
            json!(["a", "b"]),
            json!({"type": "json_schema", "json_schema":
            {"name": "choice", "schema": {"type": "string", "enum": ["a", "b"]}}}),
        ),
    ] {
        let body = sent("fireworks_ai/glm-5", json!({(member): value})).await;
        assert_eq!(body["response_format"], said, "{member}: {body}");
        assert!(body.get(member).is_none());
    }
    let gateway = Gateway::start(&config::of([(
        "studio",
        json!({"model": "lm_studio/m", "api_base": "http://127.0.0.1:9/v1"}),
    )]))
    .await;
    let beside = json!({"model": "studio", "response_format": {"type": "json_schema", "schema": schema}});
    let body = &preview(&gateway, beside).await["raw_request_body"];
    assert_eq!(body["response_format"]["json_schema"]["schema"], schema, "{body}");
}

#[tokio::test]
async fn service_tiers_become_completion_windows_and_the_catalogue_decides_about_tools() {
    for (tier, window) in [("flex", json!("flex")), ("priority", json!("asap")), ("auto", Value::Null)] {
        let body = sent("sail/m", json!({"service_tier": tier})).await;
        assert_eq!(body["metadata"]["completion_window"], window, "{tier}: {body}");
        assert!(body.get("service_tier").is_none());
    }
    assert!(refused("sail/m", json!({"service_tier": "scale"})).await.contains("service_tier"));

    let unknown = sent("together_ai/nobody/knows-it", json!({"tools": tool()})).await;
    assert_eq!(unknown["tools"].as_array().unwrap().len(), 1, "an unlisted model gets its chance");
}

#[tokio::test]
async fn addresses_and_model_names_follow_the_row() {
    let models = [
        (
            "baseten/abcd1234",
            "https://model-abcd1234.api.baseten.co/environments/production/sync/v1/chat/completions",
            "abcd1234",
        ),
        (
            "baseten/deepseek-ai/DeepSeek-V3",
            "https://inference.baseten.co/v1/chat/completions",
            "deepseek-ai/DeepSeek-V3",
        ),
        (
            "clarifai/openai.chat.gpt-4o",
            "https://api.clarifai.com/v2/ext/openai/v1/chat/completions",
            "https://clarifai.com/openai/chat/models/gpt-4o",
        ),
        ("gradient_ai/llama3.3", "https://inference.do-ai.run/v1/chat/completions", "llama3.3"),
        (
            "bedrock_mantle/openai.gpt-oss-120b",
            "https://bedrock-mantle.us-east-1.api.aws/v1/chat/completions",
            "openai.gpt-oss-120b",
        ),
        (
            "bedrock_mantle/eu-west-1/openai.gpt-oss-120b",
            "https://bedrock-mantle.eu-west-1.api.aws/v1/chat/completions",
            "openai.gpt-oss-120b",
        ),
        (
            "bedrock_mantle/eu-west-1/anthropic.claude-x",
            "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages",
            "anthropic.claude-x",
        ),
        (
            "fireworks_ai/glm-5",
            "https://api.fireworks.ai/inference/v1/chat/completions",
            "accounts/fireworks/models/glm-5",
        ),
    ];
    let names: Vec<&str> = models.iter().map(|(model, _, _)| *model).collect();
    let gateway = gateway(&names).await;
    for (model, url, name) in models {
        let answer = preview(&gateway, json!({"model": model})).await;
        assert_eq!(answer["raw_request_api_base"], url, "{model}: {answer}");
        assert_eq!(answer["raw_request_body"]["model"], name, "{model}");
    }
    let own = config::of([(
        "agent",
        json!({"model": "gradient_ai/m", "api_key": "sk-up", "api_base": "https://agent.example"}),
    )]);
    let gateway = Gateway::start(&own).await;
    let answer = preview(&gateway, json!({"model": "agent"})).await;
    assert_eq!(answer["raw_request_api_base"], "https://agent.example/api/v1/chat/completions");
}

#[tokio::test]
async fn the_environments_key_stays_with_its_provider() {
    let fake = FakeProvider::start().await;
    let env = Env::empty().overlaid([("LEMONADE_API_KEY", "sk-env"), ("GROQ_API_KEY", "sk-groq")]);
    let base = format!("{}/v1", fake.url());
    let own = config::of([
        ("mine", json!({"model": "lemonade/m", "api_base": base})),
        ("other", json!({"model": "groq/m", "api_base": base})),
    ]);
    let gateway = Gateway::start_with(&own, &env).await;
    for (model, status) in [("mine", 401), ("other", 200)] {
        let body = json!({"model": model, "num_retries": 0, "messages": [{"role": "user", "content": "hi"}]});
        let reply = gateway.post("/v1/chat/completions", &body).await;
        assert_eq!(reply.status, status, "the provider wants a key: {}", reply.json());
    }
    let seen = fake.requests();
    assert_eq!(
        seen[0].header("authorization"),
        None,
        "a caller's own address gets no key of the environment"
    );
    assert_eq!(seen[1].header("authorization"), Some("Bearer ...roq"), "the log shows the end of a key only");
}

#[tokio::test]
async fn a_server_that_names_extra_members_is_asked_again_without_them() {
    let fake = FakeProvider::start().await;
    let extra = json!({"error": {"code": "Invalid input", "details": [
        {"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra inputs are not permitted"}]}});
    let params = json!({"model": "azure_ai/mistral-large", "api_key": "sk-up",
        "api_base": format!("{}/v1", fake.url()), "drop_params": true});
    let gateway = Gateway::start(&config::of([("foundry", params)])).await;
    let body = json!({"model": "foundry", "store": true, "num_retries": 0,
        "messages": [{"role": "user", "content": "hi"}]});

    fake.script(Matcher::any(), [Answer::json(422, &extra)]);
    let reply = gateway.post("/v1/chat/completions", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    let seen = fake.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].json()["store"], true);
    assert!(seen[1].json().get("store").is_none());

    fake.reset();
    fake.always(Matcher::any(), Answer::json(422, &extra));
    let reply = gateway.post("/v1/chat/completions", &body).await;
    assert_eq!(reply.status, 422, "{}", reply.json());
    assert_eq!(fake.requests().len(), 3, "twice at most");
}

#[tokio::test]
async fn a_cost_the_provider_states_counts_unless_the_operator_set_a_price() {
    let fake = FakeProvider::start().await;
    let params =
        |model: &str| json!({"model": model, "api_key": "sk-up", "api_base": format!("{}/v1", fake.url())});
    let mut priced = params("edenai/m");
    priced["input_cost_per_token"] = json!(0.5);
    priced["output_cost_per_token"] = json!(0.25);
    let config =
        config::of([("stated", params("edenai/m")), ("priced", priced), ("other", params("openai/m"))]);
    let gateway = Gateway::start(&config).await;
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
    let message = json!({"role": "assistant", "content": "hi"});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let answer = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [choice], "usage": usage, "cost": 0.000_123_4});
    fake.always(Matcher::any(), Answer::json(200, &answer));
    for (model, cost) in [("stated", Some("0.0001234")), ("priced", Some("2")), ("other", None)] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        let reply = gateway.post("/v1/chat/completions", &body).await;
        assert_eq!(reply.status, 200, "{model}: {}", reply.json());
        let told = reply.header("x-litellm-response-cost").filter(|cost| *cost != "0");
        assert_eq!(told, cost, "{model}");
    }
}
