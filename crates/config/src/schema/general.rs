//! `general_settings`: the server itself.

use std::net::IpAddr;

use faregate_terms::Secret;

use super::alerting::AlertSettings;
use super::database::DatabaseSettings;
use super::health::CheckSettings;
use super::limits::GeneralLimits;
use super::pass_through::{PassThroughSettings, is_header_name};
use super::people::PeopleRules;
use super::redis::RedisConfig;
use crate::fields::Fields;

/// `general_settings`; only what the gateway acts on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GeneralSettings {
    /// The admin key; `LITELLM_MASTER_KEY` counts when absent, see [`crate::Snapshot::master_key`].
    pub master_key: Option<Secret>,
    /// Start in spite of a missing or well-known master key.
    pub dangerously_permit_weak_or_unset_master_key: bool,
    /// The only header a key is read from, with `Bearer ` in front of the key.
    pub litellm_key_header_name: Option<String>,
    /// `authentication`, as the examples for hardened images write it.
    pub authentication: Authentication,
    /// Send the client's `x-*` headers on to the provider.
    pub forward_client_headers_to_llm_api: bool,
    /// Ask for usage at the end of every stream.
    pub always_include_stream_usage: bool,
    /// Configured fallbacks are only for those who may use the group they lead to.
    pub enforce_fallback_model_access: bool,
    /// Largest request body taken, in MiB; may be a fraction.
    pub max_request_size_mb: Option<f64>,
    /// The only addresses that may call; empty for everybody.
    pub allowed_ips: Vec<IpAddr>,
    /// The client's address is the first of `x-forwarded-for`, where a request has that.
    pub use_x_forwarded_for: bool,
    /// Budgets and rates.
    pub limits: GeneralLimits,
    /// `coordination_redis`.
    pub coordination_redis: RedisConfig,
    /// Where keys and spend are kept.
    pub database: DatabaseSettings,
    /// What those who are no admins of the proxy may do.
    pub people: PeopleRules,
    /// Who is told of what.
    pub alerts: AlertSettings,
    /// Health checks of deployments, and what probes of this process show.
    pub checks: CheckSettings,
    /// Routes of an operator's own.
    pub pass_through: PassThroughSettings,
}

/// `general_settings.authentication`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Whether requests need a key; true when absent.
    pub enable: bool,
    /// A further header a key is read from, with or without `Bearer `.
    pub api_key_header: Option<String>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self { enable: true, api_key_header: None }
    }
}

impl GeneralSettings {
    pub(crate) fn read(fields: &mut Fields<'_>) -> Self {
        let authentication = fields.child("authentication").map(|mut auth| Authentication {
            enable: auth.flag("enable").unwrap_or(true),
            api_key_header: header_name(&mut auth, "api_key_header"),
        });
        Self {
            master_key: fields.secret("master_key"),
            dangerously_permit_weak_or_unset_master_key: fields
                .flag("dangerously_permit_weak_or_unset_master_key")
                .unwrap_or_default(),
            litellm_key_header_name: header_name(fields, "litellm_key_header_name"),
            authentication: authentication.unwrap_or_default(),
            forward_client_headers_to_llm_api: fields
                .flag("forward_client_headers_to_llm_api")
                .unwrap_or_default(),
            always_include_stream_usage: fields.flag("always_include_stream_usage").unwrap_or_default(),
            enforce_fallback_model_access: fields.flag("enforce_fallback_model_access").unwrap_or_default(),
            max_request_size_mb: fields.amount("max_request_size_mb"),
            allowed_ips: addresses(fields, "allowed_ips"),
            use_x_forwarded_for: fields.flag("use_x_forwarded_for").unwrap_or_default(),
            limits: GeneralLimits::read(fields),
            database: DatabaseSettings::read(fields),
            people: PeopleRules::read(fields),
            alerts: AlertSettings::read(fields),
            checks: CheckSettings::read(fields),
            pass_through: PassThroughSettings::read(fields),
            coordination_redis: fields
                .child("coordination_redis")
                .map(|mut redis| RedisConfig::of_map(&mut redis))
                .unwrap_or_default(),
        }
    }
}

fn addresses(fields: &mut Fields<'_>, key: &str) -> Vec<IpAddr> {
    let texts = fields.texts(key).unwrap_or_default();
    let mut found = Vec::new();
    for text in &texts {
        match text.trim().parse::<IpAddr>() {
            Ok(address) => found.push(address.to_canonical()),
            Err(_) => {
                if let Some(node) = fields.get(key) {
                    let problem = format!("`{text}` is no IP address; write single ones, such as 192.0.2.1");
                    fields.error(key, node, &problem);
                }
            }
        }
    }
    found
}

/// A header's name.
fn header_name(fields: &mut Fields<'_>, key: &str) -> Option<String> {
    let name = fields.filled(key)?;
    if is_header_name(&name) {
        return Some(name);
    }
    let node = fields.get(key)?;
    fields.error(key, node, "is not a header name");
    None
}
