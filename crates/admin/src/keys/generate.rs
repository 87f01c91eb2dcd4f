//! New keys.

use faregate_config::SelfServe;
use faregate_state::invalidate::Subject;
use faregate_store::{Budget, Usd, VirtualKey};
use serde_json::{Map, Value, json};

use super::member;
use super::rules::{self, Act, Rights};
use super::{COLUMNS, IN_METADATA, TABLE, unique_alias};
use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::roles::Role;
use crate::routes::{Answer, Call};

/// Whose a new key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// Who the body names; the caller if it names nobody, or if the caller is no proxy admin.
    Asked,
    /// Nobody: a key of a team's service.
    Nobody,
    /// This user, whom the caller may make.
    New(&'a str),
}

pub(super) async fn generate(call: Call) -> Outcome {
    make(call, Owner::Asked).await
}

pub(super) async fn generate_for_service(mut call: Call) -> Outcome {
    if call.text("team_id").is_none_or(str::is_empty) {
        return Err(AdminError::invalid(
            "team_id",
            "team_id is required for service account keys. Please specify `team_id` in the request body.",
        ));
    }
    call.body.remove("user_id");
    make(call, Owner::Nobody).await
}

async fn make(call: Call, owner: Owner<'_>) -> Outcome {
    let (key, secret) = new_key(&call, owner).await?;
    let stored = save(&call, &key).await?;
    call.admin.audit(&call, "created", TABLE, &stored.token, Value::Null, json_of(&stored)).await;
    Ok(Answer::json(&shown_once(&stored, &secret)))
}

/// The row of a new key and its secret, everything about it checked. Nothing is written.
///
/// # Errors
/// 400 for what makes no sense or exists already, 401 and 403 for what the caller may not.
pub(crate) async fn new_key(call: &Call, owner: Owner<'_>) -> Result<(VirtualKey, String), AdminError> {
    columns::not_negative(call, &["max_budget", "soft_budget", "spend"])?;
    if call.caller.role == Role::OrgAdmin && call.admin.snapshot.load().general.people.no_keys_by_org_admins {
        return Err(AdminError::forbidden(
            "Key generation is disabled for organization admins by disable_key_generate_for_org_admin; ask a proxy \
             admin",
        ));
    }
    let secret = secret(call, "key")?;
    let asked = row(call, &secret)?;
    let act = if owner == Owner::Nobody { Act::GenerateForService } else { Act::Generate };
    let rights = match &asked.team_id {
        Some(team) => rules::rights_in(call, &rules::team_of(call, team).await?, act).await?,
        None if call.caller.is_admin() => Rights::ProxyAdmin,
        None => Rights::Holder,
    };
    rules::check_fields(call, None, &asked, rights, SelfServe::Disabled)?;
    let mut key = match owner {
        // The key of a new user comes with them, on no terms of its own.
        Owner::New(_) => asked.clone(),
        Owner::Asked | Owner::Nobody => {
            let policy = call.admin.current_key_policy().await?;
            policy.check_maker(call, rights, asked.team_id.is_some())?;
            // What the operator adds is not held against the caller's rights.
            row(&call.with_body(policy.filled(&call.body)?), &secret)?
        }
    };
    key.user_id = match owner {
        Owner::Nobody => None,
        Owner::New(id) => Some(id.to_owned()),
        Owner::Asked => {
            let named = if call.caller.is_admin() { key.user_id.take() } else { asked.user_id };
            if member::makes_for_member(call, &key, named.as_deref()).await? {
                // Whoever makes it holds its secret, and must not get at its owner's account with it.
                key.allowed_routes = vec!["llm_api_routes".to_owned()];
                named
            } else {
                asked_owner(call, named, key.team_id.is_some())?
            }
        }
    };
    if owner == Owner::Nobody && key.metadata["service_account_id"].is_null() {
        let name = key.key_alias.clone().unwrap_or_else(|| key.token.clone());
        key.metadata["service_account_id"] = json!(name);
    }
    rules::check_place(call, None, &key).await?;
    unique_alias(call, &key).await?;
    if call.admin.store.get::<VirtualKey>(&[&key.token]).await?.is_some() {
        return Err(AdminError::invalid("key", "key: this key exists already; choose another one"));
    }
    Ok((key, secret))
}

/// The secret that the body asks for, or a new one.
///
/// # Errors
/// 400 naming `field`, if it is not of the form of a key.
pub(super) fn secret(call: &Call, field: &'static str) -> Result<String, AdminError> {
    /// Source: LiteLLM, `MINIMUM_CUSTOM_KEY_LENGTH`.
    const SHORTEST: usize = 16;
    let Some(given) = call.text(field).filter(|given| !given.is_empty()) else {
        return Ok(columns::new_secret());
    };
    if call.admin.snapshot.load().general.people.no_custom_keys {
        return Err(AdminError::forbidden(
            "Custom API key values are disabled by your administrator. Keys must be auto-generated.",
        )
        .about(field));
    }
    if !given.starts_with("sk-") {
        return Err(AdminError::invalid(
            field,
            format!("{field}: Invalid key format. LiteLLM Virtual Key must start with 'sk-'"),
        ));
    }
    if given.len() < SHORTEST {
        return Err(AdminError::invalid(
            field,
            format!(
                "{field}: Invalid key format. LiteLLM Virtual Key must be at least {SHORTEST} characters long."
            ),
        ));
    }
    Ok(given.to_owned())
}

/// The columns of a new key, as the body has them.
fn row(call: &Call, secret: &str) -> Result<VirtualKey, AdminError> {
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, COLUMNS);
    columns::no_empty_ids(&mut columns);
    columns::period(call, &mut columns)?;
    columns::windows(call, &Value::Null, &mut columns)?;
    let mut key: VirtualKey = columns::row(columns)?;
    columns::take_into(&mut key.metadata, &call.body, IN_METADATA);
    columns::keep_internal(&mut key.metadata, &Value::Null);
    key.token = columns::hash_of(secret);
    key.key_name = Some(columns::shown(secret));
    // The caller, not the author they name in a header: who made a key may change it.
    let author = Some(call.caller.user_id()).filter(|user| !user.is_empty());
    key.created_by = Some(author.map_or_else(|| call.changed_by(), str::to_owned));
    key.updated_by = key.created_by.clone();
    if let Some(duration) = call.text("duration").filter(|duration| !duration.is_empty()) {
        key.expires = Some(columns::after("duration", duration, call.admin.now())?);
    }
    of_type(call, &mut key)?;
    rotation(call, &mut key)?;
    Ok(key)
}

/// Who a key is for. Source: LiteLLM, `_is_allowed_to_make_key_request`.
fn asked_owner(call: &Call, asked: Option<String>, of_team: bool) -> Result<Option<String>, AdminError> {
    let own = call.caller.user_id();
    if call.caller.is_admin() {
        let own = Some(own.to_owned()).filter(|own| !call.caller.is_master && !of_team && !own.is_empty());
        return Ok(asked.or(own));
    }
    match asked {
        Some(other) if other != own => Err(AdminError::forbidden(format!(
            "User can only create keys for themselves. Got user_id={other}, Your ID={own}"
        ))
        .about("user_id")),
        // A key of nobody has nobody's limits.
        _ => Ok(Some(own.to_owned())),
    }
}

/// Writes a new key down, with a budget of its own if it has a soft one. Returns it as stored.
pub(crate) async fn save(call: &Call, key: &VirtualKey) -> Result<VirtualKey, AdminError> {
    let (store, now) = (&call.admin.store, call.admin.now());
    let mut key = key.clone();
    if let Some(soft) = call.given("soft_budget").and_then(Value::as_f64).and_then(Usd::from_f64) {
        let budget = Budget {
            budget_id: uuid::Uuid::new_v4().to_string(),
            soft_budget: Some(soft),
            created_by: call.changed_by(),
            updated_by: call.changed_by(),
            ..Budget::default()
        };
        store.insert(&budget, now).await?;
        key.budget_id = Some(budget.budget_id);
    }
    let key = store.add(&key, now).await?;
    call.admin.changed(Subject::Key, &key.token);
    Ok(key)
}

/// Everything about a key and, this once, the key.
pub(crate) fn shown_once(key: &VirtualKey, secret: &str) -> Value {
    let mut answer = json_of(key);
    if let Value::Object(map) = &mut answer {
        for name in IN_METADATA {
            if let Some(value) = key.metadata.get(name) {
                map.insert((*name).to_owned(), value.clone());
            }
        }
        map.insert("key".to_owned(), json!(secret));
        map.insert("token_id".to_owned(), json!(key.token));
        map.insert("litellm_budget_table".to_owned(), Value::Null);
    }
    answer
}

fn of_type(call: &Call, key: &mut VirtualKey) -> Result<(), AdminError> {
    let routes = match call.text("key_type") {
        None | Some("default") => return Ok(()),
        Some("llm_api") => "llm_api_routes",
        Some("management") => "management_routes",
        Some("read_only") => "info_routes",
        Some(other) => {
            return Err(AdminError::invalid(
                "key_type",
                format!("key_type: `{other}` is none of default, llm_api, management, read_only"),
            ));
        }
    };
    key.allowed_routes = vec![routes.to_owned()];
    Ok(())
}

fn rotation(call: &Call, key: &mut VirtualKey) -> Result<(), AdminError> {
    if key.auto_rotate != Some(true) {
        return Ok(());
    }
    let Some(interval) = call.text("rotation_interval") else {
        return Err(AdminError::invalid(
            "rotation_interval",
            "rotation_interval is required with auto_rotate",
        ));
    };
    key.key_rotation_at = Some(columns::after("rotation_interval", interval, call.admin.now())?);
    Ok(())
}
