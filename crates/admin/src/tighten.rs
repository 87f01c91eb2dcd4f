//! Whether a change of a limit leaves more room than before: what may be done to what somebody else gave.

use std::collections::BTreeSet;

use serde_json::Value;

/// True if `is` allows something that `was` does not. Values are columns or members of `metadata`: a number is
/// an upper bound, a list is what may be used, nothing is no limit. Anything else counts as wider as soon as it
/// differs.
pub(crate) fn widens(was: &Value, is: &Value) -> bool {
    match (nothing(was), nothing(is)) {
        (true, _) => false,
        (false, true) => true,
        (false, false) => match (was, is) {
            (Value::Number(was), Value::Number(is)) => is.as_f64() > was.as_f64(),
            (Value::Array(was), Value::Array(is)) => {
                let texts = |list: &[Value]| list.iter().map(Value::to_string).collect::<BTreeSet<_>>();
                !texts(is).is_subset(&texts(was))
            }
            (Value::Object(was), Value::Object(is)) => {
                was.iter().any(|(name, most)| is.get(name).is_none_or(|is| widens(most, is)))
            }
            (was, is) => was != is,
        },
    }
}

/// True if neither says anything, or both the same.
pub(crate) fn same(was: &Value, is: &Value) -> bool {
    was == is || (nothing(was) && nothing(is))
}

/// True for a value that says nothing: none, or empty.
pub(crate) fn nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limit_is_wider_when_it_is_higher_gone_or_for_more() {
        for (was, is, wider) in [
            (json!(10), json!(5), false),
            (json!(10), json!(10.0), false),
            (json!(10), json!(11), true),
            (json!(10), json!(null), true),
            (json!(null), json!(5), false),
            (json!([]), json!(["a"]), false),
            (json!(["a", "b"]), json!(["b"]), false),
            (json!(["a"]), json!(["a", "b"]), true),
            (json!(["a"]), json!([]), true),
            (json!({"m": 5}), json!({"m": 4, "n": 9}), false),
            (json!({"m": 5}), json!({"m": 6}), true),
            (json!({"m": 5}), json!({}), true),
            (json!("30d"), json!("1d"), true),
            (json!("30d"), json!("30d"), false),
        ] {
            assert_eq!(widens(&was, &is), wider, "{was} -> {is}");
        }
    }
}
