//! The `.env` file of the working directory, which LiteLLM reads in its development mode.
//!
//! Source: python-dotenv: `export` in front is allowed, single quotes are literal but for `\'` and `\\`,
//! double quotes know escapes and may span lines, `${NAME}` and `${NAME:-default}` are replaced.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::env::Env;
use crate::position::Position;

impl Env {
    /// This environment with the variables of `directory`'s `.env` that it does not have itself.
    ///
    /// Nothing is read unless `LITELLM_MODE` is `DEV`, which is the default. A line that makes no sense, and
    /// a file that cannot be read, are warnings; no file is none.
    #[must_use]
    pub fn with_dotenv(&self, directory: &Path) -> (Self, Vec<Diagnostic>) {
        if self.filled("LITELLM_MODE").is_some_and(|mode| !mode.eq_ignore_ascii_case("DEV")) {
            return (self.clone(), Vec::new());
        }
        let path = directory.join(".env");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let (pairs, findings) = parse(&text, &path, self);
                (self.underlaid(pairs), findings)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (self.clone(), Vec::new()),
            Err(error) => {
                let message = match error.kind() {
                    io::ErrorKind::InvalidData => "is not UTF-8 and was not read",
                    _ => "cannot be read",
                };
                let found = Diagnostic::warning(None, path.display().to_string(), message);
                (self.clone(), vec![found.remedy("correct it, or set LITELLM_MODE=PRODUCTION")])
            }
        }
    }
}

fn parse(text: &str, path: &Path, env: &Env) -> (Vec<(String, String)>, Vec<Diagnostic>) {
    let file: Arc<Path> = Arc::from(path);
    let (mut pairs, mut findings): (Vec<(String, String)>, Vec<Diagnostic>) = (Vec::new(), Vec::new());
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let here = rest.trim_start_matches([' ', '\t', '\r']);
        let end = here.find('\n').map_or(here.len(), |at| at + 1);
        if here.trim_start().is_empty() || here.starts_with(['#', '\n']) {
            rest = &here[end..];
            continue;
        }
        match assignment(here) {
            Some((name, value, after)) => {
                let value = value.map(|value| expand(&value, &pairs, env));
                pairs.extend(value.map(|value| (name.to_owned(), value)));
                rest = after;
            }
            None => {
                let at = Position::new(file.clone(), u32::try_from(line).unwrap_or(u32::MAX), 1);
                findings.push(
                    Diagnostic::warning(Some(&at), "", "is not `NAME=value`").remedy("correct the line"),
                );
                rest = &here[end..];
            }
        }
    }
    (pairs, findings)
}

/// A name, its value (none for a bare name), and what follows the line.
fn assignment(text: &str) -> Option<(&str, Option<String>, &str)> {
    let text = text.strip_prefix("export ").map_or(text, str::trim_start);
    let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-')))?;
    let (name, after) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let after = after.trim_start_matches([' ', '\t']);
    let Some(value) = after.strip_prefix('=') else {
        return after.starts_with(['\n', '\r', '#']).then(|| (name, None, rest_of_line(after)));
    };
    let value = value.trim_start_matches([' ', '\t']);
    match value.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let (inner, after) = quoted(&value[1..], quote)?;
            let tail = after.split('\n').next().unwrap_or_default().trim();
            (tail.is_empty() || tail.starts_with('#')).then(|| (name, Some(inner), rest_of_line(after)))
        }
        _ => {
            let line = value.split('\n').next().unwrap_or_default();
            let end = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min().unwrap_or(line.len());
            let plain = if line.starts_with('#') { "" } else { line[..end].trim_end() };
            Some((name, Some(plain.to_owned()), rest_of_line(value)))
        }
    }
}

fn rest_of_line(text: &str) -> &str {
    text.find('\n').map_or("", |at| &text[at + 1..])
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                escaped if escaped == quote || escaped == '\\' => value.push(escaped),
                'n' if quote == '"' => value.push('\n'),
                'r' if quote == '"' => value.push('\r'),
                't' if quote == '"' => value.push('\t'),
                other => {
                    value.push('\\');
                    value.push(other);
                }
            },
            _ => value.push(c),
        }
    }
    None
}

/// Replaces `${NAME}` and `${NAME:-default}`; the environment wins over earlier lines.
fn expand(value: &str, earlier: &[(String, String)], env: &Env) -> String {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}') else { break };
        let (name, default) = match rest[start + 2..start + end].split_once(":-") {
            Some((name, default)) => (name, default),
            None => (&rest[start + 2..start + end], ""),
        };
        let known = earlier.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        expanded.push_str(&rest[..start]);
        expanded.push_str(env.get(name).or(known).unwrap_or(default));
        rest = &rest[start + end + 1..];
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, env: &Env) -> (Vec<(String, String)>, Vec<String>) {
        let (pairs, findings) = parse(text, Path::new(".env"), env);
        (pairs, findings.iter().map(Diagnostic::to_string).collect())
    }

    #[test]
    fn a_dotenv_file_reads_as_python_dotenv_reads_it() {
        let text = "# comment\n\nA=1\nexport B = 'two # $\\'s' # note\nC=\"x\\ny\nz\"\nD=plain value # note\nE=\n\
                    F=${A}-${NONE:-none}-${SET}\r\nBARE\n= bad\nG=#\n";
        let env: Env = [("SET", "env")].into_iter().collect();
        let (pairs, findings) = read(text, &env);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            pairs,
            [
                ("A", "1"),
                ("B", "two # $'s"),
                ("C", "x\ny\nz"),
                ("D", "plain value"),
                ("E", ""),
                ("F", "1-none-env"),
                ("G", ""),
            ]
        );
        assert_eq!(findings, [".env:11:1  is not `NAME=value`; correct the line"]);
    }

    #[test]
    fn a_dotenv_file_counts_in_dev_mode_only_and_never_overrides() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".env"), "A=file\nB=file\n").unwrap();
        let env: Env = [("A", "process")].into_iter().collect();
        let (read, findings) = env.with_dotenv(folder.path());
        assert_eq!((read.get("A"), read.get("B"), findings.len()), (Some("process"), Some("file"), 0));
        let production = env.overlaid([("LITELLM_MODE", "PRODUCTION")]);
        assert_eq!(production.with_dotenv(folder.path()).0.get("B"), None);
    }
}
