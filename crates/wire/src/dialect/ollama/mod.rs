//! Ollama's native chat: `POST /api/chat`, answers as one JSON document per line.
//!
//! Source: Ollama, "API" (docs/api.md); the types of the official `ollama` SDK.

mod answer;
mod provider;
mod request;

pub use provider::Provider;

#[cfg(test)]
mod tests;
