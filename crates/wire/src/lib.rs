//! Wire formats: the canonical chat model, one codec per dialect, and stream framing.
//!
//! Pure: bytes in, values out. Never opens a socket, reads a clock, or looks a setting up. Start with
//! [`chat::ChatRequest`], [`chat::Event`] and the two traits in [`dialect`] (what is no chat is in [`task`]); when both sides speak the
//! same dialect the body stays bytes and [`envelope`] splices what the gateway changes.

pub mod chat;
pub mod dialect;
pub mod envelope;
pub mod frame;
pub mod json;
pub mod opaque;
pub mod task;

#[cfg(test)]
mod answer_tests;
#[cfg(test)]
mod fixture_tests;
#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod round_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod testing;
