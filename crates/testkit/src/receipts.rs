//! What was settled.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use faregate_terms::Receipt;

/// Reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Receipts in the order of settlement, from the moment this was made.
pub struct Receipts(broadcast::Receiver<Arc<Receipt>>);

impl Receipts {
    pub(crate) fn new(watcher: broadcast::Receiver<Arc<Receipt>>) -> Self {
        Self(watcher)
    }

    /// The next receipt.
    ///
    /// # Panics
    /// If none comes, or the test fell so far behind that some were missed.
    #[expect(clippy::expect_used, reason = "a test that waits in vain has failed")]
    pub async fn next(&mut self) -> Arc<Receipt> {
        let next = tokio::time::timeout(PATIENCE, self.0.recv()).await;
        next.expect("a receipt in time").expect("no receipt was missed")
    }
}
