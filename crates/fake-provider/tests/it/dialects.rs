//! One table for all dialects: the same scenario, each in its own words.

use faregate_fake_provider::FakeProvider;
use serde_json::{Value, json};

use crate::client::{ALL, Wire, post};

#[tokio::test]
async fn every_dialect_echoes_the_question() {
    let fake = FakeProvider::start().await;
    for wire in ALL {
        let answer = wire.ask(&fake, "some-model", "where is Oslo?", false).await;
        assert_eq!(answer.status, 200, "{wire:?}: {}", answer.text());
        assert_eq!(wire.answer_text(&answer.json()), "You said: where is Oslo?", "{wire:?}");
    }
}

#[tokio::test]
async fn every_dialect_calls_two_tools_at_once_with_arguments_that_fit() {
    let fake = FakeProvider::start().await;
    for wire in ALL {
        let model = "m-fake-parallel-tools";
        let body = wire.with_tools(wire.body(model, "look it up", false));
        let answer = post(&fake, &wire.path(model, false), &body).await;
        assert_eq!(wire.called(&answer.json()), ["get_weather", "get_time"], "{wire:?}: {}", answer.text());
        assert!(
            answer.text().contains("Paris") && answer.text().contains("Oslo"),
            "{wire:?}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn the_cache_scenario_has_the_same_figures_everywhere() {
    let fake = FakeProvider::start().await;
    // Pointers to input, cached and output tokens as each dialect counts them.
    let table: [(Wire, &[(&str, u64)]); 7] = [
        (
            Wire::Chat,
            &[
                ("/usage/prompt_tokens", 1000),
                ("/usage/prompt_tokens_details/cached_tokens", 800),
                ("/usage/completion_tokens", 50),
                ("/usage/completion_tokens_details/reasoning_tokens", 20),
            ],
        ),
        (
            Wire::Responses,
            &[
                ("/usage/input_tokens", 1000),
                ("/usage/input_tokens_details/cached_tokens", 800),
                ("/usage/output_tokens", 50),
                ("/usage/output_tokens_details/reasoning_tokens", 20),
            ],
        ),
        (
            Wire::Anthropic,
            &[
                ("/usage/input_tokens", 100),
                ("/usage/cache_read_input_tokens", 800),
                ("/usage/cache_creation_input_tokens", 100),
                ("/usage/output_tokens", 50),
            ],
        ),
        (
            Wire::Gemini,
            &[
                ("/usageMetadata/promptTokenCount", 1000),
                ("/usageMetadata/cachedContentTokenCount", 800),
                ("/usageMetadata/candidatesTokenCount", 30),
                ("/usageMetadata/thoughtsTokenCount", 20),
                ("/usageMetadata/totalTokenCount", 1050),
            ],
        ),
        (
            Wire::Converse,
            &[
                ("/usage/inputTokens", 100),
                ("/usage/cacheReadInputTokens", 800),
                ("/usage/cacheWriteInputTokens", 100),
                ("/usage/outputTokens", 50),
                ("/usage/totalTokens", 1050),
            ],
        ),
        (
            Wire::Cohere,
            &[
                ("/usage/tokens/input_tokens", 1000),
                ("/usage/cached_tokens", 800),
                ("/usage/tokens/output_tokens", 50),
            ],
        ),
        (Wire::Ollama, &[("/prompt_eval_count", 1000), ("/eval_count", 50)]),
    ];
    for (wire, figures) in table {
        let answer = wire.ask(&fake, "m-fake-cache", "hello", false).await.json();
        for (pointer, figure) in figures {
            assert_eq!(answer.pointer(pointer), Some(&json!(figure)), "{wire:?} {pointer}");
        }
    }
}

#[tokio::test]
async fn each_stop_reason_has_the_providers_own_word() {
    let fake = FakeProvider::start().await;
    let table = [
        (Wire::Chat, "/choices/0/finish_reason", ["stop", "length", "content_filter", "stop"]),
        (Wire::Anthropic, "/stop_reason", ["end_turn", "max_tokens", "refusal", "stop_sequence"]),
        (Wire::Gemini, "/candidates/0/finishReason", ["STOP", "MAX_TOKENS", "SAFETY", "STOP"]),
        (Wire::Converse, "/stopReason", ["end_turn", "max_tokens", "content_filtered", "stop_sequence"]),
        (Wire::Cohere, "/finish_reason", ["COMPLETE", "MAX_TOKENS", "ERROR", "STOP_SEQUENCE"]),
        (Wire::Responses, "/status", ["completed", "incomplete", "incomplete", "completed"]),
    ];
    for (wire, pointer, words) in table {
        for (scenario, word) in ["text", "length", "content-filter", "stop-sequence"].into_iter().zip(words) {
            let answer = wire.ask(&fake, &format!("m-fake-{scenario}"), "hello", false).await.json();
            assert_eq!(answer.pointer(pointer), Some(&json!(word)), "{wire:?} {scenario}");
        }
    }
}

#[tokio::test]
async fn an_image_comes_back_as_media_type_and_length() {
    let fake = FakeProvider::start().await;
    // Four bytes.
    let data = "iVBORw==";
    let url = format!("data:image/png;base64,{data}");
    let openai = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]);
    let model = "m-fake-image-ok";
    let table: [(Wire, Value); 6] = [
        (Wire::Chat, json!({"model": model, "messages": openai})),
        (Wire::Cohere, json!({"model": model, "messages": openai})),
        (
            Wire::Responses,
            json!({"model": model, "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]}),
        ),
        (
            Wire::Anthropic,
            json!({"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": [{"type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": data}}]}]}),
        ),
        (
            Wire::Gemini,
            json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}]}),
        ),
        (
            Wire::Converse,
            json!({"messages": [{"role": "user",
                "content": [{"image": {"format": "png", "source": {"bytes": data}}}]}]}),
        ),
    ];
    for (wire, body) in table {
        let answer = post(&fake, &wire.path(model, false), &body).await;
        assert_eq!(
            wire.answer_text(&answer.json()),
            "I see image/png, 4 bytes.",
            "{wire:?}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn an_asked_for_schema_is_honoured_in_each_dialects_native_way() {
    let fake = FakeProvider::start().await;
    let schema =
        json!({"type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}});
    let table = [
        (
            Wire::Chat,
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}),
        ),
        (Wire::Responses, "text", json!({"format": {"type": "json_schema", "name": "a", "schema": schema}})),
        (Wire::Anthropic, "output_config", json!({"format": {"type": "json_schema", "schema": schema}})),
        (
            Wire::Gemini,
            "generationConfig",
            json!({"responseMimeType": "application/json", "responseJsonSchema": schema}),
        ),
        (
            Wire::Converse,
            "outputConfig",
            json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema.to_string()}}}}),
        ),
        (Wire::Cohere, "response_format", json!({"type": "json_object", "schema": schema})),
        (Wire::Ollama, "format", schema.clone()),
    ];
    for (wire, member, value) in table {
        let mut body = wire.body("m", "which city?", false);
        body[member] = value;
        let answer = post(&fake, &wire.path("m", false), &body).await;
        assert_eq!(
            wire.answer_text(&answer.json()),
            r#"{"city":"Paris","n":1}"#,
            "{wire:?}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn openai_streams_role_then_text_then_finish_then_usage() {
    let fake = FakeProvider::start().await;
    let mut body = Wire::Chat.body("gpt", "hi", true);
    body["stream_options"] = json!({"include_usage": true});
    let answer = post(&fake, "/v1/chat/completions", &body).await;
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let events = answer.events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "You said: hi");
    let [.., finish, usage] = events.as_slice() else { panic!("too few events") };
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!(finish["usage"], Value::Null);
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].as_u64() > Some(0));
}

#[tokio::test]
async fn anthropic_streams_its_events_in_order() {
    let fake = FakeProvider::start().await;
    let answer = Wire::Anthropic.ask(&fake, "claude-fake-reasoning", "hi", true).await;
    let events = answer.events();
    let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    let block = ["content_block_start", "content_block_delta", "content_block_stop"];
    let mut expected =
        vec!["message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop"];
    expected.extend(block);
    expected.extend(["message_delta", "message_stop"]);
    assert_eq!(kinds, expected);
    let last_of_first =
        events.iter().rfind(|event| event["index"] == 0 && !event["delta"].is_null()).unwrap();
    assert_eq!(last_of_first["delta"]["type"], "signature_delta");
}

#[tokio::test]
async fn responses_number_their_events_and_end_with_the_whole() {
    let fake = FakeProvider::start().await;
    let answer = Wire::Responses.ask(&fake, "gpt-fake-reasoning", "hi", true).await;
    let events = answer.events();
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["output"][0]["type"], "reasoning");
    assert_eq!(Wire::Responses.answer_text(&last["response"]), "You said: hi");
}

#[tokio::test]
async fn gemini_without_sse_streams_one_json_array() {
    let fake = FakeProvider::start().await;
    let body = Wire::Gemini.body("g", "hi", true);
    let answer = post(&fake, "/v1beta/models/g:streamGenerateContent", &body).await.json();
    let chunks = answer.as_array().unwrap();
    let text: String = chunks.iter().map(|chunk| Wire::Gemini.answer_text(chunk)).collect();
    assert_eq!(text, "You said: hi");
    assert_eq!(chunks.last().unwrap()["candidates"][0]["finishReason"], "STOP");
}

#[tokio::test]
async fn a_prediction_starts_proceeds_and_succeeds() {
    let fake = FakeProvider::start().await;
    let body = json!({"input": {"prompt": "hi"}, "stream": true});
    let created = post(&fake, "/v1/models/meta/llama/predictions", &body).await;
    assert_eq!(created.status, 201);
    let created = created.json();
    assert_eq!(created["status"], "starting");
    let path = format!("/v1/predictions/{}", created["id"].as_str().unwrap());
    let get =
        |path: String| crate::client::send(crate::client::request(&fake, "GET", &path, bytes::Bytes::new()));
    assert_eq!(get(path.clone()).await.json()["status"], "processing");
    let done = get(path.clone()).await.json();
    assert_eq!(
        (done["status"].as_str(), &done["output"]),
        (Some("succeeded"), &json!(["You ", "said: ", "hi"]))
    );
    let stream = get(format!("{path}/stream")).await.text();
    assert!(
        stream.starts_with("event: output\nid: 1:0\ndata: You \n\n") && stream.contains("event: done"),
        "{stream}"
    );
}

#[tokio::test]
async fn a_stored_response_can_be_continued_read_and_deleted() {
    let fake = FakeProvider::start().await;
    let first = post(&fake, "/v1/responses", &json!({"model": "gpt", "input": "one"})).await.json();
    let id = first["id"].as_str().unwrap();
    let next = json!({"model": "gpt", "input": "two", "previous_response_id": id});
    assert_eq!(
        Wire::Responses.answer_text(&post(&fake, "/v1/responses", &next).await.json()),
        "You said: two"
    );
    let path = format!("/v1/responses/{id}");
    let call =
        |method: &str| crate::client::send(crate::client::request(&fake, method, &path, bytes::Bytes::new()));
    assert_eq!(call("GET").await.json()["status"], "completed");
    assert_eq!(call("DELETE").await.json()["deleted"], true);
    assert_eq!(call("GET").await.status, 404);
    assert_eq!(post(&fake, "/v1/responses", &next).await.status, 400);
}
