//! What a request may say about its own routing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use faregate_config::{FallbackTarget, Fallbacks};
use faregate_router::ByClass;
use faregate_wire::envelope::Envelope;

use crate::call::BANNED_MEMBERS;

/// One fallback: a group, and members that replace the request's for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The group to try.
    pub group: String,
    /// Members to replace; most fallbacks have none.
    pub overrides: Arc<Map<String, Value>>,
}

/// Fallbacks by the group that failed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chains {
    by_group: BTreeMap<String, Arc<[Target]>>,
    /// For groups without an entry, the key `*`.
    other: Option<Arc<[Target]>>,
}

/// Fallbacks by what happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    /// After any failure.
    pub general: Chains,
    /// After a prompt that does not fit; empty if general ones serve.
    pub context_window: Chains,
    /// After a refusal by a filter; empty if general ones serve.
    pub content_policy: Chains,
}

impl Target {
    fn of(target: &FallbackTarget) -> Self {
        // Where a group is and with what credential it is called is said in the group alone.
        let kept = target.overrides.iter().filter(|(key, _)| !BANNED_MEMBERS.contains(&key.as_str()));
        let overrides = Arc::new(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
        Self { group: target.group.to_string(), overrides }
    }

    /// `"group"`, or `{"model": "group", ...members}`.
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(group) => Some(Self { group: group.clone(), overrides: Arc::default() }),
            Value::Object(members) => {
                let group = members.get("model")?.as_str()?.to_owned();
                let rest = members.iter().filter(|(key, _)| *key != "model");
                let overrides = rest.map(|(key, value)| (key.clone(), value.clone())).collect();
                Some(Self { group, overrides: Arc::new(overrides) })
            }
            _ => None,
        }
    }

    fn read_list(value: &Value) -> Option<Arc<[Self]>> {
        match value {
            Value::Array(items) => items.iter().map(Self::read).collect::<Option<Vec<_>>>().map(Arc::from),
            Value::String(_) => Self::read(value).map(|target| Arc::from([target])),
            _ => None,
        }
    }
}

impl Chains {
    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.by_group.is_empty() && self.other.is_none()
    }

    /// The fallbacks of the first of these names that has any, else those of every group.
    pub fn of<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<Arc<[Target]>> {
        let own = names.into_iter().find_map(|name| self.by_group.get(name));
        own.or(self.other.as_ref()).map(Arc::clone)
    }

    /// True if a name ends in `/` and `tail`: then a name without its provider may mean it.
    pub fn has_suffix(&self, tail: &str) -> bool {
        self.by_group.keys().any(|key| key.strip_suffix(tail).is_some_and(|front| front.ends_with('/')))
    }

    /// Every group somebody falls back to.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.by_group.values().chain(&self.other).flat_map(|chain| chain.iter())
    }

    fn configured<'c>(table: impl IntoIterator<Item = (&'c str, &'c Vec<FallbackTarget>)>) -> Self {
        let mut chains = Self::default();
        for (group, targets) in table {
            let targets: Arc<[Target]> = targets.iter().map(Target::of).collect();
            if group == "*" {
                chains.other = Some(targets);
            } else {
                chains.by_group.insert(group.to_owned(), targets);
            }
        }
        chains
    }

    /// `[{"group": ["a", "b"]}]`, or the same as one mapping.
    fn read(value: &Value) -> Option<Self> {
        let single = std::slice::from_ref(value);
        let items = value.as_array().map_or(single, Vec::as_slice);
        let mut chains = Self::default();
        for item in items {
            for (group, targets) in item.as_object()? {
                let targets = Target::read_list(targets)?;
                if group == "*" {
                    chains.other = Some(targets);
                } else {
                    chains.by_group.insert(group.clone(), targets);
                }
            }
        }
        Some(chains)
    }
}

impl Book {
    /// What the configuration says.
    pub fn of(fallbacks: &Fallbacks) -> Self {
        let read = |table: &'_ BTreeMap<_, Vec<FallbackTarget>>| {
            Chains::configured(
                table
                    .iter()
                    .map(|(group, targets): (&faregate_terms::ModelGroup, _)| (group.as_str(), targets)),
            )
        };
        let mut general = read(&fallbacks.general);
        if !fallbacks.default.is_empty() {
            general.other = Some(fallbacks.default.iter().map(Target::of).collect());
        }
        Self {
            general,
            context_window: read(&fallbacks.context_window),
            content_policy: read(&fallbacks.content_policy),
        }
    }
}

/// A failure that the client asks for, to see what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsal {
    /// `mock_testing_fallbacks`.
    Failure,
    /// `mock_testing_context_fallbacks`.
    ContextWindow,
    /// `mock_testing_content_policy_fallbacks`.
    ContentPolicy,
    /// `mock_testing_rate_limit_error`.
    RateLimit,
}

/// What a request says about its own routing; most say nothing. Source: compat, behaviour §5.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Steering {
    /// Fallbacks of its own.
    pub fallbacks: Own,
    /// No other group, whatever happens.
    pub no_fallbacks: bool,
    /// Groups tried at most.
    pub max_fallbacks: Option<usize>,
    /// A failure to rehearse.
    pub rehearsal: Option<Rehearsal>,
    /// Wait as long as the timeout is, then fail.
    pub mock_timeout: bool,
    /// Answer this instead of calling anybody; for keys that may.
    pub mock_response: Option<Value>,
    /// Whether a stream that breaks off is continued elsewhere, whatever the configuration says.
    pub mid_stream_fallback: Option<bool>,
    /// How urgent it is where requests wait for a place; smaller numbers first.
    pub priority: Option<i64>,
    /// The only region the request may be served in.
    pub region: Option<String>,
}

/// `router_settings` of a key or team: what holds for its requests where they say nothing themselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preferences {
    /// Attempts after the first.
    pub num_retries: Option<u32>,
    /// Of each attempt.
    pub timeout: Option<Duration>,
    /// Retries by class of failure.
    pub retry_policy: Option<ByClass>,
    /// The same for single groups.
    pub group_retry_policies: BTreeMap<String, ByClass>,
    /// Fallbacks in place of the configured ones.
    pub fallbacks: Own,
}

/// Fallbacks of a request's, a key's or a team's own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Own {
    /// A list of groups for any failure.
    pub list: Option<Arc<[Target]>>,
    /// In place of the configured ones.
    pub general: Option<Chains>,
    /// In place of the configured ones.
    pub context_window: Option<Chains>,
    /// In place of the configured ones.
    pub content_policy: Option<Chains>,
}

impl Own {
    fn read(get: impl Fn(&str) -> Option<Value>) -> Self {
        let chains = |name: &str| get(name).as_ref().and_then(Chains::read);
        let list = get("fallbacks").as_ref().and_then(Target::read_list).filter(|list| !list.is_empty());
        Self {
            general: if list.is_none() { chains("fallbacks") } else { None },
            list,
            context_window: chains("context_window_fallbacks"),
            content_policy: chains("content_policy_fallbacks"),
        }
    }

    fn targets(&self) -> impl Iterator<Item = &Target> {
        let chains = [&self.general, &self.context_window, &self.content_policy];
        let chained = chains.into_iter().flatten().flat_map(Chains::targets);
        self.list.iter().flat_map(|list| list.iter()).chain(chained)
    }
}

impl Preferences {
    /// Reads the object; `None` if it says nothing.
    pub fn read(settings: &Value) -> Option<Arc<Self>> {
        let settings = settings.as_object().filter(|settings| !settings.is_empty())?;
        let policy = |value: &Value| {
            let counts =
                value.as_object()?.iter().filter_map(|(name, it)| Some((name.as_str(), it.as_u64()?)));
            Some(ByClass::read(counts, "Retries")).filter(|policy| !policy.is_empty())
        };
        let groups = settings.get("model_group_retry_policy").and_then(Value::as_object);
        let groups = groups.into_iter().flatten();
        let own = |name: &str| settings.get(name).filter(|value| !value.is_null()).cloned();
        let read = Self {
            num_retries: settings
                .get("num_retries")
                .and_then(Value::as_u64)
                .and_then(|number| u32::try_from(number).ok()),
            timeout: settings
                .get("timeout")
                .and_then(Value::as_f64)
                .filter(|seconds| *seconds > 0.0)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            retry_policy: settings.get("retry_policy").and_then(policy),
            group_retry_policies: groups
                .filter_map(|(group, value)| Some((group.clone(), policy(value)?)))
                .collect(),
            fallbacks: Own::read(own),
        };
        (read != Self::default()).then(|| Arc::new(read))
    }

    /// The retry policy for a group, if there is one.
    pub fn policy(&self, group: &str) -> Option<ByClass> {
        self.group_retry_policies.get(group).copied().or(self.retry_policy)
    }
}

/// Members read here.
const MEMBERS: &[&str] = &[
    "fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "disable_fallbacks",
    "max_fallbacks",
    "mock_testing_fallbacks",
    "mock_testing_context_fallbacks",
    "mock_testing_content_policy_fallbacks",
    "mock_testing_rate_limit_error",
    "mock_timeout",
    "mock_response",
    "allowed_model_region",
    "mid_stream_fallback",
    "priority",
];

impl Steering {
    /// Reads a body's members; `None` if it has none.
    pub fn read(envelope: &Envelope) -> Option<Box<Self>> {
        if !MEMBERS.iter().any(|member| envelope.has(member)) {
            return None;
        }
        let is_set = |name: &str| envelope.get::<bool>(name) == Some(true);
        let rehearsals = [
            ("mock_testing_fallbacks", Rehearsal::Failure),
            ("mock_testing_context_fallbacks", Rehearsal::ContextWindow),
            ("mock_testing_content_policy_fallbacks", Rehearsal::ContentPolicy),
            ("mock_testing_rate_limit_error", Rehearsal::RateLimit),
        ];
        Some(Box::new(Self {
            fallbacks: Own::read(|name| envelope.get::<Value>(name)),
            no_fallbacks: is_set("disable_fallbacks"),
            max_fallbacks: envelope.get("max_fallbacks"),
            rehearsal: rehearsals.into_iter().find(|(name, _)| is_set(name)).map(|(_, asked)| asked),
            mock_timeout: is_set("mock_timeout"),
            mock_response: envelope.get::<Value>("mock_response").filter(|value| !value.is_null()),
            mid_stream_fallback: envelope.get("mid_stream_fallback"),
            priority: envelope.get("priority"),
            region: envelope.get::<String>("allowed_model_region").filter(|region| !region.is_empty()),
        }))
    }

    /// A member of a fallback that no client may set.
    pub fn banned(&self) -> Option<&str> {
        let mut members = self.fallbacks.targets().flat_map(|target| target.overrides.keys());
        members.find(|member| BANNED_MEMBERS.contains(&member.as_str())).map(String::as_str)
    }

    /// Groups the client names, which must be groups it may use.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.fallbacks.targets().map(|target| target.group.as_str())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Option<Box<Steering>> {
        Steering::read(&Envelope::index(Bytes::from(body.to_string())).unwrap())
    }

    fn groups(chain: Option<Arc<[Target]>>) -> Vec<String> {
        chain.iter().flat_map(|chain| chain.iter()).map(|target| target.group.clone()).collect()
    }

    #[test]
    fn a_body_that_says_nothing_costs_nothing() {
        assert_eq!(read(json!({"model": "m", "messages": []})), None);
    }

    #[test]
    fn fallbacks_come_as_a_list_or_by_group() {
        let steering = read(json!({"fallbacks": ["a", {"model": "b", "temperature": 0}]})).unwrap();
        assert_eq!(groups(steering.fallbacks.list.clone()), ["a", "b"]);
        assert_eq!(steering.fallbacks.list.unwrap()[1].overrides["temperature"], 0);
        let steering = read(json!({"fallbacks": [{"m": ["a"]}, {"*": ["z"]}]})).unwrap();
        assert_eq!(steering.fallbacks.list, None);
        let chains = steering.fallbacks.general.unwrap();
        assert_eq!(groups(chains.of(["m"])), ["a"]);
        assert_eq!(groups(chains.of(["other"])), ["z"]);
        assert_eq!(groups(chains.of(["other", "m"])), ["a"], "an entry comes before the one for all");
    }

    #[test]
    fn a_key_or_team_says_what_holds_for_its_requests() {
        assert_eq!(Preferences::read(&json!({})), None);
        assert_eq!(Preferences::read(&json!({"routing_strategy": "least-busy"})), None);
        let settings = json!({
            "num_retries": 4, "timeout": 2.5, "fallbacks": [{"m": ["a"]}],
            "retry_policy": {"TimeoutErrorRetries": 1},
            "model_group_retry_policy": {"m": {"RateLimitErrorRetries": 7}},
        });
        let read = Preferences::read(&settings).unwrap();
        assert_eq!((read.num_retries, read.timeout), (Some(4), Some(Duration::from_millis(2500))));
        assert_eq!(groups(read.fallbacks.general.as_ref().unwrap().of(["m"])), ["a"]);
        assert_eq!(read.policy("m").unwrap().rate_limit, Some(7));
        assert_eq!(read.policy("other").unwrap().timeout, Some(1));
    }
}
