//! The crate from outside.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod alone;
mod cache;
mod connection;
mod model;
mod nearest;
mod replicas;
mod replicas_model;
mod sharing;
mod support;
