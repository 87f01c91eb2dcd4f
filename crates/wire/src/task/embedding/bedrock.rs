//! Amazon Bedrock's InvokeModel with the bodies of Titan and of Cohere's embedding models.
//!
//! Source: Amazon Bedrock User Guide, "Amazon Titan Embeddings G1 - Text", "Amazon Titan Text Embeddings V2",
//! "Cohere Embed models".

use faregate_terms::Usage;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::cohere::{floats, input_type};
use super::{EmbeddingCodec, EmbeddingRequest, Embeddings, Input, as_came, texts};
use crate::dialect::{Losses, Malformed, Route, Target, Unsupported};
use crate::json;
use crate::task::whole;

/// Texts per call of Cohere's models.
const MOST: usize = 96;

fn invoke(target: &Target<'_>) -> Route {
    whole(format!("/model/{}/invoke", utf8_percent_encode(target.model, NON_ALPHANUMERIC)))
}

/// Titan: one text per call.
pub(super) struct Titan;

impl EmbeddingCodec for Titan {
    fn route(&self, target: &Target<'_>) -> Route {
        invoke(target)
    }

    fn most_inputs(&self, _target: &Target<'_>) -> usize {
        1
    }

    fn body(
        &self,
        request: &EmbeddingRequest,
        inputs: &[Input],
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        let texts = texts(inputs)?;
        let mut body = json!({"inputText": texts.first().copied().unwrap_or_default()});
        if let Some(dimensions) = request.dimensions {
            if target.model.contains("-v2") {
                body["dimensions"] = dimensions.into();
            } else if target.may_modify {
                losses.note("dimensions");
            } else {
                return Err(Unsupported::new(
                    "dimensions",
                    "this model's vectors have one length; leave it out",
                ));
            }
        }
        Ok(json::write(&body))
    }

    fn read(&self, _target: &Target<'_>, body: &[u8]) -> Result<Embeddings, Malformed> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            embedding: &'a RawValue,
            #[serde(rename = "inputTextTokenCount")]
            tokens: Option<u64>,
        }
        let answer: Answer<'_> = json::read_borrowed(body).map_err(Malformed)?;
        let usage = Usage { input: answer.tokens.unwrap_or_default(), ..Usage::default() };
        Ok(Embeddings { vectors: vec![answer.embedding.to_owned()], usage, id: String::new() })
    }
}

/// Cohere's models on Bedrock.
pub(super) struct Cohere;

impl EmbeddingCodec for Cohere {
    fn route(&self, target: &Target<'_>) -> Route {
        invoke(target)
    }

    fn most_inputs(&self, _target: &Target<'_>) -> usize {
        MOST
    }

    fn body(
        &self,
        request: &EmbeddingRequest,
        inputs: &[Input],
        _target: &Target<'_>,
        _losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        let mut body = json!({"texts": texts(inputs)?, "input_type": input_type(request)});
        if let Some(dimensions) = request.dimensions {
            body["output_dimension"] = dimensions.into();
        }
        Ok(json::write(&body))
    }

    fn read(&self, _target: &Target<'_>, body: &[u8]) -> Result<Embeddings, Malformed> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            id: Option<String>,
            #[serde(borrow)]
            embeddings: &'a RawValue,
        }
        let answer: Answer<'_> = json::read_borrowed(body).map_err(Malformed)?;
        // Tokens are told in a header (`x-amzn-bedrock-input-token-count`), which the caller reads.
        let vectors = as_came(floats(answer.embeddings)?)?;
        Ok(Embeddings { vectors, usage: Usage::default(), id: answer.id.unwrap_or_default() })
    }
}
