//! What can go wrong between us and the database.

use std::time::Duration;

/// A database operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A database URL cannot be used.
    #[error("{setting}: {problem}")]
    BadUrl {
        /// Where the URL came from, e.g. `DATABASE_URL`.
        setting: String,
        /// What is wrong with it and what to write; never holds the password.
        problem: String,
    },
    /// The database cannot be reached, or every connection is taken.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The database did not answer in time.
    #[error("the database did not answer within {0:?}")]
    TooSlow(Duration),
    /// A row of this key is there already.
    #[error("{table}: {detail}")]
    Exists {
        /// The table.
        table: String,
        /// The database's own words: which key.
        detail: String,
    },
    /// A row points to one that is not there, or is pointed to by others.
    #[error("{table}: {detail}")]
    Reference {
        /// The table.
        table: String,
        /// The database's own words: which reference.
        detail: String,
    },
    /// A value does not fit its column.
    #[error("{table}.{column}: expected {expected}")]
    BadValue {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// What it takes.
        expected: &'static str,
    },
    /// There is no such column.
    #[error("{table} has no column `{column}`")]
    NoColumn {
        /// The table.
        table: &'static str,
        /// The name that was asked for.
        column: String,
    },
    /// A row cannot be read: somebody else wrote something unexpected into it.
    #[error("{table}: a row cannot be read: {problem}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A sealed value cannot be opened or made.
    #[error(transparent)]
    Seal(#[from] crate::seal::SealError),
    /// A file of a backup cannot be read or written.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The database cannot compare vectors; says why, and what to do.
    #[error("the database cannot search vectors: {0}")]
    NoVectors(String),
    /// Any other answer of the database.
    #[error("the database refused a statement: {0}")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// True when trying again later may help: nothing is wrong with what was asked.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TooSlow(_))
    }

    /// True if the database does not take what was given to it, and never will. Anything else (a password that has
    /// changed, a table that is not there yet, a server that only reads) may be mended meanwhile.
    pub(crate) fn is_about_the_row(&self) -> bool {
        match self {
            Self::Exists { .. }
            | Self::Reference { .. }
            | Self::BadValue { .. }
            | Self::Unreadable { .. } => true,
            Self::Refused(sqlx::Error::Database(error)) => {
                // Data exceptions, integrity, limits exceeded; SQLITE_TOOBIG, _CONSTRAINT, _MISMATCH, _RANGE.
                let code = error.code().unwrap_or_default();
                let is_of = |class: &str| code.len() == 5 && code.starts_with(class);
                let primary = code.parse::<u32>().ok().filter(|_| code.len() < 5).map(|code| code & 0xff);
                is_of("22") || is_of("23") || is_of("54") || matches!(primary, Some(18 | 19 | 20 | 25))
            }
            Self::Refused(sqlx::Error::Encode(_)) => true,
            _ => false,
        }
    }

    /// True for a deadlock or a serialization failure: the same transaction may succeed at once.
    pub(crate) fn is_contention(&self) -> bool {
        let Self::Refused(sqlx::Error::Database(error)) = self else { return false };
        // deadlock_detected, serialization_failure, lock_not_available; SQLITE_BUSY, SQLITE_BUSY_SNAPSHOT.
        matches!(error.code().as_deref(), Some("40P01" | "40001" | "55P03" | "5" | "517"))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // A server that does not speak to the end, such as a proxy before one that is away.
            sqlx::Error::Protocol(_)
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(inner) => {
                // Class 57P is a server shutting down or starting; 53300 is too many connections.
                let code = inner.code();
                if code.as_deref().is_some_and(|code| code.starts_with("57P") || code == "53300") {
                    return Self::Unavailable(error);
                }
                let table = inner.table().unwrap_or("database").to_owned();
                let detail = inner.message().to_owned();
                if inner.is_unique_violation() {
                    Self::Exists { table, detail }
                } else if inner.is_foreign_key_violation() {
                    Self::Reference { table, detail }
                } else {
                    Self::Refused(error)
                }
            }
            _ => Self::Refused(error),
        }
    }
}
