//! Talks HTTP to providers: connection pools, timeouts, proxies, TLS, credentials and request signing.
//!
//! Knows no dialect and no configuration file: callers bring a URL, headers, bytes and an [`Auth`], and get
//! a status, headers and a streaming [`Body`]. It never follows redirects, never retries a request that may
//! have reached the provider, and never reads the process environment: such values arrive in
//! [`UpstreamSettings`] and [`EnvView`]. Start at [`Upstream::send`]; the schemes are listed in `auth/mod.rs`.

mod alarm;
pub mod auth;
mod body;
mod client;
mod connect;
mod dns;
mod env;
mod error;
mod lane;
mod payload;
mod pool;
mod settings;
mod tls;
mod upload;
mod worker;

pub use alarm::Alarm;
pub use auth::{Auth, AuthError, AuthProblem, AuthSpec, AwsSpec, EntraSpec, GoogleCredentials, aws_region};
pub use body::Body;
pub use client::{Answer, Outgoing, Upstream};
pub use env::EnvView;
pub use error::{BuildError, ConnectCause, SendError, Wait};
pub use payload::Payload;
pub use settings::{DnsChoice, Proxies, Timeouts, UpstreamSettings, Verify};
pub use upload::{Upload, UploadError};
pub use worker::be_worker;
