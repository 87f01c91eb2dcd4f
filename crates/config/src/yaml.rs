//! Turns the text of one file into a [`Node`] tree, within bounds.
//!
//! Aliases and merge keys are expanded as PyYAML does. Depth, size and the sum of all expansions are
//! bounded, so that no file can exhaust stack or memory.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, Tag};

use crate::diagnostic::{Diagnostic, Findings};
use crate::node::{Entry, Node, Value};
use crate::position::Position;
use crate::scalar;

/// Mappings and lists inside one another.
const MAX_DEPTH: usize = 100;
/// Values in one file, after aliases are expanded.
const MAX_NODES: usize = 500_000;
const MERGE_KEY: &str = "<<";

/// Reads one document. An empty file is an empty mapping. A key given twice is a warning in `findings`;
/// what is not YAML, or not within bounds, is the error.
pub(crate) fn parse(text: &str, file: &Arc<Path>, findings: &mut Findings) -> Result<Node, Diagnostic> {
    let mut options = Options::default();
    options.flow_nesting_limit = MAX_DEPTH + 1;
    options.block_nesting_limit = MAX_DEPTH + 1;
    options.set_emit_comments(false);
    let mut tree = Tree { file, findings, open: Vec::new(), root: None, anchors: HashMap::new(), nodes: 0 };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| scan_error(&error, file))?;
        let at = tree.position(&span.start);
        tree.take(event, at)?;
    }
    let start = Position::new(file.clone(), 1, 1);
    Ok(match tree.root {
        Some(node) if !node.is_null() => node,
        _ => Node::new(Value::Map(Vec::new()), start),
    })
}

fn scan_error(error: &ScanError, file: &Arc<Path>) -> Diagnostic {
    let at = position(file, error.marker());
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(&at),
        _ => Diagnostic::error(Some(&at), "", format!("not valid YAML: {}", error.info()))
            .remedy("check indentation, quotes and brackets up to here"),
    }
}

fn too_deep(at: &Position) -> Diagnostic {
    Diagnostic::error(Some(at), "", format!("nested deeper than {MAX_DEPTH} levels"))
        .remedy("flatten the structure")
}

fn position(file: &Arc<Path>, mark: &Marker) -> Position {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position::new(file.clone(), count(mark.line()).max(1), count(mark.col()).saturating_add(1))
}

/// A collection whose end has not been read.
struct Open {
    at: Position,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map { entries: Entries, merged: Vec<Node>, key: Option<(String, Position)> },
}

/// Entries in the order their keys first came, each key once with its last value: a Python dictionary.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    places: HashMap<String, usize>,
}

impl Entries {
    /// Whether the key was there already.
    fn put(&mut self, entry: Entry) -> bool {
        let Some(known) = self.places.get(&entry.key).and_then(|place| self.list.get_mut(*place)) else {
            self.places.insert(entry.key.clone(), self.list.len());
            self.list.push(entry);
            return false;
        };
        *known = entry;
        true
    }
}

struct Tree<'a> {
    file: &'a Arc<Path>,
    findings: &'a mut Findings,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Tree<'_> {
    fn position(&self, mark: &Marker) -> Position {
        position(self.file, mark)
    }

    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Diagnostic> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Diagnostic::error(Some(&at), "", "a second YAML document starts here")
                    .remedy("keep one document per file and name the others under `include`"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar_value(&text, style, tag.as_deref(), &at)?;
                self.place(Node::new(value, at), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", &at)?;
                self.descend(at, anchor, OpenKind::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", &at)?;
                self.descend(
                    at,
                    anchor,
                    OpenKind::Map { entries: Entries::default(), merged: Vec::new(), key: None },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.ascend(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(mut node) => {
                    self.charge(node.weight(), &at)?;
                    node.at = at;
                    self.place(node, 0)
                }
                None => {
                    Err(Diagnostic::error(Some(&at), "", "this alias stands inside the value it repeats")
                        .remedy("write the value out"))
                }
            },
            _ => Ok(()),
        }
    }

    fn descend(&mut self, at: Position, anchor: usize, kind: OpenKind) -> Result<(), Diagnostic> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(&at));
        }
        self.open.push(Open { at, anchor, kind });
        Ok(())
    }

    fn ascend(&mut self) -> Result<(), Diagnostic> {
        let Some(Open { at, anchor, kind }) = self.open.pop() else { return Ok(()) };
        let value = match kind {
            OpenKind::List(items) => Value::List(items),
            OpenKind::Map { entries, merged, .. } => Value::Map(Self::merge(entries, &merged)?),
        };
        self.place(Node::new(value, at), anchor)
    }

    fn charge(&mut self, nodes: usize, at: &Position) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(Diagnostic::error(
            Some(at),
            "",
            format!("more than {MAX_NODES} values once aliases are expanded"),
        )
        .remedy("use fewer aliases of aliases"))
    }

    /// Puts a finished node where it belongs: root, list item, key or value.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Diagnostic> {
        self.charge(1, &node.at)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map { entries, merged, key } => match key.take() {
                None => *key = Some((key_text(&node)?, node.at)),
                Some((name, _)) if name == MERGE_KEY => merged.push(node),
                Some((name, key_at)) => {
                    if entries.put(Entry { key: name.clone(), key_at: key_at.clone(), node }) {
                        let message = format!(
                            "key `{name}` is given twice in one mapping; the last one counts, as in LiteLLM"
                        );
                        self.findings.warn(&key_at, "", message);
                    }
                }
            },
        }
        Ok(())
    }

    /// Entries merged by `<<` come first and lose to the mapping's own; among several, the first wins.
    fn merge(own: Entries, merged: &[Node]) -> Result<Vec<Entry>, Diagnostic> {
        if merged.is_empty() {
            return Ok(own.list);
        }
        let mut all = Entries::default();
        for node in merged {
            let sources = match &node.value {
                Value::Map(_) => std::slice::from_ref(node),
                Value::List(items) if items.iter().all(|item| item.entries().is_some()) => items.as_slice(),
                _ => {
                    let found = node.shape();
                    let message =
                        format!("the merge key `<<` takes a mapping or a list of mappings, not {found}");
                    return Err(Diagnostic::error(Some(&node.at), "", message)
                        .remedy("write `<<: *name`, where `&name` stands at a mapping"));
                }
            };
            for entry in sources.iter().rev().filter_map(Node::entries).flatten() {
                all.put(entry.clone());
            }
        }
        for entry in own.list {
            all.put(entry);
        }
        Ok(all.list)
    }
}

fn key_text(node: &Node) -> Result<String, Diagnostic> {
    if node.is_null() {
        return Ok("None".to_owned());
    }
    node.scalar_text().ok_or_else(|| {
        Diagnostic::error(Some(&node.at), "", format!("{} cannot be a key", node.shape()))
            .remedy("use a plain text as key")
    })
}

fn scalar_value(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: &Position,
) -> Result<Value, Diagnostic> {
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => scalar::resolve(text),
            _ => Value::Text(text.to_owned()),
        });
    };
    match tag.core_suffix() {
        Some("str") => Ok(Value::Text(text.to_owned())),
        Some("null") => Ok(Value::Null),
        Some("int" | "float" | "bool") => Ok(scalar::resolve(text)),
        _ => Err(unknown_tag(tag, at)),
    }
}

fn refuse_tag(tag: Option<&Tag>, fitting: &str, at: &Position) -> Result<(), Diagnostic> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(fitting) => Err(unknown_tag(tag, at)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, at: &Position) -> Diagnostic {
    Diagnostic::error(Some(at), "", format!("the YAML tag `{}` is not supported here", tag.original()))
        .remedy("remove the tag")
}
