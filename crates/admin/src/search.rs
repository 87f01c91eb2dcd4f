//! What the console offers while somebody types: users and teams by a part of their name. Source: compat, endpoints
//! §2.2 and §2.3, and LiteLLM, `ui_view_users`.

use std::collections::BTreeSet;

use faregate_store::{Filter, ListQuery, OrganizationMembership, Team, User};
use serde_json::{Value, json};

use crate::Outcome;
use crate::access::Standing;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::routes::{Answer, Call, Route, route};

const USERS: &[Field] = &[
    field("user_id", Holds::Text, "a part of it"),
    field("user_email", Holds::Text, "a part of it"),
    field("search", Holds::Text, "a part of id or address"),
    field("team_id", Holds::Text, "the team somebody is sought for"),
    field("page", Holds::Int, "from 1"),
    field("page_size", Holds::Int, "50 when absent, 100 at most"),
];
const TEAMS: &[Field] = &[
    field("team_id", Holds::Text, "a part of it"),
    field("team_alias", Holds::Text, "a part of it"),
    field("page", Holds::Int, "from 1"),
    field("page_size", Holds::Int, "50 when absent, 100 at most"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/user/filter/ui"], User, &[], USERS, "Users by a part of their name", users),
    route!("GET", &["/team/filter/ui"], Admin, &[], TEAMS, "Teams by a part of their name", teams),
    route!("GET", &["/team/available"], Key, &[], &[], "Teams that the caller may join", available),
];

/// Members of organizations that the caller may look for people in; `None` is everybody.
async fn within(call: &Call) -> Result<Option<BTreeSet<String>>, AdminError> {
    if call.caller.sees_all() || !call.admin.snapshot.load().general.people.search_within_organizations {
        return Ok(None);
    }
    let mut organizations = call.admin.leads_organizations(&call.caller).await?;
    if let Some(id) = call.asked("team_id")
        && let Some(team) = call.admin.store.get::<Team>(&[id]).await?
        && call.admin.standing(&call.caller, &team).await? >= Standing::TeamAdmin
    {
        organizations.extend(team.organization_id);
    }
    if organizations.is_empty() {
        return Err(AdminError::forbidden(
            "Only admins of an organization, or of a team in one, may search for users here \
             (scope_user_search_to_org)",
        ));
    }
    let ids = organizations.iter().map(|id| json!(id)).collect();
    let query = ListQuery::new().filter(Filter::In("organization_id", ids)).uncounted();
    let rows = call.admin.store.list::<OrganizationMembership>(&query).await?.rows;
    Ok(Some(rows.into_iter().map(|row| row.user_id).collect()))
}

async fn users(call: Call) -> Outcome {
    let (page, size) = call.page("page_size", 50, 100);
    let mut query = ListQuery::new().page(page, size).uncounted();
    for name in ["user_id", "user_email"] {
        if let Some(part) = call.asked(name) {
            query = query.filter(Filter::Contains(name, part.to_owned()));
        }
    }
    if let Some(part) = call.asked("search") {
        let part = || part.to_owned();
        query = query.filter(Filter::Any(vec![
            Filter::Contains("user_id", part()),
            Filter::Contains("user_email", part()),
        ]));
    }
    if let Some(people) = within(&call).await? {
        query = query.filter(Filter::In("user_id", people.iter().map(|id| json!(id)).collect()));
    }
    let rows = call.admin.store.list::<User>(&query).await?.rows;
    let shown = |user: &User| json!({ "user_id": user.user_id, "user_email": user.user_email });
    Ok(Answer::json(&rows.iter().map(shown).collect::<Vec<Value>>()))
}

async fn teams(call: Call) -> Outcome {
    let (page, size) = call.page("page_size", 50, 100);
    let mut query = ListQuery::new().page(page, size).uncounted();
    for name in ["team_id", "team_alias"] {
        if let Some(part) = call.asked(name) {
            query = query.filter(Filter::Contains(name, part.to_owned()));
        }
    }
    Ok(Answer::json(&call.admin.store.list::<Team>(&query).await?.rows))
}

/// `default_internal_user_params.available_teams` that the caller is not in yet.
async fn available(call: Call) -> Outcome {
    let user = call.admin.person(Some(call.caller.user_id()), None).await?;
    let own = user.map(|user| user.teams).unwrap_or_default();
    let snapshot = call.admin.snapshot.load_full();
    let named = snapshot.litellm.people.user.get("available_teams").and_then(Value::as_array);
    let ids: Vec<Value> = named
        .into_iter()
        .flatten()
        .filter(|id| id.as_str().is_some_and(|id| !own.iter().any(|team| team == id)))
        .cloned()
        .collect();
    if ids.is_empty() {
        return Ok(Answer::json(&json!([])));
    }
    let query = ListQuery::new().filter(Filter::In("team_id", ids)).uncounted();
    Ok(Answer::json(&call.admin.store.list::<Team>(&query).await?.rows))
}
