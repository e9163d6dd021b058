//! A catalog that changes places or schemas: backup, restore, a kill in the middle of a migration.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use catalog::*;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::*;

const FIRST: &str = include_str!("../migrations/0001_first.sql");
const ROWS: i64 = 20_000;

/// A file of the first schema with so much in it that its migration takes a while.
fn first_version(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; BEGIN").unwrap();
    connection.execute_batch(FIRST).unwrap();
    connection
        .execute_batch("PRAGMA user_version = 1; PRAGMA application_id = 1282099060")
        .unwrap();
    let mut put = connection
        .prepare("INSERT INTO content VALUES (?1, ?2, 'r', 0, 1, NULL, NULL, 1, 1, 0)")
        .unwrap();
    for number in 0..ROWS {
        let digest = digest(&number.to_string()).to_string();
        put.execute((format!("r/n{:05}", number / 2), digest)).unwrap();
    }
    drop(put);
    connection.execute_batch("COMMIT").unwrap();
}

fn number(path: &Path, sql: &str) -> i64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let raw = Connection::open_with_flags_and_vfs(path, flags, "unix-excl").unwrap();
    raw.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    let whole: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    raw.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Not a test of its own: the child of the next one.
#[test]
fn child_that_migrates() {
    let Ok(path) = std::env::var("LOCKGATE_TEST_MIGRATED") else { return };
    writeln!(std::io::stdout(), "begins").unwrap();
    let (catalog, _) = Catalog::open(Path::new(&path)).unwrap();
    assert!(catalog.close(CLOSE));
}

#[test]
fn a_kill_in_the_middle_of_a_migration_leaves_one_schema_or_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("first.sqlite");
    first_version(&original);
    for round in 0..12 {
        let path = directory.path().join(format!("{round}.sqlite"));
        std::fs::copy(&original, &path).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_migrates", "--nocapture"])
            .env("LOCKGATE_TEST_MIGRATED", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("begins")));
        // Wherever it happens to be then: before the copy, in the copy, in the transaction, after it.
        std::thread::sleep(Duration::from_millis(round * 12));
        child.kill().unwrap();
        child.wait().unwrap();

        let version = number(&path, "PRAGMA user_version");
        assert!(version == 1 || version == 3, "{version}");
        assert_eq!(number(&path, "SELECT COUNT(*) FROM content"), ROWS);
        let copy = PathBuf::from(format!("{}.before-3", path.display()));
        if version == 3 || copy.exists() {
            assert_eq!(number(&copy, "PRAGMA user_version"), 1);
            assert_eq!(number(&copy, "SELECT COUNT(*) FROM content"), ROWS);
        }
        let (catalog, opened) = Catalog::open(&path).unwrap();
        assert_eq!(opened, Opened::Existing);
        assert_eq!(catalog.names(None, u32::MAX).unwrap().len() as i64, ROWS / 2);
        assert!(catalog.close(CLOSE));
    }
}

fn fill(catalog: &Catalog, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let text = format!("t{number}");
        write(catalog, |w| {
            w.put_blob(&digest(&text), 10, false, at(number));
            w.put_content(&name("r/x"), &digest(&text), blob(number));
            w.move_tag(&name("r/x"), &tag(&text), &digest(&text), at(number));
        })
        .unwrap();
    }
}

#[test]
fn a_backup_is_one_moment_while_writes_go_on_and_can_be_put_in_place() {
    let directory = tempfile::tempdir().unwrap();
    // A name that must be written otherwise where SQLite is asked for it.
    let (path, copy) = (directory.path().join("catalog.sqlite"), directory.path().join("a ?%#ä"));
    let (catalog, _) = Catalog::open(&path).unwrap();
    write(&catalog, |w| {
        let body = vec![7; 3 << 20];
        w.put_listing(&name("r/x"), ListingKey::Tags, body.into(), at(1));
    })
    .unwrap();
    fill(&catalog, 0..20);
    // Each step of the copy is followed by a commit: without a moment of its own it would never end.
    let (mut steps, mut written, mut left) = (0, 20, u64::MAX);
    catalog
        .backup(&copy, |pages_left, pages| {
            assert!(pages_left <= pages && pages_left < left, "it goes on, not back");
            (left, steps) = (pages_left, steps + 1);
            fill(&catalog, written..written + 1);
            written += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(steps >= 3, "{steps}");
    assert_eq!(catalog.tags(&name("r/x"), None, 1000).unwrap().len() as i64, written);
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    assert!(matches!(
        catalog.backup(&copy, |_, _| ControlFlow::Continue(())),
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists
    ));
    assert!(catalog.close(CLOSE));

    assert_eq!(Catalog::check_file(&copy).unwrap(), SchemaVersion { found: 3, known: 3 });
    std::fs::rename(&copy, &path).unwrap();
    let (catalog, opened) = Catalog::open(&path).unwrap();
    assert_eq!(opened, Opened::Existing);
    assert_eq!(catalog.tags(&name("r/x"), None, 1000).unwrap().len(), 20);
    fill(&catalog, 100..101);
    assert!(catalog.close(CLOSE));
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(files.len() <= 2, "nothing is left beside it: {files:?}");
}

#[test]
fn a_backup_that_is_stopped_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    let catalog = Catalog::in_memory().unwrap();
    write(&catalog, |w| {
        let body = vec![7; 3 << 20];
        w.put_listing(&name("r/x"), ListingKey::Tags, body.into(), at(1));
    })
    .unwrap();
    let stopped = catalog.backup(&copy, |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    // What an earlier attempt left does not stand in the way.
    std::fs::write(directory.path().join("copy.part"), "half").unwrap();
    catalog.backup(&copy, |_, _| ControlFlow::Continue(())).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(Catalog::check_file(&copy).is_ok());
}

#[test]
fn backups_hold_up_no_write_while_they_wait() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(&directory.path().join("catalog.sqlite")).unwrap();
    write(&catalog, |w| {
        let body = vec![7; 3 << 20];
        w.put_listing(&name("r/x"), ListingKey::Tags, body.into(), at(1));
    })
    .unwrap();
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            fill(&catalog, 0..50);
            written.store(true, Ordering::Release);
        });
        let copied = catalog.backup(&directory.path().join("copy"), |_, _| {
            eventually("writes go on", || written.load(Ordering::Acquire));
            ControlFlow::Continue(())
        });
        copied.unwrap();
    });
}

#[test]
fn a_file_is_looked_at_before_it_becomes_the_catalog() {
    let directory = tempfile::tempdir().unwrap();
    let path = |text: &str| directory.path().join(text);
    first_version(&path("first"));
    assert_eq!(Catalog::check_file(&path("first")).unwrap(), SchemaVersion { found: 1, known: 3 });

    let newer = Connection::open(path("first")).unwrap();
    newer.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(newer);
    let newer = Catalog::check_file(&path("first"));
    assert!(matches!(newer, Err(Error::Newer { found: 99, known: 3, .. })), "{newer:?}");

    let foreign = Connection::open(path("foreign")).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(foreign);
    std::fs::write(path("empty"), "").unwrap();
    for text in ["foreign", "empty"] {
        let checked = Catalog::check_file(&path(text));
        assert!(matches!(checked, Err(Error::NotOurs { .. })), "{text}: {checked:?}");
    }
    std::fs::write(path("text"), "no database at all, but long enough to look at".repeat(99))
        .unwrap();
    for text in ["text", "nowhere"] {
        let checked = Catalog::check_file(&path(text));
        assert!(matches!(checked, Err(Error::Unavailable { .. })), "{text}: {checked:?}");
    }

    // Sound at the front, broken in the middle.
    let (catalog, _) = Catalog::open(&path("broken")).unwrap();
    fill(&catalog, 0..200);
    assert!(catalog.close(CLOSE));
    let mut bytes = std::fs::read(path("broken")).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(path("broken"), bytes).unwrap();
    let checked = Catalog::check_file(&path("broken"));
    assert!(matches!(checked, Err(Error::Unavailable { .. })), "{checked:?}");
}
