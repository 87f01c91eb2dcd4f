//! Whom spend is added up for.

use crate::schema::{Table, access, daily, identity};

/// A kind of subject with an exact total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A virtual key, by its hash.
    Key,
    /// An internal user. The user `litellm-proxy-budget` stands for everybody, as in LiteLLM.
    User,
    /// A team.
    Team,
    /// A user inside a team: user, team.
    Member,
    /// An organization.
    Organization,
    /// A user inside an organization: user, organization.
    OrganizationMember,
    /// A project.
    Project,
    /// An end user.
    EndUser,
    /// A tag.
    Tag,
    /// A model access group.
    AccessGroup,
    /// A row of a daily table, by its id.
    DailyUser,
    /// A row of a daily table, by its id.
    DailyTeam,
    /// A row of a daily table, by its id.
    DailyTag,
    /// A row of a daily table, by its id.
    DailyOrganization,
    /// A row of a daily table, by its id.
    DailyEndUser,
    /// A row of a daily table, by its id.
    DailyAgent,
    /// A row of a daily table, by its id.
    DailyGlobal,
}

/// One subject. `sub_id` is empty but for members.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// Its id; of a member, the user's.
    pub id: String,
    /// Of a member, the team's or organization's.
    pub sub_id: String,
}

/// The user row that carries the whole proxy's spend and budget.
pub const EVERYBODY: &str = "litellm-proxy-budget";

impl SubjectKind {
    /// Every kind with a row of its own to budget: all but the daily tables.
    pub const BUDGETED: [Self; 10] = [
        Self::Key,
        Self::User,
        Self::Team,
        Self::Member,
        Self::Organization,
        Self::OrganizationMember,
        Self::Project,
        Self::EndUser,
        Self::Tag,
        Self::AccessGroup,
    ];

    /// The word in `faregate_spend_totals.kind`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
            Self::Team => "team",
            Self::Member => "member",
            Self::Organization => "organization",
            Self::OrganizationMember => "organization_member",
            Self::Project => "project",
            Self::EndUser => "end_user",
            Self::Tag => "tag",
            Self::AccessGroup => "access_group",
            Self::DailyUser => "daily_user",
            Self::DailyTeam => "daily_team",
            Self::DailyTag => "daily_tag",
            Self::DailyOrganization => "daily_organization",
            Self::DailyEndUser => "daily_end_user",
            Self::DailyAgent => "daily_agent",
            Self::DailyGlobal => "daily_global",
        }
    }

    /// The table whose `spend` column shows the total. Its primary key is the subject's id and sub-id.
    pub(crate) fn table(self) -> &'static Table {
        match self {
            Self::Key => &identity::VERIFICATION_TOKEN,
            Self::User => &identity::USER,
            Self::Team => &identity::TEAM,
            Self::Member => &identity::TEAM_MEMBERSHIP,
            Self::Organization => &identity::ORGANIZATION,
            Self::OrganizationMember => &identity::ORGANIZATION_MEMBERSHIP,
            Self::Project => &identity::PROJECT,
            Self::EndUser => &identity::END_USER,
            Self::Tag => &access::TAG,
            Self::AccessGroup => &access::MODEL_ACCESS_GROUP_BUDGET,
            Self::DailyUser => &daily::USER,
            Self::DailyTeam => &daily::TEAM,
            Self::DailyTag => &daily::TAG,
            Self::DailyOrganization => &daily::ORGANIZATION,
            Self::DailyEndUser => &daily::END_USER,
            Self::DailyAgent => &daily::AGENT,
            Self::DailyGlobal => &daily::GLOBAL,
        }
    }

    /// True when the table also shows the spend over the subject's whole life, as `total_spend`.
    pub(crate) fn has_lifetime(self) -> bool {
        self.table().column("total_spend").is_some()
    }
}

impl Subject {
    /// A subject with one id.
    pub fn of(kind: SubjectKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), sub_id: String::new() }
    }

    /// A subject with two ids.
    pub fn member(kind: SubjectKind, id: impl Into<String>, of: impl Into<String>) -> Self {
        Self { kind, id: id.into(), sub_id: of.into() }
    }
}
