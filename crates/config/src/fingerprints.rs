//! Which settings differ between two configurations, without keeping their values.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use crate::node::Node;

/// Random per process, so that a fingerprint tells nothing about a secret.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Keys that are compared in another way, or say only where to read.
const APART: &[&str] = &["model_list", "include"];

/// Each setting (`section.key`) with a fingerprint of its value. `Debug` shows the keys only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fingerprints(BTreeMap<String, u64>);

impl Fingerprints {
    pub(crate) fn of(root: &Node) -> Self {
        let mut all = BTreeMap::new();
        let mut add =
            |path: String, node: &Node| all.insert(path, HASHER.hash_one(node.to_json().to_string()));
        for section in root.entries().unwrap_or_default() {
            if APART.contains(&section.key.as_str()) {
                continue;
            }
            match section.node.entries() {
                Some(entries) => {
                    for entry in entries {
                        add(format!("{}.{}", section.key, entry.key), &entry.node);
                    }
                }
                None => {
                    add(section.key.clone(), &section.node);
                }
            }
        }
        Self(all)
    }

    /// True if a setting (`section.key`) is set.
    pub fn contains(&self, setting: &str) -> bool {
        self.0.contains_key(setting)
    }

    /// The settings that are set in only one of the two, or differ, by name.
    pub fn changed(&self, other: &Self) -> Vec<String> {
        let here = self.0.iter().filter(|(key, value)| other.0.get(*key) != Some(value));
        let only_there = other.0.iter().filter(|(key, _)| !self.0.contains_key(*key));
        let mut keys: Vec<String> = here.chain(only_there).map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }
}

impl fmt::Debug for Fingerprints {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}
