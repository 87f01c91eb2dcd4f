//! The client against small servers of its own on port 0.

mod client;
mod server;
mod tls_and_proxy;
