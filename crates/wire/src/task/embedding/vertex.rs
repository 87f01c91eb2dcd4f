//! Vertex AI's `predict` of text embedding models. Source: Vertex AI, "Text embeddings API".

use faregate_terms::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{EmbeddingCodec, EmbeddingRequest, Embeddings, Input, as_came, gemini, texts};
use crate::dialect::{Losses, Malformed, Route, Target, Unsupported, gemini as dialect};
use crate::json;
use crate::task::whole;

/// Texts per call; Gemini's embedding models take one. Source: Vertex AI, "Text embeddings API", limits.
const MOST: usize = 250;

pub(super) struct Vertex;

impl EmbeddingCodec for Vertex {
    fn route(&self, target: &Target<'_>) -> Route {
        whole(dialect::path(target, "predict"))
    }

    fn most_inputs(&self, target: &Target<'_>) -> usize {
        if target.model.starts_with("gemini-embedding") { 1 } else { MOST }
    }

    fn body(
        &self,
        request: &EmbeddingRequest,
        inputs: &[Input],
        _target: &Target<'_>,
        _losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        let kind = gemini::task_type(request);
        let one = |text: &str| {
            let mut one = json!({"content": text});
            if let Some(kind) = &kind {
                one["task_type"] = kind.as_str().into();
            }
            one
        };
        let instances: Vec<Value> = texts(inputs)?.into_iter().map(one).collect();
        let mut body = json!({"instances": instances});
        if let Some(dimensions) = request.dimensions {
            body["parameters"] = json!({"outputDimensionality": dimensions});
        }
        Ok(json::write(&body))
    }

    fn read(&self, _target: &Target<'_>, body: &[u8]) -> Result<Embeddings, Malformed> {
        let answer: Answer<'_> = json::read_borrowed(body).map_err(Malformed)?;
        let rows = answer.predictions;
        let counts = rows.iter().filter_map(|row| row.embeddings.statistics.as_ref()?.token_count);
        // Counts are whole numbers that the service writes with a fraction, e.g. `6.0`.
        let input = counts.filter(|count| count.is_finite() && *count >= 0.0).map(|count| count as u64).sum();
        let vectors = as_came(rows.into_iter().map(|row| row.embeddings.values).collect())?;
        Ok(Embeddings { vectors, usage: Usage { input, ..Usage::default() }, id: String::new() })
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    predictions: Vec<Prediction<'a>>,
}

#[derive(Deserialize)]
struct Prediction<'a> {
    #[serde(borrow)]
    embeddings: Values<'a>,
}

#[derive(Deserialize)]
struct Values<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
    statistics: Option<Statistics>,
}

#[derive(Deserialize)]
struct Statistics {
    token_count: Option<f64>,
}
