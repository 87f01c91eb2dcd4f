//! One call that is no chat: embeddings, a ranking, a transcription.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use faregate_catalog::tokens;
use faregate_terms::{Fault, FaultClass, Usage};
use faregate_upstream::Payload;
use faregate_wire::dialect::{BadRequest, Dialect, Edit, Glance, Losses, Malformed, Route, Target};
use faregate_wire::json;
use faregate_wire::task::embedding::{self, EmbeddingCodec, EmbeddingRequest, Embeddings, Input};
use faregate_wire::task::rerank::{self, Ranking, RerankRequest};
use faregate_wire::task::transcription::{self, Upload};

use crate::audio;
use crate::call::Call;
use crate::destination::Destination;
use crate::gate::Table;
use crate::refusal::Refusal;
use crate::stage::admit::Meter;
use crate::stage::mock::failure;
use crate::stage::paths;
use crate::stage::send::{Answer, Exchanged, JSON, Prepared, collect, exchange};
use crate::task::Task;

/// Where Bedrock tells the tokens of an embedding.
const BEDROCK_TOKENS: &str = "x-amzn-bedrock-input-token-count";
/// Members that Cohere's second version no longer knows. Source: Cohere, "Migrating from API v1 to v2".
const COHERE_V1: &[&str] = &["return_documents", "max_chunks_per_doc", "rank_fields"];

/// What all calls of one attempt share.
struct Attempt<'a> {
    table: &'a Table,
    call: &'a Arc<Call>,
    destination: &'a Arc<Destination>,
    left: Option<Duration>,
}

/// Makes the call.
///
/// # Errors
/// The provider's failure, or what keeps this call from being made to it.
pub(super) async fn send(
    table: &Table,
    call: &Arc<Call>,
    task: &Task,
    destination: &Arc<Destination>,
    meter: &mut Meter,
    left: Option<Duration>,
) -> Result<Answer, Refusal> {
    let attempt = Attempt { table, call, destination, left };
    match task {
        Task::Embedding => attempt.embed(meter).await,
        Task::Rerank => attempt.rank(meter).await,
        Task::Transcription(upload) => attempt.transcribe(upload, meter).await,
    }
}

impl Attempt<'_> {
    async fn embed(&self, meter: &mut Meter) -> Result<Answer, Refusal> {
        let target = self.destination.target();
        let codec = embedding::codec(self.destination.dialect, &target)
            .ok_or_else(|| self.not_offered("embeddings"))?;
        if !codec.is_clients_own() {
            return self.embed_in_parts(codec, &target, meter).await;
        }
        let route = codec.route(&target);
        let sent = self.exchange(meter, |without| self.own_body(&route, without)).await?;
        let (body, headers) = self.whole(sent).await?;
        let usage = embedding::glance(&body).map_err(|error| self.unreadable(error))?;
        Ok(Answer::Same { body, headers, glance: Glance { id: String::new(), usage } })
    }

    /// Asks a provider of another format, as often as its limit of inputs makes necessary.
    async fn embed_in_parts(
        &self,
        codec: &dyn EmbeddingCodec,
        target: &Target<'_>,
        meter: &mut Meter,
    ) -> Result<Answer, Refusal> {
        let request = EmbeddingRequest::read(self.call.envelope.body()).map_err(Refusal::Invalid)?;
        let request = in_words(request).await?;
        let mut all = Embeddings::default();
        let mut headers = HeaderMap::new();
        for inputs in request.inputs.chunks(codec.most_inputs(target)) {
            let mut losses = Losses::default();
            let body = codec.body(&request, inputs, target, &mut losses)?;
            let body = Bytes::from(self.without(body, &self.dropped(&[]))?);
            let route = codec.route(target);
            let sent = self
                .exchange(meter, |_| {
                    let body = self.destination.with_extra_body(vec![body.clone()])?;
                    Ok(Prepared::whole(route.clone(), body, JSON, losses.clone()))
                })
                .await?;
            let (body, told) = self.whole(sent).await?;
            let mut part = codec.read(target, &body).map_err(|error| self.unreadable(error))?;
            if part.vectors.len() != inputs.len() {
                let text = format!("{} vectors came for {} inputs", part.vectors.len(), inputs.len());
                return Err(self.unreadable(Malformed(text)));
            }
            if part.usage.input == 0 {
                part.usage.input = counted(&told);
            }
            all.usage.add(&part.usage);
            all.vectors.append(&mut part.vectors);
            all.id = part.id;
            headers = told;
        }
        let body = Bytes::from(all.write(&self.call.model, request.base64));
        Ok(Answer::Made { body, kind: JSON, headers, glance: Glance { id: all.id, usage: all.usage } })
    }

    async fn rank(&self, meter: &mut Meter) -> Result<Answer, Refusal> {
        let (destination, call) = (self.destination, self.call);
        let target = destination.target();
        let route =
            rerank::route(destination.dialect, &target).ok_or_else(|| self.not_offered("reranking"))?;
        let request = RerankRequest::read(call.envelope.body()).map_err(Refusal::Invalid)?;
        let sent = self
            .exchange(meter, |without| match destination.dialect {
                Dialect::Cohere => self.cohere_ranking(&route, &request, without),
                _ => self.own_body(&route, without),
            })
            .await?;
        let (body, headers) = self.whole(sent).await?;
        let ranking = Ranking::read(&body).map_err(|error| self.unreadable(error))?;
        let body = Bytes::from(ranking.write(&request, call.arrival.id.as_str()));
        let glance = Glance { id: ranking.id, usage: ranking.usage };
        Ok(Answer::Made { body, kind: JSON, headers, glance })
    }

    /// Cohere's second version takes texts, and nothing of the first one's.
    fn cohere_ranking(
        &self,
        route: &Route,
        request: &RerankRequest,
        without: &[String],
    ) -> Result<Prepared, Refusal> {
        let text = |document: &Value| match document {
            Value::String(text) => json!(text),
            other => other
                .get("text")
                .filter(|text| text.is_string())
                .cloned()
                .unwrap_or_else(|| json!(other.to_string())),
        };
        let mut body: Map<String, Value> =
            json::read(self.call.envelope.body()).map_err(|_| Refusal::Internal)?;
        COHERE_V1.iter().for_each(|name| drop(body.shift_remove(*name)));
        body.insert("model".to_owned(), json!(self.destination.model));
        body.insert("documents".to_owned(), request.documents.iter().map(text).collect());
        let body = self.without(json::write(&body), &self.dropped(without))?;
        let body = self.destination.with_extra_body(vec![Bytes::from(body)])?;
        Ok(Prepared::whole(route.clone(), body, JSON, Losses::default()))
    }

    async fn transcribe(&self, upload: &Upload, meter: &mut Meter) -> Result<Answer, Refusal> {
        let target = self.destination.target();
        let route = transcription::route(self.destination.dialect, &target)
            .ok_or_else(|| self.not_offered("transcription"))?;
        let sent = self
            .exchange(meter, |without| {
                let dropped: Vec<String> = self.dropped(without).into_iter().map(str::to_owned).collect();
                let (kind, pieces) = upload.write(&self.destination.model, &dropped);
                let kind = HeaderValue::try_from(kind).map_err(|_| Refusal::Internal)?;
                Ok(Prepared::whole(route.clone(), pieces.into(), kind, Losses::default()))
            })
            .await?;
        let (body, headers) = self.whole(sent).await?;
        let kind = headers.get(CONTENT_TYPE).cloned().unwrap_or(JSON);
        let is_json = kind.as_bytes().starts_with(b"application/json");
        let mut usage = match is_json {
            true => transcription::glance(&body).map_err(|error| self.unreadable(error))?,
            false => Usage::default(),
        };
        if usage.is_empty() {
            (usage.audio_ms, usage.estimated) = audio::length(&upload.file).await;
        }
        Ok(Answer::Made { body, kind, headers, glance: Glance { id: String::new(), usage } })
    }

    async fn exchange(
        &self,
        meter: &mut Meter,
        prepare: impl FnMut(&[String]) -> Result<Prepared, Refusal>,
    ) -> Result<Exchanged, Refusal> {
        let Self { table, call, destination, left } = *self;
        exchange(table, call, destination, meter, left, prepare).await
    }

    async fn whole(&self, sent: Exchanged) -> Result<(Bytes, HeaderMap), Refusal> {
        let body = collect(sent.answer.body).await.map_err(|fault| self.failed(fault))?;
        Ok((body, sent.answer.headers))
    }

    /// The client's body with this deployment's model, renamed members and nothing that is to be left out.
    fn own_body(&self, route: &Route, without: &[String]) -> Result<Prepared, Refusal> {
        let (envelope, destination) = (&self.call.envelope, self.destination);
        let dropped = self.dropped(without);
        let is_renamed = destination.quirks.rename.iter().any(|(ours, _)| envelope.has(ours));
        let has_dropped = dropped.iter().any(|name| paths::is_path(name) || envelope.has(name));
        let body = if is_renamed || has_dropped {
            let mut members: Map<String, Value> =
                json::read(envelope.body()).map_err(|_| Refusal::Internal)?;
            for (ours, theirs) in &destination.quirks.rename {
                if let Some(value) = members.shift_remove(ours) {
                    members.insert(theirs.clone(), value);
                }
            }
            members.insert("model".to_owned(), json!(destination.model));
            vec![Bytes::from(self.without(json::write(&members), &dropped)?)]
        } else {
            envelope.spliced(&[Edit::Set("model", json::write(&destination.model))])
        };
        let body: Payload = destination.with_extra_body(body)?;
        Ok(Prepared::whole(route.clone(), body, JSON, Losses::default()))
    }

    /// Members to leave out: configured, asked for, and refused before.
    fn dropped<'d>(&'d self, without: &'d [String]) -> Vec<&'d str> {
        let configured = self.destination.params.additional_drop.iter();
        let asked = self.call.options.additional_drop_params.iter();
        configured.chain(asked).chain(without).map(String::as_str).collect()
    }

    fn without(&self, body: Vec<u8>, names: &[&str]) -> Result<Vec<u8>, Refusal> {
        if names.is_empty() {
            return Ok(body);
        }
        let mut value: Value = json::read(&body).map_err(|_| Refusal::Internal)?;
        paths::remove(&mut value, names);
        Ok(json::write(&value))
    }

    fn not_offered(&self, what: &str) -> Refusal {
        Refusal::NotImplemented(format!(
            "{what} of provider `{}` with the model `{}` is not supported; see docs/providers.md",
            self.destination.provider.name, self.destination.model
        ))
    }

    fn unreadable(&self, malformed: Malformed) -> Refusal {
        self.failed(Fault::new(FaultClass::BadGateway, malformed.to_string()))
    }

    fn failed(&self, fault: Fault) -> Refusal {
        Refusal::upstream(fault, self.destination.provider.name)
    }
}

/// The request with texts in place of tokens, which only OpenAI's models understand. Source: compat, endpoints §1.1.
async fn in_words(mut request: EmbeddingRequest) -> Result<EmbeddingRequest, Refusal> {
    if request.inputs.iter().all(|input| matches!(input, Input::Text(_))) {
        return Ok(request);
    }
    // A vocabulary may have to be unpacked.
    let read = tokio::task::spawn_blocking(move || {
        for (index, input) in request.inputs.iter_mut().enumerate() {
            let Input::Tokens(ids) = input else { continue };
            let Some(text) = tokens::text(ids) else {
                let text = "these are no tokens of OpenAI's embedding models; send the text";
                return Err(BadRequest::new(format!("input[{index}]"), text));
            };
            *input = Input::Text(text);
        }
        Ok(request)
    });
    read.await.map_err(|_| Refusal::Internal)?.map_err(Refusal::Invalid)
}

fn counted(headers: &HeaderMap) -> u64 {
    let told = headers.get(BEDROCK_TOKENS).and_then(|value| value.to_str().ok());
    told.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// What `mock_response` stands for. Source: LiteLLM, `mock_embedding`.
///
/// # Errors
/// The failure that is mocked; 400 for what such a call cannot answer.
pub(super) fn mocked(call: &Call, task: &Task, value: &Value) -> Result<Answer, Fault> {
    if let Some(fault) = value.as_str().and_then(failure) {
        return Err(fault);
    }
    let body = match (task, value) {
        (Task::Embedding, Value::Array(numbers)) if numbers.iter().all(Value::is_number) => {
            let invalid =
                |error: faregate_wire::dialect::BadRequest| Fault::new(FaultClass::BadRequest, error.message);
            let request = EmbeddingRequest::read(call.envelope.body()).map_err(invalid)?;
            let numbers: Vec<f64> = numbers.iter().filter_map(Value::as_f64).collect();
            let vectors = request.inputs.iter().map(|_| embedding::raw(&numbers)).collect();
            Embeddings { vectors, ..Embeddings::default() }.write(&call.model, request.base64)
        }
        (Task::Transcription(_), Value::String(text)) => json::write(&json!({"text": text})),
        _ => {
            let text = "mock_response must be a list of numbers for an embedding, a text for a transcription";
            return Err(Fault::new(FaultClass::BadRequest, text));
        }
    };
    Ok(Answer::Made { body: body.into(), kind: JSON, headers: HeaderMap::new(), glance: Glance::default() })
}
