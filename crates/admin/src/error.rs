//! What a management call is refused for. Source of the shapes: compat, endpoints §0.3 and behaviour §3.

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::routes::Answer;

/// A refusal, in one of LiteLLM's three forms.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminError {
    /// HTTP status.
    pub status: u16,
    /// What is wrong, and what to do.
    pub message: String,
    form: Form,
    headers: Vec<(http::HeaderName, String)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    /// `{"error": {"message", "type", "param", "code"}}`
    Error { kind: &'static str, param: Option<String> },
    /// `{"detail": "..."}`
    Detail,
    /// `{"detail": [{"type", "loc", "msg"}]}`
    Fields(Vec<Value>),
}

impl AdminError {
    /// The usual form.
    pub fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), form: Form::Error { kind, param: None }, headers: Vec::new() }
    }

    /// 400 about one field.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(400, "bad_request_error", message);
        error.form =
            Form::Error { kind: "bad_request_error", param: (!field.is_empty()).then(|| field.to_owned()) };
        error
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "not_found_error", message)
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "auth_error", message)
    }

    /// 401.
    pub fn unauthorized(kind: &'static str, message: impl Into<String>) -> Self {
        Self::new(401, kind, message)
    }

    /// Names the field at fault.
    #[must_use]
    pub fn about(mut self, param: &str) -> Self {
        if let Form::Error { param: field, .. } = &mut self.form {
            *field = Some(param.to_owned());
        }
        self
    }

    /// 422 with one entry per field: its place, a word for what is wrong, and a sentence.
    pub fn fields(problems: Vec<(Vec<&str>, &'static str, String)>) -> Self {
        let message = problems.iter().map(|(_, _, text)| text.as_str()).collect::<Vec<_>>().join("; ");
        let detail = problems
            .into_iter()
            .map(|(place, kind, text)| json!({ "type": kind, "loc": place, "msg": text }))
            .collect();
        Self { status: 422, message, form: Form::Fields(detail), headers: Vec::new() }
    }

    /// 405.
    pub fn wrong_method(allowed: &[&str]) -> Self {
        let headers = vec![(ALLOW, allowed.join(", "))];
        Self { status: 405, message: "Method Not Allowed".to_owned(), form: Form::Detail, headers }
    }

    /// 404 for a path nobody serves.
    pub fn unknown_path() -> Self {
        Self { status: 404, message: "Not Found".to_owned(), form: Form::Detail, headers: Vec::new() }
    }

    pub(crate) fn answer(&self) -> Answer {
        let body = match &self.form {
            Form::Error { kind, param } => json!({
                "error": {
                    "message": self.message, "type": kind, "param": param, "code": self.status.to_string(),
                }
            }),
            Form::Detail => json!({ "detail": self.message }),
            Form::Fields(detail) => json!({ "detail": detail }),
        };
        let headers = self
            .headers
            .iter()
            .filter_map(|(name, value)| HeaderValue::from_str(value).ok().map(|value| (name.clone(), value)));
        Answer {
            status: self.status,
            kind: "application/json",
            body: Bytes::from(body.to_string()),
            headers: headers.collect::<HeaderMap>(),
        }
    }
}
