//! The client and its credentials against small servers of its own on port 0.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod aws;
mod azure;
mod client;
mod google;
mod pool;
mod server;
mod tls_and_proxy;
