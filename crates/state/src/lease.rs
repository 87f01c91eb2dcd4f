//! Who runs a job: one replica of the cluster at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use redis::Script;

use crate::clock::Clock;
use crate::limits::lease::StoreError;
use crate::redis::Redis;

/// Where jobs are claimed.
///
/// An implementation passes [`suite::shared_claims`](crate::suite::shared_claims).
pub trait SharedClaims: Send + Sync {
    /// Claims `job` for `holder`, or renews the claim, for `ttl` from now. True if `holder` has it.
    fn claim<'a>(
        &'a self,
        job: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Gives `job` up if `holder` has it.
    fn release<'a>(&'a self, job: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// This replica's claims. Cheap to clone.
#[derive(Clone)]
pub struct Leadership {
    claims: Arc<dyn SharedClaims>,
    clock: Arc<dyn Clock>,
    holder: Arc<str>,
    deadline: Duration,
}

impl Leadership {
    /// Claims under a name of this replica's own.
    pub fn new(claims: Arc<dyn SharedClaims>, clock: Arc<dyn Clock>) -> Self {
        let holder = uuid::Uuid::new_v4().simple().to_string().into();
        Self { claims, clock, holder, deadline: Duration::from_secs(2) }
    }

    /// Claims `job` for `ttl`, or renews this replica's claim. `None` if another replica has it, or the store
    /// does not answer: then nobody runs the job until it does.
    pub async fn lead(&self, job: &str, ttl: Duration) -> Option<Lead> {
        let asked = self.clock.steady();
        let claim = tokio::time::timeout(self.deadline, self.claims.claim(job, &self.holder, ttl));
        match claim.await {
            Ok(Ok(true)) => Some(Lead { leadership: self.clone(), job: job.into(), until: asked + ttl }),
            Ok(Ok(false)) => None,
            Ok(Err(error)) => {
                tracing::warn!(job, %error, "nobody can claim this job");
                None
            }
            Err(_) => None,
        }
    }
}

/// A job that this replica runs for now.
pub struct Lead {
    leadership: Leadership,
    job: Arc<str>,
    until: Duration,
}

impl Lead {
    /// True while nobody else can have the job; counted from before the claim was sent. Ask before each step
    /// that must not be done twice.
    pub fn holds(&self) -> bool {
        self.leadership.clock.steady() < self.until
    }

    /// Gives the job up, so that another replica need not wait for the claim to end.
    pub async fn release(self) {
        let Leadership { claims, holder, deadline, .. } = &self.leadership;
        // A claim that cannot be given up ends by itself.
        let _ = tokio::time::timeout(*deadline, claims.release(&self.job, holder)).await;
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Lead").field("job", &self.job).field("holds", &self.holds()).finish_non_exhaustive()
    }
}

/// Claims in this process: one replica alone has every job it wants.
#[derive(Debug)]
pub struct MemoryClaims {
    clock: Arc<dyn Clock>,
    held: Mutex<HashMap<String, (String, Duration)>>,
}

impl MemoryClaims {
    /// No claims yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, held: Mutex::default() }
    }
}

impl SharedClaims for MemoryClaims {
    fn claim<'a>(
        &'a self,
        job: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let now = self.clock.steady();
            let mut held = self.held.lock();
            let taken = held.get(job).is_some_and(|(other, until)| other != holder && *until > now);
            if !taken {
                held.insert(job.to_owned(), (holder.to_owned(), now + ttl));
            }
            Ok(!taken)
        })
    }

    fn release<'a>(&'a self, job: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut held = self.held.lock();
            if held.get(job).is_some_and(|(other, _)| other == holder) {
                held.remove(job);
            }
            Ok(())
        })
    }
}

/// Claims in Redis, Valkey, or a cluster of either.
#[derive(Debug)]
pub struct RedisClaims {
    redis: Redis,
    claim: Script,
    release: Script,
}

/// Longest wait for one call; the caller has deadlines of its own.
const DEADLINE: Duration = Duration::from_secs(10);

impl RedisClaims {
    /// Claims under the prefix of `redis`.
    pub fn new(redis: &Redis) -> Self {
        let claim = Script::new(include_str!("lease/claim.lua"));
        Self { redis: redis.another(), claim, release: Script::new(include_str!("lease/release.lua")) }
    }

    fn key(&self, job: &str) -> String {
        self.redis.key(&format!("job:{job}"))
    }
}

impl SharedClaims for RedisClaims {
    fn claim<'a>(
        &'a self,
        job: &'a str,
        holder: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut call = self.claim.key(self.key(job));
            call.arg(holder).arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
            let done = self
                .redis
                .call(DEADLINE, async |mut connection| call.invoke_async::<bool>(&mut connection).await);
            done.await.map_err(|error| StoreError(error.to_string()))
        })
    }

    fn release<'a>(&'a self, job: &'a str, holder: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut call = self.release.key(self.key(job));
            call.arg(holder);
            let done = self
                .redis
                .call(DEADLINE, async |mut connection| call.invoke_async::<u8>(&mut connection).await);
            done.await.map(|_| ()).map_err(|error| StoreError(error.to_string()))
        })
    }
}
