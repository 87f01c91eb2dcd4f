//! The table of every key: `data/keys.txt`, compiled in.
//!
//! The check report, "did you mean" and the reference page all come from it.

use std::sync::LazyLock;

/// A mapping whose keys are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The file itself.
    Top,
    /// `model_list[].litellm_params`.
    LitellmParams,
    /// Any other, by its index in the table.
    Other(usize),
}

/// What happens to a key that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyStatus {
    /// It does what the reference says.
    Honoured,
    /// It is sent to the provider as a request member.
    Forwarded,
    /// It is free-form data that is kept.
    Kept,
    /// It is accepted, and there is nothing for it to do here; the doc says why.
    NoEffect,
    /// It is read and does nothing yet.
    NotYet,
    /// Nobody knows it.
    Unknown,
}

impl KeyStatus {
    /// The words of the report.
    pub fn words(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Forwarded => "sent to the provider",
            Self::Kept => "kept",
            Self::NoEffect => "accepted without effect",
            Self::NotYet => "not honoured yet",
            Self::Unknown => "unknown",
        }
    }
}

/// What a key's value holds, where that matters to the walk over a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// Nothing further to look at.
    Plain,
    /// A price, kept exactly.
    Price,
    /// A request parameter of OpenAI's API.
    Request,
    /// A mapping with known keys.
    Map(Section),
    /// A list of such mappings.
    List(Section),
    /// A mapping of free names to such mappings.
    Maps(Section),
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Key {
    /// The name; may hold `*` for any text.
    pub name: &'static str,
    /// The type in words.
    pub kind: &'static str,
    /// The default as written in the reference; `-` for unset.
    pub default: &'static str,
    /// `A` in almost every deployment, `B` common, `C` rare.
    pub tier: &'static str,
    /// What happens to it.
    pub status: KeyStatus,
    /// One line.
    pub doc: &'static str,
    pub(crate) inside: Inside,
}

/// A section of the table, in the order of the reference.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    word: &'static str,
    pub(crate) keys: Vec<Key>,
}

const TEXT: &str = include_str!("../data/keys.txt");
static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| parse(TEXT).0);

/// All sections.
pub(crate) fn tables() -> &'static [Table] {
    &TABLES
}

/// The keys of a section.
pub(crate) fn keys(section: Section) -> &'static [Key] {
    let index = match section {
        Section::Top => 0,
        Section::LitellmParams => {
            TABLES.iter().position(|table| table.word == "litellm_params").unwrap_or_default()
        }
        Section::Other(index) => index,
    };
    TABLES.get(index).map(|table| table.keys.as_slice()).unwrap_or_default()
}

/// The keys of a section of the file, such as `general_settings`.
pub fn known_keys(section: &str) -> impl Iterator<Item = &'static Key> {
    TABLES.iter().filter(move |table| table.word == section).flat_map(|table| &table.keys)
}

/// The row of a key: by name, else by the first pattern that fits.
pub(crate) fn find(section: Section, name: &str) -> Option<&'static Key> {
    let keys = keys(section);
    keys.iter().find(|key| key.name == name).or_else(|| keys.iter().find(|key| fits(key.name, name)))
}

/// Whether unknown keys of the section travel on or are kept, so that they are no mistake in themselves.
pub(crate) fn status_of_unknown(section: Section) -> KeyStatus {
    let word = match section {
        Section::LitellmParams => "litellm_params",
        Section::Top => "top",
        Section::Other(index) => TABLES.get(index).map(|table| table.word).unwrap_or_default(),
    };
    match word {
        "litellm_params" => KeyStatus::Forwarded,
        "model" | "model_info" => KeyStatus::Kept,
        _ => KeyStatus::Unknown,
    }
}

/// Whether a key of `litellm_params` or `model_info` is a price.
pub(crate) fn is_price(name: &str) -> bool {
    matches!(find(Section::LitellmParams, name), Some(Key { inside: Inside::Price, .. }))
        && name != "cost_per_ptu_per_hour"
}

/// Whether a key of `litellm_params` is a default request parameter.
pub(crate) fn is_request_parameter(name: &str) -> bool {
    matches!(find(Section::LitellmParams, name), Some(Key { inside: Inside::Request, .. }))
}

/// `*` in `pattern` stands for any text, also none.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    while let Some((middle, tail)) = rest.split_once('*') {
        let Some(at) = name.find(middle) else { return false };
        name = &name[at + middle.len()..];
        rest = tail;
    }
    name.ends_with(rest)
}

/// Reads the table; the second value lists the lines that are not rows.
fn parse(text: &'static str) -> (Vec<Table>, Vec<&'static str>) {
    let heading = |line: &'static str| line.strip_prefix('[')?.split_once("] ");
    let words: Vec<&str> = text.lines().filter_map(heading).map(|(word, _)| word).collect();
    let section = |word: &str| {
        let index = words.iter().position(|known| *known == word)?;
        Some(match word {
            "top" => Section::Top,
            "litellm_params" => Section::LitellmParams,
            _ => Section::Other(index),
        })
    };
    let (mut tables, mut bad): (Vec<Table>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((word, title)) = heading(line) {
            tables.push(Table { title, word, keys: Vec::new() });
            continue;
        }
        match (row(line, &section), tables.last_mut()) {
            (Some(key), Some(table)) => table.keys.push(key),
            _ => bad.push(line),
        }
    }
    (tables, bad)
}

fn row(line: &'static str, section: &dyn Fn(&str) -> Option<Section>) -> Option<Key> {
    let cells: Vec<&'static str> = line.split(" | ").map(str::trim).collect();
    let &[name, kind, default, tier, status, doc] = cells.as_slice() else { return None };
    let status = match status {
        "honoured" => KeyStatus::Honoured,
        "forwarded" => KeyStatus::Forwarded,
        "no-effect" => KeyStatus::NoEffect,
        "later" => KeyStatus::NotYet,
        _ => return None,
    };
    let (kind, inside) = match kind.split_once(':') {
        Some(("map", word)) => ("map", Inside::Map(section(word)?)),
        Some(("list", word)) => ("list of maps", Inside::List(section(word)?)),
        Some(("maps", word)) => ("map of maps", Inside::Maps(section(word)?)),
        Some(_) => return None,
        None if kind == "price" => ("number", Inside::Price),
        None if kind == "request" => ("any", Inside::Request),
        None => (kind, Inside::Plain),
    };
    Some(Key { name, kind, default, tier, status, doc, inside })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_row() {
        assert_eq!(parse(TEXT).1, Vec::<&str>::new());
        assert!(tables().iter().map(|table| table.keys.len()).sum::<usize>() > 800);
    }

    #[test]
    fn a_star_stands_for_any_text_in_any_place() {
        for (pattern, name, fit) in [
            ("supports_*", "supports_vision", true),
            ("*cost_per_*", "input_cost_per_token_above_200k_tokens", true),
            ("*cost_per_*", "input_cost", false),
            ("*_token_cost*", "cache_read_input_token_cost_priority", true),
            ("a*b", "ab", true),
            ("a*b", "a", false),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn prices_and_request_parameters_are_told_apart() {
        assert!(is_price("input_cost_per_token") && is_price("tiered_pricing"));
        assert!(!is_price("cost_per_ptu_per_hour") && !is_price("max_tokens"));
        assert!(is_request_parameter("max_tokens") && !is_request_parameter("rpm"));
    }
}
