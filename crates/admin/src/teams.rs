//! Teams and their members. Source: compat, endpoints §2.2 and §3.2.

use faregate_state::invalidate::Subject;
use faregate_store::{
    Budget, Filter, ListQuery, ModelAliases, Order, Organization, Patch, Team, TeamMember, TeamMembership,
    User, VirtualKey,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::keys::deleter;
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_TeamTable";

const COLUMNS: &[&str] = &[
    "team_alias",
    "organization_id",
    "admins",
    "members",
    "team_member_permissions",
    "metadata",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "max_parallel_requests",
    "max_budget",
    "soft_budget",
    "budget_duration",
    "budget_limits",
    "models",
    "blocked",
    "router_settings",
    "access_group_ids",
    "default_team_member_models",
    "model_max_budget",
    "policies",
];

const IN_METADATA: &[&str] = &[
    "tags",
    "guardrails",
    "prompts",
    "allowed_passthrough_routes",
    "denied_passthrough_routes",
    "disable_global_guardrails",
    "secret_manager_settings",
    "model_rpm_limit",
    "model_tpm_limit",
    "rpm_limit_type",
    "tpm_limit_type",
    "mcp_rpm_limit",
    "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model",
    "team_member_key_duration",
    "allowed_vector_store_indexes",
    "enforced_batch_output_expires_after",
    "enforced_file_expires_after",
];

const TEAM: &[Field] = &[
    field("team_alias", Holds::Text, "display name"),
    field("organization_id", Holds::Text, "organization"),
    field("admins", Holds::Texts, "ids of administrators"),
    field("members", Holds::Texts, "ids of members"),
    field("members_with_roles", Holds::List, "[{user_id or user_email, role: admin or user}]"),
    field("team_member_permissions", Holds::Texts, "what plain members may do with keys"),
    field("metadata", Holds::Object, "free object"),
    field("models", Holds::Texts, "names that may be used; empty allows all"),
    field("blocked", Holds::Flag, "refuse every request"),
    field("budget_limits", Holds::List, "several budgets: {budget_duration, max_budget}"),
    field("router_settings", Holds::Object, "router settings of this team"),
    field("access_group_ids", Holds::Texts, "access groups"),
    field("default_team_member_models", Holds::Texts, "models of new members"),
    field("model_aliases", Holds::Object, "name → model"),
    field("tags", Holds::List, "tags of every request"),
    field("guardrails", Holds::Texts, "guardrails that always run"),
    field("policies", Holds::Texts, "policies attached"),
    field("prompts", Holds::Texts, "prompt ids allowed"),
    field("object_permission", Holds::Object, "MCP servers, vector stores and agents that may be used"),
    field("allowed_passthrough_routes", Holds::List, "pass-through paths allowed"),
    field("denied_passthrough_routes", Holds::Texts, "pass-through paths denied"),
    field("disable_global_guardrails", Holds::Flag, "skip global guardrails"),
    field("secret_manager_settings", Holds::Object, "where keys of this team are kept"),
    field("model_rpm_limit", Holds::Object, "model → requests per minute"),
    field("model_tpm_limit", Holds::Object, "model → tokens per minute"),
    field("rpm_limit_type", Holds::Text, "guaranteed_throughput or best_effort_throughput"),
    field("tpm_limit_type", Holds::Text, "the same for tokens"),
    field("mcp_rpm_limit", Holds::Object, "MCP server → requests per minute"),
    field("default_estimated_output_tokens", Holds::Int, "output expected of a request"),
    field("default_estimated_output_tokens_per_model", Holds::Object, "the same by model"),
    field("team_member_budget", Holds::Number, "US dollars of each member"),
    field("team_member_budget_duration", Holds::Text, "per so long"),
    field("team_member_rpm_limit", Holds::Int, "requests per minute of each member"),
    field("team_member_tpm_limit", Holds::Int, "tokens per minute of each member"),
    field("team_member_key_duration", Holds::Text, "how long keys of members live"),
    field("allowed_vector_store_indexes", Holds::List, "indexes allowed"),
    field("enforced_batch_output_expires_after", Holds::Object, "of batch output files"),
    field("enforced_file_expires_after", Holds::Object, "of files"),
];

const NEW_ID: &[Field] = &[field("team_id", Holds::Text, "made up when absent")];
const ID: &[Field] = &[required("team_id", Holds::Text, "the team")];
const ASKED_ID: &[Field] = &[required("team_id", Holds::Text, "the team")];

const MEMBER_ADD: &[Field] = &[
    required("team_id", Holds::Text, "the team"),
    field("member", Holds::Any, "{user_id or user_email, role}, or a list of such"),
    field("user_id", Holds::Text, "instead of member: one user"),
    field("user_email", Holds::Text, "instead of member: one user by address"),
    field("role", Holds::Text, "with user_id: admin, user or member"),
    field("max_budget_in_team", Holds::Number, "US dollars of these members"),
    field("budget_duration", Holds::Text, "per so long"),
    field("allowed_models", Holds::Texts, "models of these members"),
];

const MEMBER: &[Field] = &[
    required("team_id", Holds::Text, "the team"),
    field("user_id", Holds::Text, "the member"),
    field("user_email", Holds::Text, "the member by address"),
];

const MEMBER_UPDATE: &[Field] = &[
    field("role", Holds::Text, "admin or user"),
    field("max_budget_in_team", Holds::Number, "US dollars"),
    field("budget_duration", Holds::Text, "per so long"),
    field("tpm_limit", Holds::Int, "tokens per minute"),
    field("rpm_limit", Holds::Int, "requests per minute"),
    field("allowed_models", Holds::Texts, "models"),
    field("temp_budget_increase", Holds::Number, "US dollars more for a time"),
    field("temp_budget_expiry", Holds::Text, "until when"),
];

const MODELS: &[Field] =
    &[required("team_id", Holds::Text, "the team"), required("models", Holds::Texts, "names")];

pub(crate) const ROUTES: &[Route] = &[
    route!("POST", &["/team/new"], Org, &[NEW_ID, TEAM, columns::BUDGET], &[], "Create a team", new),
    route!("POST", &["/team/update"], Key, &[ID, TEAM, columns::BUDGET], &[], "Update a team", update),
    route!(
        "PATCH",
        &["/team/{team_id}"],
        Key,
        &[TEAM, columns::BUDGET],
        &[],
        "Update parts of a team",
        update
    ),
    route!(
        "POST",
        &["/team/member_add", "/team/member/add"],
        Key,
        &[MEMBER_ADD],
        &[],
        "Add members; users that are not known are made",
        member_add
    ),
    route!(
        "POST",
        &["/team/member_delete", "/team/member/delete"],
        Key,
        &[MEMBER],
        &[],
        "Remove a member",
        member_delete
    ),
    route!(
        "POST",
        &["/team/member_update", "/team/member/update"],
        Key,
        &[MEMBER, MEMBER_UPDATE],
        &[],
        "Change role or budget of a member",
        member_update
    ),
    route!(
        "POST",
        &["/team/delete"],
        Org,
        &[&[required("team_ids", Holds::Texts, "the teams")]],
        &[],
        "Delete teams and their keys",
        delete
    ),
    route!("GET", &["/team/info"], Key, &[], ASKED_ID, "Details of a team, its keys and members", info),
    route!(
        "GET",
        &["/team/list"],
        Key,
        &[],
        &[field("user_id", Holds::Text, ""), field("organization_id", Holds::Text, "")],
        "All teams the caller may see",
        list
    ),
    route!("GET", &["/v2/team/list"], Key, &[], LIST, "Teams, page by page", page),
    route!("POST", &["/team/block"], Org, &[ID], &[], "Block a team", block),
    route!("POST", &["/team/unblock"], Org, &[ID], &[], "Unblock a team", unblock),
    route!("POST", &["/team/model/add"], Admin, &[MODELS], &[], "Add models to a team", model_add),
    route!("POST", &["/team/model/delete"], Admin, &[MODELS], &[], "Remove models from a team", model_delete),
    route!(
        "GET",
        &["/team/permissions_list"],
        Key,
        &[],
        ASKED_ID,
        "What plain members may do with keys",
        permissions
    ),
    route!(
        "POST",
        &["/team/permissions_update"],
        Key,
        &[&[
            required("team_id", Holds::Text, "the team"),
            required("team_member_permissions", Holds::Texts, "routes")
        ]],
        &[],
        "Set what plain members may do with keys",
        permissions_update
    ),
];

const LIST: &[Field] = &[
    field("user_id", Holds::Text, "teams of this user"),
    field("organization_id", Holds::Text, ""),
    field("team_id", Holds::Text, ""),
    field("team_alias", Holds::Text, "a part of it"),
    field("search", Holds::Text, "part of alias or id"),
    field("page", Holds::Int, "from 1"),
    field("page_size", Holds::Int, "10 when absent, 100 at most"),
    field("sort_by", Holds::Text, "a column"),
    field("sort_order", Holds::Text, "asc or desc"),
];

/// How a request names a member.
#[derive(Debug, Clone, Deserialize)]
struct Named {
    user_id: Option<String>,
    user_email: Option<String>,
    #[serde(default = "plain")]
    role: String,
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

async fn found(call: &Call, id: &str) -> Result<Team, AdminError> {
    call.admin.row::<Team>(&[id], || format!("Team not found, passed team id: {id}.")).await
}

fn columns_of(call: &Call, metadata: Value) -> Result<Map<String, Value>, AdminError> {
    columns::not_negative(call, &["max_budget", "soft_budget", "team_member_budget"])?;
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, COLUMNS);
    columns::period(call, &mut columns)?;
    let mut metadata = match call.body.get("metadata") {
        Some(Value::Object(given)) => Value::Object(given.clone()),
        _ => metadata,
    };
    columns::take_into(&mut metadata, &call.body, IN_METADATA);
    columns.insert("metadata".to_owned(), metadata);
    for list in ["models", "admins", "members", "policies", "access_group_ids"] {
        if columns.get(list).is_some_and(Value::is_null) {
            columns.insert(list.to_owned(), json!([]));
        }
    }
    Ok(columns)
}

async fn new(call: Call) -> Outcome {
    let now = call.admin.now();
    let id = call.text("team_id").map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    if call.admin.store.get::<Team>(&[&id]).await?.is_some() {
        return Err(AdminError::invalid(
            "team_id",
            format!("Team id = {id} already exists. Please use a different team id."),
        ));
    }
    in_organization(&call).await?;
    let mut team: Team = columns::row(columns_of(&call, json!({}))?)?;
    team.team_id.clone_from(&id);
    team.model_id = aliases(&call).await?;
    if let Some(budget) = member_budget(&call)? {
        call.admin.store.insert(&budget, now).await?;
        team.metadata["team_member_budget_id"] = json!(budget.budget_id);
    }
    team.members_with_roles = json!([]);
    call.admin.store.insert(&team, now).await?;
    let mut members: Vec<Named> = call.form("members_with_roles")?.unwrap_or_default();
    if !call.caller.is_master && !call.caller.user_id().is_empty() {
        let own = call.caller.user_id().to_owned();
        if !members.iter().any(|member| member.user_id.as_deref() == Some(&own)) {
            members.push(Named { user_id: Some(own), user_email: None, role: "admin".to_owned() });
        }
    }
    for member in &members {
        team = add(&call, &team, member, None).await?.0;
    }
    call.admin.changed(Subject::Team, &id);
    call.admin.audit(&call, "created", TABLE, &id, Value::Null, json_of(&team)).await;
    Ok(Answer::json(&found(&call, &id).await?))
}

async fn in_organization(call: &Call) -> Result<(), AdminError> {
    let Some(id) = call.text("organization_id") else {
        if call.caller.is_admin() {
            return Ok(());
        }
        return Err(AdminError::forbidden("Only proxy admins may create teams outside of an organization"));
    };
    if call.admin.store.get::<Organization>(&[id]).await?.is_none() {
        return Err(AdminError::invalid(
            "organization_id",
            format!("Organization not found for organization_id={id}"),
        ));
    }
    let leads = call.admin.leads_organizations(&call.caller).await?;
    if call.caller.is_admin() || leads.iter().any(|one| one == id) {
        return Ok(());
    }
    Err(AdminError::forbidden(format!("Only admins of organization {id} may create teams in it")))
}

/// Stores `model_aliases`, which live in a table of their own.
async fn aliases(call: &Call) -> Result<Option<i64>, AdminError> {
    let Some(aliases) = call.given("model_aliases") else { return Ok(None) };
    // The id has to be ours, as the row is referred to before it could be read back.
    let id = i64::from(uuid::Uuid::new_v4().as_fields().0 >> 1);
    let author = call.changed_by();
    let row = ModelAliases {
        id,
        aliases: aliases.clone(),
        created_by: author.clone(),
        updated_by: author,
        ..ModelAliases::default()
    };
    call.admin.store.insert(&row, call.admin.now()).await?;
    Ok(Some(id))
}

/// The budget that members share the form of, if the body has one.
fn member_budget(call: &Call) -> Result<Option<Budget>, AdminError> {
    let given = |name: &str| call.given(name).cloned();
    let fields = [
        ("max_budget", given("team_member_budget")),
        ("budget_duration", given("team_member_budget_duration")),
        ("rpm_limit", given("team_member_rpm_limit")),
        ("tpm_limit", given("team_member_tpm_limit")),
    ];
    if fields.iter().all(|(_, value)| value.is_none()) {
        return Ok(None);
    }
    let columns = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    made_budget(call, columns).map(Some)
}

fn made_budget(call: &Call, mut columns: Map<String, Value>) -> Result<Budget, AdminError> {
    if let Some(Value::String(duration)) = columns.get("budget_duration") {
        let ends = call.admin.period_end("budget_duration", duration)?;
        columns.insert("budget_reset_at".to_owned(), json!(ends));
    }
    let mut budget: Budget = columns::row(columns)?;
    budget.budget_id = uuid::Uuid::new_v4().to_string();
    budget.created_by = call.changed_by();
    budget.updated_by = call.changed_by();
    Ok(budget)
}

async fn update(call: Call) -> Outcome {
    let id =
        call.path.get("team_id").map(String::as_str).or_else(|| call.text("team_id")).unwrap_or_default();
    let team = found(&call, id).await?;
    call.admin.may_change_team(&call.caller, &team).await?;
    let mut columns = columns_of(&call, team.metadata.clone())?;
    if let Some(aliases) = aliases(&call).await? {
        columns.insert("model_id".to_owned(), json!(aliases));
    }
    if let Some(budget) = member_budget(&call)? {
        call.admin.store.insert(&budget, call.admin.now()).await?;
        columns["metadata"]["team_member_budget_id"] = json!(budget.budget_id);
    }
    let now = call.admin.now();
    let row = call.admin.store.update::<Team>(&[&team.team_id], &columns::patch(columns), now).await?;
    call.admin.changed(Subject::Team, &team.team_id);
    call.admin.audit(&call, "updated", TABLE, &team.team_id, json_of(&team), json_of(&row)).await;
    Ok(Answer::json(&json!({ "team_id": team.team_id, "data": row })))
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

async fn add(
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

async fn member_add(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    call.admin.may_change_team(&call.caller, &team).await?;
    let members = members_of(&call)?;
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
    answer["updated_users"] = json_of(&users);
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

async fn member_delete(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    call.admin.may_change_team(&call.caller, &team).await?;
    let member = member_named(&call, &team).await?;
    let row = call.admin.store.remove_team_member(&team.team_id, &member.user_id, call.admin.now()).await?;
    call.admin.changed(Subject::Team, &team.team_id);
    call.admin.audit(&call, "updated", TABLE, &team.team_id, json_of(&team), json_of(&row)).await;
    Ok(Answer::json(&row))
}

async fn member_update(call: Call) -> Outcome {
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

async fn delete(call: Call) -> Outcome {
    let ids = call.texts("team_ids");
    let mut teams = Vec::new();
    for id in &ids {
        let team = found(&call, id).await?;
        call.admin.may_change_team(&call.caller, &team).await?;
        teams.push(team);
    }
    for team in &teams {
        let keys = call.admin.store.delete_team(&team.team_id, &deleter(&call), call.admin.now()).await?;
        for key in keys.unwrap_or_default() {
            call.admin.changed(Subject::Key, &key);
        }
        call.admin.changed(Subject::Team, &team.team_id);
        call.admin.audit(&call, "deleted", TABLE, &team.team_id, json_of(team), Value::Null).await;
    }
    Ok(Answer::json(&json!({ "deleted_teams": ids })))
}

async fn keys_of(call: &Call, team: &str) -> Result<Vec<VirtualKey>, AdminError> {
    let query = ListQuery::new().filter(Filter::Is("team_id", json!(team))).uncounted();
    Ok(call.admin.store.list::<VirtualKey>(&query).await?.rows)
}

async fn memberships_of(call: &Call, team: &str) -> Result<Vec<Value>, AdminError> {
    let query = ListQuery::new().filter(Filter::Is("team_id", json!(team))).uncounted();
    let mut rows = Vec::new();
    for membership in call.admin.store.list::<TeamMembership>(&query).await?.rows {
        let budget = match &membership.budget_id {
            Some(id) => call.admin.store.get::<Budget>(&[id]).await?,
            None => None,
        };
        let mut row = json_of(&membership);
        row["litellm_budget_table"] = json!(budget);
        rows.push(row);
    }
    Ok(rows)
}

async fn info(call: Call) -> Outcome {
    let team = found(&call, call.asked("team_id").unwrap_or_default()).await?;
    call.admin.may_see_team(&call.caller, &team).await?;
    Ok(Answer::json(&json!({
        "team_id": team.team_id,
        "team_info": team,
        "keys": keys_of(&call, &team.team_id).await?,
        "team_memberships": memberships_of(&call, &team.team_id).await?,
    })))
}

/// The teams a caller may see, or those of a user that they may ask about.
async fn scope(call: &Call, mut query: ListQuery) -> Result<ListQuery, AdminError> {
    let asked = call.asked("user_id");
    if let Some(organization) = call.asked("organization_id") {
        query = query.filter(Filter::Is("organization_id", json!(organization)));
    }
    if call.caller.sees_all() && asked.is_none() {
        return Ok(query);
    }
    let own = call.caller.user_id();
    let user = asked.unwrap_or(own);
    if user != own && !call.caller.sees_all() {
        return Err(AdminError::forbidden("You may list your own teams only"));
    }
    let mut ids = match call.admin.store.get::<User>(&[user]).await? {
        Some(user) => user.teams,
        None => Vec::new(),
    };
    ids.extend(call.caller.team_id().filter(|_| asked.is_none()).map(str::to_owned));
    let mut any = vec![Filter::In("team_id", ids.iter().map(|id| json!(id)).collect())];
    let organizations = call.admin.leads_organizations(&call.caller).await?;
    if !organizations.is_empty() && asked.is_none() {
        any.push(Filter::In("organization_id", organizations.iter().map(|id| json!(id)).collect()));
    }
    Ok(query.filter(Filter::Any(any)))
}

async fn list(call: Call) -> Outcome {
    let query = scope(&call, ListQuery::new().uncounted()).await?;
    let mut teams = Vec::new();
    for team in call.admin.store.list::<Team>(&query).await?.rows {
        let mut row = json_of(&team);
        row["keys"] = json_of(&keys_of(&call, &team.team_id).await?);
        row["team_memberships"] = json!(memberships_of(&call, &team.team_id).await?);
        teams.push(row);
    }
    Ok(Answer::json(&teams))
}

async fn page(call: Call) -> Outcome {
    let (number, size) = call.page("page_size", 10, 100);
    let mut query = scope(&call, ListQuery::new().page(number, size)).await?;
    if let Some(id) = call.asked("team_id") {
        query = query.filter(Filter::Is("team_id", json!(id)));
    }
    if let Some(alias) = call.asked("team_alias") {
        query = query.filter(Filter::Contains("team_alias", alias.to_owned()));
    }
    if let Some(text) = call.asked("search") {
        query = query.filter(Filter::Any(vec![
            Filter::Contains("team_alias", text.to_owned()),
            Filter::Is("team_id", json!(text)),
        ]));
    }
    let order = if call.asked("sort_order") == Some("desc") { Order::Down } else { Order::Up };
    if let Some(column) = call.asked("sort_by") {
        query = query.sort(column, order);
    }
    let found = call.admin.store.list::<Team>(&query).await?;
    let mut teams = Vec::new();
    for team in &found.rows {
        let keys = ListQuery::new().filter(Filter::Is("team_id", json!(team.team_id))).page(1, 1);
        let mut row = json_of(team);
        row["members_count"] = json!(team.members().len());
        row["keys_count"] = json!(call.admin.store.list::<VirtualKey>(&keys).await?.total);
        teams.push(row);
    }
    Ok(Answer::json(&json!({
        "teams": teams,
        "total": found.total,
        "page": number,
        "page_size": size,
        "total_pages": found.total.div_ceil(size),
    })))
}

async fn block(call: Call) -> Outcome {
    set(&call, Patch::new().set("blocked", true)).await
}

async fn unblock(call: Call) -> Outcome {
    set(&call, Patch::new().set("blocked", false)).await
}

async fn set(call: &Call, patch: Patch) -> Outcome {
    let team = found(call, call.text("team_id").unwrap_or_default()).await?;
    call.admin.may_change_team(&call.caller, &team).await?;
    let row = call.admin.store.update::<Team>(&[&team.team_id], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::Team, &team.team_id);
    call.admin.audit(call, "updated", TABLE, &team.team_id, json_of(&team), json_of(&row)).await;
    Ok(Answer::json(&row))
}

async fn model_add(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    let mut models = team.models.clone();
    models.extend(call.texts("models").into_iter().filter(|model| !team.models.contains(model)));
    set(&call, Patch::new().set("models", models)).await
}

async fn model_delete(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    let gone = call.texts("models");
    let models: Vec<&String> = team.models.iter().filter(|model| !gone.contains(model)).collect();
    set(&call, Patch::new().set("models", models)).await
}

async fn permissions(call: Call) -> Outcome {
    let team = found(&call, call.asked("team_id").unwrap_or_default()).await?;
    call.admin.may_see_team(&call.caller, &team).await?;
    Ok(Answer::json(&json!({
        "team_id": team.team_id,
        "team_member_permissions": team.team_member_permissions,
        "all_available_permissions": [
            "/key/info", "/key/generate", "/key/service-account/generate", "/key/update", "/key/delete",
            "/key/regenerate", "/key/list", "/key/block", "/key/unblock",
        ],
    })))
}

async fn permissions_update(call: Call) -> Outcome {
    set(&call, Patch::new().set("team_member_permissions", call.texts("team_member_permissions"))).await
}
