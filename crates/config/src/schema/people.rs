//! What people get when they come, and what admins of teams and organizations may do.
//!
//! The flags are LiteLLM's UI settings: `/update/ui_settings` stores them, and they count here under the same name.

use faregate_terms::PicoUsd;

use crate::fields::Fields;
use crate::node::Node;
use crate::open_map::OpenMap;

/// `general_settings`: what those who are no admins of the proxy may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeopleRules {
    /// Nobody chooses the text of a new key.
    pub no_custom_keys: bool,
    /// Admins of organizations make no keys.
    pub no_keys_by_org_admins: bool,
    /// Only admins of the proxy add models.
    pub no_models_by_internal_users: bool,
    /// Admins of teams remove nobody.
    pub no_removal_by_team_admins: bool,
    /// The search for users finds those of one's own organizations.
    pub search_within_organizations: bool,
    /// What admins of a team may change of it; `None` is what gives nobody more.
    pub editable_by_team_admins: Option<Vec<String>>,
    /// A browser that opens the UI is sent to the identity provider at once.
    pub sign_in_elsewhere: bool,
    /// The sign-in page does not say what the first name and password are.
    pub no_credentials_hint: bool,
    /// A console on another host signs people in here.
    pub signs_in_for_others: bool,
    /// Who may sign in.
    pub access: UiAccess,
    /// What owners may do to the budgets of keys that they made.
    pub self_serve: SelfServe,
}

/// `self_serve_budget_policy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SelfServe {
    /// Nothing; admins do.
    #[default]
    Disabled,
    /// Add and lower limits.
    LowerOnly,
    /// Also raise them, as far as they could make such a key.
    Ceiling,
}

/// `ui_access_mode`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UiAccess {
    /// Everybody with an account.
    #[default]
    Everybody,
    /// Admins of the proxy.
    Admins,
    /// With single sign-on, members of one group of the identity provider.
    Group {
        /// The group.
        group: String,
        /// The claim that lists a person's groups.
        claim: String,
    },
}

impl PeopleRules {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let is_sso = fields.get("ui_access_mode").and_then(Node::scalar_text).as_deref() == Some("sso");
        let mut flag = |key: &str| fields.flag(key).unwrap_or_default();
        Self {
            no_custom_keys: flag("disable_custom_api_keys"),
            no_keys_by_org_admins: flag("disable_key_generate_for_org_admin"),
            no_models_by_internal_users: flag("disable_model_add_for_internal_users"),
            no_removal_by_team_admins: flag("disable_team_admin_delete_team_user"),
            search_within_organizations: flag("scope_user_search_to_org"),
            sign_in_elsewhere: flag("auto_redirect_ui_login_to_sso") || is_sso,
            no_credentials_hint: flag("hide_default_credentials_hint"),
            editable_by_team_admins: fields
                .texts("team_admin_editable_team_fields")
                .filter(|named| !named.is_empty()),
            signs_in_for_others: fields.filled("control_plane_url").is_some(),
            access: access(fields),
            self_serve: fields
                .word(
                    "self_serve_budget_policy",
                    &[
                        ("disabled", SelfServe::Disabled),
                        ("lower_only", SelfServe::LowerOnly),
                        ("ceiling", SelfServe::Ceiling),
                    ],
                )
                .unwrap_or_default(),
        }
    }
}

/// `litellm_settings`: what new users and teams get that nobody asked for, and how the UI looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeopleDefaults {
    /// `default_internal_user_params`
    pub user: OpenMap,
    /// `max_internal_user_budget` and `internal_user_budget_duration`, for the role `internal_user`.
    pub internal_user_budget: Option<PicoUsd>,
    /// Length of that budget's period.
    pub internal_user_budget_duration: Option<String>,
    /// `default_team_params`
    pub team: OpenMap,
    /// `ui_theme_config`
    pub theme: OpenMap,
}

impl PeopleDefaults {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            user: fields.open("default_internal_user_params").unwrap_or_default(),
            internal_user_budget: fields.money("max_internal_user_budget"),
            internal_user_budget_duration: fields.filled("internal_user_budget_duration"),
            team: team(fields),
            theme: fields.open("ui_theme_config").unwrap_or_default(),
        }
    }
}

fn access(fields: &mut Fields<'_>) -> UiAccess {
    let key = "ui_access_mode";
    if fields.get(key).is_some_and(|node| node.entries().is_some()) {
        let Some(mut map) = fields.child(key) else { return UiAccess::Everybody };
        let claim = map.filled("sso_group_jwt_field").unwrap_or_else(|| "groups".to_owned());
        return match map.filled("restricted_sso_group") {
            Some(group) => UiAccess::Group { group, claim },
            None => UiAccess::Everybody,
        };
    }
    let words = [
        ("all", UiAccess::Everybody),
        ("all_authenticated_users", UiAccess::Everybody),
        ("sso", UiAccess::Everybody),
        ("admin_only", UiAccess::Admins),
    ];
    let admins = fields.word(key, &words.map(|(word, access)| (word, access == UiAccess::Admins)));
    if admins == Some(true) { UiAccess::Admins } else { UiAccess::Everybody }
}

/// Defaults of teams; the older form, a list with an entry per team, is about callbacks.
fn team(fields: &mut Fields<'_>) -> OpenMap {
    let is_map = fields.get("default_team_params").is_some_and(|node| node.entries().is_some());
    if is_map { fields.open("default_team_params").unwrap_or_default() } else { OpenMap::default() }
}

/// `general_settings.sso_providers`, a form of LiteLLM's documentation, as the variables that the same provider has:
/// the environment's own win.
pub(crate) fn sso_variables(root: &Node) -> Vec<(String, String)> {
    let providers = root.get("general_settings").and_then(|general| general.get("sso_providers"));
    let mut variables = Vec::new();
    for entry in providers.and_then(Node::items).unwrap_or_default() {
        let text = |key: &str| entry.get(key).and_then(Node::scalar_text).filter(|text| !text.is_empty());
        let prefix = match text("provider").as_deref() {
            Some("google") => "GOOGLE",
            Some("microsoft" | "azure" | "entra") => "MICROSOFT",
            _ => "GENERIC",
        };
        let names = [
            ("client_id", "CLIENT_ID"),
            ("client_secret", "CLIENT_SECRET"),
            ("tenant", "TENANT"),
            ("authorization_endpoint", "AUTHORIZATION_ENDPOINT"),
            ("token_endpoint", "TOKEN_ENDPOINT"),
            ("userinfo_endpoint", "USERINFO_ENDPOINT"),
            ("scope", "SCOPE"),
        ];
        let named = names.iter().filter_map(|(key, name)| Some((format!("{prefix}_{name}"), text(key)?)));
        variables.extend(named);
        let domains = entry.get("allowed_domains").and_then(Node::items).unwrap_or_default();
        let domains: Vec<String> = domains.iter().filter_map(Node::scalar_text).collect();
        if !domains.is_empty() {
            variables.push(("ALLOWED_EMAIL_DOMAINS".to_owned(), domains.join(",")));
        }
    }
    variables
}
