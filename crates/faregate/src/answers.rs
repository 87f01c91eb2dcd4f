//! The response cache: from settings to what keeps answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use faregate_config::{CacheKind, Diagnostic, Snapshot};
use faregate_gateway::answers::Answers;
use faregate_state::cache::{DiskCache, MemoryCache, RedisCache, ResponseCache};
use faregate_state::clock::{Clock, SystemClock};
use faregate_state::redis::Redis;

use crate::shared::{INSTALLATION, cache_settings};

/// What a request waits for the cache at most.
const DEADLINE: Duration = Duration::from_millis(100);
/// Bytes in memory when nobody says otherwise.
const IN_MEMORY: u64 = 128 * 1024 * 1024;
/// Bytes on disk when nobody says otherwise, as LiteLLM's library bounds it.
const ON_DISK: u64 = 1024 * 1024 * 1024;
/// The folder when nobody says otherwise, as LiteLLM's.
const FOLDER: &str = ".litellm_cache";
/// Below it, as others may keep something there in their own form.
const OURS: &str = "faregate";

/// The cache the configuration asks for, and what is wrong with it. Asks nobody: a server or folder that is not
/// there shows when the first request needs it.
pub fn cache(snapshot: &Snapshot) -> (Option<Arc<Answers>>, Option<Diagnostic>) {
    let settings = &snapshot.litellm.cache;
    let Some(kind) = settings.kind.filter(|_| settings.on) else { return (None, None) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store: Arc<dyn ResponseCache> = match kind {
        CacheKind::Memory => Arc::new(MemoryCache::new(settings.max_bytes.unwrap_or(IN_MEMORY))),
        CacheKind::Disk => {
            let folder = settings.folder.clone().unwrap_or_else(|| PathBuf::from(FOLDER)).join(OURS);
            let most = settings.max_bytes.unwrap_or(ON_DISK);
            Arc::new(DiskCache::new(folder, most, DEADLINE, Arc::clone(&clock)))
        }
        CacheKind::Redis => match redis(snapshot) {
            Ok(redis) => {
                let namespace = settings.namespace.as_deref().unwrap_or_default();
                Arc::new(RedisCache::new(&redis, namespace, DEADLINE, Arc::clone(&clock)))
            }
            Err(finding) => return (None, Some(finding)),
        },
    };
    (Some(Arc::new(Answers::new(settings.clone(), store, clock))), None)
}

fn redis(snapshot: &Snapshot) -> Result<Redis, Diagnostic> {
    let at = "litellm_settings.cache_params";
    let Some(settings) = cache_settings(snapshot) else {
        let finding =
            Diagnostic::error(None, at, "the cache is on, and no Redis is named to keep answers in");
        let remedy = "set `host` or `url` (or REDIS_HOST, REDIS_URL), or `type: local`";
        return Err(finding.remedy(remedy));
    };
    Redis::new(&settings, INSTALLATION).map_err(|bad| Diagnostic::error(None, at, bad.to_string()))
}
