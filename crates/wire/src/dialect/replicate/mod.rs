//! Replicate's predictions: `POST /v1/models/{owner}/{name}/predictions`.
//!
//! Source: Replicate, "HTTP API" and "Streaming output".

mod answer;
mod provider;
mod request;

pub use provider::Provider;

#[cfg(test)]
mod tests;
