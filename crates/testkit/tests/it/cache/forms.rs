//! The same bytes again, and the same answer in the other form.

use faregate_testkit::client::frames;
use faregate_testkit::{Frame, Reply};
use serde_json::{Value, json};

use super::{CHAT, Cached, ask, is_hit};

/// A request in each client dialect: path and body, plain and streamed.
fn in_every_dialect(group: &str) -> Vec<[(String, Value); 2]> {
    let turn = json!([{"role": "user", "content": "tell me about caches"}]);
    let streamed = |path: &str, body: Value| {
        let mut stream = body.clone();
        stream["stream"] = json!(true);
        [(path.to_owned(), body), (path.to_owned(), stream)]
    };
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "tell me about caches"}]}]});
    vec![
        streamed(CHAT, json!({"model": group, "messages": turn})),
        streamed("/v1/messages", json!({"model": group, "messages": turn, "max_tokens": 500})),
        streamed("/v1/responses", json!({"model": group, "input": "tell me about caches"})),
        [
            (format!("/v1beta/models/{group}:generateContent"), contents.clone()),
            (format!("/v1beta/models/{group}:streamGenerateContent?alt=sse"), contents),
        ],
    ]
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

#[tokio::test]
async fn every_dialect_gets_the_same_bytes_again_whole_and_as_a_stream() {
    for group in ["openai", "anthropic", "gemini", "responses"] {
        let cached = Cached::with(json!({})).await;
        for (path, body) in in_every_dialect(group).into_iter().flatten() {
            // What was kept in the other form would answer as well.
            let mut fresh = body.clone();
            fresh["cache"] = json!({"no-cache": true});
            let first = cached.gateway.post(&path, &fresh).await;
            let calls = cached.calls();
            let again = cached.gateway.post(&path, &body).await;
            assert!(!is_hit(&first) && is_hit(&again), "{group} {path}");
            assert_eq!(text(&first), text(&again), "{group} {path}");
            assert_eq!(first.header("content-type"), again.header("content-type"));
            assert_eq!(cached.calls(), calls, "{group} {path}");
        }
    }
}

/// What an answer says, in any dialect and form.
fn said(path: &str, reply: &Reply) -> String {
    let joined = |values: Vec<&str>| values.concat();
    let is_stream = reply.header("content-type").unwrap_or_default().starts_with("text/event-stream");
    if !is_stream {
        let json = reply.json();
        let places = [
            "/choices/0/message/content",
            "/content/0/text",
            "/output/0/content/0/text",
            "/candidates/0/content/parts/0/text",
        ];
        return joined(places.iter().filter_map(|place| json.pointer(place)?.as_str()).collect());
    }
    let events: Vec<Frame> = frames(&text(reply));
    let places = ["/choices/0/delta/content", "/delta/text", "/candidates/0/content/parts/0/text"];
    let delta = |json: &Value| -> Option<String> {
        if path.ends_with("responses") {
            let is_delta = json["type"] == "response.output_text.delta";
            return is_delta.then(|| json["delta"].as_str().map(str::to_owned)).flatten();
        }
        places.iter().find_map(|place| Some(json.pointer(place)?.as_str()?.to_owned()))
    };
    events.iter().filter_map(|event| delta(&event.json()?)).collect()
}

#[tokio::test]
async fn a_kept_answer_serves_a_stream_and_a_kept_stream_a_whole_answer() {
    for (from, to) in [(0, 1), (1, 0)] {
        let cached = Cached::with(json!({})).await;
        for forms in in_every_dialect("openai") {
            let (path, body) = &forms[from];
            let first = cached.gateway.post(path, body).await;
            assert!(!is_hit(&first), "{path}");
            let calls = cached.calls();
            let (path, body) = &forms[to];
            let other = cached.gateway.post(path, body).await;
            assert!(is_hit(&other), "{path}");
            assert_eq!(cached.calls(), calls);
            assert!(!said(path, &first).is_empty(), "{path}: {}", text(&first));
            assert_eq!(said(path, &other), said(path, &first), "{path}: {}", text(&other));
            let again = cached.gateway.post(path, body).await;
            assert_eq!(said(path, &again), said(path, &first), "{path}");
        }
    }
}

#[tokio::test]
async fn tool_calls_come_back_in_the_other_form() {
    let cached = Cached::with(json!({})).await;
    let tool = json!({"type": "function", "function": {"name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}});
    let plain = ask("[[fake: scenario=tools]] weather?", json!({"tools": [tool]}));
    let first = cached.gateway.post(CHAT, &plain).await.json();
    let call = &first["choices"][0]["message"]["tool_calls"][0];
    assert!(call["function"]["arguments"].is_string(), "{first}");
    let mut streamed = plain.clone();
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({"include_usage": true});
    let frames = cached.gateway.stream(CHAT, &streamed).await;
    let chunks: Vec<Value> = frames.iter().filter_map(Frame::json).collect();
    let calls = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0"));
    let arguments: String = calls.clone().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(arguments, call["function"]["arguments"].as_str().unwrap());
    assert!(calls.clone().any(|delta| delta["id"] == call["id"]), "{chunks:?}");
    assert_eq!(frames.last().unwrap().data, "[DONE]");
    let usage = chunks.iter().find_map(|chunk| chunk["usage"]["total_tokens"].as_u64());
    assert_eq!(usage, first["usage"]["total_tokens"].as_u64(), "the usage it had");
    assert_eq!(cached.calls(), 1);
}

#[tokio::test]
async fn a_response_from_the_cache_can_be_continued() {
    let cached = Cached::with(json!({})).await;
    for stream in [false, true] {
        let body = json!({"model": "openai", "input": format!("first turn {stream}"), "stream": stream});
        let first = cached.gateway.post("/v1/responses", &body).await;
        let id = match stream {
            false => first.json()["id"].as_str().unwrap().to_owned(),
            true => frames(&text(&first))[0].json().unwrap()["response"]["id"].as_str().unwrap().to_owned(),
        };
        assert!(cached.gateway.gate().sessions.remove(&id), "{id}");
        assert!(is_hit(&cached.gateway.post("/v1/responses", &body).await));
        let next = json!({"model": "openai", "input": "second turn", "previous_response_id": id});
        let reply = cached.gateway.post("/v1/responses", &next).await;
        assert_eq!(reply.status, 200, "{}", reply.json());
    }
}
