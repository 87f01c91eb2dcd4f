//! What is known of callers, remembered, so that a warm key costs no question.
//!
//! What is remembered is used for [`FRESH`] without asking again; beyond that it is still used, and asked
//! about beside the request, and beyond [`TRUSTED`] before it, but not for long, so that a store that is away or
//! slow stops nobody it has let in before. A change
//! that is heard of ([`Principals::forget`]) drops what it concerns at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faregate_state::invalidate::{Change, Subject as Changed};
use faregate_terms::KeyHash;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::caller::{Caller, Subject};
use crate::ports::{Outcome, PrincipalSource, Then, Unavailable, Which};

/// How long an answer is used without asking again. Source: compat, `user_api_key_cache_ttl`.
const FRESH: Duration = Duration::from_secs(60);
/// How long it is used at all before the answer to that question is there. Counters start from the spend that is
/// remembered here; they are forgotten after twice this time without use (`limits::Settings::idle`), and then what
/// was spent since must be in it.
const TRUSTED: Duration = Duration::from_secs(300);
/// How long it is used while nobody can be asked.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Names kept of each kind.
const MOST: u64 = 200_000;
/// Names kept that nobody is known by.
const MOST_UNKNOWN: u64 = 20_000;
/// A question without answer is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for what is remembered, but may have changed.
const DOUBT: Duration = Duration::from_secs(1);

/// Callers and other subjects, as far as they have been asked for.
pub struct Principals {
    source: Arc<dyn PrincipalSource>,
    keys: Arc<Remembered<KeyHash, Caller>>,
    subjects: Arc<Remembered<Which, Subject>>,
}

impl Principals {
    /// Nothing known yet.
    pub fn new(source: Arc<dyn PrincipalSource>) -> Self {
        Self { source, keys: Arc::new(Remembered::new()), subjects: Arc::new(Remembered::new()) }
    }

    /// The caller with this key; `None` if there is none.
    ///
    /// # Errors
    /// If nothing is remembered and nobody can be asked.
    pub async fn key(&self, hash: KeyHash) -> Outcome<Caller> {
        Remembered::get(&self.keys, &hash, |then| self.source.key(hash, then)).await
    }

    /// What limits a name; `None` if nothing does.
    ///
    /// # Errors
    /// If nothing is remembered and nobody can be asked.
    pub async fn subject(&self, which: &Which) -> Outcome<Subject> {
        Remembered::get(&self.subjects, which, |then| self.source.subject(which, then)).await
    }

    /// Drops what a change concerns. A key goes with everything it is built from, which it does not name, so
    /// a change of a team, user or budget drops all keys: they are read again as they come.
    pub fn forget(&self, change: &Change) {
        match change {
            Change::One(Changed::EndUser, id) => self.subjects.forget(&Which::EndUser(Arc::clone(id))),
            Change::One(Changed::Tag, id) => self.subjects.forget(&Which::Tag(Arc::clone(id))),
            Change::One(Changed::Key, hash) => match hash.parse() {
                Ok(hash) => self.keys.forget(&hash),
                Err(_) => self.keys.doubt(),
            },
            Change::One(Changed::Model, _) => {}
            Change::One(..) | Change::Everything => {
                self.keys.doubt();
                self.subjects.doubt();
            }
        }
    }
}

struct Entry<V> {
    value: Option<Arc<V>>,
    at: Instant,
    /// Number of changes heard before it was asked for.
    age: u64,
    asking: AtomicBool,
}

struct Remembered<K, V> {
    known: Cache<K, Arc<Entry<V>>>,
    unknown: Cache<K, Arc<Entry<V>>>,
    /// Requests that wait for the same answer.
    waiting: Mutex<HashMap<K, Vec<oneshot::Sender<Outcome<V>>>>>,
    /// Changes heard so far; an answer to an older question may be outdated.
    changes: AtomicU64,
    /// Everything older may have changed.
    doubtful: AtomicU64,
}

impl<K, V> Remembered<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn new() -> Self {
        let cache = |most| Cache::builder().max_capacity(most).time_to_idle(KEPT).build();
        Self {
            known: cache(MOST),
            unknown: cache(MOST_UNKNOWN),
            waiting: Mutex::default(),
            changes: AtomicU64::new(0),
            doubtful: AtomicU64::new(0),
        }
    }

    fn forget(&self, name: &K) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.known.invalidate(name);
        self.unknown.invalidate(name);
    }

    /// Everything may have changed: nothing is used again before it has been asked for, unless nobody can be
    /// asked.
    fn doubt(&self) {
        let now = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        self.doubtful.store(now, Ordering::SeqCst);
        self.unknown.invalidate_all();
    }

    /// `ask` is called at most once, and not at all for what is fresh.
    async fn get(self: &Arc<Self>, name: &K, ask: impl FnOnce(Then<V>)) -> Outcome<V> {
        let found = self.known.get(name).or_else(|| self.unknown.get(name));
        let doubtful = self.doubtful.load(Ordering::SeqCst);
        let certain =
            found.as_ref().is_some_and(|entry| entry.age >= doubtful && entry.at.elapsed() < TRUSTED);
        if let Some(entry) = found.as_ref().filter(|_| certain) {
            if entry.at.elapsed() >= FRESH && !entry.asking.swap(true, Ordering::SeqCst) {
                ask(self.then(name));
            }
            return Ok(entry.value.clone());
        }
        let (waiter, answer) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting.lock();
            let queue = waiting.entry(name.clone()).or_default();
            queue.push(waiter);
            queue.len() == 1
        };
        if first {
            ask(self.then(name));
        }
        // Who has been let in before does not wait long for a store that is slow.
        let patience = if found.is_some() { DOUBT } else { PATIENCE };
        let outcome = match tokio::time::timeout(patience, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => {
                // Those who come next ask again.
                self.waiting.lock().remove(name);
                Err(Unavailable("the database does not answer".to_owned()))
            }
        };
        match (outcome, found) {
            // Better what was true a moment ago than nothing.
            (Err(_), Some(entry)) => Ok(entry.value.clone()),
            (outcome, _) => outcome,
        }
    }

    fn then(self: &Arc<Self>, name: &K) -> Then<V> {
        let (this, name, age) = (Arc::clone(self), name.clone(), self.changes.load(Ordering::SeqCst));
        Box::new(move |outcome| this.answered(name, age, outcome))
    }

    fn answered(&self, name: K, age: u64, outcome: Outcome<V>) {
        let current = self.changes.load(Ordering::SeqCst) == age;
        match &outcome {
            Ok(value) => {
                let entry = Arc::new(Entry {
                    value: value.clone(),
                    at: Instant::now(),
                    age,
                    asking: AtomicBool::new(false),
                });
                let (into, other) =
                    if value.is_some() { (&self.known, &self.unknown) } else { (&self.unknown, &self.known) };
                other.invalidate(&name);
                if current {
                    into.insert(name.clone(), entry);
                } else {
                    // Heard of a change since: good for who waits, not to be kept.
                    into.invalidate(&name);
                }
            }
            Err(_) => {
                if let Some(entry) = self.known.get(&name).or_else(|| self.unknown.get(&name)) {
                    entry.asking.store(false, Ordering::SeqCst);
                }
            }
        }
        for waiter in self.waiting.lock().remove(&name).unwrap_or_default() {
            let _ = waiter.send(outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers when told to, and counts the questions.
    #[derive(Default)]
    struct Source {
        asked: AtomicU64,
        open: Mutex<Vec<Then<Caller>>>,
    }

    impl PrincipalSource for Source {
        fn key(&self, _: KeyHash, then: Then<Caller>) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.open.lock().push(then);
        }

        fn subject(&self, _: &Which, then: Then<Subject>) {
            then(Ok(None));
        }
    }

    impl Source {
        fn answer(&self, outcome: Outcome<Caller>) {
            for then in std::mem::take(&mut *self.open.lock()) {
                then(outcome.clone());
            }
        }
    }

    fn caller(alias: &str) -> Outcome<Caller> {
        let mut caller = Caller::default();
        caller.account.key_alias = Some(alias.to_owned());
        Ok(Some(Arc::new(caller)))
    }

    fn alias(outcome: Outcome<Caller>) -> Option<String> {
        outcome.ok().flatten().and_then(|caller| caller.account.key_alias.clone())
    }

    fn set_up() -> (Arc<Source>, Principals, KeyHash) {
        let source = Arc::new(Source::default());
        (Arc::clone(&source), Principals::new(source), KeyHash::of("sk-1"))
    }

    #[tokio::test]
    async fn many_requests_for_one_cold_key_ask_once() {
        let (source, principals, hash) = set_up();
        let answers = futures_util::future::join_all((0..50).map(|_| principals.key(hash)));
        let (answers, ()) = tokio::join!(answers, async { source.answer(caller("a")) });
        assert!(answers.into_iter().all(|answer| alias(answer).as_deref() == Some("a")));
        assert_eq!(alias(principals.key(hash).await).as_deref(), Some("a"));
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_change_drops_the_key_and_an_answer_that_is_older() {
        let (source, principals, hash) = set_up();
        let (first, ()) = tokio::join!(principals.key(hash), async {
            principals.forget(&Change::One(Changed::Key, hash.to_string().into()));
            source.answer(caller("old"));
        });
        assert_eq!(alias(first).as_deref(), Some("old"));
        let (second, ()) = tokio::join!(principals.key(hash), async { source.answer(caller("new")) });
        assert_eq!(alias(second).as_deref(), Some("new"));
    }

    #[tokio::test]
    async fn what_was_known_is_used_while_nobody_can_be_asked() {
        let (source, principals, hash) = set_up();
        let away = || Err(Unavailable("away".into()));
        let (cold, ()) = tokio::join!(principals.key(hash), async { source.answer(away()) });
        assert!(cold.is_err());
        let (_, ()) = tokio::join!(principals.key(hash), async { source.answer(caller("a")) });
        principals.forget(&Change::Everything);
        let (warm, ()) = tokio::join!(principals.key(hash), async { source.answer(away()) });
        assert_eq!(alias(warm).as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn what_has_not_been_asked_for_for_long_is_asked_for_before_it_is_used() {
        assert!(TRUSTED * 2 <= crate::gate::limit_settings().idle, "counters start from what is remembered");
        let (source, principals, hash) = set_up();
        let (_, ()) = tokio::join!(principals.key(hash), async { source.answer(caller("spent 0")) });
        let age = |time: Duration| {
            let known = principals.keys.known.get(&hash).unwrap();
            let at = Instant::now().checked_sub(time).unwrap();
            let older =
                Entry { value: known.value.clone(), at, age: known.age, asking: AtomicBool::new(false) };
            principals.keys.known.insert(hash, Arc::new(older));
        };
        age(FRESH);
        assert_eq!(alias(principals.key(hash).await).as_deref(), Some("spent 0"), "asked about beside it");
        source.answer(caller("spent 0"));
        age(TRUSTED);
        let (read, ()) = tokio::join!(principals.key(hash), async { source.answer(caller("spent 5")) });
        assert_eq!(alias(read).as_deref(), Some("spent 5"));
        age(TRUSTED);
        let away = || Err(Unavailable("away".into()));
        let (kept, ()) = tokio::join!(principals.key(hash), async { source.answer(away()) });
        assert_eq!(alias(kept).as_deref(), Some("spent 5"), "better than nothing");
    }

    #[tokio::test]
    async fn an_unknown_key_is_remembered_as_such_until_it_is_made() {
        let (source, principals, hash) = set_up();
        let (unknown, ()) = tokio::join!(principals.key(hash), async { source.answer(Ok(None)) });
        assert!(matches!(unknown, Ok(None)));
        assert!(matches!(principals.key(hash).await, Ok(None)));
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
        principals.forget(&Change::One(Changed::Key, hash.to_string().into()));
        let (made, ()) = tokio::join!(principals.key(hash), async { source.answer(caller("a")) });
        assert_eq!(alias(made).as_deref(), Some("a"));
    }
}
