use faregate_wire::chat::{FinishReason, OutputFormat};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn text(part: u32, delta: &str) -> Event {
    Event::Text { part, delta: delta.to_owned() }
}

fn open(part: u32, kind: PartKind) -> Event {
    Event::Open { choice: 0, part, kind }
}

fn start(id: &str) -> Event {
    Event::Start { id: id.to_owned(), model: String::new(), created: None, extra: Default::default() }
}

/// What a client was told by a stream that broke off after `text`.
fn said(words: &str) -> Said {
    let mut said = Said::default();
    for event in [start("1"), open(0, PartKind::Text), text(0, words)] {
        said.hear(&event);
    }
    said
}

fn joined(seam: &mut Seam, events: impl IntoIterator<Item = Event>) -> Vec<Event> {
    events.into_iter().flat_map(|event| seam.join(event)).collect()
}

fn words(events: &[Event]) -> String {
    let delta = |event: &Event| match event {
        Event::Text { delta, .. } => delta.clone(),
        _ => String::new(),
    };
    events.iter().map(delta).collect()
}

#[test]
fn the_next_stream_goes_on_in_the_open_part_without_a_new_start() {
    let said = said("Fares are ");
    assert!(said.can_go_on());
    let before = Usage { input: 10, output: 3, ..Usage::default() };
    let mut seam = Seam::new(&said, before);
    let finish = Event::Finish { choice: 0, reason: FinishReason::Stop, stop_sequence: None };
    let call = PartKind::ToolCall { id: "c".into(), name: "f".into(), extra: Default::default() };
    let events = [
        start("2"),
        Event::Usage(Usage { input: 20, ..Usage::default() }),
        open(0, PartKind::Reasoning { id: None }),
        Event::Reasoning { part: 0, delta: "hm".into() },
        Event::Close { part: 0 },
        open(1, PartKind::Text),
        text(1, "cheap."),
        Event::Close { part: 1 },
        open(2, call.clone()),
        Event::Usage(Usage { output: 2, ..Usage::default() }),
        finish.clone(),
    ];
    let expected = [
        Event::Usage(Usage { input: 30, output: 3, ..Usage::default() }),
        text(0, "cheap."),
        Event::Close { part: 0 },
        open(3, call),
        Event::Usage(Usage { input: 30, output: 5, ..Usage::default() }),
        finish,
    ];
    assert_eq!(joined(&mut seam, events), expected);
    assert!(seam.hides(), "reasoning in the middle of a text has no place");
}

#[test]
fn a_stream_that_had_said_nothing_begins_anew_behind_its_start() {
    let mut said = Said::default();
    said.hear(&start("1"));
    let mut seam = Seam::new(&said, Usage::default());
    let events = [start("2"), open(0, PartKind::Text), text(0, "hello")];
    assert_eq!(joined(&mut seam, events), [open(0, PartKind::Text), text(0, "hello")]);
}

#[test]
fn only_the_beginning_of_one_text_can_be_gone_on_with() {
    for more in [
        Event::Close { part: 0 },
        open(1, PartKind::Text),
        open(1, PartKind::Reasoning { id: None }),
        Event::Finish { choice: 0, reason: FinishReason::Stop, stop_sequence: None },
        Event::Annotation { part: 0, annotation: json!({}) },
    ] {
        let mut said = said("Fares");
        said.hear(&more);
        assert!(!said.can_go_on(), "{more:?}");
    }
}

#[test]
fn what_the_next_model_repeats_is_left_out() {
    let before = "The fare from Berne to Basle is forty";
    for (continuation, news) in [
        (" francs.", " francs."),
        ("The fare from Berne to Basle is forty francs.", " francs."),
        ("Basle is forty francs.", "Basle is forty francs."),
        ("from Berne to Basle is forty francs.", " francs."),
        ("The fare from Berne is dear.", "The fare from Berne is dear."),
        ("The fare from", "The fare from"),
        ("The fare from Berne to Basle is forty", ""),
    ] {
        for size in [1, 3, 64] {
            let mut seam = Seam::new(&said(before), Usage::default());
            let pieces =
                continuation.as_bytes().chunks(size).map(|it| text(0, std::str::from_utf8(it).unwrap()));
            let events = std::iter::once(open(0, PartKind::Text)).chain(pieces);
            let events = events.chain([Event::Close { part: 0 }]);
            assert_eq!(words(&joined(&mut seam, events)), news, "{continuation:?} in pieces of {size}");
        }
    }
}

proptest! {
    /// Whatever comes in whatever pieces, nothing is lost but an end of what was said, and nothing is made up.
    #[test]
    fn an_echo_is_all_that_is_taken_away(before in "[ab ]{0,40}", pieces in prop::collection::vec("[ab ]{1,6}", 0..12)) {
        let mut seam = Seam::new(&said(&before), Usage::default());
        let events = std::iter::once(open(0, PartKind::Text)).chain(pieces.iter().map(|it| text(0, it)));
        let told = words(&joined(&mut seam, events.chain([Event::Close { part: 0 }])));
        let whole = pieces.concat();
        let taken = whole.strip_suffix(told.as_str());
        prop_assert!(taken.is_some_and(|taken| taken.is_empty() || (taken.len() >= 16 && before.ends_with(taken))));
    }
}

#[test]
fn the_next_provider_is_told_the_text_and_what_is_left_of_the_length() {
    let mut request = ChatRequest { messages: vec![Message::text(Role::User, "hi")], ..Default::default() };
    request.sampling.max_output_tokens = Some(100);
    let asked = request.clone();
    let resumption = Resumption::new("Fares are", 30);
    resumption.extend(&mut request);
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::User]);
    assert_eq!(request.messages[1].parts[0].as_text(), Some("Fares are"));
    assert_eq!(request.sampling.max_output_tokens, Some(70));
    resumption.retract(&mut request);
    assert_eq!(request, asked);
    Resumption::new("", 0).extend(&mut request);
    assert_eq!(request, asked, "where nothing was said there is nothing to go on from");
}

#[test]
fn only_requests_for_one_plain_text_are_continued() {
    let plain = ChatRequest { messages: vec![Message::text(Role::User, "hi")], ..Default::default() };
    assert!(is_plain_text(&plain));
    let changed = |change: fn(&mut ChatRequest)| {
        let mut request = plain.clone();
        change(&mut request);
        is_plain_text(&request)
    };
    assert!(changed(|it| it.tool_choice = Some(ToolChoice::Auto)));
    assert!(!changed(|it| it.tool_choice = Some(ToolChoice::Required)));
    assert!(!changed(|it| it.sampling.n = Some(2)));
    assert!(!changed(|it| it.sampling.logprobs = Some(true)));
    assert!(!changed(|it| it.output = OutputFormat::JsonObject));
    assert!(!changed(|it| it.modalities = vec!["text".into(), "audio".into()]));
    assert!(!changed(|it| it.messages.push(Message::text(Role::Assistant, "He"))));
}
