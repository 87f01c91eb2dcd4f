//! Everything authentication needs to know about a key, in one query.

use faregate_terms::{PicoUsd, UtcMillis};

use crate::db::{Cell, Row, Sql};
use crate::ledger::SubjectKind;
use crate::record::{decode, kinds};
use crate::schema::{Kind, Table};
use crate::usd::join;
use crate::{
    Budget, EndUser, ModelAliases, ObjectPermission, Organization, OrganizationMembership, Project, Record,
    Store, StoreError, Team, TeamMembership, Usd, User, VirtualKey,
};

/// A key with everybody it belongs to, their budgets, and what each spent to the last digit.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRecord {
    /// The key.
    pub key: VirtualKey,
    /// True when it was asked for by an older hash that still works.
    pub by_old_hash: bool,
    /// The budget the key points to.
    pub key_budget: Option<Budget>,
    /// What the key may reach.
    pub key_permission: Option<ObjectPermission>,
    /// The key's team.
    pub team: Option<Team>,
    /// Model aliases of the team.
    pub team_aliases: Option<ModelAliases>,
    /// What the team may reach.
    pub team_permission: Option<ObjectPermission>,
    /// The key's user inside its team.
    pub membership: Option<TeamMembership>,
    /// The budget of that membership.
    pub membership_budget: Option<Budget>,
    /// The key's user.
    pub user: Option<User>,
    /// The organization of the key, else of its team.
    pub organization: Option<Organization>,
    /// The organization's budget.
    pub organization_budget: Option<Budget>,
    /// The key's user inside the organization.
    pub organization_membership: Option<OrganizationMembership>,
    /// The key's project.
    pub project: Option<Project>,
    /// The project's budget.
    pub project_budget: Option<Budget>,
    /// Exact spend since the last reset.
    pub spent: SpentBy,
}

/// Exact spend of a key and of everybody it belongs to, since each one's last reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpentBy {
    /// The key.
    pub key: PicoUsd,
    /// Its user.
    pub user: PicoUsd,
    /// Its team.
    pub team: PicoUsd,
    /// Its user inside its team.
    pub member: PicoUsd,
    /// Its organization.
    pub organization: PicoUsd,
    /// Its user inside the organization.
    pub organization_member: PicoUsd,
    /// Its project.
    pub project: PicoUsd,
}

/// An end user with budget, permissions and exact spend.
#[derive(Debug, Clone, PartialEq)]
pub struct EndUserRecord {
    /// The end user.
    pub end_user: EndUser,
    /// Its budget.
    pub budget: Option<Budget>,
    /// What it may reach.
    pub permission: Option<ObjectPermission>,
    /// Exact spend since the last reset.
    pub spent: PicoUsd,
}

/// A table that is read along, under its alias.
type Part = (&'static str, &'static Table);

const PARTS: &[Part] = &[
    ("k", VirtualKey::TABLE),
    ("kb", Budget::TABLE),
    ("kp", ObjectPermission::TABLE),
    ("t", Team::TABLE),
    ("ta", ModelAliases::TABLE),
    ("tp", ObjectPermission::TABLE),
    ("m", TeamMembership::TABLE),
    ("mb", Budget::TABLE),
    ("u", User::TABLE),
    ("o", Organization::TABLE),
    ("ob", Budget::TABLE),
    ("om", OrganizationMembership::TABLE),
    ("p", Project::TABLE),
    ("pb", Budget::TABLE),
];

/// How the tables hang together; written once for both engines.
const JOINS: &str = r#" FROM "LiteLLM_VerificationToken" AS k
LEFT JOIN "LiteLLM_BudgetTable" AS kb ON kb.budget_id = k.budget_id
LEFT JOIN "LiteLLM_ObjectPermissionTable" AS kp ON kp.object_permission_id = k.object_permission_id
LEFT JOIN "LiteLLM_TeamTable" AS t ON t.team_id = k.team_id
LEFT JOIN "LiteLLM_ModelTable" AS ta ON ta.id = t.model_id
LEFT JOIN "LiteLLM_ObjectPermissionTable" AS tp ON tp.object_permission_id = t.object_permission_id
LEFT JOIN "LiteLLM_TeamMembership" AS m ON m.user_id = k.user_id AND m.team_id = k.team_id
LEFT JOIN "LiteLLM_BudgetTable" AS mb ON mb.budget_id = m.budget_id
LEFT JOIN "LiteLLM_UserTable" AS u ON u.user_id = k.user_id
LEFT JOIN "LiteLLM_OrganizationTable" AS o ON o.organization_id = COALESCE(k.organization_id, t.organization_id)
LEFT JOIN "LiteLLM_BudgetTable" AS ob ON ob.budget_id = o.budget_id
LEFT JOIN "LiteLLM_OrganizationMembership" AS om
  ON om.user_id = k.user_id AND om.organization_id = o.organization_id
LEFT JOIN "LiteLLM_ProjectTable" AS p ON p.project_id = k.project_id
LEFT JOIN "LiteLLM_BudgetTable" AS pb ON pb.budget_id = p.budget_id
"#;

/// An exact total: its kind, and the two ids it is found by.
type Total = (SubjectKind, &'static str, &'static str);

const TOTALS: &[Total] = &[
    (SubjectKind::Key, "k.token", "''"),
    (SubjectKind::User, "k.user_id", "''"),
    (SubjectKind::Team, "k.team_id", "''"),
    (SubjectKind::Member, "k.user_id", "k.team_id"),
    (SubjectKind::Organization, "o.organization_id", "''"),
    (SubjectKind::OrganizationMember, "k.user_id", "o.organization_id"),
    (SubjectKind::Project, "k.project_id", "''"),
];

impl Store {
    /// The key with this hash (or with this older hash, while it still works), and all it belongs to.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn key_record(&self, hash: &str, now: UtcMillis) -> Result<Option<KeyRecord>, StoreError> {
        let mut sql = self.db.sql("SELECT ");
        let mut kinds = write_parts(&mut sql, PARTS);
        kinds.extend(write_totals(&mut sql, TOTALS));
        sql.push(JOINS);
        sql.push("WHERE k.token IN (").bind(Kind::Text, hash);
        sql.push(
            ", (SELECT d.active_token_id FROM \"LiteLLM_DeprecatedVerificationToken\" AS d WHERE d.token = ",
        );
        sql.bind(Kind::Text, hash).push(" AND d.revoke_at > ").bind(Kind::Time, now);
        sql.push(" LIMIT 1)) ORDER BY CASE WHEN k.token = ")
            .bind(Kind::Text, hash)
            .push(" THEN 0 ELSE 1 END LIMIT 1");
        let row = self.db.fetch(sql, &kinds).await?.into_iter().next();
        row.map(|row| read(row, hash)).transpose()
    }

    /// An end user with budget and permissions, in one query.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn end_user_record(&self, id: &str) -> Result<Option<EndUserRecord>, StoreError> {
        let parts: &[Part] = &[("e", EndUser::TABLE), ("b", Budget::TABLE), ("p", ObjectPermission::TABLE)];
        let totals = &[(SubjectKind::EndUser, "e.user_id", "''")];
        let mut sql = self.db.sql("SELECT ");
        let mut kinds = write_parts(&mut sql, parts);
        kinds.extend(write_totals(&mut sql, totals));
        sql.push(" FROM \"LiteLLM_EndUserTable\" AS e ");
        sql.push("LEFT JOIN \"LiteLLM_BudgetTable\" AS b ON b.budget_id = e.budget_id ");
        sql.push("LEFT JOIN \"LiteLLM_ObjectPermissionTable\" AS p ");
        sql.push("ON p.object_permission_id = e.object_permission_id ");
        sql.push("WHERE e.user_id = ").bind(Kind::Text, id);
        let Some(row) = self.db.fetch(sql, &kinds).await?.into_iter().next() else { return Ok(None) };
        let mut cells = Cells(row.into_iter());
        let Some(end_user) = cells.take::<EndUser>()? else { return Ok(None) };
        let (budget, permission) = (cells.take()?, cells.take()?);
        let spent = cells.spent(Some(end_user.spend));
        Ok(Some(EndUserRecord { end_user, budget, permission, spent }))
    }
}

fn read(row: Row, hash: &str) -> Result<KeyRecord, StoreError> {
    let mut cells = Cells(row.into_iter());
    let key = cells.take::<VirtualKey>()?.ok_or_else(|| StoreError::Unreadable {
        table: VirtualKey::TABLE.name,
        problem: "a key without a hash".to_owned(),
    })?;
    let mut record = KeyRecord {
        by_old_hash: key.token != hash,
        key,
        key_budget: cells.take()?,
        key_permission: cells.take()?,
        team: cells.take()?,
        team_aliases: cells.take()?,
        team_permission: cells.take()?,
        membership: cells.take()?,
        membership_budget: cells.take()?,
        user: cells.take()?,
        organization: cells.take()?,
        organization_budget: cells.take()?,
        organization_membership: cells.take()?,
        project: cells.take()?,
        project_budget: cells.take()?,
        spent: SpentBy::default(),
    };
    record.spent = SpentBy {
        key: cells.spent(Some(record.key.spend)),
        user: cells.spent(record.user.as_ref().map(|user| user.spend)),
        team: cells.spent(record.team.as_ref().map(|team| team.spend)),
        member: cells.spent(record.membership.as_ref().map(|member| member.spend)),
        organization: cells.spent(record.organization.as_ref().map(|organization| organization.spend)),
        organization_member: cells
            .spent(record.organization_membership.as_ref().and_then(|member| member.spend)),
        project: cells.spent(record.project.as_ref().map(|project| project.spend)),
    };
    Ok(record)
}

/// The cells of one row, taken off table by table.
struct Cells(std::vec::IntoIter<Cell>);

impl Cells {
    /// The next table's row; `None` when the join found nothing, which leaves its key empty.
    fn take<T: Record>(&mut self) -> Result<Option<T>, StoreError> {
        let row: Row = self.0.by_ref().take(T::TABLE.columns.len()).collect();
        let keyed = T::TABLE
            .columns
            .iter()
            .zip(&row)
            .any(|(column, cell)| T::TABLE.primary.contains(&column.name) && *cell != Cell::Null);
        if keyed { decode(row).map(Some) } else { Ok(None) }
    }

    /// The next total, else what the column says: a total appears with the first settlement.
    fn spent(&mut self, column: Option<Usd>) -> PicoUsd {
        match (self.0.next(), self.0.next()) {
            (Some(Cell::Int(usd)), Some(Cell::Int(pico))) => join(usd, pico),
            _ => column.unwrap_or_default().0,
        }
    }
}

fn write_parts(sql: &mut Sql, parts: &[Part]) -> Vec<Kind> {
    let mut all = Vec::new();
    for (index, (alias, table)) in parts.iter().enumerate() {
        sql.push(if index > 0 { ", " } else { "" }).select(alias, table.columns);
        all.extend(kinds(table.columns));
    }
    all
}

/// Totals are read by subselects: as joins they would double the number of orders the planner tries.
fn write_totals(sql: &mut Sql, totals: &[Total]) -> Vec<Kind> {
    for (kind, id, sub_id) in totals {
        for half in ["spend_usd", "spend_pico"] {
            sql.push(&format!(", (SELECT s.{half} FROM \"faregate_spend_totals\" AS s WHERE s.kind = "));
            sql.bind(Kind::Text, kind.word()).push(&format!(" AND s.id = {id} AND s.sub_id = {sub_id})"));
        }
    }
    vec![Kind::Big; totals.len() * 2]
}
