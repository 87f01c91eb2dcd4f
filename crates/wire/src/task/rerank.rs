//! Documents → the same by relevance to a query.
//!
//! Source: Cohere API reference, "Rerank (v2)"; Jina, Together, Voyage, vLLM and others serve the same shape with
//! small differences, all of which are read.

use faregate_terms::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::dialect::{BadRequest, Dialect, Malformed, Route, Target};
use crate::json;

use super::{openai_route, whole};

/// What a client wants ranked.
#[derive(Debug, Clone, PartialEq)]
pub struct RerankRequest {
    /// The documents: texts, or objects with a `text`.
    pub documents: Vec<Value>,
    /// Documents in the answer.
    pub return_documents: bool,
}

impl RerankRequest {
    /// Reads a client's body.
    ///
    /// # Errors
    /// [`BadRequest`] naming the member that cannot be read.
    pub fn read(body: &[u8]) -> Result<Self, BadRequest> {
        #[derive(Deserialize)]
        struct Body {
            query: Option<Value>,
            documents: Option<Value>,
            return_documents: Option<bool>,
        }
        let body: Body = json::read(body).map_err(|error| BadRequest { param: None, message: error })?;
        if !body.query.is_some_and(|query| query.is_string()) {
            return Err(BadRequest::new("query", "`query` must be a string"));
        }
        let Some(Value::Array(documents)) = body.documents else {
            return Err(BadRequest::new("documents", "`documents` must be a list of strings or objects"));
        };
        if documents.is_empty() {
            return Err(BadRequest::new("documents", "`documents` is empty; give what is to be ranked"));
        }
        if let Some(at) = documents.iter().position(|it| !(it.is_string() || it.is_object())) {
            let at = format!("documents[{at}]");
            return Err(BadRequest::new(at.clone(), format!("`{at}` must be a string or an object")));
        }
        Ok(Self { documents, return_documents: body.return_documents.unwrap_or(false) })
    }
}

/// One place of the ranking.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    index: usize,
    score: Value,
    document: Option<Value>,
}

/// A ranking, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    places: Vec<Place>,
    /// The provider's id of the answer; empty if it gave none.
    pub id: String,
    /// What was used.
    pub usage: Usage,
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<String>,
    results: Option<Vec<Row>>,
    /// Voyage's name of the same.
    data: Option<Vec<Row>>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Row {
    index: usize,
    relevance_score: Value,
    document: Option<Value>,
}

/// `meta` of Cohere, `usage` of the others.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    billed_units: Option<Units>,
    tokens: Option<Tokens>,
    total_tokens: Option<u64>,
    prompt_tokens: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Units {
    search_units: Option<u64>,
    total_tokens: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tokens {
    input_tokens: Option<u64>,
}

impl Ranking {
    /// Reads a provider's answer. One that does not say what it used made one search.
    ///
    /// # Errors
    /// [`Malformed`] if it holds no ranking.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let answer: Answer<'_> = json::read_borrowed(body).map_err(Malformed)?;
        let rows = answer.results.or(answer.data).ok_or_else(|| Malformed("no `results`".to_owned()))?;
        let told = answer.meta.or(answer.usage).filter(|told| told.get() != "null");
        let figures: Told = told.and_then(|told| json::read_str(told.get()).ok()).unwrap_or_default();
        let units = figures.billed_units.unwrap_or_default();
        let tokens = figures
            .tokens
            .and_then(|tokens| tokens.input_tokens)
            .or(units.total_tokens)
            .or(figures.prompt_tokens)
            .or(figures.total_tokens);
        let usage = Usage {
            input: tokens.unwrap_or_default(),
            queries: units.search_units.unwrap_or(1),
            raw: told.map(|told| told.get().to_owned().into()).unwrap_or_default(),
            ..Usage::default()
        };
        let places = rows
            .into_iter()
            .map(|row| Place { index: row.index, score: row.relevance_score, document: row.document })
            .collect();
        Ok(Self { places, id: answer.id.unwrap_or_default(), usage })
    }

    /// The answer in Cohere's shape; documents that a provider left out come from the request.
    pub fn write(&self, request: &RerankRequest, id: &str) -> Vec<u8> {
        let place = |place: &Place| {
            let mut row = json!({"index": place.index, "relevance_score": place.score});
            if request.return_documents {
                let document = place.document.as_ref().or_else(|| request.documents.get(place.index));
                if let Some(document) = document {
                    row["document"] = match document {
                        Value::String(text) => json!({"text": text}),
                        other => other.clone(),
                    };
                }
            }
            row
        };
        let results: Vec<Value> = self.places.iter().map(place).collect();
        let id = if self.id.is_empty() { id } else { &self.id };
        let mut units = Map::new();
        units.insert("search_units".to_owned(), self.usage.queries.into());
        if self.usage.input > 0 {
            units.insert("total_tokens".to_owned(), self.usage.input.into());
        }
        let meta =
            json!({"billed_units": units, "tokens": {"input_tokens": self.usage.input, "output_tokens": 0}});
        json::write(&json!({"id": id, "results": results, "meta": meta}))
    }
}

/// Where a target of this dialect ranks; `None` if it does not.
pub fn route(dialect: Dialect, target: &Target<'_>) -> Option<Route> {
    match dialect {
        Dialect::Cohere => Some(whole("/v2/rerank".to_owned())),
        Dialect::OpenAiChat => Some(openai_route(target, "rerank")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(return_documents: bool) -> RerankRequest {
        RerankRequest { documents: vec!["one".into(), json!({"text": "two"})], return_documents }
    }

    #[test]
    fn each_providers_figures_are_understood() {
        for (body, input, queries) in [
            (r#"{"results":[],"meta":{"billed_units":{"search_units":2}}}"#, 0, 2),
            (r#"{"results":[],"usage":{"total_tokens":7}}"#, 7, 1),
            (r#"{"data":[],"usage":{"total_tokens":9}}"#, 9, 1),
            (r#"{"results":[],"meta":{"tokens":{"input_tokens":4}}}"#, 4, 1),
            (r#"{"results":[]}"#, 0, 1),
        ] {
            let usage = Ranking::read(body.as_bytes()).unwrap().usage;
            assert_eq!((usage.input, usage.queries), (input, queries), "{body}");
        }
        assert!(Ranking::read(br#"{"message":"x"}"#).is_err());
    }

    #[test]
    fn documents_come_back_if_wanted_and_only_then() {
        let ranking = Ranking::read(
            br#"{"id":"r","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}]}"#,
        )
        .unwrap();
        let written: Value = json::read(&ranking.write(&request(true), "ours")).unwrap();
        assert_eq!(written["id"], "r");
        assert_eq!(
            written["results"][0],
            json!({"index": 1, "relevance_score": 0.9, "document": {"text": "two"}})
        );
        assert_eq!(written["results"][1]["document"], json!({"text": "one"}));
        let written: Value = json::read(&ranking.write(&request(false), "ours")).unwrap();
        assert_eq!(written["results"][0], json!({"index": 1, "relevance_score": 0.9}));
    }

    #[test]
    fn a_bad_member_is_named() {
        for (body, param) in [
            (r#"{"documents":["a"]}"#, "query"),
            (r#"{"query":"q"}"#, "documents"),
            (r#"{"query":"q","documents":[]}"#, "documents"),
            (r#"{"query":"q","documents":["a",1]}"#, "documents[1]"),
        ] {
            assert_eq!(
                RerankRequest::read(body.as_bytes()).unwrap_err().param.as_deref(),
                Some(param),
                "{body}"
            );
        }
    }
}
