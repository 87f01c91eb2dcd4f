//! Answers and failures that no provider gives: `mock_response` and `mock_timeout`.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;
use uuid::Uuid;

use faregate_terms::{Fault, FaultClass, Usage};
use faregate_wire::chat::{ChatResponse, Choice, FinishReason, Part, unfold};
use faregate_wire::dialect::Dialect;

use crate::call::Call;
use crate::destination::Destination;
use crate::gate::{Deployment, Table};
use crate::refusal::Refusal;
use crate::stage::identify::Principal;
use crate::stage::pump::Pump;
use crate::stage::send::{Answer, patience};
use crate::stage::task;

/// Tokens of a mock answer. Source: LiteLLM, `mock_completion`.
const USAGE: (u64, u64) = (10, 20);

/// What to do in place of a call.
pub(super) enum Mock {
    /// Wait as long as a call may take, then fail.
    Timeout,
    /// Answer this.
    Answer(Value),
}

/// What the deployment or the client wants in place of a call; clients need a key that may.
pub(super) fn of(call: &Call, deployment: &Deployment, principal: &Principal) -> Option<Mock> {
    let settings = &deployment.config.params.settings;
    let steering = call.options.steering.as_deref();
    let is_late = settings.get("mock_timeout").is_some_and(|value| *value == Value::Bool(true));
    if is_late || steering.is_some_and(|steering| steering.mock_timeout) {
        return Some(Mock::Timeout);
    }
    let may = principal.caller().is_some_and(|caller| caller.permits.mock_response);
    let asked = steering.and_then(|steering| steering.mock_response.as_ref()).filter(|_| may);
    let answer = asked.or_else(|| settings.get("mock_response")).filter(|value| !value.is_null())?;
    Some(Mock::Answer(answer.clone()))
}

/// Acts it out.
///
/// # Errors
/// The failure that is mocked.
pub(super) async fn answer(
    table: &Table,
    call: &Arc<Call>,
    destination: &Arc<Destination>,
    mock: Mock,
    left: Option<Duration>,
) -> Result<Answer, Refusal> {
    let refusal = |fault| Refusal::upstream(fault, destination.provider.name);
    let value = match mock {
        Mock::Answer(value) => value,
        Mock::Timeout => {
            tokio::time::sleep(patience(call, destination, left)).await;
            return Err(refusal(Fault::new(FaultClass::Timeout, "This is a mock timeout error")));
        }
    };
    if let Some(task) = &call.task {
        return task::mocked(call, task, &value).map_err(refusal);
    }
    let response = response(destination, &value).map_err(refusal)?;
    if call.stream {
        let pump = Box::new(Pump::replay(call, destination, unfold(&response), table));
        return Ok(Answer::Stream { pump, headers: HeaderMap::new() });
    }
    Ok(Answer::Translated { response, headers: HeaderMap::new() })
}

fn response(destination: &Destination, value: &Value) -> Result<ChatResponse, Fault> {
    if let (true, Some(codec)) = (value.get("choices").is_some(), Dialect::OpenAiChat.provider()) {
        let body = faregate_wire::json::write(value);
        let unreadable = |error: faregate_wire::dialect::Malformed| {
            Fault::new(FaultClass::BadRequest, format!("mock_response is no chat completion: {error}"))
        };
        return codec.decode(&destination.target(), &body).map_err(unreadable);
    }
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if let Some(fault) = failure(&text) {
        return Err(fault);
    }
    Ok(ChatResponse {
        id: format!("chatcmpl-{}", Uuid::new_v4()),
        model: destination.model.clone(),
        choices: vec![Choice {
            index: 0,
            parts: vec![Part::text(text)],
            finish: FinishReason::Stop,
            stop_sequence: None,
            logprobs: None,
        }],
        usage: Usage { input: USAGE.0, output: USAGE.1, ..Usage::default() },
        ..ChatResponse::default()
    })
}

/// Texts that stand for a failure. Source: compat, config §1.1 `mock_response`.
pub(super) fn failure(text: &str) -> Option<Fault> {
    let (class, message) = match text {
        "litellm.RateLimitError" => (FaultClass::RateLimit, "this is a mock rate limit error"),
        "litellm.InternalServerError" => (FaultClass::Internal, "this is a mock internal server error"),
        "litellm.ContextWindowExceededError" => {
            (FaultClass::ContextWindow, "this is a mock context window exceeded error")
        }
        text if text.starts_with("Exception: content_filter_policy") => (FaultClass::ContentPolicy, text),
        _ => return None,
    };
    Some(Fault::new(class, message))
}
