//! Every recorded stream, cut at every byte, must decode to the same events.

use std::path::{Path, PathBuf};

use crate::chat::{Event, Extra, PartKind};
use crate::dialect::{Abilities, Dialect, Flavor, Framing, ProviderDialect, Quirks, StreamEnd, Target};
use crate::frame::{AwsFrames, Frame, NdJsonFrames, SseFrames};

/// What a stream decodes to: its events, how it ended, and the complaint if it could not be read.
pub(crate) type Read = (Vec<Event>, Option<StreamEnd>, Option<String>);

enum Frames {
    Sse(SseFrames),
    Aws(AwsFrames),
    NdJson(NdJsonFrames),
}

/// A recorded stream and the codec that reads it.
pub(crate) struct Fixture {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    codec: &'static dyn ProviderDialect,
}

pub(crate) fn fixtures() -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fixtures");
    let mut found = Vec::new();
    for dialect in folders(&root) {
        let name = dialect.file_name().unwrap().to_str().unwrap();
        let codec = self::dialect(name).and_then(Dialect::provider);
        for case in folders(&dialect) {
            for file in std::fs::read_dir(&case).unwrap().map(|entry| entry.unwrap().path()) {
                if file.file_stem().is_some_and(|stem| stem == "stream") {
                    let codec = codec.unwrap_or_else(|| panic!("no codec named {name}"));
                    found.push(Fixture { bytes: std::fs::read(&file).unwrap(), path: file, codec });
                }
            }
        }
    }
    found
}

pub(crate) fn folders(path: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|it| it.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The dialect whose fixtures are in the folder of this name.
pub(crate) fn dialect(name: &str) -> Option<Dialect> {
    Dialect::ALL.into_iter().find(|dialect| dialect.name() == name)
}

fn framing(path: &Path) -> Framing {
    match path.extension().and_then(|it| it.to_str()) {
        Some("sse") => Framing::Sse,
        Some("ndjson") => Framing::NdJson,
        Some("aws" | "bin") => Framing::AwsEventStream,
        other => panic!("{}: unknown framing {other:?}", path.display()),
    }
}

pub(crate) fn read(fixture: &Fixture, chunks: &[&[u8]]) -> Read {
    let quirks = Quirks::default();
    let target = Target {
        provider: "test",
        model: "test-model",
        flavor: Flavor::Plain,
        abilities: Abilities::default(),
        quirks: &quirks,
        may_modify: false,
        betas: Vec::new(),
    };
    let mut decoder = fixture.codec.decoder(&target);
    let mut events = Vec::new();
    let mut frames = match framing(&fixture.path) {
        Framing::AwsEventStream => Frames::Aws(AwsFrames::new()),
        Framing::NdJson => Frames::NdJson(NdJsonFrames::new()),
        Framing::Sse | Framing::Whole => Frames::Sse(SseFrames::new()),
    };
    let mut take = |frame: Frame<'_>, events: &mut Vec<Event>| {
        decoder.frame(frame, events).map_err(|malformed| malformed.to_string())
    };
    for chunk in chunks {
        if let Err(why) = push(&mut frames, chunk, &mut |frame| take(frame, &mut events)) {
            return (events, None, Some(why));
        }
    }
    let last = match &mut frames {
        Frames::Sse(frames) => frames.rest(),
        Frames::NdJson(frames) => frames.rest(),
        Frames::Aws(_) => None,
    };
    if let Some(Err(why)) = last.map(|frame| take(frame, &mut events)) {
        return (events, None, Some(why));
    }
    let end = decoder.end(&mut events);
    (events, Some(end), None)
}

fn push(
    frames: &mut Frames,
    chunk: &[u8],
    take: &mut dyn FnMut(Frame<'_>) -> Result<(), String>,
) -> Result<(), String> {
    match frames {
        Frames::Sse(frames) => {
            assert!(frames.push(chunk));
            while let Some(frame) = frames.next_frame() {
                take(frame)?;
            }
        }
        Frames::NdJson(frames) => {
            assert!(frames.push(chunk));
            while let Some(frame) = frames.next_frame() {
                take(frame)?;
            }
        }
        Frames::Aws(frames) => {
            assert!(frames.push(chunk));
            while let Some(frame) = frames.next_frame().map_err(|bad| bad.to_string())? {
                take(frame)?;
            }
        }
    }
    Ok(())
}

/// Ids that a codec makes up differ from run to run; calls are told apart by their parts.
fn comparable((mut events, end, why): Read) -> Read {
    for event in &mut events {
        if let Event::Open { kind: PartKind::ToolCall { id, extra, .. }, part, .. } = event {
            *id = format!("call {part}");
            *extra = Extra::default();
        }
    }
    (events, end, why)
}

#[test]
fn every_recorded_stream_cut_anywhere_gives_the_same_events() {
    let fixtures = fixtures();
    assert!(fixtures.iter().any(|fixture| fixture.path.ends_with("openai_chat/text_stream/stream.sse")));
    for fixture in &fixtures {
        let whole = comparable(read(fixture, &[&fixture.bytes]));
        assert!(!whole.0.is_empty(), "{}", fixture.path.display());
        for at in 0..fixture.bytes.len() {
            let (before, after) = fixture.bytes.split_at(at);
            let cut = comparable(read(fixture, &[before, after]));
            assert_eq!(cut, whole, "{} cut at {at}", fixture.path.display());
        }
    }
}

#[test]
fn every_recorded_stream_arriving_byte_by_byte_gives_the_same_events() {
    for fixture in &fixtures() {
        let whole = comparable(read(fixture, &[&fixture.bytes]));
        let single: Vec<&[u8]> = fixture.bytes.chunks(1).collect();
        assert_eq!(comparable(read(fixture, &single)), whole, "{}", fixture.path.display());
    }
}

#[test]
fn parts_open_before_they_grow_and_close_before_their_alternative_ends() {
    for fixture in &fixtures() {
        let (events, ..) = read(fixture, &[&fixture.bytes]);
        let mut open: Vec<(u32, u32)> = Vec::new();
        for event in &events {
            match event {
                Event::Open { choice, part, .. } => open.push((*part, *choice)),
                Event::Text { part, .. }
                | Event::Reasoning { part, .. }
                | Event::Arguments { part, .. }
                | Event::Signature { part, .. }
                | Event::Media { part, .. }
                | Event::Annotation { part, .. } => {
                    let known = open.iter().any(|(open, _)| open == part);
                    assert!(known, "{}: {event:?}", fixture.path.display());
                }
                Event::Close { part } => open.retain(|(open, _)| open != part),
                Event::Finish { choice, .. } => {
                    let left = open.iter().find(|(_, of)| of == choice);
                    assert_eq!(left, None, "{}", fixture.path.display());
                }
                _ => {}
            }
        }
    }
}
