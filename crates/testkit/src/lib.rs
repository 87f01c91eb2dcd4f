//! The gateway inside a test: on a free port, with a known key, its receipts in view.
//!
//! Start with [`Gateway::start`]; [`config::every_dialect`] makes a configuration that reaches a
//! [`FakeProvider`](faregate_fake_provider::FakeProvider) in each provider dialect. What only a process
//! of its own shows (flags, signals, exit codes) is tested in the `faregate` package.

pub mod client;
pub mod config;
pub mod gateway;
pub mod receipts;

pub use client::{Client, Frame, Reply};
pub use gateway::{Gateway, MASTER_KEY};
pub use receipts::Receipts;
