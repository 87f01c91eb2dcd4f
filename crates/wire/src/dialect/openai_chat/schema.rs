//! Changes to tool schemas for providers that take less than JSON Schema has.

use serde_json::{Map, Value};

/// How deep references are followed; a schema that refers to itself ends there.
const MAX_DEPTH: usize = 24;

/// Removes a member from a schema and everything inside it.
pub(super) fn without(schema: &mut Value, member: &str) {
    match schema {
        Value::Object(map) => {
            map.shift_remove(member);
            map.values_mut().for_each(|inner| without(inner, member));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| without(inner, member)),
        _ => {}
    }
}

/// Puts what `$ref` names in its place. A reference to itself becomes an open object.
pub(super) fn inlined(schema: &Value) -> Value {
    let mut out = resolve(schema, schema, 0);
    if let Value::Object(map) = &mut out {
        map.shift_remove("$defs");
        map.shift_remove("definitions");
    }
    out
}

fn resolve(value: &Value, root: &Value, depth: usize) -> Value {
    match value {
        Value::Object(map) => {
            let named = map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|name| root.pointer(name.strip_prefix('#')?));
            if let Some(target) = named {
                if depth >= MAX_DEPTH {
                    return serde_json::json!({"type": "object"});
                }
                let mut found = resolve(target, root, depth + 1);
                if let Value::Object(found) = &mut found {
                    for (key, inner) in map.iter().filter(|(key, _)| *key != "$ref") {
                        found.insert(key.clone(), resolve(inner, root, depth + 1));
                    }
                }
                return found;
            }
            let members: Map<String, Value> = map
                .iter()
                .filter(|(key, _)| depth > 0 || !matches!(key.as_str(), "$defs" | "definitions"))
                .map(|(key, inner)| (key.clone(), resolve(inner, root, depth)))
                .collect();
            Value::Object(members)
        }
        Value::Array(items) => Value::Array(items.iter().map(|inner| resolve(inner, root, depth)).collect()),
        other => other.clone(),
    }
}
