//! What `submit` gives back: a promise that can be dropped without changing anything.

use crate::WriteError;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Resolves when the batch is durable, or will never be. Dropping it changes nothing.
#[derive(Debug)]
#[must_use = "a write that nobody waits for is fine, but say so with `let _ =` or `.forget()`"]
pub struct Ticket {
    answer: oneshot::Receiver<Result<(), WriteError>>,
}

impl Ticket {
    pub(crate) fn new() -> (oneshot::Sender<Result<(), WriteError>>, Self) {
        let (sender, answer) = oneshot::channel();
        (sender, Self { answer })
    }

    /// Lets the write happen without waiting for it. What is lost is counted as a gap.
    pub fn forget(self) {}

    /// Waits on a thread of one's own.
    ///
    /// # Panics
    /// On a thread that drives async tasks.
    pub fn wait(self) -> Result<(), WriteError> {
        self.answer.blocking_recv().unwrap_or(Err(WriteError::Closed))
    }
}

impl Ticket {
    /// Waits on a thread of one's own, but no longer than `patience`. `None`: not yet; the write may
    /// still happen. For work that must not stand still while the catalog cannot be written.
    pub fn wait_for(mut self, patience: Duration) -> Option<Result<(), WriteError>> {
        let deadline = Instant::now() + patience;
        loop {
            match self.answer.try_recv() {
                Ok(answer) => return Some(answer),
                Err(TryRecvError::Closed) => return Some(Err(WriteError::Closed)),
                Err(TryRecvError::Empty) if Instant::now() >= deadline => return None,
                // A commit takes some tenths of a millisecond.
                Err(TryRecvError::Empty) => std::thread::sleep(Duration::from_micros(300)),
            }
        }
    }
}

impl Future for Ticket {
    type Output = Result<(), WriteError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(WriteError::Closed)))
    }
}
