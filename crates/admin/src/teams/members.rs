//! Who is in a team, as what, and with which budget.

use faregate_state::invalidate::Subject;
use faregate_store::{Budget, Team, TeamMember, TeamMembership, User};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{TABLE, found, made_budget};
use crate::Outcome;
use crate::access::Standing;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::routes::{Answer, Call};

/// How a request names a member.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) user_id: Option<String>,
    pub(super) user_email: Option<String>,
    #[serde(default = "plain")]
    pub(super) role: String,
}

fn plain() -> String {
    "user".to_owned()
}

impl Named {
    /// `member` is what examples call a plain member.
    fn role(&self) -> Result<&'static str, AdminError> {
        match self.role.as_str() {
            "admin" => Ok("admin"),
            "user" | "member" => Ok("user"),
            other => Err(AdminError::invalid("role", format!("role: `{other}` is neither admin nor user"))),
        }
    }
}

/// Whether everything about these members is in order, before the first is written down.
///
/// # Errors
/// 400 for a role nobody knows, or a member without a name.
pub(super) async fn check(call: &Call, members: &[Named]) -> Result<(), AdminError> {
    for member in members {
        member.role()?;
        if member.user_id.is_none() && member.user_email.is_none() {
            return Err(AdminError::invalid("member", "Either user_id or user_email must be provided"));
        }
        // An account made by its id would be whoever signs in under that id later. Source: LiteLLM,
        // `/team/member_add`.
        if let Some(id) = member.user_id.as_deref().filter(|_| !call.caller.is_admin())
            && id != call.caller.user_id()
            && call.admin.store.get::<User>(&[id]).await?.is_none()
        {
            return Err(AdminError::forbidden(format!(
                "Only proxy admins can add a user_id that does not exist yet: {id}. Add the member by \
                 user_email to invite a new user, or ask a proxy admin to create the user first."
            ))
            .about("user_id"));
        }
    }
    Ok(())
}

fn members_of(call: &Call) -> Result<Vec<Named>, AdminError> {
    match call.given("member") {
        Some(Value::Array(_)) => Ok(call.form("member")?.unwrap_or_default()),
        Some(_) => Ok(call.form::<Named>("member")?.into_iter().collect()),
        None => {
            let (user_id, user_email) = (call.text("user_id"), call.text("user_email"));
            if user_id.is_none() && user_email.is_none() {
                return Err(AdminError::invalid(
                    "member",
                    "member: Field required; or give user_id and role",
                ));
            }
            Ok(vec![Named {
                user_id: user_id.map(str::to_owned),
                user_email: user_email.map(str::to_owned),
                role: call.text("role").map_or_else(plain, str::to_owned),
            }])
        }
    }
}

/// Puts one user into the team; made if not known.
pub(super) async fn add(
    call: &Call,
    team: &Team,
    named: &Named,
    budget: Option<&str>,
) -> Result<(Team, User), AdminError> {
    let role = named.role()?.to_owned();
    let user = call.admin.person_or_new(named.user_id.as_deref(), named.user_email.as_deref()).await?;
    let own = team.metadata["team_member_budget_id"].as_str();
    let member = TeamMember { user_id: user.user_id.clone(), role, user_email: user.user_email.clone() };
    let now = call.admin.now();
    let row = call.admin.store.add_team_member(&team.team_id, &member, budget.or(own), now).await?;
    let row = row.ok_or_else(|| AdminError::not_found("Team not found"))?;
    call.admin.changed(Subject::User, &user.user_id);
    Ok((row, user))
}

pub(super) async fn member_add(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    call.admin.may_change_team(&call.caller, &team).await?;
    let members = members_of(&call)?;
    check(&call, &members).await?;
    let mut fields = Map::new();
    if let Some(max) = call.given("max_budget_in_team") {
        fields.insert("max_budget".to_owned(), max.clone());
    }
    columns::take(&mut fields, &call.body, &["budget_duration", "allowed_models"]);
    let (mut row, mut users, mut memberships) = (team.clone(), Vec::new(), Vec::new());
    for member in &members {
        if let Some(user) = call.admin.person(member.user_id.as_deref(), member.user_email.as_deref()).await?
            && team.members().iter().any(|present| present.user_id == user.user_id)
        {
            return Err(AdminError::invalid(
                "member",
                format!("User={} is already in team {}", user.user_id, team.team_id),
            ));
        }
        let budget = if fields.is_empty() { None } else { Some(made_budget(&call, fields.clone())?) };
        if let Some(budget) = &budget {
            call.admin.store.insert(budget, call.admin.now()).await?;
        }
        let budget_id = budget.as_ref().map(|budget| budget.budget_id.as_str());
        let (after, user) = add(&call, &team, member, budget_id).await?;
        memberships.extend(call.admin.store.get::<TeamMembership>(&[&user.user_id, &team.team_id]).await?);
        users.extend(call.admin.store.get::<User>(&[&user.user_id]).await?);
        row = after;
    }
    call.admin.changed(Subject::Team, &team.team_id);
    call.admin.audit(&call, "updated", TABLE, &team.team_id, json_of(&team), json_of(&row)).await;
    let mut answer = json_of(&row);
    answer["updated_users"] = users.iter().map(|user| crate::users::shown(json_of(user))).collect();
    answer["updated_team_memberships"] = json_of(&memberships);
    Ok(Answer::json(&answer))
}

async fn member_named(call: &Call, team: &Team) -> Result<TeamMember, AdminError> {
    let (id, email) = (call.text("user_id"), call.text("user_email"));
    if id.is_none() && email.is_none() {
        return Err(AdminError::invalid("user_id", "Either user_id or user_email needs to be passed in"));
    }
    let by_email = call.admin.person(id, email).await?.map(|user| user.user_id);
    let wanted = id.map(str::to_owned).or(by_email);
    let members = team.members();
    let member = members.into_iter().find(|member| Some(&member.user_id) == wanted.as_ref());
    member.ok_or_else(|| {
        let name = id.or(email).unwrap_or_default();
        AdminError::invalid("user_id", format!("{name} is not a member of team {}", team.team_id))
    })
}

pub(super) async fn member_delete(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    let standing = call.admin.must_lead_team(&call.caller, &team).await?;
    if standing == Standing::TeamAdmin && call.admin.snapshot.load().general.people.no_removal_by_team_admins
    {
        return Err(AdminError::forbidden(
            "Removing members is disabled for team admins by disable_team_admin_delete_team_user; ask an admin of \
             the organization or a proxy admin",
        ));
    }
    let member = member_named(&call, &team).await?;
    let row = call.admin.store.remove_team_member(&team.team_id, &member.user_id, call.admin.now()).await?;
    call.admin.changed(Subject::Team, &team.team_id);
    call.admin.audit(&call, "updated", TABLE, &team.team_id, json_of(&team), json_of(&row)).await;
    Ok(Answer::json(&row))
}

pub(super) async fn member_update(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    call.admin.may_change_team(&call.caller, &team).await?;
    let mut member = member_named(&call, &team).await?;
    if let Some(role) = call.text("role") {
        let named = Named { user_id: None, user_email: None, role: role.to_owned() };
        member.role = named.role()?.to_owned();
    }
    let now = call.admin.now();
    let membership = call.admin.store.get::<TeamMembership>(&[&member.user_id, &team.team_id]).await?;
    let mut fields = Map::new();
    columns::take(
        &mut fields,
        &call.body,
        &[
            "budget_duration",
            "tpm_limit",
            "rpm_limit",
            "allowed_models",
            "temp_budget_increase",
            "temp_budget_expiry",
        ],
    );
    if let Some(max) = call.body.get("max_budget_in_team") {
        fields.insert("max_budget".to_owned(), max.clone());
    }
    let budget_id = match membership.and_then(|membership| membership.budget_id) {
        // A budget that others share must not change with this member.
        Some(id) if !fields.is_empty() && team.metadata["team_member_budget_id"].as_str() != Some(&id) => {
            if let Some(Value::String(duration)) = fields.get("budget_duration") {
                let ends = call.admin.period_end("budget_duration", duration)?;
                fields.insert("budget_reset_at".to_owned(), json!(ends));
            }
            call.admin.store.update::<Budget>(&[&id], &columns::patch(fields), now).await?;
            Some(id)
        }
        old if fields.is_empty() => old,
        _ => {
            let budget = made_budget(&call, fields)?;
            call.admin.store.insert(&budget, now).await?;
            Some(budget.budget_id)
        }
    };
    let row = call.admin.store.add_team_member(&team.team_id, &member, budget_id.as_deref(), now).await?;
    call.admin.changed(Subject::Team, &team.team_id);
    call.admin.audit(&call, "updated", TABLE, &team.team_id, json_of(&team), json_of(&row)).await;
    let budget = match &budget_id {
        Some(id) => call.admin.store.get::<Budget>(&[id]).await?,
        None => None,
    };
    Ok(Answer::json(&json!({
        "user_id": member.user_id,
        "user_email": member.user_email,
        "team_id": team.team_id,
        "max_budget_in_team": budget.as_ref().and_then(|budget| budget.max_budget),
        "tpm_limit": budget.as_ref().and_then(|budget| budget.tpm_limit),
        "rpm_limit": budget.as_ref().and_then(|budget| budget.rpm_limit),
        "budget_duration": budget.as_ref().and_then(|budget| budget.budget_duration.clone()),
        "allowed_models": budget.as_ref().map(|budget| budget.allowed_models.clone()),
    })))
}
