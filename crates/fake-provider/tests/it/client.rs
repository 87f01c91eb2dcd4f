//! A small HTTP client and the request of each dialect.

use bytes::Bytes;
use faregate_fake_provider::FakeProvider;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// A complete answer; `body` is `Err` with what came if the connection broke.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Result<Bytes, Bytes>,
}

impl Answer {
    pub fn text(&self) -> String {
        let (Ok(body) | Err(body)) = &self.body;
        String::from_utf8_lossy(body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The JSON of each `data:` line.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

/// A request with the headers every dialect takes for its credential.
pub fn request(fake: &FakeProvider, method: &str, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("{}{path}", fake.url()))
        .header("authorization", "Bearer sk-test-1234")
        .header("x-api-key", "sk-ant-test-1234")
        .header("x-goog-api-key", "AIza-test-1234")
        .header("anthropic-version", "2023-06-01")
        .body(Full::new(body))
        .unwrap()
}

/// Sends and reads the head only.
pub async fn open(request: Request<Full<Bytes>>) -> http::Response<Incoming> {
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

/// Sends and reads everything.
pub async fn send(request: Request<Full<Bytes>>) -> Answer {
    let (head, mut body) = open(request).await.into_parts();
    let mut bytes = Vec::new();
    let mut broken = false;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                bytes.extend_from_slice(frame.data_ref().map(|data| data.as_ref()).unwrap_or_default())
            }
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    let bytes = Bytes::from(bytes);
    Answer { status: head.status, headers: head.headers, body: if broken { Err(bytes) } else { Ok(bytes) } }
}

pub async fn post(fake: &FakeProvider, path: &str, body: &Value) -> Answer {
    send(request(fake, "POST", path, Bytes::from(body.to_string()))).await
}

/// The dialects that answer a POST with the generation itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Chat,
    Azure,
    Responses,
    Anthropic,
    Gemini,
    Vertex,
    VertexAnthropic,
    Converse,
    Cohere,
    Ollama,
}

pub const ALL: [Wire; 10] = [
    Wire::Chat,
    Wire::Azure,
    Wire::Responses,
    Wire::Anthropic,
    Wire::Gemini,
    Wire::Vertex,
    Wire::VertexAnthropic,
    Wire::Converse,
    Wire::Cohere,
    Wire::Ollama,
];

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

impl Wire {
    pub fn path(self, model: &str, stream: bool) -> String {
        let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
        match self {
            Self::Chat => "/v1/chat/completions".into(),
            Self::Azure => format!("/openai/deployments/{model}/chat/completions?api-version=2024-10-21"),
            Self::Responses => "/v1/responses".into(),
            Self::Anthropic => "/v1/messages".into(),
            Self::Gemini => format!("/v1beta/models/{model}:{verb}"),
            Self::Vertex => format!("/v1/projects/p/locations/l/publishers/google/models/{model}:{verb}"),
            Self::VertexAnthropic => {
                let verb = if stream { "streamRawPredict" } else { "rawPredict" };
                format!("/v1/projects/p/locations/l/publishers/anthropic/models/{model}:{verb}")
            }
            Self::Converse => format!("/model/{model}/converse{}", if stream { "-stream" } else { "" }),
            Self::Cohere => "/v2/chat".into(),
            Self::Ollama => "/api/chat".into(),
        }
    }

    pub fn body(self, model: &str, text: &str, stream: bool) -> Value {
        let messages = json!([{"role": "user", "content": text}]);
        match self {
            Self::Chat | Self::Azure | Self::Cohere | Self::Ollama => {
                json!({"model": model, "messages": messages, "stream": stream})
            }
            Self::Responses => json!({"model": model, "input": text, "stream": stream}),
            Self::Anthropic => {
                json!({"model": model, "messages": messages, "max_tokens": 500, "stream": stream})
            }
            Self::VertexAnthropic => {
                json!({"anthropic_version": "vertex-2023-10-16", "messages": messages, "max_tokens": 500, "stream": stream})
            }
            Self::Gemini | Self::Vertex => json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}),
            Self::Converse => json!({"messages": [{"role": "user", "content": [{"text": text}]}]}),
        }
    }

    /// Declares two tools, `get_weather` and `get_time`.
    pub fn with_tools(self, mut body: Value) -> Value {
        let names = ["get_weather", "get_time"];
        let openai =
            names.map(|name| json!({"type": "function", "function": {"name": name, "parameters": schema()}}));
        let flat = names.map(|name| json!({"type": "function", "name": name, "parameters": schema()}));
        let claude = names.map(|name| json!({"name": name, "input_schema": schema()}));
        let gemini = names.map(|name| json!({"name": name, "parameters": schema()}));
        let spec = names.map(|name| json!({"toolSpec": {"name": name, "inputSchema": {"json": schema()}}}));
        match self {
            Self::Chat | Self::Azure | Self::Cohere | Self::Ollama => body["tools"] = json!(openai),
            Self::Responses => body["tools"] = json!(flat),
            Self::Anthropic | Self::VertexAnthropic => body["tools"] = json!(claude),
            Self::Gemini | Self::Vertex => body["tools"] = json!([{"functionDeclarations": gemini}]),
            Self::Converse => body["toolConfig"] = json!({"tools": spec}),
        }
        body
    }

    /// All answer text of a complete answer.
    pub fn answer_text(self, answer: &Value) -> String {
        let of = |parts: &Value, member: &str| -> String {
            let parts = parts.as_array().into_iter().flatten();
            parts.filter(|part| part["thought"] != true).filter_map(|part| part[member].as_str()).collect()
        };
        match self {
            Self::Chat | Self::Azure => {
                answer["choices"][0]["message"]["content"].as_str().unwrap_or_default().into()
            }
            Self::Responses => {
                let items = answer["output"].as_array().into_iter().flatten();
                items.map(|item| of(&item["content"], "text")).collect()
            }
            Self::Anthropic | Self::VertexAnthropic => of(&answer["content"], "text"),
            Self::Gemini | Self::Vertex => of(&answer["candidates"][0]["content"]["parts"], "text"),
            Self::Converse => of(&answer["output"]["message"]["content"], "text"),
            Self::Cohere => of(&answer["message"]["content"], "text"),
            Self::Ollama => answer["message"]["content"].as_str().unwrap_or_default().into(),
        }
    }

    /// Names of the tools called by a complete answer.
    pub fn called(self, answer: &Value) -> Vec<String> {
        let (list, at) = match self {
            Self::Chat | Self::Azure => (&answer["choices"][0]["message"]["tool_calls"], "/function/name"),
            Self::Responses => (&answer["output"], "/name"),
            Self::Anthropic | Self::VertexAnthropic => (&answer["content"], "/name"),
            Self::Gemini | Self::Vertex => {
                (&answer["candidates"][0]["content"]["parts"], "/functionCall/name")
            }
            Self::Converse => (&answer["output"]["message"]["content"], "/toolUse/name"),
            Self::Cohere | Self::Ollama => (&answer["message"]["tool_calls"], "/function/name"),
        };
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|item| item.pointer(at)?.as_str().map(str::to_owned)).collect()
    }

    pub async fn ask(self, fake: &FakeProvider, model: &str, text: &str, stream: bool) -> Answer {
        post(fake, &self.path(model, stream), &self.body(model, text, stream)).await
    }
}
