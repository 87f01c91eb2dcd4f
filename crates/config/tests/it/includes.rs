//! Several files as one.

use faregate_config::{Strictness, load};

use crate::{full_env, read_files};

fn lines(files: &[(&str, &[u8])]) -> Vec<String> {
    read_files(files, &full_env(), Strictness::Lenient).1
}

#[test]
fn lists_are_appended_and_everything_else_is_replaced_whole() {
    let (reading, lines) = read_files(
        &[
            (
                "config.yaml",
                b"include: [more/a.yaml]\nmodel_list:\n- model_name: one\n  litellm_params: {model: openai/one}\n\
                  general_settings: {master_key: sk-first, always_include_stream_usage: true}\n",
            ),
            (
                "more/a.yaml",
                b"include: [b.yaml]\nmodel_list:\n- model_name: two\n  litellm_params: {model: openai/two}\n",
            ),
            (
                "more/b.yaml",
                b"include: [../config.yaml]\nmodel_list:\n- model_name: three\n  litellm_params: {model: openai/three}\n\
                  general_settings: {master_key: sk-second}\n",
            ),
        ],
        &full_env(),
        Strictness::Lenient,
    );
    assert_eq!(lines, ["more/b.yaml:1:11  include: ../config.yaml is read already; each file counts once"]);
    let snapshot = reading.snapshot.unwrap();
    let groups: Vec<&str> = snapshot.deployments.iter().map(|one| one.group.as_str()).collect();
    assert_eq!(groups, ["one", "two", "three"]);
    assert_eq!(snapshot.general.master_key, Some("sk-second".into()));
    assert!(!snapshot.general.always_include_stream_usage);
    let place = snapshot.deployments[2].position.as_ref().unwrap();
    assert!(place.file.ends_with("more/b.yaml") && (place.line, place.col) == (3, 3), "{place}");
}

#[test]
fn a_file_that_cannot_be_included_is_named() {
    assert_eq!(
        lines(&[("config.yaml", b"include:\n- gone.yaml\n- 5\n")]),
        [
            "config.yaml:2:3  include: gone.yaml: no such file; check the path",
            "config.yaml:3:3  include: expected a file name, found a number; write a list of file or folder names",
        ]
    );
    assert_eq!(
        lines(&[("config.yaml", b"include: other.yaml\n"), ("other.yaml", b"a: 1\n")]),
        [
            "config.yaml:1:10  include: expected a list of file names, found text; write a list of file or folder names"
        ]
    );
    assert_eq!(
        lines(&[("config.yaml", b"include: [list.yaml]\n"), ("list.yaml", b"\n- 1\n")]),
        ["list.yaml:2:1  the file holds a list, not a mapping; start it with a key such as `model_list:`"]
    );
}

#[test]
fn a_file_beside_the_first_one_is_found_with_a_warning() {
    let found = lines(&[
        ("config.yaml", b"include: [deep/a.yaml]\n"),
        ("deep/a.yaml", b"include: [b.yaml]\n"),
        ("b.yaml", b"model_list: []\n"),
    ]);
    assert_eq!(
        found,
        [
            "deep/a.yaml:1:11  include: found next to config.yaml and not next to this file; move the included file \
          next to the one that names it"
        ]
    );
}

#[test]
fn a_first_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str| {
        let refused = load(&folder.path().join(name), &full_env(), Strictness::Lenient).unwrap_err();
        refused.to_string().replace(&folder.path().display().to_string(), "DIR")
    };
    std::fs::write(folder.path().join("latin1.yaml"), b"a: 1\nb: \xe9\n").unwrap();
    assert_eq!(refused("none.yaml"), "DIR/none.yaml: no such file; check the path");
    assert_eq!(refused(""), "DIR/: is a folder, not a file; name a YAML file");
    assert_eq!(refused("latin1.yaml"), "DIR/latin1.yaml: line 2 is not UTF-8; save the file as UTF-8");
}
