//! Spend per day, broken down, from the daily tables. Source: compat, endpoints §3.8.

use faregate_store::ledger::SubjectKind;
use faregate_store::report::ActivityQuery;
use faregate_store::{Filter, ListQuery, Team, VirtualKey};
use serde_json::json;

use crate::Outcome;
use crate::access::Standing;
use crate::activity_lines::{self, Form};
use crate::columns::hash_of;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::keys::rules::members_may;
use crate::routes::{Answer, Call, Route, route};

/// What every call may ask, and more.
macro_rules! asked {
    ($($more:expr),* $(,)?) => {
        &[
            field("start_date", Holds::Text, "2026-01-31"),
            field("end_date", Holds::Text, "2026-01-31"),
            field("model", Holds::Text, ""),
            field("api_key", Holds::Text, "key or hash"),
            field("user_id", Holds::Text, ""),
            field("team_ids", Holds::Text, "comma list"),
            field("tags", Holds::Text, "comma list"),
            field("organization_ids", Holds::Text, "comma list"),
            field("end_user_ids", Holds::Text, "comma list"),
            field("agent_ids", Holds::Text, "comma list"),
            field("exclude_team_ids", Holds::Text, "comma list"),
            field("exclude_organization_ids", Holds::Text, "comma list"),
            field("exclude_end_user_ids", Holds::Text, "comma list"),
            field("exclude_agent_ids", Holds::Text, "comma list"),
            $($more,)*
        ]
    };
}
pub(crate) use asked;

const ASKED: &[Field] = asked![
    field("page", Holds::Int, "from 1"),
    field("page_size", Holds::Int, "50 when absent, 1000 at most"),
];

/// The same without pages.
const ALL: &[Field] = asked![];

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/user/daily/activity"], Key, &[], ASKED, "Spend per day and user", users),
    route!("GET", &["/team/daily/activity"], User, &[], ASKED, "Spend per day and team", teams),
    route!("GET", &["/tag/daily/activity"], User, &[], ASKED, "Spend per day and tag", tags),
    route!(
        "GET",
        &["/organization/daily/activity"],
        Key,
        &[],
        ASKED,
        "Spend per day and organization",
        organizations
    ),
    route!(
        "GET",
        &["/customer/daily/activity", "/end_user/daily/activity"],
        Admin,
        &[],
        ASKED,
        "Spend per day and end user",
        customers
    ),
    route!(
        "GET",
        &["/user/daily/activity/aggregated"],
        Key,
        &[],
        ALL,
        "Spend per day and user, all days at once",
        users
    ),
    route!(
        "GET",
        &["/team/daily/activity/aggregated"],
        User,
        &[],
        ALL,
        "Spend per day and team, all days at once",
        teams
    ),
    route!(
        "GET",
        &["/tag/daily/activity/aggregated"],
        User,
        &[],
        ALL,
        "Spend per day and tag, all days at once",
        tags
    ),
    route!(
        "GET",
        &["/organization/daily/activity/aggregated"],
        Key,
        &[],
        ALL,
        "Spend per day and organization, all days at once",
        organizations
    ),
    route!(
        "GET",
        &["/customer/daily/activity/aggregated", "/end_user/daily/activity/aggregated"],
        Admin,
        &[],
        ALL,
        "Spend per day and end user, all days at once",
        customers
    ),
    route!("GET", &["/agent/daily/activity"], Admin, &[], ASKED, "Spend per day and agent", agents),
    route!(
        "GET",
        &["/agent/daily/activity/aggregated"],
        Admin,
        &[],
        ALL,
        "Spend per day and agent, all days at once",
        agents
    ),
];

/// Days that are summed at once at most. Source: LiteLLM, `_MAX_AGGREGATED_RANGE_DAYS`.
const MOST_DAYS: i64 = 400;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The page asked for; none where all days come at once, which are not too many then.
fn page(call: &Call) -> Result<Option<(u64, u64)>, AdminError> {
    if call.route.ends_with("/activity") {
        return Ok(Some(call.page("page_size", 50, 1000)));
    }
    let day = |name: &str| call.asked(name).and_then(|text| faregate_terms::UtcMillis::parse(text).ok());
    if let (Some(start), Some(end)) = (day("start_date"), day("end_date"))
        && end.millis() - start.millis() > MOST_DAYS * DAY_MS
    {
        let message = format!("end_date: Date range must be at most {MOST_DAYS} days");
        return Err(AdminError::invalid("end_date", message));
    }
    Ok(None)
}

fn listed(call: &Call, name: &str) -> Option<Vec<String>> {
    Some(call.asked(name)?.split(',').map(|part| part.trim().to_owned()).collect())
}

async fn days(
    call: Call,
    kind: SubjectKind,
    ids: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    keys: Option<Vec<String>>,
) -> Outcome {
    for name in ["start_date", "end_date"] {
        let day = call
            .asked(name)
            .ok_or_else(|| AdminError::invalid(name, "Please provide start_date and end_date"))?;
        faregate_terms::UtcMillis::parse(day)
            .map_err(|error| AdminError::invalid(name, format!("{name}: {error}")))?;
    }
    let asked = call.asked("api_key").map(|key| vec![hash_of(key)]);
    let keys = match (asked, keys) {
        (Some(asked), Some(own)) => Some(asked.into_iter().filter(|key| own.contains(key)).collect()),
        (asked, own) => own.or(asked),
    };
    let query = ActivityQuery {
        start_date: call.asked("start_date").map(str::to_owned),
        end_date: call.asked("end_date").map(str::to_owned),
        ids,
        exclude: exclude.unwrap_or_default(),
        model: call.asked("model").map(str::to_owned),
        api_keys: keys,
        page: page(&call)?,
    };
    if let Some(form) = Form::of(call.route) {
        return activity_lines::answer(&call, form, kind, &query).await;
    }
    Ok(Answer::json(&call.admin.store.daily_activity(kind, &query).await?))
}

pub(crate) async fn users(call: Call) -> Outcome {
    let asked = call.asked("user_id").map(|id| vec![id.to_owned()]);
    let own = call.caller.user_id().to_owned();
    let ids = if call.caller.sees_all() {
        asked
    } else if asked.as_ref().is_some_and(|ids| ids.iter().any(|id| *id != own)) {
        return Err(AdminError::forbidden("You may see your own spend only"));
    } else {
        Some(vec![own])
    };
    days(call, SubjectKind::DailyUser, ids, None, None).await
}

pub(crate) async fn teams(call: Call) -> Outcome {
    let mut ids = listed(&call, "team_ids");
    let mut keys = None;
    if !call.caller.sees_all() {
        let own = own_teams(&call).await?;
        let asked: Vec<Team> = match &ids {
            Some(asked) => own.into_iter().filter(|team| asked.contains(&team.team_id)).collect(),
            None => own,
        };
        if !sees_whole(&call, &asked).await? {
            // Of a team in which others are not theirs to see, members see what they spent themselves.
            let query = ListQuery::new().filter(Filter::Is("user_id", json!(call.caller.user_id())));
            let rows = call.admin.store.list::<VirtualKey>(&query.uncounted()).await?.rows;
            keys = Some(rows.into_iter().map(|key| key.token).collect());
        }
        ids = Some(asked.into_iter().map(|team| team.team_id).collect());
    }
    let exclude = listed(&call, "exclude_team_ids");
    days(call, SubjectKind::DailyTeam, ids, exclude, keys).await
}

/// The teams the caller is in, and those of organizations they administer.
pub(crate) async fn own_teams(call: &Call) -> Result<Vec<Team>, AdminError> {
    let user = call.admin.person(Some(call.caller.user_id()), None).await?;
    let ids = user.map(|user| user.teams).unwrap_or_default();
    let led = call.admin.leads_organizations(&call.caller).await?;
    let any_of = |column, ids: Vec<String>| Filter::In(column, ids.iter().map(|id| json!(id)).collect());
    let query =
        ListQuery::new().filter(Filter::Any(vec![any_of("team_id", ids), any_of("organization_id", led)]));
    Ok(call.admin.store.list::<Team>(&query.uncounted()).await?.rows)
}

/// True if the caller may see what everybody in all these teams spends: their admins, and members of teams
/// that let them. Source: LiteLLM, `resolve_team_daily_activity_scope`.
pub(crate) async fn sees_whole(call: &Call, teams: &[Team]) -> Result<bool, AdminError> {
    for team in teams {
        let standing = call.admin.standing(&call.caller, team).await?;
        if standing < Standing::TeamAdmin && !members_may(team, "/team/daily/activity") {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) async fn tags(call: Call) -> Outcome {
    if !call.caller.sees_all() {
        return Err(AdminError::forbidden("Only proxy admins see the spend of tags"));
    }
    let ids = listed(&call, "tags");
    days(call, SubjectKind::DailyTag, ids, None, None).await
}

pub(crate) async fn organizations(call: Call) -> Outcome {
    let mut ids = listed(&call, "organization_ids");
    if !call.caller.sees_all() {
        let own = call.admin.leads_organizations(&call.caller).await?;
        ids = Some(match ids {
            Some(asked) => asked.into_iter().filter(|id| own.contains(id)).collect(),
            None => own,
        });
    }
    let exclude = listed(&call, "exclude_organization_ids");
    days(call, SubjectKind::DailyOrganization, ids, exclude, None).await
}

pub(crate) async fn customers(call: Call) -> Outcome {
    let (ids, exclude) = (listed(&call, "end_user_ids"), listed(&call, "exclude_end_user_ids"));
    days(call, SubjectKind::DailyEndUser, ids, exclude, None).await
}

pub(crate) async fn agents(call: Call) -> Outcome {
    let (ids, exclude) = (listed(&call, "agent_ids"), listed(&call, "exclude_agent_ids"));
    days(call, SubjectKind::DailyAgent, ids, exclude, None).await
}
