//! What key and team say of routes of an operator's own.

use faregate_gateway::caller::PassThroughRoutes;
use faregate_store::KeyRecord;
use serde_json::Value;

/// A key's grants take the place of its team's; what either denies is denied. Source: LiteLLM's `route_checks.py`.
pub(super) fn routes(record: &KeyRecord) -> Option<Box<PassThroughRoutes>> {
    let none = Value::Null;
    let team = record.team.as_ref().map_or(&none, |team| &team.metadata);
    let texts = |metadata: &Value, name: &str| -> Vec<String> {
        let list = metadata[name].as_array().into_iter().flatten();
        list.filter_map(|route| route.as_str().map(str::to_owned)).collect()
    };
    let key = &record.key.metadata;
    let own = texts(key, "allowed_passthrough_routes");
    let allowed = if own.is_empty() { texts(team, "allowed_passthrough_routes") } else { own };
    let denied = "denied_passthrough_routes";
    let denied: Vec<String> = texts(key, denied).into_iter().chain(texts(team, denied)).collect();
    let says_nothing = allowed.is_empty() && denied.is_empty();
    (!says_nothing).then(|| Box::new(PassThroughRoutes { allowed, denied }))
}
