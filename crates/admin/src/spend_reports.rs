//! Reports over the request log, for bills: whose spend, by day, key and model. Source: compat, endpoints §2.10 and
//! §3.8, and LiteLLM, `spend_management_endpoints.py`.

use std::collections::BTreeMap;

use faregate_store::report::{Dimension, LogQuery, SpendRow};
use faregate_store::{Team, Usd, User};
use faregate_terms::PicoUsd;
use serde_json::{Value, json};

use crate::Outcome;
use crate::activity::{own_teams, sees_whole};
use crate::columns::hash_of;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};
use crate::spend::{MOST, name, period};

const REPORT: &[Field] = &[
    required("start_date", Holds::Text, "2026-01-31"),
    required("end_date", Holds::Text, "2026-01-31"),
    field("group_by", Holds::Text, "team, customer or api_key"),
    field("api_key", Holds::Text, "key or hash"),
    field("internal_user_id", Holds::Text, ""),
    field("team_id", Holds::Text, ""),
    field("customer_id", Holds::Text, ""),
];

const DATES: [Field; 2] =
    [required("start_date", Holds::Text, "2026-01-31"), required("end_date", Holds::Text, "2026-01-31")];
const OF_KEY: &[Field] =
    &[DATES[0], DATES[1], field("api_key", Holds::Text, "its hash; the caller's own when absent")];
const OF_USER: &[Field] = &[DATES[0], DATES[1], field("user_id", Holds::Text, "the caller when absent")];
const OF_TEAM: &[Field] =
    &[DATES[0], DATES[1], field("team_id", Holds::Text, "the key's own team when absent")];
const OF_ORGANIZATION: &[Field] = &[DATES[0], DATES[1], required("organization_id", Holds::Text, "")];
const BY_USER: &[Field] = &[DATES[0], DATES[1], required("team_ids", Holds::Text, "comma list")];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "GET",
        &["/global/spend/report"],
        Admin,
        &[],
        REPORT,
        "Spend per day by team, customer or key",
        report
    ),
    route!("GET", &["/key/spend/report"], Key, &[], OF_KEY, "Spend of a key by model", of_key),
    route!("GET", &["/user/spend/report"], Key, &[], OF_USER, "Spend of a user by key and model", of_user),
    route!("GET", &["/team/spend/report"], Key, &[], OF_TEAM, "Spend of a team by key and model", of_team),
    route!(
        "GET",
        &["/organization/spend/report"],
        Key,
        &[],
        OF_ORGANIZATION,
        "Spend of an organization by key and model",
        of_organization
    ),
    route!("GET", &["/team/spend/by_user"], Key, &[], BY_USER, "Spend of teams by member", by_user),
];

async fn report(call: Call) -> Outcome {
    let (dimension, list, label) = match call.asked("group_by").unwrap_or("team") {
        "team" => (Dimension::Team, "teams", "team_name"),
        "customer" => (Dimension::EndUser, "customers", "customer"),
        "api_key" => (Dimension::Key, "api_keys", "api_key"),
        other => {
            return Err(AdminError::invalid(
                "group_by",
                format!("group_by: `{other}` is none of team, customer, api_key"),
            ));
        }
    };
    let query = LogQuery {
        api_key: call.asked("api_key").map(hash_of),
        user: call.asked("internal_user_id").map(str::to_owned),
        team: call.asked("team_id").map(str::to_owned),
        end_user: call.asked("customer_id").map(str::to_owned),
        ..period(&call)?
    };
    let dimensions = [Dimension::Day, dimension, Dimension::Model, Dimension::Key];
    let rows = call.admin.store.spend_by(&dimensions, &query, MOST).await?;
    let mut days: BTreeMap<&str, BTreeMap<&str, Vec<&SpendRow>>> = BTreeMap::new();
    for row in &rows {
        days.entry(name(row, 0)).or_default().entry(name(row, 1)).or_default().push(row);
    }
    let lines: Vec<Value> = days
        .iter()
        .map(|(day, groups)| {
            let groups: Vec<Value> = groups
                .iter()
                .map(|(group, rows)| {
                    let parts: Vec<Value> = rows
                        .iter()
                        .map(|row| {
                            json!({
                                "model": name(row, 2), "spend": Usd(row.spend),
                                "total_tokens": row.tokens, "api_key": name(row, 3),
                            })
                        })
                        .collect();
                    let total: PicoUsd = rows.iter().map(|row| row.spend).sum();
                    json!({ label: group, "total_spend": Usd(total), "metadata": parts })
                })
                .collect();
            json!({ "group_by_day": day, list: groups })
        })
        .collect();
    Ok(Answer::json(&lines))
}

/// Lines by key, most spend first, each with its models.
async fn by_key(call: &Call, query: LogQuery) -> Outcome {
    let rows = call.admin.store.spend_by(&[Dimension::Key, Dimension::Model], &query, MOST).await?;
    let mut keys: BTreeMap<&str, Vec<&SpendRow>> = BTreeMap::new();
    for row in &rows {
        keys.entry(name(row, 0)).or_default().push(row);
    }
    let mut lines: Vec<(PicoUsd, Value)> = keys
        .into_iter()
        .map(|(key, rows)| {
            let total: PicoUsd = rows.iter().map(|row| row.spend).sum();
            let sum = |of: fn(&SpendRow) -> u64| rows.iter().map(|row| of(row)).sum::<u64>();
            let models: Vec<Value> = rows
                .iter()
                .map(|row| {
                    json!({
                        "model": name(row, 1), "total_cost": Usd(row.spend),
                        "total_input_tokens": input(row), "total_output_tokens": row.output_tokens,
                    })
                })
                .collect();
            let line = json!({
                "api_key": key, "total_cost": Usd(total), "total_input_tokens": sum(input),
                "total_output_tokens": sum(|row| row.output_tokens), "model_details": models,
            });
            (total, line)
        })
        .collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.0));
    Ok(Answer::json(&lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>()))
}

fn input(row: &SpendRow) -> u64 {
    row.tokens.saturating_sub(row.output_tokens)
}

async fn of_key(call: Call) -> Outcome {
    let own = call.caller.key_hash().to_owned();
    let asked = call.asked("api_key").map(hash_of).unwrap_or_else(|| own.clone());
    if asked != own && !call.caller.sees_all() {
        return Err(AdminError::forbidden("You may see the spend of your own key only").about("api_key"));
    }
    let query = LogQuery { api_key: Some(asked), ..period(&call)? };
    by_key(&call, query).await
}

async fn of_user(call: Call) -> Outcome {
    let asked = call.asked("user_id").unwrap_or(call.caller.user_id()).to_owned();
    if asked.is_empty() {
        return Err(AdminError::invalid("user_id", "user_id: this key belongs to nobody; name a user"));
    }
    if asked != call.caller.user_id() && !call.caller.sees_all() {
        return Err(AdminError::forbidden("You may see your own spend only").about("user_id"));
    }
    let query = LogQuery { user: Some(asked), ..period(&call)? };
    by_key(&call, query).await
}

async fn of_team(call: Call) -> Outcome {
    let asked = call.asked("team_id").or(call.caller.team_id()).unwrap_or_default().to_owned();
    let team: Team =
        call.admin.row(&[&asked], || format!("Team not found, passed team id: {asked}.")).await?;
    if !call.caller.sees_all() && !sees_whole(&call, std::slice::from_ref(&team)).await? {
        return Err(AdminError::forbidden(format!(
            "Only admins of team_id={asked}, and members it lets, see what all of it spends"
        ))
        .about("team_id"));
    }
    let query = LogQuery { team: Some(asked), ..period(&call)? };
    by_key(&call, query).await
}

async fn of_organization(call: Call) -> Outcome {
    let asked = call.asked("organization_id").unwrap_or_default().to_owned();
    if !call.caller.sees_all() {
        call.admin.must_lead(&call.caller, &asked).await?;
    }
    let query = LogQuery { organization: Some(asked), ..period(&call)? };
    by_key(&call, query).await
}

/// Members of teams, most spend first; who may not see all of a team sees their own line.
async fn by_user(call: Call) -> Outcome {
    let asked: Vec<&str> = call.asked("team_ids").unwrap_or_default().split(',').map(str::trim).collect();
    let mut query = period(&call)?;
    let teams: Vec<Team> = if call.caller.sees_all() {
        let mut teams = Vec::new();
        for id in &asked {
            teams.extend(call.admin.store.get::<Team>(&[id]).await?);
        }
        teams
    } else {
        own_teams(&call).await?.into_iter().filter(|team| asked.contains(&team.team_id.as_str())).collect()
    };
    if !call.caller.sees_all() && !sees_whole(&call, &teams).await? {
        query.user = Some(call.caller.user_id().to_owned());
    }
    query.teams = Some(teams.iter().map(|team| team.team_id.clone()).collect());
    let dimensions = [Dimension::Team, Dimension::User, Dimension::Status];
    let rows = call.admin.store.spend_by(&dimensions, &query, MOST).await?;
    let mut people: BTreeMap<(&str, &str), Vec<&SpendRow>> = BTreeMap::new();
    for row in &rows {
        people.entry((name(row, 0), name(row, 1))).or_default().push(row);
    }
    let mut lines: Vec<(PicoUsd, Value)> = Vec::with_capacity(people.len());
    for ((team, user), rows) in people {
        let account = call.admin.store.get::<User>(&[user]).await?.unwrap_or_default();
        let alias = teams.iter().find(|one| one.team_id == team).and_then(|team| team.team_alias.clone());
        let spend: PicoUsd = rows.iter().map(|row| row.spend).sum();
        let sum = |of: fn(&SpendRow) -> u64| rows.iter().map(|row| of(row)).sum::<u64>();
        let failed = |row: &SpendRow| if name(row, 2) == "failure" { row.requests } else { 0 };
        let (requests, failed) = (sum(|row| row.requests), sum(failed));
        let line = json!({
            "team_id": team, "team_alias": alias, "user_id": user, "user_email": account.user_email,
            "user_alias": account.user_alias, "spend": Usd(spend), "prompt_tokens": sum(input),
            "completion_tokens": sum(|row| row.output_tokens), "total_tokens": sum(|row| row.tokens),
            "api_requests": requests, "successful_requests": requests - failed, "failed_requests": failed,
        });
        lines.push((spend, line));
    }
    lines.sort_by_key(|line| std::cmp::Reverse(line.0));
    Ok(Answer::json(&json!({
        "start_date": call.asked("start_date"), "end_date": call.asked("end_date"),
        "results": lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>(),
    })))
}
