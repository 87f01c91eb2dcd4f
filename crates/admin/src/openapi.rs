//! The OpenAPI document, made from the route table.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::answers;
use crate::fields::Field;
use crate::roles::Gate;
use crate::routes::{self, Route};
use crate::shape::Shape;

/// A route that is served beside the control plane: a model call. Its bodies are those of the API that it
/// speaks, which that API's own documents describe.
#[derive(Debug, Clone, Copy)]
pub struct Other {
    /// Method.
    pub method: &'static str,
    /// All paths, in `matchit` syntax.
    pub paths: &'static [&'static str],
    /// What it does.
    pub doc: &'static str,
    /// False if it needs a key.
    pub open: bool,
}

/// The document, OpenAPI 3.1: the control plane's routes and `others`.
pub fn document(others: &[Other]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut rows = BTreeMap::new();
    for route in routes::all() {
        for path in route.paths {
            // OpenAPI has no mark for a parameter that spans slashes.
            let shown = path.replace("{*", "{");
            let entry = paths.entry(shown.clone()).or_insert_with(|| json!({}));
            entry[route.method.to_ascii_lowercase()] = operation(route, &shown, &mut rows);
        }
    }
    for other in others {
        for path in other.paths {
            let shown = path.replace("{*", "{");
            let entry = paths.entry(shown.clone()).or_insert_with(|| json!({}));
            entry[other.method.to_ascii_lowercase()] = model_call(other, &shown);
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Faregate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Model calls in the dialects of OpenAI, Anthropic, Gemini and Bedrock; keys, teams, people, budgets and spend. The same calls as the LiteLLM proxy's.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "The master key or a virtual key" },
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": {
                            "type": "object",
                            "required": ["message", "type", "code"],
                            "properties": {
                                "message": { "type": "string" },
                                "type": { "type": "string" },
                                "param": { "type": ["string", "null"] },
                                "code": { "type": "string" },
                            },
                        },
                    },
                },
                "Invalid": {
                    "type": "object",
                    "required": ["detail"],
                    "properties": { "detail": {} },
                },
            },
        },
    });
    for (name, schema) in rows {
        document["components"]["schemas"][name] = schema;
    }
    document
}

/// What a call that went well gives back.
fn answer(route: &Route, rows: &mut BTreeMap<&'static str, Value>) -> Value {
    match route.paths.first().and_then(|path| answers::of(route.method, path)) {
        Some(Shape::Page) => json!({
            "200": { "description": "A page", "content": { "text/html": { "schema": { "type": "string" } } } },
            "303": { "description": "The way to the page" },
        }),
        Some(Shape::Picture) => json!({
            "200": { "description": "A picture", "content": { "image/*": { "schema": { "type": "string" } } } },
            "307": { "description": "The way to the picture" },
        }),
        Some(Shape::Sheet(line)) => json!({
            "200": {
                "description": "A table",
                "content": {
                    "text/csv": { "schema": { "type": "string" } },
                    "application/json": { "schema": line.schema(rows) },
                },
            },
        }),
        Some(Shape::Nothing) => json!({ "204": { "description": "Done" } }),
        Some(shape) => {
            let schema = shape.schema(rows);
            let status = if matches!(shape, Shape::Created(_)) { "201" } else { "200" };
            json!({ status: { "description": "Done", "content": { "application/json": { "schema": schema } } } })
        }
        None => json!({ "200": { "description": "Done" } }),
    }
}

fn operation(route: &Route, path: &str, rows: &mut BTreeMap<&'static str, Value>) -> Value {
    let mut parameters = path_parameters(path);
    parameters.extend(route.query.iter().map(|field| {
        let mut schema = field.holds.schema();
        // A query has no null.
        if let Some(kind) = schema.get("type").and_then(|kind| kind.get(0)).cloned() {
            schema["type"] = kind;
        }
        json!({
            "name": field.name, "in": "query", "required": field.required, "schema": schema,
            "description": field.doc,
        })
    }));
    let mut operation = json!({
        "summary": route.doc,
        "operationId": operation_id(route.method, path),
        "tags": [path.split('/').nth(1).filter(|word| !word.is_empty()).unwrap_or("gateway")],
        "parameters": parameters,
        "responses": {
            "4XX": {
                "description": "Refused; the message names the field and the remedy",
                "content": {
                    "application/json": {
                        "schema": {
                            "anyOf": [
                                { "$ref": "#/components/schemas/Error" },
                                { "$ref": "#/components/schemas/Invalid" },
                            ],
                        },
                    },
                },
            },
            "5XX": {
                "description": "Failed",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
            },
        },
    });
    if let (Some(all), Value::Object(well)) = (operation["responses"].as_object_mut(), answer(route, rows)) {
        all.extend(well);
    }
    if route.gate != Gate::Public {
        operation["security"] = json!([{ "key": [] }]);
    }
    let fields: Vec<&Field> = route.body.iter().copied().flatten().collect();
    if !fields.is_empty() {
        operation["requestBody"] = json!({
            "required": fields.iter().any(|field| field.required),
            "content": { "application/json": { "schema": body(&fields) } },
        });
    }
    operation
}

fn operation_id(method: &str, path: &str) -> String {
    format!("{}{}", method.to_ascii_lowercase(), path.replace(['/', '{', '}', '-', ':', '.'], "_"))
}

fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.split_once('}').map(|(name, _)| name))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

fn model_call(other: &Other, path: &str) -> Value {
    let mut operation = json!({
        "summary": other.doc,
        "operationId": operation_id(other.method, path),
        "tags": ["model calls"],
        "parameters": path_parameters(path),
        "responses": {
            "200": { "description": "Done" },
            "4XX": { "description": "Refused, in the form of the API that was called" },
            "5XX": { "description": "Failed, in the form of the API that was called" },
        },
    });
    if !other.open {
        operation["security"] = json!([{ "key": [] }]);
    }
    if other.method == "POST" {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": { "type": "object" } } } });
    }
    operation
}

fn body(fields: &[&Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = field.holds.schema();
        if !field.doc.is_empty() {
            schema["description"] = json!(field.doc);
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}
