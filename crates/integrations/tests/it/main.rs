//! Places for answers that are asked over HTTP, each against a server that speaks its documented wire form.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod bucket;
mod qdrant;
mod server;
