//! Anthropic Messages: `POST /v1/messages`, also as served by Vertex AI and Bedrock InvokeModel.
//!
//! Source: Anthropic Messages API reference and the types of the official SDK.

mod beta_table;
pub(in crate::dialect) mod betas;
mod body;
mod citations;
mod client;
mod content;
mod fault;
mod invoke;
mod provider;
mod request;
mod response;
mod stream;
mod stream_out;
#[cfg(test)]
mod tests;
pub(in crate::dialect) mod thinking;
mod turns;
mod types;

pub use client::Client;
pub use invoke::InvokeClient;
pub use provider::Provider;

/// The tool that stands in for structured output where a model has no other way; its arguments are the
/// answer.
///
/// Source: LiteLLM uses the same name, so recorded conversations keep their meaning.
const JSON_TOOL: &str = "json_tool_call";
