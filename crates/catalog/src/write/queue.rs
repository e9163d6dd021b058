//! What waits to be written: bounded in number and in bytes, and honest about what it dropped.

use crate::rows::Status;
use crate::{Batch, Ticket, WriteError};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Most batches that wait, those being written included: some minutes of a busy plane whose catalog
/// is locked, while the process stays small.
pub(crate) const MAX_BATCHES: usize = 64 << 10;
/// Most memory they take.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// Most batches in one transaction: a reader never waits for one, but its undo is work.
const GROUP_BATCHES: usize = 1024;
/// Most memory of batches in one transaction.
const GROUP_BYTES: usize = 8 << 20;
/// How long the last transaction and the checkpoint may take after the time to close is over.
const CLOSING_SLACK: Duration = Duration::from_millis(500);

/// A batch and who waits for it.
pub(crate) struct Queued {
    pub(crate) batch: Batch,
    pub(crate) answer: oneshot::Sender<Result<(), WriteError>>,
}

/// What the writer does next.
pub(crate) enum Next {
    /// Write these.
    Group(Vec<Queued>),
    /// Nothing to write: look after the file.
    Quiet,
    /// Closing, and nothing is left.
    End,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Queued>,
    /// Waiting and being written.
    batches: usize,
    bytes: usize,
    gaps: u64,
    /// Whether it was said that batches are dropped; it is said once, not 64k times.
    overflowing: bool,
    closing: Option<Instant>,
    ended: bool,
    lost_at_end: bool,
    problem: Option<String>,
}

/// The queue between everybody and the writer.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    ended: Condvar,
}

impl Queue {
    pub(crate) fn submit(&self, batch: Batch) -> Ticket {
        let (answer, ticket) = Ticket::new();
        let bytes = batch.bytes();
        let mut state = self.state.lock();
        let refusal = if state.closing.is_some() || state.ended {
            Some(WriteError::Closed)
        } else if state.batches >= MAX_BATCHES || state.bytes + bytes > MAX_BYTES {
            Some(WriteError::Full)
        } else {
            None
        };
        if let Some(error) = refusal {
            state.gaps += u64::from(!batch.is_empty());
            let first = error == WriteError::Full && !state.overflowing;
            state.overflowing |= first;
            let waiting = state.batches;
            // A slow log must not hold up those who submit.
            drop(state);
            if first {
                tracing::error!(
                    waiting,
                    "too many writes wait for the catalog: dropping what comes, counting gaps"
                );
            }
            // Nobody listening is fine.
            let _ = answer.send(Err(error));
            return ticket;
        }
        // Half empty again: what comes after is a new event, and said again.
        let is_crowded = state.batches > MAX_BATCHES / 2 || state.bytes > MAX_BYTES / 2;
        state.overflowing &= is_crowded;
        state.batches += 1;
        state.bytes += bytes;
        state.waiting.push_back(Queued { batch, answer });
        drop(state);
        self.wake.notify_one();
        ticket
    }

    /// Waits for work, at most `tick`.
    pub(crate) fn next(&self, tick: Duration) -> Next {
        let until = Instant::now() + tick;
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closing.is_some() {
                return Next::End;
            }
            if self.wake.wait_until(&mut state, until).timed_out() && state.waiting.is_empty() {
                return if state.closing.is_some() { Next::End } else { Next::Quiet };
            }
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while group.len() < GROUP_BATCHES && bytes < GROUP_BYTES {
            let Some(queued) = state.waiting.pop_front() else { break };
            bytes += queued.batch.bytes();
            group.push(queued);
        }
        Next::Group(group)
    }

    /// Tells those who wait how their batches went, in the order of the group.
    pub(crate) fn settle(&self, group: Vec<Queued>, outcomes: Vec<Result<(), WriteError>>) {
        let mut state = self.state.lock();
        state.batches = state.batches.saturating_sub(group.len());
        for (queued, outcome) in group.iter().zip(&outcomes) {
            state.bytes = state.bytes.saturating_sub(queued.batch.bytes());
            let lost = !matches!(outcome, Ok(()) | Err(WriteError::Conflict));
            state.gaps += u64::from(lost && !queued.batch.is_empty());
        }
        drop(state);
        for (queued, outcome) in group.into_iter().zip(outcomes) {
            let _ = queued.answer.send(outcome);
        }
    }

    /// Waits before the next attempt; shorter when closing.
    pub(crate) fn pause(&self, wait: Duration) {
        let begun = Instant::now();
        let mut state = self.state.lock();
        loop {
            let wait = if state.closing.is_some() { wait.min(CLOSING_PAUSE) } else { wait };
            let until = begun + wait;
            if Instant::now() >= until {
                return;
            }
            let _ = self.wake.wait_until(&mut state, until);
        }
    }

    /// Whether closing has taken as long as it may.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.state.lock().closing.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Says what is wrong, aloud the first time.
    pub(crate) fn trouble(&self, problem: String) {
        let mut state = self.state.lock();
        if state.problem.as_ref() == Some(&problem) {
            return;
        }
        let before = state.problem.replace(problem.clone());
        let waiting = state.batches;
        drop(state);
        if before.is_none() {
            tracing::error!(
                %problem,
                waiting,
                "the catalog does not take writes; they wait in memory, what is hot is still served"
            );
        } else {
            tracing::debug!(%problem, waiting, "the catalog still does not take writes");
        }
    }

    /// Says that all is well again, if it was not.
    pub(crate) fn well(&self) {
        let mut state = self.state.lock();
        let Some(problem) = state.problem.take() else { return };
        let (waiting, gaps) = (state.batches, state.gaps);
        drop(state);
        tracing::warn!(was = %problem, waiting, gaps, "the catalog takes writes again");
    }

    pub(crate) fn status(&self) -> Status {
        let state = self.state.lock();
        Status {
            writable: state.problem.is_none() && !state.ended && state.closing.is_none(),
            waiting_batches: state.batches as u64,
            gaps: state.gaps,
            problem: state.problem.clone(),
        }
    }

    /// Takes nothing more; the writer ends when the rest is written or the time is over.
    pub(crate) fn begin_close(&self, deadline: Instant) {
        let mut state = self.state.lock();
        state.closing.get_or_insert(deadline);
        drop(state);
        self.wake.notify_all();
    }

    /// Waits until the writer has ended; whether nothing was lost.
    pub(crate) fn wait_closed(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.ended {
            let until = deadline + CLOSING_SLACK;
            if self.ended.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.ended && !state.lost_at_end
    }

    /// The writer's last word, also when it ends for a reason it should not have: what still waits
    /// is lost, and says so. `checkpointed`: the file needs no recovery.
    pub(crate) fn end(&self, checkpointed: bool) {
        let mut state = self.state.lock();
        state.ended = true;
        state.lost_at_end |= !checkpointed || state.batches > 0;
        let rest = std::mem::take(&mut state.waiting);
        let lost = rest.iter().filter(|queued| !queued.batch.is_empty()).count();
        state.gaps += lost as u64;
        state.batches = 0;
        state.bytes = 0;
        drop(state);
        if lost > 0 {
            tracing::error!(lost, "the catalog closed before all writes were in it");
        }
        for queued in rest {
            let _ = queued.answer.send(Err(WriteError::Closed));
        }
        self.ended.notify_all();
    }

    /// A group that cannot be written any more.
    pub(crate) fn abandon(&self, group: Vec<Queued>) {
        tracing::error!(lost = group.len(), "the catalog closed before these writes were in it");
        self.state.lock().lost_at_end = true;
        let outcomes = group.iter().map(|_| Err(WriteError::Closed)).collect();
        self.settle(group, outcomes);
    }
}

/// How often a writer that is closing tries again.
const CLOSING_PAUSE: Duration = Duration::from_millis(20);
