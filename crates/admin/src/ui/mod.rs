//! What the UI asks before and beside its work: flags, theme, where to sign in. Source: compat, endpoints §2.17, and
//! LiteLLM, `proxy_setting_endpoints.py`.
//!
//! Flags that the gateway acts on are keys of `general_settings` as well; [`crate::stored`] lays what is stored here
//! over them. The others are the UI's own business, and are kept for it.

mod defaults;
mod images;

use faregate_config::known_keys;
use faregate_state::invalidate::Subject;
use faregate_store::UiSettings;
use serde_json::{Map, Value, json};

use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::form::form;
use crate::routes::{Answer, Call, Route, route};
use crate::sso;
use crate::teams::rules::TEAM_ADMIN_PERMISSIONS;
use crate::{Admin, Outcome};

const TABLE: &str = "LiteLLM_UISettings";
const ROW: &str = "ui_settings";
const GENERAL: &str = "general_settings";

/// The flags that there are.
const FLAGS: &[Field] = &[
    field(
        "usage_default_time_range",
        Holds::Text,
        "range that the usage page opens with: today, last_7_days, last_30_days, month_to_date or year_to_date",
    ),
    field("enabled_ui_pages_internal_users", Holds::Texts, "pages that internal users see; unset: all"),
    field("enable_chat_ui", Holds::Flag, "show the chat page"),
    field("disable_model_add_for_internal_users", Holds::Flag, "only admins of the proxy add models"),
    field("disable_team_admin_delete_team_user", Holds::Flag, "admins of a team remove nobody from it"),
    field("disable_custom_api_keys", Holds::Flag, "nobody chooses the text of a new key"),
    field("disable_key_generate_for_org_admin", Holds::Flag, "admins of organizations make no keys"),
    field("scope_user_search_to_org", Holds::Flag, "/user/filter/ui finds users of one's own organizations"),
    field(
        "forward_client_headers_to_llm_api",
        Holds::Flag,
        "send the client's x-* headers and anthropic-beta on to the provider",
    ),
    field(
        "team_admin_editable_team_fields",
        Holds::Texts,
        "what admins of a team may change of it; unset: what gives nobody more",
    ),
];

const THEME: &[Field] = &[
    field("logo_url", Holds::Text, "http(s) URL of the logo"),
    field("logo_url_dark", Holds::Text, "http(s) URL of the logo on dark ground; logo_url when absent"),
    field("favicon_url", Holds::Text, "http(s) URL of the icon"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/get/ui_settings"], Public, &[], &[], "Flags of the UI", flags),
    route!("PATCH", &["/update/ui_settings"], Admin, &[FLAGS], &[], "Store flags of the UI", update_flags),
    route!("GET", &["/get/ui_theme_settings"], Public, &[], &[], "How the UI looks", theme),
    route!(
        "PATCH",
        &["/update/ui_theme_settings"],
        Admin,
        &[THEME],
        &[],
        "Store how the UI looks",
        update_theme
    ),
    route!("GET", &["/sso/get/ui_settings"], Key, &[], &[], "What the UI asks at its start", at_start),
    route!(
        "GET",
        &["/.well-known/litellm-ui-config", "/litellm/.well-known/litellm-ui-config"],
        Public,
        &[],
        &[],
        "Where the UI finds the gateway, and how to sign in",
        discovery
    ),
    route!("GET", &["/get_logo_url"], Public, &[], &[], "URL of the operator's logo", images::logo_url),
    route!(
        "GET",
        &["/get_image"],
        Public,
        &[],
        &[field("theme", Holds::Text, "light or dark"), field("variant", Holds::Text, "full or monogram")],
        "The logo",
        images::logo
    ),
    route!("GET", &["/get_favicon"], Public, &[], &[], "The icon", images::icon),
    route!(
        "GET",
        &["/get/internal_user_settings"],
        Admin,
        &[],
        &[],
        "What new users get",
        defaults::of_users
    ),
    route!(
        "PATCH",
        &["/update/internal_user_settings"],
        Admin,
        &[defaults::USER],
        &[],
        "Store what new users get",
        defaults::update_users
    ),
    route!("GET", &["/get/default_team_settings"], Admin, &[], &[], "What new teams get", defaults::of_teams),
    route!(
        "PATCH",
        &["/update/default_team_settings"],
        Admin,
        &[defaults::TEAM],
        &[],
        "Store what new teams get",
        defaults::update_teams
    ),
];

/// The stored flags.
async fn stored(admin: &Admin) -> Result<Map<String, Value>, AdminError> {
    let row = admin.store.get::<UiSettings>(&[ROW]).await?;
    Ok(row.and_then(|row| row.ui_settings.as_object().cloned()).unwrap_or_default())
}

/// Flags of the UI that count as general settings: a flag that is not set leaves the file's alone.
pub(crate) fn as_general_settings(flags: &Value) -> Map<String, Value> {
    let set = |value: &Value| match value {
        Value::Bool(flag) => *flag,
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    let counts = |name: &str| FLAGS.iter().any(|flag| flag.name == name) && is_general(name);
    let flags = flags.as_object().into_iter().flatten();
    flags.filter(|(name, value)| counts(name) && set(value)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn is_general(name: &str) -> bool {
    known_keys(GENERAL).any(|key| key.name == name)
}

/// What serves now, as flags.
fn in_service(admin: &Admin) -> Map<String, Value> {
    let snapshot = admin.snapshot.load();
    let people = &snapshot.general.people;
    let flags = json!({
        "usage_default_time_range": "last_7_days",
        "enable_chat_ui": true,
        "disable_model_add_for_internal_users": people.no_models_by_internal_users,
        "disable_team_admin_delete_team_user": people.no_removal_by_team_admins,
        "disable_custom_api_keys": people.no_custom_keys,
        "disable_key_generate_for_org_admin": people.no_keys_by_org_admins,
        "scope_user_search_to_org": people.search_within_organizations,
        "forward_client_headers_to_llm_api": snapshot.general.forward_client_headers_to_llm_api,
        "team_admin_editable_team_fields": people.editable_by_team_admins.clone().unwrap_or_default(),
    });
    flags.as_object().cloned().unwrap_or_default()
}

async fn flags(call: Call) -> Outcome {
    let stored = stored(&call.admin).await?;
    let mut values = in_service(&call.admin);
    let in_file = |name: &str| call.admin.snapshot.load().settings.contains(&format!("{GENERAL}.{name}"));
    let source = |name: &str| match (stored.contains_key(name), in_file(name)) {
        (true, _) => "db",
        (false, true) => "config",
        (false, false) => "default",
    };
    let sources: Map<String, Value> =
        FLAGS.iter().map(|flag| (flag.name.to_owned(), json!(source(flag.name)))).collect();
    // What the gateway acts on is shown as it counts, the rest as it is stored.
    values.extend(stored.into_iter().filter(|(name, _)| !is_general(name)));
    let mut page = form("Flags of the UI", FLAGS, &values);
    page["source"] = Value::Object(sources);
    page["field_schema"]["properties"]["team_admin_editable_team_fields"]["items"] =
        json!({ "type": "string", "enum": TEAM_ADMIN_PERMISSIONS });
    Ok(Answer::json(&page))
}

async fn update_flags(call: Call) -> Outcome {
    call.admin.stores_models()?;
    checked(&call)?;
    let before = stored(&call.admin).await?;
    let mut after = before.clone();
    after.extend(call.body.clone());
    let row = UiSettings {
        id: Some(ROW.to_owned()),
        ui_settings: Value::Object(after.clone()),
        ..UiSettings::default()
    };
    call.admin.store.put(&row, call.admin.now()).await?;
    call.admin.changed(Subject::Settings, ROW);
    call.admin.audit(&call, "updated", TABLE, ROW, json!(before), json!(after)).await;
    call.admin.apply().await;
    Ok(Answer::json(&json!({
        "message": "UI settings updated successfully", "status": "success", "settings": after,
    })))
}

fn checked(call: &Call) -> Result<(), AdminError> {
    const RANGES: [&str; 5] = ["today", "last_7_days", "last_30_days", "month_to_date", "year_to_date"];
    if let Some(range) = call.text("usage_default_time_range")
        && !RANGES.contains(&range)
    {
        return Err(AdminError::fields(vec![(
            vec!["body", "usage_default_time_range"],
            "literal_error",
            format!("usage_default_time_range: Input should be one of {}", RANGES.join(", ")),
        )]));
    }
    let name = "team_admin_editable_team_fields";
    let fields = call.texts(name);
    if let Some(unknown) = fields.iter().find(|field| !TEAM_ADMIN_PERMISSIONS.contains(&field.as_str())) {
        return Err(AdminError::invalid(
            name,
            format!("{name}: `{unknown}` is none of {}", TEAM_ADMIN_PERMISSIONS.join(", ")),
        ));
    }
    let has = |wanted: &str| fields.iter().any(|field| field == wanted);
    if has("raise_max_budget") && !has("max_budget") {
        return Err(AdminError::invalid(
            name,
            format!("{name}: raise_max_budget needs max_budget beside it"),
        ));
    }
    Ok(())
}

async fn theme(call: Call) -> Outcome {
    let snapshot = call.admin.snapshot.load();
    let stored = &snapshot.litellm.people.theme;
    let variable = |name: &str| match name {
        "logo_url" => "UI_LOGO_PATH",
        "logo_url_dark" => "UI_LOGO_PATH_DARK",
        _ => "LITELLM_FAVICON_URL",
    };
    let mut values = Map::new();
    for Field { name, .. } in THEME {
        let given = stored.get(*name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        // A path of this machine is nobody's business out there.
        let shown = given.or_else(|| snapshot.env.filled(variable(name)).filter(|text| images::is_url(text)));
        values.insert((*name).to_owned(), json!(shown));
    }
    let mut page = form("How the UI looks", THEME, &values);
    for (flag, name) in [("logo_url_via_proxy", "logo_url"), ("logo_url_dark_via_proxy", "logo_url_dark")] {
        page[flag] = json!(values[name].is_null() && snapshot.env.filled(variable(name)).is_some());
    }
    Ok(Answer::json(&page))
}

async fn update_theme(call: Call) -> Outcome {
    for Field { name, .. } in THEME {
        if let Some(url) = call.text(name).filter(|url| !url.trim().is_empty())
            && !images::is_url(url)
        {
            return Err(AdminError::invalid(
                name,
                format!(
                    "Invalid {name}: must be an http(s) URL with a host; paths of this machine are not taken"
                ),
            ));
        }
    }
    let theme: Map<String, Value> =
        call.body.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    crate::settings::store(&call, "litellm_settings", "ui_theme_config", Value::Object(theme.clone()))
        .await?;
    Ok(Answer::json(&json!({
        "message": "Logo settings updated successfully.", "status": "success", "theme_config": theme,
    })))
}

async fn at_start(call: Call) -> Outcome {
    let snapshot = call.admin.snapshot.load();
    let variable = |name: &str| snapshot.env.filled(name).map(str::to_owned);
    Ok(Answer::json(&json!({
        "PROXY_BASE_URL": variable("PROXY_BASE_URL"),
        "PROXY_LOGOUT_URL": variable("PROXY_LOGOUT_URL"),
        "LITELLM_UI_API_DOC_BASE_URL": variable("LITELLM_UI_API_DOC_BASE_URL"),
        "DEFAULT_TEAM_DISABLED": is_true(&snapshot.env, "PROXY_DEFAULT_TEAM_DISABLED"),
        "SSO_ENABLED": sso::is_set_up(&snapshot.env),
        // Reports read sums, not the log: its length matters to nobody.
        "NUM_SPEND_LOGS_ROWS": 0,
        "DISABLE_EXPENSIVE_DB_QUERIES": false,
    })))
}

async fn discovery(call: Call) -> Outcome {
    let snapshot = call.admin.snapshot.load();
    let (env, people) = (&snapshot.env, &snapshot.general.people);
    let sso = sso::is_set_up(env);
    let at_once = is_true(env, "AUTO_REDIRECT_UI_LOGIN_TO_SSO") || people.sign_in_elsewhere;
    Ok(Answer::json(&json!({
        "server_root_path": env.filled("SERVER_ROOT_PATH").unwrap_or("/"),
        "proxy_base_url": env.filled("PROXY_BASE_URL"),
        "gateway_base_url": env.filled("LITELLM_GATEWAY_URL").map(|url| url.trim().trim_end_matches('/')),
        "auto_redirect_to_sso": sso && at_once,
        "admin_ui_disabled": is_true(env, "DISABLE_ADMIN_UI"),
        "sso_configured": sso,
        "hide_default_credentials_hint":
            is_true(env, "LITELLM_HIDE_DEFAULT_CREDENTIALS_HINT") || people.no_credentials_hint,
        "is_control_plane": false,
        "workers": [],
        "mcp_stdio_enabled": false,
        "use_si_terminology": is_true(env, "LITELLM_UI_USE_SI_TERMINOLOGY"),
    })))
}

fn is_true(env: &faregate_config::Env, name: &str) -> bool {
    env.filled(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}
