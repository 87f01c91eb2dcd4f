//! What was spent: the request log and its sums. Source: compat, endpoints §2.10 and §3.8.

use std::collections::BTreeMap;

use faregate_state::invalidate::Subject;
use faregate_store::ledger::EVERYBODY;
use faregate_store::report::{Dimension, LogQuery, SpendRow};
use faregate_store::{Filter, ListQuery, Order, SpendLog, Usd, User, VirtualKey};
use faregate_terms::{PicoUsd, Usage, UtcMillis};
use serde_json::{Value, json};

use crate::Outcome;
use crate::columns::{hash_of, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::routes::{Answer, Call, Route, route};

const LOGS: &[Field] = &[
    field("api_key", Holds::Text, "key or hash"),
    field("user_id", Holds::Text, ""),
    field("request_id", Holds::Text, ""),
    field("start_date", Holds::Text, "2026-01-31, with a time if wanted"),
    field("end_date", Holds::Text, ""),
    field("summarize", Holds::Flag, "with both dates: sums per day; true when absent"),
];

const PAGE: &[Field] = &[
    field("api_key", Holds::Text, "key or hash"),
    field("user_id", Holds::Text, ""),
    field("request_id", Holds::Text, ""),
    field("session_id", Holds::Text, ""),
    field("team_id", Holds::Text, ""),
    field("min_spend", Holds::Number, ""),
    field("max_spend", Holds::Number, ""),
    field("start_date", Holds::Text, "2026-01-31 00:00:00, UTC"),
    field("end_date", Holds::Text, ""),
    field("page", Holds::Int, "from 1"),
    field("page_size", Holds::Int, "50 when absent, 100 at most"),
    field("status_filter", Holds::Text, "success or failure"),
    field("cache_hit_filter", Holds::Text, "True or False"),
    field("model", Holds::Text, ""),
    field("model_id", Holds::Text, ""),
    field("model_group", Holds::Text, ""),
    field("key_alias", Holds::Text, ""),
    field("end_user", Holds::Text, ""),
    field("error_code", Holds::Text, ""),
    field("sort_by", Holds::Text, "a column; startTime when absent"),
    field("sort_order", Holds::Text, "asc or desc"),
    field("search", Holds::Text, "part of an id or model"),
    field("exclude_internal_health_checks", Holds::Flag, "leave out health checks of the gateway's own"),
];

/// What health checks are booked on, in place of a key; LiteLLM's name.
const HEALTH_CHECKS: &str = "litellm-internal-health-check";

const DATES: &[Field] = &[
    field("start_date", Holds::Text, "2026-01-31"),
    field("end_date", Holds::Text, "2026-01-31"),
    field("limit", Holds::Int, ""),
];

const CALCULATE: &[Field] = &[
    field("model", Holds::Text, "the model; with messages"),
    field("messages", Holds::List, "a prompt to price"),
    field("completion_response", Holds::Object, "an answer with usage to price"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/spend/logs"], User, &[], LOGS, "Rows of the request log, or sums per day", logs),
    route!(
        "GET",
        &["/spend/logs/v2", "/spend/logs/ui"],
        User,
        &[],
        PAGE,
        "The request log, page by page",
        page
    ),
    route!(
        "GET",
        &["/spend/logs/ui/{request_id}"],
        User,
        &[],
        &[field("start_date", Holds::Text, "")],
        "What was said in one request",
        said
    ),
    route!("GET", &["/spend/logs/session/ui"], User, &[], PAGE, "The requests of one conversation", page),
    route!("GET", &["/spend/keys"], User, &[], DATES, "Keys, most spend first", keys),
    route!(
        "GET",
        &["/spend/users"],
        User,
        &[],
        &[field("user_id", Holds::Text, "")],
        "Users, most spend first",
        users
    ),
    route!("GET", &["/spend/tags"], User, &[], DATES, "Spend per tag", tags),
    route!("POST", &["/spend/calculate"], User, &[CALCULATE], &[], "Price a prompt or an answer", calculate),
    route!("GET", &["/global/spend"], Admin, &[], &[], "Spend and budget of everything", global),
    route!("GET", &["/global/spend/logs"], Admin, &[], LOGS, "Spend per day", per_day),
    route!("GET", &["/global/spend/keys"], Admin, &[], DATES, "Keys with most spend", global_keys),
    route!("GET", &["/global/spend/models"], Admin, &[], DATES, "Models with most spend", global_models),
    route!("GET", &["/global/spend/teams"], Admin, &[], DATES, "Spend per team and day", global_teams),
    route!("GET", &["/global/spend/provider"], Admin, &[], DATES, "Spend per provider", global_providers),
    route!("GET", &["/global/spend/tags"], Admin, &[], DATES, "Spend per tag", tags),
    route!(
        "GET",
        &["/global/spend/all_tag_names"],
        Admin,
        &[],
        &[],
        "All tags that were spent on",
        tag_names
    ),
    route!(
        "POST",
        &["/global/spend/end_users"],
        Admin,
        &[&[
            field("api_key", Holds::Text, "key or hash"),
            field("startTime", Holds::Text, ""),
            field("endTime", Holds::Text, "")
        ]],
        &[],
        "End users with most spend",
        global_end_users
    ),
    route!("GET", &["/global/all_end_users"], Admin, &[], &[], "All end users that were spent on", end_users),
    route!("POST", &["/global/spend/reset"], Master, &[], &[], "Set the spend of everybody to zero", reset),
    route!("GET", &["/global/activity"], User, &[], DATES, "Requests and tokens per day", activity),
    route!(
        "GET",
        &["/global/activity/model"],
        User,
        &[],
        DATES,
        "Requests and tokens per day and model",
        activity_by_model
    ),
];

/// A moment of the query; a date alone means its first moment, or its last where a period ends.
fn moment(call: &Call, name: &str, ends: bool) -> Result<Option<UtcMillis>, AdminError> {
    let Some(text) = call.asked(name).or_else(|| call.text(name)) else { return Ok(None) };
    let parsed =
        UtcMillis::parse(text).map_err(|error| AdminError::invalid(name, format!("{name}: {error}")))?;
    let is_day = text.trim().len() == 10;
    Ok(Some(if ends && is_day { parsed.plus_millis(DAY_MS - 1) } else { parsed }))
}

const DAY_MS: i64 = 24 * 3600 * 1000;

/// What of the request log a caller may see: everything, or what they or the teams they lead spent.
pub(crate) fn narrowed(call: &Call, mut query: LogQuery) -> Result<LogQuery, AdminError> {
    if call.caller.sees_all() {
        return Ok(query);
    }
    let own = call.caller.user_id();
    if query.user.as_deref().is_some_and(|user| user != own) {
        return Err(AdminError::forbidden("You may see your own spend only"));
    }
    if own.is_empty() {
        query.api_key = Some(call.caller.key_hash().to_owned());
    } else {
        query.user = Some(own.to_owned());
    }
    Ok(query)
}

pub(crate) fn period(call: &Call) -> Result<LogQuery, AdminError> {
    Ok(LogQuery {
        from: moment(call, "start_date", false)?,
        to: moment(call, "end_date", true)?,
        ..LogQuery::default()
    })
}

async fn logs(call: Call) -> Outcome {
    let query = narrowed(
        &call,
        LogQuery {
            api_key: call.asked("api_key").map(hash_of),
            user: call.asked("user_id").map(str::to_owned),
            request_id: call.asked("request_id").map(str::to_owned),
            ..period(&call)?
        },
    )?;
    let summarize = call.query.get("summarize").and_then(Value::as_bool).unwrap_or(true);
    match (query.from, query.to) {
        (Some(from), Some(to)) if summarize => days(&call, &query, from, to).await,
        _ => {
            let rows = call.admin.store.request_logs(&query, "startTime", Order::Down, 1, 1000).await?;
            Ok(Answer::json(&rows.rows))
        }
    }
}

/// Lines of a report at most.
pub(crate) const MOST: u32 = 10_000;

/// One day's sums.
#[derive(Default)]
struct Day {
    spend: PicoUsd,
    users: BTreeMap<String, PicoUsd>,
    models: BTreeMap<String, PicoUsd>,
}

async fn days(call: &Call, query: &LogQuery, from: UtcMillis, to: UtcMillis) -> Outcome {
    if to.millis() - from.millis() > 3660 * DAY_MS {
        return Err(AdminError::invalid("end_date", "Ask for ten years at most"));
    }
    let dimensions = [Dimension::Day, Dimension::User, Dimension::Model];
    let rows = call.admin.store.spend_by(&dimensions, query, MOST).await?;
    let mut days: BTreeMap<String, Day> = BTreeMap::new();
    let mut day = from;
    while day <= to {
        days.entry(day.day()).or_default();
        day = day.plus_millis(DAY_MS);
    }
    for row in &rows {
        let [date, user, model] = row.of.as_slice() else { continue };
        let day = days.entry(date.clone()).or_default();
        day.spend += row.spend;
        *day.users.entry(user.clone()).or_default() += row.spend;
        *day.models.entry(model.clone()).or_default() += row.spend;
    }
    let usd = |sums: BTreeMap<String, PicoUsd>| -> BTreeMap<String, Usd> {
        sums.into_iter().map(|(name, sum)| (name, Usd(sum))).collect()
    };
    let lines: Vec<Value> = days
        .into_iter()
        .map(|(date, Day { spend, users, models })| {
            json!({ "startTime": date, "spend": Usd(spend), "users": usd(users), "models": usd(models) })
        })
        .collect();
    Ok(Answer::json(&lines))
}

async fn page(call: Call) -> Outcome {
    let (page, size) = call.page("page_size", 50, 100);
    let text = |name: &str| call.asked(name).map(str::to_owned);
    let amount = |name: &str| call.query.get(name).and_then(Value::as_f64).and_then(Usd::from_f64);
    let query = LogQuery {
        api_key: call.asked("api_key").map(hash_of),
        user: text("user_id"),
        request_id: text("request_id"),
        session_id: text("session_id"),
        team: text("team_id"),
        min_spend: amount("min_spend"),
        max_spend: amount("max_spend"),
        status: text("status_filter"),
        cache_hit: text("cache_hit_filter"),
        model: text("model"),
        model_id: text("model_id"),
        model_group: text("model_group"),
        key_alias: text("key_alias"),
        end_user: text("end_user"),
        error_code: text("error_code"),
        search: text("search"),
        not_keys: if call.flag("exclude_internal_health_checks") { vec![HEALTH_CHECKS] } else { Vec::new() },
        ..period(&call)?
    };
    let query = narrowed(&call, query)?;
    let order = if call.asked("sort_order") == Some("asc") { Order::Up } else { Order::Down };
    let sort = call.asked("sort_by").unwrap_or("startTime");
    let found = call.admin.store.request_logs(&query, sort, order, page, size).await?;
    Ok(Answer::json(&json!({
        "data": found.rows,
        "total": found.total,
        "page": page,
        "page_size": size,
        "total_pages": found.total.div_ceil(size),
    })))
}

async fn said(call: Call) -> Outcome {
    let id = call.path.get("request_id").map(String::as_str).unwrap_or_default();
    let Some(row) = call.admin.store.get::<SpendLog>(&[id]).await? else {
        return Ok(Answer::json(&Value::Null));
    };
    let own = row.user.as_deref() == Some(call.caller.user_id()) || row.api_key == call.caller.key_hash();
    if !call.caller.sees_all() && !own {
        return Err(AdminError::forbidden("You may see your own requests only"));
    }
    Ok(Answer::json(&json!({
        "messages": row.messages, "response": row.response, "proxy_server_request": row.proxy_server_request,
    })))
}

async fn keys(call: Call) -> Outcome {
    let mut query = ListQuery::new().sort("spend", Order::Down).uncounted();
    if !call.caller.sees_all() {
        query = query.filter(Filter::Is("user_id", json!(call.caller.user_id())));
    }
    Ok(Answer::json(&call.admin.store.list::<VirtualKey>(&query).await?.rows))
}

async fn users(call: Call) -> Outcome {
    let mut query = ListQuery::new().sort("spend", Order::Down).uncounted();
    let asked = call.asked("user_id").map(str::to_owned);
    let only = if call.caller.sees_all() { asked } else { Some(call.caller.user_id().to_owned()) };
    query = match only {
        Some(user) => query.filter(Filter::Is("user_id", json!(user))),
        None => query.filter(Filter::Not("user_id", json!(EVERYBODY))),
    };
    let mut rows: Vec<Value> =
        call.admin.store.list::<User>(&query).await?.rows.iter().map(json_of).collect();
    for row in &mut rows {
        row["password"] = Value::Null;
    }
    Ok(Answer::json(&rows))
}

async fn sums(call: &Call, dimensions: &[Dimension]) -> Result<Vec<SpendRow>, AdminError> {
    let query = narrowed(call, period(call)?)?;
    let limit = call.query.get("limit").and_then(Value::as_u64).and_then(|limit| u32::try_from(limit).ok());
    Ok(call.admin.store.spend_by(dimensions, &query, limit.unwrap_or(MOST)).await?)
}

pub(crate) fn name(row: &SpendRow, at: usize) -> &str {
    row.of.get(at).map_or("", String::as_str)
}

async fn tags(call: Call) -> Outcome {
    let rows = sums(&call, &[Dimension::Tag]).await?;
    let lines: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "individual_request_tag": name(row, 0), "name": name(row, 0), "log_count": row.requests,
                "total_spend": Usd(row.spend), "spend": Usd(row.spend),
            })
        })
        .collect();
    Ok(Answer::json(&lines))
}

async fn calculate(call: Call) -> Outcome {
    let response = call.given("completion_response");
    let model = call.text("model").or_else(|| response?.get("model")?.as_str());
    let Some(model) = model else {
        return Err(AdminError::invalid(
            "model",
            "Give model and messages, or a completion_response with model and usage",
        ));
    };
    let usage = match response {
        Some(response) => {
            let number = |name: &str| response["usage"][name].as_u64().unwrap_or_default();
            let cached = response["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
            Usage {
                input: number("prompt_tokens"),
                output: number("completion_tokens"),
                cache_read: cached.unwrap_or_default(),
                ..Usage::default()
            }
        }
        None => {
            let text = call.given("messages").map(Value::to_string).unwrap_or_default();
            Usage { input: (text.len() as u64).div_ceil(4), estimated: true, ..Usage::default() }
        }
    };
    let Some((cost, _)) = call.admin.priced(model, &usage) else {
        return Err(AdminError::invalid("model", format!("No price is known for model={model}")));
    };
    Ok(Answer::json(&json!({ "cost": Usd(cost.total) })))
}

async fn global(call: Call) -> Outcome {
    let everybody = call.admin.store.get::<User>(&[EVERYBODY]).await?;
    let total = call.admin.store.spend_by(&[], &LogQuery::default(), 1).await?;
    let spent = total.first().map_or(PicoUsd::ZERO, |row| row.spend);
    let spend = everybody.as_ref().map_or(Usd(spent), |row| row.spend);
    let snapshot = call.admin.snapshot.load();
    let max = snapshot.global_budget().max_budget.map_or(json!(0.0), |max| json!(Usd(max)));
    Ok(Answer::json(&json!({ "spend": spend, "max_budget": max })))
}

async fn per_day(call: Call) -> Outcome {
    let mut rows = sums(&call, &[Dimension::Day]).await?;
    rows.sort_by(|a, b| a.of.cmp(&b.of));
    let lines: Vec<Value> =
        rows.iter().map(|row| json!({ "date": name(row, 0), "spend": Usd(row.spend) })).collect();
    Ok(Answer::json(&lines))
}

async fn global_keys(call: Call) -> Outcome {
    let mut lines = Vec::new();
    for row in sums(&call, &[Dimension::Key]).await? {
        let key = call.admin.store.get::<VirtualKey>(&[name(&row, 0)]).await?;
        lines.push(json!({
            "api_key": name(&row, 0),
            "key_alias": key.as_ref().and_then(|key| key.key_alias.clone()),
            "key_name": key.as_ref().and_then(|key| key.key_name.clone()),
            "total_spend": Usd(row.spend),
        }));
    }
    Ok(Answer::json(&lines))
}

async fn by(call: Call, dimension: Dimension, label: &str) -> Outcome {
    let rows = sums(&call, &[dimension]).await?;
    let lines: Vec<Value> = rows
        .iter()
        .map(|row| json!({ label: name(row, 0), "total_spend": Usd(row.spend), "spend": Usd(row.spend) }))
        .collect();
    Ok(Answer::json(&lines))
}

async fn global_models(call: Call) -> Outcome {
    by(call, Dimension::Model, "model").await
}

async fn global_providers(call: Call) -> Outcome {
    by(call, Dimension::Provider, "provider").await
}

async fn global_teams(call: Call) -> Outcome {
    let rows = sums(&call, &[Dimension::Day, Dimension::Team]).await?;
    let (mut days, mut totals) =
        (BTreeMap::<String, BTreeMap<String, Usd>>::new(), BTreeMap::<String, PicoUsd>::new());
    for row in &rows {
        days.entry(name(row, 0).to_owned()).or_default().insert(name(row, 1).to_owned(), Usd(row.spend));
        *totals.entry(name(row, 1).to_owned()).or_default() += row.spend;
    }
    let daily: Vec<Value> = days
        .into_iter()
        .map(|(date, teams)| {
            let mut line = json_of(&teams);
            line["date"] = json!(date);
            line
        })
        .collect();
    let total: Vec<Value> =
        totals.iter().map(|(team, spend)| json!({ "team_id": team, "total_spend": Usd(*spend) })).collect();
    Ok(Answer::json(&json!({
        "daily_spend": daily, "teams": totals.keys().collect::<Vec<_>>(), "total_spend_per_team": total,
    })))
}

async fn tag_names(call: Call) -> Outcome {
    Ok(Answer::json(&json!({ "tag_names": call.admin.store.tag_names().await? })))
}

async fn global_end_users(call: Call) -> Outcome {
    let query = LogQuery {
        from: moment(&call, "startTime", false)?,
        to: moment(&call, "endTime", true)?,
        api_key: call.text("api_key").map(hash_of),
        ..LogQuery::default()
    };
    let rows = call.admin.store.spend_by(&[Dimension::EndUser], &query, 100).await?;
    let lines: Vec<Value> = rows
        .iter()
        .filter(|row| !name(row, 0).is_empty())
        .map(|row| {
            json!({ "end_user": name(row, 0), "total_count": row.requests, "total_spend": Usd(row.spend) })
        })
        .collect();
    Ok(Answer::json(&lines))
}

async fn end_users(call: Call) -> Outcome {
    let rows = call.admin.store.spend_by(&[Dimension::EndUser], &LogQuery::default(), MOST).await?;
    let names: Vec<Value> = rows
        .iter()
        .filter(|row| !name(row, 0).is_empty())
        .map(|row| json!({ "end_user": name(row, 0) }))
        .collect();
    Ok(Answer::json(&names))
}

async fn reset(call: Call) -> Outcome {
    if !call.caller.is_master {
        return Err(AdminError::unauthorized("auth_error", "Only the master key may call this route"));
    }
    call.admin.store.reset_all_spend(call.admin.now()).await?;
    for subject in [Subject::Team, Subject::User, Subject::Budget] {
        call.admin.changed(subject, "");
    }
    call.admin
        .audit(&call, "updated", "LiteLLM_VerificationToken", "", Value::Null, json!({ "spend": 0 }))
        .await;
    Ok(Answer::json(&json!({
        "message": "Spend for all API Keys and Teams reset successfully", "status": "success",
    })))
}

async fn activity(call: Call) -> Outcome {
    let mut rows = sums(&call, &[Dimension::Day]).await?;
    rows.sort_by(|a, b| a.of.cmp(&b.of));
    Ok(Answer::json(&daily(&rows.iter().collect::<Vec<_>>())))
}

fn daily(rows: &[&SpendRow]) -> Value {
    let days: Vec<Value> = rows
        .iter()
        .map(|row| json!({ "date": name(row, 0), "api_requests": row.requests, "total_tokens": row.tokens }))
        .collect();
    json!({
        "daily_data": days,
        "sum_api_requests": rows.iter().map(|row| row.requests).sum::<u64>(),
        "sum_total_tokens": rows.iter().map(|row| row.tokens).sum::<u64>(),
    })
}

async fn activity_by_model(call: Call) -> Outcome {
    let mut rows = sums(&call, &[Dimension::Day, Dimension::ModelGroup]).await?;
    rows.sort_by(|a, b| a.of.cmp(&b.of));
    let mut models: BTreeMap<&str, Vec<&SpendRow>> = BTreeMap::new();
    for row in &rows {
        models.entry(name(row, 1)).or_default().push(row);
    }
    let lines: Vec<Value> = models
        .into_iter()
        .map(|(model, rows)| {
            let mut line = daily(&rows);
            line["model"] = json!(model);
            line
        })
        .collect();
    Ok(Answer::json(&lines))
}
