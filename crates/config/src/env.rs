//! The environment as a value, so that nothing but [`Env::process`] depends on the process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A frozen set of environment variables. Cheap to clone; `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env(Arc<BTreeMap<String, String>>);

impl Env {
    /// The environment of this process, now. Variables that are not Unicode are left out.
    ///
    /// The only place in the project that reads it.
    pub fn process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// An environment with nothing set.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a variable that is set to something other than the empty text.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// This environment with `pairs` set on top; a name in both takes the value of `pairs`.
    #[must_use]
    pub fn overlaid<K: Into<String>, V: Into<String>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut all = (*self.0).clone();
        all.extend(pairs.into_iter().map(|(name, value)| (name.into(), value.into())));
        Self(Arc::new(all))
    }

    /// This environment with those of `pairs` whose names it does not have.
    #[must_use]
    pub fn underlaid<K: Into<String>, V: Into<String>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .chain(self.0.iter().map(|(name, value)| (name.clone(), value.clone())))
            .collect()
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(Arc::new(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}
