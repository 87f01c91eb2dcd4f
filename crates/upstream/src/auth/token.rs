//! Tokens that expire: fetched once for all who wait, renewed ahead of their end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::AuthError;

/// Renewal begins this long before the end, or a tenth of the lifetime if that is shorter.
const AHEAD: Duration = Duration::from_secs(300);
/// A renewal that failed while the token is still good is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// What a token service gave, and for how long; `None` is for ever.
pub(super) struct Lease<T> {
    pub(super) value: T,
    pub(super) lifetime: Option<Duration>,
}

/// One token and whoever renews it.
pub(super) struct TokenCache<T> {
    current: ArcSwapOption<Held<T>>,
    /// Held by the one who fetches; remembers the last failure for those who waited for it.
    turn: Mutex<Option<Failure>>,
}

struct Held<T> {
    value: T,
    renew_at: Option<Instant>,
    ends_at: Option<Instant>,
}

struct Failure {
    at: Instant,
    error: AuthError,
}

impl<T> Default for TokenCache<T> {
    fn default() -> Self {
        Self { current: ArcSwapOption::empty(), turn: Mutex::new(None) }
    }
}

impl<T: Clone> TokenCache<T> {
    /// The token, from memory or by `fetch`.
    ///
    /// Without a good token everybody waits for one fetch and shares its outcome. In the time before a
    /// token's end one caller renews it while the others go on with the old one; a renewal that fails is
    /// then no failure. A fetch whose caller goes away is taken over by the next in line.
    pub(super) async fn get<F>(&self, fetch: F) -> Result<T, AuthError>
    where
        F: AsyncFnOnce() -> Result<Lease<T>, AuthError>,
    {
        let asked = Instant::now();
        if let Some(held) = self.current.load_full().filter(|held| held.good_at(asked)) {
            if held.fresh_at(asked) {
                return Ok(held.value.clone());
            }
            return Ok(self.renew(held, fetch).await);
        }
        let mut turn = self.turn.lock().await;
        if let Some(held) = self.current.load_full().filter(|held| held.good_at(Instant::now())) {
            return Ok(held.value.clone());
        }
        if let Some(failure) = turn.as_ref().filter(|failure| failure.at >= asked) {
            return Err(failure.error.clone());
        }
        match fetch().await {
            Ok(lease) => {
                *turn = None;
                Ok(self.keep(lease))
            }
            Err(error) => {
                *turn = Some(Failure { at: Instant::now(), error: error.clone() });
                Err(error)
            }
        }
    }

    async fn renew<F>(&self, held: Arc<Held<T>>, fetch: F) -> T
    where
        F: AsyncFnOnce() -> Result<Lease<T>, AuthError>,
    {
        let Ok(mut turn) = self.turn.try_lock() else { return held.value.clone() };
        let now = Instant::now();
        if let Some(renewed) = self.current.load_full().filter(|held| held.fresh_at(now)) {
            return renewed.value.clone();
        }
        if turn.as_ref().is_some_and(|failure| now < failure.at + TRY_AGAIN) {
            return held.value.clone();
        }
        match fetch().await {
            Ok(lease) => {
                *turn = None;
                self.keep(lease)
            }
            Err(error) => {
                tracing::warn!(%error, "a credential could not be renewed; the old one is still good");
                *turn = Some(Failure { at: Instant::now(), error });
                held.value.clone()
            }
        }
    }

    fn keep(&self, lease: Lease<T>) -> T {
        let now = Instant::now();
        let ends_at = lease.lifetime.and_then(|lifetime| now.checked_add(lifetime));
        let renew_at =
            lease.lifetime.and_then(|lifetime| now.checked_add(lifetime - AHEAD.min(lifetime / 10)));
        self.current.store(Some(Arc::new(Held { value: lease.value.clone(), renew_at, ends_at })));
        lease.value
    }
}

impl<T> Held<T> {
    fn good_at(&self, now: Instant) -> bool {
        self.ends_at.is_none_or(|end| now < end)
    }

    fn fresh_at(&self, now: Instant) -> bool {
        self.renew_at.is_none_or(|renew| now < renew)
    }
}

impl<T> fmt::Debug for TokenCache<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenCache")
    }
}

#[cfg(test)]
mod tests;
