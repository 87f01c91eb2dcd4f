//! Groups at the identity provider → role here. Source: LiteLLM, `determine_role_from_groups`.

use std::collections::BTreeMap;

use faregate_config::Env;
use serde::Deserialize;
use serde_json::Value;

use crate::error::AdminError;

/// Roles that groups may give, most powerful first.
const ROLES: [&str; 4] = ["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"];

/// `role_mappings`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct RoleMappings {
    /// Which provider it is for: generic, google or microsoft.
    pub provider: Option<String>,
    /// The claim that lists a person's groups.
    pub group_claim: Option<String>,
    /// The role of who is in none of the groups.
    pub default_role: Option<String>,
    /// Role → groups that give it.
    pub roles: BTreeMap<String, Vec<String>>,
}

impl RoleMappings {
    /// The stored mappings for this provider, else those of the environment.
    pub fn of(stored: Option<&Value>, env: &Env, provider: &str) -> Option<Self> {
        let stored = stored.and_then(|stored| Self::deserialize(stored).ok());
        if let Some(stored) = stored.filter(|it| it.provider.as_deref().unwrap_or(provider) == provider) {
            return Some(stored);
        }
        if provider != "generic" {
            return None;
        }
        let text = env.filled("GENERIC_ROLE_MAPPINGS_ROLES")?;
        let Some(roles) = literal(text) else {
            tracing::warn!(
                "GENERIC_ROLE_MAPPINGS_ROLES is no mapping of roles to lists of groups; it is passed over"
            );
            return None;
        };
        let variable = |name: &str| env.filled(name).map(str::to_owned);
        Some(Self {
            provider: None,
            group_claim: variable("GENERIC_ROLE_MAPPINGS_GROUP_CLAIM"),
            default_role: variable("GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE"),
            roles,
        })
    }

    /// The most powerful role that one of these groups gives.
    pub fn role_of(&self, groups: &[String]) -> Option<String> {
        let given = ROLES.iter().find(|role| {
            let wanted = self.roles.get(**role).map(Vec::as_slice).unwrap_or_default();
            wanted.iter().any(|group| groups.contains(group))
        });
        given
            .map(|role| (*role).to_owned())
            .or_else(|| self.default_role.clone().filter(|role| is_role(role)))
    }
}

/// True for a role that may be given to who signs in.
pub(super) fn is_role(text: &str) -> bool {
    ROLES.contains(&text)
}

/// JSON, or the same as Python writes it.
fn literal(text: &str) -> Option<BTreeMap<String, Vec<String>>> {
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&text.replace('\'', "\""))).ok()
}

/// Refuses mappings that could not be used.
///
/// # Errors
/// 400 naming the member.
pub(super) fn check(given: Option<&Value>) -> Result<(), AdminError> {
    let Some(given) = given else { return Ok(()) };
    let read = RoleMappings::deserialize(given)
        .map_err(|error| AdminError::invalid("role_mappings", format!("role_mappings: {error}")))?;
    let named = read.roles.keys().chain(&read.default_role);
    match named.into_iter().find(|role| !is_role(role)) {
        None => Ok(()),
        Some(role) => Err(AdminError::invalid(
            "role_mappings",
            format!("role_mappings: `{role}` is no role; write one of {}", ROLES.join(", ")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_powerful_role_of_ones_groups_counts_else_the_default() {
        let env: Env = [
            ("GENERIC_ROLE_MAPPINGS_ROLES", "{'proxy_admin': ['ops'], 'internal_user': ['dev', 'ops']}"),
            ("GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE", "internal_user_viewer"),
            ("GENERIC_ROLE_MAPPINGS_GROUP_CLAIM", "groups"),
        ]
        .into_iter()
        .collect();
        let mappings = RoleMappings::of(None, &env, "generic").unwrap();
        for (groups, role) in [
            (&["dev", "ops"][..], "proxy_admin"),
            (&["dev"], "internal_user"),
            (&["x"], "internal_user_viewer"),
        ] {
            let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
            assert_eq!(mappings.role_of(&groups).as_deref(), Some(role), "{groups:?}");
        }
        assert_eq!(RoleMappings::of(None, &env, "google"), None);
    }

    #[test]
    fn a_role_that_nobody_knows_is_refused() {
        let error = check(Some(&serde_json::json!({"roles": {"emperor": ["x"]}}))).unwrap_err();
        assert_eq!(error.status, 400);
        assert!(error.message.contains("`emperor`"), "{}", error.message);
    }
}
