//! Who calls: a virtual key with everybody it belongs to, in the form the request path asks about.
//!
//! Built once, when the key is read, so that a request only compares and clones.

use std::collections::BTreeMap;
use std::sync::Arc;

use faregate_state::limits::Limit;
use faregate_terms::{Account, PicoUsd, UtcMillis};

use crate::steering::Preferences;

/// A virtual key and everybody it belongs to.
#[derive(Debug, Default)]
pub struct Caller {
    /// Whom requests are booked on: key, user, team, organization, project. What only a request knows is
    /// empty.
    pub account: Account,
    /// `sk-...` and the last four characters; what messages may show of the key.
    pub shown: String,
    /// True for keys of administrators.
    pub is_admin: bool,
    /// Why no request of this key is served.
    pub blocked: Option<Blocked>,
    /// When the key ends.
    pub expires: Option<UtcMillis>,
    /// Every one of these must allow a model.
    pub grants: Vec<Grant>,
    /// Model names of the key's and the team's own, and what they stand for.
    pub aliases: BTreeMap<String, String>,
    /// Routes the key may call; empty is all of its kind.
    pub routes: Vec<String>,
    /// Routes of an operator's own that the key may and may not call, if anything is said of them.
    pub pass_through: Option<Box<PassThroughRoutes>>,
    /// Limits of every request.
    pub limits: Vec<Limit>,
    /// Limits of requests for one model.
    pub model_limits: Vec<ModelLimit>,
    /// Limits that answers show as `x-litellm-key-*`.
    pub shown_limits: ShownLimits,
    /// Spend on record when the key was read.
    pub spent: PicoUsd,
    /// What an operator has permitted clients of this key.
    pub permits: Permits,
    /// The only region its requests may be served in.
    pub region: Option<Box<str>>,
    /// How its requests are routed where they say nothing themselves.
    pub preferences: Option<Arc<Preferences>>,
}

/// Why no request of a key is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The key itself.
    Key,
    /// Its team, by id.
    Team(String),
    /// Its project, by id.
    Project(String),
    /// Its owner has been deactivated.
    User(String),
}

/// Whose list of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granter {
    /// The key.
    Key,
    /// Its team.
    Team,
    /// Its user.
    User,
    /// Its organization.
    Organization,
    /// Its project.
    Project,
    /// The end user.
    EndUser,
}

/// A list of models somebody allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose it is.
    pub whose: Granter,
    /// Names, wildcards, access groups, or the special names; empty allows all.
    pub models: Vec<String>,
}

impl Grant {
    /// True if this list allows `model`, which belongs to these access groups.
    ///
    /// Source: compat, database, special model names.
    pub fn allows(&self, model: &str, groups: &[String]) -> bool {
        self.models.is_empty()
            || self.models.iter().any(|allowed| {
                matches!(allowed.as_str(), "*" | "all-proxy-models")
                    || allowed == model
                    || groups.contains(allowed)
                    || matches_wildcard(allowed, model)
            })
    }
}

/// `openai/*` and the like.
fn matches_wildcard(pattern: &str, name: &str) -> bool {
    pattern.split_once('*').is_some_and(|(front, back)| {
        name.len() >= front.len() + back.len() && name.starts_with(front) && name.ends_with(back)
    })
}

/// What key and team say of routes of an operator's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassThroughRoutes {
    /// `allowed_passthrough_routes` of the key, else of its team.
    pub allowed: Vec<String>,
    /// `denied_passthrough_routes` of both.
    pub denied: Vec<String>,
}

impl PassThroughRoutes {
    /// True if `route` may be called.
    pub fn grants(&self, route: &str) -> bool {
        self.allowed.iter().any(|allowed| covers(allowed, route))
    }

    /// The rule that keeps `route` from being called, if there is one; `/` is for all.
    pub fn denial_of(&self, route: &str) -> Option<&str> {
        let denies = |rule: &&String| rule.trim_end_matches('/').is_empty() || covers(rule, route);
        self.denied.iter().find(denies).map(String::as_str)
    }
}

/// True if a rule is for `route`: the same path, one above it, or one that ends in `*`.
fn covers(rule: &str, route: &str) -> bool {
    if let Some(front) = rule.strip_suffix('*') {
        return route.starts_with(front);
    }
    let rule = rule.trim_end_matches('/');
    !rule.is_empty() && route.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A limit of requests for one model.
#[derive(Debug, Clone)]
pub struct ModelLimit {
    /// The group; may end in `*`.
    pub model: String,
    /// The limit.
    pub limit: Limit,
}

impl ModelLimit {
    /// True if requests for `model` are counted.
    pub fn counts(&self, model: &str) -> bool {
        counts_model(&self.model, model)
    }
}

/// True if a limit for `limited`, which may end in `*`, is one for `model`.
pub fn counts_model(limited: &str, model: &str) -> bool {
    limited == model || matches_wildcard(limited, model)
}

/// Values of `x-litellm-key-*-limit` headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShownLimits {
    /// Tokens per minute.
    pub tpm: Option<i64>,
    /// Requests per minute.
    pub rpm: Option<i64>,
    /// Dollars.
    pub max_budget: Option<PicoUsd>,
}

/// What an operator has permitted clients of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permits {
    /// `mock_response` and the like in a request.
    pub mock_response: bool,
}

/// Something else that requests are counted against: an end user, a tag, the whole installation.
#[derive(Debug, Default)]
pub struct Subject {
    /// True if its requests are refused.
    pub blocked: bool,
    /// Its limits.
    pub limits: Vec<Limit>,
    /// Limits of requests for one model.
    pub model_limits: Vec<ModelLimit>,
    /// The models it may use, if it may not use all.
    pub grant: Option<Grant>,
    /// The only region its requests may be served in.
    pub region: Option<String>,
}

/// Names of routes that stand for many. Source: compat, database, `allowed_routes`.
const ROUTE_GROUPS: &[(&str, &[&str])] = &[
    (
        "openai_routes",
        &[
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/responses",
            "/v1/embeddings",
            "/v1/rerank",
            "/v1/audio/transcriptions",
            "/v1/models",
            "/utils/token_counter",
            "/utils/supported",
        ],
    ),
    ("anthropic_routes", &["/v1/messages"]),
    ("google_routes", &["/v1beta/models"]),
    ("info_routes", &["/v1/model/info", "/model_group/info", "/v1/models", "/health", "/metrics"]),
];

impl Caller {
    /// True if this key may call the data plane's route with these paths, of which the first is canonical.
    pub fn may_call(&self, paths: &[&str]) -> bool {
        let in_group = |group: &str, path: &str| {
            let known = ROUTE_GROUPS.iter().find(|(name, _)| *name == group);
            known.is_some_and(|(_, prefixes)| prefixes.iter().any(|prefix| path.starts_with(prefix)))
        };
        self.routes.is_empty()
            || self.routes.iter().any(|allowed| {
                matches!(allowed.as_str(), "llm_api_routes" | "*" | "/*")
                    || paths.iter().any(|path| {
                        allowed == path || matches_wildcard(allowed, path) || in_group(allowed, path)
                    })
            })
    }

    /// True if the key is for routes of an operator's own at all.
    pub fn may_pass_through(&self) -> bool {
        let kinds = ["llm_api_routes", "openai_routes", "*", "/*"];
        self.routes.is_empty() || self.routes.iter().any(|allowed| kinds.contains(&allowed.as_str()))
    }

    /// True if the key's list of routes names `route` itself; a group of routes or a bare `*` names none.
    pub fn names_route(&self, route: &str) -> bool {
        self.routes.iter().any(|rule| !rule.trim_matches(['/', '*']).is_empty() && covers(rule, route))
    }

    /// What `model` stands for with this key.
    pub fn real_name<'a>(&'a self, model: &'a str) -> &'a str {
        self.aliases.get(model).map_or(model, String::as_str)
    }

    /// The list that does not allow `model`, if there is one.
    pub fn denied(&self, model: &str, groups: &[String]) -> Option<Granter> {
        self.grants.iter().find(|grant| !grant.allows(model, groups)).map(|grant| grant.whose)
    }
}

/// A caller, shared by the requests it makes.
pub type SharedCaller = Arc<Caller>;

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(models: &[&str]) -> Grant {
        Grant { whose: Granter::Key, models: models.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn a_list_allows_names_wildcards_access_groups_and_all() {
        let groups = ["beta".to_owned()];
        for (models, model, allowed) in [
            (&[][..], "gpt-4o", true),
            (&["gpt-4o"], "gpt-4o", true),
            (&["gpt-4o"], "gpt-4o-mini", false),
            (&["openai/*"], "openai/gpt-4o", true),
            (&["openai/*"], "anthropic/claude", false),
            (&["beta"], "anything", true),
            (&["gamma"], "anything", false),
            (&["all-proxy-models"], "anything", true),
            (&["no-default-models"], "anything", false),
        ] {
            assert_eq!(grant(models).allows(model, &groups), allowed, "{models:?} {model}");
        }
    }

    #[test]
    fn the_first_list_that_does_not_allow_a_model_is_named() {
        let mut caller = Caller { grants: vec![grant(&["a", "b"])], ..Caller::default() };
        caller.grants.push(Grant { whose: Granter::Team, models: vec!["a".into()] });
        assert_eq!(caller.denied("a", &[]), None);
        assert_eq!(caller.denied("b", &[]), Some(Granter::Team));
        assert_eq!(caller.denied("c", &[]), Some(Granter::Key));
    }

    #[test]
    fn a_key_bound_to_routes_calls_no_others() {
        let caller = |routes: &[&str]| Caller {
            routes: routes.iter().map(ToString::to_string).collect(),
            ..Caller::default()
        };
        let chat = ["/v1/chat/completions", "/chat/completions"];
        for (routes, allowed) in [
            (&[][..], true),
            (&["/chat/completions"], true),
            (&["/v1/chat/completions"], true),
            (&["llm_api_routes"], true),
            (&["openai_routes"], true),
            (&["anthropic_routes"], false),
            (&["management_routes"], false),
            (&["/v1/chat/*"], true),
            (&["/key/*"], false),
        ] {
            assert_eq!(caller(routes).may_call(&chat), allowed, "{routes:?}");
        }
    }
}
