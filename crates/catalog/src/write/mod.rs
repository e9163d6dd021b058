//! The one way in: a bounded queue, one thread, many batches in one transaction.

mod apply;
pub(crate) mod governance;
mod hosted;
mod judged;
mod keep;
mod names;
mod queue;
#[cfg(test)]
mod read_only_tests;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use queue::Queue;
pub(crate) use writer::{Place, start};

/// Why a batch was not applied.
#[derive(Debug)]
enum Failure {
    /// An expectation did not hold.
    Conflict,
    /// SQLite says no.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}
