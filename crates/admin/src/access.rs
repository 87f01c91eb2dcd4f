//! What a caller may see and change beyond the gate of a route: own keys, own teams, own organization.
//!
//! Who may set which field of a key is in [`crate::keys::rules`], of a team in [`crate::teams::rules`].

use std::collections::BTreeSet;

use faregate_store::{Filter, ListQuery, OrganizationMembership, Team, User, VirtualKey};
use serde_json::json;

use crate::Admin;
use crate::error::AdminError;
use crate::roles::Caller;

/// How a caller stands to a team, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Has nothing to do with it.
    Stranger,
    /// Is in it.
    Member,
    /// Administers it.
    TeamAdmin,
    /// Administers its organization.
    OrganizationAdmin,
    /// Administers the proxy.
    ProxyAdmin,
}

/// True if `caller` is an admin of this team.
pub fn leads_team(caller: &Caller, team: &Team) -> bool {
    let user = caller.user_id();
    !user.is_empty()
        && (team.admins.iter().any(|admin| admin == user)
            || team.members().iter().any(|member| member.user_id == user && member.role == "admin"))
}

/// True if this user is in this team, whatever their keys say.
pub fn is_listed(user: &str, team: &Team) -> bool {
    let listed = |list: &[String]| list.iter().any(|one| one == user);
    !user.is_empty()
        && (listed(&team.members)
            || listed(&team.admins)
            || team.members().iter().any(|member| member.user_id == user))
}

/// True if `caller`, or the key they call with, is in this team.
pub fn is_member(caller: &Caller, team: &Team) -> bool {
    caller.team_id() == Some(team.team_id.as_str()) || is_listed(caller.user_id(), team)
}

/// The organizations this user administers, among these memberships.
fn led(memberships: Vec<OrganizationMembership>) -> Vec<String> {
    let admins = memberships.into_iter().filter(|row| row.user_role.as_deref() == Some("org_admin"));
    admins.map(|row| row.organization_id).collect()
}

impl Admin {
    /// The organizations a user is in, with the role in each.
    pub(crate) async fn organizations_of(
        &self,
        user: &str,
    ) -> Result<Vec<OrganizationMembership>, AdminError> {
        if user.is_empty() {
            return Ok(Vec::new());
        }
        let query = ListQuery::new().filter(Filter::Is("user_id", json!(user))).uncounted();
        Ok(self.store.list::<OrganizationMembership>(&query).await?.rows)
    }

    /// Organizations that `caller` administers.
    pub(crate) async fn leads_organizations(&self, caller: &Caller) -> Result<Vec<String>, AdminError> {
        if caller.is_master {
            return Ok(Vec::new());
        }
        Ok(led(self.organizations_of(caller.user_id()).await?))
    }

    /// Organizations that this user administers.
    pub(crate) async fn led_by(&self, user: &str) -> Result<Vec<String>, AdminError> {
        Ok(led(self.organizations_of(user).await?))
    }

    /// How `caller` stands to this team. Admins of its organization rank above its own: they are the ones who
    /// may give it more.
    pub(crate) async fn standing(&self, caller: &Caller, team: &Team) -> Result<Standing, AdminError> {
        if caller.is_admin() {
            return Ok(Standing::ProxyAdmin);
        }
        if let Some(organization) = &team.organization_id
            && self.leads_organizations(caller).await?.contains(organization)
        {
            return Ok(Standing::OrganizationAdmin);
        }
        Ok(if leads_team(caller, team) {
            Standing::TeamAdmin
        } else if is_listed(caller.user_id(), team) {
            Standing::Member
        } else {
            Standing::Stranger
        })
    }

    /// Whether `caller` may change this team.
    ///
    /// # Errors
    /// 403 if not.
    pub(crate) async fn may_change_team(&self, caller: &Caller, team: &Team) -> Result<(), AdminError> {
        self.must_lead_team(caller, team).await.map(drop)
    }

    /// As what `caller` may change this team.
    ///
    /// # Errors
    /// 403 if not at all.
    pub(crate) async fn must_lead_team(&self, caller: &Caller, team: &Team) -> Result<Standing, AdminError> {
        let standing = self.standing(caller, team).await?;
        if standing >= Standing::TeamAdmin {
            return Ok(standing);
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

    /// Whether `caller` may see this key: their own, one of their team, one of an organization they administer.
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
            // Every member may see the keys of a team: `/key/info` is what LiteLLM always grants.
            && self.standing(caller, &team).await? >= Standing::Member
        {
            return Ok(());
        }
        if let Some(organization) = &key.organization_id
            && self.leads_organizations(caller).await?.contains(organization)
        {
            return Ok(());
        }
        Err(AdminError::forbidden("You are not allowed to access this key"))
    }

    /// Whether `caller` may see this user's account: their own, or somebody's in an organization they
    /// administer.
    ///
    /// # Errors
    /// 403 if not.
    pub(crate) async fn may_see_user(&self, caller: &Caller, user: &str) -> Result<(), AdminError> {
        if caller.sees_all() || (!user.is_empty() && user == caller.user_id()) {
            return Ok(());
        }
        let led = self.leads_organizations(caller).await?;
        if !led.is_empty()
            && self.organizations_of(user).await?.iter().any(|row| led.contains(&row.organization_id))
        {
            return Ok(());
        }
        Err(AdminError::forbidden(format!(
            "You may see your own user only, and users of organizations you administer. Got user_id={user}"
        )))
    }

    /// Whether `caller` has this user in charge: every organization the user is in, or is in a team of, is one
    /// that they administer, and the user does not administer the proxy. Source: LiteLLM, `/user/delete`, which
    /// does not look at teams.
    ///
    /// # Errors
    /// 403 if not.
    pub(crate) async fn may_change_user(&self, caller: &Caller, user: &User) -> Result<(), AdminError> {
        if caller.is_admin() {
            return Ok(());
        }
        let led: BTreeSet<String> = self.leads_organizations(caller).await?.into_iter().collect();
        let theirs: BTreeSet<String> =
            self.organizations_of(&user.user_id).await?.into_iter().map(|row| row.organization_id).collect();
        let powerful = user.user_role.as_deref().is_some_and(|role| role.starts_with("proxy_admin"));
        if !powerful && !theirs.is_empty() && theirs.is_subset(&led) && self.teams_within(user, &led).await? {
            return Ok(());
        }
        Err(AdminError::forbidden(format!(
            "User {} is not within your admin scope. Only proxy admins may do this to users outside of the \
             organizations you administer",
            user.user_id
        )))
    }

    /// True if every team of the user is in one of these organizations: who adds a stranger to an organization
    /// does not get to delete their keys elsewhere.
    async fn teams_within(&self, user: &User, led: &BTreeSet<String>) -> Result<bool, AdminError> {
        let ids = user.teams.iter().map(|id| json!(id)).collect();
        let query = ListQuery::new().filter(Filter::In("team_id", ids)).uncounted();
        let teams = self.store.list::<Team>(&query).await?.rows;
        Ok(teams.iter().all(|team| team.organization_id.as_ref().is_some_and(|id| led.contains(id))))
    }

    /// Whether `caller` administers this organization.
    ///
    /// # Errors
    /// 403 naming `organization_id`, if not.
    pub(crate) async fn must_lead(&self, caller: &Caller, organization: &str) -> Result<(), AdminError> {
        if caller.is_admin() || self.leads_organizations(caller).await?.iter().any(|one| one == organization)
        {
            return Ok(());
        }
        Err(AdminError::forbidden(format!(
            "Only proxy admins and admins of organization_id={organization} may do this"
        ))
        .about("organization_id"))
    }
}
