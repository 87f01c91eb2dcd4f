//! Body → [`Call`]: bounded, indexed, and read as far as routing needs.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use faregate_wire::dialect::{BadRequest, ClientDialect, Dialect, Edit, anthropic};
use faregate_wire::envelope::{Envelope, join};
use faregate_wire::json;
use faregate_wire::task::transcription::{self, Upload};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::call::{Arrival, BANNED_MEMBERS, Call, GATEWAY_MEMBERS, Options};
use crate::refusal::Refusal;
use crate::routes::Operation;
use crate::task::Task;

/// Bodies up to this size are copied out of the connection's buffer.
const SMALL: usize = 4096;
/// Fields of a form.
const MOST_FIELDS: usize = 128;

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413 beyond the limit, 400 if the client breaks off.
pub async fn body<B>(body: B, limit: usize) -> Result<Bytes, Refusal>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::TooLarge { limit });
    }
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or_default();
    let mut limited = Limited::new(body, limit);
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = limited.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Refusal::TooLarge { limit }
            } else {
                Refusal::BodyLost(error.to_string())
            }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        match &first {
            None => first = Some(data),
            Some(head) => {
                if rest.is_empty() {
                    rest.reserve(expected.max(head.len() + data.len()));
                    rest.extend_from_slice(head);
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    // A body that came in one piece is not copied, unless it is small: it would keep the connection's whole
    // buffer from being used again, for as long as its answer streams.
    Ok(match first {
        Some(body) if rest.is_empty() && body.len() <= SMALL => Bytes::copy_from_slice(&body),
        Some(body) if rest.is_empty() => body,
        _ => rest.freeze(),
    })
}

/// The dialect and codec of a route.
pub fn client_of(operation: Operation) -> Option<(Dialect, &'static dyn ClientDialect)> {
    let dialect = match operation {
        Operation::ChatCompletions
        | Operation::Embeddings
        | Operation::Rerank
        | Operation::Transcriptions => Dialect::OpenAiChat,
        Operation::TextCompletions => Dialect::OpenAiText,
        Operation::Responses => Dialect::OpenAiResponses,
        Operation::Messages | Operation::MessagesCountTokens => Dialect::Anthropic,
        Operation::Gemini => Dialect::Gemini,
        Operation::Converse | Operation::ConverseStream => Dialect::Bedrock,
        Operation::Invoke | Operation::InvokeStream => {
            return Some((Dialect::Anthropic, &anthropic::InvokeClient));
        }
        _ => return None,
    };
    Some((dialect, dialect.client()?))
}

/// Indexes the body and reads what routing needs.
///
/// # Errors
/// 400 naming what is missing or wrong.
pub fn decode(
    arrival: impl Into<Arc<Arrival>>,
    body: Bytes,
    allow_client_credentials: bool,
) -> Result<Call, Refusal> {
    let arrival: Arc<Arrival> = arrival.into();
    let operation = arrival.found.operation;
    let Some((dialect, client)) = client_of(operation) else {
        return Err(Refusal::NotImplemented(format!(
            "{} is not supported yet; chat completions, responses, messages and generateContent are",
            arrival.found.route
        )));
    };
    let envelope = Envelope::index(body)?;
    if !allow_client_credentials && let Some(banned) = envelope.members_among(BANNED_MEMBERS).next() {
        return Err(Refusal::BannedMember(banned.to_owned()));
    }
    let model = model(&arrival, &envelope)?;
    let stream = match operation {
        Operation::Gemini => arrival.found.verb.as_deref() == Some("streamGenerateContent"),
        Operation::ConverseStream | Operation::InvokeStream => true,
        Operation::Converse | Operation::Invoke | Operation::Embeddings | Operation::Rerank => false,
        _ => match envelope.raw("stream") {
            None | Some(b"false" | b"null") => false,
            Some(b"true") => true,
            Some(_) => return Err(BadRequest::new("stream", "`stream` must be true or false").into()),
        },
    };
    let include_usage = envelope
        .get::<serde_json::Map<String, serde_json::Value>>("stream_options")
        .and_then(|options| options.get("include_usage")?.as_bool())
        .unwrap_or(false);
    let options = Options::read(&envelope, &arrival.headers);
    let alt_sse =
        arrival.query.as_deref().is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
    required(operation, arrival.found.route, &envelope)?;
    let envelope = without_gateway_members(operation, envelope)?;
    let mut call =
        Call::new(arrival, dialect, client, envelope, model, stream, include_usage, options, alt_sse);
    call.task = Task::of(operation);
    Ok(call)
}

/// The body as a provider may see it.
///
/// OpenAI takes `metadata` only of stored completions, and LiteLLM's clients put tags and trace ids there,
/// so it goes on with `store: true` alone.
fn without_gateway_members(operation: Operation, envelope: Envelope) -> Result<Envelope, Refusal> {
    let mut edits: Vec<Edit> = envelope.members_among(GATEWAY_MEMBERS).map(Edit::Remove).collect();
    let is_ours = match operation {
        Operation::ChatCompletions => envelope.raw("store") != Some(b"true"),
        Operation::TextCompletions | Operation::Embeddings | Operation::Rerank => true,
        _ => false,
    };
    if is_ours && envelope.has("metadata") {
        edits.push(Edit::Remove("metadata"));
    }
    if edits.is_empty() {
        return Ok(envelope);
    }
    Ok(Envelope::index(join(envelope.spliced(&edits)))?)
}

fn model(arrival: &Arrival, envelope: &Envelope) -> Result<String, Refusal> {
    if let Some(model) = &arrival.found.subject {
        return Ok(model.clone());
    }
    let Some(raw) = envelope.raw("model") else {
        return Err(missing(arrival.found.route, "model"));
    };
    match serde_json::from_slice::<String>(raw) {
        Ok(model) if !model.trim().is_empty() => Ok(model),
        _ => Err(BadRequest::new("model", "`model` must be a non-empty string").into()),
    }
}

/// Members without which no dialect can go on; checked here so that they are named even on the byte path.
fn required(operation: Operation, route: &'static str, envelope: &Envelope) -> Result<(), Refusal> {
    let member = match operation {
        Operation::ChatCompletions | Operation::Messages | Operation::MessagesCountTokens => "messages",
        Operation::TextCompletions => "prompt",
        Operation::Responses => "input",
        Operation::Gemini => "contents",
        Operation::Converse | Operation::ConverseStream => "messages",
        Operation::Embeddings => "input",
        Operation::Rerank => "documents",
        _ => return Ok(()),
    };
    let has_stand_in = match operation {
        Operation::Responses => envelope.has("prompt"),
        Operation::Gemini => envelope.has("generateContentRequest"),
        _ => false,
    };
    match envelope.raw(member) {
        None if has_stand_in => Ok(()),
        None | Some(b"null") => Err(missing(route, member)),
        Some([b'[', ..]) => Ok(()),
        Some(_) if is_open(operation) => Ok(()),
        Some(_) => Err(BadRequest::new(member, format!("`{member}` must be an array")).into()),
    }
}

/// True if what is asked may stand there without a list around it.
fn is_open(operation: Operation) -> bool {
    use Operation::{Embeddings, Gemini, Responses, TextCompletions};
    matches!(operation, Responses | Gemini | TextCompletions | Embeddings)
}

fn missing(route: &str, member: &str) -> Refusal {
    BadRequest::new(member, format!("{route}: Missing required parameter: '{member}'.")).into()
}

/// Reads a form with an audio file. Its other fields stand in the call's body as JSON, the file by its hash.
///
/// # Errors
/// 400 naming the field that is missing or wrong.
pub async fn upload(arrival: Arc<Arrival>, body: Bytes) -> Result<Call, Refusal> {
    let kind = arrival.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|_| {
        let text =
            "send the audio as a form: content-type multipart/form-data with a boundary, and a field `file`";
        Refusal::Invalid(BadRequest::new("file", text))
    })?;
    let unreadable = |error: multer::Error| {
        Refusal::Invalid(BadRequest { param: None, message: format!("the form cannot be read: {error}") })
    };
    let mut form = multer::Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
    let mut upload =
        Upload { file: Bytes::new(), name: String::new(), kind: String::new(), fields: Vec::new() };
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" {
            upload.name = field.file_name().unwrap_or("audio").to_owned();
            upload.kind =
                field.content_type().map_or("application/octet-stream", |kind| kind.as_ref()).to_owned();
            upload.file = field.bytes().await.map_err(unreadable)?;
        } else {
            if upload.fields.len() == MOST_FIELDS {
                return Err(BadRequest::new(name, format!("a form has at most {MOST_FIELDS} fields")).into());
            }
            upload.fields.push((name, field.text().await.map_err(unreadable)?));
        }
    }
    transcription::check(&upload)?;
    if upload.field("stream").is_some_and(|stream| stream.eq_ignore_ascii_case("true")) {
        return Err(Refusal::NotImplemented(
            "transcriptions as a stream are not supported yet; leave `stream` out".to_owned(),
        ));
    }
    let mut call = decode(arrival, Bytes::from(json::write(&described(&upload))), false)?;
    upload.fields.retain(|(name, _)| !GATEWAY_MEMBERS.contains(&name.as_str()) && name != "metadata");
    call.task = Some(Task::Transcription(Arc::new(upload)));
    Ok(call)
}

/// The form as JSON: what looks like a number, a list or an object in a field of the gateway's is one.
fn described(upload: &Upload) -> Map<String, Value> {
    let mut members = Map::new();
    for (name, text) in &upload.fields {
        let is_ours = GATEWAY_MEMBERS.contains(&name.as_str()) || name == "metadata";
        let parsed = is_ours.then(|| serde_json::from_str(text).ok()).flatten();
        let value = parsed.unwrap_or_else(|| Value::from(text.as_str()));
        match members.get_mut(name) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => {
                members.insert(name.clone(), value);
            }
        }
    }
    let hash =
        Sha256::digest(&upload.file).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    members.insert("file".to_owned(), Value::from(hash));
    members
}
