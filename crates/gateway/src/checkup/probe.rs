//! One real call to a deployment.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use faregate_catalog::{Mode, Operation as Listed};
use faregate_config::OwnCheck;
use faregate_terms::{Account, CallId, Fault, FaultClass};
use faregate_wire::task::transcription::Upload;

use super::{Finding, Rules};
use crate::audio;
use crate::call::Arrival;
use crate::caller::Caller;
use crate::destination::{Destination, Via};
use crate::gate::{Deployment, Gate, Table};
use crate::refusal::Refusal;
use crate::routes::{Found, Operation};
use crate::stage::admit::Admitted;
use crate::stage::decode::decode;
use crate::stage::identify::Principal;
use crate::stage::single;
use crate::task::Task;

/// Whom checks are booked on; request logs are filtered by it. Source: compat, endpoints, `/spend/logs/v2`,
/// `exclude_internal_health_checks`; LiteLLM's name.
pub const ACCOUNT: &str = "litellm-internal-health-check";

/// The longest answer when nobody says otherwise, in tokens. Source: LiteLLM, `health_check.py`.
const MAX_TOKENS: u64 = 16;

/// What providers say of their limits. Source: LiteLLM, `create_health_check_response`.
const NOTES: [&str; 3] = ["x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens", "x-ms-region"];

static CHECKER: LazyLock<Arc<Caller>> = LazyLock::new(|| {
    let account = Account {
        api_key: ACCOUNT.to_owned(),
        key_alias: Some(ACCOUNT.to_owned()),
        tags: vec![ACCOUNT.to_owned()],
        ..Account::default()
    };
    Arc::new(Caller { account, ..Caller::default() })
});

/// The calls that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Completion,
    Responses,
    Messages,
    Embedding,
    Rerank,
    Transcription,
}

impl Kind {
    /// What fits a mode.
    ///
    /// # Errors
    /// 501 for modes whose calls this version does not make.
    fn of(mode: &str) -> Result<Self, Refusal> {
        match mode {
            "chat" => Ok(Self::Chat),
            "completion" => Ok(Self::Completion),
            "responses" => Ok(Self::Responses),
            "anthropic_messages" => Ok(Self::Messages),
            "embedding" => Ok(Self::Embedding),
            "rerank" => Ok(Self::Rerank),
            "audio_transcription" => Ok(Self::Transcription),
            other => Err(Refusal::NotImplemented(format!(
                "mode `{other}` cannot be checked by this version; chat, completion, responses, anthropic_messages, \
                 embedding, rerank and audio_transcription can"
            ))),
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::Chat => Operation::ChatCompletions,
            Self::Completion => Operation::TextCompletions,
            Self::Responses => Operation::Responses,
            Self::Messages => Operation::Messages,
            Self::Embedding => Operation::Embeddings,
            Self::Rerank => Operation::Rerank,
            Self::Transcription => Operation::Transcriptions,
        }
    }

    fn via(self) -> Via {
        match self {
            Self::Chat => Via::Chat,
            Self::Completion => Via::Completions,
            Self::Responses => Via::Responses,
            Self::Messages => Via::Messages,
            Self::Embedding => Via::Embedding,
            Self::Rerank => Via::Rerank,
            Self::Transcription => Via::Transcription,
        }
    }
}

/// What a deployment is asked.
struct Question {
    kind: Kind,
    destination: Arc<Destination>,
    body: Bytes,
}

/// Asks a deployment for a short answer; `by` wants to know. What it uses is booked on [`ACCOUNT`], and what
/// comes of it counts neither as a client's request nor towards a rest.
pub async fn probe(gate: &Arc<Gate>, table: &Table, deployment: &Deployment, by: Option<&str>) -> Finding {
    let (at, since) = (gate.services.clock.wall_ms(), Instant::now());
    let outcome = match question(table, deployment) {
        Ok(question) => ask(gate, table, deployment, question).await,
        Err(refusal) => Err(refusal),
    };
    let config = &deployment.config;
    let outcome = outcome.as_ref().map(notes);
    let mut finding = Finding::new(config.id.clone(), config.group.as_str(), at, since.elapsed(), outcome);
    finding.by = by.map(str::to_owned);
    finding
}

fn notes(headers: &HeaderMap) -> Vec<(String, String)> {
    let value = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    NOTES.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect()
}

async fn ask(
    gate: &Arc<Gate>,
    table: &Table,
    deployment: &Deployment,
    question: Question,
) -> Result<HeaderMap, Refusal> {
    let timeout = deployment.config.info.check.timeout.unwrap_or(table.checks.timeout);
    let arrival = Arc::new(Arrival {
        id: CallId::from(Uuid::now_v7().to_string()),
        own_id: None,
        at: Instant::now(),
        found: Found { operation: question.kind.operation(), route: "/health", subject: None, verb: None },
        headers: HeaderMap::new(),
        query: None,
        client_ip: None,
    });
    let principal = Principal::Key(Arc::clone(&CHECKER));
    let mut admitted = Admitted::new(Arc::clone(&gate.settler), principal, Arc::clone(&arrival));
    admitted.meter.input_bytes = question.body.len() as u64;
    admitted.meter.group = Some(deployment.config.group.clone());
    deployment.config.group.as_str().clone_into(&mut admitted.meter.requested_model);
    let mut call = match decode(arrival, question.body, false) {
        Ok(call) => call,
        Err(refusal) => {
            admitted.refused(&refusal);
            return Err(refusal);
        }
    };
    call.options.timeout = Some(timeout);
    if question.kind == Kind::Transcription {
        call.task = Some(Task::Transcription(Arc::new(recording())));
    }
    let call = Arc::new(call);
    let asked = single::single(table, &call, deployment, &question.destination, admitted);
    match tokio::time::timeout(timeout + GRACE, asked).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let late =
                Fault::new(FaultClass::Timeout, format!("no answer within {} s", timeout.as_secs_f64()));
            Err(Refusal::upstream(late, question.destination.provider.name))
        }
    }
}

/// A call that minds its own timeout is not cut off.
const GRACE: Duration = Duration::from_secs(5);

fn question(table: &Table, deployment: &Deployment) -> Result<Question, Refusal> {
    let (config, own) = (&deployment.config, &deployment.config.info.check);
    let model = own.model.as_deref().unwrap_or(&deployment.upstream_model);
    if let Some(mode) = &config.info.mode {
        Kind::of(mode)?;
    }
    if model.contains('*') {
        let text =
            format!("`{model}` stands for many models; set model_info.health_check_model to one of them");
        return Err(Refusal::NotImplemented(text));
    }
    let destination = deployment.main_destination(model, table)?;
    let kind = match &config.info.mode {
        Some(mode) => Kind::of(mode)?,
        None => catalogued(&destination)?,
    };
    let destination = match kind.via() {
        Via::Chat if destination.provider.dialect(Listed::Chat).is_some() => destination,
        via => deployment.destination(model, via, table)?,
    };
    let body = body(kind, &table.checks, own, &destination, config.group.as_str());
    Ok(Question { kind, body: Bytes::from(body.to_string()), destination })
}

/// What the catalogue says a model does; a chat when it says nothing.
fn catalogued(destination: &Destination) -> Result<Kind, Refusal> {
    match destination.info.as_ref().and_then(|info| info.mode) {
        None | Some(Mode::Chat | Mode::Other) => Ok(Kind::Chat),
        Some(Mode::Responses) => Ok(Kind::Responses),
        Some(mode) => {
            let word = serde_json::to_value(mode).ok();
            Kind::of(word.as_ref().and_then(Value::as_str).unwrap_or("other"))
        }
    }
}

fn body(kind: Kind, rules: &Rules, own: &OwnCheck, destination: &Destination, group: &str) -> Value {
    let mut body: Map<String, Value> = own.params.0.clone();
    body.insert("model".to_owned(), json!(group));
    let limit = match kind {
        Kind::Responses => {
            body.insert("input".to_owned(), json!(rules.prompt));
            "max_output_tokens"
        }
        Kind::Embedding => {
            body.insert("input".to_owned(), json!([rules.prompt]));
            return Value::Object(body);
        }
        Kind::Rerank => {
            body.insert("query".to_owned(), json!(rules.prompt));
            body.insert("documents".to_owned(), json!([rules.prompt]));
            return Value::Object(body);
        }
        Kind::Transcription => return Value::Object(body),
        Kind::Completion => {
            body.insert("prompt".to_owned(), json!(rules.prompt));
            "max_tokens"
        }
        Kind::Chat | Kind::Messages => {
            body.insert("messages".to_owned(), json!([{"role": "user", "content": rules.prompt}]));
            "max_tokens"
        }
    };
    if own.sends_max_tokens != Some(false) || kind == Kind::Messages {
        body.insert(limit.to_owned(), json!(max_tokens(rules, own, destination)));
    }
    if let (Kind::Chat, Some(effort)) = (kind, &own.effort) {
        body.insert("reasoning_effort".to_owned(), json!(effort));
    }
    Value::Object(body)
}

/// Half a second of silence.
fn recording() -> Upload {
    let kind = "audio/wav".to_owned();
    Upload { file: audio::silence(500), name: "silence.wav".to_owned(), kind, fields: Vec::new() }
}

/// Source: LiteLLM, `_resolve_health_check_max_tokens`.
fn max_tokens(rules: &Rules, own: &OwnCheck, destination: &Destination) -> u64 {
    let (special, general) = match destination.abilities.reasoning {
        Some(true) => (own.max_tokens_reasoning, rules.max_tokens_reasoning),
        _ => (own.max_tokens_plain, None),
    };
    own.max_tokens.or(special).or(general).or(rules.max_tokens).unwrap_or(MAX_TOKENS)
}
