use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Value, json};

use faregate_terms::{FaultClass, Usage};

use crate::chat::{
    ChatRequest, Event, Family, FinishReason, Folder, OutputFormat, Part, Reasoning, Signature,
};
use crate::dialect::{
    Abilities, ClientCall, ClientDialect, ErrorNote, Flavor, Head, Losses, ProviderDialect, Quirks, Reply,
    StreamEnd, Target,
};
use crate::frame::AwsFrames;

use super::{Client, Provider};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn with_target<T>(model: &str, abilities: Abilities, then: impl FnOnce(&Target<'_>) -> T) -> T {
    let quirks = Quirks::default();
    then(&Target {
        provider: "bedrock",
        model,
        flavor: Flavor::Plain,
        abilities,
        quirks: &quirks,
        may_modify: false,
        betas: Vec::new(),
    })
}

/// What a Converse client's body becomes on its way through the canonical form.
fn through(body: &Value) -> (Value, Vec<String>) {
    let request = decode(body);
    let mut losses = Losses::default();
    let rendered =
        with_target(CLAUDE, Abilities { json_schema: Some(true), ..Abilities::default() }, |target| {
            Provider.body(&request, target, &mut losses).unwrap()
        });
    (serde_json::from_slice(&rendered).unwrap(), losses.into_names())
}

fn decode(body: &Value) -> ChatRequest {
    let call = ClientCall { path_model: Some("m"), path_stream: Some(false), alt_sse: false };
    Client.decode(&serde_json::to_vec(body).unwrap(), &call).unwrap()
}

fn render(request: &ChatRequest, model: &str) -> (Value, Vec<String>) {
    let mut losses = Losses::default();
    let body = with_target(model, Abilities::default(), |target| {
        Provider.body(request, target, &mut losses).unwrap()
    });
    (serde_json::from_slice(&body).unwrap(), losses.into_names())
}

fn events(fixture: &str) -> (Vec<Event>, StreamEnd) {
    let path = format!("{}/src/fixtures/bedrock/{fixture}/stream.aws", env!("CARGO_MANIFEST_DIR"));
    let mut frames = AwsFrames::new();
    assert!(frames.push(&std::fs::read(path).unwrap()));
    let mut decoder = with_target(CLAUDE, Abilities::default(), |target| Provider.decoder(target));
    let mut events = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        decoder.frame(frame, &mut events).unwrap();
    }
    let end = decoder.end(&mut events);
    (events, end)
}

fn reply() -> Reply {
    Reply { id: "1".into(), model: "m".into(), created: 0, request: Arc::default(), alt_sse: false }
}

#[test]
fn a_converse_body_survives_the_canonical_form() {
    let body = json!({
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [
                {"text": "What is on these?"},
                {"image": {"format": "png", "source": {"bytes": "iVBORw0K"}}},
                {"document": {"format": "pdf", "source": {"bytes": "JVBERi0="}, "name": "fares", "citations": {"enabled": true}}},
                {"cachePoint": {"type": "default"}},
                {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}},
            ]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
                {"reasoningContent": {"redactedContent": "cmVk"}},
                {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"model": "T", "n": 1}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "t1", "content": [{"text": "a map"}], "status": "error"}},
                {"text": "And now?"},
            ]},
        ],
        "inferenceConfig": {"maxTokens": 99, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "look", "description": "Looks", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
                {"cachePoint": {"type": "default"}},
            ],
            "toolChoice": {"any": {}},
        },
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        "additionalModelRequestFields": {"top_k": 5, "own": true},
        "requestMetadata": {"team": "a"},
        "serviceTier": {"type": "flex"},
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{\"type\":\"object\"}", "name": "o"}}}},
    });
    let (rendered, losses) = through(&body);
    assert_eq!(rendered, body);
    assert_eq!(losses, Vec::<String>::new());
}

#[test]
fn results_come_first_and_parallel_ones_in_one_turn() {
    let mut request = decode(&json!({"messages": [{"role": "user", "content": [{"text": "go"}]}]}));
    request.messages.push(crate::chat::Message::new(
        crate::chat::Role::Assistant,
        vec![Part::tool_call("a b", "f", "{}"), Part::tool_call("y".repeat(80), "f", "")],
    ));
    for id in ["a b".to_owned(), "y".repeat(80)] {
        request
            .messages
            .push(crate::chat::Message::new(crate::chat::Role::Tool, vec![Part::tool_result(id, vec![])]));
    }
    let (body, losses) = render(&request, CLAUDE);
    let calls = &body["messages"][1]["content"];
    let results = body["messages"][2]["content"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for (index, result) in results.iter().enumerate() {
        let id = &calls[index]["toolUse"]["toolUseId"];
        assert_eq!(&result["toolResult"]["toolUseId"], id, "the mapped id is the same in call and result");
        assert!(id.as_str().unwrap().len() <= 64);
    }
    // Nobody declared the tool, which Converse insists on.
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "f");
    assert!(losses.contains(&"tools.undeclared".to_owned()));
}

#[test]
fn a_model_without_schemas_is_given_a_tool_that_it_must_call() {
    let mut request = decode(&json!({"messages": [{"role": "user", "content": [{"text": "go"}]}]}));
    request.output = OutputFormat::JsonSchema {
        name: None,
        description: None,
        schema: json!({"type": "object"}),
        strict: None,
    };
    let (body, _) = render(&request, "meta.llama3-70b");
    assert_eq!(body["toolConfig"]["toolChoice"], json!({"tool": {"name": "json_tool_call"}}));
    let answer = json!({
        "output": {"message": {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "t", "name": "json_tool_call", "input": {"a": 1}}}]}},
        "stopReason": "tool_use", "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    });
    let decoded = with_target("meta.llama3-70b", Abilities::default(), |target| {
        Provider.decode(target, &serde_json::to_vec(&answer).unwrap()).unwrap()
    });
    assert_eq!(decoded.choices[0].parts, [Part::text(r#"{"a":1}"#)]);
    assert_eq!(decoded.choices[0].finish, FinishReason::Stop);
}

#[test]
fn reasoning_is_asked_for_in_the_vendors_words() {
    let mut request = decode(&json!({"messages": [{"role": "user", "content": [{"text": "go"}]}]}));
    request.reasoning = Some(Reasoning { budget: Some(2000), ..Reasoning::default() });
    let (body, _) = render(&request, CLAUDE);
    let fields = &body["additionalModelRequestFields"];
    assert_eq!(fields["thinking"], json!({"type": "enabled", "budget_tokens": 2000}));
    assert!(body["inferenceConfig"]["maxTokens"].as_u64().unwrap() > 2000);
    let (body, losses) = render(&request, "mistral.large");
    assert_eq!(body.get("additionalModelRequestFields"), None);
    assert_eq!(losses, ["reasoning"]);
}

#[test]
fn what_bedrock_cannot_fetch_is_refused_by_name() {
    let request = decode(&json!({"messages": [{"role": "user", "content": [{"text": "go"}]}]}));
    let with = |media| {
        let mut request = request.clone();
        request.messages[0].parts.push(Part::image(media));
        with_target(CLAUDE, Abilities::default(), |target| {
            Provider.body(&request, target, &mut Losses::default()).map(drop)
        })
    };
    use crate::chat::Media;
    let refused = with(Media::Url { url: "https://example.com/a.png".into(), mime: None }).unwrap_err();
    assert_eq!(refused.what, "messages[0].content[1]");
    assert!(refused.why.contains("base64"));
    let refused = with(Media::Base64 { mime: "image/tiff".into(), data: String::new() }).unwrap_err();
    assert!(refused.why.contains("image/png"), "{}", refused.why);
    assert!(with(Media::Url { url: "s3://b/a.jpg".into(), mime: None }).is_ok());
}

#[test]
fn a_stream_with_thinking_and_parallel_calls_is_read_and_told_again() {
    let (events, end) = events("tools_stream");
    assert_eq!(end, StreamEnd::Complete);
    let mut folder = Folder::new();
    events.iter().for_each(|event| folder.add(event));
    let answer = folder.finish();
    let usage = Usage { input: 1054, cache_read: 1000, cache_write_1h: 24, output: 60, ..Usage::default() };
    assert_eq!(answer.usage, usage);
    assert_eq!(answer.choices[0].finish, FinishReason::ToolCalls);
    let signature = Signature { family: Family::Anthropic, data: "EqMBCkYI==".into() };
    let expected = [
        Part::Reasoning {
            text: "Two cities, two calls.".into(),
            signature: Some(signature),
            redacted: false,
            id: None,
        },
        Part::text("Let me look — both."),
        Part::tool_call("tooluse_a", "get_weather", r#"{"city":"Paris"}"#),
        Part::tool_call("tooluse_b", "get_weather", r#"{"city":"Oslo"}"#),
    ];
    assert_eq!(answer.choices[0].parts, expected);

    // A Bedrock client gets the same stream again.
    let mut encoder = Client.encoder(reply());
    let mut bytes = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut bytes));
    encoder.end(&mut bytes);
    let mut frames = AwsFrames::new();
    assert!(frames.push(&bytes));
    let mut decoder = with_target(CLAUDE, Abilities::default(), |target| Provider.decoder(target));
    let mut again = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        decoder.frame(frame, &mut again).unwrap();
    }
    let mut folder = Folder::new();
    again.iter().for_each(|event| folder.add(event));
    assert_eq!(folder.finish().choices, answer.choices);
}

#[test]
fn an_exception_in_a_stream_keeps_its_class() {
    let (events, _) = events("throttled_stream");
    let Some(Event::Error(fault)) = events.last() else { panic!("{events:?}") };
    assert_eq!(fault.class, FaultClass::RateLimit);
    assert!(fault.message.starts_with("Too many tokens"));
}

#[test]
fn redacted_thinking_and_citations_keep_what_they_hold() {
    let (events, _) = events("redacted_cited_stream");
    let mut folder = Folder::new();
    events.iter().for_each(|event| folder.add(event));
    let answer = folder.finish();
    let signature = Some(Signature { family: Family::Bedrock, data: "cmVkYWN0ZWQ=".into() });
    assert_eq!(
        answer.choices[0].parts[0],
        Part::Reasoning { text: String::new(), signature, redacted: true, id: None }
    );
    let Part::Text { annotations, .. } = &answer.choices[0].parts[1] else { panic!() };
    assert_eq!(annotations[0]["url_citation"]["url"], "https://example.com/fares");
    assert_eq!(answer.choices[0].finish, FinishReason::ContentFilter);
    let body: Value =
        serde_json::from_slice(&Client.encode(&answer, &reply(), &mut Losses::default())).unwrap();
    let content = &body["output"]["message"]["content"];
    assert_eq!(content[0]["reasoningContent"]["redactedContent"], "cmVkYWN0ZWQ=");
    assert_eq!(
        content[1]["citationsContent"]["citations"][0]["location"]["web"]["url"],
        "https://example.com/fares"
    );
}

#[test]
fn state_of_another_family_goes_through_a_bedrock_client_and_back() {
    for family in [Family::Gemini, Family::Responses, Family::Anthropic] {
        let signature = Signature { family, data: "abc".into() };
        let parts = vec![
            Part::Reasoning {
                text: "t".into(),
                signature: Some(signature.clone()),
                redacted: false,
                id: None,
            },
            Part::Reasoning { text: String::new(), signature: Some(signature), redacted: true, id: None },
        ];
        let blocks: Vec<Value> =
            parts.iter().filter_map(|part| super::content::block(part, &mut Losses::default())).collect();
        let back = super::content::parts(blocks, "content").unwrap();
        assert_eq!(back, parts);
    }
}

#[test]
fn errors_have_awss_shape_both_ways() {
    let headers = |kind: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-errortype", kind.parse().unwrap());
        headers
    };
    for (status, kind, message, class) in [
        (429, "ThrottlingException:http://internal.amazon.com/", "slow", FaultClass::RateLimit),
        (400, "ValidationException", "Input is too long for requested model.", FaultClass::ContextWindow),
        (400, "ValidationException", "Malformed input", FaultClass::BadRequest),
        (403, "UnrecognizedClientException", "bad token", FaultClass::Authentication),
        (403, "AccessDeniedException", "no access", FaultClass::PermissionDenied),
        (503, "ServiceUnavailableException", "busy", FaultClass::Unavailable),
    ] {
        let body = serde_json::to_vec(&json!({"message": message})).unwrap();
        let headers = headers(kind);
        let fault = Provider.fault(&Head { status, headers: &headers }, &body);
        assert_eq!((fault.class, fault.message.as_str()), (class, message));
    }
    let note = ErrorNote {
        status: 429,
        kind: "k".into(),
        message: "slow down".into(),
        code: "429".into(),
        param: None,
        call_id: "c".into(),
    };
    assert_eq!(Client.error_headers(&note), [("x-amzn-errortype", "ThrottlingException".to_owned())]);
    assert_eq!(Client.error(&note), br#"{"message":"slow down"}"#);
}
