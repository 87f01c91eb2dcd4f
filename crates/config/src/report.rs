//! Says for every key of a file what becomes of it.

use std::fmt::Write as _;

use crate::diagnostic::{Diagnostic, Findings, did_you_mean};
use crate::node::{Entry, Node};
use crate::position::Position;
use crate::registry::{self, Inside, Key, KeyStatus, Section};
use crate::schema::Strategy;

/// One key of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// Its YAML path.
    pub path: String,
    /// Where it is written.
    pub position: Position,
    /// What becomes of it.
    pub status: KeyStatus,
    /// Why, when the status does not say it all.
    pub note: Option<String>,
}

/// How unknown keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// As warnings, because LiteLLM takes them silently.
    #[default]
    Lenient,
    /// As errors.
    Strict,
}

/// One line per key: `config.yaml:3:5  model_list[0].model_name  honoured`.
pub fn render(reports: &[KeyReport]) -> String {
    let mut text = String::new();
    for report in reports {
        let _ = write!(text, "{}  {}  {}", report.position, report.path, report.status.words());
        if let Some(note) = &report.note {
            let _ = write!(text, ": {note}");
        }
        text.push('\n');
    }
    text
}

/// Walks over the merged tree. Unknown keys become findings.
pub(crate) fn walk(root: &Node, strictness: Strictness, findings: &mut Findings) -> Vec<KeyReport> {
    let mut walk = Walk { strictness, findings, reports: Vec::new() };
    walk.mapping(root, "", Section::Top);
    walk.reports
}

struct Walk<'a> {
    strictness: Strictness,
    findings: &'a mut Findings,
    reports: Vec<KeyReport>,
}

/// The words of `optional_pre_call_checks` that have an effect.
const CHECKS: &[&str] = &[
    "enforce_model_rate_limits",
    "prompt_caching",
    "session_affinity",
    "deployment_affinity",
    "responses_api_deployment_check",
    "encrypted_content_affinity",
];

impl Walk<'_> {
    fn mapping(&mut self, node: &Node, path: &str, section: Section) {
        for entry in node.entries().unwrap_or_default() {
            let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            match registry::find(section, &entry.key) {
                Some(key) => {
                    self.report(&path, &entry.key_at, key.status, note_of(key));
                    self.value(entry, &path, key);
                }
                None => self.unknown(entry, path, section),
            }
        }
    }

    fn report(&mut self, path: &str, at: &Position, status: KeyStatus, note: Option<String>) {
        self.reports.push(KeyReport { path: path.to_owned(), position: at.clone(), status, note });
    }

    fn value(&mut self, entry: &Entry, path: &str, key: &Key) {
        match key.inside {
            Inside::Map(section) => self.mapping(&entry.node, path, section),
            Inside::List(section) => {
                for (index, item) in entry.node.items().unwrap_or_default().iter().enumerate() {
                    self.mapping(item, &format!("{path}[{index}]"), section);
                }
            }
            Inside::Maps(section) => {
                for named in entry.node.entries().unwrap_or_default() {
                    self.mapping(&named.node, &format!("{path}.{}", named.key), section);
                }
            }
            Inside::Plain | Inside::Price | Inside::Request => {}
        }
        match path {
            "router_settings.routing_strategy" => self.strategy(entry),
            "litellm_settings.callbacks"
            | "litellm_settings.success_callback"
            | "litellm_settings.failure_callback" => self.choices(entry, path, "callback", &["prometheus"]),
            "router_settings.optional_pre_call_checks" => {
                self.choices(entry, path, "check", CHECKS);
            }
            "general_settings.alerting" => self.choices(entry, path, "destination", &["slack", "webhook"]),
            _ => {}
        }
    }

    /// One strategy is not known here; the row of the key says so, and so does each use of it.
    fn strategy(&mut self, entry: &Entry) {
        let given = entry.node.scalar_text().unwrap_or_default();
        let known = Strategy::WORDS.iter().find(|(word, _)| *word == given);
        if let (Some((word, Strategy::Lar1)), Some(last)) = (known, self.reports.last_mut()) {
            last.status = KeyStatus::NotYet;
            last.note = Some(format!("`{word}` falls back to `simple-shuffle`"));
        }
    }

    /// A list of which some words are honoured yet.
    fn choices(&mut self, entry: &Entry, path: &str, what: &str, words: &[&str]) {
        let single = std::slice::from_ref(&entry.node);
        let items = entry.node.items().unwrap_or(single);
        let names: Vec<String> = items.iter().filter_map(Node::scalar_text).collect();
        let honoured = names.iter().any(|name| words.contains(&name.as_str()));
        if let Some(last) = self.reports.last_mut() {
            last.note = None;
            last.status = if honoured || names.is_empty() { KeyStatus::Honoured } else { KeyStatus::NotYet };
        }
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !words.contains(&name.as_str())) {
            let note = Some(format!("{what} `{name}`"));
            self.report(&format!("{path}[{index}]"), &items[index].at, KeyStatus::NotYet, note);
        }
    }

    fn unknown(&mut self, entry: &Entry, path: String, section: Section) {
        let status = registry::status_of_unknown(section);
        let names = registry::keys(section).iter().map(|key| key.name).filter(|name| !name.contains('*'));
        let remedy = did_you_mean(&entry.key, names);
        self.report(&path, &entry.key_at, status, remedy.clone());
        // A key that travels on is a mistake only if it looks like one of ours.
        if status != KeyStatus::Unknown && remedy.is_none() {
            return;
        }
        let message = match status {
            KeyStatus::Forwarded => "unknown key, sent to the provider",
            KeyStatus::Kept => "unknown key, kept without effect",
            _ => "unknown key",
        };
        let found = match self.strictness {
            Strictness::Lenient => Diagnostic::warning(Some(&entry.key_at), path, message),
            Strictness::Strict => Diagnostic::error(Some(&entry.key_at), path, message),
        };
        self.findings
            .push(found.remedy(remedy.unwrap_or_else(|| "remove it, or check its place".to_owned())));
    }
}

fn note_of(key: &Key) -> Option<String> {
    (key.status == KeyStatus::NoEffect && key.doc != "-").then(|| key.doc.to_owned())
}
