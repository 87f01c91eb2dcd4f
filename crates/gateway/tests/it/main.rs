//! The data plane over HTTP, in process.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod answers;
mod betas;
mod health;
mod litellm;
mod quirks;
mod tasks;
