use std::sync::Arc;

use faregate_terms::FaultClass;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::{Client, Provider};
use crate::chat::{ChatRequest, Event, Family, FinishReason, Part, PartKind, Signature, unfold};
use crate::dialect::{
    Abilities, ClientCall, ClientDialect, ErrorNote, Flavor, Framing, Head, Losses, ProviderDialect, Quirks,
    Reply, StreamEnd, Target,
};
use crate::testing::{self, folded};

const TEXT: &[u8] = include_bytes!("../../fixtures/openai_chat/text_stream/stream.sse");
const TOOLS: &[u8] = include_bytes!("../../fixtures/openai_chat/tools_stream/stream.sse");
const REASONING: &[u8] = include_bytes!("../../fixtures/openai_chat/reasoning_stream/stream.sse");
const ERROR: &[u8] = include_bytes!("../../fixtures/openai_chat/error_stream/stream.sse");

fn on<R>(quirks: &Quirks, run: impl FnOnce(&Target<'_>) -> R) -> R {
    let (model, flavor, abilities) = ("gpt-4o", Flavor::Plain, Abilities::default());
    run(&Target {
        provider: "openai",
        model,
        flavor,
        abilities,
        quirks,
        may_modify: false,
        betas: Vec::new(),
    })
}

fn read_stream(bytes: &[u8], quirks: &Quirks) -> (Vec<Event>, StreamEnd) {
    on(quirks, |target| testing::read(Framing::Sse, &[bytes], Provider.decoder(target)))
}

fn reply(request: ChatRequest) -> Reply {
    Reply { id: "c1".into(), model: "fast".into(), created: 7, request: Arc::new(request), alt_sse: false }
}

/// What a client gets for these events, frame by frame.
fn written(events: &[Event], request: ChatRequest) -> Vec<Value> {
    let mut encoder = Client.encoder(reply(request));
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    let text = String::from_utf8(out).unwrap();
    let frames: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(*frames.last().unwrap(), "data: [DONE]");
    frames[..frames.len() - 1]
        .iter()
        .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

fn decoded(body: Value) -> ChatRequest {
    Client.decode(body.to_string().as_bytes(), &ClientCall::default()).unwrap()
}

fn rendered(request: &ChatRequest, quirks: &Quirks) -> (Value, Vec<String>) {
    let mut losses = Losses::default();
    let body = on(quirks, |target| Provider.body(request, target, &mut losses)).unwrap();
    (serde_json::from_slice(&body).unwrap(), losses.into_names())
}

#[test]
fn a_text_stream_is_read_with_its_citations_and_figures() {
    let (events, end) = read_stream(TEXT, &Quirks::default());
    let answer = folded(&events);
    assert_eq!(end, StreamEnd::Complete);
    assert_eq!(answer.id, "chatcmpl-A1");
    let [Part::Text { text, annotations, .. }] = answer.choices[0].parts.as_slice() else { panic!() };
    assert_eq!(text, "It costs 3 €.");
    assert_eq!(annotations[0]["url_citation"]["url"], "https://f.example");
    assert_eq!((answer.usage.input, answer.usage.cache_read, answer.usage.reasoning), (70, 64, 4));
    assert_eq!(answer.choices[0].logprobs.as_ref().unwrap()["content"][0]["token"], "It");
    assert!(answer.extra.get(Family::OpenAi, "prompt_filter_results").is_some());
}

#[test]
fn interleaved_calls_are_told_apart() {
    let answer = folded(&read_stream(TOOLS, &Quirks::default()).0);
    assert_eq!(
        answer.choices[0].parts,
        [
            Part::tool_call("call_1", "get_weather", r#"{"city":"Paris"}"#),
            Part::tool_call("call_2", "get_weather", r#"{"city":"Oslo"}"#),
        ]
    );
    assert_eq!(answer.choices[0].finish, FinishReason::ToolCalls);
}

#[test]
fn reasoning_lists_of_content_and_groqs_figures_are_read() {
    let answer = folded(&read_stream(REASONING, &Quirks::default()).0);
    let [Part::Reasoning { text: thought, .. }, Part::Text { text, .. }] = answer.choices[0].parts.as_slice()
    else {
        panic!("{:?}", answer.choices)
    };
    assert_eq!((thought.as_str(), text.as_str()), ("Hm, fares.", "Three."));
    assert_eq!((answer.usage.input, answer.usage.output, answer.usage.cache_read), (5, 7, 2));
}

#[test]
fn an_error_in_a_stream_is_a_fault_and_a_cut_is_no_end() {
    let (events, end) = read_stream(ERROR, &Quirks::default());
    let Some(Event::Error(fault)) = events.iter().find(|event| matches!(event, Event::Error(_))) else {
        panic!("{events:?}")
    };
    assert_eq!(fault.class, FaultClass::Unavailable);
    assert_eq!(end, StreamEnd::Truncated);
    let cut = TEXT.windows(11).position(|window| window == b"\"3 \xe2\x82\xac.\"},\"").unwrap();
    assert_eq!(read_stream(&TEXT[..cut], &Quirks::default()).1, StreamEnd::Truncated);
}

#[test]
fn a_call_of_the_stand_in_tool_is_the_answers_text() {
    let quirks = Quirks { schema_by_tool: true, ..Quirks::default() };
    let stream = String::from_utf8(TOOLS.to_vec()).unwrap().replace("get_weather", "json_tool_call");
    let answer = folded(&read_stream(stream.as_bytes(), &quirks).0);
    assert_eq!(answer.choices[0].parts[0].as_text(), Some(r#"{"city":"Paris"}"#));
    assert_eq!(answer.choices[0].finish, FinishReason::Stop);
}

#[test]
fn a_stream_comes_out_as_it_went_in() {
    let request = ChatRequest { include_usage: true, ..ChatRequest::default() };
    for fixture in [TEXT, TOOLS, REASONING] {
        let (events, _) = read_stream(fixture, &Quirks::default());
        let mut bytes = Vec::new();
        for chunk in written(&events, request.clone()) {
            bytes.extend_from_slice(format!("data: {chunk}\n\n").as_bytes());
            assert_eq!(chunk["model"], "fast");
        }
        bytes.extend_from_slice(b"data: [DONE]\n\n");
        let (before, after) = (folded(&events), folded(&read_stream(&bytes, &Quirks::default()).0));
        assert_eq!(after.choices, before.choices);
        assert_eq!(after.usage.total(), before.usage.total());
    }
}

#[test]
fn usage_comes_only_if_asked_for_and_only_at_the_end() {
    let (events, _) = read_stream(TEXT, &Quirks::default());
    let silent = written(&events, ChatRequest::default());
    assert!(silent.iter().all(|chunk| chunk.get("usage").is_none() && chunk["choices"][0].is_object()));
    let told = written(&events, ChatRequest { include_usage: true, ..ChatRequest::default() });
    let last = told.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["prompt_tokens_details"]["cached_tokens"], 64);
}

#[test]
fn signed_thoughts_survive_a_turn_of_the_client() {
    let state = Signature { family: Family::Anthropic, data: "sig".into() };
    let hidden = Signature { family: Family::Responses, data: "gAAA".into() };
    let gemini = Signature { family: Family::Gemini, data: "ts+/=".into() };
    let mut call = Part::tool_call("t1", "look", "{}");
    if let Part::ToolCall { signature, .. } = &mut call {
        *signature = Some(gemini);
    }
    let mut said = Part::text("So.");
    if let Part::Text { signature, .. } = &mut said {
        *signature = Some(Signature { family: Family::Gemini, data: "te+/=".into() });
    }
    let parts = vec![
        Part::Reasoning { text: "Hm.".into(), signature: Some(state), redacted: false, id: None },
        Part::Reasoning { text: String::new(), signature: Some(hidden), redacted: true, id: None },
        said,
        call,
    ];
    let mut answer = folded(&[]);
    answer.choices[0].parts = parts.clone();
    let mut losses = Losses::default();
    let whole = Client.encode(&answer, &reply(ChatRequest::default()), &mut losses);
    assert!(losses.names().is_empty());
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    let back = decoded(json!({"model": "m", "messages": [whole["choices"][0]["message"]]}));
    assert_eq!(back.messages[0].parts, parts);

    let chunks = written(&unfold(&answer), ChatRequest::default());
    let blocks: Vec<&Value> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"].get("thinking_blocks")).collect();
    assert_eq!(blocks[0][0]["thinking"], "Hm.");
    assert_eq!(blocks[0][0]["signature"], "sig");
    assert_eq!(blocks[1][0]["type"], "redacted_thinking");
    let of_text: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"].get("provider_specific_fields"))
        .collect();
    assert_eq!(of_text, [&json!({"thought_signatures": ["te+/="]})]);
}

#[test]
fn the_state_of_a_call_that_litellm_repeats_for_the_message_stays_the_calls() {
    let call = json!({"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"},
        "provider_specific_fields": {"thought_signature": "ts"}});
    let message = json!({"role": "assistant", "content": "So.", "tool_calls": [call],
        "provider_specific_fields": {"thought_signatures": ["ts"]}});
    let request = decoded(json!({"model": "m", "messages": [message]}));
    let [Part::Text { signature: None, .. }, Part::ToolCall { signature: Some(signature), .. }] =
        request.messages[0].parts.as_slice()
    else {
        panic!("{:?}", request.messages)
    };
    assert_eq!(signature.data, "ts");
}

#[test]
fn a_request_keeps_its_meaning_from_client_to_provider() {
    let body = json!({
        "model": "fast",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}},
                {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "t1", "content": "seen"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"},
            "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": false, "temperature": 0.5, "stop": "END", "seed": 3, "n": 2,
        "max_tokens": 9, "user": "u", "metadata": {"a": "b"}, "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        "prediction": {"type": "content", "content": "x"},
    });
    let request = decoded(body.clone());
    let (sent, losses) = rendered(&request, &Quirks::default());
    let mut wanted = body;
    wanted["model"] = json!("gpt-4o");
    assert_eq!(sent, wanted);
    assert!(losses.is_empty(), "{losses:?}");
}

#[test]
fn old_functions_are_answered_in_the_old_form() {
    let request = decoded(json!({"model": "m", "messages": [{"role": "user", "content": "hi"},
        {"role": "assistant", "content": null, "function_call": {"name": "look", "arguments": "{}"}},
        {"role": "function", "name": "look", "content": "seen"}],
        "functions": [{"name": "look", "parameters": {}}], "function_call": {"name": "look"}}));
    let (sent, _) = rendered(&request, &Quirks::default());
    assert_eq!(sent["tools"][0], json!({"type": "function", "function": {"name": "look", "parameters": {}}}));
    assert_eq!(sent["messages"][1]["tool_calls"][0]["id"], sent["messages"][2]["tool_call_id"]);
    let events = read_stream(TOOLS, &Quirks::default()).0;
    let whole = Client.encode(&folded(&events), &reply(request.clone()), &mut Losses::default());
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["choices"][0]["message"]["function_call"]["name"], "get_weather");
    assert_eq!(whole["choices"][0]["finish_reason"], "function_call");
    let chunks = written(&events, request);
    assert!(chunks.iter().all(|chunk| chunk["choices"][0]["delta"].get("tool_calls").is_none()));
}

#[test]
fn quirks_shape_the_body() {
    let request = decoded(json!({"model": "m", "stream": true, "max_tokens": 5, "temperature": 1.8,
        "messages": [{"role": "developer", "content": [{"type": "text", "text": "a"},
            {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "reasoning_content": "Hm", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters":
            {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object", "additionalProperties": false}}}}}],
        "tool_choice": "required"}));
    let quirks = Quirks {
        developer_as_system: true,
        flatten_content: true,
        send_reasoning: true,
        drop_tool_strict: true,
        inline_schema_refs: true,
        drop_additional_properties: true,
        required_word: Some("any".into()),
        temperature_max: Some("1".into()),
        no_stream_options: true,
        rename: vec![("max_tokens".into(), "max_new".into())],
        ..Quirks::default()
    };
    let (sent, losses) = rendered(&request, &quirks);
    assert_eq!(sent["messages"][0], json!({"role": "system", "content": "ab"}));
    assert_eq!(sent["messages"][1]["reasoning_content"], "Hm");
    assert_eq!(sent["tools"][0]["function"], json!({"name": "f", "parameters": {"type": "object"}}));
    assert_eq!((&sent["tool_choice"], &sent["max_new"]), (&json!("any"), &json!(5)));
    assert_eq!(sent["temperature"], json!(1.0));
    assert!(sent.get("stream_options").is_none());
    assert_eq!(losses, ["cache_control", "sampling.temperature", "tool.strict"]);
}

#[test]
fn wrong_members_are_named_by_their_place() {
    let param = |body: Value| {
        Client.decode(body.to_string().as_bytes(), &ClientCall::default()).unwrap_err().param.unwrap()
    };
    assert_eq!(param(json!({"model": "m"})), "messages");
    assert_eq!(
        param(json!({"model": "m", "messages": [{"role": "user", "content": 3}]})),
        "messages[0].content"
    );
    assert_eq!(param(json!({"model": "m", "messages": [{"role": "x"}]})), "messages[0].role");
    assert_eq!(param(json!({"model": "m", "messages": [], "tool_choice": "x"})), "tool_choice");
}

#[test]
fn faults_are_classed_by_code_and_text() {
    let class = |status, error: Value| {
        let body = json!({ "error": error }).to_string();
        let headers = HeaderMap::new();
        Provider.fault(&Head { status, headers: &headers }, body.as_bytes()).class
    };
    let long = json!({"message": "This model's maximum context length is 8192 tokens", "code": null});
    assert_eq!(class(400, long), FaultClass::ContextWindow);
    assert_eq!(class(400, json!({"message": "x", "code": "content_filter"})), FaultClass::ContentPolicy);
    assert_eq!(class(429, json!({"message": "x", "code": "insufficient_quota"})), FaultClass::RateLimit);
    assert_eq!(class(500, json!("boom")), FaultClass::Internal);
    let mut headers = HeaderMap::new();
    headers.insert("x-ratelimit-remaining-tokens", HeaderValue::from_static("0"));
    headers.insert("x-ratelimit-reset-tokens", HeaderValue::from_static("1m0.5s"));
    let fault = Provider.fault(&Head { status: 429, headers: &headers }, b"{}");
    assert_eq!(fault.retry_after.unwrap().as_millis(), 60_500);
}

#[test]
fn every_surface_has_its_path() {
    let quirks = Quirks::default();
    let path = |model, flavor, stream| {
        let abilities = Abilities::default();
        let target = Target {
            provider: "x",
            model,
            flavor,
            abilities,
            quirks: &quirks,
            may_modify: false,
            betas: Vec::new(),
        };
        Provider.route(&target, stream).path
    };
    assert_eq!(path("m", Flavor::Plain, false), "/chat/completions");
    assert_eq!(
        path("my gpt", Flavor::Azure { api_version: "2024-10-21" }, false),
        "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    );
    let vertex = Flavor::Vertex { project: "p", location: "us-central1", version: "v1" };
    assert_eq!(
        path("mistral-small@2503", vertex, true),
        "/v1/projects/p/locations/us-central1/publishers/mistralai/models/mistral-small@2503:streamRawPredict"
    );
    assert_eq!(
        path("meta/llama-4", vertex, true),
        "/v1/projects/p/locations/us-central1/endpoints/openapi/chat/completions"
    );
}

#[test]
fn an_error_ends_the_stream_with_its_mark() {
    let note = ErrorNote {
        status: 429,
        kind: "throttling_error".into(),
        message: "slow down".into(),
        code: "429".into(),
        param: None,
        call_id: "c1".into(),
    };
    let mut encoder = Client.encoder(reply(ChatRequest::default()));
    let mut out = Vec::new();
    encoder.error(&note, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "data: {\"error\":{\"message\":\"slow down\",\"type\":\"throttling_error\",\"param\":null,\
         \"code\":\"429\"}}\n\ndata: [DONE]\n\n"
    );
}

#[test]
fn hidden_thoughts_are_sent_whole() {
    let signature = Signature { family: Family::Anthropic, data: "d".into() };
    let open = Event::Open { choice: 0, part: 0, kind: PartKind::Redacted { signature, id: None } };
    let chunks = written(&[open, Event::Close { part: 0 }], ChatRequest::default());
    assert_eq!(chunks[1]["choices"][0]["delta"]["thinking_blocks"][0]["data"], "d");
}

#[test]
fn citations_may_come_after_the_text_they_belong_to() {
    let note = json!({"type": "url_citation", "url_citation": {"url": "https://f.example"}});
    let events = [
        Event::Open { choice: 0, part: 0, kind: PartKind::Text },
        Event::Text { part: 0, delta: "x".into() },
        Event::Close { part: 0 },
        Event::Annotation { part: 0, annotation: note },
    ];
    let chunks = written(&events, ChatRequest::default());
    assert_eq!(
        chunks.last().unwrap()["choices"][0]["delta"]["annotations"][0]["url_citation"]["url"],
        "https://f.example"
    );
}

#[test]
fn a_stated_cost_is_read_to_the_digit_where_it_counts() {
    let chunk = |more: &str| format!("data: {{\"id\":\"c\",\"choices\":[]{more}}}\n\n");
    let usage = r#","usage":{"prompt_tokens":1,"completion_tokens":1}"#;
    let stream = chunk(&format!("{usage},\"cost\":1.234e-6"));
    let stated = |quirks: &Quirks| folded(&read_stream(stream.as_bytes(), quirks).0).usage.stated_cost;
    let quirks = Quirks { cost_in_body: true, ..Quirks::default() };
    assert_eq!(stated(&quirks).map(|cost| cost.pico()), Some(1_234_000));
    assert_eq!(stated(&Quirks::default()), None);
}
