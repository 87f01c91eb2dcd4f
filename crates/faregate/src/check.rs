//! `faregate check`: what would happen with this configuration.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::json;

use faregate_catalog::Catalog;
use faregate_config::{
    Diagnostic, Env, Position, Reading, ServeEnv, Severity, Stored, Strictness, read, read_over, render,
};

use crate::assemble;

/// Everything there is to say about a file: its own findings and those of its deployments.
pub struct Checked {
    /// The file as read.
    pub reading: Reading,
    /// All findings.
    pub findings: Vec<Diagnostic>,
}

impl Checked {
    /// True if the configuration may be served.
    pub fn is_usable(&self) -> bool {
        !self.findings.iter().any(Diagnostic::is_error)
    }

    /// One line per finding, errors marked as such.
    pub fn lines(&self) -> String {
        self.findings.iter().map(|finding| format!("{}: {finding}\n", severity(finding))).collect()
    }

    /// Keys and findings as one JSON object; `line` and `column` count from 1.
    fn json(&self) -> serde_json::Value {
        let keys = self.reading.keys.iter().map(|key| {
            let mut entry = at(Some(&key.position));
            entry["path"] = json!(key.path);
            entry["status"] = json!(key.status.words());
            entry["note"] = json!(key.note);
            entry
        });
        let findings = self.findings.iter().map(|finding| {
            let mut entry = at(finding.position.as_ref());
            entry["severity"] = json!(severity(finding));
            entry["path"] = json!(finding.path);
            entry["message"] = json!(finding.message);
            entry["remedy"] = json!(finding.remedy);
            entry
        });
        json!({
            "usable": self.is_usable(),
            "keys": keys.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
        })
    }
}

fn severity(finding: &Diagnostic) -> &'static str {
    if finding.is_error() { "error" } else { "warning" }
}

fn at(position: Option<&Position>) -> serde_json::Value {
    match position {
        Some(at) => json!({"file": at.file.display().to_string(), "line": at.line, "column": at.col}),
        None => json!({}),
    }
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line per key on standard output, one per finding on standard error.
    Text,
    /// One object on standard output.
    Json,
}

/// Reads a file and tries its deployments, without calling anybody. Needs a tokio runtime.
pub fn check(path: &Path, env: &Env, strictness: Strictness) -> anyhow::Result<Checked> {
    checked(read(path, env, strictness))
}

/// The same with what the database adds to the file.
pub fn check_over(
    path: &Path,
    stored: &Stored,
    env: &Env,
    strictness: Strictness,
) -> anyhow::Result<Checked> {
    checked(read_over(Some(path), stored, env, strictness))
}

fn checked(reading: Reading) -> anyhow::Result<Checked> {
    let mut findings = reading.findings.clone();
    if let Some(draft) = &reading.draft {
        let (environment, warnings) = ServeEnv::read(&draft.env);
        findings.extend(warnings);
        let upstream = assemble::upstream(&environment, draft, 0)?;
        let (_, skipped) = assemble::table(draft, &upstream, &Arc::new(Catalog::built_in()), None, None);
        // One stored model that cannot serve must not keep a configuration from being served.
        findings.extend(skipped.into_iter().map(|finding| {
            if finding.is_stored() { Diagnostic { severity: Severity::Warning, ..finding } } else { finding }
        }));
    }
    Ok(Checked { reading, findings })
}

/// Prints findings and the fate of every key; fails if there is an error.
///
/// # Errors
/// Only if nothing can be printed.
pub fn run(path: &Path, strict: bool, format: Format) -> anyhow::Result<ExitCode> {
    let strictness = if strict { Strictness::Strict } else { Strictness::Lenient };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _within = runtime.enter();
    let checked = check(path, &Env::process(), strictness)?;
    let mut out = std::io::stdout().lock();
    match format {
        Format::Text => {
            out.write_all(render(&checked.reading.keys).as_bytes())?;
            std::io::stderr().write_all(checked.lines().as_bytes())?;
        }
        Format::Json => writeln!(out, "{:#}", checked.json())?,
    }
    Ok(if checked.is_usable() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
