//! The routing part of a configuration, in the form the request path asks about.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use faregate_config::{HedgeAfter, HedgeSettings, OpenMap, Snapshot, Strategy, TokenRate};
use faregate_router::{
    After, Alias, BudgetRule, ByClass, Checks, CooldownRule, HedgeRule, OwnRule, Router, TagRule,
    strategy::{self, Args},
};
use faregate_state::limits::{Limit, Scope, ScopeKey};
use faregate_terms::{PicoUsd, Usage};

use crate::gate::{Deployment, Table, token_kind};
use crate::health::{Care, Memory};
use crate::stage::kinship::Bonding;
use crate::stage::places::Budgeted;
use crate::steering::Book;
use groups::Own;

mod groups;

/// Fallback groups tried at most. Source: compat, `ROUTER_MAX_FALLBACKS`.
const MAX_FALLBACKS: usize = 5;
/// How long a deployment rests. Source: compat, `DEFAULT_COOLDOWN_TIME_SECONDS`.
const COOLDOWN: Duration = Duration::from_secs(5);
/// `litellm_settings.allowed_fails` when absent. Source: compat, config §2.
const ALLOWED_FAILS: u64 = 3;
/// The price of deployments is compared for so many tokens of prompt and of answer.
const PRICED: u64 = 1_000_000;

/// How requests are routed.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// Retries by class of failure.
    pub retry_policy: ByClass,
    /// The same for single groups.
    pub group_retry_policies: HashMap<String, ByClass>,
    /// Other groups to try.
    pub fallbacks: Book,
    /// Of those, at most so many.
    pub max_fallbacks: usize,
    /// Error messages tell what was tried.
    pub tells: bool,
    /// Deployments' own rpm and tpm hold.
    pub minds_rates: bool,
    /// A group's deployments that were not called yet are, beyond its retries.
    pub weighted_failover: bool,
    /// All attempts, waits and fallbacks of a request together.
    pub total_timeout: Option<Duration>,
    /// How many retries a group may make; `None` for as many as each request may.
    pub retry_budget: Option<BudgetRule>,
    /// Requests that go to the deployment which served others like them.
    pub bonding: Bonding,
    /// Groups that make a second call when the first is slow.
    pub hedging: HashMap<String, HedgeRule>,
    /// How streams of a group must begin before they are passed on.
    pub guards: HashMap<String, StreamGuard>,
    /// Groups whose broken streams are continued elsewhere.
    pub continued: Continued,
    /// How urgent requests are that do not say.
    pub default_priority: i64,
    /// Some deployment's requests are copied to other groups.
    pub mirrors: bool,
    /// Configured fallbacks are for those who may use their group.
    pub checks_fallbacks: bool,
    /// Providers and deployments that have a budget.
    pub budgets: Budgeted,
}

impl Routing {
    /// Reads a configuration.
    pub fn of(snapshot: &Snapshot) -> Self {
        let (router, litellm) = (&snapshot.router, &snapshot.litellm);
        let group_policies = router.group_retry_policy.iter();
        Self {
            retry_policy: by_class(&router.retry_policy, "Retries"),
            group_retry_policies: group_policies
                .map(|(group, policy)| (group.to_string(), by_class(policy, "Retries")))
                .collect(),
            fallbacks: Book::of(&snapshot.fallbacks),
            max_fallbacks: router
                .max_fallbacks
                .or(litellm.max_fallbacks)
                .map_or(MAX_FALLBACKS, |most| usize::try_from(most).unwrap_or(usize::MAX)),
            tells: litellm.expose_router_debug_in_errors.unwrap_or(true),
            minds_rates: entry(router.strategy).minds_rates
                || minds_rates(snapshot)
                || Own::of(snapshot).minds_rates(),
            weighted_failover: router.weighted_failover,
            total_timeout: router.total_timeout,
            retry_budget: retry_budget(snapshot),
            hedging: hedging(snapshot),
            guards: guards(snapshot),
            bonding: bonding(snapshot),
            default_priority: router.default_priority.unwrap_or_default(),
            mirrors: snapshot.deployments.iter().any(|it| !it.params.silent_models.is_empty()),
            continued: Continued {
                all: router.mid_stream_fallback,
                groups: router.mid_stream_fallback_groups.iter().map(ToString::to_string).collect(),
            },
            checks_fallbacks: snapshot.general.enforce_fallback_model_access,
            budgets: Budgeted::of(snapshot),
        }
    }

    /// When a request that came then is over.
    pub fn deadline(&self, arrived: Instant) -> Option<Instant> {
        self.total_timeout.and_then(|most| arrived.checked_add(most))
    }

    /// The policy for a group.
    pub fn policy(&self, group: &str) -> ByClass {
        self.group_retry_policies.get(group).copied().unwrap_or(self.retry_policy)
    }
}

/// Groups whose broken streams are continued elsewhere, where the request does not say.
#[derive(Debug, Clone, Default)]
pub struct Continued {
    all: bool,
    groups: HashSet<String>,
}

impl Continued {
    /// True if those of `group` are.
    pub fn holds(&self, group: &str) -> bool {
        self.all || (!self.groups.is_empty() && self.groups.contains(group))
    }
}

/// Source: compat, config §3, `deployment_affinity_ttl_seconds`.
const AFFINITY_TTL: Duration = Duration::from_secs(3_600);

fn bonding(snapshot: &Snapshot) -> Bonding {
    let router = &snapshot.router;
    let asks = |name| router.optional_pre_call_checks.iter().any(|check| check == name);
    Bonding {
        prompt: asks("prompt_caching"),
        session: asks("session_affinity"),
        caller: asks("deployment_affinity"),
        response: asks("responses_api_deployment_check"),
        sealed: asks("encrypted_content_affinity"),
        ttl: router.affinity_ttl.unwrap_or(AFFINITY_TTL),
    }
}

fn retry_budget(snapshot: &Snapshot) -> Option<BudgetRule> {
    let (given, own) = (&snapshot.router.retry_budget, BudgetRule::default());
    given.enabled.unwrap_or(true).then(|| BudgetRule {
        ratio: given.ratio.unwrap_or(own.ratio),
        least_per_second: given.least_per_second.unwrap_or(own.least_per_second),
    })
}

/// What losing calls may cost, as a part of what answers cost, when nobody says otherwise.
const EXTRA_SPEND: f64 = 0.05;

/// How a stream must begin before it is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamGuard {
    /// So many tokens must come,
    pub tokens: u64,
    /// in this time after the first one.
    pub within: Duration,
}

/// What must come where a group's guard does not say.
const GUARD: StreamGuard = StreamGuard { tokens: 20, within: Duration::from_secs(2) };

fn guards(snapshot: &Snapshot) -> HashMap<String, StreamGuard> {
    let guards = snapshot.router.stream_guard.iter().map(|(group, given)| {
        let tokens = given.tokens.unwrap_or(GUARD.tokens);
        (group.to_string(), StreamGuard { tokens, within: given.within.unwrap_or(GUARD.within) })
    });
    guards.collect()
}

fn hedging(snapshot: &Snapshot) -> HashMap<String, HedgeRule> {
    let rule = |given: &HedgeSettings| HedgeRule {
        after: match given.after {
            HedgeAfter::Percentile(percent) => After::Quantile(percent / 100.0),
            HedgeAfter::Time(time) => After::Time(time),
        },
        max_extra_spend: given.max_extra_spend.unwrap_or(EXTRA_SPEND),
    };
    let given = snapshot.router.hedging.iter();
    given.map(|(group, given)| (group.to_string(), rule(given))).collect()
}

/// The router over `deployments`.
pub fn router(table: &Table, snapshot: &Snapshot) -> Router {
    let weights = &snapshot.router.weights;
    let routed = table.deployments.iter().map(|deployment| {
        let own =
            weights.get(&deployment.config.group).and_then(|ids| ids.get(deployment.config.id.as_str()));
        routed(table, deployment, own.copied())
    });
    let routed = routed.collect();
    let aliases = snapshot
        .aliases
        .iter()
        .map(|(name, alias)| {
            (name.to_string(), Alias { group: alias.group.to_string(), hidden: alias.hidden })
        })
        .collect();
    let settings = &snapshot.router;
    let rule = match settings.tag_filtering_match_any {
        Some(false) => TagRule::All,
        _ => TagRule::Any,
    };
    let checks = Checks {
        tags: settings.enable_tag_filtering.then_some(rule),
        pre_call: settings.enable_pre_call_checks,
    };
    let strategy = (entry(settings.strategy).make)(&args(&settings.strategy_args));
    Router::new(routed, aliases, strategy, checks).grouped(groups::groupings(snapshot))
}

fn routed(table: &Table, deployment: &Deployment, weight: Option<f64>) -> faregate_router::Deployment {
    let (config, params) = (&deployment.config, &deployment.config.params);
    let fixed = !deployment.upstream_model.contains('*');
    let destination = || deployment.main_destination(&deployment.upstream_model, table).ok();
    let destination = if fixed { destination() } else { None };
    let usage = Usage { input: PRICED, output: PRICED, ..Usage::default() };
    let known = destination.as_ref().and_then(|destination| destination.info.as_deref()?.max_input_tokens);
    faregate_router::Deployment {
        weight: weight.or(params.weight),
        rpm: params.rpm,
        tpm: params.tpm,
        order: params.order,
        tags: params.tags.clone(),
        region: params.region_name.clone(),
        team: config.info.team_id.clone(),
        team_name: config.info.team_public_model_name.clone(),
        max_input_tokens: config.info.max_input_tokens.or(known),
        price: destination
            .and_then(|destination| destination.cost(&usage))
            .filter(|cost| *cost >= PicoUsd::ZERO),
        ..faregate_router::Deployment::new(config.group.clone(), config.id.clone())
    }
}

/// The limits of each deployment's own, and how it is looked after.
pub fn look_after(deployments: &mut [Deployment], care: &Care, snapshot: &Snapshot) {
    let router = &snapshot.router;
    let (own_strategies, checks_rates) = (Own::of(snapshot), minds_rates(snapshot));
    let kind = token_kind(TokenRate::Total);
    let mut members: HashMap<String, usize> = HashMap::new();
    for deployment in deployments.iter() {
        *members.entry(deployment.config.group.to_string()).or_default() += 1;
    }
    for deployment in deployments {
        let (info, params) = (&deployment.config.info, &deployment.config.params);
        let scope = || ScopeKey::of(Scope::Deployment, deployment.config.id.as_str());
        let own_strategy = own_strategies.get(deployment.config.group.as_str());
        let strategy = own_strategy.map_or(router.strategy, |(strategy, _)| strategy);
        let minds_rates = checks_rates || entry(strategy).minds_rates;
        let rate = |most: Option<u64>| most.filter(|_| minds_rates);
        let parallel = params.max_parallel_requests.or(router.default_max_parallel_requests);
        let limits = [
            rate(params.rpm).map(|most| Limit::requests(scope(), most)),
            rate(params.tpm).map(|most| Limit::tokens(scope(), kind, most)),
            parallel.map(|most| Limit::parallel(scope(), most)),
        ];
        let group = deployment.config.group.as_str();
        let own = OwnRule {
            time: info.cooldown_time.or(params.cooldown_time),
            allowed_fails: info.allowed_fails.map(narrow),
            policy: by_class(&info.allowed_fails_policy, "AllowedFails"),
            is_single: members.get(group) == Some(&1),
            is_catch_all: group == "*",
        };
        deployment.limits = limits.into_iter().flatten().collect();
        let memory = own_strategy.map_or(care.memory, |(_, args)| memory(args));
        deployment.care = Arc::new(Care { own, memory, ..*care });
    }
}

/// How deployments are looked after that have nothing of their own.
pub fn care(snapshot: &Snapshot) -> Care {
    let memory = memory(&snapshot.router.strategy_args);
    Care { cooldown: cooldown(snapshot), own: OwnRule::default(), memory }
}

/// What is remembered of a deployment's latency.
fn memory(given: &OpenMap) -> Memory {
    let args = args(given);
    Memory { samples: args.max_latency_list_size, ttl: args.ttl, percentile: args.ttft_percentile }
}

fn cooldown(snapshot: &Snapshot) -> CooldownRule {
    let (router, litellm) = (&snapshot.router, &snapshot.litellm);
    let baseline = litellm.allowed_fails.unwrap_or(ALLOWED_FAILS);
    CooldownRule {
        is_on: !router.disable_cooldowns,
        time: router.cooldown_time.unwrap_or(COOLDOWN),
        // A number that says what holds anyway keeps the default rule. Source: compat, config §3.
        allowed_fails: router.allowed_fails.filter(|fails| *fails != baseline).map(narrow),
        policy: by_class(&router.allowed_fails_policy, "AllowedFails"),
    }
}

/// The strategy's entry; LiteLLM's learned router is not known here and falls back to the default.
fn entry(of: Strategy) -> &'static strategy::Entry {
    let word = Strategy::WORDS.iter().find(|(_, known)| *known == of);
    word.and_then(|(word, _)| strategy::named(word)).unwrap_or(&strategy::STRATEGIES[0])
}

/// Source: compat, config §3, `enable_pre_call_checks` and `optional_pre_call_checks`.
fn minds_rates(snapshot: &Snapshot) -> bool {
    let router = &snapshot.router;
    router.enable_pre_call_checks
        || router.optional_pre_call_checks.iter().any(|check| check == "enforce_model_rate_limits")
}

fn args(given: &OpenMap) -> Args {
    let number = |key: &str| given.get(key).and_then(serde_json::Value::as_f64).filter(|n| *n >= 0.0);
    let known = Args::default();
    Args {
        ttl: number("ttl").and_then(|n| Duration::try_from_secs_f64(n).ok()).unwrap_or(known.ttl),
        lowest_latency_buffer: number("lowest_latency_buffer").unwrap_or(known.lowest_latency_buffer),
        max_latency_list_size: number("max_latency_list_size")
            .map_or(known.max_latency_list_size, |n| n as usize)
            .clamp(1, MOST_SAMPLES),
        ttft_percentile: number("ttft_percentile").filter(|percentile| *percentile <= 100.0),
    }
}

/// Latencies remembered of one deployment at most.
const MOST_SAMPLES: usize = 1000;

fn by_class(policy: &std::collections::BTreeMap<String, u64>, suffix: &str) -> ByClass {
    ByClass::read(policy.iter().map(|(name, number)| (name.as_str(), *number)), suffix)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
