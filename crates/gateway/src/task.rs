//! What a call asks for when it is no chat.

use std::sync::Arc;

use faregate_wire::task::transcription::Upload;

use crate::routes::Operation;

/// A kind of call besides chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Texts → vectors.
    Embedding,
    /// Documents → the same by relevance.
    Rerank,
    /// Speech → text; the audio is no part of the call's own body.
    Transcription(Arc<Upload>),
}

impl Task {
    /// What an operation asks for whose body is JSON; `None` for a chat.
    pub fn of(operation: Operation) -> Option<Self> {
        match operation {
            Operation::Embeddings => Some(Self::Embedding),
            Operation::Rerank => Some(Self::Rerank),
            _ => None,
        }
    }
}

/// True for operations whose answers have tokens of output even where nobody counts them.
pub fn is_generative(operation: Operation) -> bool {
    !matches!(operation, Operation::Embeddings | Operation::Rerank | Operation::Transcriptions)
}
