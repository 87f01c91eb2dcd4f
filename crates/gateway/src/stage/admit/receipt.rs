//! What happened to a request, as the record it is booked by.

use std::time::Duration;

use faregate_terms::{CallId, LogFacts, PicoUsd, Receipt, UtcMillis, WallTimes};

use super::Meter;
use crate::health::Kinship;
use crate::routes::Operation;
use crate::stage::cut::over_all_calls;

impl Meter {
    /// The finished record.
    pub fn receipt(&mut self, ended: UtcMillis) -> Receipt {
        let cost = self.price();
        let raw_usage = self.usage.raw.0.take().map(String::from);
        let started = self.started;
        let after =
            |since: Duration| started.plus_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let destination = self.destination.as_deref();
        let looked = self.looked.take();
        let hit = looked.as_ref().and_then(|looked| looked.hit.as_ref());
        let kept = self.kinship.map(|kinship| (kinship, self.saved_by_prompt_cache()));
        let metadata = metadata(self.cut, hit.and_then(|facts| facts.cost), kept, self.copy_of.as_ref());
        let (usage, ttft) = over_all_calls(&self.cuts, std::mem::take(&mut self.usage), self.ttft);
        // What is passed through names no model; LiteLLM says so in its place.
        let no_model = self.target.as_ref().map(|_| self.requested_model.clone());
        let said = self.transcript.take().map(|transcript| transcript.texts()).unwrap_or_default();
        Receipt {
            call_id: self.arrival.id.clone(),
            receipt_id: self.arrival.own_id.clone(),
            route: self.arrival.found.name(),
            requested_model: std::mem::take(&mut self.requested_model),
            model_group: self.group.take(),
            deployment: destination
                .map(|d| d.deployment.clone())
                .or_else(|| hit?.deployment.as_deref().map(Into::into)),
            provider: destination
                .map(|d| d.provider.name.into())
                .or_else(|| hit?.provider.as_deref().map(Into::into)),
            upstream_model: destination.map(|d| d.model.clone()).or_else(|| hit?.model.clone()).or(no_model),
            upstream_id: self.upstream_id.take(),
            status: self.status,
            ending: self.ending,
            cost,
            usage,
            duration: self.arrival.at.elapsed(),
            ttft,
            upstream_time: self.upstream_time,
            attempts: std::mem::take(&mut self.attempts),
            losses: std::mem::take(&mut self.losses),
            stream: self.stream,
            account: std::mem::take(&mut self.account),
            wall: WallTimes { started, ended, first_token: ttft.map(after) },
            log: LogFacts {
                call_type: call_type(self.arrival.found.operation).to_owned(),
                api_base: destination
                    .map(|d| d.base.clone())
                    .or_else(|| self.target.take().map(String::from)),
                cache_hit: looked.as_ref().filter(|looked| looked.asked).map(|looked| looked.hit.is_some()),
                cache_key: looked.map(|looked| looked.key),
                metadata,
                raw_usage,
                price_version: destination.and_then(|d| d.price_version.as_deref()).map(str::to_owned),
                discarded_cost: self.discarded_cost,
                error: self.error.take(),
                messages: said.messages,
                response: said.response,
                client_request: said.request,
                ..LogFacts::default()
            },
        }
    }
}

/// Further members of a log row's metadata.
fn metadata(
    cut: bool,
    saved: Option<PicoUsd>,
    kept: Option<(Kinship, Option<PicoUsd>)>,
    copy_of: Option<&CallId>,
) -> Option<String> {
    let cut = cut.then(|| r#""faregate_budget_cut":true"#.to_owned());
    // As LiteLLM's logging payload names it.
    let saved = saved.map(|saved| format!(r#""saved_cache_cost":{saved}"#));
    let kept = kept.map(|(kinship, saved)| {
        let saved = saved.map_or_else(|| "null".to_owned(), |saved| saved.to_string());
        format!(r#""faregate_affinity":{{"check":"{}","prompt_cache_saved":{saved}}}"#, kinship.word())
    });
    // LiteLLM's name of such copies.
    let copy_of = copy_of.map(|id| {
        format!(r#""is_silent_experiment":true,"faregate_copy_of":{}"#, serde_json::Value::from(id.as_str()))
    });
    let members: Vec<String> = [cut, saved, kept, copy_of].into_iter().flatten().collect();
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}

/// LiteLLM's name of an operation in spend logs. Source: compat, database, `call_type`.
fn call_type(operation: Operation) -> &'static str {
    match operation {
        Operation::TextCompletions => "atext_completion",
        Operation::Responses => "aresponses",
        Operation::Messages => "anthropic_messages",
        Operation::Gemini => "agenerate_content",
        Operation::Converse | Operation::ConverseStream | Operation::Invoke | Operation::InvokeStream => {
            "allm_passthrough_route"
        }
        Operation::Embeddings => "aembedding",
        Operation::Rerank => "arerank",
        Operation::Transcriptions => "atranscription",
        Operation::PassThrough => "pass_through_endpoint",
        _ => "acompletion",
    }
}
