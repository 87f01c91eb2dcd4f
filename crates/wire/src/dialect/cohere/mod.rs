//! Cohere's chat: `POST /v2/chat`.
//!
//! Source: Cohere API reference, "Chat API (v2)" and "Streaming"; the types of the official `cohere` SDK.

mod answer;
mod provider;
mod request;
mod stream;
mod types;

pub use provider::Provider;

#[cfg(test)]
mod tests;
