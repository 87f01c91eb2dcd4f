//! One JSON object of a request body, read member by member; what nobody asks for is carried as it is.

use serde_json::{Map, Number, Value};

use crate::chat::Reasoning;
use crate::json;

use super::{BadRequest, ClientCall};

/// An object under reading, and where it stands in the body.
#[derive(Debug)]
pub(in crate::dialect) struct Members {
    path: String,
    map: Map<String, Value>,
}

impl Members {
    /// Takes `value` apart; `path` is its place in the body, empty for the body itself.
    pub(in crate::dialect) fn of(value: Value, path: impl Into<String>) -> Result<Self, BadRequest> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { path, map }),
            other => Err(wrong(&path, "an object", &other)),
        }
    }

    /// The place of a member in the body, e.g. `messages[2].content`.
    pub(in crate::dialect) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A member without taking it.
    pub(in crate::dialect) fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// Any member; `null` counts as absent.
    pub(in crate::dialect) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    /// A member that must be there.
    pub(in crate::dialect) fn need(&mut self, key: &str) -> Result<Value, BadRequest> {
        self.take(key).ok_or_else(|| {
            let at = self.at(key);
            let message = format!("{at}: this member is required");
            BadRequest::new(at, message)
        })
    }

    /// A text member.
    pub(in crate::dialect) fn text(&mut self, key: &str) -> Result<Option<String>, BadRequest> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.at(key), "a string", &other)),
        }
    }

    /// A text member that must be there.
    pub(in crate::dialect) fn need_text(&mut self, key: &str) -> Result<String, BadRequest> {
        match self.need(key)? {
            Value::String(text) => Ok(text),
            other => Err(wrong(&self.at(key), "a string", &other)),
        }
    }

    /// A yes-or-no member.
    pub(in crate::dialect) fn flag(&mut self, key: &str) -> Result<Option<bool>, BadRequest> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(&self.at(key), "a boolean", &other)),
        }
    }

    /// A count.
    pub(in crate::dialect) fn count(&mut self, key: &str) -> Result<Option<u64>, BadRequest> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| wrong(&self.at(key), "a non-negative integer", &value))
            }
        }
    }

    /// A number, as written.
    pub(in crate::dialect) fn number(&mut self, key: &str) -> Result<Option<Number>, BadRequest> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(other) => Err(wrong(&self.at(key), "a number", &other)),
        }
    }

    /// A list; absent means empty.
    pub(in crate::dialect) fn list(&mut self, key: &str) -> Result<Vec<Value>, BadRequest> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(wrong(&self.at(key), "a list", &other)),
        }
    }

    /// A list of texts; absent means empty.
    pub(in crate::dialect) fn texts(&mut self, key: &str) -> Result<Vec<String>, BadRequest> {
        let at = self.at(key);
        let items = self.list(key)?;
        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::String(text) => Ok(text),
                other => Err(wrong(&format!("{at}[{index}]"), "a string", &other)),
            })
            .collect()
    }

    /// An object inside this one.
    pub(in crate::dialect) fn object(&mut self, key: &str) -> Result<Option<Self>, BadRequest> {
        let at = self.at(key);
        self.take(key).map(|value| Self::of(value, at)).transpose()
    }

    /// An object that must be there.
    pub(in crate::dialect) fn need_object(&mut self, key: &str) -> Result<Self, BadRequest> {
        let value = self.need(key)?;
        Self::of(value, self.at(key))
    }

    /// What nobody asked for.
    pub(in crate::dialect) fn rest(self) -> Map<String, Value> {
        self.map
    }
}

/// A whole body.
pub(in crate::dialect) fn document(body: &[u8]) -> Result<Value, BadRequest> {
    json::read(body)
        .map_err(|why| BadRequest { param: None, message: format!("the body is not valid JSON: {why}") })
}

/// The model a request names, in its path or its body.
pub(in crate::dialect) fn model(call: &ClientCall<'_>, body: &mut Members) -> Result<String, BadRequest> {
    match (call.path_model, body.text("model")?) {
        (Some(model), _) => Ok(model.to_owned()),
        (None, Some(model)) => Ok(model),
        (None, None) => Err(BadRequest::new("model", "model: this member is required")),
    }
}

/// Anthropic's `thinking` object, in whatever body it stands.
pub(in crate::dialect) fn thinking(mut thinking: Members) -> Result<Reasoning, BadRequest> {
    let kind = thinking.need_text("type")?;
    Ok(Reasoning {
        budget: thinking.count("budget_tokens")?,
        adaptive: kind == "adaptive",
        disabled: kind == "disabled",
        summary: thinking.text("display")?,
        ..Reasoning::default()
    })
}

/// A complaint about a member of the wrong kind; names the kind met, never the content.
pub(in crate::dialect) fn wrong(path: &str, wanted: &str, met: &Value) -> BadRequest {
    let met = match met {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    if path.is_empty() {
        return BadRequest { param: None, message: format!("the body must be {wanted}, not {met}") };
    }
    BadRequest::new(path, format!("{path}: must be {wanted}, not {met}"))
}
