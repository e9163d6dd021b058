//! Connections that only read: a few, shared, and never waited for long.
//!
//! In WAL mode a reader is stopped by no writer, so the wait is for a free connection or for a file
//! that is being put right; both end in [`Error::Unavailable`] rather than in a hung request.

use crate::Error;
use crate::catalog::Opened;
use crate::connect::{self, Access, BUSY_TIMEOUT};
use crate::error::Trouble;
use crate::file::{self, Identity};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Most connections that read at once. Each holds up to a megabyte of pages.
const MAX_READERS: usize = 8;

/// Where reads are answered.
pub(crate) struct Readers {
    source: Source,
    /// Some reader met a page that is no page; the writer looks into it.
    suspicious: AtomicBool,
    /// Fresh databases since the start. Grows before the first read of each.
    fresh: AtomicU64,
}

enum Source {
    File(Pool),
    /// The writer's own connection.
    Memory(Arc<Mutex<Connection>>),
}

struct Pool {
    path: PathBuf,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    lent: usize,
    /// Changes with the file: connections of an older one are not used again.
    generation: u64,
    /// The file that the writer has open, or waits for: no other may be read, for what lies beside it
    /// at the path (the log) would be read into it.
    file: Option<Identity>,
    access: Access,
    /// Why nobody reads now.
    shut: Option<&'static str>,
}

impl Readers {
    /// Reads nothing before [`Self::renew`] or [`Self::freeze_after`] says which file.
    pub(crate) fn of_file(path: PathBuf) -> Self {
        let state = Mutex::new(State { shut: Some("it is not open"), ..State::default() });
        let pool = Pool { path, state, returned: Condvar::new() };
        Self {
            source: Source::File(pool),
            suspicious: AtomicBool::new(false),
            fresh: AtomicU64::new(0),
        }
    }

    pub(crate) fn in_memory(connection: Arc<Mutex<Connection>>) -> Self {
        let (suspicious, fresh) = (AtomicBool::new(false), AtomicU64::new(1));
        Self { source: Source::Memory(connection), suspicious, fresh }
    }

    /// Answers a question.
    pub(crate) fn with<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let answer = match &self.source {
            Source::Memory(connection) => match connection.try_lock_for(BUSY_TIMEOUT) {
                Some(connection) => question(&connection).map_err(Error::from),
                None => Err(Error::unavailable("it is busy with a long write")),
            },
            Source::File(pool) => pool.ask(question),
        };
        if answer.as_ref().is_err_and(Error::is_corruption) {
            self.suspect();
        }
        answer
    }

    /// Notes how the file was found that [`Self::renew`] is about to let in.
    pub(crate) fn found(&self, how: &Opened) {
        if *how != Opened::Existing {
            self.fresh.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Fresh databases since the start.
    pub(crate) fn fresh(&self) -> u64 {
        self.fresh.load(Ordering::Acquire)
    }

    /// Whether what is read is in a file.
    pub(crate) fn is_of_file(&self) -> bool {
        matches!(self.source, Source::File(_))
    }

    /// Refuses reads until [`Self::renew`], and lets go of the file.
    pub(crate) fn shut(&self, reason: &'static str) {
        if let Source::File(pool) = &self.source {
            pool.change(None, Access::Shared, Some(reason));
        }
    }

    /// Reads again, from the file that is at the path now.
    pub(crate) fn renew(&self, file: Option<Identity>) {
        if let Source::File(pool) = &self.source {
            pool.change(file, Access::Shared, None);
        }
    }

    /// After the file could not be opened for writing: reads go on from the file as it is, if it can
    /// be read and nobody can write to it. Whether they do.
    pub(crate) fn freeze_after(&self, error: &Error, path: &Path) -> bool {
        let Source::File(pool) = &self.source else { return false };
        let is_readable = error.is_about_access() && file::check_frozen(path).is_ok();
        if is_readable {
            pool.change(Identity::of(path), Access::Frozen, None);
        }
        is_readable
    }

    /// Ends reads from a frozen file before it is written: nothing would keep the writer from the
    /// pages they read. An error if one of them takes too long; they go on then.
    pub(crate) fn thaw(&self) -> Result<(), Error> {
        let Source::File(pool) = &self.source else { return Ok(()) };
        let (file, access) = {
            let state = pool.state.lock();
            (state.file, state.access)
        };
        if access != Access::Frozen {
            return Ok(());
        }
        // While it can be seen that it cannot be written, no read is disturbed.
        if file.is_some() && Identity::of(&pool.path) == file {
            connect::probe(&pool.path)?;
        }
        pool.change(None, Access::Shared, Some("it is being opened again"));
        if pool.wait_until_idle() {
            return Ok(());
        }
        pool.change(file, Access::Frozen, None);
        Err(Error::unavailable("its readers are busy"))
    }

    /// Says that the file may be broken.
    pub(crate) fn suspect(&self) {
        self.suspicious.store(true, Ordering::Release);
    }

    /// Whether somebody said so since the last call.
    pub(crate) fn take_suspicion(&self) -> bool {
        self.suspicious.swap(false, Ordering::AcqRel)
    }
}

impl Pool {
    fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut loan = self.lend()?;
        let Some(connection) = &loan.connection else {
            return Err(Error::unavailable("it is being opened"));
        };
        let answer = question(connection);
        if let Err(error) = &answer {
            loan.spoiled = matches!(Trouble::of(error), Trouble::Reopen | Trouble::Corrupt);
        }
        answer.map_err(Error::from)
    }

    fn lend(&self) -> Result<Loan<'_>, Error> {
        let until = Instant::now() + BUSY_TIMEOUT;
        let mut state = self.state.lock();
        loop {
            if let Some(reason) = state.shut {
                return Err(Error::unavailable(reason));
            }
            let generation = state.generation;
            if let Some(connection) = state.idle.pop() {
                state.lent += 1;
                return Ok(self.loan(connection, generation));
            }
            if state.lent < MAX_READERS {
                state.lent += 1;
                let (file, access) = (state.file, state.access);
                drop(state);
                let opened = self.open(file, access);
                if opened.is_err() {
                    self.state.lock().lent -= 1;
                    self.returned.notify_one();
                }
                return opened.map(|connection| self.loan(connection, generation));
            }
            if self.returned.wait_until(&mut state, until).timed_out() {
                return Err(Error::unavailable("all its readers are busy"));
            }
        }
    }

    fn open(&self, file: Option<Identity>, access: Access) -> Result<Connection, Error> {
        let is_the_file = || file.is_some() && Identity::of(&self.path) == file;
        if is_the_file() {
            let connection = connect::reader(&self.path, access)?;
            if is_the_file() {
                return Ok(connection);
            }
        }
        Err(Error::unavailable("its file was moved or deleted"))
    }

    fn loan(&self, connection: Connection, generation: u64) -> Loan<'_> {
        Loan { pool: self, connection: Some(connection), generation, spoiled: false }
    }

    fn change(&self, file: Option<Identity>, access: Access, shut: Option<&'static str>) {
        let mut state = self.state.lock();
        state.file = file;
        state.access = access;
        state.generation += 1;
        state.shut = shut;
        let old = std::mem::take(&mut state.idle);
        drop(state);
        // Closing files is no work for a lock.
        drop(old);
        self.returned.notify_all();
    }

    /// Waits for the questions under way, as long as for a lock. Whether all are answered.
    fn wait_until_idle(&self) -> bool {
        let until = Instant::now() + BUSY_TIMEOUT;
        let mut state = self.state.lock();
        while state.lent > 0 {
            if self.returned.wait_until(&mut state, until).timed_out() {
                return state.lent == 0;
            }
        }
        true
    }
}

/// A connection, for one question.
struct Loan<'p> {
    pool: &'p Pool,
    /// Taken only by `drop`.
    connection: Option<Connection>,
    generation: u64,
    spoiled: bool,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        state.lent -= 1;
        let good = !self.spoiled && state.generation == self.generation && state.shut.is_none();
        let rest = if good {
            state.idle.extend(self.connection.take());
            None
        } else {
            self.connection.take()
        };
        drop(state);
        drop(rest);
        self.pool.returned.notify_one();
    }
}
