//! Request bodies: the index of the fast path, and the decoder of every client dialect.
#![no_main]

use bytes::Bytes;
use faregate_wire::dialect::{ClientCall, Dialect, Edit};
use faregate_wire::envelope::{Envelope, join};
use libfuzzer_sys::fuzz_target;

const CLIENTS: [Dialect; 5] =
    [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock];

fuzz_target!(|body: &[u8]| {
    let call = ClientCall { path_model: Some("m"), ..ClientCall::default() };
    for dialect in CLIENTS {
        if let Some(client) = dialect.client() {
            let _ = client.decode(body, &call);
        }
    }
    // What was indexed can be indexed again after a splice, with the change and nothing else.
    let Ok(envelope) = Envelope::index(Bytes::copy_from_slice(body)) else { return };
    let spliced = envelope.spliced(&[Edit::Set("model", b"\"fuzz\"".to_vec())]);
    let again = Envelope::index(join(spliced)).expect("a spliced body is a body");
    assert_eq!(again.get::<String>("model").as_deref(), Some("fuzz"));
    for key in envelope.keys().filter(|key| key != "model") {
        assert_eq!(envelope.raw(&key), again.raw(&key));
    }
});
