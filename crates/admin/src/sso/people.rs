//! Who came from the identity provider, as a user: found, or made with the operator's defaults.

use faregate_config::UiAccess;
use faregate_state::invalidate::Subject;
use faregate_store::{Filter, ListQuery, Patch, Team, TeamMember, User};
use serde_json::{Map, Value, json};

use super::provider::{Provider, claim, first, listed};
use super::roles::{RoleMappings, is_role};
use super::settings;
use crate::Admin;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::routes::Call;
use crate::users::defaults;

const TABLE: &str = "LiteLLM_UserTable";
/// The role of a new user that nothing says another of. Source: LiteLLM, `DefaultInternalUserParams`.
const NEW: &str = "internal_user_viewer";

/// Who it is, as far as we want to know.
struct Person {
    id: String,
    email: Option<String>,
    /// The provider says that the address is theirs, or says nothing of it.
    owns_email: bool,
    name: Option<String>,
    role: Option<String>,
    teams: Vec<String>,
}

/// The user that signs in.
///
/// # Errors
/// 401 and 403 for who may not.
pub(super) async fn welcome(call: &Call, provider: &Provider, claims: &Value) -> Result<User, AdminError> {
    let admin = &call.admin;
    let person = person(admin, provider, claims).await?;
    allowed_domain(admin, &person)?;
    let user = match known(admin, &person).await? {
        Some(user) => greet(call, &person, user).await?,
        None => make(call, &person).await?,
    };
    join(call, &person, &user).await?;
    may_enter(admin, &user, claims)?;
    Ok(user)
}

async fn person(admin: &Admin, provider: &Provider, claims: &Value) -> Result<Person, AdminError> {
    let env = admin.snapshot.load().env.clone();
    let named = &provider.claims;
    let id = first(claims, &named.id).or_else(|| first(claims, &["sub".to_owned()])).ok_or_else(|| {
        AdminError::unauthorized(
            "auth_error",
            format!("The identity provider does not say who it is: no claim {}", named.id.join(" or ")),
        )
    })?;
    let stored = settings::stored(admin).await?;
    let mappings = RoleMappings::of(stored.get("role_mappings"), &env, provider.name);
    let by_group = mappings.and_then(|mappings| {
        let claim_name = mappings.group_claim.as_deref().unwrap_or("groups");
        mappings.role_of(&listed(claim(claims, claim_name)))
    });
    let roles: Vec<String> = named.role.iter().flat_map(|name| listed(claim(claims, name))).collect();
    let by_claim = ["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"]
        .into_iter()
        .find(|role| is_role(role) && roles.iter().any(|given| given == role));
    let is_operator = env.filled("PROXY_ADMIN_ID") == Some(&id);
    let role =
        if is_operator { Some("proxy_admin".to_owned()) } else { by_group.or(by_claim.map(str::to_owned)) };
    let team_claim = stored.get("team_mappings").and_then(|it| it["team_ids_jwt_field"].as_str());
    Ok(Person {
        email: first(claims, &named.email).map(|email| email.to_lowercase()),
        owns_email: claims["email_verified"] != Value::Bool(false) && claims["email_verified"] != "false",
        name: first(claims, &named.name),
        teams: team_claim.map(|name| listed(claim(claims, name))).unwrap_or_default(),
        role,
        id,
    })
}

/// `ALLOWED_EMAIL_DOMAINS`, comma list.
fn allowed_domain(admin: &Admin, person: &Person) -> Result<(), AdminError> {
    let env = admin.snapshot.load().env.clone();
    let Some(allowed) = env.filled("ALLOWED_EMAIL_DOMAINS") else { return Ok(()) };
    let domain = person.email.as_deref().and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
    let listed = |domain: &str| allowed.split(',').any(|one| one.trim().eq_ignore_ascii_case(domain));
    if person.owns_email && domain.is_some_and(listed) {
        return Ok(());
    }
    Err(AdminError::unauthorized(
        "auth_error",
        "The e-mail address is not of a domain that may sign in; ask the operator (ALLOWED_EMAIL_DOMAINS)",
    ))
}

/// The account: by the provider's id, else by an address that is theirs.
async fn known(admin: &Admin, person: &Person) -> Result<Option<User>, AdminError> {
    let by_identity = ListQuery::new().filter(Filter::Is("sso_user_id", json!(person.id))).uncounted();
    if let Some(user) = admin.store.list::<User>(&by_identity).await?.rows.into_iter().next() {
        return Ok(Some(user));
    }
    if admin.is_operators(&person.id)
        && admin.snapshot.load().env.filled("PROXY_ADMIN_ID") != Some(&person.id)
    {
        // Whoever may choose a name at the provider must not become the operator by it.
        return Err(AdminError::unauthorized(
            "auth_error",
            format!("`{}` is the operator's own account; it is not signed in to from elsewhere", person.id),
        ));
    }
    let by_id = admin.store.get::<User>(&[&person.id]).await?;
    let found = match (by_id, person.email.as_deref().filter(|_| person.owns_email)) {
        (Some(user), _) => Some(user),
        (None, Some(email)) => crate::login::by_email(admin, email).await?,
        (None, None) => None,
    };
    let Some(user) = found else { return Ok(None) };
    if user.sso_user_id.as_deref().is_some_and(|own| !own.is_empty() && own != person.id) {
        return Err(AdminError::unauthorized(
            "auth_error",
            "This account belongs to another identity; ask an admin to change its sso_user_id",
        ));
    }
    Ok(Some(user))
}

/// Somebody who was here before: the provider's word on id and role counts.
async fn greet(call: &Call, person: &Person, user: User) -> Result<User, AdminError> {
    if user.metadata["scim_active"] == Value::Bool(false) {
        return Err(AdminError::forbidden("This account is deactivated; ask an admin"));
    }
    let mut patch = Patch::new();
    if user.sso_user_id.as_deref() != Some(&person.id) {
        patch = patch.set("sso_user_id", &person.id);
    }
    if let Some(role) = person.role.as_ref().filter(|role| user.user_role.as_ref() != Some(role)) {
        patch = patch.set("user_role", role);
    }
    if user.user_email.is_none() && person.email.is_some() {
        patch = patch.set("user_email", &person.email);
    }
    if patch.is_empty() {
        return Ok(user);
    }
    let row = call.admin.store.update::<User>(&[&user.user_id], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::User, &user.user_id);
    call.admin.audit(call, "updated", TABLE, &user.user_id, json_of(&user), json_of(&row)).await;
    Ok(row.unwrap_or(user))
}

/// Somebody new.
async fn make(call: &Call, person: &Person) -> Result<User, AdminError> {
    let admin = &call.admin;
    let mut wanted = Map::new();
    if let Some(role) = &person.role {
        wanted.insert("user_role".to_owned(), json!(role));
    }
    defaults::fill(admin, &mut wanted);
    let teams = wanted.remove("teams");
    if let Some(duration) = wanted.get("budget_duration").and_then(Value::as_str) {
        let ends = admin.period_end("budget_duration", duration)?;
        wanted.insert("budget_reset_at".to_owned(), json!(ends));
    }
    let mut user: User = columns::row(wanted)?;
    user.user_id.clone_from(&person.id);
    user.sso_user_id = Some(person.id.clone());
    user.user_email.clone_from(&person.email);
    user.user_alias.clone_from(&person.name);
    user.user_role = user.user_role.or_else(|| Some(NEW.to_owned()));
    user.metadata = json!({ "auth_provider": "sso" });
    admin.store.insert(&user, admin.now()).await?;
    for team in teams.as_ref().and_then(Value::as_array).into_iter().flatten() {
        let id = team.as_str().or_else(|| team["team_id"].as_str()).unwrap_or_default();
        add(admin, id, &user, if team["user_role"] == "admin" { "admin" } else { "user" }).await?;
    }
    admin.changed(Subject::User, &user.user_id);
    admin.audit(call, "created", TABLE, &user.user_id, Value::Null, json_of(&user)).await;
    admin.row(&[&user.user_id], || "User does not exist in db.".to_owned()).await
}

/// Puts somebody into the teams that the provider names and that there are.
async fn join(call: &Call, person: &Person, user: &User) -> Result<(), AdminError> {
    for team in person.teams.iter().filter(|team| !user.teams.contains(team)) {
        add(&call.admin, team, user, "user").await?;
    }
    Ok(())
}

async fn add(admin: &Admin, team: &str, user: &User, role: &str) -> Result<(), AdminError> {
    if admin.store.get::<Team>(&[team]).await?.is_none() {
        tracing::warn!(team, "a team that single sign-on names does not exist; it is passed over");
        return Ok(());
    }
    let member = TeamMember {
        user_id: user.user_id.clone(),
        role: role.to_owned(),
        user_email: user.user_email.clone(),
    };
    admin.store.add_team_member(team, &member, None, admin.now()).await?;
    admin.changed(Subject::Team, team);
    Ok(())
}

/// `ui_access_mode`, with the groups of who came.
fn may_enter(admin: &Admin, user: &User, claims: &Value) -> Result<(), AdminError> {
    let snapshot = admin.snapshot.load();
    match &snapshot.general.people.access {
        UiAccess::Group { group, claim: name } if !listed(claim(claims, name)).contains(group) => {
            Err(AdminError::forbidden(format!(
                "{} is not in the group that may sign in; ask the operator (ui_access_mode)",
                user.user_id
            )))
        }
        _ => Ok(()),
    }
}
