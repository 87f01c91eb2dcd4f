use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn lease(value: &str) -> Lease<String> {
    Lease { value: value.to_owned(), lifetime: Some(HOUR) }
}

/// A cache whose token has this long until it wants renewal, and until its end, in seconds from now.
fn holding(value: &str, renew_in: i64, ends_in: i64) -> TokenCache<String> {
    let at = |seconds: i64| {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        let now = Instant::now();
        Some(if seconds < 0 { now.checked_sub(distance).unwrap() } else { now + distance })
    };
    let cache = TokenCache::default();
    let held = Held { value: value.to_owned(), renew_at: at(renew_in), ends_at: at(ends_in) };
    cache.current.store(Some(Arc::new(held)));
    cache
}

async fn unused() -> Result<Lease<String>, AuthError> {
    panic!("nothing should have been fetched")
}

#[tokio::test]
async fn all_who_wait_share_one_fetch_and_its_failure() {
    let cache = Arc::new(TokenCache::default());
    let fetches = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Notify::new());
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (cache, fetches, gate) = (Arc::clone(&cache), Arc::clone(&fetches), Arc::clone(&gate));
            tokio::spawn(async move {
                cache
                    .get(async || {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        gate.notified().await;
                        Err::<Lease<String>, _>(AuthError::refused("no"))
                    })
                    .await
            })
        })
        .collect();
    // Every caller has asked before the one fetch ends: the runtime has one thread.
    while fetches.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    gate.notify_one();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap_err().message, "no");
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    // A later caller tries anew.
    assert_eq!(cache.get(async || Ok(lease("new"))).await.unwrap(), "new");
    assert_eq!(cache.get(unused).await.unwrap(), "new");
}

#[tokio::test]
async fn while_one_renews_the_others_go_on_with_the_old_token() {
    let cache = Arc::new(holding("old", -1, 60));
    let (started, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let renewing = tokio::spawn({
        let (cache, started, gate) = (Arc::clone(&cache), Arc::clone(&started), Arc::clone(&gate));
        async move {
            cache
                .get(async || {
                    started.notify_one();
                    gate.notified().await;
                    Ok(lease("new"))
                })
                .await
        }
    });
    started.notified().await;
    assert_eq!(cache.get(unused).await.unwrap(), "old");
    gate.notify_one();
    assert_eq!(renewing.await.unwrap().unwrap(), "new");
    assert_eq!(cache.get(unused).await.unwrap(), "new");
}

#[tokio::test]
async fn a_renewal_that_fails_is_no_failure_and_is_not_repeated_at_once() {
    let cache = holding("old", -1, 60);
    assert_eq!(cache.get(async || Err(AuthError::refused("no"))).await.unwrap(), "old");
    assert_eq!(cache.get(unused).await.unwrap(), "old");
}

#[tokio::test]
async fn a_token_past_its_end_is_never_given_out() {
    let cache = holding("old", -2, -1);
    assert!(cache.get(async || Err(AuthError::refused("no"))).await.is_err());
    assert_eq!(cache.get(async || Ok(lease("new"))).await.unwrap(), "new");
}

#[tokio::test]
async fn a_fetch_whose_caller_goes_away_is_taken_over() {
    let cache = Arc::new(TokenCache::default());
    let started = Arc::new(Notify::new());
    let first = tokio::spawn({
        let (cache, started) = (Arc::clone(&cache), Arc::clone(&started));
        async move {
            cache
                .get(async || {
                    started.notify_one();
                    std::future::pending::<Result<Lease<String>, AuthError>>().await
                })
                .await
        }
    });
    started.notified().await;
    let second = tokio::spawn({
        let cache = Arc::clone(&cache);
        async move { cache.get(async || Ok(lease("second"))).await }
    });
    tokio::task::yield_now().await;
    first.abort();
    assert_eq!(second.await.unwrap().unwrap(), "second");
}
