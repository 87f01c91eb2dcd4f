use std::sync::Arc;
use std::time::Duration;

use faregate_terms::{FaultClass, Usage};
use http::HeaderMap;
use serde_json::{Value, json};

use super::{Client, Provider, count_tokens_answer, count_tokens_request, decode_count_tokens};
use crate::chat::{
    ChatRequest, ChatResponse, Choice, Effort, Event, Family, FinishReason, Media, Message, OutputFormat,
    Part, PartKind, Reasoning, Role, Signature, Tool, ToolChoice, unfold,
};
use crate::dialect::{
    Abilities, ClientCall, ClientDialect, ErrorNote, Flavor, Framing, Head, Losses, ProviderDialect, Quirks,
    Reply, StreamEnd, Target,
};
use crate::frame::SseFrames;
use crate::testing::{self, folded};

const TOOLS: &[u8] = include_bytes!("../../fixtures/gemini/tools_stream/stream.sse");
const GROUNDED: &[u8] = include_bytes!("../../fixtures/gemini/grounded_stream/stream.sse");
const BLOCKED: &[u8] = include_bytes!("../../fixtures/gemini/blocked/answer.json");
const TURNS: &[u8] = include_bytes!("../../fixtures/gemini/client_turns/in.json");

fn on<R>(model: &str, flavor: Flavor<'_>, run: impl FnOnce(&Target<'_>) -> R) -> R {
    let quirks = Quirks::default();
    let abilities = Abilities::default();
    run(&Target {
        provider: "gemini",
        model,
        flavor,
        abilities,
        quirks: &quirks,
        may_modify: false,
        betas: Vec::new(),
    })
}

fn decode_stream(chunks: &[&[u8]]) -> (Vec<Event>, StreamEnd) {
    on("gemini-3-pro-preview", Flavor::Plain, |target| {
        testing::read(Framing::Sse, chunks, Provider.decoder(target))
    })
}

fn reply(alt_sse: bool) -> Reply {
    let request = Arc::new(ChatRequest::default());
    Reply { id: "call-1".into(), model: "public".into(), created: 1_769_860_800, request, alt_sse }
}

fn body(request: &ChatRequest, model: &str, flavor: Flavor<'_>) -> (Value, Vec<String>) {
    on(model, flavor, |target| {
        let mut losses = Losses::default();
        let bytes = Provider.body(request, target, &mut losses).unwrap();
        (serde_json::from_slice(&bytes).unwrap(), losses.into_names())
    })
}

fn turns() -> ChatRequest {
    let call = ClientCall { path_model: Some("gemini-3-pro-preview"), ..ClientCall::default() };
    Client.decode(TURNS, &call).unwrap()
}

#[test]
fn thoughts_calls_and_figures_of_a_stream_are_read() {
    let answer = folded(&decode_stream(&[TOOLS]).0);
    let choice = &answer.choices[0];
    assert_eq!(choice.finish, FinishReason::ToolCalls);
    let [Part::Reasoning { text, .. }, said, first, second] = choice.parts.as_slice() else {
        panic!("{:?}", choice.parts)
    };
    assert_eq!(text, "**Planning**\n\nTwo cities — two calls.");
    assert_eq!(said.as_text(), Some("Let me look: größe ✓"));
    let (Part::ToolCall { id, signature, arguments, .. }, Part::ToolCall { id: other, signature: none, .. }) =
        (first, second)
    else {
        panic!("{first:?}")
    };
    assert_ne!(id, other, "made-up ids are told apart");
    assert_eq!(arguments, r#"{"city":"Paris"}"#);
    assert_eq!(signature.as_ref().map(|it| it.data.as_str()), Some("CiIBVKhc7vB+/w=="));
    assert_eq!(*none, None);
    let Usage { input, cache_read, output, reasoning, .. } = answer.usage;
    assert_eq!((input, cache_read, output, reasoning), (90, 64, 42, 12));
}

#[test]
fn a_stream_without_its_finish_is_truncated() {
    let cut = TOOLS.windows(6).rposition(|window| window == b"data: ").unwrap();
    assert_eq!(decode_stream(&[&TOOLS[..cut]]).1, StreamEnd::Truncated);
}

#[test]
fn grounding_becomes_annotations_and_is_carried_for_gemini_clients() {
    let answer = folded(&decode_stream(&[GROUNDED]).0);
    let Part::Text { annotations, signature, .. } = &answer.choices[0].parts[0] else { panic!() };
    assert_eq!(annotations[0]["url_citation"]["url"], "https://a.example/x");
    assert_eq!(signature.as_ref().map(|it| it.data.as_str()), Some("EpQB"), "the state is that of the text");
    assert_eq!(answer.usage.web_searches, 1);
    let body: Value =
        serde_json::from_slice(&Client.encode(&answer, &reply(true), &mut Losses::default())).unwrap();
    assert_eq!(body["candidates"][0]["groundingMetadata"]["webSearchQueries"][0], "who won euro 2024");
    assert_eq!(body["candidates"][0]["content"]["parts"][0]["thoughtSignature"], "EpQB");
}

#[test]
fn a_blocked_prompt_ends_with_the_filter_and_keeps_its_reason() {
    let answer = on("m", Flavor::Plain, |target| Provider.decode(target, BLOCKED)).unwrap();
    assert_eq!(answer.choices[0].finish, FinishReason::ContentFilter);
    let body: Value =
        serde_json::from_slice(&Client.encode(&answer, &reply(true), &mut Losses::default())).unwrap();
    assert_eq!(body["promptFeedback"]["blockReason"], "PROHIBITED_CONTENT");
    assert_eq!(body["candidates"], json!([]));
}

#[test]
fn thoughts_that_are_counted_within_the_answer_are_not_counted_twice() {
    let text =
        br#"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}],"usageMetadata":
        {"promptTokenCount":10,"candidatesTokenCount":30,"thoughtsTokenCount":20,"totalTokenCount":40}}"#;
    let answer = on("m", Flavor::Plain, |target| Provider.decode(target, text)).unwrap();
    assert_eq!((answer.usage.output, answer.usage.reasoning), (30, 20));
}

#[test]
fn a_request_in_either_case_is_read_whole() {
    let request = turns();
    assert_eq!(request.messages[0], Message::text(Role::System, "Be brief."));
    let Part::Image { media: Media::Base64 { data, .. }, .. } = &request.messages[1].parts[1] else {
        panic!()
    };
    assert_eq!(data, "+/8=", "the standard alphabet");
    let model = &request.messages[2].parts;
    assert!(matches!(&model[0], Part::Reasoning { text, .. } if text == "Two calls"), "{model:?}");
    let results = &request.messages[3];
    assert_eq!(results.role, Role::Tool);
    for at in 0..2 {
        let (Part::ToolCall { id, .. }, Part::ToolResult { id: answered, .. }) =
            (&model[at + 1], &results.parts[at])
        else {
            panic!("{model:?}")
        };
        assert_eq!(id, answered, "results without ids answer the calls in order");
    }
    assert_eq!(request.sampling.top_k, Some(40));
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("get_weather".into())));
    assert_eq!(request.reasoning.as_ref().unwrap().effort, Some(Effort::Low));
    let Tool::Function { parameters: Some(schema), .. } = &request.tools[0] else { panic!() };
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["properties"]["day"]["type"], json!(["string", "null"]));
    assert!(matches!(request.tools[1], Tool::WebSearch { .. }));
    assert!(matches!(request.tools[2], Tool::Foreign { family: Family::Gemini, .. }));
    assert!(request.extra.get(Family::Gemini, "safetySettings").is_some());
}

#[test]
fn a_gemini_request_comes_out_of_the_provider_side_with_its_meaning() {
    let (body, losses) = body(&turns(), "gemini-3-pro-preview", Flavor::Plain);
    let original: Value = serde_json::from_slice(TURNS).unwrap();
    assert_eq!(losses, Vec::<String>::new());
    assert_eq!(body["systemInstruction"]["parts"], original["systemInstruction"]["parts"]);
    assert_eq!(body["contents"][1]["parts"][1], original["contents"][1]["parts"][2]);
    assert_eq!(body["contents"][2], original["contents"][2]);
    assert_eq!(body["safetySettings"], original["safetySettings"]);
    assert_eq!(body["toolConfig"], original["toolConfig"]);
    assert_eq!(body["generationConfig"]["mediaResolution"], "MEDIA_RESOLUTION_LOW");
    assert_eq!(
        body["generationConfig"]["thinkingConfig"],
        json!({"includeThoughts": true, "thinkingLevel": "low"})
    );
    assert_eq!(body["tools"][1], json!({"googleSearch": {}}));
    assert_eq!(body["tools"][2], json!({"codeExecution": {}}));
}

#[test]
fn calls_of_other_models_pass_on_gemini_3_and_results_come_in_call_order() {
    let other = Signature { family: Family::Anthropic, data: "sig".into() };
    let mut first = Part::tool_call("toolu_1", "look", r#"{"a":1}"#);
    if let Part::ToolCall { signature, .. } = &mut first {
        *signature = Some(other.clone());
    }
    let request = ChatRequest {
        messages: vec![
            Message::text(Role::User, "Go"),
            Message::new(
                Role::Assistant,
                vec![
                    Part::Reasoning { text: String::new(), signature: Some(other), redacted: true, id: None },
                    first,
                    Part::tool_call("toolu_2", "look", ""),
                ],
            ),
            Message::new(Role::Tool, vec![Part::tool_result("toolu_2", vec![Part::text("two")])]),
            Message::new(
                Role::Tool,
                vec![Part::tool_result(
                    "toolu_1",
                    vec![
                        Part::text("one"),
                        Part::image(Media::Base64 { mime: "image/png".into(), data: "AAAA".into() }),
                    ],
                )],
            ),
        ],
        ..ChatRequest::default()
    };
    let (third, losses) = body(&request, "gemini-3-flash-preview", Flavor::Plain);
    assert_eq!(losses, ["reasoning.signature"]);
    let parts = &third["contents"][1]["parts"];
    assert_eq!(parts[0]["thoughtSignature"], "skip_thought_signature_validator");
    assert_eq!(parts[1].get("thoughtSignature"), None, "only the first call of a step is signed");
    let results = &third["contents"][2]["parts"];
    assert_eq!(results[0]["functionResponse"]["id"], "toolu_1");
    assert_eq!(results[0]["functionResponse"]["parts"][0]["inlineData"]["mimeType"], "image/png");
    assert_eq!(results[1]["functionResponse"]["response"], json!({"result": "two"}));

    let vertex = Flavor::Vertex { project: "p", location: "global", version: "v1" };
    let (second, _) = body(&request, "gemini-2.5-flash", vertex);
    assert_eq!(second["contents"][1]["parts"][0].get("thoughtSignature"), None);
    assert_eq!(second["contents"][2]["parts"][0]["functionResponse"].get("id"), None);
    assert_eq!(second["contents"][2]["parts"][2]["inlineData"]["data"], "AAAA");
}

#[test]
fn reasoning_is_a_level_for_the_third_generation_and_a_budget_before() {
    let ask = |wish: Reasoning, model: &str| {
        let messages = vec![Message::text(Role::User, "x")];
        let request = ChatRequest { messages, reasoning: Some(wish), ..ChatRequest::default() };
        body(&request, model, Flavor::Plain).0["generationConfig"]["thinkingConfig"].clone()
    };
    let effort = |effort| Reasoning { effort: Some(effort), ..Reasoning::default() };
    assert_eq!(
        ask(effort(Effort::High), "gemini-3-flash"),
        json!({"includeThoughts": true, "thinkingLevel": "high"})
    );
    assert_eq!(ask(effort(Effort::Medium), "gemini-3-pro-preview")["thinkingLevel"], "high");
    assert_eq!(ask(effort(Effort::Medium), "gemini-3.1-pro-preview")["thinkingLevel"], "medium");
    assert_eq!(ask(effort(Effort::High), "gemini-2.5-pro")["thinkingBudget"], 4096);
    assert_eq!(ask(effort(Effort::None), "gemini-2.5-flash"), json!({"thinkingBudget": 0}));
    let adaptive = Reasoning { adaptive: true, ..Reasoning::default() };
    assert_eq!(ask(adaptive, "gemini-2.5-flash")["thinkingBudget"], -1);
}

#[test]
fn a_json_schema_goes_out_as_such_without_what_google_refuses() {
    let schema = json!({"$schema": "x", "type": "object", "properties": {"const": {"const": "a"}}});
    let request = ChatRequest {
        messages: vec![Message::text(Role::User, "x")],
        output: OutputFormat::JsonSchema { name: None, description: None, schema, strict: None },
        ..ChatRequest::default()
    };
    let config = body(&request, "gemini-2.5-flash", Flavor::Plain).0["generationConfig"].clone();
    assert_eq!(config["responseMimeType"], "application/json");
    assert_eq!(
        config["responseJsonSchema"],
        json!({"type": "object", "properties": {"const": {"enum": ["a"]}}})
    );
}

#[test]
fn every_surface_has_its_address() {
    let path = |model, flavor, stream| on(model, flavor, |target| Provider.route(target, stream).path);
    assert_eq!(
        path("gemini-2.5-pro", Flavor::Plain, true),
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    );
    assert_eq!(path("tunedModels/mine", Flavor::Plain, false), "/v1beta/tunedModels/mine:generateContent");
    let vertex = Flavor::Vertex { project: "p", location: "us-east1", version: "v1" };
    assert_eq!(
        path("gemini-2.5-pro", vertex, false),
        "/v1/projects/p/locations/us-east1/publishers/google/models/gemini-2.5-pro:generateContent"
    );
    assert_eq!(
        path("gemini/1234567", vertex, false),
        "/v1/projects/p/locations/us-east1/endpoints/1234567:generateContent"
    );
}

#[test]
fn google_errors_are_told_apart() {
    let headers = HeaderMap::new();
    let class = |status, word: &str, message: &str| {
        let body = json!({"error": {"code": status, "status": word, "message": message}}).to_string();
        Provider.fault(&Head { status, headers: &headers }, body.as_bytes()).class
    };
    let long = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).";
    assert_eq!(class(400, "INVALID_ARGUMENT", long), FaultClass::ContextWindow);
    let key = "API key not valid. Please pass a valid API key.";
    assert_eq!(class(400, "INVALID_ARGUMENT", key), FaultClass::Authentication);
    assert_eq!(class(400, "INVALID_ARGUMENT", "bad"), FaultClass::BadRequest);
    assert_eq!(class(503, "UNAVAILABLE", "overloaded"), FaultClass::Unavailable);
    assert_eq!(class(504, "DEADLINE_EXCEEDED", "late"), FaultClass::Timeout);
    let quota = br#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"quota","details":[
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.5s"}]}}]"#;
    let fault = Provider.fault(&Head { status: 429, headers: &headers }, quota);
    assert_eq!((fault.class, fault.retry_after), (FaultClass::RateLimit, Some(Duration::from_millis(2500))));
    let unknown = br#"{"error":{"code":400,"status":"INVALID_ARGUMENT",
        "message":"Invalid JSON payload received. Unknown name \"foo\" at 'generation_config': Cannot find field."}}"#;
    let fault = Provider.fault(&Head { status: 400, headers: &headers }, unknown);
    assert_eq!(fault.param.as_deref(), Some("generation_config.foo"));
}

#[test]
fn state_of_another_family_passes_for_bytes_and_comes_back() {
    for redacted in [false, true] {
        let state = Signature { family: Family::Anthropic, data: "Eq+/w==".into() };
        let part = Part::Reasoning { text: String::new(), signature: Some(state), redacted, id: None };
        let answer = answer_of(vec![part.clone(), Part::text("hi")]);
        let body: Value =
            serde_json::from_slice(&Client.encode(&answer, &reply(true), &mut Losses::default())).unwrap();
        // The SDK decodes the member and writes it in the other alphabet.
        let mut content = body["candidates"][0]["content"].clone();
        let sealed = content["parts"][0]["thoughtSignature"].as_str().unwrap().to_owned();
        content["parts"][0]["thoughtSignature"] = json!(sealed.replace('+', "-").replace('/', "_"));
        let again = json!({ "contents": [content] }).to_string();
        let call = ClientCall { path_model: Some("m"), ..ClientCall::default() };
        assert_eq!(Client.decode(again.as_bytes(), &call).unwrap().messages[0].parts[0], part);
    }
}

fn answer_of(parts: Vec<Part>) -> ChatResponse {
    let choice = Choice { index: 0, parts, finish: FinishReason::Stop, stop_sequence: None, logprobs: None };
    ChatResponse { choices: vec![choice], ..ChatResponse::default() }
}

fn encode_stream(events: &[Event], alt_sse: bool) -> Vec<u8> {
    let mut encoder = Client.encoder(reply(alt_sse));
    let mut out = Vec::new();
    for event in events {
        encoder.event(event, &mut out);
        encoder.heartbeat(&mut out);
    }
    encoder.end(&mut out);
    out
}

#[test]
fn what_the_encoder_streams_the_decoder_reads_back() {
    let (events, _) = decode_stream(&[TOOLS]);
    let bytes = encode_stream(&events, true);
    let (again, end) = decode_stream(&[&bytes]);
    assert_eq!(end, StreamEnd::Complete);
    let (first, second) = (folded(&events), folded(&again));
    assert_eq!(first.choices, second.choices);
    assert_eq!(first.usage, second.usage);
    assert_eq!(second.model, "public");
}

#[test]
fn without_alt_sse_a_stream_is_one_json_array_and_calls_stay_whole() {
    let parts = vec![Part::text("a"), Part::tool_call("c1", "f", r#"{"x":1}"#), Part::text("b")];
    let mut events = unfold(&answer_of(parts));
    // Arguments in pieces, as other dialects stream them.
    let at = events.iter().position(|event| matches!(event, Event::Arguments { .. })).unwrap();
    events[at] = Event::Arguments { part: 1, delta: r#"{"x""#.into() };
    events.insert(at + 1, Event::Arguments { part: 1, delta: ":1}".into() });
    let chunks: Vec<Value> = serde_json::from_slice(&encode_stream(&events, false)).unwrap();
    let calls: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["candidates"][0]["content"]["parts"][0].get("functionCall"))
        .collect();
    assert_eq!(calls, [&json!({"id": "c1", "name": "f", "args": {"x": 1}})]);
    assert_eq!(chunks.last().unwrap()["candidates"][0]["finishReason"], "STOP");
    assert!(Client.stream_type(false).starts_with("application/json"));
}

#[test]
fn an_error_in_mid_stream_reaches_the_client_in_google_form() {
    let note = ErrorNote {
        status: 503,
        kind: "api_error".into(),
        message: "The model is overloaded.".into(),
        code: "503".into(),
        param: None,
        call_id: "c".into(),
    };
    let mut out = Vec::new();
    let mut encoder = Client.encoder(reply(false));
    encoder.event(&Event::Open { choice: 0, part: 0, kind: PartKind::Text }, &mut out);
    encoder.event(&Event::Text { part: 0, delta: "Hal".into() }, &mut out);
    encoder.error(&note, &mut out);
    let items: Vec<Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(items[1]["error"]["status"], "UNAVAILABLE");
    let frame = format!("data: {}\n\n", String::from_utf8(Client.error(&note)).unwrap());
    let (events, _) = decode_stream(&[frame.as_bytes()]);
    assert!(matches!(&events[0], Event::Error(fault) if fault.class == FaultClass::Unavailable));
}

#[test]
fn bad_requests_name_the_member() {
    let call = ClientCall { path_model: Some("m"), ..ClientCall::default() };
    let param = |body: Value| Client.decode(body.to_string().as_bytes(), &call).unwrap_err().param.unwrap();
    assert_eq!(param(json!({})), "contents");
    assert_eq!(param(json!({"contents": [{"parts": [{"text": 1}]}]})), "contents[0].parts[0].text");
    assert_eq!(param(json!({"contents": [{"role": "robot", "parts": []}]})), "contents[0].role");
    let body = json!({"contents": [], "generation_config": {"max_output_tokens": "x"}});
    assert_eq!(param(body), "generationConfig.maxOutputTokens");
}

#[test]
fn tokens_are_counted_in_either_form() {
    let call = ClientCall { path_model: Some("m"), ..ClientCall::default() };
    let inner = json!({"model": "models/m", "contents": [{"parts": [{"text": "hi"}]}]});
    let wrapped = json!({ "generateContentRequest": inner }).to_string();
    let request = decode_count_tokens(wrapped.as_bytes(), &call).unwrap();
    let body = on("m", Flavor::Plain, |target| {
        count_tokens_request(&request, target, &mut Losses::default()).unwrap()
    });
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["generateContentRequest"]["model"], "models/m");
    assert_eq!(body["generateContentRequest"]["contents"][0]["parts"][0]["text"], "hi");
    assert_eq!(count_tokens_answer(br#"{"totalTokens": 7}"#), Ok(7));
}

#[test]
fn a_streamed_turn_that_the_sdk_returns_in_pieces_is_one_turn_again() {
    let (events, _) = decode_stream(&[TOOLS]);
    let stream = encode_stream(&events, true);
    let mut frames = SseFrames::new();
    assert!(frames.push(&stream));
    // As google-genai's chats do: the content of every chunk, in order.
    let mut contents = vec![json!({"role": "user", "parts": [{"text": "Weather?"}]})];
    while let Some(frame) = frames.next_frame() {
        let chunk: Value = serde_json::from_slice(frame.data).unwrap();
        contents.push(chunk["candidates"][0]["content"].clone());
    }
    let call = ClientCall { path_model: Some("m"), ..ClientCall::default() };
    let request = Client.decode(json!({ "contents": contents }).to_string().as_bytes(), &call).unwrap();
    assert_eq!(request.messages.len(), 2);
    assert_eq!(request.messages[1].parts, folded(&events).choices[0].parts);
}
