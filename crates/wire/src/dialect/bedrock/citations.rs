//! Bedrock citations as OpenAI annotations, and back.
//!
//! A citation of a web page becomes a `url_citation`. Citations of documents have no counterpart there and
//! travel as they are, marked by their type.

use serde_json::{Map, Value, json};

/// The type of an annotation that holds a Bedrock citation as it came.
const KIND: &str = "bedrock_citation";

/// The annotation for one citation of a text that spans characters `start..end` of the answer.
pub(super) fn annotation(citation: &Value, start: usize, end: usize) -> Value {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let web = citation.pointer("/location/web");
    let Some(url) = web.and_then(|web| text(web, "url")) else {
        let mut members = citation.as_object().cloned().unwrap_or_default();
        members.insert("type".to_owned(), json!(KIND));
        return Value::Object(members);
    };
    let mut inner = Map::new();
    inner.insert("url".to_owned(), json!(url));
    inner.insert("title".to_owned(), json!(text(citation, "title").unwrap_or_default()));
    inner.insert("start_index".to_owned(), json!(start));
    inner.insert("end_index".to_owned(), json!(end));
    if let Some(cited) = citation.pointer("/sourceContent/0/text") {
        inner.insert("cited_text".to_owned(), cited.clone());
    }
    json!({"type": "url_citation", "url_citation": inner})
}

/// The citation for an annotation; `None` for a kind without counterpart.
pub(super) fn citation(annotation: &Value) -> Option<Value> {
    match annotation.get("type").and_then(Value::as_str)? {
        "url_citation" => {
            // OpenAI responses has the members beside the type, chat completions in an object.
            let inner = annotation.get("url_citation").unwrap_or(annotation);
            let mut out = json!({"location": {"web": {"url": inner.get("url").and_then(Value::as_str).unwrap_or_default()}}});
            if let Some(title) = inner.get("title").filter(|title| title.is_string()) {
                out["title"] = title.clone();
            }
            if let Some(cited) = inner.get("cited_text").filter(|text| text.is_string()) {
                out["sourceContent"] = json!([{"text": cited}]);
            }
            Some(out)
        }
        KIND => {
            let mut members = annotation.as_object()?.clone();
            members.shift_remove("type");
            Some(Value::Object(members))
        }
        _ => None,
    }
}
