//! Settings as a form: their values, and for each field what it holds and is for. The UI draws its pages from them.

use serde_json::{Map, Value, json};

use crate::fields::Field;

/// `values` and `field_schema` of a page of settings. Source: LiteLLM, `SettingsResponse`.
pub(crate) fn form(doc: &str, fields: &[Field], values: &Map<String, Value>) -> Value {
    let shown: Map<String, Value> = fields
        .iter()
        .map(|field| (field.name.to_owned(), values.get(field.name).cloned().unwrap_or_default()))
        .collect();
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    json!({ "values": shown, "field_schema": { "description": doc, "properties": properties } })
}

fn property(field: &Field) -> Value {
    let schema = field.holds.schema();
    let kind = schema.pointer("/type/0").and_then(Value::as_str).unwrap_or("object");
    let mut property = json!({ "description": field.doc, "type": kind });
    if let Some(items) = schema.get("items") {
        property["items"] = items.clone();
    }
    property
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{Holds, field};

    #[test]
    fn a_form_shows_every_field_with_its_kind_and_nothing_else() {
        let fields = [field("models", Holds::Texts, "names"), field("max_budget", Holds::Number, "dollars")];
        let Value::Object(values) = json!({"max_budget": 5.0, "secret": "x"}) else { panic!("an object") };
        let shown = form("a page", &fields, &values);
        assert_eq!(shown["values"], json!({"models": null, "max_budget": 5.0}));
        assert_eq!(shown["field_schema"]["description"], "a page");
        assert_eq!(
            shown["field_schema"]["properties"]["models"],
            json!({"description": "names", "type": "array", "items": {"type": "string"}})
        );
    }
}
