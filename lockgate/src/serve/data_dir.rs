//! The data directory belongs to one process at a time (contracts §10).

use crate::exit::Failure;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// How the names of what we keep there begin (contracts §10); the last is the file system's own.
const OURS: [&str; 11] = [
    "lock",
    "catalog.sqlite",
    "blobs",
    "fills",
    "uploads",
    "records",
    "keys",
    "places.",
    "revision.",
    "rollback.",
    "lost+found",
];

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

/// Takes the directory away from others, if it is ours alone: what is private to a credential lies
/// in it. One that holds other things too is somebody's for another purpose, and only told.
pub(super) fn keep_private(path: &Path) -> Result<(), String> {
    let cannot = |why: &dyn std::fmt::Display| {
        format!("others may look into the data directory {}: {why}", path.display())
    };
    let metadata = std::fs::metadata(path).map_err(|error| cannot(&error))?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(cannot(&"it belongs to another user; its mode should be 0700"));
    }
    let mut entries = std::fs::read_dir(path).map_err(|error| cannot(&error))?;
    let is_foreign = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        !OURS.iter().any(|ours| name.starts_with(ours))
    };
    let has_foreign = entries.any(|entry| entry.is_ok_and(|entry| is_foreign(&entry.file_name())));
    if has_foreign || mode & 0o1000 != 0 {
        return Err(cannot(&"it holds other things too; give the plane one of its own"));
    }
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(path, private).map_err(|error| cannot(&error))
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

    #[test]
    fn what_is_ours_alone_is_closed_to_others_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        let open = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let own = dir.path().join("own");
        std::fs::create_dir(&own).unwrap();
        open(&own, 0o755);
        drop(DataDir::lock(&own).unwrap());
        keep_private(&own).unwrap();
        assert_eq!(mode(&own), 0o700);
        open(&own, 0o1777);
        assert!(keep_private(&own).is_err());
        assert_eq!(mode(&own), 0o1777, "a directory for all, such as /tmp");
        let shared = dir.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::write(shared.join("letter.txt"), "").unwrap();
        open(&shared, 0o755);
        assert!(keep_private(&shared).unwrap_err().contains("other things"));
        assert_eq!(mode(&shared), 0o755);
    }
}
