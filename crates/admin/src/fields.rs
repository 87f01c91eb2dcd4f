//! What a body or query may hold, field by field; checked before a handler runs.

use serde_json::{Map, Value};

use crate::error::AdminError;

/// One field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// True if it must be there.
    pub required: bool,
    /// For the document.
    pub doc: &'static str,
}

/// What a field holds. `null` counts as absent, or empties what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A text.
    Text,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// Yes or no.
    Flag,
    /// A list of texts.
    Texts,
    /// A list of anything.
    List,
    /// An object.
    Object,
    /// Anything.
    Any,
}

impl Holds {
    /// Pydantic's word and sentence for what does not fit.
    fn problem(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("string_type", "Input should be a valid string"),
            Self::Int => ("int_type", "Input should be a valid integer"),
            Self::Number => ("float_type", "Input should be a valid number"),
            Self::Flag => ("bool_type", "Input should be a valid boolean"),
            Self::Texts | Self::List => ("list_type", "Input should be a valid list"),
            Self::Object => ("dict_type", "Input should be a valid dictionary"),
            Self::Any => ("value_error", "Input is not valid"),
        }
    }

    /// The value as this kind of field holds it; numbers and flags may come as text, as Pydantic takes them.
    fn take(self, value: Value) -> Option<Value> {
        match (self, value) {
            (_, Value::Null) => Some(Value::Null),
            (Self::Any, value) => Some(value),
            (Self::Text, value @ Value::String(_))
            | (Self::Flag, value @ Value::Bool(_))
            | (Self::List, value @ Value::Array(_))
            | (Self::Object, value @ Value::Object(_))
            | (Self::Number, value @ Value::Number(_)) => Some(value),
            (Self::Texts, Value::Array(items)) => {
                items.iter().all(Value::is_string).then_some(Value::Array(items))
            }
            (Self::Int, Value::Number(number)) => {
                let whole = number
                    .as_i64()
                    .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64));
                whole.map(Value::from)
            }
            (Self::Int, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
            (Self::Number, Value::String(text)) => {
                text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from)
            }
            (Self::Flag, Value::String(text)) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(Value::Bool(true)),
                "false" | "0" | "no" | "off" => Some(Value::Bool(false)),
                _ => None,
            },
            (Self::Texts, Value::String(text)) => {
                Some(Value::Array(text.split(',').map(|part| Value::from(part.trim())).collect()))
            }
            _ => None,
        }
    }

    /// The type in a JSON schema.
    pub fn schema(self) -> Value {
        match self {
            Self::Text => serde_json::json!({ "type": ["string", "null"] }),
            Self::Int => serde_json::json!({ "type": ["integer", "null"] }),
            Self::Number => serde_json::json!({ "type": ["number", "null"] }),
            Self::Flag => serde_json::json!({ "type": ["boolean", "null"] }),
            Self::Texts => serde_json::json!({ "type": ["array", "null"], "items": { "type": "string" } }),
            Self::List => serde_json::json!({ "type": ["array", "null"], "items": {} }),
            Self::Object => serde_json::json!({ "type": ["object", "null"] }),
            Self::Any => serde_json::json!({}),
        }
    }
}

/// A field that may be absent.
pub const fn field(name: &'static str, holds: Holds, doc: &'static str) -> Field {
    Field { name, holds, required: false, doc }
}

/// A field that must be there.
pub const fn required(name: &'static str, holds: Holds, doc: &'static str) -> Field {
    Field { name, holds, required: true, doc }
}

/// Keeps the known fields of `given`, each as its kind; unknown ones are passed over, as LiteLLM does.
///
/// # Errors
/// 422 naming every field that is wrong or missing. `place` is `body` or `query`.
pub fn check(
    place: &'static str,
    fields: &[Field],
    mut given: Map<String, Value>,
) -> Result<Map<String, Value>, AdminError> {
    let mut known = Map::new();
    let mut problems = Vec::new();
    for field in fields {
        match given.remove(field.name) {
            None | Some(Value::Null) if field.required => {
                let text = format!("{}: Field required", field.name);
                problems.push((vec![place, field.name], "missing", text));
            }
            None => {}
            Some(value) => match field.holds.take(value) {
                Some(value) => drop(known.insert(field.name.to_owned(), value)),
                None => {
                    let (kind, text) = field.holds.problem();
                    problems.push((vec![place, field.name], kind, format!("{}: {text}", field.name)));
                }
            },
        }
    }
    if problems.is_empty() { Ok(known) } else { Err(AdminError::fields(problems)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: &[Field] = &[
        required("name", Holds::Text, ""),
        field("most", Holds::Int, ""),
        field("models", Holds::Texts, ""),
        field("blocked", Holds::Flag, ""),
    ];

    fn try_out(given: Value) -> Result<Map<String, Value>, AdminError> {
        let Value::Object(given) = given else { panic!("an object") };
        check("body", FIELDS, given)
    }

    #[test]
    fn fields_are_taken_as_their_kind_and_unknown_ones_passed_over() {
        let taken = try_out(json!({"name": "a", "most": "7", "models": ["m"], "blocked": "true", "x": 1}));
        assert_eq!(
            Value::Object(taken.unwrap()),
            json!({"name": "a", "most": 7, "models": ["m"], "blocked": true})
        );
        assert_eq!(
            Value::Object(try_out(json!({"name": "a", "most": null})).unwrap()),
            json!({"name": "a", "most": null})
        );
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let error = try_out(json!({"most": 1.5, "models": [1], "blocked": "perhaps"})).unwrap_err();
        assert_eq!(error.status, 422);
        for name in ["name: Field required", "most:", "models:", "blocked:"] {
            assert!(error.message.contains(name), "{}", error.message);
        }
    }
}
