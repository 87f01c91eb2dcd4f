//! The workspace as a whole: which crate may know which, and that the kit itself works.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod architecture;
mod budgets;
mod cache;
mod kit;
mod page;
mod routing;
mod simulator;
mod square;
