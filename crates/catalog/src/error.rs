//! What can go wrong: with the file, with a read, with a batch.

use std::path::PathBuf;

/// Why the catalog could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its directory cannot be used.
    #[error("the catalog {path} cannot be used")]
    File {
        /// The catalog.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// The file was written by a newer Lockgate.
    #[error(
        "the catalog {path} has schema {found}, this Lockgate knows schemas up to {known}; {way_back}"
    )]
    Newer {
        /// The catalog.
        path: PathBuf,
        /// The schema of the file.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
        /// What to do about it.
        way_back: String,
    },
    /// A SQLite file, but somebody else's: it is left alone.
    #[error("{path} is a SQLite database that is not a Lockgate catalog; it is left as it is")]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Locked, read-only, unreadable or gone: not now, perhaps later.
    #[error("the catalog does not answer: {reason}")]
    Unavailable {
        /// Why, in words.
        reason: String,
        /// What SQLite says, if it was asked.
        source: Option<rusqlite::Error>,
    },
    /// Whoever asked for the work ended it.
    #[error("stopped before it was done")]
    Stopped,
    /// A row holds what no version of Lockgate writes.
    #[error("the catalog holds a row that cannot be read")]
    Malformed(#[source] rusqlite::Error),
    /// A statement failed for a reason of its own: a fault of ours.
    #[error("a statement of the catalog failed")]
    Statement(#[source] rusqlite::Error),
}

impl Error {
    /// Trouble that has nothing to do with SQLite.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), source: None }
    }

    fn refused(reason: &str, error: rusqlite::Error) -> Self {
        Self::Unavailable { reason: reason.to_owned(), source: Some(error) }
    }

    /// Whether SQLite met something that is no database.
    pub(crate) fn is_corruption(&self) -> bool {
        self.trouble() == Some(Trouble::Corrupt)
    }

    /// Whether the file system refuses to open, read or write the file.
    pub(crate) fn is_about_access(&self) -> bool {
        self.trouble() == Some(Trouble::Reopen)
    }

    fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Unavailable { source: Some(cause), .. } => Some(Trouble::of(cause)),
            _ => None,
        }
    }

    /// The error and its causes, in one line.
    pub(crate) fn describe(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            cause = inner.source();
        }
        text
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match Trouble::of(&error) {
            Trouble::Passing => Self::refused("it is locked, or its disk is full", error),
            Trouble::Reopen => Self::refused("its file cannot be read or written", error),
            Trouble::Corrupt => Self::refused("its file is broken", error),
            Trouble::Row => Self::Malformed(error),
            Trouble::Statement => Self::Statement(error),
        }
    }
}

/// Why a batch is not in the catalog. Cheap to clone, because a ticket gives it away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// An expectation of the batch did not hold; nothing of it was done.
    #[error("the catalog has changed meanwhile; nothing of the batch was done")]
    Conflict,
    /// Too much is waiting already; the batch was dropped and counted as a gap.
    #[error("too many writes wait for the catalog; this one was dropped")]
    Full,
    /// The catalog is closed, or was closed before the batch could be written.
    #[error("the catalog is closed")]
    Closed,
    /// The database refused this batch and would refuse it again; counted as a gap.
    #[error("the catalog refused the write: {0}")]
    Refused(String),
}

/// What an error of SQLite asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Locked or out of space: try again.
    Passing,
    /// The file is not what it was, or cannot be reached: open it again, then try again.
    Reopen,
    /// Not a database any more.
    Corrupt,
    /// A value in a row is not what the column holds.
    Row,
    /// This statement is wrong, whatever the state of the file.
    Statement,
}

impl Trouble {
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::*;
        match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => Self::Row,
            rusqlite::Error::SqliteFailure(cause, _) => match cause.code {
                DatabaseBusy
                | DatabaseLocked
                | DiskFull
                | OutOfMemory
                | OperationInterrupted
                | FileLockingProtocolFailed
                | SchemaChanged => Self::Passing,
                ReadOnly | SystemIoFailure | CannotOpen | PermissionDenied | NotFound
                | NoLargeFileSupport => Self::Reopen,
                DatabaseCorrupt | NotADatabase => Self::Corrupt,
                _ => Self::Statement,
            },
            _ => Self::Statement,
        }
    }
}
