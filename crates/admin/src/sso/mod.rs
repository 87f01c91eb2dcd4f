//! Single sign-on: how the identity provider is reached, and what becomes of who comes from there.
//!
//! Settings are variables of the environment; what is stored by `/update/sso_settings` wins over them
//! ([`as_variables`]). Source: compat, env §5, and LiteLLM, `config_resolvers/sso.py`.

mod flow;
mod people;
mod provider;
mod roles;
mod settings;

use faregate_config::Env;
use serde_json::{Map, Value};

use crate::fields::{Field, Holds, field};
use crate::routes::{Route, route};

/// Stored settings that stand for a variable of the environment.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("google_client_id", "GOOGLE_CLIENT_ID"),
    ("google_client_secret", "GOOGLE_CLIENT_SECRET"),
    ("microsoft_client_id", "MICROSOFT_CLIENT_ID"),
    ("microsoft_client_secret", "MICROSOFT_CLIENT_SECRET"),
    ("microsoft_tenant", "MICROSOFT_TENANT"),
    ("generic_client_id", "GENERIC_CLIENT_ID"),
    ("generic_client_secret", "GENERIC_CLIENT_SECRET"),
    ("generic_authorization_endpoint", "GENERIC_AUTHORIZATION_ENDPOINT"),
    ("generic_token_endpoint", "GENERIC_TOKEN_ENDPOINT"),
    ("generic_userinfo_endpoint", "GENERIC_USERINFO_ENDPOINT"),
    ("generic_scope", "GENERIC_SCOPE"),
    ("proxy_base_url", "PROXY_BASE_URL"),
];

const BACK: &[Field] = &[
    field("code", Holds::Text, "what the provider gave"),
    field("state", Holds::Text, "what we gave it"),
    field("error", Holds::Text, "why it gave nothing"),
    field("error_description", Holds::Text, "the same in words"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "GET",
        &["/sso/key/generate"],
        Public,
        &[],
        &[],
        "Begin to sign in: at the identity provider, else on a page of our own",
        flow::start
    ),
    route!("GET", &["/sso/callback"], Public, &[], BACK, "Back from the identity provider", flow::callback),
    route!("GET", &["/get/sso_settings"], Admin, &[], &[], "How people sign in elsewhere", settings::get),
    route!(
        "PATCH",
        &["/update/sso_settings"],
        Admin,
        &[settings::FIELDS],
        &[],
        "Store how people sign in elsewhere",
        settings::update
    ),
    route!(
        "GET",
        &["/sso/readiness"],
        Admin,
        &[],
        &[],
        "Whether single sign-on has all it needs",
        settings::readiness
    ),
];

/// True if an identity provider is named.
pub(crate) fn is_set_up(env: &Env) -> bool {
    ["GOOGLE_CLIENT_ID", "MICROSOFT_CLIENT_ID", "GENERIC_CLIENT_ID"]
        .iter()
        .any(|name| env.filled(name).is_some())
}

/// The variables that stored (and opened) settings stand for.
pub(crate) fn as_variables(stored: &Value) -> Map<String, Value> {
    let filled = |name: &str| stored[name].as_str().filter(|text| !text.is_empty()).map(Value::from);
    VARIABLES.iter().filter_map(|(name, variable)| Some(((*variable).to_owned(), filled(name)?))).collect()
}

/// What is asked of a provider that the settings say nothing of.
const SCOPE: &str = "openid email profile";

/// The provider that is named, and the variables it needs. The first counts. Source: LiteLLM, `sso_readiness`.
fn named(env: &Env) -> Option<(&'static str, &'static [&'static str])> {
    const NEEDS: [(&str, &[&str]); 3] = [
        ("google", &["GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"]),
        ("microsoft", &["MICROSOFT_CLIENT_ID", "MICROSOFT_CLIENT_SECRET", "MICROSOFT_TENANT"]),
        (
            "generic",
            &[
                "GENERIC_CLIENT_ID",
                "GENERIC_CLIENT_SECRET",
                "GENERIC_AUTHORIZATION_ENDPOINT",
                "GENERIC_TOKEN_ENDPOINT",
                "GENERIC_USERINFO_ENDPOINT",
            ],
        ),
    ];
    NEEDS.into_iter().find(|(_, needs)| needs.first().is_some_and(|name| env.filled(name).is_some()))
}
