//! From a host name to addresses, by the C library or by ourselves.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use crate::error::BuildError;
use crate::settings::DnsChoice;

/// The name has no address we could find.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ResolveFailed(String);

/// Resolves names for the connector.
#[derive(Clone)]
pub(crate) enum Dns {
    System(GaiResolver),
    Builtin(Arc<TokioResolver>),
}

impl Dns {
    pub(crate) fn new(choice: DnsChoice) -> Result<Self, BuildError> {
        match choice {
            DnsChoice::System => Ok(Self::System(GaiResolver::new())),
            DnsChoice::Builtin => builtin().map(|resolver| Self::Builtin(Arc::new(resolver))),
        }
    }
}

/// Reads `/etc/resolv.conf` and `/etc/hosts` once.
fn builtin() -> Result<TokioResolver, BuildError> {
    let mut builder = match TokioResolver::builder_tokio() {
        Ok(builder) => builder,
        Err(error) => {
            // A scratch image without resolv.conf still reaches addresses, localhost and what /etc/hosts names.
            tracing::warn!(%error, "no name servers: the system's resolver configuration cannot be read");
            TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
        }
    };
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|error| BuildError::Dns(error.to_string()))
}

impl Service<Name> for Dns {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ResolveFailed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveFailed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveFailed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = match &mut this {
                Self::System(resolver) => {
                    resolver.call(name).await.map_err(|error| ResolveFailed(error.to_string()))?.collect()
                }
                Self::Builtin(resolver) => ask(resolver, name.as_str()).await?,
            };
            Ok(addresses.into_iter())
        })
    }
}

/// The port is the connector's business: it is 0 here.
async fn ask(resolver: &TokioResolver, name: &str) -> Result<Vec<SocketAddr>, ResolveFailed> {
    let bare = name.trim_end_matches('.').to_ascii_lowercase();
    if bare == "localhost" || bare.ends_with(".localhost") {
        // RFC 6761 section 6.3: never a question for a name server.
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        return Ok(loopback.map(|address| SocketAddr::new(address, 0)).to_vec());
    }
    let found = resolver.lookup_ip(name).await.map_err(|error| ResolveFailed(error.to_string()))?;
    Ok(found.iter().map(|address| SocketAddr::new(address, 0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_builtin_resolver_knows_localhost_and_addresses_without_asking_anyone() {
        let resolver =
            TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
                .build()
                .unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(ask(&resolver, "LocalHost").await.unwrap()[0], loopback);
        assert_eq!(ask(&resolver, "provider.localhost").await.unwrap()[0], loopback);
        assert_eq!(ask(&resolver, "127.0.0.1").await.unwrap(), [loopback]);
    }
}
