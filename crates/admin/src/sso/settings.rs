//! Stored settings of single sign-on: one row, every text in it sealed.

use faregate_state::invalidate::Subject;
use faregate_store::SsoConfig;
use serde_json::{Map, Value, json};

use super::VARIABLES;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::form::form;
use crate::routes::{Answer, Call};
use crate::stored::masked_members;
use crate::{Admin, Outcome};

const TABLE: &str = "LiteLLM_SSOConfig";
const ROW: &str = "sso_config";
/// Never shown.
const SECRETS: [&str; 3] = ["google_client_secret", "microsoft_client_secret", "generic_client_secret"];

pub(super) const FIELDS: &[Field] = &[
    field("google_client_id", Holds::Text, "client id at Google"),
    field("google_client_secret", Holds::Text, "its secret"),
    field("microsoft_client_id", Holds::Text, "client id at Microsoft Entra"),
    field("microsoft_client_secret", Holds::Text, "its secret"),
    field("microsoft_tenant", Holds::Text, "tenant at Microsoft Entra"),
    field("generic_client_id", Holds::Text, "client id at any other OpenID provider, e.g. Okta"),
    field("generic_client_secret", Holds::Text, "its secret"),
    field("generic_authorization_endpoint", Holds::Text, "URL where people sign in"),
    field("generic_token_endpoint", Holds::Text, "URL where the code is exchanged"),
    field("generic_userinfo_endpoint", Holds::Text, "URL that says who it is"),
    field("generic_scope", Holds::Text, "scopes asked for: openid email profile when absent"),
    field("proxy_base_url", Holds::Text, "URL of this gateway, which the provider sends people back to"),
    field(
        "role_mappings",
        Holds::Object,
        "{provider, group_claim, default_role, roles: {role: [groups]}}: groups of the provider as roles",
    ),
    field("team_mappings", Holds::Object, "{team_ids_jwt_field}: the claim that lists the teams of a person"),
    field("user_email", Holds::Text, "e-mail address of the proxy's admin"),
];

/// The stored settings, opened.
pub(super) async fn stored(admin: &Admin) -> Result<Map<String, Value>, AdminError> {
    let Some(row) = admin.store.get::<SsoConfig>(&[ROW]).await? else { return Ok(Map::new()) };
    let opened = admin.opened(row.sso_settings)?;
    Ok(opened.as_object().cloned().unwrap_or_default())
}

pub(super) async fn get(call: Call) -> Outcome {
    let stored = stored(&call.admin).await?;
    let env = call.admin.snapshot.load().env.clone();
    let (mut values, mut sources) = (Map::new(), Map::new());
    for Field { name, .. } in FIELDS {
        let variable = VARIABLES.iter().find(|(field, _)| field == name).map(|(_, variable)| *variable);
        let known = stored.get(*name).filter(|value| !value.is_null() && *value != "");
        let (value, source) = match (known, variable.and_then(|variable| env.filled(variable))) {
            (Some(value), _) => (value.clone(), "db"),
            (None, Some(value)) => (json!(value), "env"),
            (None, None) if *name == "generic_scope" => (json!(super::SCOPE), "default"),
            (None, None) => (Value::Null, "unset"),
        };
        let value = if SECRETS.contains(name) && !value.is_null() {
            masked_members(&json!({ "secret": value }))["secret"].clone()
        } else {
            value
        };
        values.insert((*name).to_owned(), value);
        sources.insert((*name).to_owned(), json!(source));
    }
    let mut page = form("How people sign in elsewhere", FIELDS, &values);
    page["provenance"] = Value::Object(sources);
    Ok(Answer::json(&page))
}

pub(super) async fn update(call: Call) -> Outcome {
    call.admin.stores_models()?;
    for Field { name, .. } in FIELDS {
        let is_url = name.ends_with("_endpoint") || *name == "proxy_base_url";
        let text = call.text(name).filter(|text| is_url && !text.is_empty());
        if text.is_some_and(|text| !(text.starts_with("https://") || text.starts_with("http://"))) {
            return Err(AdminError::invalid(name, format!("{name}: is no http(s) URL; write one in full")));
        }
    }
    super::roles::check(call.given("role_mappings"))?;
    let before = stored(&call.admin).await?;
    let mut after = before.clone();
    for (name, value) in &call.body {
        // The page sends back what it was shown: a masked secret is the one that is stored.
        let masked = SECRETS.contains(&name.as_str()) && value.as_str().is_some_and(|it| it.contains("****"));
        if !masked {
            after.insert(name.clone(), value.clone());
        }
    }
    let row = SsoConfig {
        id: Some(ROW.to_owned()),
        sso_settings: call.admin.sealed(Value::Object(after.clone()))?,
        ..SsoConfig::default()
    };
    call.admin.store.put(&row, call.admin.now()).await?;
    call.admin.changed(Subject::Settings, ROW);
    call.admin.audit(&call, "updated", TABLE, ROW, json!(before), json!(after)).await;
    call.admin.apply().await;
    let shown = crate::columns::masked(Value::Object(after));
    Ok(Answer::json(&json!({
        "message": "SSO settings updated successfully", "status": "success", "settings": shown,
    })))
}

pub(super) async fn readiness(call: Call) -> Outcome {
    let env = call.admin.snapshot.load().env.clone();
    let Some((provider, needs)) = super::named(&env) else {
        return Ok(Answer::json(&json!({
            "status": "healthy", "sso_configured": false, "message": "No SSO provider configured",
        })));
    };
    let missing: Vec<&str> = needs.iter().copied().filter(|name| env.filled(name).is_none()).collect();
    let status = if missing.is_empty() { 200 } else { 503 };
    let message = if missing.is_empty() {
        format!("{provider} SSO is properly configured")
    } else {
        format!("{provider} SSO is configured but misses {}; set it in the environment", missing.join(", "))
    };
    let body = json!({
        "status": if missing.is_empty() { "healthy" } else { "unhealthy" },
        "sso_configured": true, "provider": provider, "missing_environment_variables": missing,
        "message": message,
    });
    Ok(Answer { status, ..Answer::json(&body) })
}
