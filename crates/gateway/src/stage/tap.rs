//! What is read of a stream while it passes.

use faregate_terms::Fault;
use faregate_wire::chat::{Event, Folder, PartKind};
use faregate_wire::dialect::StreamDecoder;
use faregate_wire::frame::SseFrames;

use crate::stage::admit::{BYTES_PER_TOKEN, Meter};
use crate::stage::pump::OnDone;

/// Takes from an event what the receipt needs; an error event is the end.
pub(super) fn note(event: &Event, meter: &mut Meter) -> Result<(), Fault> {
    match event {
        Event::Start { id, .. } if !id.is_empty() => meter.upstream_id = Some(id.clone()),
        Event::Usage(usage) => meter.usage.absorb(usage),
        Event::Error(fault) => return Err(fault.clone()),
        Event::Text { delta, .. } | Event::Reasoning { delta, .. } | Event::Arguments { delta, .. } => {
            meter.output_bytes += delta.len() as u64;
            meter.output_tokens += (delta.len() as u64).div_ceil(BYTES_PER_TOKEN);
        }
        _ => {}
    }
    if is_visible(event) {
        meter.first_output();
    }
    Ok(())
}

/// True for what a client can see: from the first such event on, the stream belongs to this provider.
pub(super) fn is_visible(event: &Event) -> bool {
    match event {
        Event::Text { delta, .. } | Event::Reasoning { delta, .. } | Event::Arguments { delta, .. } => {
            !delta.is_empty()
        }
        Event::Media { .. } | Event::Finish { .. } => true,
        Event::Open { kind, .. } => matches!(kind, PartKind::ToolCall { .. }),
        _ => false,
    }
}

/// Keeps an event for the whole answer, if there is to be one.
pub(super) fn remember(
    folder: &mut Option<(Folder, OnDone)>,
    seen: &mut Vec<Event>,
    event: Event,
    keeps: bool,
) {
    match folder {
        Some((folder, _)) => folder.add(&event),
        None if keeps => seen.push(event),
        None => {}
    }
}

pub(super) fn read_block(block: &[u8], decoder: &mut dyn StreamDecoder, events: &mut Vec<Event>) {
    let mut frames = SseFrames::new();
    if frames.push(block)
        && let Some(frame) = frames.next_frame()
    {
        // Only a tap: what cannot be read here is still forwarded as it came.
        let _ = decoder.frame(frame, events);
    }
}
