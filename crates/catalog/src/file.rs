//! The file below: opening it as it must be opened, knowing it again, putting a broken one aside.

use crate::catalog::Opened;
use crate::connect::{self, Access};
use crate::error::Trouble;
use crate::{Error, migrate};
use jiff::Timestamp;
use rusqlite::Connection;
use std::ffi::OsString;
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The mode of all our files: names of private repositories are in them.
const PRIVATE: u32 = 0o600;

/// The connection that writes, and the file it writes to.
pub(crate) struct Open {
    pub(crate) connection: Connection,
    file: Option<Identity>,
    /// What SQLite keeps beside the file; it belongs to the file and goes with it.
    beside: [Option<Identity>; 2],
}

/// What makes a file the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Open {
    /// Which file it is.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.file
    }

    /// Whether the path still leads to the file that is open.
    pub(crate) fn is_still_at(&self, path: &Path) -> bool {
        self.file.is_some() && Identity::of(path) == self.file
    }

    /// Closes the connection to a file that was moved or deleted, and removes the log and index it
    /// left at the path: SQLite would take them for those of the next file, and mix up both.
    pub(crate) fn leave_behind(self, path: &Path) {
        let beside = self.beside;
        drop(self.connection);
        for (identity, suffix) in beside.into_iter().zip(BESIDE) {
            let path = with_suffix(path, suffix);
            if identity.is_some() && Identity::of(&path) == identity {
                // Best effort: in a directory that allows no removal, nothing was moved either.
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    /// Moves the whole log into the file. False while a reader still needs a part of it.
    pub(crate) fn checkpoint(&self) -> bool {
        let moved = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        matches!(moved, Ok(0))
    }
}

/// What SQLite keeps beside a file in WAL mode. We make no `-shm`; other programs do.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = OsString::from(path);
    text.push(suffix);
    PathBuf::from(text)
}

/// Opens the file for writing, makes and migrates it as needed. A broken one is moved aside.
pub(crate) fn open(path: &Path) -> Result<(Open, Opened), Error> {
    match open_as_is(path) {
        Err(cause) if cause.is_corruption() => {
            let moved_to = move_aside(path)?;
            tracing::error!(
                path = %path.display(),
                moved_to = %moved_to.display(),
                error = %cause,
                "the catalog is broken and was moved aside; starting a fresh one"
            );
            Ok((open_as_is(path)?.0, Opened::Recovered { moved_to }))
        }
        other => other,
    }
}

fn open_as_is(path: &Path) -> Result<(Open, Opened), Error> {
    let fresh = std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0);
    if !path.exists() {
        // A log and an index without their file belong to one that is gone.
        for suffix in BESIDE {
            let _ = std::fs::remove_file(with_suffix(path, suffix));
        }
    }
    // If it cannot be made, SQLite says why.
    let _ = make_private(path);
    let mut connection = match connect::writer(path) {
        Ok(connection) => connection,
        Err(error) => {
            if Trouble::of(&error) == Trouble::Reopen && path.is_file() {
                // Broken, foreign or too new is worse than read-only, and said first.
                check_frozen(path)?;
            }
            return Err(error.into());
        }
    };
    migrate::check(&connection, path, migrate::MIGRATIONS)?;
    connect::keep_log(&connection)?;
    restrict(path);
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        tracing::warn!(
            path = %path.display(),
            %mode,
            "the catalog cannot have a log beside it: reads wait for writes"
        );
    }
    migrate::run(&mut connection, Some(path), migrate::MIGRATIONS)?;
    if fresh {
        sync_directory(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    }
    let open = Open {
        file: Identity::of(path),
        beside: BESIDE.map(|suffix| Identity::of(&with_suffix(path, suffix))),
        connection,
    };
    Ok((open, if fresh { Opened::Fresh } else { Opened::Existing }))
}

/// Looks at a file that cannot be written: whether it can be read as it is.
pub(crate) fn check_frozen(path: &Path) -> Result<(), Error> {
    let connection = connect::reader(path, Access::Frozen)?;
    migrate::check(&connection, path, migrate::MIGRATIONS)?;
    if migrate::is_latest(&connection, migrate::MIGRATIONS)? {
        Ok(())
    } else {
        Err(Error::unavailable("it must be migrated, but its file cannot be written"))
    }
}

/// Makes an empty file that is nobody else's to read, if there is none: SQLite gives what it makes
/// beside a file the mode of the file.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path).map(drop)
}

/// Takes a file, and what is beside it, from all others: older versions made them by the umask. Best
/// effort: where it is not ours to change, it is its owner's to know.
fn restrict(path: &Path) {
    let beside = BESIDE.map(|suffix| with_suffix(path, suffix));
    for path in beside.iter().map(PathBuf::as_path).chain([path]) {
        let is_open = std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o077 != 0);
        if is_open
            && let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(PRIVATE))
        {
            tracing::warn!(path = %path.display(), %error, "others may read this file of the catalog");
        }
    }
}

/// A database in memory, with all its tables.
pub(crate) fn open_in_memory() -> Result<Connection, Error> {
    let mut connection = Connection::open_in_memory()?;
    connect::prepare(&connection)?;
    migrate::run(&mut connection, None, migrate::MIGRATIONS)?;
    Ok(connection)
}

/// Whether the file reads as a database from end to end. One that cannot be read now counts as
/// sound: only what is known to be broken may be moved aside.
pub(crate) fn is_sound(path: &Path) -> bool {
    let connection =
        connect::reader(path, Access::Shared).or_else(|_| connect::reader(path, Access::Frozen));
    let verdict = connection.and_then(|connection| {
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
    });
    match verdict {
        Ok(text) => text == "ok",
        Err(error) => Trouble::of(&error) != Trouble::Corrupt,
    }
}

/// Renames a broken file, with its log, so that it can be looked into. Returns where it is now.
pub(crate) fn move_aside(path: &Path) -> Result<PathBuf, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let mut target = with_suffix(path, &format!(".broken-{stamp}"));
    for number in 2..100 {
        if !target.exists() {
            break;
        }
        target = with_suffix(path, &format!(".broken-{stamp}-{number}"));
    }
    std::fs::rename(path, &target).map_err(failed)?;
    let wal = with_suffix(path, "-wal");
    if wal.exists() {
        std::fs::rename(&wal, with_suffix(&target, "-wal")).map_err(failed)?;
    }
    let shm = with_suffix(path, "-shm");
    if shm.exists() {
        std::fs::remove_file(&shm).map_err(failed)?;
    }
    restrict(&target);
    sync_directory(path).map_err(failed)?;
    Ok(target)
}

/// Makes renames beside `path` durable.
pub(crate) fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn broken_pages_are_told_from_trouble_that_passes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.sqlite");
        assert!(is_sound(&path), "what is not there is not broken");
        let (open, _) = open(&path).unwrap();
        assert!(open.checkpoint());
        assert!(is_sound(&path));
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xa5; 4096], 2 * 4096).unwrap();
        assert!(!is_sound(&path));
    }
}
