//! Blobs on their way to an object store: cut off, gone on with, forgotten, given up, copied.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Blob, Error, Place, Store, Verdict};
use bytes::Bytes;
use common::contract::Bench;
use common::objects::{ALWAYS, bench, key};
use common::{bytes, s3};
use oci::Digest;
use std::time::Duration;
use testkit::{FakeS3, S3Fault};

/// A part of 40 MiB, so three to be sent.
fn long_part(store: &Store, seed: u64) -> (blobs::Part, Digest, Bytes) {
    let all = bytes(40 << 20, seed);
    let digest = Digest::sha256(&all);
    let mut part = store.part(&digest).unwrap();
    part.append(std::slice::from_ref(&all)).unwrap();
    (part, digest, all)
}

/// What the next process makes of a part that could not be committed.
fn commit_again(bench: &Bench, digest: &Digest) -> Blob {
    let store = bench.reopened();
    let mut part = store.part(digest).unwrap();
    part.rehash().unwrap();
    part.commit().unwrap()
}

#[test]
fn an_upload_that_was_cut_off_goes_on_with_the_parts_that_are_missing() {
    let (bench, server) = bench();
    for (known, missing) in [(1, 2), (3, 0)] {
        let (part, digest, all) = long_part(&bench.store, 6 + known as u64);
        server.fail("POST", "uploadId", ALWAYS, S3Fault::Status(400));
        assert!(part.commit().is_err());
        server.heal();
        assert_eq!(server.uploads(), [[1, 2, 3]]);
        assert!(bench.store.blob(&digest).unwrap().is_none());
        // As a kill leaves it: of some parts it is not known that they arrived, of one only half.
        let is_notes = |path: &std::path::PathBuf| path.extension().unwrap() == "sending";
        let fills = common::files(&bench.dir.path().join("fills"));
        let notes = fills.into_iter().find(is_notes).unwrap();
        let text = std::fs::read_to_string(&notes).unwrap();
        let kept: Vec<&str> = text.lines().take(1 + known).collect();
        std::fs::write(&notes, format!("{}\n{{\"part\":", kept.join("\n"))).unwrap();
        let sent = server.count("PUT", "partNumber");
        let blob = commit_again(&bench, &digest);
        assert!(bench.all(&blob) == all);
        assert_eq!(server.count("PUT", "partNumber") - sent, missing);
        assert_eq!((server.uploads().len(), bench.staged()), (0, 0));
    }
    assert_eq!(server.count("POST", "?uploads"), 2, "one each");
}

#[test]
fn an_upload_that_the_store_forgot_begins_again() {
    let (bench, server) = bench();
    let (part, digest, all) = long_part(&bench.store, 7);
    server.fail("POST", "uploadId", ALWAYS, S3Fault::Status(400));
    assert!(part.commit().is_err());
    server.heal();
    server.forget_uploads();
    let blob = commit_again(&bench, &digest);
    assert!(bench.all(&blob) == all);
    assert_eq!((server.uploads().len(), bench.staged()), (0, 0));
    assert_eq!(server.count("POST", "?uploads"), 2);
}

#[test]
fn an_upload_whose_last_answer_was_lost_is_whole() {
    let (bench, server) = bench();
    let (part, digest, all) = long_part(&bench.store, 8);
    server.fail("POST", "uploadId", 1, S3Fault::LoseAnswer);
    let blob = part.commit().unwrap();
    assert!(bench.all(&blob) == all);
    assert_eq!(bench.staged(), 0);
    assert_eq!(bench.reopened().check(&digest, |_| true).unwrap(), Verdict::Sound);
}

#[test]
fn parts_that_fail_for_a_moment_are_sent_again() {
    let (bench, server) = bench();
    let (part, _, all) = long_part(&bench.store, 9);
    server.fail("PUT", "partNumber=2", 2, S3Fault::Status(503));
    server.fail("PUT", "partNumber=1", 1, S3Fault::LoseAnswer);
    assert!(bench.all(&part.commit().unwrap()) == all);
}

#[test]
fn the_staged_file_stays_until_the_store_has_confirmed() {
    let (bench, server) = bench();
    let mut upload = bench.store.begin_upload("mine").unwrap();
    upload.append(&[Bytes::from_static(b"abc")]).unwrap();
    let digest = Digest::sha256(b"abc");
    server.fail("PUT", "", ALWAYS, S3Fault::Status(503));
    let (upload, error) = upload.commit(&digest).unwrap_err();
    assert!(error.may_pass(), "{error}");
    server.heal();
    assert_eq!(upload.unwrap().commit(&digest).map_err(|(_, e)| e).unwrap().size_bytes(), 3);
}

#[test]
fn an_upload_that_nobody_goes_on_with_is_given_up() {
    let (bench, server) = bench();
    let (part, digest, _) = long_part(&bench.store, 10);
    server.fail("POST", "uploadId", ALWAYS, S3Fault::Status(400));
    assert!(part.commit().is_err());
    server.heal();
    bench.store.remove_part(&digest).unwrap();
    bench.store.parts().unwrap();
    assert_eq!(server.uploads().len(), 1, "it may be gone on with");
    let notes = common::files(&bench.dir.path().join("fills")).pop().unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_hours(100);
    std::fs::File::options().write(true).open(notes).unwrap().set_modified(long_ago).unwrap();
    bench.store.parts().unwrap();
    assert_eq!((server.uploads().len(), bench.staged()), (0, 0));
}

#[test]
fn a_damaged_source_is_copied_nowhere() {
    let (bench, server) = bench();
    let all = bytes(40 << 20, 11);
    let digest = Digest::sha256(&all);
    let mut rotten = all.to_vec();
    rotten[39 << 20] ^= 1;
    server.set(&key(&digest), rotten);
    let _guard = bench.runtime.enter();
    let other = FakeS3::start();
    for place in [Place::DataDir, s3_of(&other)] {
        let to = bench.store.open_place(place).unwrap();
        let copied = bench.store.copy_to(&digest, &to, |_| true);
        assert!(matches!(copied, Err(Error::WrongDigest { .. })), "{copied:?}");
    }
    assert!(common::files(&bench.dir.path().join("blobs")).is_empty());
    assert!(other.objects().is_empty() && other.uploads().is_empty());
    assert_eq!(bench.staged(), 0);
}

/// The same words but for the bucket's prefix, so that it is another place.
fn s3_of(server: &FakeS3) -> Place {
    match s3(server) {
        Place::S3 {
            bucket,
            region,
            endpoint,
            path_style,
            access_key_id,
            secret_access_key,
            ..
        } => Place::S3 {
            bucket,
            prefix: "other".into(),
            region,
            endpoint,
            path_style,
            access_key_id,
            secret_access_key,
        },
        place => place,
    }
}
