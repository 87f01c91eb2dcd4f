//! Replicate's predictions: made by one request, fetched or streamed by others.
//!
//! Source: Replicate, "HTTP API" and "Streaming output"; the `replicate` SDK's types.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::{Dialect, Frames, Head, Refused, header, is_wrong, serial};
use crate::clock::{now, rfc3339};
use crate::failure::{Class, Failure};
use crate::read::{Object, present, strings};
use crate::reply::{Ask, Reply, Style};
use crate::store::{Prediction, Store};

pub(crate) struct Replicate;

impl Dialect for Replicate {
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure> {
        let token = header(head.headers, "authorization")
            .and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("Token ")));
        if token.is_none_or(is_wrong) { Err(Failure::new(Class::Authentication)) } else { Ok(()) }
    }

    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        let version = body.get("version").and_then(Value::as_str);
        let model = head.model.or(version).or_else(|| body.get("model").and_then(Value::as_str));
        let model = model.ok_or_else(|| Failure::invalid_param("version", "version is required"))?;
        let input = body.get("input").and_then(Value::as_object);
        let input = input.ok_or_else(|| Failure::invalid_param("input", "input is required"))?;
        let prompt = input.get("prompt").and_then(Value::as_str);
        let prompt = prompt.ok_or_else(|| Failure::invalid_param("input.prompt", "prompt is required"))?;
        let known = ["version", "model", "input", "stream", "webhook", "webhook_events_filter"];
        if let Some(name) = body.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Failure::unknown_param(name));
        }
        let system = input.get("system_prompt").and_then(Value::as_str).unwrap_or_default();
        let limit = ["max_tokens", "max_new_tokens"].into_iter().find_map(|name| present(input, name));
        Ok(Ask {
            id: format!("fakepred{:018x}", serial()),
            model: model.to_owned(),
            choices: 1,
            last_user: prompt.to_owned(),
            prompt_chars: prompt.len() + system.len(),
            max_tokens: limit.and_then(Value::as_u64),
            stops: strings(input.get("stop_sequences")),
            ..Ask::default()
        })
    }

    fn style(&self) -> Style {
        Style { call_prefix: "call_", family: "replicate" }
    }

    /// The output alone: language models answer an array of strings.
    fn whole(&self, _ask: &Ask, reply: &Reply) -> Value {
        Value::from(output(reply))
    }

    fn frames(&self, _ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        let mut frames = Frames::default();
        for (index, text) in output(reply).iter().enumerate() {
            // A line break inside a delta becomes a second data line.
            let data = text.replace('\n', "\ndata: ");
            frames.raw(&[format!("event: output\nid: {}:0\ndata: {data}\n\n", index + 1).as_bytes()]);
        }
        frames.raw(&[b"event: done\nid: done:0\ndata: {}\n\n"]);
        frames.finish()
    }

    fn stream_type(&self, _ask: &Ask) -> &'static str {
        "text/event-stream"
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("ratelimit-limit", "600"), ("ratelimit-remaining", "599"), ("ratelimit-reset", "1")]
    }

    fn refuse(&self, _head: &Head<'_>, failure: &Failure) -> Refused {
        let (status, title, own) = match failure.class {
            Class::Authentication => {
                (401, "Unauthenticated", "You did not pass a valid authentication token".to_owned())
            }
            Class::Payment => {
                (402, "Insufficient credit", "You have insufficient credit to run this model.".into())
            }
            Class::NotFound => (404, "Not found", "The requested resource could not be found.".into()),
            Class::RateLimit => {
                let wait = failure.retry_after.unwrap_or(1);
                (429, "", format!("Request was throttled. Expected available in {wait} seconds."))
            }
            Class::Invalid | Class::UnknownParam | Class::Unprocessable | Class::Context | Class::Policy => {
                let field = failure.param.as_deref().unwrap_or("input");
                (422, "Input validation failed", format!("- {field}: invalid\n"))
            }
            class => (class.status(), "Internal server error", "Something went wrong.".to_owned()),
        };
        let status = failure.status.unwrap_or(status);
        let mut body = json!({"detail": failure.text(|| own), "status": status});
        if !title.is_empty() {
            body["title"] = title.into();
        }
        let headers =
            failure.retry_after.map(|seconds| ("retry-after", seconds.to_string())).into_iter().collect();
        Refused { status, headers, body }
    }

    fn broken(&self, _ask: &Ask) -> Bytes {
        Bytes::from_static(b"event: error\nid: error:0\ndata: {\"detail\":\"the model crashed\"}\n\n")
    }

    fn garbage(&self) -> Bytes {
        Bytes::from_static(b"event: outp\nnothing here is a field\n\n<html>502</html>\xff\xfe\n\n")
    }
}

fn output(reply: &Reply) -> Vec<String> {
    let deltas = reply.parts.iter().flat_map(|part| match part {
        crate::reply::Part::Text { deltas } | crate::reply::Part::Cited { deltas, .. } => deltas.clone(),
        crate::reply::Part::Refusal(text) => vec![text.clone()],
        _ => Vec::new(),
    });
    deltas.collect()
}

/// What a request about an existing prediction wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Get,
    Cancel,
    Stream,
}

/// Splits `/v1/predictions/{id}[/cancel|/stream]`.
pub(crate) fn wish<'a>(method: &Method, path: &'a str) -> Option<(Wish, &'a str)> {
    let rest = path.split_once("/v1/predictions/")?.1;
    match (method.as_str(), rest.split_once('/')) {
        ("GET", None) => Some((Wish::Get, rest)),
        ("POST", Some((id, "cancel"))) => Some((Wish::Cancel, id)),
        ("GET", Some((id, "stream"))) => Some((Wish::Stream, id)),
        _ => None,
    }
}

/// Where the client reached us, for the addresses in answers.
pub(crate) fn base(headers: &HeaderMap) -> String {
    format!("http://{}", header(headers, "host").unwrap_or("localhost"))
}

/// The answer to a creation: 201 and `starting`, or the end at once with `Prefer: wait`.
pub(crate) fn created(headers: &HeaderMap, id: &str, prediction: &mut Prediction) -> (StatusCode, Value) {
    if header(headers, "prefer").is_some_and(|prefer| prefer.starts_with("wait")) {
        prediction.polls = 2;
    }
    (StatusCode::CREATED, show(&base(headers), id, prediction))
}

/// Fetches or cancels a prediction; each fetch brings it a step further.
pub(crate) fn proceed(store: &Store, headers: &HeaderMap, wish: Wish, id: &str) -> Option<Value> {
    let mut predictions = store.predictions.lock();
    let prediction = predictions.get_mut(id)?;
    match wish {
        Wish::Cancel if prediction.polls < 2 => prediction.canceled = true,
        Wish::Get if !prediction.canceled => prediction.polls += 1,
        _ => {}
    }
    Some(show(&base(headers), id, prediction))
}

/// The prediction object as its progress stands.
fn show(base: &str, id: &str, prediction: &Prediction) -> Value {
    let done = prediction.polls >= 2 && !prediction.canceled;
    let status = match (&prediction.outcome, prediction.canceled, prediction.polls) {
        (_, true, _) => "canceled",
        (_, _, 0) => "starting",
        (_, _, 1) => "processing",
        (Ok(_), ..) => "succeeded",
        (Err(_), ..) => "failed",
    };
    let created = rfc3339(prediction.created);
    let mut object = json!({
        "id": id, "model": prediction.ask.model, "version": "fake-version", "input": prediction.input,
        "logs": "", "output": null, "error": null, "data_removed": false, "status": status,
        "created_at": created, "started_at": null, "completed_at": null, "metrics": {},
        "urls": {
            "cancel": format!("{base}/v1/predictions/{id}/cancel"),
            "get": format!("{base}/v1/predictions/{id}"),
            "stream": format!("{base}/v1/predictions/{id}/stream"),
            "web": format!("{base}/p/{id}"),
        },
    });
    if prediction.polls > 0 {
        object["started_at"] = created.into();
    }
    if prediction.canceled || done {
        object["completed_at"] = rfc3339(now()).into();
    }
    match &prediction.outcome {
        Ok(reply) if done => {
            object["output"] = output(reply).into();
            object["metrics"] = json!({"input_token_count": reply.usage.input,
                "output_token_count": reply.usage.output, "predict_time": 0.007, "total_time": 0.01,
                "tokens_per_second": 60.0, "time_to_first_token": 0.003});
        }
        Err(message) if done => object["error"] = message.as_str().into(),
        _ => {}
    }
    object
}
