//! Members of a body that a server names as unknown to it, so that the call can be made without them.
//!
//! Azure AI Foundry hosts many servers; which members each refuses is found out by asking.
//! Source: compat, providers, azure_ai; Azure AI model inference API, "extra-parameters".

use serde_json::Value;

/// Servers' words for a member they do not know.
const EXTRA: &str = "Extra inputs are not permitted";
/// Azure's words for members it would only pass on when told to.
const PASS_THROUGH: &str = "Set extra-parameters to 'pass-through'";

/// Paths (`tools[0].strict`, `user`) that a 4xx answer names as extra. Members of the conversation
/// and of tools are left out without being asked for; top-level parameters only if `may_drop`, unless the
/// server offers to ignore them.
pub(super) fn paths(answer: &[u8], may_drop: bool) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let mut found = Vec::new();
    if text.contains(PASS_THROUGH) {
        found.extend(listed(&text));
    }
    if text.contains(EXTRA) {
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut named = Vec::new();
        located(&answer, &mut named);
        found.extend(named.into_iter().filter(|path| may_drop || path.contains('[')));
    }
    found.sort();
    found.dedup();
    found
}

/// The quoted names of `Extra parameters ['a', 'b'] are not allowed`.
fn listed(text: &str) -> Vec<String> {
    let list = text.split_once("xtra parameters [").and_then(|(_, rest)| rest.split_once(']'));
    let names = list.map_or("", |(names, _)| names).split(',');
    names
        .map(|name| name.trim().trim_matches(['\'', '"', '\\']).to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Collects `loc` of every entry that says so; servers put the list at different depths, some as text.
fn located(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let says = members.get("msg").and_then(Value::as_str).is_some_and(|text| text.contains(EXTRA))
                || members.get("type").is_some_and(|kind| kind == "extra_forbidden");
            if let (true, Some(Value::Array(steps))) = (says, members.get("loc")) {
                found.extend(path(steps));
                return;
            }
            members.values().for_each(|inner| located(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| located(inner, found)),
        Value::String(text) if text.contains("\"loc\"") => {
            if let Ok(inner) = serde_json::from_str::<Value>(text) {
                located(&inner, found);
            }
        }
        _ => {}
    }
}

/// `["body", "tools", 0, "strict"]` as `tools[0].strict`. A name between that the body does not have
/// (pydantic adds the union's branch) makes a path that leads nowhere, which removes nothing.
fn path(steps: &[Value]) -> Option<String> {
    let mut path = String::new();
    for step in steps.iter().skip_while(|step| *step == "body") {
        match (step.as_str(), step.as_u64()) {
            (Some(name), _) if path.is_empty() => path.push_str(name),
            (Some(name), _) => {
                path.push('.');
                path.push_str(name);
            }
            (None, Some(index)) => path.push_str(&format!("[{index}]")),
            (None, None) => return None,
        }
    }
    // The conversation itself is never what is too much.
    (!path.is_empty() && !matches!(path.as_str(), "model" | "messages")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_goes_only_if_dropping_is_allowed_and_a_tools_member_always() {
        let answer = br#"{"error":{"code":"Invalid input","details":[
            {"type":"extra_forbidden","loc":["body","tools",0,"strict"],"msg":"Extra inputs are not permitted"},
            {"type":"extra_forbidden","loc":["body","store"],"msg":"Extra inputs are not permitted"}]}}"#;
        assert_eq!(paths(answer, false), ["tools[0].strict"]);
        assert_eq!(paths(answer, true), ["store", "tools[0].strict"]);
    }

    #[test]
    fn what_a_server_would_ignore_if_told_to_goes() {
        let answer = br#"{"message":"Extra parameters ['stream_options', 'user'] are not allowed when extra-parameters is not set or set to be 'error'. Set extra-parameters to 'pass-through' to pass to the model."}"#;
        assert_eq!(paths(answer, false), ["stream_options", "user"]);
    }

    #[test]
    fn a_list_inside_a_message_is_found_and_other_errors_name_nothing() {
        let answer = br#"{"error":{"message":"{\"detail\":[{\"loc\":[\"body\",\"messages\",1,\"name\"],\"msg\":\"Extra inputs are not permitted\"}]}"}}"#;
        assert_eq!(paths(answer, false), ["messages[1].name"]);
        assert!(paths(br#"{"detail":[{"loc":["body","n"],"msg":"too large"}]}"#, true).is_empty());
        assert!(paths(b"not json, but Extra inputs are not permitted", true).is_empty());
    }
}
