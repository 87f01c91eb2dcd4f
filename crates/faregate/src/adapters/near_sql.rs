//! An index of vectors in the database.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use faregate_state::cache::{Answer, CacheError, name_of};
use faregate_state::clock::Clock;
use faregate_state::nearest::{Near, VectorIndex, direction};
use faregate_store::{NearEntry, Store, StoreError};
use faregate_terms::UtcMillis;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

/// What a flush may take.
const FLUSH: Duration = Duration::from_secs(60);

/// Keeps values in PostgreSQL with pgvector.
pub struct SqlIndex {
    inner: Arc<Inner>,
    deadline: Duration,
    /// Where connections to the database live: requests are served elsewhere.
    runtime: Handle,
}

struct Inner {
    store: Store,
    name: String,
    clock: Arc<dyn Clock>,
    /// Set once the table is there.
    ready: OnceCell<()>,
}

impl SqlIndex {
    /// The index called `name` in `store`. Calls that take longer than `deadline` fail.
    pub fn new(store: Store, name: &str, deadline: Duration, clock: Arc<dyn Clock>, runtime: Handle) -> Self {
        let inner = Arc::new(Inner { store, name: name.to_owned(), clock, ready: OnceCell::new() });
        Self { inner, deadline, runtime }
    }

    async fn run<T, F>(
        &self,
        deadline: Duration,
        work: impl FnOnce(Arc<Inner>) -> F + Send + 'static,
    ) -> Result<T, CacheError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        let running = self.runtime.spawn(tokio::time::timeout(deadline, async move {
            inner.ready.get_or_try_init(|| inner.store.near_prepare()).await?;
            work(inner).await
        }));
        match running.await {
            Ok(Ok(done)) => done.map_err(|error| CacheError(error.to_string())),
            Ok(Err(_)) => Err(CacheError(format!("the database did not answer within {deadline:?}"))),
            Err(_) => Err(CacheError("the work was given up".to_owned())),
        }
    }
}

impl Inner {
    fn now(&self) -> UtcMillis {
        UtcMillis::from_millis(self.clock.wall_ms())
    }

    async fn find(&self, scope: &str, vector: &[f32]) -> Result<Option<Near>, StoreError> {
        let found = self.store.near_find(&self.name, scope, vector, self.now()).await?;
        #[expect(clippy::cast_possible_truncation, reason = "a number from -1 to 1")]
        let near = |(similarity, value): (f64, Vec<u8>)| Near {
            similarity: similarity.clamp(-1.0, 1.0) as f32,
            value: Bytes::from(value),
        };
        Ok(found.map(near))
    }

    async fn keep(&self, scope: &str, vector: &[f32], value: &[u8], ttl: Duration) -> Result<(), StoreError> {
        let now = self.now();
        let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
        let id = name_of(&format!("{}\n{scope}\n{}", self.name, numbers.join(",")));
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let ends = UtcMillis::from_millis(now.millis().saturating_add(ttl));
        let entry = NearEntry { id: &id, name: &self.name, scope, vector, value, ends };
        self.store.near_keep(&entry, now).await
    }
}

impl VectorIndex for SqlIndex {
    fn nearest<'a>(&'a self, scope: &'a str, vector: &'a [f32]) -> Answer<'a, Option<Near>> {
        Box::pin(async move {
            let Some(vector) = direction(vector) else { return Ok(None) };
            let scope = scope.to_owned();
            self.run(self.deadline, async move |inner| inner.find(&scope, &vector).await).await
        })
    }

    fn add<'a>(&'a self, scope: &'a str, vector: &'a [f32], value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let Some(vector) = direction(vector).filter(|_| !ttl.is_zero()) else { return Ok(()) };
            let scope = scope.to_owned();
            let kept =
                self.run(self.deadline, async move |inner| inner.keep(&scope, &vector, &value, ttl).await);
            kept.await
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.run(FLUSH, async move |inner| inner.store.near_flush(&inner.name).await).await
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let asked = self.run(self.deadline, async move |inner| inner.find("", &[1.0]).await);
            asked.await.map(drop)
        })
    }
}
