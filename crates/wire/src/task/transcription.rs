//! Speech → text, sent as a form.
//!
//! Source: OpenAI API reference, "Create transcription"; RFC 7578 for the form.

use bytes::Bytes;
use faregate_terms::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::{BadRequest, Dialect, Malformed, Route, Target};
use crate::json;

use super::openai_route;

/// An audio file with what the client says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The file's bytes.
    pub file: Bytes,
    /// Its name, whose ending tells the format.
    pub name: String,
    /// Its media type.
    pub kind: String,
    /// The other fields, in order; a list repeats its name.
    pub fields: Vec<(String, String)>,
}

impl Upload {
    /// The last value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The form with this model's name; its media type and its bytes. Fields named in `without` are left out.
    pub fn write(&self, model: &str, without: &[String]) -> (String, Vec<Bytes>) {
        let boundary = format!("faregate-{}", uuid::Uuid::new_v4().simple());
        let mut head = String::new();
        let kept = self.fields.iter().filter(|(name, _)| name != "model" && !without.contains(name));
        let fields = std::iter::once(("model", model))
            .chain(kept.map(|(name, value)| (name.as_str(), value.as_str())));
        for (name, value) in fields {
            head.push_str(&format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"\r\n\r\n{value}\r\n",
                quoted(name)
            ));
        }
        head.push_str(&format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{}\"\r\ncontent-type: {}\r\n\r\n",
            quoted(&self.name),
            self.kind.replace(['\r', '\n'], ""),
        ));
        let pieces =
            vec![Bytes::from(head), self.file.clone(), Bytes::from(format!("\r\n--{boundary}--\r\n"))];
        (format!("multipart/form-data; boundary={boundary}"), pieces)
    }
}

/// A name within quotes. Source: RFC 7578 §2, WHATWG "multipart/form-data encoding algorithm".
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// Checks what every provider wants.
///
/// # Errors
/// [`BadRequest`] naming the field that is missing.
pub fn check(upload: &Upload) -> Result<(), BadRequest> {
    if upload.file.is_empty() {
        return Err(BadRequest::new("file", "`file` is empty; send the audio as a form's file"));
    }
    Ok(())
}

/// What was used, from an answer in JSON. Texts and subtitles say nothing.
///
/// # Errors
/// [`Malformed`] if JSON was promised and is none.
pub fn glance(body: &[u8]) -> Result<Usage, Malformed> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
        duration: Option<f64>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Told {
        input_tokens: Option<u64>,
        output_tokens: Option<u64>,
        input_token_details: Details,
        seconds: Option<f64>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Details {
        audio_tokens: Option<u64>,
    }
    let answer: Answer<'_> = json::read_borrowed(body).map_err(Malformed)?;
    let told = answer.usage.filter(|told| told.get() != "null");
    let figures: Told = told.and_then(|told| json::read_str(told.get()).ok()).unwrap_or_default();
    Ok(Usage {
        input: figures.input_tokens.unwrap_or_default(),
        input_audio: figures.input_token_details.audio_tokens.unwrap_or_default(),
        output: figures.output_tokens.unwrap_or_default(),
        audio_ms: figures.seconds.or(answer.duration).map(millis).unwrap_or_default(),
        raw: told.map(|told| told.get().to_owned().into()).unwrap_or_default(),
        ..Usage::default()
    })
}

/// Whole milliseconds of a length in seconds; nothing of what is no length.
fn millis(seconds: f64) -> u64 {
    if seconds.is_finite() && seconds > 0.0 { (seconds * 1000.0).round() as u64 } else { 0 }
}

/// Where a target of this dialect transcribes; `None` if it does not.
pub fn route(dialect: Dialect, target: &Target<'_>) -> Option<Route> {
    (dialect == Dialect::OpenAiChat).then(|| openai_route(target, "audio/transcriptions"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_names_our_model_and_keeps_the_rest() {
        let upload = Upload {
            file: Bytes::from_static(b"RIFF"),
            name: "say \"hi\".wav".to_owned(),
            kind: "audio/wav".to_owned(),
            fields: vec![
                ("model".to_owned(), "group".to_owned()),
                ("language".to_owned(), "en".to_owned()),
                ("timestamp_granularities[]".to_owned(), "word".to_owned()),
                ("prompt".to_owned(), "x".to_owned()),
            ],
        };
        let (kind, pieces) = upload.write("whisper-1", &["prompt".to_owned()]);
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        let body = String::from_utf8(pieces.concat()).unwrap();
        let expected = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"language\"\r\n\r\nen\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"timestamp_granularities[]\"\r\n\r\nword\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"say %22hi%22.wav\"\r\n\
             content-type: audio/wav\r\n\r\nRIFF\r\n--{boundary}--\r\n"
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn figures_are_tokens_or_seconds() {
        let tokens = br#"{"text":"a","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,"total_tokens":59}}"#;
        let usage = glance(tokens).unwrap();
        assert_eq!((usage.input, usage.input_audio, usage.output, usage.audio_ms), (14, 14, 45, 0));
        let seconds = glance(br#"{"text":"a","usage":{"type":"duration","seconds":9}}"#).unwrap();
        assert_eq!((seconds.input, seconds.audio_ms), (0, 9000));
        assert_eq!(glance(br#"{"text":"a","duration":2.4567}"#).unwrap().audio_ms, 2457);
        assert_eq!(glance(br#"{"text":"a"}"#).unwrap().audio_ms, 0);
    }
}
