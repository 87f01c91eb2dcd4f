//! Gemini's `generateContent`, of the Gemini API and of Vertex AI.
//!
//! Source: Gemini API reference, "Generating content", "Thought signatures" and "Gemini thinking"; Vertex
//! AI reference, "Generate content with the Gemini API"; the types of the official `google-genai` SDK.

mod answer;
mod body;
mod client;
mod contents;
mod count;
mod fault;
mod members;
mod provider;
mod request;
mod schema;
mod state;
mod stream;
mod stream_out;
mod thinking;
mod time;
mod turns;
mod types;

pub use client::Client;
pub use count::{
    count_tokens_answer, count_tokens_request, count_tokens_route, decode_count_tokens, encode_count_tokens,
};
pub use provider::Provider;

pub(crate) use provider::path;

pub(in crate::dialect) use fault::{delay, retry_after};
pub(in crate::dialect) use time::seconds;

#[cfg(test)]
mod tests;
