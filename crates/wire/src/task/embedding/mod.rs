//! Texts → vectors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use faregate_terms::Usage;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::dialect::Dialect;
use crate::dialect::{BadRequest, Flavor, Losses, Malformed, Route, Target, Unsupported};
use crate::json;

mod bedrock;
mod cohere;
mod gemini;
mod ollama;
mod vertex;

#[cfg(test)]
mod tests;

/// What a client wants embedded. Source: OpenAI API reference, "Create embeddings"; `input_type` is Cohere's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EmbeddingRequest {
    /// The texts, in order.
    pub inputs: Vec<Input>,
    /// Length of the vectors.
    pub dimensions: Option<u64>,
    /// The vectors as base64 of little-endian 32-bit floats.
    pub base64: bool,
    /// What they are for: `search_query`, `search_document`, ...
    pub input_type: Option<String>,
    /// True for one text that came without a list.
    pub is_single: bool,
}

/// One thing to embed.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A text.
    Text(String),
    /// The same as tokens of OpenAI's vocabulary.
    Tokens(Vec<u32>),
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    input: Value,
    dimensions: Option<u64>,
    encoding_format: Option<String>,
    input_type: Option<String>,
}

impl EmbeddingRequest {
    /// Reads a client's body.
    ///
    /// # Errors
    /// [`BadRequest`] naming the member that cannot be read.
    pub fn read(body: &[u8]) -> Result<Self, BadRequest> {
        let body: Body = json::read(body).map_err(|error| BadRequest { param: None, message: error })?;
        let (inputs, is_single) = inputs(body.input)?;
        let base64 = match body.encoding_format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => {
                return Err(BadRequest::new("encoding_format", "`encoding_format` must be float or base64"));
            }
        };
        Ok(Self { inputs, dimensions: body.dimensions, base64, input_type: body.input_type, is_single })
    }
}

fn inputs(input: Value) -> Result<(Vec<Input>, bool), BadRequest> {
    let bad = |at: &str| {
        BadRequest::new(
            at,
            format!("`{at}` must be a string, a list of strings, or tokens as a list of integers"),
        )
    };
    match input {
        Value::String(text) => Ok((vec![Input::Text(text)], true)),
        Value::Array(items) if items.is_empty() => {
            Err(BadRequest::new("input", "`input` is empty; give a text"))
        }
        Value::Array(items) if items.iter().all(Value::is_u64) => {
            Ok((vec![Input::Tokens(tokens(&items).ok_or_else(|| bad("input"))?)], true))
        }
        Value::Array(items) => {
            let read = |(index, item): (usize, Value)| match item {
                Value::String(text) => Ok(Input::Text(text)),
                Value::Array(items) => {
                    tokens(&items).map(Input::Tokens).ok_or_else(|| bad(&format!("input[{index}]")))
                }
                _ => Err(bad(&format!("input[{index}]"))),
            };
            Ok((items.into_iter().enumerate().map(read).collect::<Result<_, _>>()?, false))
        }
        _ => Err(bad("input")),
    }
}

fn tokens(items: &[Value]) -> Option<Vec<u32>> {
    items.iter().map(|item| u32::try_from(item.as_u64()?).ok()).collect()
}

/// The texts of some inputs.
///
/// # Errors
/// [`Unsupported`] for tokens, which only OpenAI's models understand.
pub(crate) fn texts(inputs: &[Input]) -> Result<Vec<&str>, Unsupported> {
    let text = |input: &'_ Input| match input {
        Input::Text(_) => None,
        Input::Tokens(_) => Some(()),
    };
    if inputs.iter().any(|input| text(input).is_some()) {
        return Err(Unsupported::new(
            "input",
            "tokens mean something to OpenAI's models only; send the text",
        ));
    }
    Ok(inputs
        .iter()
        .filter_map(|input| match input {
            Input::Text(text) => Some(text.as_str()),
            Input::Tokens(_) => None,
        })
        .collect())
}

/// Vectors in the order of their inputs, each as the JSON it came in: a list of numbers, or base64 text.
#[derive(Debug, Clone, Default)]
pub struct Embeddings {
    /// The vectors.
    pub vectors: Vec<Box<RawValue>>,
    /// What was used.
    pub usage: Usage,
    /// The provider's id of the answer; empty if it gave none.
    pub id: String,
}

/// An answer in OpenAI's shape, as far as it is read.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    data: Vec<Row<'a>>,
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Row<'a> {
    index: Option<usize>,
    #[serde(borrow)]
    embedding: &'a RawValue,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Figures {
    prompt_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

/// Usage of an answer in OpenAI's shape, in its own words; some providers tell the total only.
fn usage(told: Option<&RawValue>) -> Usage {
    let Some(told) = told.filter(|told| told.get() != "null") else { return Usage::default() };
    let figures: Figures = json::read_str(told.get()).unwrap_or_default();
    let input = figures.prompt_tokens.or(figures.total_tokens).unwrap_or_default();
    Usage { input, raw: told.get().to_owned().into(), ..Usage::default() }
}

impl Embeddings {
    /// Reads an answer in OpenAI's shape.
    ///
    /// # Errors
    /// [`Malformed`] if it holds no vectors.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let answer: Answer<'_> = json::read_borrowed(body).map_err(Malformed)?;
        if answer.data.is_empty() {
            return Err(Malformed("no `data`".to_owned()));
        }
        let mut rows = answer.data;
        rows.sort_by_key(|row| row.index.unwrap_or_default());
        let vectors = rows.into_iter().map(|row| row.embedding.to_owned()).collect();
        Ok(Self { vectors, usage: usage(answer.usage), id: String::new() })
    }

    /// The answer in OpenAI's shape. `base64` if the client wants it so.
    pub fn write(&self, model: &str, base64: bool) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(256 + self.vectors.iter().map(|it| it.get().len() + 48).sum::<usize>());
        out.extend_from_slice(br#"{"object":"list","data":["#);
        for (index, vector) in self.vectors.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(
                format!(r#"{{"object":"embedding","index":{index},"embedding":"#).as_bytes(),
            );
            match base64.then(|| packed(vector)).flatten() {
                Some(text) => json::write_into(&text, &mut out),
                None => out.extend_from_slice(vector.get().as_bytes()),
            }
            out.push(b'}');
        }
        out.extend_from_slice(br#"],"model":"#);
        json::write_into(model, &mut out);
        let tokens = self.usage.input;
        out.extend_from_slice(
            format!(r#","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#).as_bytes(),
        );
        out
    }

    /// The vectors as numbers.
    ///
    /// # Errors
    /// [`Malformed`] if one is neither a list of numbers nor base64.
    pub fn numbers(&self) -> Result<Vec<Vec<f32>>, Malformed> {
        self.vectors.iter().map(|vector| numbers(vector)).collect()
    }
}

/// What the receipt needs of an answer in OpenAI's shape that is forwarded as it is.
///
/// # Errors
/// [`Malformed`] if it is no such answer.
pub fn glance(body: &[u8]) -> Result<Usage, Malformed> {
    #[derive(Deserialize)]
    struct Seen<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    let seen: Seen<'_> = json::read_borrowed(body).map_err(Malformed)?;
    if seen.data.is_none() {
        return Err(Malformed("no `data`".to_owned()));
    }
    Ok(usage(seen.usage))
}

fn numbers(vector: &RawValue) -> Result<Vec<f32>, Malformed> {
    let bad = || Malformed("a vector is neither a list of numbers nor base64".to_owned());
    if !vector.get().starts_with('"') {
        return json::read_str(vector.get()).map_err(|_| bad());
    }
    let text: String = json::read_str(vector.get()).map_err(|_| bad())?;
    let bytes = STANDARD.decode(text).map_err(|_| bad())?;
    let (floats, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(bad());
    }
    Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// A list of numbers as base64; `None` for what is base64 already.
fn packed(vector: &RawValue) -> Option<String> {
    let floats: Vec<f32> = json::read_str(vector.get()).ok()?;
    let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
    Some(STANDARD.encode(bytes))
}

/// The provider side of one format.
pub trait EmbeddingCodec: Send + Sync {
    /// Where requests go.
    fn route(&self, target: &Target<'_>) -> Route;

    /// True if the client's own bytes go through, and the answer's come back.
    fn is_clients_own(&self) -> bool {
        false
    }

    /// Inputs that one call takes at most; more are sent in several calls.
    fn most_inputs(&self, _target: &Target<'_>) -> usize {
        usize::MAX
    }

    /// Renders the call for some of a request's inputs.
    ///
    /// # Errors
    /// [`Unsupported`] naming what cannot be expressed.
    fn body(
        &self,
        request: &EmbeddingRequest,
        inputs: &[Input],
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported>;

    /// Reads a complete 2xx answer.
    ///
    /// # Errors
    /// [`Malformed`] if it is not what the format promises.
    fn read(&self, target: &Target<'_>, body: &[u8]) -> Result<Embeddings, Malformed>;
}

/// The codec for a target of this dialect; `None` if it has none.
pub fn codec(dialect: Dialect, target: &Target<'_>) -> Option<&'static dyn EmbeddingCodec> {
    Some(match dialect {
        Dialect::OpenAiChat => &OpenAi,
        Dialect::Cohere => &cohere::Cohere,
        Dialect::Gemini if matches!(target.flavor, Flavor::Vertex { .. }) => &vertex::Vertex,
        Dialect::Gemini => &gemini::Gemini,
        Dialect::Bedrock if target.model.contains("cohere") => &bedrock::Cohere,
        Dialect::Bedrock if target.model.contains("titan") => &bedrock::Titan,
        Dialect::Ollama => &ollama::Ollama,
        _ => return None,
    })
}

/// OpenAI's own format, and everything compatible.
struct OpenAi;

impl EmbeddingCodec for OpenAi {
    fn route(&self, target: &Target<'_>) -> Route {
        super::openai_route(target, "embeddings")
    }

    fn is_clients_own(&self) -> bool {
        true
    }

    fn body(
        &self,
        request: &EmbeddingRequest,
        inputs: &[Input],
        target: &Target<'_>,
        _losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        let mut body = serde_json::Map::new();
        body.insert("model".to_owned(), target.model.into());
        let inputs: Vec<Value> = inputs
            .iter()
            .map(|input| match input {
                Input::Text(text) => text.as_str().into(),
                Input::Tokens(tokens) => tokens.as_slice().into(),
            })
            .collect();
        body.insert("input".to_owned(), inputs.into());
        if let Some(dimensions) = request.dimensions {
            body.insert("dimensions".to_owned(), dimensions.into());
        }
        if request.base64 {
            body.insert("encoding_format".to_owned(), "base64".into());
        }
        Ok(json::write(&body))
    }

    fn read(&self, _target: &Target<'_>, body: &[u8]) -> Result<Embeddings, Malformed> {
        Embeddings::read(body)
    }
}

/// Lists of numbers as they came.
fn as_came(vectors: Vec<&RawValue>) -> Result<Vec<Box<RawValue>>, Malformed> {
    if vectors.is_empty() {
        return Err(Malformed("no vectors".to_owned()));
    }
    Ok(vectors.into_iter().map(RawValue::to_owned).collect())
}

/// Vectors put together from numbers.
pub fn raw(vector: &[f64]) -> Box<RawValue> {
    to_raw_value(vector).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
