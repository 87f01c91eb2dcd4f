//! Organizations and their members. Source: compat, endpoints §2.4 and §3.4.

use faregate_state::invalidate::Subject;
use faregate_store::{
    Budget, Filter, ListQuery, Organization, OrganizationMembership, Team, User, VirtualKey,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_OrganizationTable";
const IN_METADATA: &[&str] = &["model_rpm_limit", "model_tpm_limit"];

const ORGANIZATION: &[Field] = &[
    field("models", Holds::Texts, "names that may be used; empty allows all"),
    field("metadata", Holds::Object, "free object"),
    field("budget_id", Holds::Text, "budget object; one is made from the fields of a budget when absent"),
    field("allowed_models", Holds::Texts, "models of the budget"),
    field("model_rpm_limit", Holds::Object, "model → requests per minute"),
    field("model_tpm_limit", Holds::Object, "model → tokens per minute"),
    field("object_permission", Holds::Object, "MCP servers, vector stores and agents that may be used"),
];
const NEW: &[Field] = &[
    required("organization_alias", Holds::Text, "display name"),
    field("organization_id", Holds::Text, "made up when absent"),
];
const UPDATE: &[Field] = &[
    required("organization_id", Holds::Text, "the organization"),
    field("organization_alias", Holds::Text, "display name"),
];
const ASKED: &[Field] = &[required("organization_id", Holds::Text, "the organization")];
const MEMBER_ADD: &[Field] = &[
    required("organization_id", Holds::Text, "the organization"),
    required("member", Holds::Any, "{user_id or user_email, role}, or a list of such"),
    field("max_budget_in_organization", Holds::Number, "US dollars of these members"),
];
const MEMBER: &[Field] = &[
    required("organization_id", Holds::Text, "the organization"),
    field("user_id", Holds::Text, "the member"),
    field("user_email", Holds::Text, "the member by address"),
];
const MEMBER_UPDATE: &[Field] = &[
    field("role", Holds::Text, "org_admin, internal_user or internal_user_viewer"),
    field("max_budget_in_organization", Holds::Number, "US dollars"),
];
pub(crate) const ROUTES: &[Route] = &[
    route!(
        "POST",
        &["/organization/new"],
        Admin,
        &[NEW, ORGANIZATION, columns::BUDGET],
        &[],
        "Create an organization",
        new
    ),
    route!(
        "PATCH",
        &["/organization/update"],
        Admin,
        &[UPDATE, ORGANIZATION, columns::BUDGET],
        &[],
        "Update an organization",
        update
    ),
    route!(
        "DELETE",
        &["/organization/delete"],
        Admin,
        &[&[required("organization_ids", Holds::Texts, "the organizations")]],
        &[],
        "Delete organizations with their teams and keys",
        delete
    ),
    route!(
        "GET",
        &["/organization/list"],
        Key,
        &[],
        &[field("org_id", Holds::Text, ""), field("org_alias", Holds::Text, "a part of it")],
        "Organizations the caller may see",
        list
    ),
    route!(
        "GET",
        &["/organization/info"],
        Org,
        &[],
        ASKED,
        "Details of an organization, its members and teams",
        info
    ),
    route!("POST", &["/organization/member_add"], Org, &[MEMBER_ADD], &[], "Add members", member_add),
    route!(
        "PATCH",
        &["/organization/member_update"],
        Org,
        &[MEMBER, MEMBER_UPDATE],
        &[],
        "Change role or budget of a member",
        member_update
    ),
    route!("DELETE", &["/organization/member_delete"], Org, &[MEMBER], &[], "Remove a member", member_delete),
];

#[derive(Debug, Clone, Deserialize)]
struct Named {
    user_id: Option<String>,
    user_email: Option<String>,
    role: String,
}

fn role(word: &str) -> Result<&str, AdminError> {
    match word {
        "org_admin" | "internal_user" | "internal_user_viewer" => Ok(word),
        other => Err(AdminError::invalid(
            "role",
            format!("role: `{other}` is none of org_admin, internal_user, internal_user_viewer"),
        )),
    }
}

async fn found(call: &Call, id: &str) -> Result<Organization, AdminError> {
    let row: Organization =
        call.admin.row(&[id], || format!("Organization not found for organization_id={id}")).await?;
    let leads = call.admin.leads_organizations(&call.caller).await?;
    if call.caller.sees_all() || leads.contains(&row.organization_id) {
        return Ok(row);
    }
    Err(AdminError::forbidden(format!("Only proxy admins and admins of organization {id} may do this")))
}

/// A budget made from the fields of one, under the id of none.
pub(crate) async fn budget_of(call: &Call) -> Result<Option<String>, AdminError> {
    if let Some(id) = call.text("budget_id") {
        call.admin.row::<Budget>(&[id], || format!("Budget {id} does not exist")).await?;
        return Ok(Some(id.to_owned()));
    }
    let Some(budget) = columns::budget(call)? else { return Ok(None) };
    call.admin.store.insert(&budget, call.admin.now()).await?;
    Ok(Some(budget.budget_id))
}

async fn details(call: &Call, row: &Organization) -> Result<Value, AdminError> {
    let of = |column| ListQuery::new().filter(Filter::Is(column, json!(row.organization_id))).uncounted();
    let store = &call.admin.store;
    let mut answer = json_of(row);
    answer["litellm_budget_table"] = json!(store.get::<Budget>(&[&row.budget_id]).await?);
    answer["members"] = json!(store.list::<OrganizationMembership>(&of("organization_id")).await?.rows);
    answer["teams"] = json!(store.list::<Team>(&of("organization_id")).await?.rows);
    Ok(answer)
}

async fn new(call: Call) -> Outcome {
    let id = call.text("organization_id").map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    if call.admin.store.get::<Organization>(&[&id]).await?.is_some() {
        return Err(AdminError::invalid("organization_id", format!("Organization {id} exists already")));
    }
    let budget = match budget_of(&call).await? {
        Some(budget) => budget,
        None => {
            let row = Budget {
                budget_id: uuid::Uuid::new_v4().to_string(),
                created_by: call.changed_by(),
                updated_by: call.changed_by(),
                ..Budget::default()
            };
            call.admin.store.insert(&row, call.admin.now()).await?;
            row.budget_id
        }
    };
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, &["organization_alias", "models", "metadata"]);
    let mut row: Organization = columns::row(columns)?;
    columns::take_into(&mut row.metadata, &call.body, IN_METADATA);
    row.organization_id.clone_from(&id);
    row.budget_id = budget;
    row.created_by = call.changed_by();
    row.updated_by = call.changed_by();
    let row = call.admin.store.add(&row, call.admin.now()).await?;
    call.admin.changed(Subject::Organization, &id);
    call.admin.audit(&call, "created", TABLE, &id, Value::Null, json_of(&row)).await;
    Ok(Answer::json(&details(&call, &row).await?))
}

async fn update(call: Call) -> Outcome {
    let before = found(&call, call.text("organization_id").unwrap_or_default()).await?;
    let now = call.admin.now();
    let mut patch = Map::new();
    columns::take(&mut patch, &call.body, &["organization_alias", "models", "budget_id"]);
    let mut metadata = call.given("metadata").cloned().unwrap_or_else(|| before.metadata.clone());
    columns::take_into(&mut metadata, &call.body, IN_METADATA);
    patch.insert("metadata".to_owned(), metadata);
    patch.insert("updated_by".to_owned(), json!(call.changed_by()));
    if call.given("budget_id").is_none() {
        let mut budget = Map::new();
        let names: Vec<&str> = columns::BUDGET.iter().map(|field| field.name).collect();
        columns::take(&mut budget, &call.body, &names);
        columns::period(&call, &mut budget)?;
        if !budget.is_empty() {
            call.admin.store.update::<Budget>(&[&before.budget_id], &columns::patch(budget), now).await?;
        }
    }
    let id = before.organization_id.clone();
    let row = call.admin.store.update::<Organization>(&[&id], &columns::patch(patch), now).await?;
    let row = row.unwrap_or_else(|| before.clone());
    call.admin.changed(Subject::Organization, &id);
    call.admin.audit(&call, "updated", TABLE, &id, json_of(&before), json_of(&row)).await;
    Ok(Answer::json(&details(&call, &row).await?))
}

async fn delete(call: Call) -> Outcome {
    let mut gone = Vec::new();
    let by = crate::keys::deleter(&call);
    let now = call.admin.now();
    for id in call.texts("organization_ids") {
        let row = found(&call, &id).await?;
        let of = |column| ListQuery::new().filter(Filter::Is(column, json!(id))).uncounted();
        for team in call.admin.store.list::<Team>(&of("organization_id")).await?.rows {
            call.admin.store.delete_team(&team.team_id, &by, now).await?;
            call.admin.changed(Subject::Team, &team.team_id);
        }
        let keys = call.admin.store.list::<VirtualKey>(&of("organization_id")).await?.rows;
        let tokens: Vec<&str> = keys.iter().map(|key| key.token.as_str()).collect();
        call.admin.store.delete_keys(&tokens, &by, now).await?;
        for member in call.admin.store.list::<OrganizationMembership>(&of("organization_id")).await?.rows {
            call.admin.store.delete::<OrganizationMembership>(&[&member.user_id, &id]).await?;
        }
        call.admin.store.delete::<Organization>(&[&id]).await?;
        call.admin.changed(Subject::Organization, &id);
        call.admin.audit(&call, "deleted", TABLE, &id, json_of(&row), Value::Null).await;
        gone.push(row);
    }
    Ok(Answer::json(&gone))
}

async fn list(call: Call) -> Outcome {
    let mut query = ListQuery::new().uncounted();
    if let Some(id) = call.asked("org_id") {
        query = query.filter(Filter::Is("organization_id", json!(id)));
    }
    if let Some(alias) = call.asked("org_alias") {
        query = query.filter(Filter::Contains("organization_alias", alias.to_owned()));
    }
    if !call.caller.sees_all() {
        let own = ListQuery::new().filter(Filter::Is("user_id", json!(call.caller.user_id()))).uncounted();
        let rows = call.admin.store.list::<OrganizationMembership>(&own).await?.rows;
        let ids = rows.iter().map(|row| json!(row.organization_id)).collect();
        query = query.filter(Filter::In("organization_id", ids));
    }
    let mut rows = Vec::new();
    for row in call.admin.store.list::<Organization>(&query).await?.rows {
        rows.push(details(&call, &row).await?);
    }
    Ok(Answer::json(&rows))
}

async fn info(call: Call) -> Outcome {
    let row = found(&call, call.asked("organization_id").unwrap_or_default()).await?;
    Ok(Answer::json(&details(&call, &row).await?))
}

async fn member_budget(call: &Call) -> Result<Option<String>, AdminError> {
    let Some(max) = call.given("max_budget_in_organization") else { return Ok(None) };
    let mut columns = Map::new();
    columns.insert("max_budget".to_owned(), max.clone());
    let mut budget: Budget = columns::row(columns)?;
    budget.budget_id = uuid::Uuid::new_v4().to_string();
    budget.created_by = call.changed_by();
    budget.updated_by = call.changed_by();
    call.admin.store.insert(&budget, call.admin.now()).await?;
    Ok(Some(budget.budget_id))
}

async fn member_add(call: Call) -> Outcome {
    let row = found(&call, call.text("organization_id").unwrap_or_default()).await?;
    let members: Vec<Named> = match call.given("member") {
        Some(Value::Array(_)) => call.form("member")?.unwrap_or_default(),
        _ => call.form::<Named>("member")?.into_iter().collect(),
    };
    let present = ListQuery::new().filter(Filter::Is("organization_id", json!(row.organization_id)));
    let present = present.uncounted().page(1, 100_000);
    let present = call.admin.store.list::<OrganizationMembership>(&present).await?.rows;
    // All of them are checked before the first is written down.
    for member in &members {
        role(&member.role)?;
        if let Some(id) = member.user_id.as_deref()
            && !call.caller.is_admin()
            && call.admin.is_operators(id)
        {
            return Err(
                AdminError::forbidden(format!("Only proxy admins can add user_id={id}")).about("user_id")
            );
        }
        let user = call.admin.person(member.user_id.as_deref(), member.user_email.as_deref()).await?;
        if let Some(user) = user.filter(|user| present.iter().any(|one| one.user_id == user.user_id)) {
            return Err(AdminError::invalid(
                "member",
                format!(
                    "User={} is in organization {} already; use /organization/member_update",
                    user.user_id, row.organization_id
                ),
            ));
        }
    }
    let (mut users, mut memberships) = (Vec::new(), Vec::new());
    for member in &members {
        let word = role(&member.role)?;
        let user = call.admin.person_or_new(member.user_id.as_deref(), member.user_email.as_deref()).await?;
        let membership = OrganizationMembership {
            user_id: user.user_id.clone(),
            organization_id: row.organization_id.clone(),
            user_role: Some(word.to_owned()),
            budget_id: member_budget(&call).await?,
            ..OrganizationMembership::default()
        };
        memberships.push(call.admin.store.add(&membership, call.admin.now()).await?);
        call.admin.changed(Subject::User, &user.user_id);
        users.push(crate::users::shown(json_of(&user)));
    }
    call.admin.audit(&call, "updated", TABLE, &row.organization_id, Value::Null, json_of(&memberships)).await;
    Ok(Answer::json(&json!({
        "organization_id": row.organization_id,
        "updated_users": users,
        "updated_organization_memberships": memberships,
    })))
}

async fn membership(call: &Call) -> Result<OrganizationMembership, AdminError> {
    let row = found(call, call.text("organization_id").unwrap_or_default()).await?;
    let user = call.admin.person(call.text("user_id"), call.text("user_email")).await?;
    let id = call.text("user_id").map(str::to_owned).or(user.map(|user| user.user_id)).unwrap_or_default();
    call.admin
        .row(&[&id, &row.organization_id], || {
            format!("{id} is not a member of organization {}", row.organization_id)
        })
        .await
}

async fn member_update(call: Call) -> Outcome {
    let before = membership(&call).await?;
    let mut patch = Map::new();
    if let Some(word) = call.text("role") {
        let user = call.admin.store.get::<User>(&[&before.user_id]).await?;
        let powerful =
            user.and_then(|user| user.user_role).is_some_and(|role| role.starts_with("proxy_admin"));
        if powerful && !call.caller.is_admin() {
            return Err(AdminError::forbidden(
                "Only proxy admins may modify the organization role of a proxy admin",
            )
            .about("role"));
        }
        patch.insert("user_role".to_owned(), json!(role(word)?));
    }
    if let Some(budget) = member_budget(&call).await? {
        patch.insert("budget_id".to_owned(), json!(budget));
    }
    let key = [before.user_id.as_str(), before.organization_id.as_str()];
    let row = call
        .admin
        .store
        .update::<OrganizationMembership>(&key, &columns::patch(patch), call.admin.now())
        .await?;
    call.admin.changed(Subject::User, &before.user_id);
    call.admin.audit(&call, "updated", TABLE, &before.organization_id, json_of(&before), json_of(&row)).await;
    Ok(Answer::json(&row))
}

async fn member_delete(call: Call) -> Outcome {
    let row = membership(&call).await?;
    call.admin.store.delete::<OrganizationMembership>(&[&row.user_id, &row.organization_id]).await?;
    call.admin.changed(Subject::User, &row.user_id);
    call.admin.audit(&call, "updated", TABLE, &row.organization_id, json_of(&row), Value::Null).await;
    Ok(Answer::json(&row))
}
