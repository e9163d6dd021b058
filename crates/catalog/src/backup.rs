//! A copy of the whole catalog while it is used, and a look at a file before it becomes the catalog.
//!
//! The copy is SQLite's online backup (sqlite.org/backup.html), inside one read transaction: in WAL
//! mode that shows one moment however much is written meanwhile. Without it the backup would begin
//! again with every commit, and a busy plane would never have one.

use crate::file::{make_private, sync_directory, with_suffix};
use crate::hosted::SchemaVersion;
use crate::readers::Readers;
use crate::{Error, connect, migrate};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// One megabyte of 4 KiB pages: between two steps `progress` is told, and may end the work.
const PAGES_PER_STEP: i32 = 256;
/// What a step that met a lock waits, and how often: longer than any commit.
const LOCKED_WAIT: Duration = Duration::from_millis(50);
const LOCKED_ATTEMPTS: u32 = 100;

pub(crate) fn run(
    readers: &Readers,
    path: &Path,
    mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    if path.exists() {
        return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
    }
    let part = with_suffix(path, ".part");
    remove(&part).map_err(failed)?;
    make_private(&part).map_err(failed)?;
    let copied = readers.with(|source| copy(source, &part, &mut progress));
    let finished = match copied {
        Ok(true) => finish(&part, path).map_err(failed),
        Ok(false) => Err(Error::Stopped),
        Err(error) => Err(error),
    };
    if finished.is_err() {
        // Best effort: the error matters more, and the next attempt removes it too.
        let _ = remove(&part);
    }
    finished
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the copy durable, then known by its name.
fn finish(part: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::File::open(part)?.sync_all()?;
    // Not by a hard link, which would see to this: not every place for backups has them.
    if path.exists() {
        return Err(std::io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(part, path)?;
    sync_directory(path)
}

/// False: `progress` ended it.
fn copy(
    source: &Connection,
    part: &Path,
    progress: &mut impl FnMut(u64, u64) -> ControlFlow<()>,
) -> rusqlite::Result<bool> {
    let moment = source.unchecked_transaction()?;
    // A transaction begins with the first read.
    moment.query_row("SELECT COUNT(*) FROM counter", [], |row| row.get::<_, i64>(0))?;
    let mut target = Connection::open(part)?;
    // Nothing to fall back to: a half copy is thrown away. `finish` syncs.
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let backup = Backup::new(&moment, &mut target)?;
    let mut locked = 0;
    loop {
        match backup.step(PAGES_PER_STEP)? {
            StepResult::Done => return Ok(true),
            StepResult::Busy | StepResult::Locked if locked < LOCKED_ATTEMPTS => {
                locked += 1;
                std::thread::sleep(LOCKED_WAIT);
            }
            StepResult::More => locked = 0,
            _ => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(rusqlite::Error::SqliteFailure(busy, None));
            }
        }
        let state = backup.progress();
        let pages = |count| u64::try_from(count).unwrap_or(0);
        if progress(pages(state.remaining), pages(state.pagecount)).is_break() {
            return Ok(false);
        }
    }
}

pub(crate) fn check(path: &Path) -> Result<SchemaVersion, Error> {
    if !path.is_file() {
        return Err(Error::unavailable(format!("{} is no file", path.display())));
    }
    let connection = connect::immutable(path)?;
    let version = migrate::version(&connection, path, migrate::MIGRATIONS)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        Ok(version)
    } else {
        Err(Error::unavailable(format!("{} is broken: {verdict}", path.display())))
    }
}
