//! What is known of teams, one by one and page by page.

use faregate_store::{Budget, Filter, ListQuery, Order, Team, TeamMembership, User, VirtualKey};
use serde_json::{Value, json};

use super::found;
use crate::Outcome;
use crate::columns::json_of;
use crate::error::AdminError;
use crate::routes::{Answer, Call};

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

pub(super) async fn info(call: Call) -> Outcome {
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

pub(super) async fn list(call: Call) -> Outcome {
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

pub(super) async fn page(call: Call) -> Outcome {
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
