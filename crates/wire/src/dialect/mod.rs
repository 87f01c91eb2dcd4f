//! One codec per wire format, and the two sides a format can play.
//!
//! A dialect knows a wire format and nothing else: no clock, no network, no settings. N formats cost N
//! codecs, because both sides meet in [`crate::chat`]. To add one: a folder here, a line in
//! [`Dialect`], a row in the catalog.

mod blocks;
mod client;
mod media;
mod members;
mod provider;
mod render;
mod results;
mod target;
mod told;

pub mod anthropic;
pub mod bedrock;
pub mod cohere;
pub mod gemini;
pub mod ollama;
pub mod openai_chat;
pub mod openai_responses;
pub mod openai_text;
pub mod replicate;

pub use client::{BadRequest, ClientCall, ClientDialect, ErrorNote, Reply, StreamEncoder};
pub use provider::{
    Edit, Features, FollowUp, Framing, Glance, Head, Malformed, ProviderDialect, Route, StreamDecoder,
    StreamEnd, Unsupported,
};
pub use target::{Abilities, Flavor, Losses, Quirks, Target};

/// Every wire format there is code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `POST /v1/chat/completions`; also Azure OpenAI and every compatible provider.
    OpenAiChat,
    /// `POST /v1/responses`.
    OpenAiResponses,
    /// `POST /v1/completions`.
    OpenAiText,
    /// `POST /v1/messages`; also on Vertex and Bedrock InvokeModel.
    Anthropic,
    /// `POST /v1beta/models/{model}:generateContent`; also on Vertex.
    Gemini,
    /// `POST /model/{id}/converse`.
    Bedrock,
    /// `POST /v2/chat`.
    Cohere,
    /// `POST /api/chat`.
    Ollama,
    /// `POST /v1/models/{owner}/{name}/predictions`.
    Replicate,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 9] = [
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::OpenAiText,
        Self::Anthropic,
        Self::Gemini,
        Self::Bedrock,
        Self::Cohere,
        Self::Ollama,
        Self::Replicate,
    ];

    /// The name used in logs, docs and tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::OpenAiResponses => "openai_responses",
            Self::OpenAiText => "openai_text",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
            Self::Ollama => "ollama",
            Self::Replicate => "replicate",
        }
    }

    /// The codec for clients that speak this format, if there is one.
    pub fn client(self) -> Option<&'static dyn ClientDialect> {
        match self {
            Self::OpenAiChat => Some(&openai_chat::Client),
            Self::OpenAiResponses => Some(&openai_responses::Client),
            Self::OpenAiText => Some(&openai_text::Client),
            Self::Anthropic => Some(&anthropic::Client),
            Self::Gemini => Some(&gemini::Client),
            Self::Bedrock => Some(&bedrock::Client),
            _ => None,
        }
    }

    /// The codec for providers that speak this format, if there is one.
    pub fn provider(self) -> Option<&'static dyn ProviderDialect> {
        match self {
            Self::OpenAiChat => Some(&openai_chat::Provider),
            Self::OpenAiResponses => Some(&openai_responses::Provider),
            Self::OpenAiText => Some(&openai_text::Provider),
            Self::Anthropic => Some(&anthropic::Provider),
            Self::Gemini => Some(&gemini::Provider),
            Self::Bedrock => Some(&bedrock::Provider),
            Self::Cohere => Some(&cohere::Provider),
            Self::Ollama => Some(&ollama::Provider),
            Self::Replicate => Some(&replicate::Provider),
        }
    }
}
