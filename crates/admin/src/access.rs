//! What a caller may see and change beyond the gate of a route: own keys, own teams, own organization.

use faregate_store::{Filter, ListQuery, OrganizationMembership, Team, VirtualKey};
use serde_json::json;

use crate::Admin;
use crate::error::AdminError;
use crate::roles::Caller;

/// True if `caller` is an admin of this team.
pub fn leads_team(caller: &Caller, team: &Team) -> bool {
    let user = caller.user_id();
    !user.is_empty()
        && (team.admins.iter().any(|admin| admin == user)
            || team.members().iter().any(|member| member.user_id == user && member.role == "admin"))
}

/// True if `caller` is in this team.
pub fn is_member(caller: &Caller, team: &Team) -> bool {
    let user = caller.user_id();
    caller.team_id() == Some(team.team_id.as_str())
        || (!user.is_empty()
            && (team.members.iter().any(|member| member == user)
                || team.members().iter().any(|member| member.user_id == user)))
}

impl Admin {
    /// Organizations that `caller` administers.
    pub(crate) async fn leads_organizations(&self, caller: &Caller) -> Result<Vec<String>, AdminError> {
        if caller.user_id().is_empty() || caller.is_master {
            return Ok(Vec::new());
        }
        let query = ListQuery::new()
            .filter(Filter::Is("user_id", json!(caller.user_id())))
            .filter(Filter::Is("user_role", json!("org_admin")))
            .uncounted();
        let rows = self.store.list::<OrganizationMembership>(&query).await?.rows;
        Ok(rows.into_iter().map(|row| row.organization_id).collect())
    }

    /// Whether `caller` may change this team.
    ///
    /// # Errors
    /// 403 if not.
    pub(crate) async fn may_change_team(&self, caller: &Caller, team: &Team) -> Result<(), AdminError> {
        if caller.is_admin() || leads_team(caller, team) {
            return Ok(());
        }
        if let Some(organization) = &team.organization_id
            && self.leads_organizations(caller).await?.contains(organization)
        {
            return Ok(());
        }
        Err(AdminError::forbidden(format!(
            "Only proxy admins, admins of the organization and admins of team_id={} may do this",
            team.team_id
        )))
    }

    /// Whether `caller` may see this team.
    ///
    /// # Errors
    /// 403 if not.
    pub(crate) async fn may_see_team(&self, caller: &Caller, team: &Team) -> Result<(), AdminError> {
        if caller.sees_all() || is_member(caller, team) {
            return Ok(());
        }
        self.may_change_team(caller, team).await
    }

    /// Whether `caller` may see this key.
    ///
    /// # Errors
    /// 403 if not.
    pub(crate) async fn may_see_key(&self, caller: &Caller, key: &VirtualKey) -> Result<(), AdminError> {
        let own = caller.key_hash() == key.token
            || key.user_id.as_deref().is_some_and(|user| !user.is_empty() && user == caller.user_id());
        if caller.sees_all() || own {
            return Ok(());
        }
        if let Some(team) = &key.team_id
            && let Some(team) = self.store.get::<Team>(&[team]).await?
        {
            return self.may_change_team(caller, &team).await;
        }
        Err(AdminError::forbidden("You are not allowed to access this key"))
    }

    /// Whether `caller` may change this key.
    ///
    /// # Errors
    /// 403 if not.
    pub(crate) async fn may_change_key(&self, caller: &Caller, key: &VirtualKey) -> Result<(), AdminError> {
        if caller.sees_all() && !caller.is_admin() {
            return Err(AdminError::forbidden("Viewers change nothing"));
        }
        self.may_see_key(caller, key).await
    }
}
