//! Lays the parts of a stream end to end, for dialects whose content blocks come one after another.

use std::collections::VecDeque;

use serde_json::Value;

use crate::chat::{Event, PartKind, Signature};

use super::Losses;

/// What a dialect writes for each step of its content blocks.
pub(in crate::dialect) trait BlockWriter {
    /// Whether clients of this dialect see parts of this kind at all.
    fn shows(&self, kind: &PartKind) -> bool;

    /// A block begins. `signature` is known for tool calls that were signed before their arguments.
    fn start(&mut self, index: u32, kind: &PartKind, signature: Option<&Signature>, out: &mut Vec<u8>);

    /// A block grows.
    fn grow(&mut self, index: u32, growth: Growth<'_>, out: &mut Vec<u8>);

    /// A block ends.
    fn stop(&mut self, index: u32, out: &mut Vec<u8>);
}

/// How a block grows.
#[derive(Debug, Clone, Copy)]
pub(in crate::dialect) enum Growth<'a> {
    /// Text, a refusal, or what is said in generated audio.
    Text(&'a str),
    /// Readable reasoning.
    Reasoning(&'a str),
    /// Arguments of a tool call.
    Arguments(&'a str),
    /// Opaque state of reasoning.
    Signature(&'a Signature),
    /// A citation.
    Annotation(&'a Value),
}

/// The blocks of one answer. At most one is open; parts that grow meanwhile wait for their turn.
///
/// An open text or reasoning block gives way to a part that opens after it, and goes on in a block of its
/// own should it grow again; a tool call cannot be split, so others wait for its end.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Blocks {
    next: u32,
    live: Option<Waiting>,
    begun: bool,
    waiting: VecDeque<Waiting>,
    /// Text and reasoning parts that gave way.
    parked: Vec<(u32, PartKind)>,
    losses: Losses,
}

#[derive(Debug)]
struct Waiting {
    part: u32,
    kind: PartKind,
    grown: Vec<Event>,
    signature: Option<Signature>,
    closed: bool,
}

impl Blocks {
    /// Takes one event of a part in; others are ignored. Only the first alternative is shown.
    pub(in crate::dialect) fn event(
        &mut self,
        event: &Event,
        writer: &mut impl BlockWriter,
        out: &mut Vec<u8>,
    ) {
        match event {
            Event::Open { choice: 0, part, kind } => {
                self.miss(kind, writer);
                if writer.shows(kind) {
                    self.open(*part, kind.clone(), writer, out);
                }
            }
            Event::Open { .. } => self.losses.note("choices"),
            Event::Text { part, .. }
            | Event::Reasoning { part, .. }
            | Event::Arguments { part, .. }
            | Event::Signature { part, .. }
            | Event::Annotation { part, .. }
            | Event::Media { part, .. } => self.grow(*part, event, writer, out),
            Event::Close { part } => self.close(*part, writer, out),
            _ => {}
        }
    }

    /// Ends every block, those that wait included.
    pub(in crate::dialect) fn finish(&mut self, writer: &mut impl BlockWriter, out: &mut Vec<u8>) {
        for waiting in &mut self.waiting {
            waiting.closed = true;
        }
        self.end_live(writer, out);
        self.advance(writer, out);
    }

    /// Takes what the clients do not get.
    pub(in crate::dialect) fn losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    fn miss(&mut self, kind: &PartKind, writer: &impl BlockWriter) {
        match kind {
            // What is said in it is shown as text.
            PartKind::Audio { .. } => self.losses.note("content.audio"),
            _ if writer.shows(kind) => {}
            PartKind::Image { .. } => self.losses.note("content.image"),
            _ => self.losses.note("content.foreign"),
        }
    }

    fn open(&mut self, part: u32, kind: PartKind, writer: &mut impl BlockWriter, out: &mut Vec<u8>) {
        let fresh = Waiting { part, kind, grown: Vec::new(), signature: None, closed: false };
        if self.live.as_ref().is_some_and(|live| splits(&live.kind))
            && let Some(live) = self.end_live(writer, out)
        {
            self.parked.push((live.part, live.kind));
        }
        self.waiting.push_back(fresh);
        self.advance(writer, out);
    }

    fn grow(&mut self, part: u32, event: &Event, writer: &mut impl BlockWriter, out: &mut Vec<u8>) {
        if let Some(live) = self.live.as_mut().filter(|live| live.part == part) {
            if let (PartKind::ToolCall { .. }, false, Event::Signature { signature, .. }) =
                (&live.kind, self.begun, event)
            {
                live.signature = Some(signature.clone());
                return;
            }
            self.begin(writer, out);
            write(event, self.next, writer, out);
        } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.part == part) {
            match (event, &waiting.kind) {
                (Event::Signature { signature, .. }, PartKind::ToolCall { .. }) => {
                    waiting.signature = Some(signature.clone());
                }
                _ => waiting.grown.push(event.clone()),
            }
        } else if let Some(at) = self.parked.iter().position(|(parked, _)| *parked == part) {
            let (_, kind) = self.parked.swap_remove(at);
            self.open(part, kind, writer, out);
            self.grow(part, event, writer, out);
        }
    }

    fn close(&mut self, part: u32, writer: &mut impl BlockWriter, out: &mut Vec<u8>) {
        self.parked.retain(|(parked, _)| *parked != part);
        if self.live.as_ref().is_some_and(|live| live.part == part) {
            self.end_live(writer, out);
            self.advance(writer, out);
        } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.part == part) {
            waiting.closed = true;
        }
    }

    /// Writes the live block's beginning if that has not been done. A tool call's waits for the first
    /// arguments, because its id may have to carry a signature that comes just before them.
    fn begin(&mut self, writer: &mut impl BlockWriter, out: &mut Vec<u8>) {
        if let (Some(live), false) = (&self.live, self.begun) {
            writer.start(self.next, &live.kind, live.signature.as_ref(), out);
            self.begun = true;
        }
    }

    fn end_live(&mut self, writer: &mut impl BlockWriter, out: &mut Vec<u8>) -> Option<Waiting> {
        self.begin(writer, out);
        let live = self.live.take()?;
        writer.stop(self.next, out);
        self.next += 1;
        self.begun = false;
        Some(live)
    }

    fn advance(&mut self, writer: &mut impl BlockWriter, out: &mut Vec<u8>) {
        while self.live.is_none() {
            let Some(mut turn) = self.waiting.pop_front() else {
                return;
            };
            let grown = std::mem::take(&mut turn.grown);
            // One that can be split does not keep those behind it waiting.
            let yields = splits(&turn.kind) && !self.waiting.is_empty();
            let (closed, holds) = (turn.closed, matches!(turn.kind, PartKind::ToolCall { .. }));
            self.live = Some(turn);
            if !grown.is_empty() || !holds {
                self.begin(writer, out);
            }
            for event in &grown {
                write(event, self.next, writer, out);
            }
            if closed || yields {
                let ended = self.end_live(writer, out);
                if let Some(ended) = ended.filter(|_| !closed) {
                    self.parked.push((ended.part, ended.kind));
                }
            }
        }
    }
}

fn splits(kind: &PartKind) -> bool {
    matches!(kind, PartKind::Text | PartKind::Refusal | PartKind::Reasoning { .. } | PartKind::Audio { .. })
}

fn write(event: &Event, index: u32, writer: &mut impl BlockWriter, out: &mut Vec<u8>) {
    let growth = match event {
        Event::Text { delta, .. } => Growth::Text(delta),
        Event::Media { transcript, .. } if !transcript.is_empty() => Growth::Text(transcript),
        Event::Reasoning { delta, .. } => Growth::Reasoning(delta),
        Event::Arguments { delta, .. } => Growth::Arguments(delta),
        Event::Signature { signature, .. } => Growth::Signature(signature),
        Event::Annotation { annotation, .. } => Growth::Annotation(annotation),
        _ => return,
    };
    writer.grow(index, growth, out);
}
