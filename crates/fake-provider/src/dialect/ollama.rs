//! Ollama's own chat and generate API.
//!
//! Source: Ollama, "API" (docs/api.md); the `ollama` SDK's types. Unknown members are ignored, as the real
//! server does.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Dialect, Frames, Head, Refused};
use crate::clock::{now, rfc3339};
use crate::failure::{Class, Failure};
use crate::read::{Object, base64_len, present, strings};
use crate::reply::{Ask, Finish, Flavour, Part, Reply, Style, Tool};
use crate::scenario::Usage;

pub(crate) struct Ollama;

impl Dialect for Ollama {
    fn authorize(&self, _head: &Head<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        let model = body.get("model").and_then(Value::as_str).filter(|model| !model.is_empty());
        let options = body.get("options").cloned().unwrap_or_default();
        let mut ask = Ask {
            model: model.ok_or_else(|| Failure::invalid("model is required"))?.to_owned(),
            // Ollama streams unless told otherwise.
            stream: body.get("stream") != Some(&Value::Bool(false)),
            choices: 1,
            max_tokens: options["num_predict"].as_u64(),
            stops: strings(options.get("stop")),
            ..Ask::default()
        };
        ask.schema = match present(body, "format") {
            None => None,
            Some(Value::String(word)) if word.is_empty() => None,
            Some(Value::String(word)) if word == "json" => {
                Some(json!({"type": "object", "properties": {"ok": {"type": "boolean"}}}))
            }
            Some(schema @ Value::Object(_)) => Some(schema.clone()),
            Some(_) => return Err(Failure::invalid("invalid format: expected \"json\" or a JSON schema")),
        };
        if head.path.ends_with("/generate") {
            ask.flavour = Flavour::Generate;
            ask.last_user = body.get("prompt").and_then(Value::as_str).unwrap_or_default().to_owned();
            ask.prompt_chars = ask.last_user.len();
            images(body.get("images"), &mut ask)?;
            return Ok(ask);
        }
        for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
            let name = tool["function"]["name"].as_str().unwrap_or_default().to_owned();
            ask.tools.push(Tool { name, schema: tool["function"]["parameters"].clone() });
        }
        messages(body, &mut ask)?;
        Ok(ask)
    }

    fn style(&self) -> Style {
        Style { call_prefix: "call_", family: "ollama" }
    }

    fn whole(&self, ask: &Ask, reply: &Reply) -> Value {
        let mut answer = line(ask, &reply.text(), reply.reasoning().as_deref(), &calls(reply));
        if let Some(text) = refusal(reply) {
            answer = line(ask, text, None, &[]);
        }
        finish(&mut answer, reply);
        answer
    }

    fn frames(&self, ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        let mut lines: Vec<Value> = Vec::new();
        for part in &reply.parts {
            match part {
                Part::Reasoning { deltas, .. } => {
                    lines.extend(deltas.iter().map(|text| line(ask, "", Some(text), &[])))
                }
                Part::Text { deltas } | Part::Cited { deltas, .. } => {
                    lines.extend(deltas.iter().map(|text| line(ask, text, None, &[])));
                }
                Part::Refusal(text) => lines.push(line(ask, text, None, &[])),
                // Ollama sends each call whole.
                Part::Call { id, name, arguments } => {
                    lines.push(line(ask, "", None, &[call(0, id, name, arguments)]))
                }
            }
        }
        let mut last = line(ask, "", None, &[]);
        finish(&mut last, reply);
        lines.push(last);
        let mut frames = Frames::default();
        for line in lines {
            frames.raw(&[line.to_string().as_bytes(), b"\n"]);
        }
        frames.finish()
    }

    fn stream_type(&self, _ask: &Ask) -> &'static str {
        "application/x-ndjson"
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn refuse(&self, head: &Head<'_>, failure: &Failure) -> Refused {
        let model = head.model.unwrap_or("unknown");
        let own = match failure.class {
            Class::NotFound => format!("model '{model}' not found"),
            Class::Authentication => "unauthorized".into(),
            Class::RateLimit => "too many requests".into(),
            Class::Context => "the input length exceeds the context length".into(),
            Class::Unavailable => "server busy, please try again. maximum pending requests exceeded".into(),
            Class::Invalid | Class::UnknownParam | Class::Policy => "invalid request".into(),
            _ => "an error was encountered while running the model: unexpected EOF".to_owned(),
        };
        let headers =
            failure.retry_after.map(|seconds| ("retry-after", seconds.to_string())).into_iter().collect();
        let status = failure.status.unwrap_or(failure.class.status());
        Refused { status, headers, body: json!({"error": failure.text(|| own)}) }
    }

    fn broken(&self, _ask: &Ask) -> Bytes {
        Bytes::from_static(
            b"{\"error\":\"an error was encountered while running the model: unexpected EOF\"}\n",
        )
    }

    fn garbage(&self) -> Bytes {
        Bytes::from_static(b"{\"not json at all\n<html>502</html>\xff\xfe\n")
    }
}

/// `GET /api/tags`.
pub(crate) fn tags() -> Value {
    let row = |name: &str| {
        json!({"name": name, "model": name, "modified_at": "2026-01-31T12:00:00Z", "size": 4_000_000_000_u64,
            "digest": "fake", "details": {"parent_model": "", "format": "gguf", "family": "fake",
                "families": ["fake"], "parameter_size": "8B", "quantization_level": "Q4_K_M"}})
    };
    let rows = ["fake-text:latest", "fake-tools:latest"].map(row);
    json!({ "models": rows })
}

fn images(images: Option<&Value>, ask: &mut Ask) -> Result<(), Failure> {
    for image in images.and_then(Value::as_array).into_iter().flatten() {
        // Ollama gets bare base64 and finds the format out itself.
        let length = image.as_str().and_then(base64_len);
        let length = length.ok_or_else(|| Failure::invalid("illegal base64 data at input byte 0"))?;
        ask.images.push(("image".to_owned(), length));
    }
    Ok(())
}

fn messages(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    for message in body.get("messages").and_then(Value::as_array).into_iter().flatten() {
        let role = message["role"].as_str().unwrap_or_default();
        if !matches!(role, "system" | "user" | "assistant" | "tool") {
            return Err(Failure::invalid(format!(
                "invalid role: {role} (expected \"system\", \"user\", \"assistant\", or \"tool\")"
            )));
        }
        let text = match &message["content"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            _ => {
                return Err(Failure::invalid(
                    "json: cannot unmarshal array into Go struct field ChatRequest.messages of type string",
                ));
            }
        };
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            if !call["function"]["arguments"].is_object() {
                return Err(Failure::invalid(
                    "json: cannot unmarshal string into Go struct field ChatRequest.messages.tool_calls.function.arguments of type api.ToolCallFunctionArguments",
                ));
            }
        }
        images(message.get("images"), ask)?;
        ask.prompt_chars += text.len();
        ask.ends_with_results = role == "tool";
        match role {
            "user" => ask.last_user = text,
            "tool" => ask.tool_results.push(text),
            _ => {}
        }
    }
    Ok(())
}

fn call(index: usize, id: &str, name: &str, arguments: &Value) -> Value {
    json!({"id": id, "function": {"index": index, "name": name, "arguments": arguments}})
}

fn calls(reply: &Reply) -> Vec<Value> {
    reply.calls().enumerate().map(|(index, (id, name, arguments))| call(index, id, name, arguments)).collect()
}

fn refusal(reply: &Reply) -> Option<&str> {
    reply.parts.iter().find_map(|part| match part {
        Part::Refusal(text) => Some(text.as_str()),
        _ => None,
    })
}

fn line(ask: &Ask, text: &str, thinking: Option<&str>, calls: &[Value]) -> Value {
    let mut line = json!({"model": ask.model, "created_at": rfc3339(now())});
    if ask.flavour == Flavour::Generate {
        line["response"] = text.into();
        if let Some(thinking) = thinking {
            line["thinking"] = thinking.into();
        }
    } else {
        line["message"] = json!({"role": "assistant", "content": text});
        if let Some(thinking) = thinking {
            line["message"]["thinking"] = thinking.into();
        }
        if !calls.is_empty() {
            line["message"]["tool_calls"] = calls.into();
        }
    }
    line["done"] = false.into();
    line
}

fn finish(line: &mut Value, reply: &Reply) {
    let Usage { input, output, .. } = reply.usage;
    line["done"] = true.into();
    line["done_reason"] = if reply.finish == Finish::Length { "length" } else { "stop" }.into();
    line["total_duration"] = 7_000_000.into();
    line["load_duration"] = 1_000_000.into();
    line["prompt_eval_count"] = input.into();
    line["prompt_eval_duration"] = 2_000_000.into();
    line["eval_count"] = output.into();
    line["eval_duration"] = 4_000_000.into();
}
