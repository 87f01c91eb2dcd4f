//! End users: the customers of a caller. Source: compat, endpoints §2.6 and §3.5.

use faregate_state::invalidate::Subject;
use faregate_store::{Budget, EndUser, ListQuery, Patch};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_EndUserTable";
const COLUMNS: &[&str] =
    &["alias", "blocked", "spend", "allowed_model_region", "default_model", "models", "budget_id"];

const CUSTOMER: &[Field] = &[
    required("user_id", Holds::Text, "the `user` of requests"),
    field("alias", Holds::Text, "display name"),
    field("blocked", Holds::Flag, "refuse every request"),
    field("spend", Holds::Number, "US dollars spent already"),
    field("allowed_model_region", Holds::Text, "eu or us"),
    field("default_model", Holds::Text, "model of requests that name none"),
    field("models", Holds::Texts, "names that may be used; empty allows all"),
    field("budget_id", Holds::Text, "budget object; not together with fields of a budget"),
    field("budget_reset_at", Holds::Text, "end of the running period"),
    field("object_permission", Holds::Object, "MCP servers, vector stores and agents that may be used"),
];
const MANY: &[Field] = &[required("user_ids", Holds::Texts, "the customers")];
const ASKED: &[Field] = &[required("end_user_id", Holds::Text, "the customer")];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "POST",
        &["/customer/new", "/end_user/new"],
        Admin,
        &[CUSTOMER, columns::BUDGET],
        &[],
        "Create an end user",
        new
    ),
    route!(
        "POST",
        &["/customer/update", "/end_user/update"],
        Admin,
        &[CUSTOMER, columns::BUDGET],
        &[],
        "Update an end user",
        update
    ),
    route!("GET", &["/customer/info", "/end_user/info"], Admin, &[], ASKED, "Details of an end user", info),
    route!("GET", &["/customer/list", "/end_user/list"], Admin, &[], &[], "All end users", list),
    route!(
        "POST",
        &["/customer/delete", "/end_user/delete"],
        Admin,
        &[MANY],
        &[],
        "Delete end users",
        delete
    ),
    route!("POST", &["/customer/block", "/end_user/block"], Admin, &[MANY], &[], "Block end users", block),
    route!(
        "POST",
        &["/customer/unblock", "/end_user/unblock"],
        Admin,
        &[MANY],
        &[],
        "Unblock end users",
        unblock
    ),
];

async fn columns_of(call: &Call) -> Result<Map<String, Value>, AdminError> {
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, COLUMNS);
    if columns.get("models").is_some_and(Value::is_null) {
        columns.insert("models".to_owned(), json!([]));
    }
    if let Some(budget) = columns::budget(call)? {
        if call.given("budget_id").is_some() {
            return Err(AdminError::invalid(
                "budget_id",
                "Give budget_id or the fields of a budget, not both",
            ));
        }
        call.admin.store.insert(&budget, call.admin.now()).await?;
        columns.insert("budget_id".to_owned(), json!(budget.budget_id));
    } else if let Some(id) = call.text("budget_id")
        && call.admin.store.get::<Budget>(&[id]).await?.is_none()
    {
        return Err(AdminError::invalid("budget_id", format!("Budget {id} does not exist")));
    }
    Ok(columns)
}

async fn details(call: &Call, id: &str) -> Result<Value, AdminError> {
    let row: EndUser = call.admin.row(&[id], || format!("End User Id={id} does not exist in db")).await?;
    let budget = match &row.budget_id {
        Some(id) => call.admin.store.get::<Budget>(&[id]).await?,
        None => None,
    };
    let mut answer = json_of(&row);
    answer["litellm_budget_table"] = json!(budget);
    answer["object_permission"] = Value::Null;
    Ok(answer)
}

async fn new(call: Call) -> Outcome {
    let id = call.text("user_id").unwrap_or_default().to_owned();
    if call.admin.store.get::<EndUser>(&[&id]).await?.is_some() {
        return Err(AdminError::invalid(
            "user_id",
            format!("Customer already exists, passed user_id={id}. Please pass a new user_id."),
        ));
    }
    let mut row: EndUser = columns::row(columns_of(&call).await?)?;
    row.user_id.clone_from(&id);
    call.admin.store.insert(&row, call.admin.now()).await?;
    call.admin.changed(Subject::EndUser, &id);
    call.admin.audit(&call, "created", TABLE, &id, Value::Null, json_of(&row)).await;
    Ok(Answer::json(&details(&call, &id).await?))
}

async fn update(call: Call) -> Outcome {
    let id = call.text("user_id").unwrap_or_default().to_owned();
    let before = details(&call, &id).await?;
    let patch = columns::patch(columns_of(&call).await?);
    call.admin.store.update::<EndUser>(&[&id], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::EndUser, &id);
    let after = details(&call, &id).await?;
    call.admin.audit(&call, "updated", TABLE, &id, before, after.clone()).await;
    Ok(Answer::json(&after))
}

async fn info(call: Call) -> Outcome {
    Ok(Answer::json(&details(&call, call.asked("end_user_id").unwrap_or_default()).await?))
}

async fn list(call: Call) -> Outcome {
    Ok(Answer::json(&call.admin.store.list::<EndUser>(&ListQuery::new().uncounted()).await?.rows))
}

async fn delete(call: Call) -> Outcome {
    let ids = call.texts("user_ids");
    for id in &ids {
        details(&call, id).await?;
    }
    let mut gone = 0;
    for id in &ids {
        gone += i64::from(call.admin.store.delete::<EndUser>(&[id]).await?);
        call.admin.changed(Subject::EndUser, id);
        call.admin.audit(&call, "deleted", TABLE, id, json!({ "user_id": id }), Value::Null).await;
    }
    Ok(Answer::json(&json!({
        "deleted_customers": gone,
        "message": format!("Successfully deleted customers with ids: {}", ids.join(", ")),
    })))
}

async fn set_blocked(call: &Call, blocked: bool) -> Result<Vec<EndUser>, AdminError> {
    let mut rows = Vec::new();
    let now = call.admin.now();
    for id in call.texts("user_ids") {
        let patch = Patch::new().set("blocked", blocked);
        match call.admin.store.update::<EndUser>(&[&id], &patch, now).await? {
            Some(row) => rows.push(row),
            None if blocked => {
                let row = EndUser { user_id: id.clone(), blocked, ..EndUser::default() };
                call.admin.store.insert(&row, now).await?;
                rows.push(row);
            }
            None => {
                return Err(AdminError::invalid(
                    "user_ids",
                    format!("End User Id={id} does not exist in db"),
                ));
            }
        }
        call.admin.changed(Subject::EndUser, &id);
        call.admin.audit(call, "updated", TABLE, &id, Value::Null, json!({ "blocked": blocked })).await;
    }
    Ok(rows)
}

async fn block(call: Call) -> Outcome {
    Ok(Answer::json(&json!({ "blocked_users": set_blocked(&call, true).await? })))
}

async fn unblock(call: Call) -> Outcome {
    set_blocked(&call, false).await?;
    let query = ListQuery::new().filter(faregate_store::Filter::Is("blocked", json!(true))).uncounted();
    let blocked = call.admin.store.list::<EndUser>(&query).await?.rows;
    let ids: Vec<&str> = blocked.iter().map(|row| row.user_id.as_str()).collect();
    Ok(Answer::json(&json!({ "blocked_users": ids })))
}
