//! Whether a catalog knows all that the store has: a fresh one never does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use catalog::{Batch, Catalog, Opened};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_fresh_database_says_that_it_is_one_also_when_the_old_one_was_lost_under_us() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.sqlite");
    let (catalog, opened) = Catalog::open(&path).unwrap();
    assert_eq!((opened, catalog.fresh_starts()), (Opened::Fresh, 1));
    assert!(catalog.is_durable() && !catalog.is_complete().unwrap());
    let mut batch = Batch::new();
    batch.set_complete();
    batch.set_complete();
    catalog.submit(batch).wait().unwrap();
    assert!(catalog.is_complete().unwrap());
    assert!(catalog.close(PATIENCE));

    let (catalog, opened) = Catalog::open(&path).unwrap();
    assert_eq!((opened, catalog.fresh_starts()), (Opened::Existing, 0));
    assert!(catalog.is_complete().unwrap());
    std::fs::remove_file(&path).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while catalog.fresh_starts() == 0 {
        assert!(Instant::now() < deadline, "nobody noticed");
        let _ = catalog.submit(Batch::new()).wait();
    }
    // Reads may be shut for a moment.
    let is_complete = loop {
        match catalog.is_complete() {
            Ok(is_complete) => break is_complete,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert!(!is_complete);

    let memory = Catalog::in_memory().unwrap();
    assert!(!memory.is_durable() && memory.fresh_starts() == 1);
}
