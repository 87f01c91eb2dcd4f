//! The environment as an argument.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// How a variable is looked up.
type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Looks environment variables up by name. `config` makes the real one; tests make their own.
///
/// Credential chains read it when they need a value, not when they are built, so that a later change of a
/// mounted file's path is seen. Two views are equal when they are clones of one another.
#[derive(Clone)]
pub struct EnvView(Arc<Lookup>);

impl EnvView {
    /// A view that answers by `lookup`.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// A view in which nothing is set.
    pub fn empty() -> Self {
        Self::new(|_| None)
    }

    /// The variable's value; `None` when it is unset or empty.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The value of the first of `names` that is set.
    pub fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    /// The user's home directory, for well-known credential files.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.first(&["HOME", "USERPROFILE"]).map(PathBuf::from)
    }
}

impl PartialEq for EnvView {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for EnvView {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("EnvView")
    }
}
