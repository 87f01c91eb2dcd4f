//! Spend per day, broken down, from the daily tables. Source: compat, endpoints §3.8.

use faregate_store::ledger::SubjectKind;
use faregate_store::report::ActivityQuery;

use crate::Outcome;
use crate::columns::hash_of;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::routes::{Answer, Call, Route, route};

const ASKED: &[Field] = &[
    field("start_date", Holds::Text, "2026-01-31"),
    field("end_date", Holds::Text, "2026-01-31"),
    field("model", Holds::Text, ""),
    field("api_key", Holds::Text, "key or hash"),
    field("user_id", Holds::Text, ""),
    field("team_ids", Holds::Text, "comma list"),
    field("tags", Holds::Text, "comma list"),
    field("organization_ids", Holds::Text, "comma list"),
    field("end_user_ids", Holds::Text, "comma list"),
    field("exclude_team_ids", Holds::Text, "comma list"),
    field("exclude_organization_ids", Holds::Text, "comma list"),
    field("exclude_end_user_ids", Holds::Text, "comma list"),
    field("page", Holds::Int, "from 1"),
    field("page_size", Holds::Int, "50 when absent, 1000 at most"),
];

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
];

fn listed(call: &Call, name: &str) -> Option<Vec<String>> {
    Some(call.asked(name)?.split(',').map(|part| part.trim().to_owned()).collect())
}

async fn days(
    call: Call,
    kind: SubjectKind,
    ids: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
) -> Outcome {
    for name in ["start_date", "end_date"] {
        let day = call
            .asked(name)
            .ok_or_else(|| AdminError::invalid(name, "Please provide start_date and end_date"))?;
        faregate_terms::UtcMillis::parse(day)
            .map_err(|error| AdminError::invalid(name, format!("{name}: {error}")))?;
    }
    let query = ActivityQuery {
        start_date: call.asked("start_date").map(str::to_owned),
        end_date: call.asked("end_date").map(str::to_owned),
        ids,
        exclude: exclude.unwrap_or_default(),
        model: call.asked("model").map(str::to_owned),
        api_keys: call.asked("api_key").map(|key| vec![hash_of(key)]),
        page: Some(call.page("page_size", 50, 1000)),
    };
    Ok(Answer::json(&call.admin.store.daily_activity(kind, &query).await?))
}

async fn users(call: Call) -> Outcome {
    let asked = call.asked("user_id").map(|id| vec![id.to_owned()]);
    let own = call.caller.user_id().to_owned();
    let ids = if call.caller.sees_all() {
        asked
    } else if asked.as_ref().is_some_and(|ids| ids.iter().any(|id| *id != own)) {
        return Err(AdminError::forbidden("You may see your own spend only"));
    } else {
        Some(vec![own])
    };
    days(call, SubjectKind::DailyUser, ids, None).await
}

async fn teams(call: Call) -> Outcome {
    let mut ids = listed(&call, "team_ids");
    if !call.caller.sees_all() {
        let user = call.admin.person(Some(call.caller.user_id()), None).await?;
        let own = user.map(|user| user.teams).unwrap_or_default();
        ids = Some(match ids {
            Some(asked) => asked.into_iter().filter(|id| own.contains(id)).collect(),
            None => own,
        });
    }
    let exclude = listed(&call, "exclude_team_ids");
    days(call, SubjectKind::DailyTeam, ids, exclude).await
}

async fn tags(call: Call) -> Outcome {
    if !call.caller.sees_all() {
        return Err(AdminError::forbidden("Only proxy admins see the spend of tags"));
    }
    let ids = listed(&call, "tags");
    days(call, SubjectKind::DailyTag, ids, None).await
}

async fn organizations(call: Call) -> Outcome {
    let mut ids = listed(&call, "organization_ids");
    if !call.caller.sees_all() {
        let own = call.admin.leads_organizations(&call.caller).await?;
        ids = Some(match ids {
            Some(asked) => asked.into_iter().filter(|id| own.contains(id)).collect(),
            None => own,
        });
    }
    let exclude = listed(&call, "exclude_organization_ids");
    days(call, SubjectKind::DailyOrganization, ids, exclude).await
}

async fn customers(call: Call) -> Outcome {
    let (ids, exclude) = (listed(&call, "end_user_ids"), listed(&call, "exclude_end_user_ids"));
    days(call, SubjectKind::DailyEndUser, ids, exclude).await
}
