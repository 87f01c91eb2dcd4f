//! Health checks: what `general_settings` says of all, and `model_info` of one deployment.

use std::time::Duration;

use faregate_terms::Secret;

use crate::fields::Fields;
use crate::open_map::OpenMap;

/// `general_settings`: when deployments are checked and what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSettings {
    /// Every deployment is checked again and again.
    pub in_background: bool,
    /// Between two checks of a deployment; else `DEFAULT_HEALTH_CHECK_INTERVAL`.
    pub interval: Option<Duration>,
    /// `/health` shows how a deployment is reached and why it fails.
    pub details: bool,
    /// Checks under way at the same time.
    pub concurrency: Option<u64>,
    /// Deployments that fail their checks get no requests.
    pub routes: bool,
    /// For how long a failed check keeps a deployment from requests.
    pub staleness: Option<Duration>,
    /// Rate limits and timeouts do not.
    pub ignore_transient: bool,
    /// Deployments without background checks are not checked on demand either.
    pub skip_disabled: bool,
    /// Only these groups are checked in the background, if named.
    pub groups: Option<Vec<String>>,
    /// Lists of models leave out those of which no deployment is well.
    pub lists_healthy: bool,
    /// Stored results older than this are deleted, e.g. `30d`.
    pub keep_for: Option<String>,
    /// `/health/readiness` shows everything to everybody.
    pub public_details: bool,
    /// `/health/drain` exists.
    pub drains: bool,
    /// What `/health/drain` wants to see; else `DRAIN_ENDPOINT_TOKEN`.
    pub drain_token: Option<Secret>,
    /// `GRACEFUL_SHUTDOWN_TIMEOUT`.
    pub drain_time: Option<Duration>,
    /// `HEALTH_CHECK_TIMEOUT_SECONDS`.
    pub timeout: Option<Duration>,
    /// `DEFAULT_HEALTH_CHECK_PROMPT`.
    pub prompt: Option<String>,
    /// `BACKGROUND_HEALTH_CHECK_MAX_TOKENS`.
    pub max_tokens: Option<u64>,
    /// `BACKGROUND_HEALTH_CHECK_MAX_TOKENS_REASONING`.
    pub max_tokens_reasoning: Option<u64>,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            in_background: false,
            interval: None,
            details: true,
            concurrency: None,
            routes: false,
            staleness: None,
            ignore_transient: false,
            skip_disabled: false,
            groups: None,
            lists_healthy: false,
            keep_for: None,
            public_details: false,
            drains: false,
            drain_token: None,
            drain_time: None,
            timeout: None,
            prompt: None,
            max_tokens: None,
            max_tokens_reasoning: None,
        }
    }
}

impl CheckSettings {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let mut flag = |key: &str, usual: bool| fields.flag(key).unwrap_or(usual);
        let (in_background, details) =
            (flag("background_health_checks", false), flag("health_check_details", true));
        let routes = flag("enable_health_check_routing", false);
        let ignore_transient = flag("health_check_ignore_transient_errors", false);
        let skip_disabled = flag("health_check_skip_disabled_background_models", false);
        let public_details = flag("allow_public_health_readiness_details", false);
        let lists_healthy = flag("model_list_healthy_only", false);
        let drains = flag("enable_drain_endpoint", false);
        Self {
            in_background,
            details,
            routes,
            ignore_transient,
            skip_disabled,
            public_details,
            lists_healthy,
            drains,
            interval: fields.seconds("health_check_interval").filter(|it| !it.is_zero()),
            concurrency: fields.count("health_check_concurrency").filter(|most| *most > 0),
            staleness: fields.seconds("health_check_staleness_threshold"),
            groups: fields.texts("background_health_check_model_groups"),
            keep_for: fields.filled("maximum_health_check_retention_period"),
            drain_token: fields.secret("drain_endpoint_token"),
            ..Self::default()
        }
    }
}

/// `model_info.health_check_*`: how one deployment is checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OwnCheck {
    /// The upstream model to ask for, `provider/model`; what a wildcard needs.
    pub model: Option<String>,
    /// How long an answer may take.
    pub timeout: Option<Duration>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u64>,
    /// The same for models that reason.
    pub max_tokens_reasoning: Option<u64>,
    /// The same for those that do not.
    pub max_tokens_plain: Option<u64>,
    /// Whether a limit of tokens is sent at all.
    pub sends_max_tokens: Option<bool>,
    /// `reasoning_effort` of the check.
    pub effort: Option<String>,
    /// Further members of the check's request.
    pub params: OpenMap,
    /// Not checked in the background.
    pub off: bool,
}

impl OwnCheck {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            model: fields.filled("health_check_model"),
            timeout: fields.seconds("health_check_timeout").filter(|it| !it.is_zero()),
            max_tokens: fields.count("health_check_max_tokens"),
            max_tokens_reasoning: fields.count("health_check_max_tokens_reasoning"),
            max_tokens_plain: fields.count("health_check_max_tokens_non_reasoning"),
            sends_max_tokens: fields.flag("health_check_supports_max_tokens"),
            effort: fields.filled("health_check_reasoning_effort"),
            params: fields.open("health_check_params").unwrap_or_default(),
            off: fields.flag("disable_background_health_check").unwrap_or_default(),
        }
    }
}
