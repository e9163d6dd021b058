//! Connections that only read: a few, shared, and never waited for long.
//!
//! In WAL mode a reader is stopped by no writer, so the wait is for a free connection or for a file
//! that is being put right; both end in [`Error::Unavailable`] rather than in a hung request.

use crate::Error;
use crate::error::Trouble;
use crate::file::{self, BUSY_TIMEOUT};
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
    /// Why nobody reads now.
    shut: Option<&'static str>,
}

impl Readers {
    pub(crate) fn of_file(path: PathBuf) -> Self {
        let pool = Pool { path, state: Mutex::default(), returned: Condvar::new() };
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
                Some(connection) => question(&connection),
                None => return Err(Error::unavailable("it is busy with a long write")),
            },
            Source::File(pool) => {
                let mut loan = pool.lend()?;
                let Some(connection) = &loan.connection else {
                    return Err(Error::unavailable("it is being opened"));
                };
                let answer = question(connection);
                if let Err(error) = &answer {
                    let trouble = Trouble::of(error);
                    loan.spoiled = matches!(trouble, Trouble::Reopen | Trouble::Corrupt);
                    if trouble == Trouble::Corrupt {
                        self.suspect();
                    }
                }
                answer
            }
        };
        answer.map_err(Error::from)
    }

    /// Refuses reads until [`Self::renew`], and lets go of the file.
    pub(crate) fn shut(&self, reason: &'static str) {
        if let Source::File(pool) = &self.source {
            pool.change(Some(reason));
        }
    }

    /// Reads again, from the file that is at the path now.
    pub(crate) fn renew(&self) {
        if let Source::File(pool) = &self.source {
            pool.change(None);
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
                drop(state);
                return match file::open_reader(&self.path) {
                    Ok(connection) => Ok(self.loan(connection, generation)),
                    Err(error) => {
                        self.state.lock().lent -= 1;
                        self.returned.notify_one();
                        Err(error.into())
                    }
                };
            }
            if self.returned.wait_until(&mut state, until).timed_out() {
                return Err(Error::unavailable("all its readers are busy"));
            }
        }
    }

    fn loan(&self, connection: Connection, generation: u64) -> Loan<'_> {
        Loan { pool: self, connection: Some(connection), generation, spoiled: false }
    }

    fn change(&self, shut: Option<&'static str>) {
        let mut state = self.state.lock();
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
