//! What models do besides chat: embeddings, reranking, transcription.
//!
//! Each kind has a small canonical form of request and answer, and one codec per provider's format. Clients speak
//! OpenAI's shape, for reranking Cohere's; a provider that takes the same shape is sent the client's own bytes.

pub mod embedding;
pub mod rerank;
pub mod transcription;

use crate::dialect::{Framing, Route, Target, openai_chat};

/// `{base}/{what}` as OpenAI's services spell it, Azure's included; the whole answer is one document.
pub fn openai_route(target: &Target<'_>, what: &str) -> Route {
    whole(openai_chat::place(target, what))
}

fn whole(path: String) -> Route {
    Route { path, headers: Vec::new(), framing: Framing::Whole }
}
