//! The response cache: from settings to what keeps answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use faregate_config::{CacheKind, CacheSettings, Diagnostic, IndexKind, S3Settings, ServeEnv, Snapshot};
use faregate_gateway::answers::Answers;
use faregate_gateway::gate::verify;
use faregate_integrations::stores::bucket::{Bucket, BucketCache};
use faregate_integrations::stores::qdrant::QdrantIndex;
use faregate_state::cache::{DiskCache, MemoryCache, RedisCache, ResponseCache};
use faregate_state::clock::{Clock, SystemClock};
use faregate_state::nearest::{MemoryIndex, RedisIndex, VectorIndex};
use faregate_state::redis::Redis;
use faregate_store::Store;
use faregate_terms::Secret;
use faregate_upstream::{Auth, AuthSpec, AwsSpec, EntraSpec, GoogleCredentials, Upstream, UpstreamSettings};
use tokio::runtime::Handle;

use crate::adapters::near_sql::SqlIndex;
use crate::assemble::{connections, view};
use crate::shared::{INSTALLATION, cache_settings};

/// What a request waits for the cache at most.
const DEADLINE: Duration = Duration::from_millis(100);
/// The same for one that is asked over HTTP, or searches vectors.
const FAR: Duration = Duration::from_secs(1);
/// Bytes in memory when nobody says otherwise.
const IN_MEMORY: u64 = 128 * 1024 * 1024;
/// Bytes on disk when nobody says otherwise, as LiteLLM's library bounds it.
const ON_DISK: u64 = 1024 * 1024 * 1024;
/// The folder when nobody says otherwise, as LiteLLM's.
const FOLDER: &str = ".litellm_cache";
/// Below it, as others may keep something there in their own form.
const OURS: &str = "faregate";
/// The name of an index when nobody says otherwise, as LiteLLM's.
const INDEX: &str = "litellm_semantic_cache_index";
/// Where the settings are.
const AT: &str = "litellm_settings.cache_params";

/// The cache the configuration asks for, and what is wrong with it. Asks nobody: a server or folder that is not
/// there shows when the first request needs it.
pub fn cache(
    snapshot: &Snapshot,
    upstream: &Upstream,
    store: Option<&Store>,
) -> (Option<Arc<Answers>>, Option<Diagnostic>) {
    let settings = &snapshot.litellm.cache;
    let Some(kind) = settings.kind.filter(|_| settings.on) else { return (None, None) };
    let builder = Builder { snapshot, settings, upstream, store, clock: Arc::new(SystemClock::new()) };
    match builder.build(kind) {
        Ok(answers) => (Some(Arc::new(answers)), None),
        Err(finding) => (None, Some(finding)),
    }
}

/// True if the cache keeps vectors in the database.
pub fn needs_database(snapshot: &Snapshot) -> bool {
    let cache = &snapshot.litellm.cache;
    cache.on && cache.semantic.as_ref().is_some_and(|semantic| semantic.index == IndexKind::Postgres)
}

struct Builder<'a> {
    snapshot: &'a Snapshot,
    settings: &'a CacheSettings,
    upstream: &'a Upstream,
    store: Option<&'a Store>,
    clock: Arc<dyn Clock>,
}

impl Builder<'_> {
    fn build(&self, kind: CacheKind) -> Result<Answers, Diagnostic> {
        let kept = self.kept(kind)?;
        let mut answers = Answers::new(self.settings.clone(), kept, self.clock());
        answers.nearest = self.nearest()?;
        Ok(answers)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Where answers to the same question are.
    fn kept(&self, kind: CacheKind) -> Result<Arc<dyn ResponseCache>, Diagnostic> {
        let settings = self.settings;
        Ok(match kind {
            CacheKind::Memory => Arc::new(MemoryCache::new(settings.max_bytes.unwrap_or(IN_MEMORY))),
            CacheKind::Disk => {
                let folder = settings.folder.clone().unwrap_or_else(|| PathBuf::from(FOLDER)).join(OURS);
                let most = settings.max_bytes.unwrap_or(ON_DISK);
                Arc::new(DiskCache::new(folder, most, DEADLINE, self.clock()))
            }
            CacheKind::Redis => {
                let namespace = settings.namespace.as_deref().unwrap_or_default();
                Arc::new(RedisCache::new(&self.redis()?, namespace, DEADLINE, self.clock()))
            }
            CacheKind::S3 => self.s3()?,
            CacheKind::Gcs => self.gcs()?,
            CacheKind::AzureBlob => {
                let scope = Some("https://storage.azure.com/.default".to_owned());
                let auth = self.auth(AuthSpec::AzureEntra(EntraSpec { scope, ..EntraSpec::default() }))?;
                self.bucket(self.upstream, auth, Bucket::azure(&settings.azure))
            }
        })
    }

    /// Where answers to questions that mean the same are, for the semantic kinds.
    fn nearest(&self) -> Result<Option<Arc<dyn VectorIndex>>, Diagnostic> {
        let Some(semantic) = &self.settings.semantic else { return Ok(None) };
        let name = semantic.index_name.as_deref().unwrap_or(INDEX);
        Ok(Some(match semantic.index {
            IndexKind::Memory => {
                Arc::new(MemoryIndex::new(self.settings.max_bytes.unwrap_or(IN_MEMORY), self.clock()))
            }
            IndexKind::Redis => Arc::new(RedisIndex::new(&self.redis()?, name, FAR, self.clock())),
            IndexKind::Qdrant => {
                let qdrant = &semantic.qdrant;
                let remedy = "set `qdrant_api_base`, or QDRANT_URL, to its address";
                let Some(base) = qdrant.url.clone().or_else(|| self.env(&["QDRANT_URL", "QDRANT_API_BASE"]))
                else {
                    return Err(missing("qdrant_api_base", "no Qdrant is named to keep answers in", remedy));
                };
                let key = qdrant.key.clone().or_else(|| self.env(&["QDRANT_API_KEY"]).map(Secret::from));
                let auth = self.auth(match key {
                    Some(secret) => AuthSpec::Header { name: "api-key".to_owned(), secret },
                    None => AuthSpec::None,
                })?;
                Arc::new(QdrantIndex::new(self.upstream, auth, &base, qdrant, FAR, self.clock()))
            }
            IndexKind::Postgres => match self.store {
                Some(store) => {
                    Arc::new(SqlIndex::new(store.clone(), name, FAR, self.clock(), Handle::current()))
                }
                None => return Ok(None),
            },
        }))
    }

    fn redis(&self) -> Result<Redis, Diagnostic> {
        let Some(settings) = cache_settings(self.snapshot) else {
            let finding =
                Diagnostic::error(None, AT, "the cache is on, and no Redis is named to keep answers in");
            let remedy = "set `host` or `url` (or REDIS_HOST, REDIS_URL), or `type: local`";
            return Err(finding.remedy(remedy));
        };
        Redis::new(&settings, INSTALLATION).map_err(|bad| Diagnostic::error(None, AT, bad.to_string()))
    }

    /// Source for the region: boto3, which takes these variables and then Amazon's first one.
    fn s3(&self) -> Result<Arc<dyn ResponseCache>, Diagnostic> {
        let s3 = &self.settings.s3;
        let region = s3.region.clone().or_else(|| self.env(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let auth = self.auth(AuthSpec::Aws(AwsSpec {
            service: "s3".to_owned(),
            region: Some(region.clone()),
            access_key_id: s3.access_key_id.clone(),
            secret_access_key: s3.secret_access_key.clone(),
            session_token: s3.session_token.clone(),
            ..AwsSpec::default()
        }))?;
        let upstream = self.upstream_for(s3)?;
        Ok(self.bucket(&upstream, auth, Bucket::s3(s3, &region)))
    }

    /// Connections of its own, if the server's certificate is checked otherwise than everybody's.
    fn upstream_for(&self, s3: &S3Settings) -> Result<Upstream, Diagnostic> {
        let Some(setting) = &s3.verify else { return Ok(self.upstream.clone()) };
        let (environment, _) = ServeEnv::read(&self.snapshot.env);
        let settings = UpstreamSettings {
            ssl_verify: verify(Some(setting)),
            ..connections(&environment, self.snapshot, 0)
        };
        Upstream::new(&settings)
            .map_err(|error| Diagnostic::error(None, format!("{AT}.s3_verify"), error.to_string()))
    }

    fn gcs(&self) -> Result<Arc<dyn ResponseCache>, Diagnostic> {
        let gcs = &self.settings.gcs;
        let Some(bucket) = gcs.bucket.clone().or_else(|| self.env(&["GCS_BUCKET_NAME"])) else {
            let remedy = "set it, or GCS_BUCKET_NAME, to the bucket that keeps the answers";
            return Err(missing("gcs_bucket_name", "`type: gcs` needs it", remedy));
        };
        let file = gcs.service_account.clone().or_else(|| self.env(&["GCS_PATH_SERVICE_ACCOUNT"]));
        let credentials = file.map_or(GoogleCredentials::Default, |file| GoogleCredentials::parse(&file));
        let auth = self.auth(AuthSpec::Google { credentials, scopes: Vec::new() })?;
        Ok(self.bucket(self.upstream, auth, Bucket::gcs(gcs, &bucket)))
    }

    fn bucket(&self, upstream: &Upstream, auth: Arc<Auth>, bucket: Bucket) -> Arc<dyn ResponseCache> {
        Arc::new(BucketCache::new(upstream, auth, bucket, FAR, self.clock()))
    }

    fn auth(&self, spec: AuthSpec) -> Result<Arc<Auth>, Diagnostic> {
        let auth = self.upstream.authenticator(spec, &view(&self.snapshot.env));
        auth.map_err(|error| Diagnostic::error(None, AT, error.to_string()))
    }

    fn env(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.snapshot.env.filled(name)).map(str::to_owned)
    }
}

fn missing(key: &str, message: &str, remedy: &str) -> Diagnostic {
    Diagnostic::error(None, format!("{AT}.{key}"), message).remedy(remedy)
}
