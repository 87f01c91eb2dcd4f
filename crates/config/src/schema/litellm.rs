//! `litellm_settings`: behaviour shared by all calls.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cache::CacheSettings;
use super::limits::SpendSettings;
use super::people::PeopleDefaults;

use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::node::{Node, Value};
use crate::open_map::OpenMap;

/// `litellm_settings`; only what the gateway acts on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LitellmSettings {
    /// Drop OpenAI parameters a provider does not take, instead of refusing the request.
    pub drop_params: Option<bool>,
    /// Repair requests a provider would refuse.
    pub modify_params: Option<bool>,
    /// Retries, when `router_settings` says nothing.
    pub num_retries: Option<u64>,
    /// Fallback groups tried at most, when `router_settings` says nothing.
    pub max_fallbacks: Option<u64>,
    /// What `router_settings.allowed_fails` has to differ from to count.
    pub allowed_fails: Option<u64>,
    /// Limit of a call, when `router_settings` says nothing.
    pub request_timeout: Option<Duration>,
    /// Log at debug level.
    pub set_verbose: bool,
    /// Log as JSON.
    pub json_logs: Option<bool>,
    /// `callbacks`, `success_callback` and `failure_callback` together, each name once.
    pub callbacks: Vec<String>,
    /// Those of them that only `success_callback` names.
    pub success_callbacks: Vec<String>,
    /// Those of them that only `failure_callback` names.
    pub failure_callbacks: Vec<String>,
    /// Whether `/metrics` asks for a key; true when absent.
    pub require_auth_for_metrics_endpoint: Option<bool>,
    /// Upper bounds of the latency histograms, in seconds, ascending.
    pub prometheus_latency_buckets: Option<Vec<f64>>,
    /// Whether and how to verify providers' certificates.
    pub ssl_verify: Option<SslVerify>,
    /// Further names for models, everywhere.
    pub model_alias_map: BTreeMap<String, String>,
    /// Pause between `event: ping` frames on `/v1/messages` streams.
    pub anthropic_sse_ping_interval: Option<Duration>,
    /// Pause between comment frames on other streams; none when absent.
    pub sse_keepalive_interval: Option<Duration>,
    /// Whether error messages to clients name groups and fallbacks; true when absent.
    pub expose_router_debug_in_errors: Option<bool>,
    /// `cache` and `cache_params`.
    pub cache: CacheSettings,
    /// Prompts and answers are not written down.
    pub turn_off_message_logging: bool,
    /// Groups that anybody may know of.
    pub public_model_groups: Vec<String>,
    /// Links that are shown beside them, by title.
    pub public_links: OpenMap,
    /// Budgets.
    pub spend: SpendSettings,
    /// `upperbound_key_generate_params`, `default_key_generate_params` and `key_generation_settings`, as written.
    pub key_rules: OpenMap,
    /// What new users and teams get.
    pub people: PeopleDefaults,
}

/// `ssl_verify` of the configuration or the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SslVerify {
    /// Against the system's or the bundled roots.
    On,
    /// Not at all.
    Off,
    /// Against the roots of a PEM file.
    Roots(std::path::PathBuf),
}

impl SslVerify {
    /// `true`, `false`, or a path.
    pub(crate) fn parse(text: &str) -> Self {
        match crate::fields::parse_flag(text) {
            Some(true) => Self::On,
            Some(false) => Self::Off,
            None => Self::Roots(text.into()),
        }
    }
}

impl LitellmSettings {
    /// Whether a callback of that name is configured.
    pub fn has_callback(&self, name: &str) -> bool {
        self.callbacks.iter().any(|callback| callback == name)
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Self {
        check_budget_reset_time(fields);
        let [both, success, failure] = ["callbacks", "success_callback", "failure_callback"]
            .map(|key| fields.texts(key).unwrap_or_default());
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            these.iter().filter(|name| !both.contains(name) && !those.contains(name)).cloned().collect()
        };
        Self {
            success_callbacks: only(&success, &failure),
            failure_callbacks: only(&failure, &success),
            drop_params: fields.flag("drop_params"),
            modify_params: fields.flag("modify_params"),
            num_retries: fields.count("num_retries"),
            max_fallbacks: fields.count("max_fallbacks"),
            allowed_fails: fields.count("allowed_fails"),
            request_timeout: fields.seconds("request_timeout"),
            set_verbose: fields.flag("set_verbose").unwrap_or_default(),
            json_logs: fields.flag("json_logs"),
            callbacks: callbacks([both, success, failure]),
            require_auth_for_metrics_endpoint: fields.flag("require_auth_for_metrics_endpoint"),
            prometheus_latency_buckets: buckets(fields),
            ssl_verify: fields.text("ssl_verify").map(|text| SslVerify::parse(&text)),
            model_alias_map: alias_map(fields),
            anthropic_sse_ping_interval: fields.seconds("anthropic_sse_ping_interval_seconds"),
            sse_keepalive_interval: fields.seconds("sse_keepalive_ping_interval_seconds"),
            expose_router_debug_in_errors: fields.flag("expose_router_debug_in_errors"),
            cache: CacheSettings::read(fields),
            turn_off_message_logging: fields.flag("turn_off_message_logging").unwrap_or_default(),
            public_model_groups: fields.texts("public_model_groups").unwrap_or_default(),
            public_links: fields.open("public_model_groups_links").unwrap_or_default(),
            spend: SpendSettings::read(fields),
            key_rules: key_rules(fields),
            people: PeopleDefaults::read(fields),
        }
    }
}

fn key_rules(fields: &mut Fields<'_>) -> OpenMap {
    let mut rules = OpenMap::default();
    for key in ["upperbound_key_generate_params", "default_key_generate_params", "key_generation_settings"] {
        if let Some(rule) = fields.open(key) {
            rules.insert(key.to_owned(), rule.0.into());
        }
    }
    rules
}

/// Each name once.
fn callbacks(lists: [Vec<String>; 3]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in lists.into_iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn buckets(fields: &mut Fields<'_>) -> Option<Vec<f64>> {
    let key = "prometheus_latency_buckets";
    let node = fields.get(key)?;
    let bounds: Option<Vec<f64>> = node.items().and_then(|items| {
        items.iter().filter(|item| !is_infinite(item)).map(crate::fields::number_of).collect()
    });
    let ascending = bounds.filter(|bounds| bounds.windows(2).all(|pair| pair[0] < pair[1]));
    if ascending.is_none() {
        fields.error(key, node, "expected a list of ascending numbers of seconds");
    }
    ascending
}

/// `.inf` ends LiteLLM's lists; every histogram has that bucket anyway.
fn is_infinite(node: &Node) -> bool {
    matches!(&node.value, Value::Float(text) if text == ".inf")
        || matches!(&node.value, Value::Text(text) if text.eq_ignore_ascii_case("inf"))
}

fn alias_map(fields: &mut Fields<'_>) -> BTreeMap<String, String> {
    let Some(mut map) = fields.child("model_alias_map") else { return BTreeMap::new() };
    let entries = map.entries();
    entries.iter().filter_map(|entry| Some((entry.key.clone(), map.text(&entry.key)?))).collect()
}

/// LiteLLM refuses to start with a malformed one (compat/config.md section 2). Unquoted `16:30` is the
/// number 990 in YAML 1.1, hence the remedy.
fn check_budget_reset_time(fields: &mut Fields<'_>) {
    let key = "budget_reset_time";
    let Some(node) = fields.get(key) else { return };
    let valid = matches!(&node.value, Value::Text(text) if {
        let parts: Vec<_> = text.split(':').collect();
        let below = |part: &str, end: u8| part.len() == 2 && part.parse::<u8>().is_ok_and(|n| n < end);
        matches!(parts.len(), 2 | 3) && below(parts[0], 24) && parts[1..].iter().all(|part| below(part, 60))
    });
    if !valid {
        let found =
            Diagnostic::error(Some(&node.at), fields.at(key), "expected a time of day as quoted text");
        fields.findings.push(found.remedy("write for example \"06:30\""));
    }
}
