//! The words of the field as types: money, usage, ids, secrets, faults, receipts.
//!
//! A leaf: plain values only. No I/O, no async, no clock, no wire format. Every other crate speaks in
//! these types. Start with [`PicoUsd`], [`Usage`] and [`Fault`]; a finished request is a [`Receipt`].

mod account;
mod fault;
mod id;
mod money;
mod receipt;
mod secret;
mod time;
mod usage;

pub use account::{Account, ErrorNote, LogFacts, WallTimes};
pub use fault::{Fault, FaultClass};
pub use id::{BadKeyHash, CallId, DeploymentId, KeyHash, ModelGroup, ProviderName};
pub use money::{BadAmount, DecimalText, PicoUsd, Price};
pub use receipt::{AttemptNote, Discarded, Ending, Partial, Receipt};
pub use secret::Secret;
pub use time::{BadTime, UtcMillis};
pub use usage::{AsTold, Usage};
