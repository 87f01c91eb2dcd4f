//! Streams of events: what any provider's decoder reads of them, every client's encoder can write.
//!
//! The first byte says whose stream it is; each line after it is one event: its name, a tab, its data.
#![no_main]

use std::sync::Arc;

use faregate_wire::chat::ChatRequest;
use faregate_wire::dialect::{Abilities, Dialect, Flavor, Quirks, Reply, Target};
use faregate_wire::frame::Frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Some(provider) = Dialect::ALL[usize::from(*first) % Dialect::ALL.len()].provider() else { return };
    let quirks = Quirks::default();
    let target = Target {
        provider: "fuzz",
        model: "anthropic.claude",
        flavor: Flavor::Plain,
        abilities: Abilities::default(),
        quirks: &quirks,
        may_modify: false,
        betas: Vec::new(),
    };
    let (mut decoder, mut events) = (provider.decoder(&target), Vec::new());
    for line in rest.split(|byte| *byte == b'\n') {
        let tab = line.iter().position(|byte| *byte == b'\t');
        let (name, data) = tab.map_or((&[][..], line), |at| (&line[..at], &line[at + 1..]));
        let event = std::str::from_utf8(name).ok().filter(|name| !name.is_empty());
        if decoder.frame(Frame { event, data, exception: false }, &mut events).is_err() {
            break;
        }
    }
    decoder.end(&mut events);
    for client in Dialect::ALL.into_iter().filter_map(Dialect::client) {
        let mut encoder = client.encoder(Reply {
            id: "call".to_owned(),
            model: "m".to_owned(),
            created: 0,
            request: Arc::new(ChatRequest::default()),
            alt_sse: true,
        });
        let mut out = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut out));
        encoder.end(&mut out);
    }
});
