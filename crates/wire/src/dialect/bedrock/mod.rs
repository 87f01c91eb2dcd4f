//! Bedrock Converse: `POST /model/{id}/converse` and `/converse-stream`.
//!
//! Source: Amazon Bedrock Runtime API reference, `Converse` and `ConverseStream`; the shapes are those of
//! botocore's service model of `bedrock-runtime`.

mod body;
mod citations;
mod client;
mod content;
mod fault;
mod media;
mod provider;
mod request;
mod response;
mod stream;
mod stream_out;
mod turns;
mod types;

#[cfg(test)]
mod tests;

pub use client::Client;
pub(in crate::dialect) use fault::exception;
pub use provider::Provider;

/// The tool that stands in for structured output where a model has no other way; its arguments are the
/// answer.
///
/// Source: LiteLLM uses the same name, so recorded conversations keep their meaning.
const JSON_TOOL: &str = "json_tool_call";
