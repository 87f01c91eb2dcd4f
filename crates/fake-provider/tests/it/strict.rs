//! Malformed requests get the provider's own refusal.

use faregate_fake_provider::FakeProvider;
use serde_json::{Value, json};

use crate::client::{Wire, post};

#[tokio::test]
async fn what_the_providers_refuse_is_refused() {
    let fake = FakeProvider::start().await;
    let user = json!({"role": "user", "content": "hi"});
    let call = json!({"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function",
        "function": {"name": "f", "arguments": "{}"}}]});
    let used = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]});
    let forged =
        json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "eA=="}]});
    let table: Vec<(Wire, Value, &str)> = vec![
        (
            Wire::Chat,
            json!({"model": "m", "messages": [user], "xyz": 1}),
            "Unrecognized request argument supplied: xyz",
        ),
        (Wire::Chat, json!({"model": "m", "messages": []}), "empty array"),
        (
            Wire::Chat,
            json!({"model": "m", "messages": [{"role": "robot", "content": ""}]}),
            "Supported values are",
        ),
        (
            Wire::Chat,
            json!({"model": "m", "messages": [user, call]}),
            "did not have response messages: call_1",
        ),
        (
            Wire::Chat,
            json!({"model": "m", "messages": [user, {"role": "tool", "tool_call_id": "call_1", "content": ""}]}),
            "must be a response to a preceeding message with 'tool_calls'",
        ),
        (
            Wire::Chat,
            json!({"model": "m", "messages": [user], "stream_options": {}}),
            "only allowed when 'stream'",
        ),
        (Wire::Responses, json!({"model": "m", "input": "x", "xyz": 1}), "Unknown parameter: 'xyz'."),
        (
            Wire::Responses,
            json!({"model": "m", "input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}),
            "No tool call found for function call output with call_id c.",
        ),
        (Wire::Anthropic, json!({"model": "m", "messages": [user]}), "max_tokens: Field required"),
        (
            Wire::Anthropic,
            json!({"model": "m", "max_tokens": 9, "messages": [user], "xyz": 1}),
            "xyz: Extra inputs are not permitted",
        ),
        (
            Wire::Anthropic,
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "system", "content": "x"}]}),
            "Unexpected role \\\"system\\\"",
        ),
        (
            Wire::Anthropic,
            json!({"model": "m", "max_tokens": 9, "messages": [user, used, user]}),
            "`tool_use` ids were found without `tool_result` blocks immediately after: toolu_1",
        ),
        (
            Wire::Anthropic,
            json!({"model": "m", "max_tokens": 9, "messages": [user, forged, user]}),
            "messages.1.content.0: Invalid `signature` in `thinking` block",
        ),
        (
            Wire::VertexAnthropic,
            json!({"model": "m", "anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": [user]}),
            "model: Extra inputs are not permitted",
        ),
        (
            Wire::Gemini,
            json!({"contents": [{"parts": [{"text": "x"}]}], "xyz": 1}),
            "Unknown name \\\"xyz\\\"",
        ),
        (
            Wire::Gemini,
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}], "tools": [{"functionDeclarations":
                [{"name": "f", "parameters": {"type": "object", "$schema": "x"}}]}]}),
            "Unknown name \\\"$schema\\\" at 'tools[0].function_declarations[0].parameters'",
        ),
        (
            Wire::Gemini,
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]}),
            "missing a thought_signature",
        ),
        (
            Wire::Gemini,
            json!({"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]}),
            "comes immediately after a function call turn",
        ),
        (
            Wire::Converse,
            json!({"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}]}, "messages":
                [{"role": "user", "content": [{"toolResult": {"toolUseId": "x", "content": []}}]}]}),
            "exceeds the number of toolUse blocks of previous turn",
        ),
        (
            Wire::Converse,
            json!({"messages": [{"role": "user", "content": [{"text": "a"}]}, {"role": "user", "content": [{"text": "b"}]}]}),
            "must alternate between user and assistant",
        ),
        (
            Wire::Cohere,
            json!({"model": "m", "messages": [user], "xyz": 1}),
            "parameter 'xyz' is not a valid field",
        ),
    ];
    for (wire, body, words) in table {
        let answer = post(&fake, &wire.path("m", false), &body).await;
        assert!(answer.status.is_client_error(), "{wire:?} took {body}");
        assert!(answer.text().contains(words), "{wire:?}: {} for {body}", answer.text());
    }
}

#[tokio::test]
async fn a_skipped_gemini_signature_is_taken_as_documented() {
    let fake = FakeProvider::start().await;
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}},
            "thoughtSignature": "skip_thought_signature_validator"}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "42"}}}]}]});
    let answer = post(&fake, &Wire::Gemini.path("gemini-3-pro", false), &body).await;
    assert_eq!(Wire::Gemini.answer_text(&answer.json()), "The tools answered: 42.");
}

/// Three turns with signed thinking: taken back whole, refused without its thinking.
#[tokio::test]
async fn the_agent_runs_three_turns_and_wants_its_thinking_back() {
    let fake = FakeProvider::start().await;
    let model = "claude-fake-agent";
    let mut body = Wire::Anthropic.with_tools(Wire::Anthropic.body(model, "plan a trip", false));
    body["max_tokens"] = 2000.into();
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    for calls in [2, 1] {
        let answer = post(&fake, "/v1/messages", &body).await.json();
        let content = answer["content"].as_array().unwrap().clone();
        let used: Vec<&Value> = content.iter().filter(|block| block["type"] == "tool_use").collect();
        assert_eq!(used.len(), calls);
        let results = used.iter().map(
            |block| json!({"type": "tool_result", "tool_use_id": block["id"], "content": format!("in {}", block["input"]["city"])}),
        );
        let results: Vec<Value> = results.collect();
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": content}));
        messages.push(json!({"role": "user", "content": results}));
    }
    let last = post(&fake, "/v1/messages", &body).await.json();
    let text = Wire::Anthropic.answer_text(&last);
    assert_eq!(text, "The tools answered: in \"Paris\"; in \"Oslo\"; in \"Lima\".");
    body["messages"][1]["content"].as_array_mut().unwrap().remove(0);
    let refused = post(&fake, "/v1/messages", &body).await;
    assert!(
        refused.text().contains("Expected `thinking` or `redacted_thinking`, but found `text`"),
        "{}",
        refused.text()
    );
}
