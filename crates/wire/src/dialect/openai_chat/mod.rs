//! OpenAI chat completions: `POST /v1/chat/completions`, and everything compatible with it.
//!
//! Source: OpenAI API reference, "Chat Completions", and the types of the official SDK; what compatible
//! providers add, from their own references.

mod answer;
mod body;
mod client;
mod content;
mod fault;
mod provider;
mod request;
mod schema;
mod stream;
mod stream_out;
mod tools;
mod turns;
mod types;

pub use client::Client;
pub use provider::Provider;

pub(crate) use provider::place;

pub(in crate::dialect) use client::error_value;
pub(in crate::dialect) use fault::{fault, fault_of};
pub(in crate::dialect) use request::read as read_request;
pub(in crate::dialect) use types::{UsageOut, finish_word};

/// The tool that stands in for structured output where a provider has no other way; its arguments are the
/// answer.
///
/// Source: LiteLLM uses the same name, so recorded conversations keep their meaning.
const JSON_TOOL: &str = "json_tool_call";

#[cfg(test)]
mod tests;
