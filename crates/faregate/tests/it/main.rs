//! The binary as an operator meets it: started, refused, asked, reloaded, stopped.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod control;
mod front;
mod in_flight;
mod login;
mod outage;
mod process;
mod reconcile;
mod replicas;
mod requests;
mod serving;
mod starting;
mod stored;
mod strangers;
mod upstream;
