//! The data directory belongs to one process at a time (contracts §10).

use crate::exit::Failure;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The lock of a data directory. It falls with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    _lock: File,
}

/// Who holds the lock of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Nobody.
    Free,
    /// A process, by its id if it wrote it.
    Process(Option<u32>),
}

impl DataDir {
    /// Makes the directory, if it is not there, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: &std::io::Error| {
            let hint = "name another one with --data-dir, or set dataDir";
            let what = format!("the data directory {} cannot be used", path.display());
            Failure::no(what).because(error).hint(hint)
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(|error| cannot(&error))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|error| cannot(&error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(path, pid_in(&mut file))),
            Err(error) => return Err(cannot(&error.into())),
        }
        // For people only: the lock itself is what counts.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _lock: file })
    }

    /// Who holds the lock, without taking it for longer than the look.
    pub(crate) fn holder(path: &Path) -> Holder {
        let Ok(mut file) = File::open(path.join("lock")) else { return Holder::Free };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Holder::Free,
            Err(_) => Holder::Process(pid_in(&mut file)),
        }
    }
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn held(path: &Path, pid: Option<u32>) -> Failure {
    let by = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    Failure::no(format!("the data directory {} is in use by {by}", path.display()))
        .hint("stop it, or give this one its own with --data-dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_its_pid_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        assert_eq!(DataDir::holder(&path), Holder::Free);
        let lock = DataDir::lock(&path).unwrap();
        let pid = std::process::id();
        assert_eq!(DataDir::holder(&path), Holder::Process(Some(pid)));
        let failure = DataDir::lock(&path).unwrap_err();
        assert!(failure.one_line().ends_with(&format!("is in use by process {pid}")));
        drop(lock);
        assert_eq!(DataDir::holder(&path), Holder::Free);
        DataDir::lock(&path).unwrap();
    }
}
