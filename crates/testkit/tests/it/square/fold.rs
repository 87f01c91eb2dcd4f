//! Streams folded into whole answers, strictly: an event out of order is an error, as it breaks an SDK.

use std::collections::BTreeMap;

use faregate_testkit::Frame;
use faregate_wire::frame::AwsFrames;
use serde_json::{Value, json};

use super::talk::Client;

type Folded = Result<Value, String>;

/// Folds the stream in `body`.
pub fn fold(client: Client, body: &[u8]) -> Folded {
    match client {
        Client::Chat => chat(&events(body)?),
        Client::Responses => responses(&events(body)?),
        Client::Anthropic => anthropic(&events(body)?),
        Client::Gemini => gemini(&events(body)?),
        Client::Bedrock => bedrock(body),
    }
}

fn events(body: &[u8]) -> Result<Vec<Frame>, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    Ok(faregate_testkit::client::frames(text))
}

fn rule(kept: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if kept { Ok(()) } else { Err(what()) }
}

/// Appends `piece` to the text at `slot`.
fn grow(slot: &mut Value, piece: &Value) {
    if let Some(piece) = piece.as_str() {
        *slot = format!("{}{piece}", slot.as_str().unwrap_or_default()).into();
    }
}

fn chat(frames: &[Frame]) -> Folded {
    let (last, chunks) = frames.split_last().ok_or("no chunk")?;
    rule(last.data == "[DONE]", || format!("ends with {last:?}"))?;
    let mut message = json!({"role": "assistant", "content": null});
    let (mut id, mut finish, mut usage) = (Value::Null, Value::Null, Value::Null);
    for frame in chunks {
        let chunk = frame.json().ok_or_else(|| format!("no JSON: {frame:?}"))?;
        // Azure opens with a chunk of its filter's results and nothing else; it passes unchanged.
        if chunk["choices"] == json!([]) && chunk["usage"].is_null() {
            continue;
        }
        rule(chunk["object"] == "chat.completion.chunk", || format!("no chunk: {chunk}"))?;
        rule(id.is_null() || chunk["id"] == id, || format!("another id: {chunk}"))?;
        id = chunk["id"].clone();
        rule(usage.is_null(), || format!("a chunk after the usage: {chunk}"))?;
        usage = chunk["usage"].clone();
        let Some(choice) = chunk["choices"].get(0) else { continue };
        rule(finish.is_null() || choice["delta"].as_object().is_none_or(serde_json::Map::is_empty), || {
            format!("a delta after the end: {chunk}")
        })?;
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
        for (name, piece) in choice["delta"].as_object().into_iter().flatten() {
            match name.as_str() {
                "tool_calls" => chat_calls(&mut message, piece)?,
                "content" | "reasoning_content" | "refusal" => grow(&mut message[name], piece),
                _ => chat_other(&mut message, name, piece),
            }
        }
    }
    rule(!usage.is_null(), || "no usage".to_owned())?;
    Ok(json!({"choices": [{"message": message, "finish_reason": finish}], "usage": usage}))
}

/// Lists grow (`thinking_blocks` arrive block by block), other members are replaced.
fn chat_other(message: &mut Value, name: &str, piece: &Value) {
    match (message.get_mut(name).and_then(Value::as_array_mut), piece.as_array()) {
        (Some(list), Some(more)) => list.extend(more.iter().cloned()),
        _ => message[name] = piece.clone(),
    }
}

fn chat_calls(message: &mut Value, pieces: &Value) -> Result<(), String> {
    if message["tool_calls"].is_null() {
        message["tool_calls"] = json!([]);
    }
    let calls = message["tool_calls"].as_array_mut().unwrap();
    for piece in pieces.as_array().into_iter().flatten() {
        let index = piece["index"].as_u64().ok_or("a call without index")? as usize;
        rule(index <= calls.len(), || format!("call {index} before its elder"))?;
        if index == calls.len() {
            rule(piece["id"].is_string() && piece["function"]["name"].is_string(), || {
                format!("nameless: {piece}")
            })?;
            let mut call = piece.clone();
            call.as_object_mut().unwrap().remove("index");
            calls.push(call);
        } else {
            grow(&mut calls[index]["function"]["arguments"], &piece["function"]["arguments"]);
        }
    }
    Ok(())
}

fn responses(frames: &[Frame]) -> Folded {
    let mut open: BTreeMap<u64, String> = BTreeMap::new();
    let mut texts: BTreeMap<(String, u64), String> = BTreeMap::new();
    let mut items = Vec::new();
    let mut answer = Value::Null;
    for (number, frame) in frames.iter().enumerate() {
        let event = frame.json().ok_or_else(|| format!("no JSON: {frame:?}"))?;
        let kind = event["type"].as_str().unwrap_or_default();
        rule(frame.event.as_deref() == Some(kind), || format!("event line differs: {frame:?}"))?;
        rule(event["sequence_number"] == number, || format!("number {number} expected: {event}"))?;
        rule(answer.is_null(), || format!("after the end: {event}"))?;
        rule((number == 0) == (kind == "response.created"), || format!("opening: {event}"))?;
        let index = event["output_index"].as_u64();
        let known = |open: &BTreeMap<u64, String>| index.and_then(|index| open.get(&index).cloned());
        match kind {
            "response.created" | "response.in_progress" => {}
            "response.output_item.added" => {
                let index = index.ok_or("an item without index")?;
                let id = event["item"]["id"].as_str().unwrap_or_default().to_owned();
                rule(open.insert(index, id).is_none(), || format!("added twice: {event}"))?;
            }
            "response.output_item.done" => {
                let id = known(&open).ok_or_else(|| format!("done before added: {event}"))?;
                rule(event["item"]["id"] == id.as_str(), || format!("another id: {event}"))?;
                open.remove(&index.unwrap_or_default());
                items.push(event["item"].clone());
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                rule(open.is_empty(), || format!("items left open: {open:?}"))?;
                answer = event["response"].clone();
            }
            _ => {
                let id = known(&open).ok_or_else(|| format!("no such item: {event}"))?;
                rule(event["item_id"] == id.as_str(), || format!("another item: {event}"))?;
                part(kind, &event, id, &mut texts)?;
            }
        }
    }
    rule(answer["output"].as_array() == Some(&items), || {
        format!("final output differs: {answer} from {items:?}")
    })?;
    Ok(answer)
}

/// Deltas add up to what `done` says.
fn part(
    kind: &str,
    event: &Value,
    id: String,
    texts: &mut BTreeMap<(String, u64), String>,
) -> Result<(), String> {
    let index = event["content_index"].as_u64().or(event["summary_index"].as_u64()).unwrap_or_default();
    if kind.ends_with(".delta") {
        *texts.entry((id, index)).or_default() += event["delta"].as_str().unwrap_or_default();
    } else if kind.ends_with(".done") && !kind.contains("_part.") {
        let whole = ["text", "arguments", "refusal"]
            .iter()
            .find_map(|name| event[*name].as_str())
            .unwrap_or_default();
        let seen = texts.get(&(id, index)).map(String::as_str).unwrap_or_default();
        rule(whole == seen, || format!("deltas make {seen:?}: {event}"))?;
    }
    Ok(())
}

fn anthropic(frames: &[Frame]) -> Folded {
    let mut message = Value::Null;
    let mut open: Option<(u64, String)> = None;
    let mut ended = false;
    for frame in frames {
        let event = frame.json().ok_or_else(|| format!("no JSON: {frame:?}"))?;
        let kind = event["type"].as_str().unwrap_or_default();
        rule(frame.event.as_deref() == Some(kind), || format!("event line differs: {frame:?}"))?;
        rule(!ended, || format!("after message_stop: {event}"))?;
        rule(message.is_null() == (kind == "message_start"), || format!("opening: {event}"))?;
        let blocks = message["content"].as_array().map_or(0, Vec::len) as u64;
        match kind {
            "message_start" => message = event["message"].clone(),
            "ping" => {}
            "content_block_start" => {
                rule(open.is_none() && event["index"] == blocks, || format!("start: {event}"))?;
                rule(message["stop_reason"].is_null(), || format!("a block after message_delta: {event}"))?;
                open = Some((blocks, String::new()));
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let (index, input) = open.as_mut().ok_or_else(|| format!("no block is open: {event}"))?;
                rule(event["index"] == *index, || format!("another block: {event}"))?;
                let block = &mut message["content"][*index as usize];
                let delta = &event["delta"];
                match delta["type"].as_str().unwrap_or_default() {
                    "text_delta" => grow(&mut block["text"], &delta["text"]),
                    "thinking_delta" => grow(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "input_json_delta" => *input += delta["partial_json"].as_str().unwrap_or_default(),
                    "citations_delta" => {}
                    other => return Err(format!("unknown delta {other}")),
                }
            }
            "content_block_stop" => {
                let (index, input) = open.take().ok_or_else(|| format!("nothing to stop: {event}"))?;
                rule(event["index"] == index, || format!("another block: {event}"))?;
                if !input.is_empty() {
                    message["content"][index as usize]["input"] =
                        serde_json::from_str(&input).map_err(|error| format!("{error}: {input}"))?;
                }
            }
            "message_delta" => {
                rule(open.is_none(), || format!("a block is open: {event}"))?;
                for name in ["stop_reason", "stop_sequence"] {
                    message[name] = event["delta"][name].clone();
                }
                for (name, value) in event["usage"].as_object().into_iter().flatten() {
                    message["usage"][name] = value.clone();
                }
            }
            "message_stop" => {
                rule(!message["stop_reason"].is_null(), || "no stop reason".to_owned())?;
                ended = true;
            }
            _ => return Err(format!("unknown event: {event}")),
        }
    }
    rule(ended, || "no message_stop".to_owned())?;
    Ok(message)
}

fn gemini(frames: &[Frame]) -> Folded {
    let mut parts: Vec<Value> = Vec::new();
    let mut whole = Value::Null;
    for frame in frames {
        let chunk = frame.json().ok_or_else(|| format!("no JSON: {frame:?}"))?;
        rule(whole["candidates"][0]["finishReason"].is_null(), || format!("after the end: {chunk}"))?;
        for part in chunk["candidates"][0]["content"]["parts"].as_array().into_iter().flatten() {
            match parts.last_mut() {
                // A chat session joins texts of a kind until one carries a signature.
                Some(last) if joins(last, part) => {
                    let text = part["text"].clone();
                    grow(&mut last["text"], &text);
                    if let Some(signature) = part.get("thoughtSignature") {
                        last["thoughtSignature"] = signature.clone();
                    }
                }
                _ => parts.push(part.clone()),
            }
        }
        whole = chunk;
    }
    rule(whole["usageMetadata"].is_object(), || format!("no usage at the end: {whole}"))?;
    whole["candidates"][0]["content"] = json!({"role": "model", "parts": parts});
    Ok(whole)
}

fn joins(last: &Value, part: &Value) -> bool {
    last["text"].is_string()
        && part["text"].is_string()
        && last["thought"] == part["thought"]
        && last.get("thoughtSignature").is_none()
}

fn bedrock(body: &[u8]) -> Folded {
    let mut frames = AwsFrames::new();
    rule(frames.push(body), || "a frame too large".to_owned())?;
    let mut answer = json!({"output": {"message": {"role": "assistant", "content": []}}});
    let mut open: Option<(u64, String)> = None;
    let mut stage = "";
    while let Some(frame) = frames.next_frame().map_err(|error| error.to_string())? {
        let kind = frame.event.unwrap_or_default().to_owned();
        let event: Value = serde_json::from_slice(frame.data).map_err(|error| error.to_string())?;
        rule(!frame.exception, || format!("{kind}: {event}"))?;
        rule((stage.is_empty()) == (kind == "messageStart"), || format!("opening: {kind} {event}"))?;
        let content = answer["output"]["message"]["content"].as_array_mut().unwrap();
        let at = event["contentBlockIndex"].as_u64();
        match kind.as_str() {
            "messageStart" => stage = "started",
            "contentBlockStart" | "contentBlockDelta" => {
                rule(stage == "started", || format!("a block after messageStop: {event}"))?;
                if open.is_none() {
                    rule(at == Some(content.len() as u64), || {
                        format!("block {} expected: {event}", content.len())
                    })?;
                    content.push(event["start"].as_object().map_or(json!({}), |start| json!(start)));
                    open = at.map(|at| (at, String::new()));
                }
                let (index, input) = open.as_mut().ok_or("a block without index")?;
                rule(at == Some(*index), || format!("another block: {event}"))?;
                bedrock_delta(&mut content[*index as usize], &event["delta"], input);
            }
            "contentBlockStop" => {
                let (index, input) = open.take().ok_or_else(|| format!("nothing to stop: {event}"))?;
                rule(at == Some(index), || format!("another block: {event}"))?;
                if content[index as usize].get("toolUse").is_some() {
                    content[index as usize]["toolUse"]["input"] =
                        serde_json::from_str(&input).map_err(|error| format!("{error}: {input}"))?;
                }
            }
            "messageStop" => {
                rule(open.is_none() && stage == "started", || format!("stop: {event}"))?;
                stage = "stopped";
                answer["stopReason"] = event["stopReason"].clone();
            }
            "metadata" => {
                rule(stage == "stopped", || format!("metadata: {event}"))?;
                stage = "ended";
                answer["usage"] = event["usage"].clone();
            }
            _ => return Err(format!("unknown event {kind}")),
        }
    }
    rule(stage == "ended" && frames.is_drained(), || format!("ends {stage}"))?;
    Ok(answer)
}

fn bedrock_delta(block: &mut Value, delta: &Value, input: &mut String) {
    if delta["text"].is_string() {
        grow(&mut block["text"], &delta["text"]);
    }
    *input += delta["toolUse"]["input"].as_str().unwrap_or_default();
    for (name, piece) in delta["reasoningContent"].as_object().into_iter().flatten() {
        match name.as_str() {
            "redactedContent" => block["reasoningContent"][name] = piece.clone(),
            _ => grow(&mut block["reasoningContent"]["reasoningText"][name], piece),
        }
    }
}
