//! The client and its credentials against small servers of its own on port 0.

mod aws;
mod azure;
mod client;
mod google;
mod server;
mod tls_and_proxy;
