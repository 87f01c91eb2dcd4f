//! The Gemini API's `batchEmbedContents`. Source: Gemini API reference, "Embeddings".

use faregate_terms::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{EmbeddingCodec, EmbeddingRequest, Embeddings, Input, as_came, texts};
use crate::dialect::{Losses, Malformed, Route, Target, Unsupported, gemini};
use crate::json;
use crate::task::whole;

/// Requests per batch. Source: Gemini API reference, `batchEmbedContents`.
const MOST: usize = 100;

pub(super) struct Gemini;

impl EmbeddingCodec for Gemini {
    fn route(&self, target: &Target<'_>) -> Route {
        whole(gemini::path(target, "batchEmbedContents"))
    }

    fn most_inputs(&self, _target: &Target<'_>) -> usize {
        MOST
    }

    fn body(
        &self,
        request: &EmbeddingRequest,
        inputs: &[Input],
        target: &Target<'_>,
        _losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        let model = target.model.strip_prefix("models/").unwrap_or(target.model);
        let one = |text: &str| {
            let mut one = json!({"model": format!("models/{model}"), "content": {"parts": [{"text": text}]}});
            if let Some(kind) = task_type(request) {
                one["taskType"] = kind.into();
            }
            if let Some(dimensions) = request.dimensions {
                one["outputDimensionality"] = dimensions.into();
            }
            one
        };
        let requests: Vec<Value> = texts(inputs)?.into_iter().map(one).collect();
        Ok(json::write(&json!({"requests": requests})))
    }

    fn read(&self, _target: &Target<'_>, body: &[u8]) -> Result<Embeddings, Malformed> {
        let answer: Answer<'_> = json::read_borrowed(body).map_err(Malformed)?;
        let told = answer.usage;
        let figures: Figures = told.and_then(|told| json::read_str(told.get()).ok()).unwrap_or_default();
        let usage = Usage {
            input: figures.prompt_token_count.unwrap_or_default(),
            raw: told.map(|told| told.get().to_owned().into()).unwrap_or_default(),
            ..Usage::default()
        };
        let vectors = as_came(answer.embeddings.into_iter().map(|row| row.values).collect())?;
        Ok(Embeddings { vectors, usage, id: String::new() })
    }
}

/// Cohere's word for what texts are for, in Google's; Google's own go through.
pub(super) fn task_type(request: &EmbeddingRequest) -> Option<String> {
    let kind = request.input_type.as_deref()?;
    Some(match kind {
        "search_query" | "query" => "RETRIEVAL_QUERY".to_owned(),
        "search_document" | "document" | "passage" => "RETRIEVAL_DOCUMENT".to_owned(),
        "classification" => "CLASSIFICATION".to_owned(),
        "clustering" => "CLUSTERING".to_owned(),
        own => own.to_ascii_uppercase(),
    })
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    embeddings: Vec<Row<'a>>,
    #[serde(borrow, rename = "usageMetadata")]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Figures {
    prompt_token_count: Option<u64>,
}
