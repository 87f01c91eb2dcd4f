//! Ollama's `/api/embed`. Source: Ollama API, "Generate Embeddings".

use faregate_terms::Usage;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{EmbeddingCodec, EmbeddingRequest, Embeddings, Input, as_came, texts};
use crate::dialect::{Losses, Malformed, Route, Target, Unsupported};
use crate::json;
use crate::task::whole;

pub(super) struct Ollama;

impl EmbeddingCodec for Ollama {
    fn route(&self, _target: &Target<'_>) -> Route {
        whole("/api/embed".to_owned())
    }

    fn body(
        &self,
        request: &EmbeddingRequest,
        inputs: &[Input],
        target: &Target<'_>,
        _losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        let mut body = json!({"model": target.model, "input": texts(inputs)?});
        if let Some(dimensions) = request.dimensions {
            body["dimensions"] = dimensions.into();
        }
        Ok(json::write(&body))
    }

    fn read(&self, _target: &Target<'_>, body: &[u8]) -> Result<Embeddings, Malformed> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow, default)]
            embeddings: Vec<&'a RawValue>,
            prompt_eval_count: Option<u64>,
        }
        let answer: Answer<'_> = json::read_borrowed(body).map_err(Malformed)?;
        let usage = Usage { input: answer.prompt_eval_count.unwrap_or_default(), ..Usage::default() };
        Ok(Embeddings { vectors: as_came(answer.embeddings)?, usage, id: String::new() })
    }
}
