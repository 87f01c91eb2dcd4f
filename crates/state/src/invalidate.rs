//! Tells every replica what has changed: revoked keys, new limits, settings.
//!
//! Caches drop what they hear of. A change reaches the replica that made it at once and all others well within
//! a second; a replica that may have missed something is told to drop everything.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::feed::{Feed, Follow, Message, SharedLog, Subscription};

/// What kind of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A virtual key, by hash.
    Key,
    /// A team, by id; with its members.
    Team,
    /// A user, by id.
    User,
    /// An organization, by id.
    Organization,
    /// A project, by id.
    Project,
    /// A customer of a caller, by id.
    EndUser,
    /// A tag, by name.
    Tag,
    /// A budget object, by id.
    Budget,
    /// Models stored in the database; the id may be empty.
    Model,
    /// Stored settings and credentials; the id may be empty.
    Settings,
}

const WORDS: &[(Subject, &str)] = &[
    (Subject::Key, "key"),
    (Subject::Team, "team"),
    (Subject::User, "user"),
    (Subject::Organization, "organization"),
    (Subject::Project, "project"),
    (Subject::EndUser, "end_user"),
    (Subject::Tag, "tag"),
    (Subject::Budget, "budget"),
    (Subject::Model, "model"),
    (Subject::Settings, "settings"),
];

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This one is not what it was.
    One(Subject, Arc<str>),
    /// Anything may have changed.
    Everything,
}

/// Publishes and hears changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Invalidations(Feed);

/// Changes as they come.
#[derive(Debug)]
pub struct Changes(Subscription);

/// The topic of the shared log.
pub const TOPIC: &str = "invalidate";

impl Invalidations {
    /// Within this replica only.
    pub fn alone(clock: Arc<dyn Clock>) -> Self {
        Self(Feed::alone(clock))
    }

    /// Between replicas, over the log of [`TOPIC`]. Run the future as a task that is awaited at shutdown.
    pub fn shared(
        log: Arc<dyn SharedLog>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (feed, follow): (Feed, Follow) = Feed::shared(log, clock, false);
        (Self(feed), follow.run(stop))
    }

    /// Tells everybody that a subject has changed. Never waits.
    pub fn publish(&self, subject: Subject, id: &str) {
        let word = WORDS.iter().find(|(one, _)| *one == subject).map_or("", |(_, word)| word);
        self.0.publish(&format!("{word}:{id}"));
    }

    /// Changes from now on.
    pub fn subscribe(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// How long nothing could be heard from other replicas. Caches of what may be revoked should not be
    /// trusted for long beyond it.
    pub fn silent_for(&self) -> Duration {
        self.0.silent_for()
    }
}

impl Changes {
    /// The next change; `None` when the feed is gone. A change may be heard twice.
    pub async fn next(&mut self) -> Option<Change> {
        let Message::Said(text) = self.0.next().await? else { return Some(Change::Everything) };
        let known = text.split_once(':').and_then(|(word, id)| {
            let (subject, _) = WORDS.iter().find(|(_, one)| *one == word)?;
            Some(Change::One(*subject, id.into()))
        });
        // A newer replica may know subjects that this one does not.
        Some(known.unwrap_or(Change::Everything))
    }
}
