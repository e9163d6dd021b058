//! Documents of names: the same in a directory and in an object store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Error, Place, Store};
use common::contract::{self, Bench};
use oci::{Digest, Name};
use std::collections::BTreeSet;
use testkit::FakeS3;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn names(store: &Store) -> BTreeSet<String> {
    store.documents().map(|name| name.unwrap().to_string()).collect()
}

fn benches() -> Vec<(&'static str, Bench)> {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("blobs");
    let server = FakeS3::start();
    let object = common::s3(&server);
    vec![
        ("data directory", Bench::new(Place::DataDir, None)),
        ("another directory", Bench::new(Place::File { directory }, Some(Box::new(dir)))),
        ("object store", Bench::new(object, Some(Box::new(server)))),
    ]
}

#[test]
fn a_document_is_replaced_found_listed_and_removed_in_every_place() {
    for (what, bench) in benches() {
        let store = &bench.store;
        assert!(names(store).is_empty(), "{what}");
        assert_eq!(store.document(&name("team/app"), 100).unwrap(), None, "{what}");
        store.remove_document(&name("team/app")).unwrap();
        let longest = format!("t/{}", "x".repeat(Name::MAX_BYTES - 2));
        let all = ["team/app", "team/app/part", "team/app.json", "team/app.json/x", "b", &longest];
        for (at, text) in all.iter().enumerate() {
            store.put_document(&name(text), b"first").unwrap();
            store.put_document(&name(text), format!("{at} of {what}").as_bytes()).unwrap();
        }
        let listed: BTreeSet<String> = all.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(names(&bench.reopened()), listed, "{what}");
        for (at, text) in all.iter().enumerate() {
            let read = store.document(&name(text), 100).unwrap().unwrap();
            assert_eq!(read, format!("{at} of {what}"), "{what}: {text}");
        }
        let error = store.document(&name("b"), 3).unwrap_err();
        assert!(matches!(error, Error::TooLarge { max_bytes: 3, .. }), "{what}: {error}");
        // What lies above others and what lies below them.
        store.remove_document(&name("team/app")).unwrap();
        store.remove_document(&name("team/app.json/x")).unwrap();
        assert_eq!(store.document(&name("team/app"), 100).unwrap(), None, "{what}");
        store.document(&name("team/app/part"), 100).unwrap().unwrap();
        store.document(&name("team/app.json"), 100).unwrap().unwrap();
        assert_eq!(names(store).len(), all.len() - 2, "{what}");
        // A blob is no document, and the other way round.
        store.put(&Digest::sha256(b"x"), b"x").unwrap();
        assert_eq!(names(store).len(), all.len() - 2, "{what}");
        assert_eq!(store.walk().count(), 1, "{what}");
    }
}

#[test]
fn what_a_killed_process_left_goes_and_empty_directories_too() {
    let scratch = common::scratch();
    scratch.store.put_document(&name("a/b/c"), b"{}").unwrap();
    let home = scratch.dir.path().join("blobs/names/a/b/c");
    std::fs::write(home.join(".tmp-1-0-0"), "half").unwrap();
    assert_eq!(names(&scratch.store).len(), 1);
    assert_eq!(common::files(&home), [home.join("_index.json")]);
    scratch.store.remove_document(&name("a/b/c")).unwrap();
    assert!(!scratch.dir.path().join("blobs/names/a").exists());
}

#[test]
fn places_are_read_in_order_and_one_can_be_filled_from_the_others() {
    let bench = Bench::new(Place::DataDir, None);
    bench.store.put_document(&name("a/b"), b"old").unwrap();
    bench.store.put_document(&name("a/c"), b"only here").unwrap();
    let other = tempfile::tempdir().unwrap();
    let second = Place::File { directory: other.path().join("blobs") };
    let store =
        contract::open(&bench.runtime, bench.dir.path(), vec![second.clone(), Place::DataDir]);
    assert_eq!(store.first_document(&name("a/b"), 100).unwrap(), None);
    assert_eq!(store.document(&name("a/b"), 100).unwrap().unwrap(), "old");
    store.put_document(&name("a/b"), b"new").unwrap();
    assert_eq!(store.document(&name("a/b"), 100).unwrap().unwrap(), "new");
    assert_eq!(bench.store.document(&name("a/b"), 100).unwrap().unwrap(), "old");
    let to = store.open_place(second).unwrap();
    assert!(store.copy_document_to(&name("a/c"), 100, &to).unwrap());
    assert!(!store.copy_document_to(&name("a/d"), 100, &to).unwrap());
    assert_eq!(store.first_document(&name("a/c"), 100).unwrap().unwrap(), "only here");
    store.remove_document(&name("a/b")).unwrap();
    assert_eq!(bench.store.document(&name("a/b"), 100).unwrap(), None);
}

#[test]
fn a_full_disk_leaves_the_document_as_it_was() {
    let scratch = common::scratch();
    scratch.store.put_document(&name("a/b"), b"old").unwrap();
    scratch.store.fail_writes_after_bytes(Some(2));
    let error = scratch.store.put_document(&name("a/b"), b"new").unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert_eq!(scratch.store.document(&name("a/b"), 100).unwrap().unwrap(), "old");
}
