//! A backup: all that cannot be fetched again, but for the blobs, in one directory.
//!
//! ```text
//! backup.json       what it is, when and by what it was made, and the sum of every other file
//! catalog.sqlite    the catalog, as of one moment
//! revision.yaml     the resources in force, if any were; rollback.json, if one is
//! places.json       where the store was written to before, if it moved
//! resources/        every set of resources that was in force
//! keys/             as in the data directory
//! blobs.tsv         digest, bytes, and `held` (hosted: the only copy) or `cached`
//! ```
//!
//! It is written beside its place and moved there when it is whole and durable. It can be made while
//! the plane runs. The blobs themselves are for the store's own means (a snapshot of the file system,
//! versions in an object store): they never change, so that a copy made after the catalog's has them.

mod check;
mod write;

pub use check::check_backup;
pub use write::write_backup;

use jiff::Timestamp;
use oci::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What [`check_backup`] of this version can read.
const FORMAT_VERSION: u32 = 1;
const SUMMARY_FILE: &str = "backup.json";
const CATALOG_FILE: &str = "catalog.sqlite";
const BLOBS_FILE: &str = "blobs.tsv";
/// In a directory that is being written; one without it is not ours to remove.
const PARTIAL_FILE: &str = "backup.partial";
/// Files that are copied as they are.
const PLAIN_FILES: [&str; 3] = ["revision.yaml", "rollback.json", "places.json"];
const KEYS_DIR: &str = "keys";
const RESOURCES_DIR: &str = "resources";

/// A backup that is to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupRequest {
    /// The directory to make, on the plane's machine: absolute, and not there yet.
    pub to: PathBuf,
}

/// What a backup is, as `backup.json` says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupSummary {
    /// 1.
    pub format_version: u32,
    /// What made it.
    pub lockgate_version: String,
    /// The schema of its catalog.
    pub schema: i64,
    /// When it was begun: what was pushed later may or may not be in it.
    pub created: Timestamp,
    /// Blobs that the catalog knows to be in the store.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of the blobs, those that hosted content needs: they are nowhere else.
    pub held_blobs: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Every other file of it, by its path below the directory.
    pub files: BTreeMap<String, BackedUpFile>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackedUpFile {
    /// What it hashes to.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// Why a backup is not made, or is not one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory cannot be used for that.
    #[error("{}: {problem}", path.display())]
    Path {
        /// The directory, or a file in it.
        path: PathBuf,
        /// Why not, and what to do.
        problem: String,
    },
    /// The file system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, in words that fit after "cannot".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The catalog cannot be copied or read.
    #[error("the catalog cannot be copied")]
    Catalog(#[from] catalog::Error),
    /// Whoever asked for it ended it.
    #[error("stopped before it was done")]
    Stopped,
}

impl BackupError {
    fn path(path: &Path, problem: impl Into<String>) -> Self {
        Self::Path { path: path.to_owned(), problem: problem.into() }
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
