//! Connections that only read: a few, shared, and never waited for long.
//!
//! In WAL mode a reader is stopped by no writer, so the wait is for a free connection or for a file
//! that is being put right; both end in [`Error::Unavailable`] rather than in a hung request.

use crate::Error;
use crate::error::Trouble;
use crate::file::{self, BUSY_TIMEOUT, Identity};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Most connections that read at once. Each holds up to a megabyte of pages.
const MAX_READERS: usize = 8;

/// Where reads are answered.
pub(crate) struct Readers {
    source: Source,
    /// Some reader met a page that is no page; the writer looks into it.
    suspicious: AtomicBool,
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
    /// The file that the writer has open: no other may be read, for what lies beside it at the path
    /// (the log) would be read into it.
    file: Option<Identity>,
    /// Why nobody reads now.
    shut: Option<&'static str>,
}

impl Readers {
    pub(crate) fn of_file(path: PathBuf, file: Option<Identity>) -> Self {
        let state = Mutex::new(State { file, ..State::default() });
        let pool = Pool { path, state, returned: Condvar::new() };
        Self { source: Source::File(pool), suspicious: AtomicBool::new(false) }
    }

    pub(crate) fn in_memory(connection: Arc<Mutex<Connection>>) -> Self {
        Self { source: Source::Memory(connection), suspicious: AtomicBool::new(false) }
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

    /// Refuses reads until [`Self::renew`], and lets go of the file.
    pub(crate) fn shut(&self, reason: &'static str) {
        if let Source::File(pool) = &self.source {
            pool.change(None, Some(reason));
        }
    }

    /// Reads again, from the file that is at the path now.
    pub(crate) fn renew(&self, file: Option<Identity>) {
        if let Source::File(pool) = &self.source {
            pool.change(file, None);
        }
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
                let file = state.file;
                drop(state);
                let opened = self.open(file);
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

    fn open(&self, file: Option<Identity>) -> Result<Connection, Error> {
        let is_the_file = || file.is_some() && Identity::of(&self.path) == file;
        if is_the_file() {
            let connection = file::open_reader(&self.path)?;
            if is_the_file() {
                return Ok(connection);
            }
        }
        Err(Error::unavailable("its file was moved or deleted"))
    }

    fn loan(&self, connection: Connection, generation: u64) -> Loan<'_> {
        Loan { pool: self, connection: Some(connection), generation, spoiled: false }
    }

    fn change(&self, file: Option<Identity>, shut: Option<&'static str>) {
        let mut state = self.state.lock();
        state.file = file;
        state.generation += 1;
        state.shut = shut;
        let old = std::mem::take(&mut state.idle);
        drop(state);
        // Closing files is no work for a lock.
        drop(old);
        self.returned.notify_all();
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
