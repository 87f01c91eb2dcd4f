//! Budgets that all who use a model access group share. Source: compat, endpoints §2.9; words and form are LiteLLM's
//! (`AccessGroupBudgetResponse`).

use faregate_state::invalidate::Subject;
use faregate_store::{AccessGroupBudget, Budget};
use serde_json::{Value, json};

use crate::Outcome;
use crate::access_groups::named;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_ModelAccessGroupBudgetTable";

const BUDGET: &[Field] = &[
    field("max_budget", Holds::Number, "US dollars per budget period"),
    field("soft_budget", Holds::Number, "US dollars at which an alert goes out"),
    field("budget_duration", Holds::Text, "length of a budget period: 30d, 1mo, ..."),
    field("budget_id", Holds::Text, "a budget that there is, in place of one of its own"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "GET",
        &["/access_group/{access_group}/budget"],
        Admin,
        &[],
        &[],
        "Budget and spend of a model access group",
        get
    ),
    route!(
        "PUT",
        &["/access_group/{access_group}/budget"],
        Admin,
        &[BUDGET],
        &[],
        "Set the budget of a model access group",
        set
    ),
    route!(
        "DELETE",
        &["/access_group/{access_group}/budget"],
        Admin,
        &[],
        &[],
        "Take the budget of a model access group away",
        remove
    ),
];

/// Spend and budget of a group, as answers show them.
pub(crate) async fn of_group(call: &Call, group: &str) -> Result<(Value, Value), AdminError> {
    let store = &call.admin.store;
    let Some(row) = store.get::<AccessGroupBudget>(&[group]).await? else {
        return Ok((json!(0.0), Value::Null));
    };
    let budget = match &row.budget_id {
        Some(id) => store.get::<Budget>(&[id]).await?,
        None => None,
    };
    let shown = budget.map(|budget| {
        json!({
            "budget_id": budget.budget_id, "max_budget": budget.max_budget, "soft_budget": budget.soft_budget,
            "budget_duration": budget.budget_duration, "budget_reset_at": budget.budget_reset_at,
        })
    });
    Ok((json!(row.spend), json!(shown)))
}

async fn get(call: Call) -> Outcome {
    let (name, ..) = named(&call)?;
    let (spend, budget) = of_group(&call, &name).await?;
    Ok(Answer::json(&json!({ "access_group": name, "spend": spend, "budget": budget })))
}

async fn set(call: Call) -> Outcome {
    let (name, ..) = named(&call)?;
    let (store, now) = (&call.admin.store, call.admin.now());
    let id = match (call.text("budget_id"), columns::budget(&call)?) {
        (Some(_), Some(_)) => {
            return Err(AdminError::invalid("budget_id", "budget_id goes with no other field of a budget"));
        }
        (Some(id), None) => {
            call.admin.row::<Budget>(&[id], || format!("Budget {id} not found")).await?;
            id.to_owned()
        }
        (None, Some(budget)) => {
            store.insert(&budget, now).await?;
            budget.budget_id
        }
        (None, None) => {
            return Err(AdminError::invalid(
                "max_budget",
                "One of max_budget, soft_budget, budget_duration or budget_id is required",
            ));
        }
    };
    let before = store.get::<AccessGroupBudget>(&[&name]).await?;
    let row = AccessGroupBudget {
        access_group_name: name.clone(),
        budget_id: Some(id),
        ..before.clone().unwrap_or_default()
    };
    store.put(&row, now).await?;
    call.admin.changed(Subject::Budget, &name);
    let before = before.map(|row| json_of(&row)).unwrap_or_default();
    let action = if before.is_null() { "created" } else { "updated" };
    call.admin.audit(&call, action, TABLE, &name, before, json_of(&row)).await;
    get(call).await
}

async fn remove(call: Call) -> Outcome {
    let (name, ..) = named(&call)?;
    let row = call.admin.store.get::<AccessGroupBudget>(&[&name]).await?;
    let had = row.is_some();
    if let Some(row) = row {
        call.admin.store.delete::<AccessGroupBudget>(&[&name]).await?;
        call.admin.changed(Subject::Budget, &name);
        call.admin.audit(&call, "deleted", TABLE, &name, json_of(&row), Value::Null).await;
    }
    let message = if had {
        format!("Budget for access group '{name}' deleted successfully")
    } else {
        format!("Access group '{name}' has no budget to delete")
    };
    Ok(Answer::json(&json!({ "access_group": name, "budget_deleted": had, "message": message })))
}
