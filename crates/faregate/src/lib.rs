//! One static binary: command line, assembly, listeners, reload.
//!
//! Knows every crate and decides nothing: what a request may do is `gateway`'s. Start at [`cli::run`];
//! [`assemble`] turns a configuration into a gate, [`listen`] puts it on a socket.

pub mod adapters;
pub mod answers;
pub mod assemble;
pub mod changes;
pub mod check;
pub mod cli;
pub mod control;
pub mod data_dir;
pub mod database;
pub mod demo;
mod document;
pub mod flags;
pub mod front_page;
pub mod handover;
pub mod jobs;
pub mod listen;
pub mod logging;
pub mod maintenance;
pub mod master_key;
pub mod models;
pub mod prices;
pub mod probe;
pub mod probe_port;
mod reconcile;
pub mod reload;
pub mod serve;
pub mod shared;
pub mod watch;
pub mod web;
pub mod workers;
