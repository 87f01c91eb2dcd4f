//! OpenAI responses: `POST /v1/responses`.
//!
//! Source: OpenAI API reference, "Responses" and "Streaming events", and the types of the official SDK.

mod answer;
mod body;
mod client;
mod items;
mod output;
mod provider;
mod request;
mod stream;
mod stream_out;
mod tools;
mod types;

pub use client::Client;
pub use items::input_items;
pub use output::output_items;
pub use provider::Provider;

#[cfg(test)]
mod tests;
