//! What providers serve besides chat, in their wire formats: embeddings, rankings, transcriptions.
//!
//! Vectors are made from a text's words, so that texts of the same words are near each other; rankings go by shared
//! words, transcriptions name the file. Source of each format: see the function that writes it.

mod form;
mod vector;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::dialect::bedrock::Invoke;
use crate::dialect::cohere::Cohere;
use crate::dialect::gemini::Gemini;
use crate::dialect::ollama::Ollama;
use crate::dialect::openai_chat::OpenAiChat;
use crate::dialect::{Dialect, Head, serial};
use crate::failure::Failure;
use crate::fault::FakeBody;
use crate::log::Tracked;
use crate::scenario::Scenario;
use crate::server::refused;

use form::Form;

/// A kind of call, in one provider's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenAiEmbeddings,
    CohereEmbed,
    GeminiBatch,
    VertexPredict,
    Titan,
    BedrockCohere,
    OllamaEmbed,
    /// Jina's and others', at any base; Cohere's at `/v2/rerank`.
    Rerank {
        is_cohere: bool,
    },
    Transcription,
}

/// What is answered.
struct Done {
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Done {
    fn json(body: &Value) -> Self {
        Self { kind: "application/json", headers: Vec::new(), body: body.to_string().into_bytes() }
    }
}

impl Kind {
    /// Whose credential and errors these are.
    fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::OpenAiEmbeddings | Self::Transcription | Self::Rerank { is_cohere: false } => &OpenAiChat,
            Self::CohereEmbed | Self::Rerank { is_cohere: true } => &Cohere,
            Self::GeminiBatch | Self::VertexPredict => &Gemini,
            Self::Titan | Self::BedrockCohere => &Invoke::Bedrock,
            Self::OllamaEmbed => &Ollama,
        }
    }
}

/// Answers one such call.
pub(crate) async fn serve(
    kind: Kind,
    head: &Head<'_>,
    scripted: Option<Scenario>,
    tracked: Option<Tracked>,
) -> Response<FakeBody> {
    let dialect = kind.dialect();
    match work(kind, head, scripted).await {
        Ok(done) => {
            let mut response = Response::new(FakeBody::whole(Bytes::from(done.body), tracked));
            *response.status_mut() = StatusCode::OK;
            let headers = response.headers_mut();
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(done.kind));
            for (name, value) in done.headers {
                if let Ok(value) = HeaderValue::try_from(value) {
                    headers.insert(name, value);
                }
            }
            response
        }
        Err(failure) => refused(dialect.refuse(head, &failure), tracked),
    }
}

async fn work(kind: Kind, head: &Head<'_>, scripted: Option<Scenario>) -> Result<Done, Failure> {
    kind.dialect().authorize(head)?;
    let form = if kind == Kind::Transcription { Some(Form::read(head)?) } else { None };
    let body = match &form {
        Some(form) => form.members(),
        None => serde_json::from_slice(head.body).map_err(|_| Failure::invalid("the body is no JSON"))?,
    };
    let model = body.get("model").and_then(Value::as_str).or(head.model).unwrap_or_default();
    let scenario = scripted.or_else(|| Scenario::of_model(model)).unwrap_or_default();
    if !scenario.faults.first_byte.is_zero() {
        tokio::time::sleep(scenario.faults.first_byte).await;
    }
    if scenario.faults.never_answers(false) {
        std::future::pending::<()>().await;
    }
    if let Some(failure) = scenario.failure {
        return Err(failure);
    }
    match (kind, &form) {
        (Kind::Transcription, Some(form)) => Ok(transcription(form, model)),
        (Kind::Rerank { is_cohere }, _) => rerank(&body, is_cohere).map(|answer| Done::json(&answer)),
        _ => embed(kind, head, &body),
    }
}

fn embed(kind: Kind, head: &Head<'_>, body: &Value) -> Result<Done, Failure> {
    let texts = |list: &Value| -> Result<Vec<String>, Failure> {
        let items = list.as_array().filter(|items| !items.is_empty());
        let items = items.ok_or_else(|| Failure::invalid("the list of texts is missing or empty"))?;
        let text = |item: &Value| item.as_str().map(str::to_owned);
        items.iter().map(|item| text(item).ok_or_else(|| Failure::invalid("a text is no string"))).collect()
    };
    let length = |value: &Value| value.as_u64().and_then(|length| usize::try_from(length).ok());
    Ok(match kind {
        Kind::OpenAiEmbeddings => Done::json(&openai(body)?),
        // Source: Cohere API reference, "Embed API (v2)": all four are required but the dimension.
        Kind::CohereEmbed => {
            let texts = texts(&body["texts"])?;
            if !body["input_type"].is_string()
                || !body["embedding_types"].is_array()
                || !body["model"].is_string()
            {
                return Err(Failure::invalid("model, input_type and embedding_types are required"));
            }
            let vectors = vector::of_texts(&texts, length(&body["output_dimension"]));
            Done::json(&json!({
                "id": format!("embed-fake-{:x}", serial()), "texts": texts,
                "embeddings": {"float": vectors}, "response_type": "embeddings_by_type",
                "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": vector::tokens(&texts)}},
            }))
        }
        // Source: Gemini API reference, `models.batchEmbedContents`.
        Kind::GeminiBatch => {
            let requests =
                body["requests"].as_array().ok_or_else(|| Failure::invalid("requests is required"))?;
            let rows: Result<Vec<Value>, Failure> = requests
                .iter()
                .map(|request| {
                    let named = request["model"].as_str().is_some_and(|name| name.starts_with("models/"));
                    let text = request["content"]["parts"][0]["text"].as_str().filter(|_| named);
                    let text =
                        text.ok_or_else(|| Failure::invalid("each request needs model and content.parts"))?;
                    Ok(json!({"values": vector::of_text(text, length(&request["outputDimensionality"]))}))
                })
                .collect();
            Done::json(&json!({"embeddings": rows?}))
        }
        // Source: Vertex AI, "Text embeddings API".
        Kind::VertexPredict => {
            let instances =
                body["instances"].as_array().ok_or_else(|| Failure::invalid("instances is required"))?;
            let dimensions = length(&body["parameters"]["outputDimensionality"]);
            let rows: Result<Vec<Value>, Failure> = instances
                .iter()
                .map(|instance| {
                    let text = instance["content"].as_str();
                    let text = text.ok_or_else(|| Failure::invalid("an instance needs content"))?.to_owned();
                    let count = vector::tokens(std::slice::from_ref(&text)) as f64;
                    Ok(json!({"embeddings": {"values": vector::of_text(&text, dimensions),
                                             "statistics": {"truncated": false, "token_count": count}}}))
                })
                .collect();
            Done::json(&json!({"predictions": rows?, "metadata": {"billableCharacterCount": 1}}))
        }
        // Source: Amazon Bedrock User Guide, "Amazon Titan Text Embeddings".
        Kind::Titan => {
            let text = body["inputText"].as_str().ok_or_else(|| Failure::invalid("inputText is required"))?;
            let count = vector::tokens(&[text.to_owned()]);
            Done::json(
                &json!({"embedding": vector::of_text(text, length(&body["dimensions"])), "inputTextTokenCount": count}),
            )
        }
        // Source: Amazon Bedrock User Guide, "Cohere Embed models"; tokens are in a header.
        Kind::BedrockCohere => {
            let texts = texts(&body["texts"])?;
            if !body["input_type"].is_string() {
                return Err(Failure::invalid("input_type is required"));
            }
            let vectors = vector::of_texts(&texts, length(&body["output_dimension"]));
            let count = vector::tokens(&texts).to_string();
            let answer = json!({"id": "fake", "response_type": "embeddings_floats", "embeddings": vectors, "texts": texts});
            Done { headers: vec![("x-amzn-bedrock-input-token-count", count)], ..Done::json(&answer) }
        }
        // Source: Ollama API, "Generate Embeddings".
        Kind::OllamaEmbed => {
            let texts = match &body["input"] {
                Value::String(text) => vec![text.clone()],
                list => texts(list)?,
            };
            Done::json(&json!({
                "model": body["model"], "embeddings": vector::of_texts(&texts, length(&body["dimensions"])),
                "total_duration": 1, "load_duration": 1, "prompt_eval_count": vector::tokens(&texts),
            }))
        }
        Kind::Rerank { .. } | Kind::Transcription => {
            return Err(Failure::invalid(format!("{} is no embedding", head.path)));
        }
    })
}

/// Source: OpenAI API reference, "Create embeddings".
fn openai(body: &Value) -> Result<Value, Failure> {
    let texts: Vec<String> = match &body["input"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) if items.is_empty() => {
            return Err(Failure::invalid_param("input", "input is empty"));
        }
        Value::Array(items) if items.iter().all(Value::is_u64) => vec![body["input"].to_string()],
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        _ => return Err(Failure::invalid_param("input", "'$.input' is invalid")),
    };
    // Voyage has a name of its own for it.
    let dimensions = body["dimensions"]
        .as_u64()
        .or(body["output_dimension"].as_u64())
        .and_then(|length| usize::try_from(length).ok());
    let is_packed = match body["encoding_format"].as_str() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Failure::invalid_param("encoding_format", "must be float or base64")),
    };
    let rows: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = vector::of_text(text, dimensions);
            let vector = if is_packed { vector::packed(&vector).into() } else { json!(vector) };
            json!({"object": "embedding", "index": index, "embedding": vector})
        })
        .collect();
    let tokens = vector::tokens(&texts);
    Ok(json!({"object": "list", "data": rows, "model": body["model"],
              "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}))
}

/// Source: Cohere API reference, "Rerank (v2)"; Jina's answers tell tokens and documents.
fn rerank(body: &Value, is_cohere: bool) -> Result<Value, Failure> {
    let query = body["query"].as_str().ok_or_else(|| Failure::invalid("query is required"))?;
    let documents = body["documents"].as_array().filter(|list| !list.is_empty());
    let documents = documents.ok_or_else(|| Failure::invalid("documents is required"))?;
    if is_cohere && (body.get("return_documents").is_some() || documents.iter().any(|it| !it.is_string())) {
        return Err(Failure::invalid("invalid request: v2 takes texts and knows no return_documents"));
    }
    let text = |document: &Value| match document {
        Value::String(text) => text.clone(),
        other => other["text"].as_str().unwrap_or_default().to_owned(),
    };
    let mut scored: Vec<(usize, f64)> = documents
        .iter()
        .enumerate()
        .map(|(index, document)| (index, vector::overlap(query, &text(document))))
        .collect();
    scored.sort_by(|one, other| other.1.total_cmp(&one.1));
    let most = body["top_n"].as_u64().or(body["top_k"].as_u64()).and_then(|most| usize::try_from(most).ok());
    scored.truncate(most.unwrap_or(usize::MAX));
    let rows: Vec<Value> = scored
        .into_iter()
        .map(|(index, score)| {
            let mut row = json!({"index": index, "relevance_score": score});
            if !is_cohere && body["return_documents"] == true {
                row["document"] = json!({"text": text(&documents[index])});
            }
            row
        })
        .collect();
    let id = format!("rerank-fake-{:x}", serial());
    if is_cohere {
        return Ok(json!({"id": id, "results": rows,
                         "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}}));
    }
    let mut texts: Vec<String> = documents.iter().map(text).collect();
    texts.push(query.to_owned());
    Ok(json!({"model": body["model"], "results": rows, "usage": {"total_tokens": vector::tokens(&texts)}}))
}

/// Source: OpenAI API reference, "Create transcription".
fn transcription(form: &Form<'_>, model: &str) -> Done {
    let text = format!("{} holds {} bytes of speech.", form.name(), form.file().len());
    let seconds = 2;
    let usage = if model.contains("whisper") {
        json!({"type": "duration", "seconds": seconds})
    } else {
        json!({"type": "tokens", "input_tokens": 20, "input_token_details": {"text_tokens": 0, "audio_tokens": 20},
               "output_tokens": 8, "total_tokens": 28})
    };
    match form.field("response_format") {
        Some("text") => {
            Done { kind: "text/plain; charset=utf-8", headers: Vec::new(), body: (text + "\n").into() }
        }
        Some("srt") => {
            let body = format!("1\n00:00:00,000 --> 00:00:02,000\n{text}\n\n");
            Done { kind: "text/plain; charset=utf-8", headers: Vec::new(), body: body.into() }
        }
        Some("verbose_json") => Done::json(&json!({
            "task": "transcribe", "language": form.field("language").unwrap_or("english"), "duration": 2.0,
            "text": text, "segments": [], "usage": usage,
        })),
        _ => Done::json(&json!({"text": text, "usage": usage})),
    }
}
