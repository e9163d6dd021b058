//! A file that cannot be written: found so at the start, or so from some moment on.
//!
//! File modes make it so, which stop everybody but root. So the tests run in a process of their own,
//! as somebody else if they are run by root.

use crate::error::Trouble;
use crate::readers::Readers;
use crate::write::{Place, Queue, start};
use crate::{Batch, Catalog, Opened, connect, file};
use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(60);
const CHILD: &str = "LOCKGATE_TEST_READ_ONLY";
const NOBODY: u32 = 65534;

fn name() -> Name {
    Name::parse("a/x").unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

fn tagged(text: &str) -> Batch {
    let mut batch = Batch::new();
    batch.move_tag(&name(), &tag(text), &Digest::sha256(b"d"), Timestamp::UNIX_EPOCH);
    batch
}

fn has(readers: &Readers, text: &str) -> bool {
    readers.with(|c| crate::read::tags::tag(c, &name(), &tag(text))).unwrap().is_some()
}

fn mode(path: &Path, mode: u32) {
    for path in [path.to_owned(), file::with_suffix(path, "-wal")] {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + TIME;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a test of this file in another process, where modes mean something.
fn run_apart(test: &str) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new(&program);
    if directory.path().metadata().unwrap().uid() == 0 {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let test = format!("write::read_only_tests::{test}");
    command
        .args(["--exact", &test, "--nocapture"])
        .current_dir(directory.path())
        .env(CHILD, directory.path().join("catalog.sqlite"));
    let output = loop {
        match command.output() {
            // A process that another test began meanwhile still has the copy open for writing.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(5));
            }
            output => break output.unwrap(),
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

/// Where the catalog of a child is; none in the process that starts it.
fn in_child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

#[test]
fn started_on_a_read_only_file_it_reads_and_writes_when_it_may() {
    let Some(path) = in_child() else {
        return run_apart("started_on_a_read_only_file_it_reads_and_writes_when_it_may");
    };
    let (catalog, _) = Catalog::open(&path).unwrap();
    catalog.submit(tagged("in-file")).wait().unwrap();
    assert!(catalog.close(TIME));
    // A second one stays in the log, as a kill leaves it.
    let (open, _) = file::open(&path).unwrap();
    let sql = "INSERT INTO pin VALUES ('a/x', 'in-log', 1)";
    open.connection.execute(sql, []).unwrap();
    drop(open);
    mode(&path, 0o400);
    assert_eq!(
        connect::probe(&path).map_err(|error| Trouble::of(&error)),
        Err(Trouble::Reopen),
        "the mode stops nobody: this test shows nothing"
    );

    let (catalog, opened) = Catalog::open(&path).unwrap();
    assert_eq!(opened, Opened::Existing);
    assert!(catalog.status().problem.is_some_and(|problem| problem.contains("readonly")));
    assert!(catalog.tag(&name(), &tag("in-file")).unwrap().is_some());
    assert_eq!(catalog.pins().unwrap().len(), 1);
    let ticket = catalog.submit(tagged("new"));
    let status = catalog.status();
    assert_eq!((status.writable, status.waiting_batches, status.gaps), (false, 1, 0));
    assert!(catalog.tag(&name(), &tag("in-file")).unwrap().is_some());
    assert!(!file::with_suffix(&path, "-shm").exists());

    mode(&path, 0o600);
    assert_eq!(ticket.wait(), Ok(()));
    let status = catalog.status();
    assert!(status.writable && status.problem.is_none() && status.waiting_batches == 0);
    for text in ["in-file", "new"] {
        assert!(catalog.tag(&name(), &tag(text)).unwrap().is_some(), "{text}");
    }
    assert_eq!(catalog.pins().unwrap().len(), 1);
    assert!(catalog.close(TIME));
    assert!(file::is_sound(&path));
}

#[test]
fn a_file_that_becomes_read_only_is_read_on_and_written_later() {
    let Some(path) = in_child() else {
        return run_apart("a_file_that_becomes_read_only_is_read_on_and_written_later");
    };
    let (open, _) = file::open(&path).unwrap();
    let readers = Arc::new(Readers::of_file(path.clone()));
    readers.renew(open.identity());
    let queue = Arc::new(Queue::default());
    let place = Place::File { path: path.clone(), open: Some(open) };
    start(queue.clone(), readers.clone(), place).unwrap();
    queue.submit(tagged("t0")).wait().unwrap();

    for round in 1..3 {
        mode(&path, 0o400);
        // Modes bind only those who open: make the writer open the file anew.
        readers.suspect();
        until("the writer is in trouble", || queue.status().problem.is_some());
        let text = format!("t{round}");
        let ticket = queue.submit(tagged(&text));
        assert!(has(&readers, &format!("t{}", round - 1)));
        assert!(!has(&readers, &text));
        assert_eq!(queue.status().waiting_batches, 1);

        mode(&path, 0o600);
        assert_eq!(ticket.wait(), Ok(()));
        assert!(has(&readers, &text));
        assert!(queue.status().writable);
    }
    // Seen without a write as well.
    mode(&path, 0o400);
    readers.suspect();
    until("the writer is in trouble", || queue.status().problem.is_some());
    mode(&path, 0o600);
    until("the trouble is over", || queue.status().writable);

    let deadline = Instant::now() + TIME;
    queue.begin_close(deadline);
    assert!(queue.wait_closed(deadline));
    assert!(file::is_sound(&path));
}

#[test]
fn a_frozen_file_is_not_opened_for_writing_while_it_is_read() {
    let Some(path) = in_child() else {
        return run_apart("a_frozen_file_is_not_opened_for_writing_while_it_is_read");
    };
    drop(file::open(&path).unwrap());
    mode(&path, 0o400);
    let readers = Readers::of_file(path.clone());
    let Err(error) = file::open(&path) else { panic!("it can be written") };
    assert!(readers.freeze_after(&error, &path));
    assert!(readers.thaw().is_err());
    assert!(!has(&readers, "t"));
    mode(&path, 0o600);
    readers
        .with(|_| {
            let text = readers.thaw().unwrap_err().to_string();
            assert!(text.contains("busy"), "{text}");
            Ok(())
        })
        .unwrap();
    assert!(!has(&readers, "t"), "it is read on");
    readers.thaw().unwrap();
    assert!(readers.with(|_| Ok(())).is_err(), "nobody reads what is about to be written");
}

#[test]
fn a_broken_or_foreign_file_is_known_though_it_cannot_be_written() {
    let Some(path) = in_child() else {
        return run_apart("a_broken_or_foreign_file_is_known_though_it_cannot_be_written");
    };
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(raw);
    std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(matches!(Catalog::open(&path), Err(crate::Error::NotOurs { .. })));

    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "no database at all".repeat(100)).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    let (catalog, opened) = Catalog::open(&path).unwrap();
    assert!(matches!(opened, Opened::Recovered { .. }), "{opened:?}");
    catalog.submit(tagged("t")).wait().unwrap();
}
