//! The running provider, as tests hold it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::control::{Answer, Matcher};
use crate::log::{DEFAULT_CAPACITY, Log, Received, Stats};
use crate::server::{Desk, Shared, bind, listen};

/// How to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Requests kept in the log; 0 keeps none.
    pub log_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), log_capacity: DEFAULT_CAPACITY }
    }
}

/// A running provider. Dropping it closes the listener; open connections end with the runtime.
#[derive(Debug)]
pub struct FakeProvider {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl FakeProvider {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// If no local port can be bound: without one no test can go on.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its provider")]
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await.expect("a free port on 127.0.0.1")
    }

    /// Starts as told.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub async fn start_with(options: Options) -> std::io::Result<Self> {
        let (listener, address) = bind(options.address).await?;
        let shared = Arc::new(Shared { log: Log::new(options.log_capacity), desk: Desk::default() });
        let listener = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, listener })
    }

    /// `http://127.0.0.1:port`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives `answers` in order to the requests that `matcher` takes, one each.
    pub fn script(&self, matcher: Matcher, answers: impl IntoIterator<Item = Answer>) {
        self.shared.desk.control.script(matcher, answers);
    }

    /// Gives `answer` to all requests that `matcher` takes.
    pub fn always(&self, matcher: Matcher, answer: Answer) {
        self.shared.desk.control.always(matcher, answer);
    }

    /// The requests received so far, oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.log.list()
    }

    /// Counts.
    pub fn stats(&self) -> Stats {
        self.shared.log.stats()
    }

    /// Resolves once a client left in mid-answer; answers how many did so far.
    pub async fn cancelled(&self) -> usize {
        self.cancelled_at_least(1).await
    }

    /// Resolves once `count` clients left in mid-answer; answers how many did so far.
    pub async fn cancelled_at_least(&self, count: usize) -> usize {
        self.shared.log.cancelled_at_least(count).await
    }

    /// Resolves once `count` requests were received.
    pub async fn received(&self, count: u64) {
        self.shared.log.received_at_least(count).await;
    }

    /// Forgets log, counts and scripts.
    pub fn reset(&self) {
        self.shared.log.reset();
        self.shared.desk.clear();
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
