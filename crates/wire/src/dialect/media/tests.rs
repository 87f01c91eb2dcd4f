//! Inline data that is none is refused where it stands, whatever dialect it came in.

use serde_json::{Value, json};

use super::flaw;
use crate::dialect::{ClientCall, Dialect};

#[test]
fn inline_data_must_be_base64_of_something() {
    for fine in ["QQ==", "QQ", "QUI=", "QUJD", "-_+/", "QUJD\r\nQUJD\n"] {
        assert_eq!(flaw(fine), None, "{fine:?}");
    }
    for bad in ["", "  ", "=", "QUJDQ", "QQ==QQ==", "{}", "Zürich"] {
        assert!(flaw(bad).is_some(), "{bad:?}");
    }
}

#[test]
fn every_client_dialect_names_the_member_whose_data_is_not_base64() {
    let url = |data: &str| format!("data:image/png;base64,{data}");
    let chat = |part: Value| json!({"model": "m", "messages": [{"role": "user", "content": [part]}]});
    let responses = |part: Value| json!({"model": "m", "input": [{"role": "user", "content": [part]}]});
    let gemini = |part: Value| json!({"contents": [{"role": "user", "parts": [part]}]});
    let cases = |data: &str| {
        let source = json!({"type": "base64", "media_type": "image/png", "data": data});
        let result = json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": source}]});
        let converse = json!({"format": "png", "source": {"bytes": data}});
        let document = json!({"format": "pdf", "name": "d", "source": {"bytes": data}});
        [
            (
                Dialect::OpenAiChat,
                chat(json!({"type": "image_url", "image_url": {"url": url(data)}})),
                "messages[0].content[0].image_url.url",
            ),
            (
                Dialect::OpenAiChat,
                chat(json!({"type": "image_url", "image_url": url(data)})),
                "messages[0].content[0].image_url",
            ),
            (
                Dialect::OpenAiChat,
                chat(json!({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})),
                "messages[0].content[0].input_audio.data",
            ),
            (
                Dialect::OpenAiChat,
                chat(json!({"type": "file", "file": {"file_data": data}})),
                "messages[0].content[0].file.file_data",
            ),
            (
                Dialect::OpenAiChat,
                chat(json!({"type": "file", "file": {"file_data": url(data)}})),
                "messages[0].content[0].file.file_data",
            ),
            (
                Dialect::OpenAiResponses,
                responses(json!({"type": "input_image", "image_url": url(data)})),
                "input[0].content[0].image_url",
            ),
            (
                Dialect::OpenAiResponses,
                responses(json!({"type": "input_file", "file_data": data})),
                "input[0].content[0].file_data",
            ),
            (
                Dialect::OpenAiResponses,
                responses(json!({"type": "input_audio", "input_audio": {"data": data}})),
                "input[0].content[0].input_audio.data",
            ),
            (
                Dialect::Anthropic,
                chat(json!({"type": "image", "source": source})),
                "messages[0].content[0].source.data",
            ),
            (
                Dialect::Anthropic,
                chat(json!({"type": "document", "source": source})),
                "messages[0].content[0].source.data",
            ),
            (Dialect::Anthropic, chat(result), "messages[0].content[0].content[0].source.data"),
            (
                Dialect::Gemini,
                gemini(json!({"inlineData": {"mimeType": "audio/wav", "data": data}})),
                "contents[0].parts[0].inlineData.data",
            ),
            (Dialect::Bedrock, chat(json!({"image": converse})), "messages[0].content[0].image.source.bytes"),
            (
                Dialect::Bedrock,
                chat(json!({"document": document})),
                "messages[0].content[0].document.source.bytes",
            ),
        ]
    };
    let call = ClientCall { path_model: Some("m"), ..ClientCall::default() };
    for (dialect, body, at) in cases("not base64!") {
        let refused = dialect.client().unwrap().decode(&crate::json::write(&body), &call).unwrap_err();
        assert_eq!(refused.param.as_deref(), Some(at), "{dialect:?}: {}", refused.message);
        assert!(
            refused.message.starts_with(at) && refused.message.contains("encode the bytes"),
            "{dialect:?}"
        );
    }
    for (dialect, body, at) in cases("QUJD") {
        let read = dialect.client().unwrap().decode(&crate::json::write(&body), &call);
        assert!(read.is_ok(), "{dialect:?} {at}: {read:?}");
    }
}
