//! Signatures by the official signer, checked by our own computation; event-stream messages with their checksums.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use bytes::Bytes;
use faregate_fake_provider::FakeProvider;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::client::{Answer, Wire, send};

struct Signer {
    key: &'static str,
    secret: &'static str,
    token: Option<&'static str>,
    service: &'static str,
    time: SystemTime,
}

impl Signer {
    fn good() -> Self {
        Self {
            key: "AKIDFAKEPROVIDER",
            secret: "fake-secret-key",
            token: None,
            service: "bedrock",
            time: SystemTime::now(),
        }
    }

    /// Signs `signed` but sends `sent`.
    async fn post(&self, fake: &FakeProvider, path: &str, signed: &Value, sent: &Value) -> Answer {
        let url = format!("{}{path}", fake.url());
        let token = self.token.map(str::to_owned);
        let identity = Credentials::new(self.key, self.secret, token, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("eu-west-1")
            .name(self.service)
            .time(self.time)
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        let host = fake.address().to_string();
        let headers = [("host", host.as_str()), ("content-type", "application/json")];
        let text = signed.to_string();
        let body = SignableBody::Bytes(text.as_bytes());
        let signable = SignableRequest::new("POST", &url, headers.into_iter(), body).unwrap();
        let (instructions, _) = sign(signable, &params.into()).unwrap().into_parts();
        let mut request = http::Request::post(&url)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(sent.to_string())))
            .unwrap();
        instructions.apply_to_request_http1x(&mut request);
        send(request).await
    }
}

fn question() -> Value {
    Wire::Converse.body("", "hi", false)
}

#[tokio::test]
async fn a_request_signed_by_the_official_signer_is_taken() {
    let fake = FakeProvider::start().await;
    // Colons and slashes of model ids are where signers go wrong.
    for path in [
        "/model/anthropic.claude-v1:0/converse",
        "/model/anthropic.claude-v1%3A0/converse",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.claude/converse",
    ] {
        let answer = Signer::good().post(&fake, path, &question(), &question()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_wrong_signature_is_refused_as_aws_does() {
    let fake = FakeProvider::start().await;
    let table = [
        (Signer { secret: "other", ..Signer::good() }, "InvalidSignatureException"),
        (Signer { key: "AKIDUNKNOWN", ..Signer::good() }, "UnrecognizedClientException"),
        (Signer { token: Some("stolen"), ..Signer::good() }, "UnrecognizedClientException"),
        (Signer { service: "s3", ..Signer::good() }, "InvalidSignatureException"),
        (
            Signer { time: SystemTime::now() - Duration::from_secs(3600), ..Signer::good() },
            "InvalidSignatureException",
        ),
    ];
    for (signer, kind) in table {
        let answer = signer.post(&fake, "/model/m/converse", &question(), &question()).await;
        assert_eq!(answer.status, 403, "{kind}");
        let header = answer.headers["x-amzn-errortype"].to_str().unwrap();
        assert!(header.starts_with(kind), "{header} is not {kind}");
    }
}

#[tokio::test]
async fn a_body_changed_after_signing_is_refused() {
    let fake = FakeProvider::start().await;
    let sent = Wire::Converse.body("", "other", false);
    let answer = Signer::good().post(&fake, "/model/m/converse", &question(), &sent).await;
    assert_eq!(answer.status, 403);
}

fn messages(answer: &Answer) -> Vec<(String, Value)> {
    let mut bytes = answer.body.clone().unwrap();
    let mut decoder = MessageFrameDecoder::new();
    let mut events = Vec::new();
    // Decoding checks both checksums of each message.
    while let DecodedFrame::Complete(message) = decoder.decode_frame(&mut bytes).unwrap() {
        let kind = message.headers().iter().find(|header| header.name().as_str().ends_with("-type")).unwrap();
        let kind = kind.value().as_string().unwrap().as_str().to_owned();
        events.push((kind, serde_json::from_slice(message.payload()).unwrap()));
    }
    events
}

#[tokio::test]
async fn converse_streams_text_without_a_start_and_tools_with_one() {
    let fake = FakeProvider::start().await;
    let model = "m-fake-agent";
    let body = Wire::Converse.with_tools(Wire::Converse.body(model, "plan", true));
    let events = messages(&Signer::good().post(&fake, &Wire::Converse.path(model, true), &body, &body).await);
    let mut kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    kinds.dedup();
    let plain = ["contentBlockDelta", "contentBlockStop"];
    let tool = ["contentBlockStart", "contentBlockDelta", "contentBlockStop"];
    let expected =
        [&["messageStart"][..], &plain, &plain, &tool, &tool, &["messageStop", "metadata"]].concat();
    assert_eq!(kinds, expected);
    assert_eq!(events[events.len() - 2].1["stopReason"], "tool_use");
}

#[tokio::test]
async fn invoke_wraps_anthropic_events_in_chunks() {
    use base64::Engine;
    let fake = FakeProvider::start().await;
    let body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99,
        "messages": [{"role": "user", "content": "hi"}]});
    let path = "/model/anthropic.claude/invoke-with-response-stream";
    let events = messages(&Signer::good().post(&fake, path, &body, &body).await);
    let inner = events.iter().map(|(kind, payload)| {
        assert_eq!(kind, "chunk");
        let bytes = payload["bytes"].as_str().unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(bytes).unwrap()).unwrap()
    });
    let inner: Vec<Value> = inner.collect();
    assert_eq!(inner[0]["type"], "message_start");
    assert!(inner.last().unwrap()["amazon-bedrock-invocationMetrics"]["outputTokenCount"].is_u64());
}
