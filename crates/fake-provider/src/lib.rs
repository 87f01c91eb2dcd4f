//! Every provider's wire format with faults on demand: for tests, the demonstration model and the benchmark.
//!
//! Never talks to the network but for its own listener; keeps no state between requests but scripts, the log
//! and the few objects that provider APIs store (responses, predictions). Answers are deterministic.
//! Start at [`FakeProvider`]; what can be answered is in [`Scenario`]; the wire formats are in `dialect`.

mod aws;
mod clock;
mod control;
mod demo;
mod desk;
mod dialect;
mod failure;
mod fault;
mod log;
mod predict;
mod provider;
mod read;
mod reply;
mod route;
mod sample;
mod scenario;
mod seal;
mod server;
mod steps;
mod store;
mod task;
mod token;

pub use control::{Answer, Control, Matcher};
pub use demo::answer;
pub use failure::{Class, Failure};
pub use fault::{CutOnPurpose, FakeBody, Faults};
pub use log::{Received, Stats};
pub use provider::{FakeProvider, Options};
pub use scenario::{CACHE_USAGE, Kind, Scenario, Usage};
pub use steps::Steps;
