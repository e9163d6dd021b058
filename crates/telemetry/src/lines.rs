//! Lines of text to a slow place, without waiting for it: a bounded buffer and one thread.
//!
//! A request must not wait because somebody suspended the terminal or a log collector fell behind.

use parking_lot::{Condvar, Mutex};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a line may wait for company, so that busy times cost one system call for many lines.
const BATCH_WAIT: Duration = Duration::from_millis(20);

/// Once this much waits, the thread is woken at once.
const BATCH_BYTES: usize = 64 << 10;

/// A buffer that grew past this is given back after a burst.
const KEEP_BYTES: usize = 256 << 10;

/// Where lines go. Clones write to the same place; it ends, after writing what waits, with the
/// last clone.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: Condvar,
    /// Tells who flushes that everything is out.
    written: Condvar,
    lost: AtomicU64,
    capacity_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    idle: bool,
    hurry: bool,
    closed: bool,
}

impl Lines {
    /// What may wait by default, in bytes: some ten thousand lines.
    pub const CAPACITY_BYTES: usize = 4 << 20;

    /// Lines to standard error.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to_stderr() -> io::Result<Self> {
        Self::new(io::stderr(), Self::CAPACITY_BYTES)
    }

    /// Lines to `out`, of which up to `capacity_bytes` may wait.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(out: impl Write + Send + 'static, capacity_bytes: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            written: Condvar::new(),
            lost: AtomicU64::new(0),
            capacity_bytes,
        });
        let worker = shared.clone();
        std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || write_until_closed(&worker, out))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Queues `line`, which ends in a newline. Never waits for the place it goes to.
    pub fn push(&self, line: &[u8]) {
        let shared = &self.0.0;
        let mut state = shared.state.lock();
        if state.pending.len() + line.len() > shared.capacity_bytes {
            drop(state);
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.pending.extend_from_slice(line);
        let wake = state.idle || state.pending.len() >= BATCH_BYTES;
        if wake {
            state.idle = false;
        }
        drop(state);
        if wake {
            shared.wake.notify_one();
        }
    }

    /// How many lines were lost, because they did not fit or could not be written.
    pub fn lost(&self) -> u64 {
        self.0.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was queued before is written, at most `timeout`; whether it is.
    pub fn flush(&self, timeout: Duration) -> bool {
        let shared = &self.0.0;
        let deadline = Instant::now() + timeout;
        let mut state = shared.state.lock();
        state.hurry = true;
        shared.wake.notify_one();
        while !(state.idle && state.pending.is_empty()) {
            if shared.written.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
            state.hurry = true;
        }
        true
    }
}

/// One write is one line: `tracing-subscriber` formats an event whole before it writes.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.wake.notify_one();
    }
}

fn write_until_closed(shared: &Shared, mut out: impl Write) {
    let mut batch = Vec::new();
    while next_batch(shared, &mut batch) {
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
            let lines = batch.iter().filter(|byte| **byte == b'\n').count();
            shared.lost.fetch_add(lines as u64, Ordering::Relaxed);
        }
        batch.clear();
        batch.shrink_to(KEEP_BYTES);
    }
}

/// Waits for lines and swaps them into the empty `batch`; `false` when there will be no more.
fn next_batch(shared: &Shared, batch: &mut Vec<u8>) -> bool {
    let mut state = shared.state.lock();
    while state.pending.is_empty() {
        if state.closed {
            return false;
        }
        state.idle = true;
        state.hurry = false;
        shared.written.notify_all();
        shared.wake.wait(&mut state);
    }
    let hurry = |state: &State| state.hurry || state.closed;
    if state.pending.len() < BATCH_BYTES && !hurry(&state) {
        shared.wake.wait_for(&mut state, BATCH_WAIT);
    }
    // Not idle while the batch is being written, so that a flush waits for it.
    state.idle = false;
    std::mem::swap(&mut state.pending, batch);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place whose writes can be held up and looked at.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let sink = Sink::default();
        let lines = Lines::new(sink.clone(), 1 << 20).unwrap();
        for n in 0..1000 {
            lines.push(format!("line {n}\n").as_bytes());
        }
        assert!(lines.flush(LONG));
        let expected: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        assert_eq!(*sink.0.lock(), expected.as_bytes());
        assert_eq!(lines.lost(), 0);
    }

    #[test]
    fn a_stuck_place_loses_lines_and_says_how_many() {
        let sink = Sink::default();
        let lines = Lines::new(sink.clone(), 100).unwrap();
        let stuck = sink.0.lock();
        for _ in 0..1000 {
            lines.push(b"0123456789\n");
        }
        // At most one batch is on its way out and one waits.
        assert!(lines.lost() >= 1000 - 2 * 9, "{}", lines.lost());
        assert!(!lines.flush(Duration::from_millis(1)));
        drop(stuck);
        assert!(lines.flush(LONG));
        assert_eq!(sink.0.lock().len() as u64, (1000 - lines.lost()) * 11);
    }

    #[test]
    fn lines_that_cannot_be_written_count_as_lost() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::new(Broken, 1 << 20).unwrap();
        lines.push(b"a\n");
        lines.push(b"b\n");
        assert!(lines.flush(LONG));
        assert_eq!(lines.lost(), 2);
    }
}
