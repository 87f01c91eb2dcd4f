//! Google's `Schema` as JSON schema, and JSON schemas as Google takes them.

use serde_json::{Map, Value, json};

/// Reads a `Schema` (OpenAPI words, upper-case types, `nullable`) as JSON schema.
pub(super) fn json_schema(schema: Value) -> Value {
    let Value::Object(map) = schema else {
        return schema;
    };
    let mut out = Map::new();
    let mut nullable = false;
    for (key, value) in map {
        match (key.as_str(), value) {
            ("type", Value::String(word)) if word == "TYPE_UNSPECIFIED" => {}
            ("type", Value::String(word)) => {
                out.insert(key, Value::String(word.to_ascii_lowercase()));
            }
            ("nullable", Value::Bool(flag)) => nullable = flag,
            ("properties" | "$defs" | "defs", Value::Object(inner)) => {
                let key = if key == "defs" { "$defs".to_owned() } else { key };
                let inner: Map<_, _> =
                    inner.into_iter().map(|(name, value)| (name, json_schema(value))).collect();
                out.insert(key, Value::Object(inner));
            }
            ("items" | "additionalProperties" | "additional_properties", value) => {
                let key =
                    if key == "additional_properties" { "additionalProperties".to_owned() } else { key };
                out.insert(key, json_schema(value));
            }
            ("anyOf" | "any_of", Value::Array(items)) => {
                out.insert("anyOf".to_owned(), items.into_iter().map(json_schema).collect());
            }
            ("ref", value) => {
                out.insert("$ref".to_owned(), value);
            }
            ("example", value) => {
                out.insert("examples".to_owned(), json!([value]));
            }
            (
                "maxItems" | "minItems" | "maxLength" | "minLength" | "maxProperties" | "minProperties"
                | "max_items" | "min_items" | "max_length" | "min_length" | "max_properties"
                | "min_properties",
                value,
            ) => {
                out.insert(limit_name(&key), whole(value));
            }
            ("property_ordering", value) => {
                out.insert("propertyOrdering".to_owned(), value);
            }
            (_, value) => {
                out.insert(key, value);
            }
        }
    }
    if nullable {
        allow_null(&mut out);
    }
    Value::Object(out)
}

fn limit_name(key: &str) -> String {
    match key.split_once('_') {
        Some((bound, of)) => {
            let mut letters = of.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            format!("{bound}{}{}", first.map(String::from).unwrap_or_default(), letters.as_str())
        }
        None => key.to_owned(),
    }
}

/// Protobuf's JSON writes 64-bit integers as text.
fn whole(value: Value) -> Value {
    match &value {
        Value::String(text) => text.parse::<u64>().map_or(value, |number| json!(number)),
        _ => value,
    }
}

fn allow_null(schema: &mut Map<String, Value>) {
    if let Some(Value::String(word)) = schema.get("type") {
        let both = json!([word, "null"]);
        schema.insert("type".to_owned(), both);
    } else if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
        options.push(json!({"type": "null"}));
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
}

/// A JSON schema as `parametersJsonSchema` and `responseJsonSchema` take it: what names the schema
/// language goes, a constant becomes a choice of one.
///
/// Source: Gemini API reference, `GenerationConfig.responseJsonSchema`, list of supported keywords.
pub(super) fn accepted(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("$schema" | "$comment", _) => {}
                    ("const", value) => {
                        out.insert("enum".to_owned(), json!([value]));
                    }
                    // Their members are names, not keywords.
                    ("properties" | "$defs" | "definitions", Value::Object(inner)) => {
                        let inner: Map<_, _> =
                            inner.iter().map(|(name, value)| (name.clone(), accepted(value))).collect();
                        out.insert(key.clone(), Value::Object(inner));
                    }
                    ("enum" | "default" | "example" | "examples" | "required", value) => {
                        out.insert(key.clone(), value.clone());
                    }
                    (_, value) => {
                        out.insert(key.clone(), accepted(value));
                    }
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(accepted).collect(),
        other => other.clone(),
    }
}
