//! A gateway in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use faregate::workers::Workers;
use faregate::{assemble, listen};
use faregate_catalog::Catalog;
use faregate_config::{Env, ServeEnv, Snapshot, Strictness, read_text};
use faregate_gateway::answers::Answers;
use faregate_gateway::gate::{Gate, Services, Table};
use faregate_gateway::health;
use faregate_gateway::metrics::DEFAULT_BUCKETS;
use faregate_terms::Secret;

use crate::client::{Client, Frame, Reply};
use crate::receipts::Receipts;

/// The admin key of every gateway started here.
pub const MASTER_KEY: &str = "sk-testkit-0123456789abcdef";

/// What requests in flight get when a test stops its gateway.
const DRAIN: Duration = Duration::from_secs(5);

/// A running gateway. Dropping it stops accepting; [`Gateway::stop`] waits for the end.
pub struct Gateway {
    address: SocketAddr,
    gate: Arc<Gate>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Gateway {
    /// Serves `config_yaml` on a free port of 127.0.0.1, with an empty environment.
    ///
    /// # Panics
    /// If the configuration has findings that are errors, or deployments that cannot serve; all are shown.
    pub async fn start(config_yaml: &str) -> Self {
        Self::start_with(config_yaml, &Env::empty()).await
    }

    /// The same with an environment.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub async fn start_with(config_yaml: &str, env: &Env) -> Self {
        Self::start_over(config_yaml, env, Services::alone()).await
    }

    /// The same over these services: keys, limits, journal.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    #[expect(clippy::expect_used, reason = "a test cannot go on without its gateway")]
    pub async fn start_over(config_yaml: &str, env: &Env, services: Services) -> Self {
        let table = table(&snapshot(config_yaml, env));
        let gate = Arc::new(Gate::new(table, &DEFAULT_BUCKETS, services));
        let listener = listen::bind("127.0.0.1", 0).await.expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("a bound listener has an address");
        let stop = CancellationToken::new();
        tokio::spawn(health::share(Arc::clone(&gate), stop.clone()));
        let serving = listen::serve(
            listener,
            Workers::here(),
            Arc::clone(&gate),
            listen::Front::default(),
            None,
            stop.clone(),
            DRAIN,
        );
        Self { address, gate, serving: tokio::spawn(serving), stop }
    }

    /// Swaps another configuration in, as a reload does.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn swap(&self, config_yaml: &str) {
        let mut table = table(&snapshot(config_yaml, &Env::empty()));
        table.answers = Answers::going_on(self.gate.table.load().answers.as_ref(), table.answers);
        self.gate.table.store(Arc::new(table));
    }

    /// `http://127.0.0.1:port`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What serves, for counts.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Receipts from now on.
    pub fn receipts(&self) -> Receipts {
        Receipts::new(self.gate.settler.watch())
    }

    /// A client with the master key.
    pub fn client(&self) -> Client {
        Client::new(self.address, MASTER_KEY)
    }

    /// Posts with the master key.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.client().post(path, body).await
    }

    /// Posts with the master key and collects the events of the stream.
    ///
    /// # Panics
    /// If the answer is no event stream; it is shown.
    pub async fn stream(&self, path: &str, body: &Value) -> Vec<Frame> {
        self.client().stream(path, body).await
    }

    /// Gets with the master key.
    pub async fn get(&self, path: &str) -> Reply {
        self.client().get(path).await
    }

    /// Stops accepting and waits until requests in flight are done.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // An aborted or panicked listener has stopped as well.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[expect(clippy::panic, reason = "a test with a broken configuration has failed")]
fn snapshot(config_yaml: &str, env: &Env) -> Snapshot {
    let reading = read_text(config_yaml, Path::new("test.yaml"), env, Strictness::Lenient);
    match reading.snapshot {
        Some(snapshot) => snapshot,
        None => {
            let lines: Vec<String> = reading.findings.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"))
        }
    }
}

#[expect(clippy::expect_used, reason = "a test cannot go on without its gateway")]
fn table(snapshot: &Snapshot) -> Table {
    let (environment, _) = ServeEnv::read(&snapshot.env);
    let upstream = assemble::upstream(&environment, snapshot, 0).expect("connections can be set up");
    let key = snapshot.master_key().unwrap_or_else(|| Secret::new(MASTER_KEY));
    let (table, findings) =
        assemble::table(snapshot, &upstream, &Arc::new(Catalog::built_in()), Some(key), None);
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    table
}
