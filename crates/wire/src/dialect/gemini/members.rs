//! Member names: protobuf's JSON takes them in camel and in snake case.

use serde_json::{Map, Value};

use crate::dialect::BadRequest;
use crate::dialect::members::Members;

/// Takes an object apart, its own member names (not those of objects within) in camel case.
pub(super) fn object(value: Value, at: impl Into<String>) -> Result<Members, BadRequest> {
    Members::of(camel(value), at)
}

/// The object with its own member names in camel case; other values as they are.
pub(super) fn camel(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (name(key), value)).collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn name(key: String) -> String {
    if !key.contains('_') {
        return key;
    }
    let mut out = String::with_capacity(key.len());
    let mut upper = false;
    for c in key.chars() {
        if c == '_' && !out.is_empty() {
            upper = true;
        } else if std::mem::take(&mut upper) {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}
