//! Request bodies: the index of the fast path, the decoder of every client dialect, and what every provider
//! dialect makes of a request that could be read.
#![no_main]

use bytes::Bytes;
use faregate_wire::dialect::{
    Abilities, ClientCall, Dialect, Edit, Features, Flavor, Losses, Quirks, Target,
};
use faregate_wire::envelope::{Envelope, join};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let call = ClientCall { path_model: Some("m"), ..ClientCall::default() };
    let quirks = Quirks::default();
    for client in Dialect::ALL.into_iter().filter_map(Dialect::client) {
        let Ok(request) = client.decode(body, &call) else { continue };
        for provider in Dialect::ALL.into_iter().filter_map(Dialect::provider) {
            let mut target = Target {
                provider: "fuzz",
                model: "anthropic.claude",
                flavor: Flavor::Plain,
                abilities: Abilities::default(),
                quirks: &quirks,
                may_modify: false,
                betas: Vec::new(),
            };
            let mut losses = Losses::default();
            target.betas = provider.betas(Features::Request(&request), &[], &target, &mut losses);
            if let Ok(body) = provider.body(&request, &target, &mut losses) {
                serde_json::from_slice::<serde_json::Value>(&body).expect("a rendered body is JSON");
            }
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
