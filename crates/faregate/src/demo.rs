//! What is served without a configuration file.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;

use faregate_catalog::providers;
use faregate_config::{DeploymentConfig, Env, Snapshot};
use faregate_fake_provider::{FakeProvider, Options};

/// The demo model's upstream; gone when dropped.
pub struct Demo {
    provider: FakeProvider,
}

impl Demo {
    /// Starts the demo's upstream inside this process, on a loopback port of its own.
    ///
    /// # Errors
    /// If no loopback port can be had.
    pub async fn start() -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let provider = FakeProvider::start_with(Options { address, log_capacity: 0 })
            .await
            .context("cannot start the demo model")?;
        Ok(Self { provider })
    }

    /// A wildcard route for each provider with a key in the environment, and the model `demo`.
    pub fn snapshot(&self, env: &Env) -> Snapshot {
        let mut snapshot = environment_routes(env);
        let mut demo = DeploymentConfig::new("demo", "openai/fake-demo");
        demo.params.api_base = Some(format!("{}/v1", self.provider.url()));
        demo.params.api_key = Some("demo".into());
        snapshot.deployments.push(demo);
        snapshot
    }
}

/// A wildcard route for each provider with a key in the environment.
pub fn environment_routes(env: &Env) -> Snapshot {
    let known = providers().iter().map(|provider| (provider.name, provider.key_env.iter().copied()));
    Snapshot::from_environment(env, known)
}
