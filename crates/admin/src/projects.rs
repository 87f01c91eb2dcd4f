//! Projects: budgets of their own under a team. Source: compat, endpoints §2.5.

use faregate_state::invalidate::Subject;
use faregate_store::{ListQuery, Project, Team};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::access::Standing;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::organizations::budget_of;
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_ProjectTable";

const PROJECT: &[Field] = &[
    field("project_alias", Holds::Text, "display name"),
    field("description", Holds::Text, "what it is for"),
    field("team_id", Holds::Text, "its team"),
    field("models", Holds::Texts, "names that may be used; empty allows all"),
    field("metadata", Holds::Object, "free object"),
    field("blocked", Holds::Flag, "refuse every request"),
    field("budget_id", Holds::Text, "budget object"),
    field("model_rpm_limit", Holds::Object, "model → requests per minute"),
    field("model_tpm_limit", Holds::Object, "model → tokens per minute"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "POST",
        &["/project/new"],
        Key,
        &[&[field("project_id", Holds::Text, "made up when absent")], PROJECT, columns::BUDGET],
        &[],
        "Create a project",
        new
    ),
    route!(
        "POST",
        &["/project/update"],
        Key,
        &[&[required("project_id", Holds::Text, "the project")], PROJECT, columns::BUDGET],
        &[],
        "Update a project",
        update
    ),
    route!(
        "DELETE",
        &["/project/delete"],
        Admin,
        &[&[required("project_ids", Holds::Texts, "the projects")]],
        &[],
        "Delete projects",
        delete
    ),
    route!(
        "GET",
        &["/project/info"],
        User,
        &[],
        &[required("project_id", Holds::Text, "the project")],
        "Details of a project",
        info
    ),
    route!("GET", &["/project/list"], User, &[], &[], "All projects the caller may see", list),
];

const COLUMNS: &[&str] = &[
    "project_alias",
    "description",
    "team_id",
    "models",
    "metadata",
    "blocked",
    "model_rpm_limit",
    "model_tpm_limit",
];

/// The columns that a body sets, after asking whether the caller may put the project there.
async fn columns_of(call: &Call, before: Option<&Project>) -> Result<Map<String, Value>, AdminError> {
    columns::not_negative(call, &["max_budget", "soft_budget"])?;
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, COLUMNS);
    columns::no_empty_ids(&mut columns);
    let team = match columns.get("team_id") {
        None => before.and_then(|project| project.team_id.as_deref()),
        Some(given) => given.as_str(),
    };
    may_change(call, team).await?;
    if let Some(metadata) = columns.get_mut("metadata") {
        columns::keep_internal(metadata, &before.map(|project| project.metadata.clone()).unwrap_or_default());
    }
    if let Some(budget) = budget_of(call).await? {
        columns.insert("budget_id".to_owned(), json!(budget));
    }
    columns.insert("updated_by".to_owned(), json!(call.changed_by()));
    Ok(columns)
}

/// Projects have their own budgets: who may make or change one administers the organization of its team.
async fn may_change(call: &Call, team: Option<&str>) -> Result<(), AdminError> {
    let Some(team) = team else {
        if call.caller.is_admin() {
            return Ok(());
        }
        return Err(AdminError::forbidden(
            "Only proxy admins can have projects without a team; give the `team_id` of a team in an \
             organization that you administer",
        )
        .about("team_id"));
    };
    let row: Team = call.admin.row(&[team], || format!("Team not found, passed team id: {team}.")).await?;
    let standing = call.admin.standing(&call.caller, &row).await?;
    let by_team_admins = || {
        let snapshot = call.admin.snapshot.load();
        let named = snapshot.general.people.editable_by_team_admins.as_deref().unwrap_or_default();
        named.iter().any(|one| one == "projects")
    };
    if standing >= Standing::OrganizationAdmin || (standing == Standing::TeamAdmin && by_team_admins()) {
        return Ok(());
    }
    Err(AdminError::forbidden(format!(
        "Only proxy admins and admins of the team's organization can change projects of team_id={team}"
    ))
    .about("team_id"))
}

async fn found(call: &Call, id: &str) -> Result<Project, AdminError> {
    call.admin.row(&[id], || format!("Project {id} not found")).await
}

async fn new(call: Call) -> Outcome {
    let id = call.text("project_id").filter(|id| !id.is_empty());
    let id = id.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    if call.admin.store.get::<Project>(&[&id]).await?.is_some() {
        return Err(AdminError::invalid("project_id", format!("Project {id} exists already")));
    }
    let mut row: Project = columns::row(columns_of(&call, None).await?)?;
    row.project_id = id;
    row.created_by = call.changed_by();
    let row = call.admin.store.add(&row, call.admin.now()).await?;
    call.admin.changed(Subject::Project, &row.project_id);
    call.admin.audit(&call, "created", TABLE, &row.project_id, Value::Null, json_of(&row)).await;
    Ok(Answer::json(&row))
}

async fn update(call: Call) -> Outcome {
    let before = found(&call, call.text("project_id").unwrap_or_default()).await?;
    may_change(&call, before.team_id.as_deref()).await?;
    let id = before.project_id.clone();
    let patch = columns::patch(columns_of(&call, Some(&before)).await?);
    let row = call.admin.store.update::<Project>(&[&id], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::Project, &id);
    call.admin.audit(&call, "updated", TABLE, &id, json_of(&before), json_of(&row)).await;
    Ok(Answer::json(&row))
}

async fn delete(call: Call) -> Outcome {
    let mut gone = Vec::new();
    for id in call.texts("project_ids") {
        gone.push(found(&call, &id).await?);
    }
    for row in &gone {
        let id = &row.project_id;
        call.admin.store.delete::<Project>(&[id]).await?;
        call.admin.changed(Subject::Project, id);
        call.admin.audit(&call, "deleted", TABLE, id, json_of(row), Value::Null).await;
    }
    Ok(Answer::json(&gone))
}

/// Projects are seen by those who see their team.
async fn may_see(call: &Call, project: &Project) -> Result<(), AdminError> {
    if call.caller.sees_all() {
        return Ok(());
    }
    if let Some(id) = &project.team_id
        && let Some(team) = call.admin.store.get::<Team>(&[id]).await?
    {
        return call.admin.may_see_team(&call.caller, &team).await;
    }
    Err(AdminError::forbidden(format!("You are not allowed to see project_id={}", project.project_id)))
}

async fn info(call: Call) -> Outcome {
    let row = found(&call, call.asked("project_id").unwrap_or_default()).await?;
    may_see(&call, &row).await?;
    Ok(Answer::json(&row))
}

async fn list(call: Call) -> Outcome {
    let mut rows = Vec::new();
    for row in call.admin.store.list::<Project>(&ListQuery::new().uncounted()).await?.rows {
        if may_see(&call, &row).await.is_ok() {
            rows.push(row);
        }
    }
    Ok(Answer::json(&rows))
}
