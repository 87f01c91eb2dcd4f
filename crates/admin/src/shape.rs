//! What an answer holds: one description makes the schema in the document and checks live answers against it.

use std::collections::BTreeMap;

use faregate_store::schema::{Kind, Table};
use serde_json::{Map, Value, json};

/// The form of a JSON value.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Anything.
    Any,
    /// A text.
    Text,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// Yes or no.
    Flag,
    /// Nothing at all, as `null`.
    Null,
    /// This, or `null`.
    Maybe(&'static Shape),
    /// A list of these.
    List(&'static Shape),
    /// An object that holds these under names of any kind.
    Map(&'static Shape),
    /// An object with these members, and possibly others.
    Object(&'static [Part]),
    /// A row of a table: its columns, and possibly others.
    Row(&'static Row),
    /// The members of both.
    Both(&'static Shape, &'static Shape),
    /// One or the other.
    Either(&'static [Shape]),
    /// This, as something that was made: 201.
    Created(&'static Shape),
    /// No body: 204.
    Nothing,
    /// A page to be looked at, or the way to one.
    Page,
    /// A picture, or the way to one.
    Picture,
    /// A table as CSV, or as JSON of this form.
    Sheet(&'static Shape),
}

/// A member of an object.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    name: &'static str,
    shape: Shape,
    always: bool,
}

/// A member that is always there.
pub const fn has(name: &'static str, shape: Shape) -> Part {
    Part { name, shape, always: true }
}

/// A member that may be absent.
pub const fn may(name: &'static str, shape: Shape) -> Part {
    Part { name, shape, always: false }
}

/// The rows of one table.
#[derive(Debug)]
pub struct Row {
    /// What one is called in the document.
    pub name: &'static str,
    /// Its columns.
    pub table: &'static Table,
    /// Columns that some answers keep to themselves.
    pub withheld: &'static [&'static str],
}

impl Shape {
    /// As JSON Schema. Rows are references to `components/schemas`; `rows` collects which.
    pub fn schema(&self, rows: &mut BTreeMap<&'static str, Value>) -> Value {
        match self {
            Self::Any | Self::Page | Self::Picture | Self::Nothing => json!({}),
            Self::Created(inner) | Self::Sheet(inner) => inner.schema(rows),
            Self::Text => json!({ "type": "string" }),
            Self::Int => json!({ "type": "integer" }),
            Self::Number => json!({ "type": "number" }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Null => json!({ "type": "null" }),
            Self::Maybe(inner) => json!({ "anyOf": [inner.schema(rows), { "type": "null" }] }),
            Self::List(inner) => json!({ "type": "array", "items": inner.schema(rows) }),
            Self::Map(inner) => json!({ "type": "object", "additionalProperties": inner.schema(rows) }),
            Self::Either(shapes) => {
                json!({ "anyOf": shapes.iter().map(|shape| shape.schema(rows)).collect::<Vec<_>>() })
            }
            Self::Both(first, second) => json!({ "allOf": [first.schema(rows), second.schema(rows)] }),
            Self::Object(parts) => {
                let properties: Map<String, Value> =
                    parts.iter().map(|part| (part.name.to_owned(), part.shape.schema(rows))).collect();
                let required: Vec<&str> =
                    parts.iter().filter(|part| part.always).map(|part| part.name).collect();
                json!({ "type": "object", "properties": properties, "required": required })
            }
            Self::Row(row) => {
                if !rows.contains_key(row.name) {
                    rows.insert(row.name, row.schema());
                }
                json!({ "$ref": format!("#/components/schemas/{}", row.name) })
            }
        }
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// Where it is of another form, and of which.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let wants =
            |what: &str, fits: bool| if fits { Ok(()) } else { Err(format!(": {value} is no {what}")) };
        match self {
            Self::Any | Self::Page | Self::Picture | Self::Nothing => Ok(()),
            Self::Created(inner) => inner.check(value),
            // CSV is no JSON.
            Self::Sheet(inner) => {
                if value.is_null() {
                    Ok(())
                } else {
                    inner.check(value)
                }
            }
            Self::Text => wants("text", value.is_string()),
            Self::Int => wants("whole number", value.is_i64() || value.is_u64()),
            Self::Number => wants("number", value.is_number()),
            Self::Flag => wants("boolean", value.is_boolean()),
            Self::Null => wants("null", value.is_null()),
            Self::Maybe(inner) => {
                if value.is_null() {
                    Ok(())
                } else {
                    inner.check(value)
                }
            }
            Self::List(inner) => {
                let Some(items) = value.as_array() else { return wants("list", false) };
                let checked = |(at, item)| inner.check(item).map_err(|why| format!("[{at}]{why}"));
                items.iter().enumerate().try_for_each(checked)
            }
            Self::Map(inner) => {
                let Some(members) = value.as_object() else { return wants("object", false) };
                let checked = |(name, item)| inner.check(item).map_err(|why| format!(".{name}{why}"));
                members.iter().try_for_each(checked)
            }
            Self::Both(first, second) => first.check(value).and_then(|()| second.check(value)),
            Self::Either(shapes) => {
                let problems: Vec<String> =
                    shapes.iter().map_while(|shape| shape.check(value).err()).collect();
                let fits = problems.len() < shapes.len();
                if fits { Ok(()) } else { Err(format!(": fits none, {}", problems.join(", nor "))) }
            }
            Self::Object(parts) => parts
                .iter()
                .try_for_each(|part| member(value, part.name, part.always, |item| part.shape.check(item))),
            Self::Row(row) => row.table.columns.iter().try_for_each(|column| {
                let always = !row.withheld.contains(&column.name);
                let shape = of_kind(column.kind);
                member(value, column.name, always, |item| match item {
                    Value::Null if column.null => Ok(()),
                    item => shape.check(item),
                })
            }),
        }
    }
}

fn member(
    value: &Value,
    name: &str,
    always: bool,
    check: impl Fn(&Value) -> Result<(), String>,
) -> Result<(), String> {
    let Some(members) = value.as_object() else { return Err(format!(": {value} is no object")) };
    match members.get(name) {
        None if always => Err(format!(".{name} is missing")),
        None => Ok(()),
        Some(item) => check(item).map_err(|why| format!(".{name}{why}")),
    }
}

impl Row {
    fn schema(&self) -> Value {
        let mut properties = Map::new();
        for column in self.table.columns {
            let mut schema = of_kind(column.kind).schema(&mut BTreeMap::new());
            if column.null {
                schema = json!({ "anyOf": [schema, { "type": "null" }] });
            }
            if column.kind == Kind::Time {
                schema["description"] = json!("a time, RFC 3339 in UTC");
            }
            properties.insert(column.name.to_owned(), schema);
        }
        let always = self.table.columns.iter().map(|column| column.name);
        let required: Vec<&str> = always.filter(|name| !self.withheld.contains(name)).collect();
        json!({ "type": "object", "properties": properties, "required": required })
    }
}

const fn of_kind(kind: Kind) -> Shape {
    match kind {
        Kind::Text | Kind::Time => Shape::Text,
        Kind::Float => Shape::Number,
        Kind::Int | Kind::Big | Kind::Serial => Shape::Int,
        Kind::Flag => Shape::Flag,
        Kind::Json => Shape::Any,
        Kind::List => Shape::List(&Shape::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: Shape = Shape::Object(&[
        has("name", Shape::Text),
        may("age", Shape::Maybe(&Shape::Int)),
        may("friends", Shape::List(&Shape::Object(&[has("name", Shape::Text)]))),
    ]);

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        assert_eq!(PERSON.check(&json!({ "name": "a", "age": null, "more": 1 })), Ok(()));
        let why = |value: Value| PERSON.check(&value).unwrap_err();
        assert_eq!(why(json!({ "age": 1 })), ".name is missing");
        assert_eq!(why(json!({ "name": "a", "age": 1.5 })), ".age: 1.5 is no whole number");
        let friends = json!({ "name": "a", "friends": [{ "name": "b" }, { "name": 3 }] });
        assert_eq!(why(friends), ".friends[1].name: 3 is no text");
        assert_eq!(why(json!([])), ": [] is no object");
    }

    #[test]
    fn the_schema_says_the_same() {
        let schema = PERSON.schema(&mut BTreeMap::new());
        assert_eq!(schema["required"], json!(["name"]));
        assert_eq!(
            schema["properties"]["age"],
            json!({ "anyOf": [{ "type": "integer" }, { "type": "null" }] })
        );
    }
}
