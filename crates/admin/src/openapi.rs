//! The OpenAPI document, made from the route table.

use serde_json::{Map, Value, json};

use crate::fields::Field;
use crate::roles::Gate;
use crate::routes::{self, Route};

/// The document, OpenAPI 3.1.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all() {
        for path in route.paths {
            let entry = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
            entry[route.method.to_ascii_lowercase()] = operation(route, path);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Faregate management API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Keys, teams, people, budgets and spend. The same calls as the LiteLLM proxy's.",
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
    })
}

fn operation(route: &Route, path: &str) -> Value {
    let mut parameters: Vec<Value> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
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
        "operationId": format!("{}{}", route.method.to_ascii_lowercase(), path.replace(['/', '{', '}', '-'], "_")),
        "tags": [path.split('/').nth(1).filter(|word| !word.is_empty()).unwrap_or("gateway")],
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done", "content": { "application/json": { "schema": {} } } },
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
