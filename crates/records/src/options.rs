//! How a record is written. All bounds of writing are here.

use jiff::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Choices of [`Recorder::open`](crate::Recorder::open).
#[derive(Clone)]
pub struct Options {
    /// A segment that is larger is ended. Bounds what a search, a start and a reader's memory take.
    pub segment_bytes: u64,
    /// A segment that is older is ended, so that retention and shipping move by the day.
    pub segment_age: Duration,
    /// The longest that an entry waits for the disk: what a kill may lose.
    pub commit_every: Duration,
    /// So many bytes are written before that.
    pub commit_bytes: usize,
    /// Entries that may wait for the thread that writes. Bounds memory when the disk is slow.
    pub queue_entries: usize,
    /// Within this time the same decision is written once, and then counted.
    pub repeat_window: Duration,
    /// Decisions that are remembered for that. Others are written each time.
    pub repeat_entries: usize,
    /// Segments older than this are removed; none: never. Can be [set](crate::Recorder::set_retain) later.
    pub retain: Option<Duration>,
    /// Where the time comes from.
    pub clock: Clock,
    /// The version of the program, told at each start.
    pub version: String,
    /// For tests: a disk that becomes full after so many bytes.
    pub fail_writes_after_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(24 * 60 * 60),
            commit_every: Duration::from_millis(200),
            commit_bytes: 1 << 20,
            queue_entries: 65_536,
            repeat_window: Duration::from_secs(60),
            repeat_entries: 8192,
            retain: None,
            clock: Arc::new(Timestamp::now),
            version: String::new(),
            fail_writes_after_bytes: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("segment_age", &self.segment_age)
            .field("commit_every", &self.commit_every)
            .field("retain", &self.retain)
            .finish_non_exhaustive()
    }
}
