use std::sync::Arc;

use faregate_terms::Usage;
use serde_json::{Value, json};

use crate::chat::{
    ChatRequest, ChatResponse, Choice, Event, Extra, Family, FinishReason, Part, PartKind, Role,
};
use crate::dialect::{
    Abilities, ClientCall, ClientDialect, ErrorNote, Flavor, Losses, ProviderDialect, Quirks, Reply,
    StreamEnd, Target,
};
use crate::frame::SseFrames;

use super::{Client, Provider};

fn decode(body: &Value) -> Result<ChatRequest, String> {
    let read = Client.decode(&crate::json::write(body), &ClientCall::default());
    read.map_err(|bad| format!("{}: {}", bad.param.unwrap_or_default(), bad.message))
}

fn said(request: &ChatRequest) -> Vec<&str> {
    let texts = request.messages.iter().map(|message| {
        assert_eq!(message.role, Role::User);
        match message.parts.as_slice() {
            [Part::Text { text, .. }] => text.as_str(),
            other => panic!("{other:?}"),
        }
    });
    texts.collect()
}

fn reply(include_usage: bool) -> Reply {
    let request = ChatRequest { include_usage, ..ChatRequest::default() };
    Reply {
        id: "1".to_owned(),
        model: "m".to_owned(),
        created: 7,
        request: Arc::new(request),
        alt_sse: false,
    }
}

#[test]
fn a_prompt_is_a_message_of_the_user_and_a_list_one_each() {
    let one =
        decode(&json!({"model": "m", "prompt": "Once", "max_tokens": 5, "stop": "x", "temperature": 0.5}));
    let one = one.unwrap();
    assert_eq!(said(&one), ["Once"]);
    assert_eq!((one.sampling.max_output_tokens, one.sampling.stop), (Some(5), vec!["x".to_owned()]));
    let two = decode(&json!({"model": "m", "prompt": ["Once", "upon"]})).unwrap();
    assert_eq!(said(&two), ["Once", "upon"]);
}

#[test]
fn what_asks_for_nothing_is_left_out_and_the_rest_goes_on() {
    let plain =
        json!({"model": "m", "prompt": "x", "echo": false, "best_of": 1, "suffix": "", "logprobs": null});
    assert!(decode(&plain).unwrap().extra.is_empty());
    let more =
        decode(&json!({"model": "m", "prompt": "x", "echo": true, "suffix": "y", "logprobs": 2})).unwrap();
    assert_eq!(more.extra.get(Family::OpenAi, "echo"), Some(&json!(true)));
    assert_eq!(more.extra.get(Family::OpenAi, "suffix"), Some(&json!("y")));
    assert_eq!((more.sampling.logprobs, more.sampling.top_logprobs), (Some(true), Some(2)));
}

#[test]
fn prompts_that_are_no_text_are_refused_by_name() {
    for (prompt, words) in [
        (json!(null), "prompt: prompt: this member is required"),
        (json!([]), "at least one text"),
        (json!([1, 2, 3]), "send the text itself"),
        (json!([[1, 2], [3]]), "send the text itself"),
        (json!(["a", {}]), "prompt[1]: must be a string, not an object"),
        (json!(7), "prompt: must be a string or a list of strings, not a number"),
    ] {
        let refused = decode(&json!({"model": "m", "prompt": prompt})).unwrap_err();
        assert!(refused.contains(words), "{prompt}: {refused}");
    }
    assert!(decode(&json!([])).is_err() && decode(&json!({"model": "m"})).is_err());
    assert!(
        decode(&json!({"model": "m", "prompt": "x", "logprobs": true})).unwrap_err().contains("logprobs")
    );
}

#[test]
fn an_answer_is_a_text_and_says_what_it_could_not_carry() {
    let logprobs = json!({"content": [
        {"token": "Hé", "logprob": -0.5, "top_logprobs": [{"token": "Hé", "logprob": -0.5}, {"token": "A", "logprob": -2}]},
        {"token": "y", "logprob": -1, "top_logprobs": []},
    ]});
    let choice =
        |index, parts, finish, logprobs| Choice { index, parts, finish, stop_sequence: None, logprobs };
    let reasoning = Part::Reasoning { text: "hm".to_owned(), signature: None, redacted: false, id: None };
    let answer = ChatResponse {
        id: "msg_1".to_owned(),
        choices: vec![
            choice(0, vec![reasoning, Part::text("Héy")], FinishReason::Length, Some(logprobs)),
            choice(1, vec![Part::tool_call("c", "f", "{}")], FinishReason::Stop, None),
        ],
        usage: Usage { input: 3, output: 2, ..Usage::default() },
        ..ChatResponse::default()
    };
    let mut losses = Losses::default();
    let told: Value = serde_json::from_slice(&Client.encode(&answer, &reply(false), &mut losses)).unwrap();
    assert_eq!(
        (&told["id"], &told["object"], &told["created"], &told["model"]),
        (&json!("cmpl-1"), &json!("text_completion"), &json!(7), &json!("m"))
    );
    assert_eq!(
        told["choices"][0],
        json!({
            "text": "Héy", "index": 0, "finish_reason": "length", "reasoning_content": "hm",
            "logprobs": {
                "tokens": ["Hé", "y"], "token_logprobs": [-0.5, -1], "top_logprobs": [{"Hé": -0.5, "A": -2}, {}],
                "text_offset": [0, 2],
            },
        })
    );
    assert_eq!((&told["choices"][1]["text"], &told["choices"][1]["logprobs"]), (&json!(""), &json!(null)));
    assert_eq!(told["usage"]["total_tokens"], json!(5));
    assert_eq!(losses.into_names(), ["tool_calls"]);
}

#[test]
fn a_stream_is_texts_then_why_it_ended_then_usage_if_that_was_asked() {
    let events = [
        Event::Start {
            id: "chatcmpl-9".to_owned(),
            model: String::new(),
            created: Some(8),
            extra: Extra::default(),
        },
        Event::Open { choice: 0, part: 0, kind: PartKind::Text },
        Event::Text { part: 0, delta: "On".to_owned() },
        Event::Text { part: 0, delta: "ce".to_owned() },
        Event::Close { part: 0 },
        Event::Finish { choice: 0, reason: FinishReason::Stop, stop_sequence: None },
        Event::Usage(Usage { input: 3, output: 2, ..Usage::default() }),
    ];
    for include_usage in [false, true] {
        let (mut encoder, mut out) = (Client.encoder(reply(include_usage)), Vec::new());
        events.iter().for_each(|event| encoder.event(event, &mut out));
        encoder.end(&mut out);
        let text = String::from_utf8(out).unwrap();
        let (chunks, done) = text.split_at(text.len() - "data: [DONE]\n\n".len());
        assert_eq!(done, "data: [DONE]\n\n");
        let chunks: Vec<Value> =
            chunks.split_terminator("\n\n").map(|it| serde_json::from_str(&it[6..]).unwrap()).collect();
        let first = json!({
            "id": "chatcmpl-9", "object": "text_completion", "created": 8, "model": "m",
            "choices": [{"text": "On", "index": 0, "logprobs": null, "finish_reason": null}],
        });
        assert_eq!(chunks[0], first);
        assert_eq!(chunks[1]["choices"][0]["text"], "ce");
        assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");
        assert_eq!(chunks.len(), if include_usage { 4 } else { 3 });
        if include_usage {
            assert_eq!(
                (&chunks[3]["choices"], &chunks[3]["usage"]["prompt_tokens"]),
                (&json!([]), &json!(3))
            );
        }
    }
}

#[test]
fn an_error_in_a_stream_is_openais() {
    let note = ErrorNote {
        status: 500,
        kind: "api_error".to_owned(),
        message: "gone".to_owned(),
        code: "500".to_owned(),
        param: None,
        call_id: "1".to_owned(),
    };
    let mut out = Vec::new();
    Client.encoder(reply(false)).error(&note, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.starts_with("data: {\"error\":{\"message\":\"gone\"") && text.ends_with("data: [DONE]\n\n"),
        "{text}"
    );
    assert_eq!(serde_json::from_slice::<Value>(&Client.error(&note)).unwrap()["error"]["type"], "api_error");
}

fn target<'a>(flavor: Flavor<'a>, quirks: &'a Quirks) -> Target<'a> {
    Target {
        provider: "openai",
        model: "gpt-3.5-turbo-instruct",
        flavor,
        abilities: Abilities::default(),
        quirks,
        may_modify: false,
        betas: Vec::new(),
    }
}

#[test]
fn a_provider_that_completes_texts_gets_the_prompt_back() {
    let quirks = Quirks::default();
    let plain = target(Flavor::Plain, &quirks);
    assert_eq!(Provider.route(&plain, false).path, "/completions");
    let azure = target(Flavor::Azure { api_version: "2024" }, &quirks);
    let path = "/openai/deployments/gpt-3.5-turbo-instruct/completions?api-version=2024";
    assert_eq!(Provider.route(&azure, false).path, path);

    let sent = |body: Value| -> Value {
        let request = decode(&body).unwrap();
        serde_json::from_slice(&Provider.body(&request, &plain, &mut Losses::default()).unwrap()).unwrap()
    };
    let whole = json!({
        "model": "gpt-3.5-turbo-instruct", "prompt": ["a", "b"], "max_tokens": 5, "temperature": 0.5, "top_p": 1,
        "stop": ["x"], "n": 2, "seed": 3, "presence_penalty": 1, "frequency_penalty": -1, "logit_bias": {"50256": -100},
        "logprobs": 2, "user": "u", "suffix": "end", "echo": true, "best_of": 3,
    });
    assert_eq!(sent(whole.clone()), whole);
    let stream = sent(json!({"model": "m", "prompt": "a", "stream": true}));
    assert_eq!(
        (&stream["prompt"], &stream["stream_options"]),
        (&json!("a"), &json!({"include_usage": true}))
    );
}

#[test]
fn a_conversation_is_one_prompt_that_goes_on_where_the_answer_broke_off() {
    let say = |role, text: &str| crate::chat::Message {
        role,
        parts: vec![Part::text(text)],
        name: None,
        extra: Extra::default(),
    };
    let quirks = Quirks::default();
    let prompt = |messages| {
        let mut losses = Losses::default();
        let request = ChatRequest { messages, ..ChatRequest::default() };
        let body = Provider.body(&request, &target(Flavor::Plain, &quirks), &mut losses).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (body["prompt"].as_str().unwrap().to_owned(), losses.into_names())
    };
    let broken = vec![say(Role::User, "Once"), say(Role::Assistant, " upon")];
    assert_eq!(prompt(broken), ("Once upon".to_owned(), Vec::new()));
    let chat = vec![say(Role::System, "Be brief."), say(Role::User, "Hi")];
    assert_eq!(prompt(chat), ("Be brief.\n\nHi".to_owned(), vec!["roles".to_owned()]));
}

#[test]
fn an_answer_read_back_says_the_same_whole_and_streamed() {
    let quirks = Quirks::default();
    let target = target(Flavor::Plain, &quirks);
    let body = json!({
        "id": "cmpl-1", "object": "text_completion", "created": 7, "model": "gpt-3.5-turbo-instruct",
        "choices": [{
            "text": "Once", "index": 0, "finish_reason": "length",
            "logprobs": {"tokens": ["Once"], "token_logprobs": [-0.5], "top_logprobs": [{"A": -2}], "text_offset": [0]},
        }],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    });
    let bytes = crate::json::write(&body);
    let answer = Provider.decode(&target, &bytes).unwrap();
    let mut again: Value =
        serde_json::from_slice(&Client.encode(&answer, &reply(false), &mut Losses::default())).unwrap();
    assert_eq!(
        (&again["choices"], &again["id"], &again["created"]),
        (&body["choices"], &body["id"], &body["created"])
    );
    assert_eq!(again["usage"]["total_tokens"].take(), 4);
    assert_eq!(Provider.glance(&target, &bytes).unwrap().usage.output, 1);

    let stream = concat!(
        r#"data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"m","choices":[{"text":"On","index":0,"logprobs":null,"finish_reason":null}]}"#,
        "\n\n",
        r#"data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"m","choices":[{"text":"ce","index":0,"logprobs":null,"finish_reason":"stop"}]}"#,
        "\n\n",
        r#"data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
        "\n\ndata: [DONE]\n\n"
    );
    let read = |stream: &str| {
        let (mut frames, mut events) = (SseFrames::new(), Vec::new());
        let mut decoder = Provider.decoder(&target);
        assert!(frames.push(stream.as_bytes()));
        while let Some(frame) = frames.next_frame() {
            decoder.frame(frame, &mut events).unwrap();
        }
        let end = decoder.end(&mut events);
        let mut folder = crate::chat::Folder::new();
        events.iter().for_each(|event| folder.add(event));
        (folder.finish(), end)
    };
    let (answer, end) = read(stream);
    assert_eq!(end, StreamEnd::Complete);
    assert!(matches!(answer.choices[0].parts.as_slice(), [Part::Text { text, .. }] if text == "Once"));
    assert_eq!((&answer.choices[0].finish, answer.usage.output), (&FinishReason::Stop, 2));
    let (_, end) = read(stream.split_inclusive("\n\n").next().unwrap());
    assert_eq!(end, StreamEnd::Truncated);
}
