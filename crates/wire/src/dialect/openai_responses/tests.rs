use std::sync::Arc;

use serde_json::{Value, json};

use super::{Client, Provider, input_items};
use crate::chat::{
    ChatRequest, ChatResponse, Event, Family, FinishReason, Part, Role, Signature, Tool, unfold,
};
use crate::dialect::{
    Abilities, ClientCall, ClientDialect, Dialect, ErrorNote, Flavor, Framing, Losses, ProviderDialect,
    Quirks, Reply, StreamEnd, Target,
};
use crate::frame::SseFrames;
use crate::testing::{self, folded};

const TEXT: &[u8] = include_bytes!("../../fixtures/openai_responses/text_stream/stream.sse");
const TOOLS: &[u8] = include_bytes!("../../fixtures/openai_responses/tools_stream/stream.sse");

fn on<R>(run: impl FnOnce(&Target<'_>) -> R) -> R {
    let (quirks, abilities) = (Quirks::default(), Abilities::default());
    let flavor = Flavor::Plain;
    run(&Target {
        provider: "openai",
        model: "gpt-5",
        flavor,
        abilities,
        quirks: &quirks,
        may_modify: false,
        betas: Vec::new(),
    })
}

fn read_stream(bytes: &[u8]) -> (Vec<Event>, StreamEnd) {
    on(|target| testing::read(Framing::Sse, &[bytes], Provider.decoder(target)))
}

fn reply(request: ChatRequest) -> Reply {
    Reply { id: "c1".into(), model: "fast".into(), created: 7, request: Arc::new(request), alt_sse: false }
}

fn decoded(body: &Value) -> ChatRequest {
    Client.decode(body.to_string().as_bytes(), &ClientCall::default()).unwrap()
}

fn rendered(request: &ChatRequest) -> (Value, Vec<String>) {
    let mut losses = Losses::default();
    let body = on(|target| Provider.body(request, target, &mut losses)).unwrap();
    (serde_json::from_slice(&body).unwrap(), losses.into_names())
}

/// What a client gets for these events; checks what holds for every stream.
fn written(events: &[Event], request: ChatRequest) -> Vec<Value> {
    let mut encoder = Client.encoder(reply(request));
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    let mut frames = SseFrames::new();
    assert!(frames.push(&out));
    let mut values: Vec<Value> = Vec::new();
    while let Some(frame) = frames.next_frame() {
        let value: Value = serde_json::from_slice(frame.data).unwrap();
        assert_eq!(frame.event, value["type"].as_str());
        assert_eq!(value["sequence_number"], values.len());
        values.push(value);
    }
    let added: Vec<&Value> = of_kind(&values, "response.output_item.added");
    for (index, event) in added.iter().enumerate() {
        assert_eq!(event["output_index"], index, "accumulators append");
    }
    let done = of_kind(&values, "response.output_item.done");
    let output = values.last().unwrap()["response"]["output"].as_array().unwrap();
    assert_eq!((added.len(), done.len()), (output.len(), output.len()));
    for event in done {
        assert_eq!(event["item"], output[usize::try_from(event["output_index"].as_u64().unwrap()).unwrap()]);
    }
    values
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

fn whole(answer: &ChatResponse, request: ChatRequest) -> Value {
    let body = Client.encode(answer, &reply(request), &mut Losses::default());
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn reasoning_text_and_citations_of_a_stream_are_read() {
    let (events, end) = read_stream(TEXT);
    let answer = folded(&events);
    assert_eq!(end, StreamEnd::Complete);
    let [Part::Reasoning { text: thought, signature, .. }, Part::Text { text, annotations, .. }] =
        answer.choices[0].parts.as_slice()
    else {
        panic!("{:?}", answer.choices)
    };
    assert_eq!((thought.as_str(), text.as_str()), ("Fares.\n\nPrices.", "It costs 3 €."));
    assert_eq!(signature.as_ref().unwrap().data, "gAAA==");
    assert_eq!(annotations[0]["url_citation"]["url"], "https://f.example");
    assert_eq!(answer.choices[0].finish, FinishReason::Length);
    assert_eq!((answer.usage.input, answer.usage.cache_read, answer.usage.reasoning), (70, 64, 4));
}

#[test]
fn functions_and_custom_tools_of_a_stream_are_read() {
    let answer = folded(&read_stream(TOOLS).0);
    let [Part::ToolCall { arguments, .. }, Part::ToolCall { id, arguments: patch, .. }] =
        answer.choices[0].parts.as_slice()
    else {
        panic!("{:?}", answer.choices)
    };
    assert_eq!(arguments, r#"{"city":"Paris"}"#);
    assert_eq!((id.as_str(), patch.as_str()), ("call_2", r#"{"input":"*** Begin Patch"}"#));
    assert_eq!(answer.choices[0].finish, FinishReason::ToolCalls);
}

#[test]
fn a_stream_and_a_whole_answer_say_the_same() {
    for fixture in [TEXT, TOOLS] {
        let (events, _) = read_stream(fixture);
        let request = codex();
        let streamed = written(&events, request.clone());
        let whole = whole(&folded(&events), request);
        let last = &streamed.last().unwrap()["response"];
        assert_eq!(last["output"], whole["output"]);
        assert_eq!(
            (&last["id"], &last["usage"], &last["status"]),
            (&whole["id"], &whole["usage"], &whole["status"])
        );
        assert_eq!(streamed[0]["type"], "response.created");
        assert_eq!(streamed[0]["response"]["status"], "in_progress");
    }
}

/// A request as a coding agent sends it.
fn codex() -> ChatRequest {
    decoded(&json!({"model": "fast", "stream": true, "store": false,
    "instructions": "You code.",
    "include": ["reasoning.encrypted_content"],
    "tools": [
        {"type": "custom", "name": "apply_patch", "description": "Edits files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
        {"type": "local_shell"},
        {"type": "function", "name": "plan", "parameters": {"type": "object"}, "strict": false},
    ],
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "custom_tool_call", "call_id": "p1", "name": "apply_patch", "input": "*** Begin"},
        {"type": "local_shell_call", "id": "lsh_1", "call_id": "s1", "status": "completed",
            "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "custom_tool_call_output", "call_id": "p1", "output": "Done"},
        {"type": "function_call_output", "call_id": "s1", "output": "a.rs"},
    ]}))
}

#[test]
fn a_tool_another_provider_runs_is_left_out_where_functions_remain_and_refused_alone() {
    let hosted = json!({"type": "code_interpreter", "container": {"type": "auto"}});
    let beside = json!([hosted, {"type": "function", "name": "plan", "parameters": {"type": "object"}}]);
    for provider in [
        &crate::dialect::openai_chat::Provider as &dyn ProviderDialect,
        &crate::dialect::gemini::Provider,
        &crate::dialect::cohere::Provider,
        &crate::dialect::ollama::Provider,
    ] {
        let mut losses = Losses::default();
        let mut render = |tools: &Value| {
            let request = decoded(&json!({"model": "fast", "input": "Go.", "tools": tools}));
            on(|target| provider.body(&request, target, &mut losses))
        };
        let body: Value = serde_json::from_slice(&render(&beside).unwrap()).unwrap();
        assert!(body["tools"].to_string().contains("plan") && !body.to_string().contains("code_interpreter"));
        assert!(render(&json!([hosted])).unwrap_err().what.starts_with("tools[0]"));
        assert!(losses.names().contains(&"tool.foreign".to_owned()));
    }
}

#[test]
fn custom_tools_are_functions_elsewhere_and_custom_again_for_the_client() {
    let request = codex();
    let Tool::Function { name, description, parameters, .. } = &request.tools[0] else { panic!() };
    assert_eq!(name, "apply_patch");
    assert!(description.as_ref().unwrap().contains("start: x"), "models elsewhere see the grammar");
    assert_eq!(parameters.as_ref().unwrap()["required"], json!(["input"]));

    let quirks = Quirks::default();
    let target = Target {
        provider: "groq",
        model: "m",
        flavor: Flavor::Plain,
        abilities: Abilities::default(),
        quirks: &quirks,
        may_modify: false,
        betas: Vec::new(),
    };
    let body = crate::dialect::openai_chat::Provider.body(&request, &target, &mut Losses::default()).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["tools"][0]["function"]["name"], "apply_patch");
    let calls = &body["messages"][2]["tool_calls"];
    assert_eq!(calls[0]["function"]["arguments"], r#"{"input":"*** Begin"}"#);
    assert_eq!(calls[1]["function"]["name"], "local_shell");
    assert_eq!(body["messages"][3]["tool_call_id"], "p1");

    let mut answer = folded(&[]);
    answer.choices[0].parts = vec![
        Part::tool_call("c1", "apply_patch", r#"{"input":"*** Begin Patch"}"#),
        Part::tool_call("c2", "local_shell", r#"{"command":["ls"]}"#),
        Part::tool_call("c3", "plan", ""),
    ];
    let out = whole(&answer, request.clone());
    assert_eq!(out["output"][0]["type"], "custom_tool_call");
    assert_eq!(out["output"][0]["input"], "*** Begin Patch");
    assert_eq!(out["output"][1]["action"], json!({"type": "exec", "env": {}, "command": ["ls"]}));
    assert_eq!(out["output"][2]["arguments"], "{}");
    let events = written(&unfold(&answer), request);
    assert_eq!(of_kind(&events, "response.custom_tool_call_input.done")[0]["input"], "*** Begin Patch");
    assert_eq!(events.last().unwrap()["response"]["output"], out["output"]);
}

#[test]
fn a_coding_agents_request_reaches_its_own_provider_as_it_was() {
    let (sent, losses) = rendered(&codex());
    assert_eq!(sent["instructions"], "You code.");
    assert_eq!(sent["tools"][0]["format"]["definition"], "start: x");
    assert_eq!(sent["tools"][0]["description"], "Edits files.");
    assert_eq!(sent["tools"][1], json!({"type": "local_shell"}));
    let kinds: Vec<&str> =
        sent["input"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "message",
            "reasoning",
            "custom_tool_call",
            "local_shell_call",
            "custom_tool_call_output",
            "local_shell_call_output"
        ]
    );
    assert_eq!(sent["input"][1]["encrypted_content"], "gAAA");
    assert_eq!((&sent["store"], &sent["include"][0]), (&json!(false), &json!("reasoning.encrypted_content")));
    assert!(losses.is_empty(), "{losses:?}");
}

#[test]
fn what_a_client_gets_it_can_send_back() {
    let state = Signature { family: Family::Anthropic, data: "sig".into() };
    let mut answer = folded(&[]);
    let mut call = Part::tool_call("t1", "plan", r#"{"a":1}"#);
    if let Part::ToolCall { signature, .. } = &mut call {
        *signature = Some(Signature { family: Family::Gemini, data: "ts".into() });
    }
    let parts = vec![
        Part::Reasoning { text: "Hm.".into(), signature: Some(state), redacted: false, id: None },
        Part::text("So."),
        call,
    ];
    answer.choices[0].parts = parts.clone();
    let out = whole(&answer, codex());
    let back = decoded(&json!({"model": "m", "input": out["output"]}));
    assert_eq!(back.messages.len(), 1, "one turn of the model's");
    let mut again = back.messages[0].parts.clone();
    if let Part::Reasoning { id, .. } = &mut again[0] {
        assert_eq!(id.take().as_deref(), Some("rs_c10000"));
    }
    assert_eq!(again, parts);
    let events = written(&unfold(&answer), codex());
    assert_eq!(events.last().unwrap()["response"]["output"], out["output"]);
}

#[test]
fn the_answer_repeats_the_request() {
    let out = whole(&folded(&read_stream(TEXT).0), codex());
    assert_eq!(out["object"], "response");
    assert_eq!(out["id"], "resp_1");
    assert_eq!(out["model"], "fast");
    assert_eq!(out["instructions"], "You code.");
    assert_eq!(out["tools"][2]["name"], "plan");
    assert_eq!((&out["tool_choice"], &out["store"]), (&json!("auto"), &json!(false)));
    assert_eq!(out["status"], "incomplete");
    assert_eq!(out["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(out["usage"]["total_tokens"], 82);
    assert_eq!(out["output"][1]["content"][0]["annotations"][0]["url"], "https://f.example");
}

#[test]
fn interleaved_parts_keep_their_items_apart() {
    let chat = include_bytes!("../../fixtures/openai_chat/tools_stream/stream.sse");
    let events = on(|target| {
        let (mut frames, mut events) = (SseFrames::new(), Vec::new());
        let mut decoder = Dialect::OpenAiChat.provider().unwrap().decoder(target);
        assert!(frames.push(chat));
        while let Some(frame) = frames.next_frame() {
            decoder.frame(frame, &mut events).unwrap();
        }
        events
    });
    let out = written(&events, ChatRequest::default());
    let output = &out.last().unwrap()["response"]["output"];
    assert_eq!(output[0]["arguments"], r#"{"city":"Paris"}"#);
    assert_eq!(output[1]["arguments"], r#"{"city":"Oslo"}"#);
}

#[test]
fn files_of_tool_results_and_other_kinds_of_input_are_read() {
    let request = decoded(&json!({"model": "m", "input": [
        {"role": "user", "content": [
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [
            {"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": "https://x.example/a.png"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"}]}));
    assert!(matches!(&request.messages[0].parts[..], [Part::Image { .. }, Part::File { .. }]));
    assert_eq!(request.messages[2].role, Role::Tool);
    let Part::ToolResult { content, .. } = &request.messages[2].parts[0] else { panic!() };
    assert!(matches!(content[..], [Part::Text { .. }, Part::Image { .. }]));
    assert!(matches!(request.messages[3].parts[0], Part::Foreign { family: Family::Responses, .. }));
}

#[test]
fn references_to_items_are_refused_with_a_way_out() {
    let body = json!({"model": "m", "input": [{"type": "item_reference", "id": "msg_1"}]});
    let refused = Client.decode(body.to_string().as_bytes(), &ClientCall::default()).unwrap_err();
    assert_eq!(refused.param.as_deref(), Some("input[0]"));
    assert!(refused.message.contains("previous_response_id"));
}

#[test]
fn text_input_continues_as_an_item() {
    let items = input_items(br#"{"input":"hi"}"#).unwrap();
    assert_eq!(
        items,
        [json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]})]
    );
    assert!(input_items(br#"{"input":7}"#).is_err());
}

#[test]
fn another_dialects_conversation_is_not_stored() {
    let request = ChatRequest {
        messages: vec![crate::chat::Message::text(Role::User, "hi")],
        reasoning: Some(crate::chat::Reasoning { budget: Some(3000), ..Default::default() }),
        ..ChatRequest::default()
    };
    let (sent, losses) = rendered(&request);
    assert_eq!(sent["store"], false);
    assert_eq!(sent["include"], json!(["reasoning.encrypted_content"]));
    assert_eq!(sent["reasoning"], json!({"effort": "medium", "summary": "auto"}));
    assert_eq!(losses, ["reasoning.budget"]);
}

#[test]
fn an_error_is_an_event_and_a_failed_response() {
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
    let (events, end) = read_stream(&out);
    assert_eq!(end, StreamEnd::Complete);
    let faults: Vec<_> = events.iter().filter(|event| matches!(event, Event::Error(_))).collect();
    let [Event::Error(fault)] = faults[..] else { panic!("{faults:?}") };
    assert_eq!(
        (fault.class, fault.code.as_deref()),
        (faregate_terms::FaultClass::RateLimit, Some("rate_limit_exceeded"))
    );
}

#[test]
fn citations_may_come_after_the_text_they_belong_to() {
    let note = json!({"type": "url_citation", "url_citation": {"url": "https://f.example"}});
    let events = [
        Event::Open { choice: 0, part: 0, kind: crate::chat::PartKind::Text },
        Event::Text { part: 0, delta: "x".into() },
        Event::Close { part: 0 },
        Event::Annotation { part: 0, annotation: note },
    ];
    let events = written(&events, ChatRequest::default());
    let part = &events.last().unwrap()["response"]["output"][0]["content"][0];
    assert_eq!(part["annotations"][0]["url"], "https://f.example");
}
