//! A value that fits a JSON schema, the same one every time.

use serde_json::{Map, Value, json};

use crate::reply::Tool;

/// Words for string members; the seed picks one, so that parallel calls differ.
const WORDS: &[&str] = &["Paris", "Oslo", "Lima", "Quito"];

/// The schema of a tool's arguments, or one of an empty object.
pub(crate) fn schema_of_tool(tool: &Tool) -> Value {
    if tool.schema.is_object() { tool.schema.clone() } else { json!({"type": "object"}) }
}

/// A value fitting `schema`: all declared members, first of each choice.
pub(crate) fn sample(schema: &Value, seed: usize) -> Value {
    fit(schema, schema, seed, 0)
}

fn fit(root: &Value, schema: &Value, seed: usize, depth: usize) -> Value {
    // A schema may refer to itself; eight levels are deeper than any test needs.
    if depth > 8 {
        return Value::Null;
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|at| root.pointer(at.trim_start_matches('#'))) {
        return fit(root, target, seed, depth + 1);
    }
    if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return value.clone();
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[choice].get(0) {
            return fit(root, first, seed, depth + 1);
        }
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match kind.to_ascii_lowercase().as_str() {
        "string" => string(schema, seed),
        "integer" | "number" => number(schema, seed),
        "boolean" => Value::Bool(true),
        "null" => Value::Null,
        "array" => {
            let count = schema["minItems"].as_u64().unwrap_or(1).max(1);
            (0..count).map(|_| fit(root, &schema["items"], seed, depth + 1)).collect()
        }
        _ => {
            let members = schema["properties"].as_object();
            let members = members.into_iter().flatten();
            let object: Map<String, Value> =
                members.map(|(name, inner)| (name.clone(), fit(root, inner, seed, depth + 1))).collect();
            Value::Object(object)
        }
    }
}

fn string(schema: &Value, seed: usize) -> Value {
    Value::from(match schema["format"].as_str() {
        Some("date") => "2026-01-31",
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("email") => "ada@example.com",
        Some("uri") => "https://example.com/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => WORDS[seed % WORDS.len()],
    })
}

fn number(schema: &Value, seed: usize) -> Value {
    match schema["minimum"].as_i64() {
        Some(least) => Value::from(least),
        None => Value::from(seed + 1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::sample;

    #[test]
    fn a_sample_follows_references_enums_and_choices() {
        let schema = json!({"type": "object", "properties": {
            "a": {"$ref": "#/$defs/a"}, "b": {"enum": ["x", "y"]}, "c": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "d": {"type": "array", "items": {"type": "number", "minimum": 3}}, "e": {"type": ["boolean", "null"]},
        }, "$defs": {"a": {"type": "object", "properties": {"n": {"type": "integer"}}}}});
        let expected = json!({"a": {"n": 1}, "b": "x", "c": null, "d": [3], "e": true});
        assert_eq!(sample(&schema, 0), expected);
    }

    #[test]
    fn a_schema_that_holds_itself_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(sample(&schema, 0)["next"].is_object());
    }
}
