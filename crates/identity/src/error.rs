//! What goes wrong.

use std::path::PathBuf;

/// Why somebody is not identified. The reason is one line for people, and never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// What is shown is wrong, or nobody's.
    #[error("{reason}")]
    Wrong {
        /// In one line.
        reason: String,
    },
    /// It cannot be checked now.
    #[error("{reason}")]
    CannotTell {
        /// The provider.
        provider: String,
        /// In one line.
        reason: String,
    },
}

impl IdentifyError {
    pub(crate) fn wrong(reason: impl Into<String>) -> Self {
        Self::Wrong { reason: reason.into() }
    }
}

/// Why keys or users cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The library of keys says no.
    #[error("a key cannot be made or used: {0}")]
    Key(String),
    /// There is no such user or token, or there is one already.
    #[error("{0}")]
    User(String),
}

impl Error {
    pub(crate) fn file(path: &std::path::Path, problem: impl ToString) -> Self {
        Self::File { path: path.to_owned(), problem: problem.to_string() }
    }
}
