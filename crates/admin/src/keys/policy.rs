//! What the operator says of new keys: defaults, upper bounds, who may make them, what they must name.
//!
//! Three settings of `litellm_settings`, in the file or stored in the database, where they win. Source: compat,
//! config §4, and LiteLLM 1.106.2, `key_management_endpoints.py`.

use faregate_store::ConfigRow;
use faregate_terms::UtcMillis;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::rules::Rights;
use crate::Admin;
use crate::columns;
use crate::error::AdminError;
use crate::routes::Call;

/// The settings of `litellm_settings` that are about new keys.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct KeyPolicy {
    /// What a key may have at most; a new one that asks for nothing gets just that.
    pub upperbound_key_generate_params: Option<Map<String, Value>>,
    /// What a new key gets that is not asked for.
    pub default_key_generate_params: Option<Map<String, Value>>,
    /// Who may make keys, and what they must say.
    pub key_generation_settings: Option<KeyGeneration>,
}

/// Who may make keys, and what they must say.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct KeyGeneration {
    /// Keys of teams.
    pub team_key_generation: Option<TeamKeys>,
    /// Keys of no team.
    pub personal_key_generation: Option<PersonalKeys>,
}

/// `team_key_generation`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TeamKeys {
    /// `admin`, `user`: roles in the team.
    pub allowed_team_member_roles: Option<Vec<String>>,
    /// Fields that the request must have.
    pub required_params: Option<Vec<String>>,
}

/// `personal_key_generation`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PersonalKeys {
    /// Roles of users, e.g. `proxy_admin`.
    pub allowed_user_roles: Option<Vec<String>>,
    /// Fields that the request must have.
    pub required_params: Option<Vec<String>>,
}

/// Fields with an upper bound: numbers, and lengths of time.
const NUMBERS: &[&str] = &["max_budget", "max_parallel_requests", "tpm_limit", "rpm_limit"];
const DURATIONS: &[&str] = &["budget_duration", "duration"];

/// Fields that a new key takes from the defaults when they are absent.
const DEFAULTED: &[&str] = &[
    "max_budget",
    "user_id",
    "team_id",
    "max_parallel_requests",
    "tpm_limit",
    "rpm_limit",
    "budget_duration",
    "duration",
];

impl KeyPolicy {
    /// The policy of a `litellm_settings` mapping. Members that are not about keys are passed over.
    ///
    /// # Errors
    /// In words, for a setting of another form; never with its value.
    pub fn of_settings(settings: &Value) -> Result<Self, String> {
        let settings = settings.clone();
        let mut policy = Self::deserialize(settings).map_err(|error| format!("litellm_settings: {error}"))?;
        for (name, most) in policy.upperbound_key_generate_params.iter_mut().flatten() {
            let bad = |what: &str| {
                format!("litellm_settings.upperbound_key_generate_params.{name}: expected {what}")
            };
            if NUMBERS.contains(&name.as_str()) {
                *most = number(most).ok_or_else(|| bad("a number"))?;
            } else if DURATIONS.contains(&name.as_str()) {
                length(name, most).map_err(|_| bad("a duration such as 30d"))?;
            }
        }
        for (name, value) in policy.default_key_generate_params.iter_mut().flatten() {
            if NUMBERS.contains(&name.as_str()) && !value.is_null() {
                *value = number(value).ok_or_else(|| {
                    format!("litellm_settings.default_key_generate_params.{name}: expected a number")
                })?;
            }
        }
        Ok(policy)
    }

    /// These settings, over those of `self` that they do not have.
    fn under(self, stored: Self) -> Self {
        Self {
            upperbound_key_generate_params: stored
                .upperbound_key_generate_params
                .or(self.upperbound_key_generate_params),
            default_key_generate_params: stored
                .default_key_generate_params
                .or(self.default_key_generate_params),
            key_generation_settings: stored.key_generation_settings.or(self.key_generation_settings),
        }
    }

    /// Whether the caller, with these rights where the key goes, may make it from this body.
    ///
    /// # Errors
    /// 400, as LiteLLM answers.
    pub(super) fn check_maker(&self, call: &Call, rights: Rights, of_team: bool) -> Result<(), AdminError> {
        let Some(settings) = &self.key_generation_settings else { return Ok(()) };
        let required = match (of_team, &settings.team_key_generation, &settings.personal_key_generation) {
            (true, Some(team), _) if rights < Rights::ProxyAdmin => {
                let role = if rights == Rights::KeyAdmin { "admin" } else { "user" };
                let allowed = team.allowed_team_member_roles.as_ref();
                if let Some(allowed) = allowed.filter(|allowed| !allowed.iter().any(|one| one == role)) {
                    return Err(AdminError::invalid(
                        "team_id",
                        format!("Team member role {role} not in allowed_team_member_roles={allowed:?}"),
                    ));
                }
                &team.required_params
            }
            (false, _, Some(personal)) => {
                let role = user_role(call);
                let allowed = personal.allowed_user_roles.as_ref();
                if let Some(allowed) = allowed.filter(|allowed| !allowed.iter().any(|one| one == role)) {
                    return Err(AdminError::invalid(
                        "team_id",
                        format!(
                            "Personal key creation has been restricted by admin. Allowed roles={allowed:?}. Your \
                             role={role}"
                        ),
                    ));
                }
                &personal.required_params
            }
            _ => return Ok(()),
        };
        match required.iter().flatten().find(|name| !call.body.contains_key(*name)) {
            Some(missing) => {
                Err(AdminError::invalid(missing, format!("Required param {missing} not in data")))
            }
            None => Ok(()),
        }
    }

    /// The body of a new key with what it gets without asking: the defaults, then the upper bounds.
    ///
    /// # Errors
    /// 400 naming the field that is over its bound.
    pub(super) fn filled(&self, body: &Map<String, Value>) -> Result<Map<String, Value>, AdminError> {
        let mut body = body.clone();
        for (name, value) in self.default_key_generate_params.iter().flatten() {
            let name = name.as_str();
            let given = body.get(name);
            let absent = match name {
                // A null asks for no period; the absence of the field does not.
                "budget_duration" => given.is_none(),
                "models" | "metadata" => given.is_none_or(crate::tighten::nothing),
                // The kind of a key says what it may call, unless it says nothing.
                "allowed_routes" => {
                    given.is_none_or(crate::tighten::nothing)
                        && body.get("key_type").is_none_or(|kind| kind.is_null())
                }
                name if DEFAULTED.contains(&name) => given.is_none_or(Value::is_null),
                _ => false,
            };
            if absent && !value.is_null() {
                body.insert(name.to_owned(), value.clone());
            }
        }
        for (name, most) in self.upperbound_key_generate_params.iter().flatten() {
            let known = NUMBERS.contains(&name.as_str()) || DURATIONS.contains(&name.as_str());
            if known && !most.is_null() && body.get(name).is_none_or(Value::is_null) {
                body.insert(name.clone(), most.clone());
            }
        }
        self.check_bounds(&body)?;
        Ok(body)
    }

    /// Whether everything in a body is within its bound.
    ///
    /// # Errors
    /// 400 naming the field that is not.
    pub(super) fn check_bounds(&self, body: &Map<String, Value>) -> Result<(), AdminError> {
        for (name, most) in self.upperbound_key_generate_params.iter().flatten() {
            let Some(given) = body.get(name).filter(|given| !given.is_null()) else { continue };
            let over = if NUMBERS.contains(&name.as_str()) {
                !most.is_null() && given.as_f64() > most.as_f64()
            } else if DURATIONS.contains(&name.as_str()) {
                length(name, given)? > length(name, most)?
            } else {
                false
            };
            if over {
                return Err(AdminError::invalid(
                    name,
                    format!("{name} is over max limit set in config - user_value={given}; max_value={most}"),
                ));
            }
        }
        Ok(())
    }
}

/// The role that the account has; nobody has a role by an organization here.
fn user_role(call: &Call) -> &str {
    let user = call.caller.record.as_ref().and_then(|record| record.user.as_ref());
    user.and_then(|user| user.user_role.as_deref()).unwrap_or(call.caller.role.word())
}

/// A number, also when it came as text from the environment. Nothing stays nothing.
fn number(value: &Value) -> Option<Value> {
    match value {
        Value::Null | Value::Number(_) => Some(value.clone()),
        Value::String(text) => match (text.trim().parse::<i64>(), text.trim().parse::<f64>()) {
            (Ok(whole), _) => Some(json!(whole)),
            (_, Ok(number)) if number.is_finite() => Some(json!(number)),
            _ => None,
        },
        _ => None,
    }
}

/// A length of time in milliseconds. For ever is longer than anything.
fn length(name: &str, value: &Value) -> Result<i64, AdminError> {
    match value.as_str() {
        None | Some("" | "-1") => Ok(i64::MAX),
        Some(text) => Ok(columns::after(name, text, UtcMillis::from_millis(0))?.millis()),
    }
}

impl Admin {
    /// What the operator says of new keys now.
    ///
    /// # Errors
    /// 500 for a stored setting that cannot be read: a bound that is not understood must not be left out.
    pub(super) async fn current_key_policy(&self) -> Result<KeyPolicy, AdminError> {
        let unreadable = |place: &str, problem: String| {
            let text = format!("A setting {place} cannot be read: {problem}");
            AdminError::new(500, "internal_server_error", text)
        };
        let rules = Value::Object(self.snapshot.load().litellm.key_rules.0.clone());
        let file = KeyPolicy::of_settings(&rules)
            .map_err(|problem| unreadable("of the configuration", format!("{problem}; correct it there")))?;
        if !self.snapshot.load().stores_models() {
            // The operator does not let the database add to the file.
            return Ok(file);
        }
        let Some(row) = self.store.get::<ConfigRow>(&["litellm_settings"]).await? else { return Ok(file) };
        let stored = KeyPolicy::of_settings(&row.param_value).map_err(|problem| {
            unreadable("stored in the database", format!("{problem}; correct it in /config/update"))
        })?;
        Ok(file.under(stored))
    }
}
