//! What the data plane asks of parts it does not know: who a key belongs to, and what limits a name.

use std::fmt;
use std::sync::Arc;

use faregate_terms::KeyHash;

use crate::caller::{Caller, Subject};

/// Something other than a key that requests are counted against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Which {
    /// This whole installation.
    Global,
    /// A customer of the caller.
    EndUser(Arc<str>),
    /// A tag of the request.
    Tag(Arc<str>),
    /// A model access group.
    AccessGroup(Arc<str>),
    /// A provider.
    Provider(Arc<str>),
    /// One entry of `model_list`, by its id.
    Deployment(Arc<str>),
}

/// The place that knows cannot be asked now; the text says why, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What came of a question; `None` if nobody is known by that name.
pub type Outcome<T> = Result<Option<Arc<T>>, Unavailable>;

/// Takes the answer, once, on any thread.
pub type Then<T> = Box<dyn FnOnce(Outcome<T>) + Send>;

/// Knows virtual keys and everything else that has limits.
///
/// Both methods return at once and answer later: a request may go on with what it remembers while the answer
/// is fetched.
pub trait PrincipalSource: Send + Sync {
    /// Looks a virtual key up.
    fn key(&self, hash: KeyHash, then: Then<Caller>);

    /// Looks up what limits a name.
    fn subject(&self, which: &Which, then: Then<Subject>);
}
