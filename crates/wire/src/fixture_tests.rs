//! Every fixture is read as the `canonical.json` beside it says: `answer.json` and `stream.*` as a provider's
//! answer, `in.json` as a client's request. A new case needs no code; `UPDATE_FIXTURES=1` writes what was read.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::chat::Part;
use crate::dialect::{ClientCall, Dialect, Quirks};
use crate::stream_tests::{self, folders};
use crate::testing;

/// What a file of a case says in canonical form, and what it was read from.
fn read(dialect: Dialect, case: &Path) -> Option<Value> {
    let file = |name: &str| std::fs::read(case.join(name)).ok();
    if let Some(body) = file("in.json") {
        let call = ClientCall { path_model: Some("model-of-the-path"), ..ClientCall::default() };
        let request = dialect.client().unwrap().decode(&body, &call).unwrap();
        return Some(serde_json::to_value(request).unwrap());
    }
    let answer = || {
        let Some(body) = file("answer.json") else {
            let fixture =
                stream_tests::fixtures().into_iter().find(|fixture| fixture.path.starts_with(case))?;
            let (events, ..) = stream_tests::read(&fixture, &[&fixture.bytes]);
            return Some(testing::folded(&events));
        };
        let quirks = Quirks::default();
        let target = testing::target("test", "test-model", &quirks);
        Some(dialect.provider().unwrap().decode(&target, &body).unwrap())
    };
    // Ids that a codec makes up differ from one reading to the next.
    let (mut answer, again) = (answer()?, answer()?);
    let others = again.choices.iter().flat_map(|choice| &choice.parts);
    for (part, other) in answer.choices.iter_mut().flat_map(|choice| &mut choice.parts).zip(others) {
        if let (Part::ToolCall { id, .. }, Part::ToolCall { id: other, .. }) = (part, other)
            && id != other
        {
            *id = "(made up)".to_owned();
        }
    }
    Some(serde_json::to_value(answer).unwrap())
}

fn cases() -> Vec<(Dialect, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fixtures");
    let of = |folder: PathBuf| {
        let dialect = stream_tests::dialect(folder.file_name().unwrap().to_str().unwrap()).unwrap();
        folders(&folder).into_iter().map(move |case| (dialect, case))
    };
    folders(&root).into_iter().flat_map(of).collect()
}

#[test]
fn every_fixture_means_what_stands_beside_it() {
    let update = std::env::var_os("UPDATE_FIXTURES").is_some();
    for (dialect, case) in cases() {
        // Refusals have tests of their own.
        let Some(meant) = read(dialect, &case) else { continue };
        let file = case.join("canonical.json");
        if update {
            std::fs::write(&file, serde_json::to_string_pretty(&meant).unwrap() + "\n").unwrap();
        }
        let text = std::fs::read_to_string(&file);
        let text = text.unwrap_or_else(|_| panic!("{} is missing: UPDATE_FIXTURES=1", file.display()));
        let expected: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(meant, expected, "{}", case.display());
    }
}

#[test]
fn every_dialect_has_an_answer_and_a_stream_on_record() {
    let has = |dialect: Dialect, name: &str| {
        cases().iter().filter(|(of, _)| *of == dialect).any(|(_, case)| {
            let mut files = std::fs::read_dir(case).unwrap().map(|entry| entry.unwrap().path());
            files.any(|file| file.file_stem().is_some_and(|stem| stem == name))
        })
    };
    for (dialect, _) in cases() {
        assert!(has(dialect, "stream"), "{dialect:?} has no stream");
        assert!(has(dialect, "answer"), "{dialect:?} has no whole answer");
    }
}
