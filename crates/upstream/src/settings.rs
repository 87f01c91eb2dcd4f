//! What an [`Upstream`](crate::Upstream) is built from.

use std::path::PathBuf;
use std::time::Duration;

use faregate_terms::Secret;

/// How connections are made and kept. Built by `assemble` from the configuration and the environment.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// For name resolution, TCP, proxy and TLS handshake together.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// Idle connections kept per scheme, host and port.
    pub max_idle_per_host: usize,
    /// Whether and against what the server's certificate is checked.
    pub ssl_verify: Verify,
    /// A PEM file of further certificate authorities to trust (`SSL_CERT_FILE`).
    pub ca_file: Option<PathBuf>,
    /// Forward proxies.
    pub proxies: Proxies,
    /// Offer HTTP/2 by ALPN. Without TLS it is always HTTP/1.1.
    pub http2: bool,
    /// Sent when the request brings no `user-agent` of its own.
    pub user_agent: String,
    /// Who resolves names.
    pub dns: DnsChoice,
    /// Threads that declare themselves by [`be_worker`](crate::be_worker); each has its own connections.
    pub workers: usize,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            pool_idle_timeout: Duration::from_secs(90),
            max_idle_per_host: 1024,
            ssl_verify: Verify::On,
            ca_file: None,
            proxies: Proxies::default(),
            http2: true,
            user_agent: concat!("faregate/", env!("CARGO_PKG_VERSION")).to_owned(),
            dns: DnsChoice::for_this_build(),
            workers: 0,
        }
    }
}

/// LiteLLM's `ssl_verify`: `true`, `false` or the path of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Verify {
    /// Against Mozilla's roots and those of the operating system.
    #[default]
    On,
    /// Not at all: anybody in the path can read and change the traffic.
    Off,
    /// Against the certificate authorities of this PEM file, and no others.
    Bundle(PathBuf),
}

/// The values of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`. A proxy URL may hold a user and a password.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http://` targets, which the proxy gets in absolute form.
    pub http: Option<Secret>,
    /// For `https://` targets, reached through `CONNECT`.
    pub https: Option<Secret>,
    /// Comma-separated hosts, domains, addresses and networks that are reached directly; `*` is all.
    pub no: Option<String>,
}

/// Who resolves host names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsChoice {
    /// `getaddrinfo`: honours `nsswitch.conf`, but needs a dynamically linked C library.
    System,
    /// Our own resolver: `/etc/hosts`, then the servers of `/etc/resolv.conf`. Works in a static binary.
    Builtin,
}

impl DnsChoice {
    /// What works in the binary being built: glibc cannot resolve names when it is linked statically.
    pub fn for_this_build() -> Self {
        if cfg!(target_feature = "crt-static") { Self::Builtin } else { Self::System }
    }
}

/// How long one request may wait, and for what. The time to connect is the pool's
/// ([`UpstreamSettings::connect_timeout`]), since one connection serves many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// From sending to the head of the answer, connecting included.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the answer's body.
    pub idle: Option<Duration>,
    /// From the call of `send` to the last byte of the answer.
    pub total: Option<Duration>,
}
