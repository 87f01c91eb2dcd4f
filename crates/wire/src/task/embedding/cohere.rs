//! Cohere's `/v2/embed`. Source: Cohere API reference, "Embed API (v2)".

use faregate_terms::Usage;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{EmbeddingCodec, EmbeddingRequest, Embeddings, Input, as_came, texts};
use crate::dialect::{Losses, Malformed, Route, Target, Unsupported};
use crate::json;
use crate::task::whole;

/// Texts per call. Source: Cohere API reference, `texts`.
const MOST: usize = 96;
/// What texts are for when nobody says. Source: LiteLLM, which takes documents for granted.
const INPUT_TYPE: &str = "search_document";

pub(super) struct Cohere;

impl EmbeddingCodec for Cohere {
    fn route(&self, _target: &Target<'_>) -> Route {
        whole("/v2/embed".to_owned())
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
        let mut body = json!({
            "model": target.model,
            "texts": texts(inputs)?,
            "input_type": input_type(request),
            "embedding_types": ["float"],
        });
        if let Some(dimensions) = request.dimensions {
            body["output_dimension"] = dimensions.into();
        }
        Ok(json::write(&body))
    }

    fn read(&self, _target: &Target<'_>, body: &[u8]) -> Result<Embeddings, Malformed> {
        let answer: Answer<'_> = json::read_borrowed(body).map_err(Malformed)?;
        let told = answer.meta.and_then(|meta| meta.billed_units);
        let units: Units = told.and_then(|told| json::read_str(told.get()).ok()).unwrap_or_default();
        let usage = Usage {
            input: units.input_tokens.unwrap_or_default(),
            raw: told.map(|told| told.get().to_owned().into()).unwrap_or_default(),
            ..Usage::default()
        };
        let vectors = as_came(floats(answer.embeddings)?)?;
        Ok(Embeddings { vectors, usage, id: answer.id.unwrap_or_default() })
    }
}

pub(super) fn input_type(request: &EmbeddingRequest) -> &str {
    request.input_type.as_deref().unwrap_or(INPUT_TYPE)
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<String>,
    #[serde(borrow)]
    embeddings: &'a RawValue,
    #[serde(borrow)]
    meta: Option<Meta<'a>>,
}

/// Vectors by type, or as the older version had them, without one.
pub(super) fn floats(embeddings: &RawValue) -> Result<Vec<&RawValue>, Malformed> {
    #[derive(Deserialize)]
    struct ByType<'a> {
        #[serde(borrow, default)]
        float: Vec<&'a RawValue>,
    }
    let text = embeddings.get().as_bytes();
    if text.first() == Some(&b'{') {
        let by_type: ByType<'_> = json::read_borrowed(text).map_err(Malformed)?;
        return Ok(by_type.float);
    }
    json::read_borrowed(text).map_err(Malformed)
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    billed_units: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Units {
    input_tokens: Option<u64>,
}
