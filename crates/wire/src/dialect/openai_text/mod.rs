//! OpenAI text completions: `POST /v1/completions`. Providers without it are asked for a chat.
//!
//! Source: OpenAI API reference, "Completions", and the types of the official SDK; how prompts become messages, from
//! LiteLLM's `text_completion`.

mod client;
mod logprobs;
mod provider;
mod request;
mod stream_out;

pub use client::Client;
pub use provider::Provider;

#[cfg(test)]
mod tests;
