//! Budgets as objects of their own. Source: compat, endpoints §2.7 and §3.6.

use faregate_state::invalidate::Subject;
use faregate_store::{Budget, ListQuery};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_BudgetTable";

const ID: &[Field] = &[
    field("budget_id", Holds::Text, "made up when absent"),
    field("budget_reset_at", Holds::Text, "end of the running period"),
    field("allowed_models", Holds::Texts, "models"),
];
const KNOWN_ID: &[Field] = &[
    required("budget_id", Holds::Text, "the budget"),
    field("budget_reset_at", Holds::Text, "end of the running period"),
    field("allowed_models", Holds::Texts, "models"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("POST", &["/budget/new"], Admin, &[ID, columns::BUDGET], &[], "Create a budget", new),
    route!("POST", &["/budget/update"], Admin, &[KNOWN_ID, columns::BUDGET], &[], "Update a budget", update),
    route!(
        "POST",
        &["/budget/info"],
        Admin,
        &[&[required("budgets", Holds::Texts, "ids")]],
        &[],
        "Budgets by id",
        info
    ),
    route!(
        "GET",
        &["/budget/settings"],
        Viewer,
        &[],
        &[required("budget_id", Holds::Text, "the budget")],
        "The fields of a budget and their values",
        settings
    ),
    route!("GET", &["/budget/list"], Viewer, &[], &[], "All budgets", list),
    route!(
        "POST",
        &["/budget/delete"],
        Admin,
        &[&[required("id", Holds::Text, "the budget")]],
        &[],
        "Delete a budget",
        delete
    ),
];

fn columns_of(call: &Call) -> Result<Map<String, Value>, AdminError> {
    columns::not_negative(call, &["max_budget", "soft_budget"])?;
    let mut columns = Map::new();
    let names: Vec<&str> = columns::BUDGET.iter().map(|field| field.name).collect();
    columns::take(&mut columns, &call.body, &names);
    columns::period(call, &mut columns)?;
    columns::take(&mut columns, &call.body, &["budget_reset_at", "allowed_models"]);
    columns.insert("updated_by".to_owned(), json!(call.changed_by()));
    Ok(columns)
}

async fn new(call: Call) -> Outcome {
    let mut budget: Budget = columns::row(columns_of(&call)?)?;
    budget.budget_id = call.text("budget_id").map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    budget.created_by = call.changed_by();
    if call.admin.store.get::<Budget>(&[&budget.budget_id]).await?.is_some() {
        return Err(AdminError::invalid("budget_id", format!("Budget {} exists already", budget.budget_id)));
    }
    let budget = call.admin.store.add(&budget, call.admin.now()).await?;
    call.admin.audit(&call, "created", TABLE, &budget.budget_id, Value::Null, json_of(&budget)).await;
    Ok(Answer::json(&budget))
}

async fn found(call: &Call, id: &str) -> Result<Budget, AdminError> {
    call.admin.row::<Budget>(&[id], || format!("Budget {id} not found")).await
}

async fn update(call: Call) -> Outcome {
    let budget = found(&call, call.text("budget_id").unwrap_or_default()).await?;
    let patch = columns::patch(columns_of(&call)?);
    let row = call.admin.store.update::<Budget>(&[&budget.budget_id], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::Budget, &budget.budget_id);
    call.admin.audit(&call, "updated", TABLE, &budget.budget_id, json_of(&budget), json_of(&row)).await;
    Ok(Answer::json(&row))
}

async fn info(call: Call) -> Outcome {
    let mut budgets = Vec::new();
    for id in call.texts("budgets") {
        budgets.extend(call.admin.store.get::<Budget>(&[&id]).await?);
    }
    Ok(Answer::json(&budgets))
}

async fn settings(call: Call) -> Outcome {
    let budget = json_of(&found(&call, call.asked("budget_id").unwrap_or_default()).await?);
    let fields: Vec<Value> = columns::BUDGET
        .iter()
        .map(|field| {
            json!({
                "field_name": field.name,
                "field_type": field.holds.schema()["type"][0],
                "field_description": field.doc,
                "field_value": budget[field.name],
                "stored_in_db": !budget[field.name].is_null(),
                "field_default_value": null,
            })
        })
        .collect();
    Ok(Answer::json(&fields))
}

async fn list(call: Call) -> Outcome {
    Ok(Answer::json(&call.admin.store.list::<Budget>(&ListQuery::new().uncounted()).await?.rows))
}

async fn delete(call: Call) -> Outcome {
    let budget = found(&call, call.text("id").unwrap_or_default()).await?;
    call.admin.store.delete::<Budget>(&[&budget.budget_id]).await?;
    call.admin.changed(Subject::Budget, &budget.budget_id);
    call.admin.audit(&call, "deleted", TABLE, &budget.budget_id, json_of(&budget), Value::Null).await;
    Ok(Answer::json(&budget))
}
