//! The writer: one thread that owns the only connection that writes.
//!
//! It takes all that waits, up to a bound, into one transaction with a savepoint for each batch, so
//! that one fsync serves many and one failure undoes one. While the database cannot be written it
//! keeps the group and tries again; it tells nobody Ok before the commit, and not before it has seen
//! that the file it committed to is still the one that others will open.

use super::queue::{Next, Queue, Queued};
use super::{Failure, apply};
use crate::error::Trouble;
use crate::file::{self, Open};
use crate::readers::Readers;
use crate::{Error, WriteError};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the file is looked after while there is nothing to write: a deleted file is noticed
/// within this.
const TICK: Duration = Duration::from_secs(1);
/// First and longest wait between attempts to write.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Where the catalog is.
pub(crate) enum Place {
    /// In a file; the connection is absent while the file cannot be opened.
    File { path: PathBuf, open: Option<Open> },
    /// In memory, on the connection that the readers use too.
    Memory(Arc<Mutex<Connection>>),
}

struct Writer {
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    place: Place,
}

/// Starts the writer. It ends after [`Queue::begin_close`].
pub(crate) fn start(queue: Arc<Queue>, readers: Arc<Readers>, place: Place) -> std::io::Result<()> {
    let writer = Writer { queue, readers, place };
    std::thread::Builder::new().name("catalog-writer".into()).spawn(move || writer.run())?;
    Ok(())
}

/// Ends the queue however the thread ends, so that nobody waits for a writer that is no more.
struct Farewell {
    queue: Arc<Queue>,
    checkpointed: bool,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.queue.end(self.checkpointed);
    }
}

impl Writer {
    fn run(mut self) {
        let mut farewell = Farewell { queue: self.queue.clone(), checkpointed: false };
        loop {
            match self.queue.next(TICK) {
                Next::Group(group) => {
                    if !self.write(group) {
                        break;
                    }
                }
                Next::Quiet => self.look_after(),
                Next::End => break,
            }
        }
        self.readers.shut("it is closed");
        farewell.checkpointed = self.checkpoint();
        // The connection goes before the last word, so that whoever waited finds the file at rest.
        drop(self);
    }

    /// Writes a group, however long that takes. False: closing, and out of time.
    fn write(&mut self, group: Vec<Queued>) -> bool {
        let mut wait = BACKOFF.0;
        loop {
            match self.attempt(&group) {
                Ok(outcomes) => {
                    self.queue.well();
                    self.queue.settle(group, outcomes);
                    return true;
                }
                Err(error) => self.queue.trouble(error.describe()),
            }
            if self.queue.is_out_of_time() {
                self.queue.abandon(group);
                return false;
            }
            self.queue.pause(wait);
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    fn attempt(&mut self, group: &[Queued]) -> Result<Vec<Result<(), WriteError>>, Error> {
        if let Place::Memory(connection) = &self.place {
            return commit(&connection.lock(), group).map_err(Error::from);
        }
        self.mend()?;
        let Place::File { path, open } = &mut self.place else { return Err(not_open()) };
        let Some(current) = open.as_ref() else { return Err(not_open()) };
        match commit(&current.connection, group) {
            // Deleted in between: what was committed is committed to nothing.
            Ok(_) if !current.is_still_at(path) => {
                Err(Error::unavailable("the file was replaced while it was written"))
            }
            Ok(outcomes) => Ok(outcomes),
            Err(error) => {
                match Trouble::of(&error) {
                    Trouble::Corrupt => self.readers.suspect(),
                    // A file that was moved is left to `mend`, which needs to know what lay beside it.
                    Trouble::Reopen if current.is_still_at(path) => *open = None,
                    Trouble::Reopen | Trouble::Passing | Trouble::Row | Trouble::Statement => {}
                }
                Err(error.into())
            }
        }
    }

    /// While nothing is to be written: is the file still there, and still a database?
    fn look_after(&mut self) {
        if matches!(self.place, Place::Memory(_)) {
            return;
        }
        match self.mend() {
            Ok(()) => {
                // Not `well` at once: that a file can be opened does not say that it can be written.
                if self.queue.status().problem.is_some() {
                    let group = Vec::new();
                    if self.attempt(&group).is_ok() {
                        self.queue.well();
                    }
                }
            }
            Err(error) => self.queue.trouble(error.describe()),
        }
    }

    /// Sees to it that there is a connection to the file that is at the path now.
    fn mend(&mut self) -> Result<(), Error> {
        let Place::File { path, open } = &mut self.place else { return Ok(()) };
        let moved = open.as_ref().is_some_and(|open| !open.is_still_at(path));
        if moved {
            self.readers.shut("its file was moved or deleted");
            if let Some(old) = open.take() {
                tracing::error!(path = %path.display(), "the catalog's file was moved or deleted under us");
                old.leave_behind(path);
            }
        }
        if self.readers.take_suspicion() {
            examine(path, open, &self.readers)?;
        }
        if open.is_none() {
            *open = Some(reopen(path, &self.readers)?);
        }
        Ok(())
    }

    /// Puts all that is in the log into the file.
    fn checkpoint(&self) -> bool {
        match &self.place {
            Place::Memory(_) => true,
            Place::File { open: None, .. } => false,
            Place::File { open: Some(open), .. } => open.checkpoint(),
        }
    }
}

/// Opens the file for writing again. While it can only be read, it is read as it is.
fn reopen(path: &Path, readers: &Readers) -> Result<Open, Error> {
    readers.thaw()?;
    match file::open(path) {
        Ok((open, how)) => {
            tracing::warn!(path = %path.display(), ?how, "opened the catalog again");
            readers.found(&how);
            readers.renew(open.identity());
            Ok(open)
        }
        Err(error) => {
            readers.freeze_after(&error, path);
            Err(error)
        }
    }
}

/// Somebody met a page that is no page. If the file is really broken, it is moved aside.
fn examine(path: &Path, open: &mut Option<Open>, readers: &Readers) -> Result<(), Error> {
    if file::is_sound(path) {
        // What was seen was passing, such as a read from a file just replaced.
        *open = None;
        return Ok(());
    }
    readers.shut("its file is broken");
    if let Some(old) = open.take() {
        drop(old);
    }
    let moved_to = file::move_aside(path)?;
    tracing::error!(
        path = %path.display(),
        moved_to = %moved_to.display(),
        "the catalog is broken and was moved aside; starting a fresh one"
    );
    Ok(())
}

/// A state that the code around has excluded; an error rather than a panic, because a writer that
/// dies takes every later write with it.
fn not_open() -> Error {
    Error::unavailable("it is not open")
}

/// One transaction for the whole group. An error means that nothing of it is written and that it may
/// be tried again as it is.
fn commit(
    connection: &Connection,
    group: &[Queued],
) -> rusqlite::Result<Vec<Result<(), WriteError>>> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let committed = apply_group(connection, group).and_then(|outcomes| {
        connection.execute_batch("COMMIT")?;
        Ok(outcomes)
    });
    if committed.is_err() && !connection.is_autocommit() {
        // If this fails too, the connection is replaced or the next BEGIN says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
    committed
}

fn apply_group(
    connection: &Connection,
    group: &[Queued],
) -> rusqlite::Result<Vec<Result<(), WriteError>>> {
    let mut outcomes = Vec::with_capacity(group.len());
    for queued in group {
        connection.prepare_cached("SAVEPOINT one")?.execute([])?;
        let outcome = match apply::apply(connection, &queued.batch) {
            Ok(()) => Ok(()),
            Err(Failure::Conflict) => Err(WriteError::Conflict),
            Err(Failure::Sql(error)) => match Trouble::of(&error) {
                Trouble::Row | Trouble::Statement => {
                    tracing::error!(%error, "the catalog refused a write for good");
                    Err(WriteError::Refused(error.to_string()))
                }
                Trouble::Passing | Trouble::Reopen | Trouble::Corrupt => return Err(error),
            },
        };
        if outcome.is_err() {
            connection.prepare_cached("ROLLBACK TO one")?.execute([])?;
        }
        connection.prepare_cached("RELEASE one")?.execute([])?;
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
