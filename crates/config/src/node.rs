//! A YAML document as a tree that remembers where each value was written.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Number, Value as Json};

use crate::position::Position;

/// One value. `Debug` shows its shape only: any text may be a secret.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Position,
    /// The environment variable the value was read from, when it was written as `os.environ/NAME`.
    pub(crate) variable: Option<Arc<str>>,
}

/// What PyYAML's safe loader makes of a node.
#[derive(Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    /// Decimal text as written, without underscores or a leading plus; or `.inf`, `-.inf`, `.nan`.
    Float(String),
    /// Also dates, which nothing in this configuration reads as such.
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` of a mapping, in file order.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Position,
    pub(crate) node: Node,
}

impl fmt::Debug for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "<{} at {}>", self.shape(), self.at)
    }
}

impl Node {
    pub(crate) fn new(value: Value, at: Position) -> Self {
        Self { value, at, variable: None }
    }

    /// The shape for messages: `a text`, `a number`, ...
    pub(crate) fn shape(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a key, unless it is absent or null.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
            .filter(|node| !node.is_null())
    }

    /// Text as such; numbers and booleans in the spelling Python's `str()` gives them.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(text) => Some(text.clone()),
            Value::Bool(flag) => Some(if *flag { "True" } else { "False" }.to_owned()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The value as JSON; numbers become JSON numbers, what JSON cannot say becomes null.
    pub(crate) fn to_json(&self) -> Json {
        self.json(&|node| match &node.value {
            Value::Int(number) => i64::try_from(*number)
                .map(Json::from)
                .or_else(|_| u64::try_from(*number).map(Json::from))
                .ok()
                .or_else(|| Number::from_f64(*number as f64).map(Json::Number)),
            Value::Float(text) => text.parse().ok().and_then(Number::from_f64).map(Json::Number),
            _ => None,
        })
    }

    /// The value as JSON with every number as a string of its exact decimal text.
    pub(crate) fn to_exact_json(&self) -> Json {
        self.json(&|node| node.scalar_text().map(Json::String))
    }

    fn json(&self, number: &dyn Fn(&Node) -> Option<Json>) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(*flag),
            Value::Int(_) | Value::Float(_) => number(self).unwrap_or(Json::Null),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => items.iter().map(|item| item.json(number)).collect(),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.json(number)))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// How many nodes the tree holds, itself included.
    pub(crate) fn weight(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::weight).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.node.weight()).sum(),
            _ => 0,
        }
    }
}
