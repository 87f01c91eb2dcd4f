//! Which model groups anybody may know of; the data plane shows them at `/public/model_hub`. Source: compat, endpoints
//! §2.8, and LiteLLM's `UpdatePublicModelGroupsRequest`.

use serde_json::{Value, json};

use crate::Outcome;
use crate::error::AdminError;
use crate::fields::{Field, Holds, required};
use crate::routes::{Answer, Call, Route, route};
use crate::settings;

const GROUPS: &[Field] = &[required("model_groups", Holds::Texts, "public names; all others are not shown")];

pub(crate) const ROUTES: &[Route] = &[route!(
    "POST",
    &["/model_group/make_public"],
    Admin,
    &[GROUPS],
    &[],
    "Choose the model groups of the public list",
    make_public
)];

async fn make_public(call: Call) -> Outcome {
    let groups = call.texts("model_groups");
    let snapshot = call.admin.snapshot.load_full();
    let is_known = |name: &String| snapshot.deployments.iter().any(|one| one.group.as_str() == name.as_str());
    if let Some(unknown) = groups.iter().find(|name| !is_known(name)) {
        return Err(AdminError::invalid(
            "model_groups",
            format!("model_groups: there is no model `{unknown}`"),
        ));
    }
    settings::store(&call, "litellm_settings", "public_model_groups", json!(groups)).await?;
    let user = Some(call.caller.user_id()).filter(|user| !user.is_empty()).map_or(Value::Null, Value::from);
    Ok(Answer::json(&json!({
        "message": "Successfully updated public model groups", "public_model_groups": groups, "updated_by": user,
    })))
}
