//! What no test from outside can bring about: a database that refuses writes, and a full queue.
//!
//! A test that runs as root is stopped by no file mode, so "read-only" and "disk full" are made with
//! SQLite's own switches on a database in memory, whose connection the test shares with the writer.

use super::queue::{MAX_BATCHES, MAX_BYTES, Next};
use super::{Place, Queue, start};
use crate::readers::Readers;
use crate::{Batch, WriteError, file};
use bytes::Bytes;
use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Rig {
    connection: Arc<Mutex<Connection>>,
    readers: Arc<Readers>,
    queue: Arc<Queue>,
}

fn rig() -> Rig {
    let connection = Arc::new(Mutex::new(file::open_in_memory().unwrap()));
    let readers = Arc::new(Readers::in_memory(connection.clone()));
    let queue = Arc::new(Queue::default());
    start(queue.clone(), readers.clone(), Place::Memory(connection.clone())).unwrap();
    Rig { connection, readers, queue }
}

fn name() -> Name {
    Name::parse("a/x").unwrap()
}

fn tagged(tag: &str) -> Batch {
    let mut batch = Batch::new();
    batch.move_tag(
        &name(),
        &Tag::parse(tag).unwrap(),
        &Digest::sha256(b"d"),
        Timestamp::UNIX_EPOCH,
    );
    batch
}

impl Rig {
    fn tags(&self) -> usize {
        self.readers.with(|c| crate::read::tags::tags(c, &name(), None, 1000)).unwrap().len()
    }

    fn until_trouble(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(problem) = self.queue.status().problem {
                return problem;
            }
            assert!(Instant::now() < deadline, "never in trouble");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes wait while the statement `bad` holds, reads go on; after `good` all of it lands.
    fn survives(&self, bad: &str, good: &str, says: &str) {
        self.connection.lock().execute_batch(bad).unwrap();
        let tickets: Vec<_> =
            ["t1", "t2"].map(|tag| self.queue.submit(tagged(tag))).into_iter().collect();
        let problem = self.until_trouble();
        assert!(problem.contains(says), "{problem}");
        let status = self.queue.status();
        assert!(!status.writable);
        assert_eq!((status.waiting_batches, status.gaps), (2, 0));
        assert_eq!(self.tags(), 0);
        self.connection.lock().execute_batch(good).unwrap();
        for ticket in tickets {
            assert_eq!(ticket.wait(), Ok(()));
        }
        assert_eq!(self.tags(), 2);
        let status = self.queue.status();
        assert!(status.writable && status.problem.is_none() && status.waiting_batches == 0);
    }
}

#[test]
fn a_read_only_database_delays_writes_and_loses_none() {
    rig().survives("PRAGMA query_only = 1", "PRAGMA query_only = 0", "readonly");
}

#[test]
fn a_full_disk_delays_writes_and_loses_none() {
    let rig = rig();
    // Fewer pages than there are already is taken to mean: no more than there are.
    rig.connection.lock().execute_batch("PRAGMA max_page_count = 1").unwrap();
    let mut big = Batch::new();
    let body = Bytes::from(vec![7; 100_000]);
    big.put_listing(&name(), crate::ListingKey::Tags, body, Timestamp::UNIX_EPOCH);
    let ticket = rig.queue.submit(big);
    assert!(rig.until_trouble().contains("full"));
    rig.connection.lock().execute_batch("PRAGMA max_page_count = 10000").unwrap();
    assert_eq!(ticket.wait(), Ok(()));
    assert_eq!(rig.queue.status().gaps, 0);
}

#[test]
fn a_batch_that_can_never_be_written_is_refused_counted_and_stops_no_other() {
    let rig = rig();
    let lock = rig.connection.lock();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON tag WHEN NEW.tag = 'bad' \
        BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    lock.execute_batch(trigger).unwrap();
    // All three are in one group, or in two; it must make no difference.
    let tickets = ["t1", "bad", "t2"].map(|tag| rig.queue.submit(tagged(tag)));
    drop(lock);
    let outcomes = tickets.map(|ticket| ticket.wait());
    assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(()), &Ok(())));
    assert!(matches!(&outcomes[1], Err(WriteError::Refused(why)) if why.contains("not this one")));
    assert_eq!(rig.tags(), 2);
    assert_eq!(rig.queue.status().gaps, 1);
}

#[test]
fn what_does_not_fit_is_dropped_told_and_counted() {
    // No writer: nothing leaves the queue.
    let queue = Queue::default();
    let kept: Vec<_> = (0..MAX_BATCHES).map(|_| queue.submit(Batch::new())).collect();
    assert_eq!(queue.status().waiting_batches, MAX_BATCHES as u64);
    assert_eq!(queue.submit(tagged("t")).wait(), Err(WriteError::Full));
    assert_eq!(queue.submit(tagged("t")).wait(), Err(WriteError::Full));
    assert_eq!(queue.status().gaps, 2);
    let Next::Group(group) = queue.next(Duration::ZERO) else { panic!("nothing to write") };
    let outcomes = group.iter().map(|_| Ok(())).collect();
    queue.settle(group, outcomes);
    let _fits = queue.submit(tagged("t"));
    assert_eq!(queue.status().gaps, 2);
    drop(kept);

    let queue = Queue::default();
    let big = |bytes: usize| {
        let mut batch = Batch::new();
        let body = Bytes::from(vec![0; bytes]);
        batch.put_listing(&name(), crate::ListingKey::Tags, body, Timestamp::UNIX_EPOCH);
        batch
    };
    assert_eq!(queue.submit(big(MAX_BYTES)).wait(), Err(WriteError::Full));
    let _fits = queue.submit(big(MAX_BYTES / 2));
    assert_eq!(queue.submit(big(MAX_BYTES / 2)).wait(), Err(WriteError::Full));
    assert_eq!(queue.status().gaps, 2);
}

#[test]
fn closing_in_trouble_ends_and_tells_what_was_lost() {
    let rig = rig();
    rig.connection.lock().execute_batch("PRAGMA query_only = 1").unwrap();
    let ticket = rig.queue.submit(tagged("t"));
    rig.until_trouble();
    let now = Instant::now();
    rig.queue.begin_close(now);
    assert!(!rig.queue.wait_closed(now + Duration::from_secs(60)));
    assert_eq!(ticket.wait(), Err(WriteError::Closed));
    assert_eq!(rig.queue.status().gaps, 1);
    assert_eq!(rig.queue.submit(tagged("t")).wait(), Err(WriteError::Closed));
}
