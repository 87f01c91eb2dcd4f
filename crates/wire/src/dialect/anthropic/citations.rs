//! Anthropic citations as OpenAI annotations, and back.
//!
//! A web citation becomes a `url_citation`; what OpenAI has no member for (`cited_text`,
//! `encrypted_index`) stays beside the known ones. Citations of documents have no counterpart and travel
//! as they are.

use serde_json::{Map, Value, json};

/// The annotation for one citation of a text that spans characters `start..end` of the answer.
pub(super) fn annotation(citation: Value, start: usize, end: usize) -> Value {
    let is_web = citation.get("type").and_then(Value::as_str) == Some("web_search_result_location");
    let Value::Object(mut members) = citation else {
        return citation;
    };
    if !is_web {
        return Value::Object(members);
    }
    members.shift_remove("type");
    let mut inner = Map::new();
    inner.insert("start_index".to_owned(), json!(start));
    inner.insert("end_index".to_owned(), json!(end));
    inner.append(&mut members);
    json!({"type": "url_citation", "url_citation": inner})
}

/// The citation for an annotation; `None` for a kind without counterpart.
pub(super) fn citation(annotation: &Value) -> Option<Value> {
    match annotation.get("type").and_then(Value::as_str)? {
        "url_citation" => {
            // OpenAI responses has the members beside the type, chat completions in an object.
            let inner = annotation.get("url_citation").unwrap_or(annotation);
            Some(json!({
                "type": "web_search_result_location",
                "url": inner.get("url").and_then(Value::as_str).unwrap_or_default(),
                "title": inner.get("title").and_then(Value::as_str),
                "cited_text": inner.get("cited_text").and_then(Value::as_str).unwrap_or_default(),
                "encrypted_index": inner.get("encrypted_index").and_then(Value::as_str).unwrap_or_default(),
            }))
        }
        word if word.ends_with("_location") => Some(annotation.clone()),
        _ => None,
    }
}
