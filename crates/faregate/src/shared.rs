//! What replicas share: counters, news of changes, who runs what must run once.

use std::sync::Arc;

use anyhow::Context;
use faregate_config::{RedisConfig, Snapshot};
use faregate_gateway::checkup::{self, Checkups};
use faregate_gateway::gate::limit_settings;
use faregate_state::affinity::{self, Affinity};
use faregate_state::clock::Clock;
use faregate_state::cooldown::{self, Cooldowns};
use faregate_state::feed::RedisLog;
use faregate_state::figures::{self, Figures};
use faregate_state::invalidate::{Invalidations, TOPIC};
use faregate_state::lease::{Leadership, MemoryClaims, RedisClaims};
use faregate_state::limits::{Limits, RedisCounters};
use faregate_state::redis::{Redis, RedisSettings};
use faregate_store::{Engine, Store};
use faregate_terms::Secret;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::shared_sql::{SqlClaims, SqlCounters, SqlLog};

/// Names of everything in a Redis that several installations may use.
pub(crate) const INSTALLATION: &str = "faregate";

/// The parts that agree with other replicas.
pub struct Shared {
    /// Budgets and rates.
    pub limits: Limits,
    /// Deployments that rest.
    pub cooldowns: Cooldowns,
    /// Keys of deployments that rest.
    pub key_rests: Cooldowns,
    /// Which deployment served what; over Redis alone, as there is much of it.
    pub affinity: Affinity,
    /// What deployments do; over Redis alone, as it is said all the time.
    pub figures: Figures,
    /// What health checks found.
    pub checkups: Checkups,
    /// News of changes.
    pub invalidations: Invalidations,
    /// Who runs what must run once.
    pub leadership: Leadership,
    /// Where they agree, if they do; for messages.
    pub over: Option<&'static str>,
}

/// Over Redis if one is named, else over PostgreSQL, else (SQLite) within this process. What has to run until the end runs on `tasks`, until
/// `stop`.
///
/// # Errors
/// If the settings make no sense. A Redis that does not answer is no error: this replica then goes on alone,
/// and agrees with the others when it does.
pub fn start(
    snapshot: &Snapshot,
    store: &Store,
    clock: &Arc<dyn Clock>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<Shared> {
    let Some(settings) = redis_settings(snapshot) else {
        if store.engine() == Engine::Postgres {
            return Ok(over_database(store, clock, tasks, stop));
        }
        return Ok(Shared {
            limits: Limits::alone(limit_settings(), Arc::clone(clock)),
            cooldowns: Cooldowns::alone(Arc::clone(clock)),
            key_rests: Cooldowns::alone(Arc::clone(clock)),
            affinity: Affinity::alone(Arc::clone(clock)),
            figures: Figures::alone(Arc::clone(clock)),
            checkups: Checkups::alone(Arc::clone(clock)),
            invalidations: Invalidations::alone(Arc::clone(clock)),
            leadership: Leadership::new(Arc::new(MemoryClaims::new(Arc::clone(clock))), Arc::clone(clock)),
            over: None,
        });
    };
    let redis = Redis::new(&settings, INSTALLATION).context("the Redis settings cannot be used")?;
    let counters = Arc::new(RedisCounters::new(&redis));
    let (limits, keeper) = Limits::shared(limit_settings(), Arc::clone(clock), counters);
    tasks.spawn(keeper.run(stop.clone()));
    let log = Arc::new(RedisLog::new(&redis.another(), TOPIC));
    let (invalidations, follow) = Invalidations::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let log = Arc::new(RedisLog::new(&redis.another(), cooldown::TOPIC));
    let (cooldowns, follow) = Cooldowns::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let log = Arc::new(RedisLog::new(&redis.another(), cooldown::KEYS_TOPIC));
    let (key_rests, follow) = Cooldowns::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let log = Arc::new(RedisLog::new(&redis.another(), affinity::TOPIC));
    let (affinity, follow) = Affinity::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let log = Arc::new(RedisLog::new(&redis.another(), figures::TOPIC).keeping(figures::KEPT));
    let (figures, follow) = Figures::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let log = Arc::new(RedisLog::new(&redis.another(), checkup::TOPIC));
    let (checkups, follow) = Checkups::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let leadership = Leadership::new(Arc::new(RedisClaims::new(&redis)), Arc::clone(clock));
    let over = Some("redis");
    Ok(Shared { limits, cooldowns, key_rests, affinity, figures, checkups, invalidations, leadership, over })
}

/// Replicas of one PostgreSQL agree through it.
fn over_database(
    store: &Store,
    clock: &Arc<dyn Clock>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Shared {
    let counters = Arc::new(SqlCounters(store.clone()));
    let (limits, keeper) = Limits::shared(limit_settings(), Arc::clone(clock), counters);
    tasks.spawn(keeper.run(stop.clone()));
    let log = Arc::new(SqlLog { store: store.clone(), topic: TOPIC });
    let (invalidations, follow) = Invalidations::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let log = Arc::new(SqlLog { store: store.clone(), topic: cooldown::TOPIC });
    let (cooldowns, follow) = Cooldowns::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let log = Arc::new(SqlLog { store: store.clone(), topic: cooldown::KEYS_TOPIC });
    let (key_rests, follow) = Cooldowns::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let log = Arc::new(SqlLog { store: store.clone(), topic: checkup::TOPIC });
    let (checkups, follow) = Checkups::shared(log, Arc::clone(clock), stop.clone());
    tasks.spawn(follow);
    let leadership = Leadership::new(Arc::new(SqlClaims(store.clone())), Arc::clone(clock));
    let (affinity, figures) = (Affinity::alone(Arc::clone(clock)), Figures::alone(Arc::clone(clock)));
    let over = Some("the database");
    Shared { limits, cooldowns, key_rests, affinity, figures, checkups, invalidations, leadership, over }
}

/// `coordination_redis`, else `router_settings.redis_*`, else the cache's, else `REDIS_*`.
fn redis_settings(snapshot: &Snapshot) -> Option<RedisSettings> {
    let env = from_env(snapshot);
    let named =
        [&snapshot.general.coordination_redis, &snapshot.router.redis, &snapshot.litellm.cache.redis, &env];
    let config = named.into_iter().find(|config| config.is_some())?;
    Some(settings_of(config, &env))
}

/// The Redis of `cache_params`, else of `REDIS_*`; `None` if neither names one.
pub(crate) fn cache_settings(snapshot: &Snapshot) -> Option<RedisSettings> {
    let env = from_env(snapshot);
    let named = [&snapshot.litellm.cache.redis, &env];
    let config = named.into_iter().find(|config| config.is_some())?;
    Some(settings_of(config, &env))
}

fn settings_of(config: &RedisConfig, env: &RedisConfig) -> RedisSettings {
    let port = |port: Option<u64>| port.and_then(|port| u16::try_from(port).ok()).unwrap_or(6379);
    let host = config.host.clone().map(|host| (host, port(config.port)));
    let nodes = config.nodes.iter().map(|(host, number)| (host.clone(), port(Some(*number))));
    RedisSettings {
        url: config.url.clone(),
        hosts: if config.nodes.is_empty() { host.into_iter().collect() } else { nodes.collect() },
        username: config.username.clone(),
        // Some of the single values may be left to the environment.
        password: config.password.clone().or_else(|| env.password.clone()),
        db: config.db.and_then(|db| i64::try_from(db).ok()).unwrap_or_default(),
        ssl: config.ssl || env.ssl,
        cluster: !config.nodes.is_empty(),
        ..RedisSettings::default()
    }
}

/// Source: compat, env, Redis.
fn from_env(snapshot: &Snapshot) -> RedisConfig {
    #[derive(Deserialize)]
    struct Node {
        host: String,
        port: u64,
    }
    let get = |name: &str| snapshot.env.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let number = |name: &str| get(name).and_then(|text| text.parse().ok());
    let nodes: Vec<Node> =
        get("REDIS_CLUSTER_NODES").and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    RedisConfig {
        url: get("REDIS_URL").map(Secret::from),
        host: get("REDIS_HOST"),
        port: number("REDIS_PORT"),
        username: get("REDIS_USERNAME"),
        password: get("REDIS_PASSWORD").map(Secret::from),
        db: number("REDIS_DB"),
        ssl: get("REDIS_SSL").is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1"),
        nodes: nodes.into_iter().map(|node| (node.host, node.port)).collect(),
    }
}
