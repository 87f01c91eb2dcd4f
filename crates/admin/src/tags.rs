//! Tags with budgets. Source: compat, endpoints §2.9.

use faregate_state::invalidate::Subject;
use faregate_store::{Budget, ListQuery, Tag};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const TAG: &[Field] = &[
    required("name", Holds::Text, "the tag"),
    field("description", Holds::Text, "what it is for"),
    field("models", Holds::Texts, "models it is for"),
    field("budget_id", Holds::Text, "budget object"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("POST", &["/tag/new"], Admin, &[TAG, columns::BUDGET], &[], "Create a tag", new),
    route!("POST", &["/tag/update"], Admin, &[TAG, columns::BUDGET], &[], "Update a tag", update),
    route!(
        "POST",
        &["/tag/info"],
        Admin,
        &[&[required("names", Holds::Texts, "the tags")]],
        &[],
        "Details of tags",
        info
    ),
    route!("GET", &["/tag/list"], User, &[], &[], "All tags", list),
    route!(
        "POST",
        &["/tag/delete"],
        Admin,
        &[&[required("name", Holds::Text, "the tag")]],
        &[],
        "Delete a tag",
        delete
    ),
];

async fn columns_of(call: &Call) -> Result<Map<String, Value>, AdminError> {
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, &["description", "models", "budget_id"]);
    if columns.get("models").is_some_and(Value::is_null) {
        columns.insert("models".to_owned(), json!([]));
    }
    if let Some(budget) = columns::budget(call)? {
        call.admin.store.insert(&budget, call.admin.now()).await?;
        columns.insert("budget_id".to_owned(), json!(budget.budget_id));
    }
    Ok(columns)
}

async fn details(call: &Call, tag: &Tag) -> Result<Value, AdminError> {
    let budget = match &tag.budget_id {
        Some(id) => call.admin.store.get::<Budget>(&[id]).await?,
        None => None,
    };
    let mut row = json_of(tag);
    row["name"] = json!(tag.tag_name);
    row["litellm_budget_table"] = json!(budget);
    Ok(row)
}

async fn new(call: Call) -> Outcome {
    let name = call.text("name").unwrap_or_default().to_owned();
    if call.admin.store.get::<Tag>(&[&name]).await?.is_some() {
        return Err(AdminError::invalid("name", format!("Tag {name} already exists")));
    }
    let mut tag: Tag = columns::row(columns_of(&call).await?)?;
    tag.tag_name.clone_from(&name);
    tag.created_by = Some(call.changed_by());
    let tag = call.admin.store.add(&tag, call.admin.now()).await?;
    call.admin.changed(Subject::Tag, &name);
    call.admin.audit(&call, "created", "LiteLLM_TagTable", &name, Value::Null, json_of(&tag)).await;
    let tag = details(&call, &tag).await?;
    Ok(Answer::json(&json!({ "message": format!("Tag {name} created successfully"), "tag": tag })))
}

async fn update(call: Call) -> Outcome {
    let name = call.text("name").unwrap_or_default().to_owned();
    let before: Tag = call.admin.row(&[&name], || format!("Tag {name} not found")).await?;
    let patch = columns::patch(columns_of(&call).await?);
    let tag =
        call.admin.store.update::<Tag>(&[&name], &patch, call.admin.now()).await?.unwrap_or(before.clone());
    call.admin.changed(Subject::Tag, &name);
    call.admin.audit(&call, "updated", "LiteLLM_TagTable", &name, json_of(&before), json_of(&tag)).await;
    let tag = details(&call, &tag).await?;
    Ok(Answer::json(&json!({ "message": format!("Tag {name} updated successfully"), "tag": tag })))
}

async fn info(call: Call) -> Outcome {
    let mut tags = Map::new();
    for name in call.texts("names") {
        if let Some(tag) = call.admin.store.get::<Tag>(&[&name]).await? {
            tags.insert(name, details(&call, &tag).await?);
        }
    }
    if tags.is_empty() {
        return Err(AdminError::not_found("No tags found"));
    }
    Ok(Answer::json(&tags))
}

async fn list(call: Call) -> Outcome {
    let mut tags = Vec::new();
    for tag in call.admin.store.list::<Tag>(&ListQuery::new().uncounted()).await?.rows {
        tags.push(details(&call, &tag).await?);
    }
    Ok(Answer::json(&tags))
}

async fn delete(call: Call) -> Outcome {
    let name = call.text("name").unwrap_or_default().to_owned();
    let tag: Tag = call.admin.row(&[&name], || format!("Tag {name} not found")).await?;
    call.admin.store.delete::<Tag>(&[&name]).await?;
    call.admin.changed(Subject::Tag, &name);
    call.admin.audit(&call, "deleted", "LiteLLM_TagTable", &name, json_of(&tag), Value::Null).await;
    Ok(Answer::json(&json!({ "message": format!("Tag {name} deleted successfully") })))
}
