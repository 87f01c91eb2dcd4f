//! The `metadata` of a row of the request log, written as text at once: every request has one.

use std::time::Duration;

use faregate_terms::{
    AttemptNote, CallId, DeploymentId, FaultClass, Partial, PicoUsd, ProviderName, Receipt,
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::log::succeeded;

/// LiteLLM's members, then ours under `faregate`.
#[derive(Serialize)]
struct Metadata<'a> {
    user_api_key: &'a str,
    user_api_key_alias: Option<&'a str>,
    user_api_key_team_id: Option<&'a str>,
    user_api_key_team_alias: Option<&'a str>,
    user_api_key_org_id: Option<&'a str>,
    user_api_key_user_id: Option<&'a str>,
    user_api_key_project_id: Option<&'a str>,
    user_api_key_project_alias: Option<&'a str>,
    requester_ip_address: Option<&'a str>,
    user_agent: Option<&'a str>,
    litellm_call_id: &'a CallId,
    status: &'static str,
    usage_object: Option<Passed<'a>>,
    additional_usage_values: Details,
    attempted_retries: usize,
    error_information: Option<Failure<'a>>,
    faregate: Own<'a>,
}

#[derive(Serialize)]
struct Details {
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
    cache_read_input_tokens: u64,
    cache_creation_input_tokens: u64,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct Failure<'a> {
    error_code: &'a str,
    error_class: &'a str,
    error_message: &'a str,
    llm_provider: Option<&'a ProviderName>,
}

#[derive(Serialize)]
struct Own<'a> {
    route: &'a str,
    requested_model: &'a str,
    provider_request_id: Option<&'a str>,
    http_status: u16,
    ending: &'static str,
    stream: bool,
    ttft_ms: Option<f64>,
    upstream_ms: f64,
    #[serde(serialize_with = "attempts")]
    attempts: &'a [AttemptNote],
    failed_attempts: usize,
    losses: &'a [String],
    usage_estimated: bool,
    priced: bool,
    price_version: Option<&'a str>,
    cost: Option<PicoUsd>,
    discarded_cost: PicoUsd,
}

/// One call to one deployment; times in milliseconds, the start since the request's arrival.
#[derive(Serialize)]
struct Attempt<'a> {
    deployment: &'a DeploymentId,
    start_ms: f64,
    wait_ms: f64,
    ttft_ms: Option<f64>,
    duration_ms: f64,
    fault: Option<FaultClass>,
    discarded: bool,
    discarded_cost: Option<PicoUsd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continued: Option<Partial>,
}

/// Text that should be JSON; kept as a plain text when it is not. It is read and not passed on as it came:
/// PostgreSQL takes neither half a surrogate nor a number beyond all measure.
pub(super) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// JSON text that goes into a larger one.
#[derive(Serialize)]
#[serde(untagged)]
enum Passed<'a> {
    /// As it came.
    Plain(&'a RawValue),
    /// Read and written again.
    Read(Value),
}

/// As [`parsed`], but what PostgreSQL takes without a doubt goes on as it is: usage figures always do.
fn passed(text: &str) -> Passed<'_> {
    // An escape may be half a surrogate, and many digits or an exponent too large a number.
    const DIGITS: usize = 18;
    let bytes = text.as_bytes();
    let is_long = |run: &[u8]| run.iter().all(u8::is_ascii_digit);
    let is_doubtful = bytes.contains(&b'\\')
        || bytes.windows(DIGITS).any(is_long)
        || bytes.windows(2).any(|pair| pair[0].is_ascii_digit() && matches!(pair[1], b'e' | b'E'));
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) if !is_doubtful => Passed::Plain(raw),
        _ => Passed::Read(parsed(text)),
    }
}

/// The metadata of a receipt, as JSON text. Members that the request brought win over ours of the same name.
pub(super) fn text(receipt: &Receipt) -> String {
    let own = serde_json::to_string(&members(receipt)).unwrap_or_else(|_| "{}".to_owned());
    let brought = receipt.log.metadata.as_deref().map(serde_json::from_str::<Map<String, Value>>);
    let Some(Ok(brought)) = brought else { return own };
    if brought.is_empty() {
        return own;
    }
    let is_known = |name: &String| own.contains(&format!("\"{name}\":"));
    if brought.keys().any(is_known) {
        let Ok(mut all) = serde_json::from_str::<Map<String, Value>>(&own) else { return own };
        all.extend(brought);
        return Value::Object(all).to_string();
    }
    // Nothing of ours is replaced: the two are put together as texts.
    let brought = Value::Object(brought).to_string();
    match (own.strip_suffix('}'), brought.strip_prefix('{')) {
        (Some(own), Some(brought)) => format!("{own},{brought}"),
        _ => own,
    }
}

fn members(receipt: &Receipt) -> Metadata<'_> {
    let (account, log, usage) = (&receipt.account, &receipt.log, &receipt.usage);
    Metadata {
        user_api_key: &account.api_key,
        user_api_key_alias: account.key_alias.as_deref(),
        user_api_key_team_id: account.team.as_deref(),
        user_api_key_team_alias: account.team_alias.as_deref(),
        user_api_key_org_id: account.organization.as_deref(),
        user_api_key_user_id: account.user.as_deref(),
        user_api_key_project_id: account.project.as_deref(),
        user_api_key_project_alias: account.project_alias.as_deref(),
        requester_ip_address: account.ip.as_deref(),
        user_agent: account.user_agent.as_deref(),
        litellm_call_id: &receipt.call_id,
        status: if succeeded(receipt) { "success" } else { "failure" },
        usage_object: log.raw_usage.as_deref().map(passed),
        additional_usage_values: Details {
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cache_read,
                audio_tokens: usage.input_audio,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning,
                audio_tokens: usage.output_audio,
            },
            cache_read_input_tokens: usage.cache_read,
            cache_creation_input_tokens: usage.cache_write(),
        },
        attempted_retries: receipt.attempts.len().saturating_sub(1),
        error_information: log.error.as_ref().map(|error| Failure {
            error_code: &error.code,
            error_class: &error.class,
            error_message: &error.message,
            llm_provider: receipt.provider.as_ref(),
        }),
        faregate: own(receipt),
    }
}

fn own(receipt: &Receipt) -> Own<'_> {
    Own {
        route: &receipt.route,
        requested_model: &receipt.requested_model,
        provider_request_id: receipt.upstream_id.as_deref(),
        http_status: receipt.status,
        ending: receipt.ending.word(),
        stream: receipt.stream,
        ttft_ms: receipt.ttft.map(ms),
        upstream_ms: ms(receipt.upstream_time),
        attempts: &receipt.attempts,
        failed_attempts: receipt.attempts.iter().filter(|attempt| attempt.fault.is_some()).count(),
        losses: &receipt.losses,
        usage_estimated: receipt.usage.estimated,
        priced: receipt.cost.is_some(),
        price_version: receipt.log.price_version.as_deref(),
        cost: receipt.cost,
        discarded_cost: receipt.log.discarded_cost,
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn attempts<S: Serializer>(attempts: &[AttemptNote], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(attempts.iter().map(|attempt| Attempt {
        deployment: &attempt.deployment,
        start_ms: ms(attempt.start),
        wait_ms: ms(attempt.wait),
        ttft_ms: attempt.ttft.map(ms),
        duration_ms: ms(attempt.duration),
        fault: attempt.fault,
        discarded: attempt.discarded.is_some(),
        discarded_cost: attempt.discarded.and_then(|it| it.cost),
        continued: attempt.continued,
    }))
}
