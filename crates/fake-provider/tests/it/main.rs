//! The fake provider over a real socket, dialect by dialect.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod bedrock;
mod client;
mod control;
mod dialects;
mod faults;
mod strict;
mod tokens;
