//! The file: what a kill leaves, and what happens when it is locked, deleted, replaced or broken.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use catalog::*;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::*;

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.sqlite");
    (directory, path)
}

fn open(path: &Path) -> Catalog {
    Catalog::open(path).unwrap().0
}

fn put_tag(catalog: &Catalog, text: &str) -> Result<(), WriteError> {
    write(catalog, |b| b.move_tag(&name("a/x"), &tag(text), &digest(text), at(1)))
}

fn has_tag(catalog: &Catalog, text: &str) -> bool {
    catalog.tag(&name("a/x"), &tag(text)).unwrap().is_some()
}

/// A second connection of this process, as the catalog makes them: their locks count among them.
fn raw(path: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let raw = Connection::open_with_flags_and_vfs(path, flags, "unix-excl").unwrap();
    raw.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    raw
}

fn is_whole(path: &Path) -> bool {
    let raw = raw(path);
    raw.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap() == "ok"
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let (directory, path) = directory();
    let (catalog, opened) = Catalog::open(&path).unwrap();
    assert_eq!(opened, Opened::Fresh);
    put_tag(&catalog, "t").unwrap();
    assert!(catalog.close(CLOSE));
    assert!(matches!(catalog.tags(&name("a/x"), None, 1), Err(Error::Unavailable { .. })));
    let wal = directory.path().join("catalog.sqlite-wal");
    assert_eq!(
        std::fs::metadata(wal).map_or(0, |metadata| metadata.len()),
        0,
        "nothing in the log"
    );

    let (catalog, opened) = Catalog::open(&path).unwrap();
    assert_eq!(opened, Opened::Existing);
    assert!(has_tag(&catalog, "t"));
}

#[test]
fn what_waits_is_written_when_the_last_handle_goes() {
    let (_directory, path) = directory();
    let catalog = open(&path);
    let mut batch = Batch::new();
    batch.move_tag(&name("a/x"), &tag("t"), &digest("t"), at(1));
    let ticket = catalog.submit(batch);
    drop(catalog);
    assert_eq!(ticket.wait(), Ok(()));
    assert!(has_tag(&open(&path), "t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_share_few_commits() {
    let (directory, path) = directory();
    let catalog = open(&path);
    // While another holds the lock, what comes must wait, and then go together.
    let other = raw(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let tasks: Vec<_> = (0..500)
        .map(|number| {
            let catalog = catalog.clone();
            tokio::spawn(async move {
                let mut batch = Batch::new();
                let text = format!("t{number}");
                batch.move_tag(&name("a/x"), &tag(&text), &digest(&text), at(number));
                catalog.submit(batch).await
            })
        })
        .collect();
    while catalog.status().waiting_batches < 500 {
        tokio::task::yield_now().await;
    }
    other.execute_batch("ROLLBACK").unwrap();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    assert_eq!(catalog.tags(&name("a/x"), None, 1000).unwrap().len(), 500);
    // A commit of its own for each would write at least three pages, 6 MB in all, before the log
    // begins again at 4 MB.
    let wal = std::fs::metadata(directory.path().join("catalog.sqlite-wal")).unwrap().len();
    assert!(wal < 2 << 20, "{wal} bytes of log for 500 small batches");
}

/// Not a test of its own: the child of the next one.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(path) = std::env::var("LOCKGATE_TEST_CATALOG") else { return };
    let catalog = open(Path::new(&path));
    let mut out = std::io::stdout();
    for number in 0.. {
        let mut batch = Batch::new();
        let text = format!("t{number}");
        batch.move_tag(&name("a/x"), &tag(&text), &digest(&text), at(number));
        batch.put_blob(&digest(&text), 1, false, at(number));
        batch.put_content(&name("a/x"), &digest(&text), blob(number));
        catalog.submit(batch).wait().unwrap();
        writeln!(out, "written {number}").unwrap();
    }
}

#[test]
fn a_kill_loses_nothing_whose_ticket_said_ok() {
    let (_directory, path) = directory();
    for kill_after in [1, 40, 700] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env("LOCKGATE_TEST_CATALOG", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = None;
        for line in lines.map_while(Result::ok) {
            // libtest writes its own words before the first line, on the same line.
            let Some((_, number)) = line.split_once("written ") else { continue };
            last = Some(number.parse::<i64>().unwrap());
            if last >= Some(kill_after) {
                // SIGKILL, at whatever the writer is doing; what it still said is read to the end.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(last >= Some(kill_after), "the child ended by itself");
        assert!(is_whole(&path));
        let catalog = open(&path);
        for number in 0..=last.unwrap() {
            let text = format!("t{number}");
            assert!(has_tag(&catalog, &text), "{text}");
            assert!(catalog.content(&name("a/x"), &digest(&text)).unwrap().unwrap().present);
        }
        assert!(catalog.close(CLOSE));
    }
}

#[test]
fn a_copy_of_the_files_at_any_moment_holds_what_was_promised() {
    let (directory, path) = directory();
    let catalog = open(&path);
    for round in 0..5 {
        let tickets: Vec<_> = (0..50)
            .map(|number| {
                let mut batch = Batch::new();
                let text = format!("t{round}-{number}");
                batch.move_tag(&name("a/x"), &tag(&text), &digest(&text), at(1));
                catalog.submit(batch)
            })
            .collect();
        let mut tickets = tickets.into_iter();
        for ticket in tickets.by_ref().take(20) {
            ticket.wait().unwrap();
        }
        // The lock makes the copy one moment, as a kill is. Nothing was closed or checkpointed.
        let other = raw(&path);
        other.busy_timeout(CLOSE).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let copy = directory.path().join(format!("copy{round}.sqlite"));
        std::fs::copy(&path, &copy).unwrap();
        let wal = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
        std::fs::copy(wal(&path), wal(&copy)).unwrap();
        other.execute_batch("ROLLBACK").unwrap();
        drop(other);

        let copied = open(&copy);
        for earlier in 0..=round {
            for number in 0..20 {
                assert!(has_tag(&copied, &format!("t{earlier}-{number}")));
            }
        }
        for ticket in tickets {
            ticket.wait().unwrap();
        }
    }
}

#[test]
fn a_lock_held_elsewhere_delays_writes_and_no_read() {
    let (_directory, path) = directory();
    let catalog = open(&path);
    put_tag(&catalog, "before").unwrap();
    let other = raw(&path);
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut batch = Batch::new();
    batch.move_tag(&name("a/x"), &tag("after"), &digest("after"), at(1));
    let ticket = catalog.submit(batch);
    eventually("the lock is noticed", || catalog.status().problem.is_some());
    let status = catalog.status();
    assert_eq!((status.writable, status.waiting_batches, status.gaps), (false, 1, 0));
    assert!(has_tag(&catalog, "before"));
    assert!(!has_tag(&catalog, "after"));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(ticket.wait(), Ok(()));
    assert!(has_tag(&catalog, "after"));
    assert!(catalog.status().writable);
}

/// Not a test of its own: another process, which takes the catalog for itself until its input ends.
#[test]
fn child_that_locks_a_catalog() {
    let Ok(path) = std::env::var("LOCKGATE_TEST_LOCKED") else { return };
    let other = Connection::open(&path).unwrap();
    other.busy_timeout(std::time::Duration::ZERO).unwrap();
    let taken = other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    let word = taken.map_or_else(|error| error.to_string(), |()| "taken".to_owned());
    writeln!(std::io::stdout(), "verdict: {word}.").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// The process, and what came of its lock.
fn locking_process(path: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_locks_a_catalog", "--nocapture"])
        .env("LOCKGATE_TEST_LOCKED", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let verdict = (&mut output)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("verdict: ")?.1.to_owned()))
        .unwrap();
    // It has more to say before it ends.
    child.stdout = Some(output.into_inner());
    (child, verdict)
}

#[test]
fn a_database_that_another_process_has_cannot_be_opened_until_it_goes() {
    let (_directory, path) = directory();
    let catalog = open(&path);
    put_tag(&catalog, "t").unwrap();
    assert!(catalog.close(CLOSE));
    let (mut child, verdict) = locking_process(&path);
    assert_eq!(verdict, "taken.");
    assert!(matches!(Catalog::open(&path), Err(Error::Unavailable { .. })));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(has_tag(&open(&path), "t"));
}

#[test]
fn no_other_process_gets_at_an_open_catalog_and_no_page_of_it_is_mapped() {
    let (directory, path) = directory();
    let catalog = open(&path);
    put_tag(&catalog, "before").unwrap();
    assert!(has_tag(&catalog, "before"));
    // Also while one connection goes and another comes.
    for _ in 0..2 {
        let (mut child, verdict) = locking_process(&path);
        assert!(verdict.contains("locked"), "{verdict}");
        put_tag(&catalog, "after").unwrap();
        assert!(has_tag(&catalog, "after"));
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        drop(raw(&path));
    }
    // A store to a mapped page of a file system that became read-only would end the process.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains(directory.path().to_str().unwrap()), "{maps}");
    assert!(!directory.path().join("catalog.sqlite-shm").exists());
    assert!(catalog.close(CLOSE));
    assert!(is_whole(&path));
}

#[test]
fn its_files_are_nobody_elses_to_read() {
    let (directory, path) = directory();
    let modes = |expected: usize| {
        let entries: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries.len(), expected, "{entries:?}");
        for entry in entries {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{entry:?} {mode:o}");
        }
    };
    let catalog = open(&path);
    put_tag(&catalog, "t").unwrap();
    modes(2);
    assert!(catalog.close(CLOSE));

    // As older versions left them.
    for file in ["catalog.sqlite", "catalog.sqlite-wal"] {
        let open_to_all = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(directory.path().join(file), open_to_all).unwrap();
    }
    let catalog = open(&path);
    put_tag(&catalog, "t").unwrap();
    modes(2);
    assert!(catalog.close(CLOSE));

    // One that is put aside, and the fresh one.
    std::fs::write(&path, "no database").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let catalog = open(&path);
    put_tag(&catalog, "t").unwrap();
    modes(4);
}

#[test]
fn a_deleted_file_is_made_again() {
    let (_directory, path) = directory();
    let catalog = open(&path);
    put_tag(&catalog, "old").unwrap();
    assert!(has_tag(&catalog, "old"));
    std::fs::remove_file(&path).unwrap();
    // Noticed by the next write: it lands in a file that is there.
    put_tag(&catalog, "new").unwrap();
    assert!(has_tag(&catalog, "new"));
    assert!(
        !has_tag(&catalog, "old"),
        "the log of the deleted file is not taken for that of the new"
    );
    assert!(is_whole(&path));

    // Noticed without one.
    std::fs::remove_file(&path).unwrap();
    eventually("the file is made again", || {
        path.exists() && matches!(catalog.tag(&name("a/x"), &tag("new")), Ok(None))
    });
    assert!(catalog.close(CLOSE));
}

#[test]
fn while_there_can_be_no_file_reads_fail_and_writes_wait() {
    let (_directory, path) = directory();
    let catalog = open(&path);
    put_tag(&catalog, "old").unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let mut batch = Batch::new();
    batch.move_tag(&name("a/x"), &tag("new"), &digest("new"), at(1));
    let ticket = catalog.submit(batch);
    eventually("the writer is in trouble", || catalog.status().problem.is_some());
    let read = catalog.tag(&name("a/x"), &tag("old"));
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    assert_eq!(catalog.status().waiting_batches, 1);
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(ticket.wait(), Ok(()));
    assert!(has_tag(&catalog, "new"));
    assert_eq!(catalog.status().gaps, 0);
}

#[test]
fn a_file_put_in_its_place_is_read_and_written() {
    let (directory, path) = directory();
    let backup = directory.path().join("backup.sqlite");
    let other = open(&backup);
    put_tag(&other, "from-backup").unwrap();
    assert!(other.close(CLOSE));

    let catalog = open(&path);
    put_tag(&catalog, "old").unwrap();
    assert!(has_tag(&catalog, "old"));
    std::fs::rename(&backup, &path).unwrap();
    put_tag(&catalog, "new").unwrap();
    assert!(has_tag(&catalog, "from-backup") && has_tag(&catalog, "new"));
    assert!(!has_tag(&catalog, "old"));
    assert!(catalog.close(CLOSE));
    assert!(is_whole(&path));
}

#[test]
fn a_file_that_is_no_database_is_moved_aside() {
    let (_directory, path) = directory();
    std::fs::write(&path, "these are not the pages you are looking for".repeat(200)).unwrap();
    let (catalog, opened) = Catalog::open(&path).unwrap();
    let Opened::Recovered { moved_to } = opened else { panic!("{opened:?}") };
    assert!(moved_to.to_str().unwrap().contains("catalog.sqlite.broken-"));
    assert!(std::fs::read_to_string(moved_to).unwrap().starts_with("these are not"));
    put_tag(&catalog, "t").unwrap();
    assert!(has_tag(&catalog, "t"));
}

#[test]
fn a_file_that_breaks_while_it_is_open_is_moved_aside() {
    let (directory, path) = directory();
    let catalog = open(&path);
    for number in 0..200 {
        put_tag(&catalog, &format!("t{number}")).unwrap();
    }
    assert!(catalog.close(CLOSE));
    let catalog = open(&path);
    // Same file, other bytes, behind the header.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(&vec![0xa5; (length - 4096) as usize], 4096).unwrap();
    eventually("the broken file is replaced", || {
        matches!(catalog.tag(&name("a/x"), &tag("t1")), Ok(None))
    });
    put_tag(&catalog, "new").unwrap();
    assert!(has_tag(&catalog, "new"));
    let aside = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().to_str().unwrap().contains(".broken-")
    };
    assert!(std::fs::read_dir(directory.path()).unwrap().any(aside));
    assert!(catalog.close(CLOSE));
    assert!(is_whole(&path));
}

#[test]
fn files_of_a_newer_lockgate_and_of_others_are_left_alone() {
    let (directory, path) = directory();
    assert!(open(&path).close(CLOSE));
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(raw);
    let before = std::fs::read(&path).unwrap();
    let Err(Error::Newer { found, known, way_back, .. }) = Catalog::open(&path) else {
        panic!("opened a schema it does not know")
    };
    assert_eq!((found, known), (99, 3));
    assert!(way_back.contains("newer Lockgate"), "{way_back}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let foreign = directory.path().join("foreign.sqlite");
    let raw = Connection::open(&foreign).unwrap();
    raw.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(raw);
    assert!(matches!(Catalog::open(&foreign), Err(Error::NotOurs { .. })));
    let nowhere = directory.path().join("no/such/directory/catalog.sqlite");
    assert!(matches!(Catalog::open(&nowhere), Err(Error::Unavailable { .. })));
}
