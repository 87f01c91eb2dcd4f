//! Everything a request can be refused for, and what the client is told.
//!
//! The one place that decides status, type, code and message. Each client dialect then renders the
//! resulting [`ErrorNote`] in its own shape.

use std::net::IpAddr;
use std::time::Duration;

use faregate_terms::{Fault, FaultClass};
use faregate_wire::dialect::{BadRequest, ErrorNote, Unsupported};
use faregate_wire::envelope::BadBody;

use crate::caller::{Blocked, Granter};

/// Why a request gets no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No credential.
    #[error("Authentication Error, No api key passed in.")]
    NoKey,
    /// `Authorization` without a scheme we take.
    #[error(
        "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix. \
         Passed in: {0}"
    )]
    MalformedKey(String),
    /// Not the form of a virtual key.
    #[error("LiteLLM Virtual Key expected. Received={0}, expected to start with 'sk-'.")]
    NotAVirtualKey(String),
    /// A key, but no store that could know it.
    #[error("No connected db.")]
    NoStore,
    /// No such key.
    #[error(
        "Authentication Error, Invalid proxy server token passed. Received API Key = {shown}, Key Hash (Token) \
         ={hash}. Unable to find token in cache or `LiteLLM_VerificationTokenTable`"
    )]
    UnknownKey {
        /// The key, shortened.
        shown: String,
        /// Its hash, hex.
        hash: String,
    },
    /// The key has ended.
    #[error("Authentication Error - Expired Key. Key Expiry time {expires} and current time {now}")]
    Expired {
        /// The key, shortened.
        shown: String,
        /// When it ended.
        expires: String,
        /// The time it is.
        now: String,
    },
    /// The key, or somebody it belongs to, is blocked.
    #[error("Authentication Error, {}", describe_block(.0))]
    Blocked(Blocked),
    /// Nobody can be asked who calls.
    #[error("The database cannot be reached, so this key cannot be checked; try again later. ({0})")]
    StoreAway(String),
    /// The key is bound to other routes.
    #[error(
        "Virtual key is not allowed to call this route. Only allowed to call routes: {allowed:?}. Tried to \
         call route: {route}"
    )]
    RouteDenied {
        /// The routes it may call.
        allowed: Vec<String>,
        /// The route called.
        route: String,
    },
    /// The key may not call this route of an operator's own. Source: LiteLLM's `route_checks.py`.
    #[error("{}", describe_route(.route, .by.as_deref()))]
    PassThroughDenied {
        /// The route called.
        route: String,
        /// The rule that denies it, if one does; else nobody has allowed it.
        by: Option<String>,
    },
    /// A path that leads elsewhere once it is decoded.
    #[error("The path cannot be passed through: it must not hold `..` behind an escaped slash")]
    BadPath,
    /// What a route of an operator's own leads to does not answer.
    #[error("The target of this route does not answer: {0}")]
    TargetAway(String),
    /// The same, in time.
    #[error("The target of this route does not answer in time: {0}")]
    TargetLate(String),
    /// The key, or somebody it belongs to, may not use this model.
    #[error(
        "The caller is not allowed to access model={model}. Call `/v1/models` to view the models available to \
         this key."
    )]
    ModelDenied {
        /// Whose list says so.
        whose: Granter,
        /// The model.
        model: String,
    },
    /// A budget or rate limit.
    #[error("{}", .0.message)]
    Limited(Box<Limited>),
    /// What may be spent at the group's deployments, or at their providers, is spent.
    #[error("{}", .0.message)]
    CrossedBudget(Box<Limited>),
    /// The client is at an address from which nobody may call.
    #[error("Access forbidden: IP address {} not allowed.", .0.map_or("unknown".to_owned(), |it| it.to_string()))]
    AddressDenied(Option<IpAddr>),
    /// The caller may not call this route.
    #[error("Only the master key may call this route")]
    AdminOnly,
    /// The caller may not have this deployment checked.
    #[error("key not allowed to health-check {0}")]
    CheckDenied(String),
    /// Whoever drains the process has a token to show.
    #[error("Invalid or missing X-Drain-Token")]
    NoDrainToken,
    /// The response cache is off, or does not answer.
    #[error("{0}")]
    CacheAway(String),
    /// The body is no JSON object.
    #[error(transparent)]
    Body(#[from] BadBody),
    /// The body is larger than allowed.
    #[error(
        "Request body is larger than {limit} bytes; raise general_settings.max_request_size_mb to allow it"
    )]
    TooLarge {
        /// The limit, bytes.
        limit: usize,
    },
    /// The body did not come in time, or broke off.
    #[error("The request body did not arrive in full: {0}")]
    BodyLost(String),
    /// A member is missing or wrong.
    #[error("{0}")]
    Invalid(#[from] BadRequest),
    /// A member the client may not set.
    #[error("Authentication Error, Rejected Request: {0} is not allowed in request body.")]
    BannedMember(String),
    /// No such model.
    #[error(
        "{route}: Invalid model name passed in model={model}. Call `/v1/models` to view available \
         models for your key."
    )]
    UnknownModel {
        /// The route called.
        route: &'static str,
        /// The name sent.
        model: String,
    },
    /// Parameters the model does not take.
    #[error(
        "litellm.UnsupportedParamsError: {provider} does not support parameters: {params:?}, for \
         model={model}. To drop these, set `drop_params: true` under litellm_settings or send \
         `\"drop_params\": true` with the request"
    )]
    UnsupportedParams {
        /// The provider.
        provider: String,
        /// The upstream model.
        model: String,
        /// The parameters.
        params: Vec<String>,
    },
    /// Content the model's dialect cannot express.
    #[error("{0}")]
    Unsupported(#[from] Unsupported),
    /// Every deployment rests or is full.
    #[error("{0}")]
    NoDeployment(Box<Nowhere>),
    /// No deployment has the request's tags.
    #[error("Not allowed to access model due to tags configuration. Passed model={model} and tags={tags:?}")]
    NoTaggedDeployment {
        /// The name sent.
        model: String,
        /// The request's tags.
        tags: Vec<String>,
    },
    /// No deployment is where the request may be served.
    #[error(
        "no deployment of model={model} is in region `{region}`, the only one this request may be served in"
    )]
    NoRegion {
        /// The name sent.
        model: String,
        /// The region.
        region: String,
    },
    /// Something this version does not do.
    #[error("{0}")]
    NotImplemented(String),
    /// The path is known with other methods only.
    #[error("Method Not Allowed")]
    WrongMethod(Vec<&'static str>),
    /// Nothing is known by that id.
    #[error("{0}")]
    NotFound(String),
    /// A provider failed.
    #[error("{}", describe(.fault, .provider))]
    Upstream {
        /// How.
        fault: Box<Fault>,
        /// Which provider.
        provider: String,
    },
    /// The client left before there was anything to send.
    #[error("Client disconnected the request")]
    ClientGone,
    /// A defect of ours; the details are in the log.
    #[error("Internal server error")]
    Internal,
}

/// A group nobody of which can be asked now. Source: compat, behaviour §3.1.
#[derive(Debug, Clone, PartialEq)]
pub struct Nowhere {
    /// The name sent.
    pub model: String,
    /// When it may be worth another try.
    pub retry_after: Duration,
    /// True if each deployment rests; false if some are full.
    pub all_rest: bool,
    /// True if pre-call checks are on.
    pub pre_call: bool,
    /// Those that rest, why and how long.
    pub resting: Vec<String>,
}

impl std::fmt::Display for Nowhere {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.retry_after.as_secs_f64().ceil();
        write!(out, "No deployments available for selected model, Try again in {seconds} seconds.")?;
        if self.all_rest {
            out.write_str(" All deployments for selected model are in cooldown.")?;
        }
        let Self { model, pre_call, resting, .. } = self;
        write!(
            out,
            " Passed model={model}. pre-call-checks={pre_call}, cooldown_list=[{}]",
            resting.join(", ")
        )
    }
}

/// A limit that does not admit a request, as the client is told. [`crate::stage`] makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Limited {
    /// HTTP status.
    pub status: u16,
    /// OpenAI-style type.
    pub kind: &'static str,
    /// LiteLLM's name of the exception.
    pub class: &'static str,
    /// What the client is told.
    pub message: String,
    /// When it may be worth another try.
    pub retry_after: Option<Duration>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

/// Source: compat, behaviour §3.1.
fn describe_block(blocked: &Blocked) -> String {
    match blocked {
        Blocked::Key => "Key is blocked. Update via `/key/unblock` if you're an admin.".to_owned(),
        Blocked::Team(team) => {
            format!("Team={team} is blocked. Update via `/team/unblock` if you're an admin.")
        }
        Blocked::Project(project) => {
            format!("Project={project} is blocked. Update via `/project/update` if you're an admin.")
        }
        Blocked::User(user) => format!("User={user} has been deactivated."),
    }
}

fn describe_route(route: &str, by: Option<&str>) -> String {
    match by {
        Some(rule) => format!(
            "Key/team denied access to passthrough route {route}. Matched `{rule}` in `denied_passthrough_routes`."
        ),
        None => format!(
            "Key/team not allowed to access passthrough route {route}. Configure `allowed_passthrough_routes` on the \
             team or key."
        ),
    }
}

/// Source: compat, behaviour §3.1, "Model not allowed".
fn denied_kind(whose: Granter) -> &'static str {
    match whose {
        Granter::Key => "key_model_access_denied",
        Granter::Team => "team_model_access_denied",
        Granter::User => "user_model_access_denied",
        Granter::Organization => "org_model_access_denied",
        Granter::Project => "project_model_access_denied",
        Granter::EndUser => "customer_model_access_denied",
    }
}

fn describe(fault: &Fault, provider: &str) -> String {
    let class = fault.class.name();
    if provider.is_empty() {
        return format!("litellm.{class}: {}", fault.message);
    }
    let provider = exception_prefix(provider);
    format!("litellm.{class}: {provider}Exception - {}", fault.message)
}

/// A provider's name as LiteLLM's messages spell it, which alert rules look for.
fn exception_prefix(provider: &str) -> String {
    if provider == "openai" {
        return "OpenAI".to_owned();
    }
    let mut letters = provider.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl Refusal {
    /// A provider failed.
    pub fn upstream(fault: Fault, provider: &str) -> Self {
        Self::Upstream { fault: Box::new(fault), provider: provider.to_owned() }
    }

    /// The same, telling which groups were tried after `group` and why the last of them failed. Only a
    /// provider's failure is told more of. Source: compat, behaviour §3.2.
    #[must_use]
    pub fn telling(mut self, group: &str, fallbacks: &[String], last: Option<&Refusal>) -> Self {
        if let (Self::Upstream { fault, .. }, false) = (&mut self, fallbacks.is_empty()) {
            let mut told = format!(
                ". Received Model Group={group}\nAvailable Model Group Fallbacks=[{}]",
                fallbacks.join(", ")
            );
            if let Some(last) = last {
                told.push_str(&format!("\nError doing the fallback: {last}"));
            }
            fault.message.push_str(&told);
        }
        self
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoKey | Self::MalformedKey(_) | Self::NotAVirtualKey(_) => 401,
            Self::BannedMember(_) | Self::AdminOnly | Self::NoDrainToken => 401,
            Self::UnknownKey { .. } | Self::Expired { .. } | Self::Blocked(_) => 401,
            Self::StoreAway(_) | Self::CacheAway(_) => 503,
            Self::RouteDenied { .. } | Self::PassThroughDenied { .. } | Self::ModelDenied { .. } => 403,
            Self::TargetAway(_) => 502,
            Self::TargetLate(_) => 504,
            Self::CheckDenied(_) | Self::AddressDenied(_) => 403,
            Self::Limited(limited) | Self::CrossedBudget(limited) => limited.status,
            Self::NoDeployment(_) => 429,
            Self::NoTaggedDeployment { .. } => 401,
            Self::NoStore
            | Self::NoRegion { .. }
            | Self::Body(_)
            | Self::BadPath
            | Self::BodyLost(_)
            | Self::Invalid(_)
            | Self::UnknownModel { .. }
            | Self::UnsupportedParams { .. }
            | Self::Unsupported(_) => 400,
            Self::TooLarge { .. } => 413,
            Self::NotImplemented(_) => 501,
            Self::WrongMethod(_) => 405,
            Self::NotFound(_) => 404,
            // A request too large for the provider is a bad request with a status of its own.
            Self::Upstream { fault, .. }
                if fault.class == FaultClass::BadRequest && fault.upstream_status == Some(413) =>
            {
                413
            }
            Self::Upstream { fault, .. } => fault.class.status(),
            Self::ClientGone => 499,
            Self::Internal => 500,
        }
    }

    /// OpenAI-style type. Source: compat, behaviour §3.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoKey
            | Self::MalformedKey(_)
            | Self::NotAVirtualKey(_)
            | Self::BannedMember(_)
            | Self::Blocked(_)
            | Self::RouteDenied { .. }
            | Self::PassThroughDenied { .. }
            | Self::NoTaggedDeployment { .. }
            | Self::CheckDenied(_)
            | Self::AddressDenied(_)
            | Self::NoDrainToken
            | Self::AdminOnly => "auth_error",
            Self::NoDeployment(nowhere) if nowhere.all_rest => "all_deployments_in_cooldown",
            Self::UnknownKey { .. } => "token_not_found_in_db",
            Self::Expired { .. } => "expired_key",
            Self::NoStore | Self::StoreAway(_) => "no_db_connection",
            Self::ModelDenied { whose, .. } => denied_kind(*whose),
            Self::Limited(limited) | Self::CrossedBudget(limited) => limited.kind,
            Self::ClientGone => "client_disconnect",
            Self::Upstream { fault, .. } => kind_of(fault.class),
            Self::Internal => "internal_server_error",
            _ => kind_of_status(self.status()),
        }
    }

    /// The request member at fault.
    pub fn param(&self) -> Option<String> {
        match self {
            Self::Body(_) => Some("request_body".to_owned()),
            Self::UnknownKey { .. } => Some("key".to_owned()),
            Self::Expired { shown, .. } => Some(shown.clone()),
            Self::ModelDenied { .. } => Some("model".to_owned()),
            Self::Invalid(bad) => bad.param.clone(),
            Self::Unsupported(unsupported) => Some(unsupported.what.clone()),
            Self::UnsupportedParams { params, .. } => params.first().cloned(),
            Self::Upstream { fault, .. } => fault.param.clone(),
            _ => None,
        }
    }

    /// LiteLLM's name of the exception, for the `exception_class` label.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Upstream { fault, .. } => fault.class.name(),
            Self::UnsupportedParams { .. } => "UnsupportedParamsError",
            Self::Limited(limited) | Self::CrossedBudget(limited) => limited.class,
            Self::NoDeployment(_) => "RouterRateLimitError",
            Self::TargetAway(_) => FaultClass::Connection.name(),
            Self::TargetLate(_) => FaultClass::Timeout.name(),
            _ => "ProxyException",
        }
    }

    /// How long the client should wait before it tries again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream { fault, .. } => fault.retry_after,
            Self::Limited(limited) | Self::CrossedBudget(limited) => limited.retry_after,
            Self::NoDeployment(nowhere) => Some(nowhere.retry_after),
            _ => None,
        }
    }

    /// Further headers of the answer.
    pub fn headers(&self) -> &[(&'static str, String)] {
        match self {
            Self::Limited(limited) | Self::CrossedBudget(limited) => &limited.headers,
            _ => &[],
        }
    }

    /// What the client is told.
    pub fn note(&self, call_id: &str) -> ErrorNote {
        let status = self.status();
        let code = match self {
            // Clients branch on the provider's own word, e.g. `context_length_exceeded`.
            Self::Upstream { fault, .. } => code_of(fault),
            _ => None,
        };
        ErrorNote {
            status,
            kind: self.kind().to_owned(),
            message: self.to_string(),
            code: code.unwrap_or_else(|| status.to_string()),
            param: self.param(),
            call_id: call_id.to_owned(),
        }
    }
}

/// The type sent for a failed provider call. Source: compat, behaviour §3.2.
fn kind_of(class: FaultClass) -> &'static str {
    match class {
        FaultClass::RateLimit => "throttling_error",
        other => kind_of_status(other.status()),
    }
}

fn kind_of_status(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "internal_server_error",
    }
}

/// The provider's code word; for a class that clients branch on OpenAI's, unless the provider has one in its
/// manner (Google's `INVALID_ARGUMENT` is none).
fn code_of(fault: &Fault) -> Option<String> {
    let word = match fault.class {
        FaultClass::ContextWindow => "context_length_exceeded",
        FaultClass::ContentPolicy => "content_policy_violation",
        _ => return fault.code.clone(),
    };
    let own = fault.code.as_ref().filter(|code| !code.bytes().any(|byte| byte.is_ascii_uppercase()));
    Some(own.cloned().unwrap_or_else(|| word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_keeps_its_class_status_and_code_word() {
        let mut fault = Fault::new(FaultClass::ContextWindow, "too long");
        fault.code = Some("context_length_exceeded".into());
        let note = Refusal::upstream(fault, "openai").note("id");
        assert_eq!(note.status, 400);
        assert_eq!(note.code, "context_length_exceeded");
        assert_eq!(note.kind, "invalid_request_error");
        assert_eq!(note.message, "litellm.ContextWindowExceededError: OpenAIException - too long");
    }

    #[test]
    fn our_own_errors_carry_their_status_as_code() {
        let note = Refusal::NoKey.note("id");
        assert_eq!((note.status, note.code.as_str(), note.kind.as_str()), (401, "401", "auth_error"));
        let note = Refusal::UnknownModel { route: "/chat/completions", model: "x".into() }.note("id");
        assert_eq!((note.status, note.kind.as_str()), (400, "invalid_request_error"));
    }
}
