//! The `metadata` of a row of the request log, written as text at once: every request has one.

use std::time::Duration;

use faregate_terms::{
    AttemptNote, CallId, DeploymentId, FaultClass, Partial, PicoUsd, ProviderName, Receipt,
};
use serde::{Serialize, Serializer};
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
    usage_object: Option<Value>,
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

/// The metadata of a receipt, as JSON text. Members that the request brought win over ours of the same name.
pub(super) fn text(receipt: &Receipt) -> String {
    let own = serde_json::to_string(&members(receipt)).unwrap_or_else(|_| "{}".to_owned());
    let brought = receipt.log.metadata.as_deref().map(serde_json::from_str::<Map<String, Value>>);
    let (Some(Ok(brought)), Ok(mut all)) = (brought, serde_json::from_str::<Map<String, Value>>(&own)) else {
        return own;
    };
    all.extend(brought);
    Value::Object(all).to_string()
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
        usage_object: log.raw_usage.as_deref().map(parsed),
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
