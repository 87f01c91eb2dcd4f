//! `litellm_settings.cache` and `cache_params`: answers kept for the next one who asks the same.

use std::path::PathBuf;
use std::time::Duration;

use super::buckets::{AzureSettings, GcsSettings, S3Settings};
use super::redis::RedisConfig;
use super::semantic::{IndexKind, SemanticSettings};
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::node::Value;

/// The response cache; only what the gateway acts on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CacheSettings {
    /// `litellm_settings.cache` is `true`; nothing else turns the cache on.
    pub on: bool,
    /// Where answers to the same question are kept; `None` if the file names no kind there is.
    pub kind: Option<CacheKind>,
    /// How answers to questions that mean the same are found, for the semantic kinds.
    pub semantic: Option<SemanticSettings>,
    /// Only requests that ask for it (`cache: {"use-cache": true}`) are looked up and kept.
    pub opt_in: bool,
    /// LiteLLM's names of the operations that are cached; all that can be when absent.
    pub call_types: Option<Vec<String>>,
    /// How long an answer is kept.
    pub ttl: Option<Duration>,
    /// The same in memory, when `ttl` says nothing.
    pub default_in_memory_ttl: Option<Duration>,
    /// The same in Redis.
    pub default_in_redis_ttl: Option<Duration>,
    /// In front of every key.
    pub namespace: Option<String>,
    /// Most bytes in memory or on disk.
    pub max_bytes: Option<u64>,
    /// The folder of `type: disk`.
    pub folder: Option<PathBuf>,
    /// Who shares answers.
    pub isolation: Isolation,
    /// Whether identical requests wait for the first of them; true when absent.
    pub coalesce: Option<bool>,
    /// The Redis of `type: redis`, `redis-semantic` and `valkey-semantic`.
    pub redis: RedisConfig,
    /// The bucket of `type: s3`.
    pub s3: S3Settings,
    /// The bucket of `type: gcs`.
    pub gcs: GcsSettings,
    /// The container of `type: azure-blob`.
    pub azure: AzureSettings,
}

/// Where answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheKind {
    /// In this process.
    Memory,
    /// In a folder.
    Disk,
    /// In Redis, Valkey or a cluster of either.
    Redis,
    /// In a bucket of S3, or of what speaks like it.
    S3,
    /// In a bucket of Google Cloud Storage.
    Gcs,
    /// In a container of Azure Blob Storage.
    AzureBlob,
}

/// Who shares answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Everybody who may use the model.
    #[default]
    None,
    /// Requests of one team; of one key for keys without a team.
    Team,
    /// Requests of one key.
    Key,
    /// Requests for one customer (`user`), by the same key.
    EndUser,
}

const ISOLATIONS: &[(&str, Isolation)] = &[
    ("none", Isolation::None),
    ("team", Isolation::Team),
    ("key", Isolation::Key),
    ("end_user", Isolation::EndUser),
];

/// A type: where answers to the same question are kept, and where vectors are if it is a semantic one.
type Kind = (CacheKind, Option<IndexKind>);

/// Every type LiteLLM knows, and our own.
const KINDS: &[(&str, Kind)] = &[
    ("local", (CacheKind::Memory, None)),
    ("redis", (CacheKind::Redis, None)),
    ("disk", (CacheKind::Disk, None)),
    ("s3", (CacheKind::S3, None)),
    ("gcs", (CacheKind::Gcs, None)),
    ("azure-blob", (CacheKind::AzureBlob, None)),
    ("redis-semantic", (CacheKind::Redis, Some(IndexKind::Redis))),
    ("valkey-semantic", (CacheKind::Redis, Some(IndexKind::Redis))),
    ("qdrant-semantic", (CacheKind::Memory, Some(IndexKind::Qdrant))),
    ("local-semantic", (CacheKind::Memory, Some(IndexKind::Memory))),
    ("pgvector-semantic", (CacheKind::Memory, Some(IndexKind::Postgres))),
];

impl CacheSettings {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let on = is_on(fields);
        let fallback = fields.seconds("default_in_memory_ttl");
        let redis_fallback = fields.seconds("default_redis_ttl");
        let mut settings = match fields.child("cache_params") {
            Some(mut params) => Self::of_params(on, &mut params),
            None => Self { kind: Some(CacheKind::Redis), ..Self::default() },
        };
        settings.on = on;
        settings.default_in_memory_ttl = settings.default_in_memory_ttl.or(fallback);
        settings.default_in_redis_ttl = settings.default_in_redis_ttl.or(redis_fallback);
        settings
    }

    fn of_params(on: bool, params: &mut Fields<'_>) -> Self {
        // `redis` when nothing is said, as in LiteLLM's proxy.
        let (kind, index) = match params.get("type") {
            Some(_) => params.word("type", KINDS).unzip(),
            None => (Some(CacheKind::Redis), None),
        };
        Self {
            on,
            kind,
            semantic: index.flatten().and_then(|index| SemanticSettings::read(index, on, params)),
            opt_in: params.word("mode", &[("default_on", false), ("default_off", true)]).unwrap_or_default(),
            call_types: params.texts("supported_call_types"),
            ttl: params.seconds("ttl"),
            default_in_memory_ttl: params.seconds("default_in_memory_ttl"),
            default_in_redis_ttl: params.seconds("default_in_redis_ttl"),
            namespace: params.filled("namespace"),
            max_bytes: params.count("max_bytes"),
            folder: params.filled("disk_cache_dir").map(PathBuf::from),
            isolation: params.word("isolation", ISOLATIONS).unwrap_or_default(),
            coalesce: params.flag("coalesce"),
            redis: match kind {
                Some(CacheKind::Redis) => RedisConfig::of_map(params),
                _ => RedisConfig::default(),
            },
            s3: S3Settings::read(kind == Some(CacheKind::S3) && on, params),
            gcs: GcsSettings::read(params),
            azure: AzureSettings::read(kind == Some(CacheKind::AzureBlob) && on, params),
        }
    }
}

/// Only `true` itself turns the cache on, not a text that spells it. Source: compat, config §2.
fn is_on(fields: &mut Fields<'_>) -> bool {
    let Some(node) = fields.get("cache").filter(|node| !node.is_null()) else { return false };
    let Value::Bool(on) = node.value else {
        let found = Diagnostic::warning(
            Some(&node.at),
            fields.at("cache"),
            "only `true`, without quotes, turns the cache on: no answer is cached",
        );
        fields.findings.push(found.remedy("write `cache: true`"));
        return false;
    };
    on
}
