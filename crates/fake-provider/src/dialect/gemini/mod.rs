//! Gemini's `generateContent`, of the Gemini API and of Vertex AI.
//!
//! Source: Gemini API reference, "Generating content", "Thought signatures"; the `google-genai` SDK's types.

mod read;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Dialect, Frames, Head, Refused, serial};
use crate::failure::{Class, Failure};
use crate::read::Object;
use crate::reply::{Ask, Finish, Flavour, Part, Reply, Style};
use crate::scenario::Usage;
use crate::seal::{canonical, seal};

/// Whose reasoning seals these are.
const FAMILY: &str = "gemini";

pub(crate) struct Gemini;

impl Dialect for Gemini {
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure> {
        if is_vertex(head.path) {
            let token = super::bearer(head.headers);
            return if token.is_none_or(super::is_wrong) {
                Err(Failure::new(Class::Authentication))
            } else {
                Ok(())
            };
        }
        let in_query = url::form_urlencoded::parse(head.query.as_bytes()).find(|(name, _)| name == "key");
        let in_query = in_query.map(|(_, value)| value.into_owned());
        let key = super::header(head.headers, "x-goog-api-key").map(str::to_owned).or(in_query);
        match key {
            None => Err(Failure {
                message: Some(
                    "Method doesn't allow unregistered callers (callers without established identity). Please use \
                     API Key or other form of API consumer identity to call this API."
                        .into(),
                ),
                ..Failure::new(Class::Permission)
            }),
            Some(key) if super::is_wrong(&key) => Err(Failure::new(Class::Authentication)),
            Some(_) => Ok(()),
        }
    }

    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        read::read(head, body)
    }

    fn style(&self) -> Style {
        Style { call_prefix: "", family: FAMILY }
    }

    fn whole(&self, ask: &Ask, reply: &Reply) -> Value {
        let mut parts: Vec<Value> = Vec::new();
        let mut state = State::default();
        for part in &reply.parts {
            parts.extend(whole_part(ask, part, &mut state));
        }
        let candidates =
            if reply.finish == Finish::Blocked { Vec::new() } else { vec![candidate(parts, reply, true)] };
        envelope(ask, reply, candidates, true)
    }

    fn frames(&self, ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        let chunks = chunks(ask, reply);
        let mut frames = Frames::default();
        let last = chunks.len().saturating_sub(1);
        for (index, chunk) in chunks.iter().enumerate() {
            if ask.flavour == Flavour::JsonArray {
                let before = if index == 0 { "[" } else { ",\n" };
                let after = if index == last { "]" } else { "" };
                frames.raw(&[before.as_bytes(), chunk.to_string().as_bytes(), after.as_bytes()]);
            } else {
                // The real service ends its lines with CRLF.
                frames.raw(&[b"data: ", chunk.to_string().as_bytes(), b"\r\n\r\n"]);
            }
        }
        frames.finish()
    }

    fn blocks_in_answer(&self) -> bool {
        true
    }

    fn count(&self, head: &Head<'_>, body: &[u8]) -> Result<Value, Failure> {
        let body: Value =
            serde_json::from_slice(body).map_err(|_| Failure::invalid("Invalid JSON payload received."))?;
        let inner = body.get("generateContentRequest").unwrap_or(&body);
        let inner = inner.as_object().cloned().unwrap_or_default();
        let inner = inner.into_iter().filter(|(name, _)| name != "model").collect();
        let ask = self.read(head, &inner)?;
        let tokens = ask.prompt_chars / 4 + 1;
        Ok(
            json!({"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}),
        )
    }

    fn stream_type(&self, ask: &Ask) -> &'static str {
        if ask.flavour == Flavour::JsonArray {
            "application/json; charset=UTF-8"
        } else {
            "text/event-stream"
        }
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("x-gemini-service-tier", "standard"), ("server", "scaffolding on HTTPServer2")]
    }

    fn refuse(&self, head: &Head<'_>, failure: &Failure) -> Refused {
        let (code, word, text) = words(head, failure);
        let code = failure.status.unwrap_or(code);
        let mut error = json!({"code": code, "message": failure.text(|| text), "status": word});
        if let Some(details) = details(head, failure) {
            error["details"] = details;
        }
        // Google names the time to wait in the body only.
        Refused { status: code, headers: Vec::new(), body: json!({ "error": error }) }
    }

    fn broken(&self, ask: &Ask) -> Bytes {
        let error = json!({"error": {"code": 503, "message": "The model is overloaded. Please try again later.",
            "status": "UNAVAILABLE"}});
        let text = if ask.flavour == Flavour::JsonArray {
            format!(",\n{error}]")
        } else {
            format!("data: {error}\r\n\r\n")
        };
        Bytes::from(text)
    }
}

/// Whether the path is Vertex AI's.
pub(super) fn is_vertex(path: &str) -> bool {
    path.contains("/publishers/") || path.contains("/projects/")
}

/// Status, Google's status word and message of each class.
fn words(head: &Head<'_>, failure: &Failure) -> (u16, &'static str, String) {
    let model = head.model.unwrap_or("unknown");
    match failure.class {
        Class::Invalid | Class::Policy | Class::Unprocessable => {
            (400, "INVALID_ARGUMENT", "Request contains an invalid argument.".into())
        }
        Class::UnknownParam => {
            let name = failure.param.as_deref().unwrap_or_default();
            let (at, name) = name.rsplit_once('.').unwrap_or(("", name));
            let at = if at.is_empty() { String::new() } else { format!(" at '{at}'") };
            let text = format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field.");
            (400, "INVALID_ARGUMENT", text)
        }
        Class::Authentication if is_vertex(head.path) => (
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
             valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
                .into(),
        ),
        Class::Authentication => (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.".into()),
        Class::Payment => (429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.".into()),
        Class::Permission => (403, "PERMISSION_DENIED", "The caller does not have permission".into()),
        Class::NotFound => (
            404,
            "NOT_FOUND",
            format!(
                "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call \
                 ListModels to see the list of available models and their supported methods."
            ),
        ),
        Class::Timeout => (504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete.".into()),
        Class::TooLarge => (400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes.".into()),
        Class::RateLimit => (
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details. For more information on \
             this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."
                .into(),
        ),
        Class::Context => (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).".into(),
        ),
        Class::Internal | Class::BadGateway => (
            failure.class.status(),
            "INTERNAL",
            "An internal error has occurred. Please retry or report in \
             https://developers.generativeai.google/guide/troubleshooting"
                .into(),
        ),
        Class::Unavailable => (503, "UNAVAILABLE", "The model is overloaded. Please try again later.".into()),
    }
}

fn details(head: &Head<'_>, failure: &Failure) -> Option<Value> {
    match failure.class {
        Class::RateLimit => {
            let delay = failure.retry_after.unwrap_or(2);
            Some(json!([
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
                    "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                    "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "quotaValue": "10"}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{delay}s")},
            ]))
        }
        Class::Authentication if !is_vertex(head.path) => Some(json!([
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}},
        ])),
        Class::UnknownParam => Some(json!([
            {"@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"description": failure.text(|| words(head, failure).2)}]},
        ])),
        _ => None,
    }
}

fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Length => "MAX_TOKENS",
        Finish::Filter => "SAFETY",
        Finish::Refused => "PROHIBITED_CONTENT",
        Finish::Stop | Finish::Calls | Finish::Sequence(_) | Finish::Blocked => "STOP",
    }
}

fn usage(usage: &Usage) -> Value {
    let mut counts = json!({
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    });
    if usage.cached > 0 {
        counts["cachedContentTokenCount"] = usage.cached.into();
        counts["cacheTokensDetails"] = json!([{"modality": "TEXT", "tokenCount": usage.cached}]);
    }
    if usage.reasoning > 0 {
        counts["thoughtsTokenCount"] = usage.reasoning.into();
    }
    counts
}

fn envelope(ask: &Ask, reply: &Reply, candidates: Vec<Value>, last: bool) -> Value {
    let mut counts = usage(&reply.usage);
    if !last && let Some(counts) = counts.as_object_mut() {
        // Before the end only the prompt is counted.
        counts.insert("totalTokenCount".into(), reply.usage.input.into());
        counts.remove("candidatesTokenCount");
        counts.remove("thoughtsTokenCount");
    }
    let mut answer = json!({"usageMetadata": counts, "modelVersion": ask.model, "responseId": ask.id});
    if reply.finish == Finish::Blocked {
        answer["promptFeedback"] = json!({"blockReason": "PROHIBITED_CONTENT"});
    } else {
        answer["candidates"] = candidates.into();
    }
    answer
}

fn candidate(parts: Vec<Value>, reply: &Reply, last: bool) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if !last {
        return candidate;
    }
    candidate["finishReason"] = finish_reason(&reply.finish).into();
    if matches!(reply.finish, Finish::Filter | Finish::Refused) {
        candidate["safetyRatings"] =
            json!([{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true}]);
    }
    let cited = reply.parts.iter().find_map(|part| match part {
        Part::Cited { deltas, source } => Some((deltas.concat().len(), *source)),
        _ => None,
    });
    if let Some((end, uri)) = cited {
        candidate["citationMetadata"] =
            json!({"citationSources": [{"startIndex": 0, "endIndex": end, "uri": uri}]});
    }
    candidate
}

/// What one part leaves for the next ones.
#[derive(Default)]
struct State {
    /// The seal of the reasoning, until a part carries it.
    seal: Option<String>,
    /// A call already carries a signature; parallel ones have none.
    signed: bool,
}

impl State {
    /// The signature of a call: the first of a step has one, bound to the call itself.
    fn call(&mut self, name: &str, arguments: &Value) -> Option<String> {
        self.seal = None;
        let first = !std::mem::replace(&mut self.signed, true);
        first.then(|| call_seal(name, arguments))
    }
}

/// The signature issued with a call.
fn call_seal(name: &str, arguments: &Value) -> String {
    seal(FAMILY, &format!("{name}{}", canonical(arguments)))
}

fn call_part(ask: &Ask, id: &str, name: &str, arguments: &Value, state: &mut State) -> Value {
    let mut call = json!({"functionCall": {"name": name, "args": arguments}});
    // Vertex AI gives calls no id.
    if ask.flavour != Flavour::Vertex {
        call["functionCall"]["id"] = id.into();
    }
    if let Some(signature) = state.call(name, arguments) {
        call["thoughtSignature"] = signature.into();
    }
    call
}

fn whole_part(ask: &Ask, part: &Part, state: &mut State) -> Vec<Value> {
    match part {
        Part::Reasoning { deltas, seal } => {
            state.seal = Some(seal.clone());
            vec![json!({"text": deltas.concat(), "thought": true})]
        }
        Part::Text { deltas } | Part::Cited { deltas, .. } => {
            let mut text = json!({"text": deltas.concat()});
            if let Some(seal) = state.seal.take() {
                text["thoughtSignature"] = seal.into();
            }
            vec![text]
        }
        Part::Call { id, name, arguments } => vec![call_part(ask, id, name, arguments, state)],
        Part::Refusal(_) => Vec::new(),
    }
}

fn chunks(ask: &Ask, reply: &Reply) -> Vec<Value> {
    let mut parts: Vec<Vec<Value>> = Vec::new();
    let mut state = State::default();
    for part in &reply.parts {
        match part {
            Part::Reasoning { deltas, seal } => {
                state.seal = Some(seal.clone());
                parts.extend(deltas.iter().map(|text| vec![json!({"text": text, "thought": true})]));
            }
            Part::Text { deltas } | Part::Cited { deltas, .. } => {
                parts.extend(deltas.iter().map(|text| vec![json!({"text": text})]));
            }
            Part::Call { id, name, arguments } => {
                parts.push(vec![call_part(ask, id, name, arguments, &mut state)]);
            }
            Part::Refusal(_) => {}
        }
    }
    // The signature of a text answer comes last, on an empty text.
    let tail = match state.seal.take() {
        Some(seal) => vec![json!({"text": "", "thoughtSignature": seal})],
        None => vec![json!({"text": ""})],
    };
    parts.push(tail);
    let last = parts.len() - 1;
    let chunk = |(index, parts): (usize, Vec<Value>)| {
        envelope(ask, reply, vec![candidate(parts, reply, index == last)], index == last)
    };
    if reply.finish == Finish::Blocked {
        return vec![envelope(ask, reply, Vec::new(), true)];
    }
    parts.into_iter().enumerate().map(chunk).collect()
}

/// An id as Google writes it.
fn response_id() -> String {
    format!("fakeresp{:x}", serial())
}
