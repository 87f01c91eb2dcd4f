//! The provider table: one row of data per provider, read once.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::auth::Auth;
use crate::dialect::{Dialect, Operation};
use crate::quirk::Quirk;

/// How much a provider matters to users; also the order in which gaps are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Tier {
    /// Must work in full.
    A,
    /// Should work.
    B,
    /// Rare.
    C,
}

/// Whether `reasoning_effort` may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningEffort {
    /// For every model.
    Yes,
    /// For no model.
    No,
    /// When the catalogue says that the model supports reasoning.
    Catalog,
}

/// One provider, as data.
#[derive(Debug, Deserialize)]
pub struct Provider {
    /// Its name; `<name>/` is the prefix of its model strings.
    pub name: &'static str,
    /// Other names that mean the same provider.
    #[serde(default, borrow)]
    pub aliases: Vec<&'static str>,
    /// How much it matters.
    pub tier: Tier,
    /// Where calls go unless told otherwise; may hold `{region}`-like placeholders. Absent: the caller
    /// must give one.
    #[serde(default)]
    pub base_url: Option<&'static str>,
    /// Variables that replace `base_url`, first one set wins.
    #[serde(default, borrow)]
    pub base_url_env: Vec<&'static str>,
    /// Variables that hold the key, first one set wins (schemes of several secrets list each).
    #[serde(default, borrow)]
    pub key_env: Vec<&'static str>,
    /// Sent when no key is configured, for servers that insist on one.
    #[serde(default)]
    pub default_key: Option<&'static str>,
    /// How the credential is presented.
    pub auth: Auth,
    /// What it serves and in which format.
    pub operations: Vec<(Operation, Dialect)>,
    /// Parameters sent under another name: (ours, theirs).
    #[serde(default, borrow)]
    pub rename: Vec<(&'static str, &'static str)>,
    /// Baseline parameters it rejects.
    #[serde(default, borrow)]
    pub unsupported_params: Vec<&'static str>,
    /// Parameters accepted only for models with a catalogue capability: (parameter, `supports_*`).
    #[serde(default, borrow)]
    pub conditional_params: Vec<(&'static str, &'static str)>,
    /// Parameters outside the baseline that it takes.
    #[serde(default, borrow)]
    pub also_accepts: Vec<&'static str>,
    /// Whether `reasoning_effort` may be sent; absent where the question does not arise.
    #[serde(default)]
    pub reasoning_effort: Option<ReasoningEffort>,
    /// How it differs from its dialect.
    #[serde(default)]
    pub quirks: Vec<Quirk>,
    /// What the published list says in prose.
    #[serde(default)]
    pub notes: &'static str,
}

impl Provider {
    /// The format of `operation`; `None` when the provider does not offer it.
    pub fn dialect(&self, operation: Operation) -> Option<Dialect> {
        self.operations.iter().find(|(offered, _)| *offered == operation).map(|(_, dialect)| *dialect)
    }

    /// True when it completes texts as OpenAI does.
    pub fn completes(&self) -> bool {
        matches!(self.dialect(Operation::Completion), Some(Dialect::Openai | Dialect::AzureOpenai))
    }

    /// True when it does nothing else: a chat is put to it as a text.
    pub fn completes_only(&self) -> bool {
        self.completes() && !self.dialect(Operation::Chat).is_some_and(Dialect::is_supported)
    }

    /// True when this version can serve `operation` on this provider.
    pub fn serves(&self, operation: Operation) -> bool {
        operation.is_served()
            && match self.dialect(operation) {
                _ if operation == Operation::Chat && self.completes_only() => true,
                Some(Dialect::Bridge) => self.serves(Operation::Chat),
                Some(dialect) => dialect.is_supported(),
                None => false,
            }
    }

    /// True when the row names `quirk` (exactly, with its argument).
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// The provider's name for a parameter of ours; the same name unless the row renames it.
    pub fn renamed<'a>(&self, param: &'a str) -> &'a str {
        self.rename.iter().find(|(ours, _)| *ours == param).map_or(param, |(_, theirs)| theirs)
    }
}

#[derive(Deserialize)]
struct Table {
    #[serde(borrow)]
    param_baseline: Vec<&'static str>,
    providers: Vec<Provider>,
}

static TABLE: LazyLock<Table> = LazyLock::new(read_table);

#[expect(clippy::expect_used, reason = "the text is part of the binary and a test reads it")]
fn read_table() -> Table {
    serde_json::from_str(include_str!("../data/providers.json"))
        .expect("the embedded provider table is valid")
}

/// All providers, sorted by name.
pub fn providers() -> &'static [Provider] {
    &TABLE.providers
}

/// The provider called `name`, or with that alias.
pub fn provider(name: &str) -> Option<&'static Provider> {
    let rows = providers();
    match rows.binary_search_by(|row| row.name.cmp(name)) {
        Ok(at) => rows.get(at),
        Err(_) => rows.iter().find(|row| row.aliases.contains(&name)),
    }
}

/// OpenAI chat parameters that are checked against each provider; anything else is sent as it came.
pub fn param_baseline() -> &'static [&'static str] {
    &TABLE.param_baseline
}

#[cfg(test)]
mod tests;
