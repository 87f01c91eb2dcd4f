//! `litellm_settings.cache` and `cache_params`: answers kept for the next one who asks the same.

use std::path::PathBuf;
use std::time::Duration;

use super::redis::RedisConfig;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::node::Value;

/// The response cache; only what the gateway acts on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CacheSettings {
    /// `litellm_settings.cache` is `true`; nothing else turns the cache on.
    pub on: bool,
    /// Where answers are kept; `None` for a kind this version has no code for.
    pub kind: Option<CacheKind>,
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
    /// The Redis of `type: redis`.
    pub redis: RedisConfig,
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

/// Every type LiteLLM knows, and what it is here.
const KINDS: &[(&str, Option<CacheKind>)] = &[
    ("local", Some(CacheKind::Memory)),
    ("redis", Some(CacheKind::Redis)),
    ("disk", Some(CacheKind::Disk)),
    ("redis-semantic", None),
    ("valkey-semantic", None),
    ("qdrant-semantic", None),
    ("s3", None),
    ("gcs", None),
    ("azure-blob", None),
];

/// The types that are honoured, for messages.
const HONOURED: &str = "`local`, `redis` or `disk`";

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
        let kind = kind(on, params);
        Self {
            on,
            kind,
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
            redis: match params.filled("type").as_deref() {
                None | Some("redis" | "redis-semantic") => RedisConfig::of_map(params),
                Some(_) => RedisConfig::default(),
            },
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

/// `redis` when nothing is said, as in LiteLLM's proxy. A type without code makes a warning: models are served
/// all the same, their answers are not kept.
fn kind(on: bool, params: &mut Fields<'_>) -> Option<CacheKind> {
    if params.get("type").is_none_or(|node| node.is_null()) {
        return Some(CacheKind::Redis);
    }
    let kind = params.word("type", KINDS)?;
    if let (None, true, Some(node)) = (kind, on, params.get("type")) {
        let given = node.scalar_text().unwrap_or_default();
        let message = format!("the cache type `{given}` is not honoured yet: no answer is cached");
        let found = Diagnostic::warning(Some(&node.at), params.at("type"), message);
        params.findings.push(found.remedy(format!("use {HONOURED}, or remove `cache: true`")));
    }
    kind
}

/// What the report of keys says of a type.
pub(crate) fn is_honoured(kind: &str) -> bool {
    KINDS.iter().any(|(word, kind_of)| *word == kind && kind_of.is_some())
}
