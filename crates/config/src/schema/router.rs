//! `router_settings`: how a request finds and retries deployments.

use std::collections::BTreeMap;
use std::time::Duration;

use faregate_terms::ModelGroup;

use super::limits::RouterLimits;
use super::redis::RedisConfig;
use super::routing_groups::{self, RoutingGroup};
use super::thrift::{self, HedgeSettings, RetryBudgetSettings, StreamGuardSettings};
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::open_map::OpenMap;

/// How the deployments of a group share its traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Random, by weight, requests or tokens per minute.
    #[default]
    SimpleShuffle,
    /// Fewest requests in flight.
    LeastBusy,
    /// Fewest tokens used in the current minute.
    UsageBased,
    /// The same with shared counters.
    UsageBasedV2,
    /// Lowest recent latency.
    LatencyBased,
    /// Lowest price.
    CostBased,
    /// LiteLLM's learned router.
    Lar1,
}

impl Strategy {
    /// The words of the configuration.
    pub const WORDS: &[(&str, Strategy)] = &[
        ("simple-shuffle", Strategy::SimpleShuffle),
        ("least-busy", Strategy::LeastBusy),
        ("usage-based-routing", Strategy::UsageBased),
        ("usage-based-routing-v2", Strategy::UsageBasedV2),
        ("latency-based-routing", Strategy::LatencyBased),
        ("cost-based-routing", Strategy::CostBased),
        ("lar1", Strategy::Lar1),
    ];
}

/// `router_settings`; absent keys are `None`, so that the defaults stay in one place, the router.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouterSettings {
    /// How deployments share traffic.
    pub strategy: Strategy,
    /// Options of the strategy.
    pub strategy_args: OpenMap,
    /// Attempts after the first over a group's deployments; else `litellm_settings.num_retries`.
    pub num_retries: Option<u64>,
    /// Fallback groups tried at most.
    pub max_fallbacks: Option<u64>,
    /// Limit of a whole call; else `litellm_settings.request_timeout`.
    pub timeout: Option<Duration>,
    /// Limit of a call that streams.
    pub stream_timeout: Option<Duration>,
    /// Limit of a request with all its attempts, waits and fallbacks; none when absent.
    pub total_timeout: Option<Duration>,
    /// Shortest wait before a retry.
    pub retry_after: Option<Duration>,
    /// Retries by error class, such as `RateLimitErrorRetries`.
    pub retry_policy: BTreeMap<String, u64>,
    /// The same for single groups.
    pub group_retry_policy: BTreeMap<ModelGroup, BTreeMap<String, u64>>,
    /// Retries of a group's requests together.
    pub retry_budget: RetryBudgetSettings,
    /// Groups that make a second call when the first is slow.
    pub hedging: BTreeMap<ModelGroup, HedgeSettings>,
    /// How streams of a group must begin before they are passed on.
    pub stream_guard: BTreeMap<ModelGroup, StreamGuardSettings>,
    /// Streams of text that break off are continued elsewhere.
    pub mid_stream_fallback: bool,
    /// The same for single groups.
    pub mid_stream_fallback_groups: Vec<ModelGroup>,
    /// How urgent requests are that do not say; smaller numbers first.
    pub default_priority: Option<i64>,
    /// Failures per minute before a cooldown.
    pub allowed_fails: Option<u64>,
    /// The same by error class, such as `TimeoutErrorAllowedFails`.
    pub allowed_fails_policy: BTreeMap<String, u64>,
    /// Pause of a failing deployment.
    pub cooldown_time: Option<Duration>,
    /// Never pause deployments.
    pub disable_cooldowns: bool,
    /// Leave out deployments that cannot take the request before it is sent.
    pub enable_pre_call_checks: bool,
    /// Names of further checks.
    pub optional_pre_call_checks: Vec<String>,
    /// Groups that share a strategy of their own.
    pub routing_groups: Vec<RoutingGroup>,
    /// A failure is followed by calls to the group's other deployments, beyond its retries.
    pub weighted_failover: bool,
    /// Shares of the traffic by group and deployment id, in place of the deployments' own.
    pub weights: BTreeMap<ModelGroup, BTreeMap<String, f64>>,
    /// How long requests of a session or caller stay with a deployment.
    pub affinity_ttl: Option<Duration>,
    /// Route by request tags.
    pub enable_tag_filtering: bool,
    /// One matching tag is enough.
    pub tag_filtering_match_any: Option<bool>,
    /// Calls in flight per deployment without a limit of its own.
    pub default_max_parallel_requests: Option<u64>,
    /// Parameters every deployment gets.
    pub default_litellm_params: OpenMap,
    /// `redis_url`, `redis_host` and so on.
    pub redis: RedisConfig,
    /// Rates of the whole installation.
    pub limits: RouterLimits,
    /// The section as it was written, for those who look at it; without how Redis is reached.
    pub written: OpenMap,
}

impl RouterSettings {
    pub(crate) fn read(fields: &mut Fields<'_>) -> Self {
        refuse_health_check_keys(fields);
        Self {
            strategy: fields.word("routing_strategy", Strategy::WORDS).unwrap_or_default(),
            strategy_args: fields.open("routing_strategy_args").unwrap_or_default(),
            num_retries: fields.count("num_retries"),
            max_fallbacks: fields.count("max_fallbacks"),
            timeout: fields.seconds("timeout"),
            stream_timeout: fields.seconds("stream_timeout"),
            total_timeout: fields.seconds("total_timeout"),
            retry_after: fields.seconds("retry_after"),
            retry_policy: fields
                .child("retry_policy")
                .map(|mut policy| counts(&mut policy))
                .unwrap_or_default(),
            group_retry_policy: group_policies(fields),
            retry_budget: fields
                .child("retry_budget")
                .map(|mut budget| RetryBudgetSettings::read(&mut budget))
                .unwrap_or_default(),
            hedging: thrift::hedging(fields),
            stream_guard: thrift::stream_guard(fields),
            default_priority: fields.number("default_priority").map(|priority| priority as i64),
            mid_stream_fallback: fields.flag("enable_mid_stream_fallback_continuation").unwrap_or_default(),
            mid_stream_fallback_groups: fields
                .texts("mid_stream_fallback_groups")
                .unwrap_or_default()
                .into_iter()
                .map(ModelGroup::from)
                .collect(),
            allowed_fails: fields.count("allowed_fails"),
            allowed_fails_policy: fields
                .child("allowed_fails_policy")
                .map(|mut policy| counts(&mut policy))
                .unwrap_or_default(),
            cooldown_time: fields.seconds("cooldown_time"),
            disable_cooldowns: fields.flag("disable_cooldowns").unwrap_or_default(),
            enable_pre_call_checks: fields.flag("enable_pre_call_checks").unwrap_or_default(),
            optional_pre_call_checks: fields.texts("optional_pre_call_checks").unwrap_or_default(),
            routing_groups: routing_groups::read(fields),
            weighted_failover: fields.flag("enable_weighted_failover").unwrap_or_default(),
            weights: weights(fields),
            affinity_ttl: fields.seconds("deployment_affinity_ttl_seconds"),
            enable_tag_filtering: fields.flag("enable_tag_filtering").unwrap_or_default(),
            tag_filtering_match_any: fields.flag("tag_filtering_match_any"),
            default_max_parallel_requests: fields.count("default_max_parallel_requests"),
            default_litellm_params: fields.open("default_litellm_params").unwrap_or_default(),
            limits: RouterLimits::read(fields),
            redis: RedisConfig::of_router(fields),
            written: written(fields),
        }
    }
}

fn written(fields: &Fields<'_>) -> OpenMap {
    let open = fields.entries().iter().filter(|entry| !entry.key.starts_with("redis_"));
    OpenMap(open.map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
}

pub(super) fn counts(fields: &mut Fields<'_>) -> BTreeMap<String, u64> {
    let entries = fields.entries();
    entries.iter().filter_map(|entry| Some((entry.key.clone(), fields.count(&entry.key)?))).collect()
}

fn weights(fields: &mut Fields<'_>) -> BTreeMap<ModelGroup, BTreeMap<String, f64>> {
    let Some(mut groups) = fields.child("weights") else { return BTreeMap::new() };
    let entries = groups.entries();
    entries
        .iter()
        .filter_map(|entry| {
            let mut group = groups.child(&entry.key)?;
            let ids = group.entries().iter();
            let shares = ids.filter_map(|id| Some((id.key.clone(), group.amount(&id.key)?))).collect();
            Some((ModelGroup::from(entry.key.as_str()), shares))
        })
        .collect()
}

fn group_policies(fields: &mut Fields<'_>) -> BTreeMap<ModelGroup, BTreeMap<String, u64>> {
    let Some(mut groups) = fields.child("model_group_retry_policy") else { return BTreeMap::new() };
    let entries = groups.entries();
    entries
        .iter()
        .filter_map(|entry| {
            let mut policy = groups.child(&entry.key)?;
            Some((ModelGroup::from(entry.key.as_str()), counts(&mut policy)))
        })
        .collect()
}

/// LiteLLM refuses to start with these two here (compat/config.md section 0, "Unknown keys").
fn refuse_health_check_keys(fields: &mut Fields<'_>) {
    for key in ["health_check_interval", "health_check_concurrency"] {
        if let Some(entry) = fields.entries().iter().find(|entry| entry.key == key) {
            let found = Diagnostic::error(Some(&entry.key_at), fields.at(key), "is not a router setting");
            fields.findings.push(found.remedy(format!("move it to `general_settings.{key}`")));
        }
    }
}
