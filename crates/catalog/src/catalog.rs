//! The model catalogue: the embedded price list, searched as text, and what overrides it.
//!
//! The list is 2 MB of text, sorted by key, one model per line, packed in the binary. A look-up is a binary
//! search over the lines, so that no entry is read before it is asked for. Entries that were read are kept, up
//! to a bound.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use miniz_oxide::inflate::decompress_to_vec;
use serde_json::value::RawValue;

use crate::model::{BadEntry, ModelInfo, row_of};
use crate::{lookup, pattern};

/// The embedded list, unpacked when it is first asked (2 MB, a few milliseconds).
static BUILT_IN: LazyLock<String> = LazyLock::new(|| {
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/models.deflate"));
    let text = decompress_to_vec(packed).ok().and_then(|text| String::from_utf8(text).ok());
    // What the build packed unpacks; a test reads every entry.
    text.unwrap_or_default()
});

/// Read entries kept in memory; more than any sane configuration names.
const KEPT: usize = 2048;

/// What a fetched list must satisfy before it is believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sanity {
    /// Fewest models it may have.
    pub min_models: usize,
    /// Smallest size allowed, in thousandths of the number of models known so far.
    pub min_thousandths: usize,
}

impl Sanity {
    /// No demands: for small local files of corrections.
    pub const NONE: Self = Self { min_models: 0, min_thousandths: 0 };
    /// The usual demands on a downloaded list: at least 50 models and half of what is known.
    pub const DOWNLOAD: Self = Self { min_models: 50, min_thousandths: 500 };
}

/// Why a list was not taken; the one in use stays.
#[derive(Debug, thiserror::Error)]
pub enum BadList {
    /// Not a JSON object of objects.
    #[error("the model list is not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
    /// Fewer models than demanded.
    #[error("the model list has {found} models, fewer than the {wanted} expected; keeping the one in use")]
    TooFew {
        /// Models found.
        found: usize,
        /// Models demanded.
        wanted: usize,
    },
    /// An entry that cannot be read.
    #[error("model list entry `{key}`: {reason}")]
    Entry {
        /// Its key.
        key: String,
        /// What is wrong.
        reason: BadEntry,
    },
}

/// Models, their limits, capabilities and prices.
#[derive(Debug)]
pub struct Catalog {
    /// Entries that win over the embedded ones, sorted by key.
    overrides: Vec<(Box<str>, Box<str>)>,
    read: RwLock<HashMap<Box<str>, Arc<ModelInfo>>>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::built_in()
    }
}

impl Catalog {
    /// The embedded list. Costs nothing to make.
    pub fn built_in() -> Self {
        Self { overrides: Vec::new(), read: RwLock::new(HashMap::new()) }
    }

    /// The embedded list with entries of `json` (same format) in front of it; each entry wins whole.
    ///
    /// Fails, naming the entry, when anything in it cannot be used; then keep the catalogue in use.
    pub fn with_overrides(json: &[u8], sanity: Sanity) -> Result<Self, BadList> {
        let list: BTreeMap<String, &RawValue> = serde_json::from_slice(json)?;
        let wanted = sanity.min_models.max(count_lines() * sanity.min_thousandths / 1000);
        let models = list.iter().filter(|(key, _)| !NOT_MODELS.contains(&key.as_str()));
        let mut overrides = Vec::with_capacity(list.len());
        for (key, raw) in models {
            ModelInfo::parse(key, Cow::Owned(raw.get().to_owned()))
                .map_err(|reason| BadList::Entry { key: key.clone(), reason })?;
            overrides.push((key.as_str().into(), raw.get().into()));
        }
        if overrides.len() < wanted {
            return Err(BadList::TooFew { found: overrides.len(), wanted });
        }
        Ok(Self { overrides, ..Self::built_in() })
    }

    /// What is known of `model` at `provider` (a row name): the entry by the look-up rules, or what the
    /// name itself tells. `None` when nothing does.
    pub fn find(&self, provider: &str, model: &str) -> Option<Arc<ModelInfo>> {
        let asked = format!("{provider}/{model}");
        if let Some(known) = self.kept(&asked) {
            return Some(known);
        }
        let found = lookup::candidates(provider, model)
            .into_iter()
            .find_map(|candidate| self.read_entry(&candidate.key, |listed| candidate.accepts(listed)));
        let mut info = match found {
            Some(info) => info,
            None => return pattern::guess(provider, model).map(Arc::new),
        };
        pattern::fill(provider, &mut info);
        let info = Arc::new(info);
        self.keep(asked, &info);
        Some(info)
    }

    /// The entry under exactly this key.
    pub fn entry(&self, key: &str) -> Option<Arc<ModelInfo>> {
        let mut info = self.read_entry(key, |_| true)?;
        let provider = info.provider_name().unwrap_or_default().to_owned();
        pattern::fill(&provider, &mut info);
        Some(Arc::new(info))
    }

    /// The provider row that serves the model listed under exactly this key.
    pub fn provider_of(&self, key: &str) -> Option<String> {
        let info = self.read_entry(key, |_| true)?;
        info.provider_name().map(str::to_owned)
    }

    /// True when the list has exactly this key.
    pub fn contains(&self, key: &str) -> bool {
        self.text(key).is_some()
    }

    /// The entry under exactly this key as JSON text.
    pub fn text(&self, key: &str) -> Option<Cow<'static, str>> {
        let own = self.overrides.binary_search_by(|(known, _)| (**known).cmp(key)).ok();
        match own.and_then(|at| self.overrides.get(at)) {
            Some((_, raw)) => Some(Cow::Owned(raw.to_string())),
            None => search(&BUILT_IN, key).map(Cow::Borrowed),
        }
    }

    /// All keys, sorted within the overrides and within the embedded list; overridden ones come once.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let own = self.overrides.iter().map(|(key, _)| &**key);
        let rest = lines(&BUILT_IN).map(|(key, _)| key);
        own.chain(
            rest.filter(|key| self.overrides.binary_search_by(|(known, _)| (**known).cmp(key)).is_err()),
        )
    }

    /// Number of models.
    pub fn len(&self) -> usize {
        self.keys().count()
    }

    /// False: the embedded list is never empty.
    pub fn is_empty(&self) -> bool {
        self.keys().next().is_none()
    }

    fn read_entry(&self, key: &str, accepts: impl Fn(Option<&str>) -> bool) -> Option<ModelInfo> {
        let raw = self.text(key)?;
        // Entries were checked when they came in (embedded ones by a test), so this does not fail.
        let info = ModelInfo::parse(key, raw).ok()?;
        accepts(info.listed_provider.as_deref().map(row_of)).then_some(info)
    }

    fn kept(&self, asked: &str) -> Option<Arc<ModelInfo>> {
        self.read.read().unwrap_or_else(PoisonError::into_inner).get(asked).cloned()
    }

    fn keep(&self, asked: String, info: &Arc<ModelInfo>) {
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        if read.len() >= KEPT {
            // Names come from clients when a wildcard is configured: bound first, cleverness never.
            read.clear();
        }
        read.insert(asked.into(), Arc::clone(info));
    }
}

/// Members of published lists that are no models.
const NOT_MODELS: &[&str] = &["sample_spec", "model_name_patterns"];

fn lines(list: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    list.lines().filter_map(split)
}

fn count_lines() -> usize {
    lines(&BUILT_IN).count()
}

/// Takes `"<key>":{...},` apart. Keys hold no escapes: the script that writes the list sees to it.
fn split(line: &str) -> Option<(&str, &str)> {
    let (key, entry) = line.strip_prefix('"')?.split_once("\":")?;
    Some((key, entry.strip_suffix(',').unwrap_or(entry)))
}

/// Binary search by bytes: land anywhere, step back to the start of the line, compare its key.
fn search(list: &'static str, key: &str) -> Option<&'static str> {
    let bytes = list.as_bytes();
    // Between the opening brace's line and the closing one's.
    let (mut low, mut high) = (list.find('\n')? + 1, list.trim_end().len().checked_sub(1)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let start = bytes[low..middle].iter().rposition(|b| *b == b'\n').map_or(low, |at| low + at + 1);
        let end = bytes[middle..high].iter().position(|b| *b == b'\n').map_or(high, |at| middle + at);
        let (found, entry) = split(list.get(start..end)?)?;
        match found.cmp(key) {
            std::cmp::Ordering::Equal => return Some(entry),
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

#[cfg(test)]
mod tests;
