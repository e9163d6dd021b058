//! What can go wrong with a record, said with the file it happened to.

use std::io;
use std::path::{Path, PathBuf};

/// Why something was not recorded or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes the record of this instance.
    #[error("the record in {} is being written by another process", .0.display())]
    InUse(PathBuf),
    /// An instance id has other characters than `a-z 0-9 - _ .`, or is too long.
    #[error("{0:?} is no instance id: 1 to 63 of a-z, 0-9, '-', '_' and '.', the first no '.'")]
    BadInstance(String),
    /// What a file of a record holds is not what was written there.
    #[error("{}, line {line}: {what}; `lockgate audit verify` tells what is still good", .path.display())]
    Damaged {
        /// The segment, summary or anchor.
        path: PathBuf,
        /// Counted from 1; 0 where the file has no lines.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// What was noted is not on the disk yet, since it cannot be written now.
    #[error("the record cannot be written now: {0}")]
    NotWritten(String),
    /// The recorder was closed.
    #[error("the record is closed")]
    Closed,
    /// A thread of the record could not be started.
    #[error("cannot start a thread for the record")]
    Thread(#[source] io::Error),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, line: u64, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), line, what: what.into() }
    }

    /// Whether the disk is full, or the quota used up.
    pub fn is_disk_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }

    /// The error and its cause in one line.
    pub(crate) fn whole(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}
