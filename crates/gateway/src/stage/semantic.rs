//! Has somebody asked something that means the same?
//!
//! Two requests are alike if what was said last means the same and everything else is the same: group, model name,
//! instructions, earlier turns, tools, parameters, and who may share answers. So a question about one thing is never
//! answered with another's context, and a request with tools never with an answer made without.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use faregate_config::{SemanticScope, SemanticSettings};
use faregate_state::cache::CacheError;
use faregate_terms::Account;
use faregate_wire::chat::{ChatRequest, Part, Role};
use faregate_wire::dialect::Dialect;

use crate::answers::Answers;
use crate::answers::entry::Entry;
use crate::answers::key::{self, Circumstances};
use crate::call::Call;
use crate::gate::{Gate, Table};
use crate::metrics::Metrics;
use crate::stage::admit::BYTES_PER_TOKEN;
use crate::stage::plan::Asker;
use crate::stage::vectors::vectors;

/// Where a request stands among those that may share answers.
#[derive(Debug)]
pub(super) struct Likeness {
    scope: String,
    vector: Vec<f32>,
}

/// An answer to a question that means the same.
pub(super) struct Alike {
    /// The answer.
    pub entry: Entry,
    /// How much the questions mean the same, 0 to 1.
    pub similarity: f32,
}

/// Where the request stands; `None` if it is none of those that are compared by meaning, or if its vector cannot be
/// had, which is counted and warned of as any failure of the cache.
pub(super) async fn likeness(
    gate: &Arc<Gate>,
    table: &Table,
    answers: &Answers,
    call: &Call,
    around: &Circumstances<'_>,
    asker: Asker<'_>,
) -> Option<Likeness> {
    let settings = answers.settings.semantic.as_ref().filter(|_| call.task.is_none())?;
    let request = call.request().ok()?;
    let most = settings.max_messages.and_then(|most| usize::try_from(most).ok());
    if most.is_some_and(|most| request.messages.len() > most) {
        return None;
    }
    let question = question(&request)?;
    let bytes = settings.embedding_max_input_tokens.map(|tokens| tokens.saturating_mul(BYTES_PER_TOKEN));
    if bytes.is_some_and(|most| question.len() as u64 > most) {
        return None;
    }
    let scope = scope(&request, call, around, settings);
    let model = &settings.embedding_model;
    match vectors(gate, table, model, &[question], settings.embedding_timeout, asker).await {
        Ok(mut vectors) => Some(Likeness { scope, vector: vectors.pop()? }),
        Err(refusal) => {
            answers.failed(&CacheError(refusal.to_string()), &gate.metrics);
            None
        }
    }
}

/// The answer to the nearest question, if it is near enough and young enough.
pub(super) async fn find(
    answers: &Answers,
    likeness: &Likeness,
    max_age: Option<Duration>,
    metrics: &Metrics,
) -> Option<Alike> {
    let (settings, index) = (answers.settings.semantic.as_ref()?, answers.nearest.as_ref()?);
    let near = match index.nearest(&likeness.scope, &likeness.vector).await {
        Ok(near) => near?,
        Err(error) => {
            answers.failed(&error, metrics);
            return None;
        }
    };
    if near.similarity < settings.similarity_threshold {
        return None;
    }
    let entry = answers.young(Entry::decode(&near.value)?, max_age)?;
    Some(Alike { entry, similarity: near.similarity })
}

/// Keeps an answer by what its question means.
pub(super) fn keep(
    answers: &Arc<Answers>,
    likeness: Likeness,
    answer: Bytes,
    ttl: Duration,
    metrics: &Arc<Metrics>,
) {
    let Some(index) = answers.nearest.clone() else { return };
    answers.write(metrics, async move { index.add(&likeness.scope, &likeness.vector, answer, ttl).await });
}

/// What was said last, if it is the user's and nothing but text.
fn question(request: &ChatRequest) -> Option<String> {
    let last = request.messages.last().filter(|message| message.role == Role::User)?;
    let mut question = String::new();
    for part in &last.parts {
        let Part::Text { text, .. } = part else { return None };
        if !question.is_empty() {
            question.push('\n');
        }
        question.push_str(text);
    }
    (!question.trim().is_empty()).then_some(question)
}

/// Everything but the question, as one hash.
fn scope(
    request: &ChatRequest,
    call: &Call,
    around: &Circumstances<'_>,
    settings: &SemanticSettings,
) -> String {
    let mut rest = request.clone();
    // Of the question its words alone: who is named as saying it, say, stays.
    for part in rest.messages.last_mut().into_iter().flat_map(|last| &mut last.parts) {
        if let Part::Text { text, .. } = part {
            text.clear();
        }
    }
    // How it is sent.
    (rest.stream, rest.include_usage) = (false, false);
    if call.dialect != Dialect::OpenAiResponses {
        // To whom it is booked, which the scope says in its own words. A response repeats it, so there it counts.
        rest.user = None;
        rest.metadata.clear();
    }
    let mut hash = Sha256::new();
    let mut bytes = |name: &str, value: &[u8]| {
        for piece in [name.as_bytes(), value] {
            hash.update((piece.len() as u64).to_le_bytes());
            hash.update(piece);
        }
    };
    key::headers(&call.arrival.headers, around.forwards_headers, &mut bytes);
    let mut fact = |text: &str| bytes("", text.as_bytes());
    fact(call.dialect.name());
    fact(around.group);
    fact(&call.model);
    fact(around.owner.unwrap_or_default());
    fact(around.namespace.unwrap_or_default());
    fact(&settings.embedding_model);
    who(around.account, settings.scope).into_iter().for_each(&mut fact);
    fact(&format!("{rest:?}"));
    let options = &call.options;
    fact(&format!("{:?}", (&options.drop_params, &options.additional_drop_params, &options.extra_headers)));
    fact(&format!("{:?}", options.allowed_openai_params));
    hash.finalize().iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}

/// Who shares: requests of one key, team and organization, and of one end user where that is asked for. Source: compat,
/// config §2.1, `semantic_cache_scope`.
fn who(account: &Account, scope: SemanticScope) -> [&str; 4] {
    [
        &account.api_key,
        account.team.as_deref().unwrap_or_default(),
        account.organization.as_deref().unwrap_or_default(),
        match scope {
            SemanticScope::Key => "",
            SemanticScope::EndUser => account.end_user.as_deref().unwrap_or_default(),
        },
    ]
}
