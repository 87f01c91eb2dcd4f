//! Identity providers: where they are, and how they name what we want to know. Source: compat, env §5, and LiteLLM,
//! `ui_sso.py`; the endpoints of Google and Microsoft are those of their discovery documents.

use faregate_config::Env;
use serde_json::Value;

use crate::error::AdminError;

/// How the client proves itself when it exchanges the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// `client_secret_basic`; the id in the body as well, where that is asked for.
    Basic {
        /// `GENERIC_INCLUDE_CLIENT_ID`
        id_in_body: bool,
    },
    /// `client_secret_post`
    Post,
}

/// One identity provider, ready to be asked.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub name: &'static str,
    pub client_id: String,
    pub client_secret: String,
    pub authorize: String,
    pub token: String,
    pub userinfo: String,
    pub scope: String,
    pub proof: Proof,
    pub pkce: bool,
    /// `GENERIC_CLIENT_STATE`; made up when absent.
    pub state: Option<String>,
    /// Claims that hold id, e-mail address, name and role.
    pub claims: Claims,
}

/// Which claims hold what; a dot leads into an object.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    pub id: Vec<String>,
    pub email: Vec<String>,
    pub name: Vec<String>,
    pub role: Vec<String>,
}

impl Provider {
    /// The provider that the environment names.
    ///
    /// # Errors
    /// 500 naming the variables that are missing.
    pub fn of(env: &Env) -> Result<Option<Self>, AdminError> {
        let Some((name, needs)) = super::named(env) else { return Ok(None) };
        let missing: Vec<&str> = needs.iter().copied().filter(|name| env.filled(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(AdminError::new(
                500,
                "auth_error",
                format!("Single sign-on with {name} lacks {}; set it in the environment", missing.join(", ")),
            ));
        }
        Ok(Some(match name {
            "google" => Self::google(env),
            "microsoft" => Self::microsoft(env),
            _ => Self::generic(env),
        }))
    }

    fn google(env: &Env) -> Self {
        Self {
            name: "google",
            client_id: text(env, "GOOGLE_CLIENT_ID", ""),
            client_secret: text(env, "GOOGLE_CLIENT_SECRET", ""),
            authorize: "https://accounts.google.com/o/oauth2/v2/auth".to_owned(),
            token: "https://oauth2.googleapis.com/token".to_owned(),
            userinfo: "https://openidconnect.googleapis.com/v1/userinfo".to_owned(),
            scope: super::SCOPE.to_owned(),
            proof: Proof::Post,
            pkce: true,
            state: None,
            claims: Claims {
                id: names(&["sub"]),
                email: names(&["email"]),
                name: names(&["name"]),
                role: Vec::new(),
            },
        }
    }

    fn microsoft(env: &Env) -> Self {
        let tenant = text(env, "MICROSOFT_TENANT", "common");
        let endpoint = |variable: &str, path: &str| {
            text(env, variable, &format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/{path}"))
        };
        let claim = |variable: &str, usual: &[&str]| match env.filled(variable) {
            Some(name) => names(&[name]),
            None => names(usual),
        };
        Self {
            name: "microsoft",
            client_id: text(env, "MICROSOFT_CLIENT_ID", ""),
            client_secret: text(env, "MICROSOFT_CLIENT_SECRET", ""),
            authorize: endpoint("MICROSOFT_AUTHORIZATION_ENDPOINT", "authorize"),
            token: endpoint("MICROSOFT_TOKEN_ENDPOINT", "token"),
            userinfo: text(env, "MICROSOFT_USERINFO_ENDPOINT", "https://graph.microsoft.com/v1.0/me"),
            scope: "openid profile email User.Read".to_owned(),
            proof: Proof::Post,
            pkce: true,
            state: None,
            claims: Claims {
                id: claim("MICROSOFT_USER_ID_ATTRIBUTE", &["id", "oid"]),
                email: claim("MICROSOFT_USER_EMAIL_ATTRIBUTE", &["userPrincipalName", "mail"]),
                name: claim("MICROSOFT_USER_DISPLAY_NAME_ATTRIBUTE", &["displayName"]),
                // App roles, in the id token.
                role: names(&["app_roles", "roles"]),
            },
        }
    }

    fn generic(env: &Env) -> Self {
        let is =
            |name: &str, word: &str| env.filled(name).is_some_and(|text| text.eq_ignore_ascii_case(word));
        let claim = |variable: &str, usual: &str| names(&[env.filled(variable).unwrap_or(usual)]);
        Self {
            name: "generic",
            client_id: text(env, "GENERIC_CLIENT_ID", ""),
            client_secret: text(env, "GENERIC_CLIENT_SECRET", ""),
            authorize: text(env, "GENERIC_AUTHORIZATION_ENDPOINT", ""),
            token: text(env, "GENERIC_TOKEN_ENDPOINT", ""),
            userinfo: text(env, "GENERIC_USERINFO_ENDPOINT", ""),
            scope: text(env, "GENERIC_SCOPE", super::SCOPE),
            proof: Proof::Basic { id_in_body: is("GENERIC_INCLUDE_CLIENT_ID", "true") },
            // LiteLLM's default is off; a provider that does not know PKCE passes over its parameters.
            pkce: !is("GENERIC_CLIENT_USE_PKCE", "false"),
            state: env.filled("GENERIC_CLIENT_STATE").map(str::to_owned),
            claims: Claims {
                id: claim("GENERIC_USER_ID_ATTRIBUTE", "preferred_username"),
                email: claim("GENERIC_USER_EMAIL_ATTRIBUTE", "email"),
                name: claim("GENERIC_USER_DISPLAY_NAME_ATTRIBUTE", "name"),
                role: claim("GENERIC_USER_ROLE_ATTRIBUTE", "role"),
            },
        }
    }
}

fn text(env: &Env, name: &str, usual: &str) -> String {
    env.filled(name).unwrap_or(usual).to_owned()
}

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

/// The claim of this name, else the one that the dots lead to.
pub(super) fn claim<'a>(claims: &'a Value, name: &str) -> &'a Value {
    match claims.get(name) {
        Some(value) => value,
        None => name.split('.').fold(claims, |at, part| &at[part]),
    }
}

/// The first of these claims that holds a text.
pub(super) fn first(claims: &Value, wanted: &[String]) -> Option<String> {
    let texts = wanted.iter().filter_map(|name| claim(claims, name).as_str());
    texts.map(str::trim).find(|text| !text.is_empty()).map(str::to_owned)
}

/// The texts of a claim: a list, or one alone.
pub(super) fn listed(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}
