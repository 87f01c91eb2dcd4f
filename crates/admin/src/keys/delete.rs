//! The end of keys.

use faregate_state::invalidate::Subject;
use faregate_store::{Deleter, Filter, ListQuery, VirtualKey};
use serde_json::{Value, json};

use super::rules::{self, Act};
use super::{TABLE, find};
use crate::Outcome;
use crate::columns::json_of;
use crate::error::AdminError;
use crate::routes::{Answer, Call};

pub(super) async fn delete(call: Call) -> Outcome {
    let mut rows = Vec::new();
    for key in call.texts("keys") {
        rows.push(find(&call, &key).await?);
    }
    let aliases = call.texts("key_aliases");
    if !aliases.is_empty() {
        let query =
            ListQuery::new().filter(Filter::In("key_alias", aliases.iter().map(|it| json!(it)).collect()));
        rows.extend(call.admin.store.list::<VirtualKey>(&query).await?.rows);
    }
    if rows.is_empty() {
        return Err(AdminError::invalid(
            "keys",
            "Name at least one key that exists, in `keys` or `key_aliases`",
        ));
    }
    for row in &rows {
        rules::rights(&call, row, Act::Delete).await?;
    }
    let tokens: Vec<&str> = rows.iter().map(|row| row.token.as_str()).collect();
    let gone = call.admin.store.delete_keys(&tokens, &deleter(&call), call.admin.now()).await?;
    for row in &gone {
        call.admin.changed(Subject::Key, &row.token);
        call.admin.audit(&call, "deleted", TABLE, &row.token, json_of(row), Value::Null).await;
    }
    let given = call.texts("keys");
    let names = if given.is_empty() { gone.iter().map(|row| row.token.clone()).collect() } else { given };
    Ok(Answer::json(&json!({ "deleted_keys": names })))
}

/// Who deletes, for the copies that are kept.
pub(crate) fn deleter(call: &Call) -> Deleter {
    Deleter {
        user: Some(call.caller.user_id().to_owned()).filter(|user| !user.is_empty()),
        api_key: Some(call.caller.key_hash().to_owned()),
        changed_by: call.named_author(),
    }
}
