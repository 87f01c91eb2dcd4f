//! Reads the keys of one mapping into typed values, and reports what does not fit.
//!
//! Every reader gives `None` for a key that is absent, null or wrong; wrong also makes an error. Texts that
//! spell a number or a boolean count as such, because values from the environment are always text.

use std::time::Duration;

use faregate_terms::{PicoUsd, Secret};

use crate::diagnostic::{Diagnostic, Findings, nearest};
use crate::node::{Entry, Node, Value};
use crate::open_map::{Headers, OpenMap};

/// A mapping being read, and its YAML path.
pub(crate) struct Fields<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    pub(crate) findings: &'a mut Findings,
}

impl<'a> Fields<'a> {
    /// The mapping `node`; anything else is an error and reads as an empty mapping.
    pub(crate) fn of(node: &'a Node, path: impl Into<String>, findings: &'a mut Findings) -> Self {
        let path = path.into();
        if node.entries().is_none() && !node.is_null() {
            findings.error(&node.at, &path, format!("expected a mapping, found {}", node.shape()));
        }
        Self { node, path, findings }
    }

    pub(crate) fn entries(&self) -> &'a [Entry] {
        self.node.entries().unwrap_or_default()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        self.node.get(key)
    }

    /// The path of a key of this mapping.
    pub(crate) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A mapping inside this one.
    pub(crate) fn child(&mut self, key: &str) -> Option<Fields<'_>> {
        let node = self.node.get(key)?;
        let path = self.at(key);
        Some(Fields::of(node, path, self.findings))
    }

    pub(crate) fn error(&mut self, key: &str, node: &Node, message: impl Into<String>) {
        let path = self.at(key);
        self.findings.error(&node.at, &path, message);
    }

    fn wrong(&mut self, key: &str, node: &Node, expected: &str) {
        let message = match &node.variable {
            Some(name) => {
                format!("expected {expected}, but environment variable {name} holds something else")
            }
            None => format!("expected {expected}, found {}", node.shape()),
        };
        self.error(key, node, message);
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        let node = self.get(key)?;
        let text = node.scalar_text();
        if text.is_none() {
            self.wrong(key, node, "text");
        }
        text
    }

    /// Text that is there: an empty one counts as absent.
    pub(crate) fn filled(&mut self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub(crate) fn secret(&mut self, key: &str) -> Option<Secret> {
        self.filled(key).map(Secret::new)
    }

    /// A list of secrets; empty ones count as absent.
    pub(crate) fn secrets(&mut self, key: &str) -> Vec<Secret> {
        let texts = self.texts(key).unwrap_or_default();
        texts.into_iter().filter(|text| !text.is_empty()).map(Secret::new).collect()
    }

    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        let node = self.get(key)?;
        let flag = flag_of(node);
        if flag.is_none() {
            self.wrong(key, node, "true or false");
        }
        flag
    }

    /// A finite number.
    pub(crate) fn number(&mut self, key: &str) -> Option<f64> {
        let node = self.get(key)?;
        let number = number_of(node);
        if number.is_none() {
            self.wrong(key, node, "a number");
        }
        number
    }

    /// A number from 0.
    pub(crate) fn amount(&mut self, key: &str) -> Option<f64> {
        let node = self.get(key)?;
        let number = number_of(node).filter(|number| *number >= 0.0);
        if number.is_none() {
            self.wrong(key, node, "a number from 0");
        }
        number
    }

    /// US dollars from 0, digit by digit.
    pub(crate) fn money(&mut self, key: &str) -> Option<PicoUsd> {
        let node = self.get(key)?;
        let written = node.scalar_text().filter(|_| !matches!(node.value, Value::Bool(_)));
        let money =
            written.and_then(|text| PicoUsd::parse(text.trim()).ok()).filter(|money| *money >= PicoUsd::ZERO);
        if money.is_none() {
            self.wrong(key, node, "an amount of US dollars from 0");
        }
        money
    }

    /// A whole number from 0.
    pub(crate) fn count(&mut self, key: &str) -> Option<u64> {
        let node = self.get(key)?;
        let count = number_of(node)
            .filter(|number| *number >= 0.0 && number.fract() == 0.0 && *number < 9.0e15)
            .map(|number| number as u64);
        if count.is_none() {
            self.wrong(key, node, "a whole number from 0");
        }
        count
    }

    /// A number of seconds from 0.
    pub(crate) fn seconds(&mut self, key: &str) -> Option<Duration> {
        let node = self.get(key)?;
        let span = number_of(node).and_then(|number| Duration::try_from_secs_f64(number).ok());
        if span.is_none() {
            self.wrong(key, node, "a number of seconds");
        }
        span
    }

    /// A list of texts; a single text is a list of one.
    pub(crate) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.get(key)?;
        if let Some(text) = node.scalar_text() {
            return Some(vec![text]);
        }
        let texts: Option<Vec<String>> =
            node.items().and_then(|items| items.iter().map(Node::scalar_text).collect());
        if texts.is_none() {
            self.wrong(key, node, "a list of texts");
        }
        texts
    }

    /// A mapping carried as it is.
    pub(crate) fn open(&mut self, key: &str) -> Option<OpenMap> {
        let node = self.get(key)?;
        match node.to_json() {
            serde_json::Value::Object(map) => Some(OpenMap(map)),
            _ => {
                self.wrong(key, node, "a mapping");
                None
            }
        }
    }

    /// A mapping of texts to texts.
    pub(crate) fn headers(&mut self, key: &str) -> Option<Headers> {
        let node = self.get(key)?;
        let Some(entries) = node.entries() else {
            self.wrong(key, node, "a mapping of header names to values");
            return None;
        };
        let mut headers = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.node.is_null()) {
            match entry.node.scalar_text() {
                Some(value) => headers.push((entry.key.clone(), value)),
                None => self.wrong(&format!("{key}.{}", entry.key), &entry.node, "text"),
            }
        }
        Some(Headers(headers))
    }

    /// One of a closed list of words; an unknown one is an error that names the nearest.
    pub(crate) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let node = self.get(key)?;
        let given = self.text(key)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == given) {
            return Some(*meaning);
        }
        let names = || words.iter().map(|(word, _)| *word);
        let remedy = match nearest(&given, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "use one of {}",
                names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        let message = match &node.variable {
            Some(name) => format!("environment variable {name} holds an unknown value"),
            None => format!("unknown value `{given}`"),
        };
        let path = self.at(key);
        self.findings.push(Diagnostic::error(Some(&node.at), path, message).remedy(remedy));
        None
    }
}

pub(crate) fn flag_of(node: &Node) -> Option<bool> {
    let text = node.scalar_text()?;
    parse_flag(&text)
}

/// The spellings of a boolean that LiteLLM's typed models take.
pub(crate) fn parse_flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "y" | "t" => Some(true),
        "false" | "0" | "no" | "off" | "n" | "f" => Some(false),
        _ => None,
    }
}

pub(crate) fn number_of(node: &Node) -> Option<f64> {
    if matches!(node.value, crate::node::Value::Bool(_)) {
        return None;
    }
    node.scalar_text()?.trim().parse().ok().filter(|number: &f64| number.is_finite())
}
