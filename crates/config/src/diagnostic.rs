//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;

use crate::position::Position;

/// How much a [`Diagnostic`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is used; an operator should look.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One finding. Its `Display` is one line: `config.yaml:14:21  router_settings.timeout: message; remedy`.
///
/// Never holds the text of a secret: messages name keys, shapes and environment variables only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the configuration can be used in spite of it.
    pub severity: Severity,
    /// Where it was written; `None` for the process environment and for files that cannot be read.
    pub position: Option<Position>,
    /// The YAML path (`model_list[3].litellm_params.api_key`), or the name of a file or variable.
    pub path: String,
    /// What is wrong, without a final dot.
    pub message: String,
    /// What to do about it, when the message does not say it already.
    pub remedy: Option<String>,
}

impl Diagnostic {
    /// A finding that refuses the configuration.
    pub fn error(position: Option<&Position>, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            position: position.cloned(),
            path: path.into(),
            message: message.into(),
            remedy: None,
        }
    }

    /// A finding that does not.
    pub fn warning(position: Option<&Position>, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(position, path, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Whether it is about something that the database holds.
    pub fn is_stored(&self) -> bool {
        self.position.as_ref().is_some_and(crate::stored::is_of_database)
    }

    /// Whether it refuses the configuration.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(out, "{position}  ")?;
        }
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(out, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Collects findings while a configuration is read, so that all of them are shown at once.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Diagnostic>);

impl Findings {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    pub(crate) fn error(&mut self, at: &Position, path: &str, message: impl Into<String>) {
        self.push(Diagnostic::error(Some(at), path, message));
    }

    pub(crate) fn warn(&mut self, at: &Position, path: &str, message: impl Into<String>) {
        self.push(Diagnostic::warning(Some(at), path, message));
    }

    /// All findings, each once; per file in the order `files` gives, then by line and column.
    pub(crate) fn sorted(mut self, files: &[std::path::PathBuf]) -> Vec<Diagnostic> {
        self.0.sort_by_key(|found| {
            found.position.as_ref().map(|at| {
                let file = files.iter().position(|file| file.as_path() == &*at.file);
                (file.unwrap_or(files.len()), at.line, at.col)
            })
        });
        self.0.dedup();
        self.0
    }
}

/// `did you mean ...?` for the nearest of `known`, when one is near enough to be meant.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(given, known).map(|name| format!("did you mean `{name}`?"))
}

/// The nearest of `known` within a third of the word's length (at most 3 edits).
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (given.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
