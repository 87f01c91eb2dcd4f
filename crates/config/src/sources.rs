//! Reads the file and everything it includes, and merges them by LiteLLM's rules.
//!
//! Source: compat/config.md section 0, `include`: lists are appended, every other value is replaced whole
//! by the included one, each file counts once, a path is relative to the file that names it (else to the
//! first file's folder, with a warning).

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Findings};
use crate::node::{Entry, Node, Value};
use crate::position::Position;
use crate::yaml;

const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
const MAX_FILES: usize = 1_000;
const INCLUDE: &str = "include";

/// The merged tree and the files it came from.
pub(crate) struct Sources {
    /// `None` when the first file could not be read or parsed.
    pub(crate) root: Option<Node>,
    /// Every file read and every folder listed, first file first: what to watch for changes.
    pub(crate) files: Vec<PathBuf>,
    /// Where `include` is written, in each file that has it.
    pub(crate) includes: Vec<Position>,
}

/// Reads `path` and its includes. All problems are put into `findings`.
pub(crate) fn read(path: &Path, findings: &mut Findings) -> Sources {
    let mut files = vec![path.to_owned()];
    let mut root = match read_file(path, None, findings) {
        Some(node) => node,
        None => return Sources { root: None, files, includes: Vec::new() },
    };
    let mut includes = Vec::new();
    let mut pending = take_includes(&mut root, &mut includes, findings);
    while let Some(include) = pending.pop_front() {
        for file in resolve(&include, path, &mut files, findings) {
            if files.iter().any(|known| same_file(known, &file)) {
                let message = format!("{} is read already; each file counts once", include.written);
                findings.warn(&include.at, INCLUDE, message);
                continue;
            }
            if files.len() >= MAX_FILES {
                findings.error(&include.at, INCLUDE, format!("more than {MAX_FILES} files are included"));
                return Sources { root: Some(root), files, includes };
            }
            files.push(file.clone());
            if let Some(mut node) = read_file(&file, Some(&include), findings) {
                pending.extend(take_includes(&mut node, &mut includes, findings));
                merge(&mut root, node);
            }
        }
    }
    Sources { root: Some(root), files, includes }
}

/// Reads a text instead of a file; it cannot include anything.
pub(crate) fn read_text(text: &str, name: &Path, findings: &mut Findings) -> Sources {
    let mut root = parse(text, &Arc::from(name), findings);
    let mut includes = Vec::new();
    if let Some(root) = &mut root {
        for include in take_includes(root, &mut includes, findings) {
            let message = format!("{} cannot be included here: this is not a file", include.written);
            findings.error(&include.at, INCLUDE, message);
        }
    }
    Sources { root, files: vec![name.to_owned()], includes }
}

/// One entry of an `include` list.
struct Include {
    written: String,
    at: Position,
}

fn same_file(left: &Path, right: &Path) -> bool {
    left == right || matches!((left.canonicalize(), right.canonicalize()), (Ok(l), Ok(r)) if l == r)
}

/// The files an entry names: itself, or the YAML files of the folder it names, sorted by name.
fn resolve(
    include: &Include,
    root: &Path,
    files: &mut Vec<PathBuf>,
    findings: &mut Findings,
) -> Vec<PathBuf> {
    let beside = |file: &Path| file.parent().unwrap_or(Path::new("")).join(&include.written);
    let (near, far) = (beside(&include.at.file), beside(root));
    let found = if !near.exists() && far.exists() {
        let message = format!("found next to {} and not next to this file", root.display());
        findings.push(
            Diagnostic::warning(Some(&include.at), INCLUDE, message)
                .remedy("move the included file next to the one that names it"),
        );
        far
    } else {
        near
    };
    if !found.is_dir() {
        return vec![found];
    }
    files.push(found.clone());
    let listed = fs::read_dir(&found).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    match listed {
        Ok(mut inside) => {
            inside.retain(|file| {
                file.is_file() && file.extension().is_some_and(|kind| kind == "yaml" || kind == "yml")
            });
            inside.sort();
            inside
        }
        Err(error) => {
            let message = format!("cannot list the folder {}: {}", found.display(), reason(&error));
            findings.error(&include.at, INCLUDE, message);
            Vec::new()
        }
    }
}

fn read_file(path: &Path, include: Option<&Include>, findings: &mut Findings) -> Option<Node> {
    let file: Arc<Path> = Arc::from(path);
    let refuse = |message: String, remedy: &str| {
        let found = match include {
            Some(include) => Diagnostic::error(Some(&include.at), INCLUDE, message),
            None => Diagnostic::error(None, "", message),
        };
        found.remedy(remedy)
    };
    let text = match text_of(path) {
        Ok(text) => text,
        Err((message, remedy)) => {
            findings.push(refuse(format!("{}: {message}", path.display()), remedy));
            return None;
        }
    };
    parse(&text, &file, findings)
}

fn parse(text: &str, file: &Arc<Path>, findings: &mut Findings) -> Option<Node> {
    match yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text), file, findings) {
        Ok(node) if node.entries().is_some() => Some(node),
        Ok(node) => {
            let message = format!("the file holds {}, not a mapping", node.shape());
            findings.push(
                Diagnostic::error(Some(&node.at), "", message)
                    .remedy("start it with a key such as `model_list:`"),
            );
            None
        }
        Err(error) => {
            findings.push(error);
            None
        }
    }
}

fn text_of(path: &Path) -> Result<String, (String, &'static str)> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ("no such file".to_owned(), "check the path"),
        io::ErrorKind::PermissionDenied => {
            ("cannot be read: permission denied".to_owned(), "let the user that runs the gateway read it")
        }
        _ => (format!("cannot be read: {}", reason(&error)), "check the path"),
    };
    let size = fs::metadata(path).map_err(refused)?;
    if size.is_dir() {
        return Err(("is a folder, not a file".to_owned(), "name a YAML file"));
    }
    if size.len() > MAX_FILE_BYTES {
        return Err((format!("larger than {} MiB", MAX_FILE_BYTES >> 20), "split it with `include`"));
    }
    let bytes = fs::read(path).map_err(refused)?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        (format!("line {line} is not UTF-8"), "save the file as UTF-8")
    })
}

/// The system's words for an error, without the number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Removes `include` from a tree and returns its entries; its own place goes to `places`.
fn take_includes(root: &mut Node, places: &mut Vec<Position>, findings: &mut Findings) -> VecDeque<Include> {
    let Value::Map(entries) = &mut root.value else { return VecDeque::new() };
    let Some(index) = entries.iter().position(|entry| entry.key == INCLUDE) else { return VecDeque::new() };
    let Entry { node, key_at, .. } = entries.remove(index);
    places.push(key_at);
    let remedy = "write a list of file or folder names";
    let Value::List(items) = node.value else {
        let message = format!("expected a list of file names, found {}", node.shape());
        findings.push(Diagnostic::error(Some(&node.at), INCLUDE, message).remedy(remedy));
        return VecDeque::new();
    };
    let mut includes = VecDeque::new();
    for item in items {
        match item.value {
            Value::Text(written) => includes.push_back(Include { written, at: item.at }),
            _ => {
                let message = format!("expected a file name, found {}", item.shape());
                findings.push(Diagnostic::error(Some(&item.at), INCLUDE, message).remedy(remedy));
            }
        }
    }
    includes
}

fn merge(base: &mut Node, included: Node) {
    let (Value::Map(base), Value::Map(included)) = (&mut base.value, included.value) else { return };
    for entry in included {
        let Some(known) = base.iter_mut().find(|known| known.key == entry.key) else {
            base.push(entry);
            continue;
        };
        match (&mut known.node.value, entry.node.value) {
            (Value::List(items), Value::List(more)) => items.extend(more),
            (_, value) => {
                known.key_at = entry.key_at;
                known.node = Node { value, ..entry.node };
            }
        }
    }
}
