//! What a kill or a loss of power may leave, and what the next process makes of it: no blob, or the
//! whole right one, and a part that the digest decides about.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Error, ReadHow, Validators, Verdict};
use bytes::Bytes;
use common::{Scratch, bytes, scratch};
use oci::Digest;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

/// A part of 100 000 bytes of a blob of 150 000, as a killed process left it.
fn left() -> (Scratch, Bytes, Digest) {
    let scratch = scratch();
    let all = bytes(150_000, 1);
    let digest = Digest::sha256(&all);
    let mut part = scratch.store.part(&digest).unwrap();
    part.set_validators(Validators { total_bytes: Some(150_000), etag: None }).unwrap();
    part.append(&[all.slice(..100_000)]).unwrap();
    drop(part);
    (scratch, all, digest)
}

fn part_file(scratch: &Scratch) -> std::fs::File {
    let path = scratch.fills().into_iter().find(|path| path.extension().unwrap() == "part");
    OpenOptions::new().write(true).open(path.unwrap()).unwrap()
}

#[test]
fn before_the_rename_a_temp_file_is_left_and_goes_when_its_directory_is_written() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    scratch.store.put(&digest, b"abc").unwrap();
    let blob = scratch.blobs()[0].clone();
    let temp = blob.with_file_name(".tmp-7b-0123456789abcdef-0");
    std::fs::rename(&blob, &temp).unwrap();

    let store = scratch.reopened();
    assert!(store.blob(&digest).unwrap().is_none());
    assert_eq!(store.walk().count(), 0);
    assert!(temp.exists(), "nobody looked for it at the start");
    store.put(&digest, b"abc").unwrap();
    assert_eq!(scratch.blobs(), [blob]);
}

#[test]
fn temp_files_of_validators_go_when_parts_are_listed() {
    let (scratch, _, _) = left();
    std::fs::write(scratch.dir.path().join("fills/.tmp-7b-0123456789abcdef-0"), "{").unwrap();
    assert_eq!(scratch.reopened().parts().unwrap().len(), 1);
    assert_eq!(scratch.fills().len(), 2, "the part and its validators");
}

#[test]
fn after_the_rename_validators_may_be_left_and_do_not_speak_for_the_next_part() {
    let (scratch, all, digest) = left();
    std::fs::remove_file(&scratch.fills()[1]).unwrap();
    assert_eq!(scratch.fills().len(), 1, "only the validators");
    let mut part = scratch.reopened().part(&digest).unwrap();
    assert_eq!((part.len_bytes(), part.validators()), (0, None));
    part.append(&[all]).unwrap();
    part.commit().unwrap();
    assert!(scratch.fills().is_empty());
}

#[test]
fn validators_without_a_part_are_cleared_away() {
    let (scratch, _, _) = left();
    std::fs::remove_file(&scratch.fills()[1]).unwrap();
    assert!(scratch.reopened().parts().unwrap().is_empty());
    assert!(scratch.fills().is_empty());
}

#[test]
fn validators_that_make_no_sense_are_none() {
    for text in
        ["", "{\"totalBytes\":", "7", "{\"totalBytes\":-1}", &format!("{{}}{}", " ".repeat(70_000))]
    {
        let (scratch, _, digest) = left();
        let path = &scratch.fills()[0];
        assert_eq!(path.extension().unwrap(), "json");
        std::fs::write(path, text).unwrap();
        let part = scratch.reopened().part(&digest).unwrap();
        assert_eq!((part.len_bytes(), part.validators()), (100_000, None));
    }
}

#[test]
fn a_part_shorter_than_it_was_goes_on_from_there() {
    let (scratch, all, digest) = left();
    part_file(&scratch).set_len(60_000).unwrap();
    let mut part = scratch.reopened().part(&digest).unwrap();
    assert_eq!(part.len_bytes(), 60_000);
    assert_eq!(part.validators().unwrap().total_bytes, Some(150_000));
    part.rehash().unwrap();
    part.append(&[all.slice(60_000..)]).unwrap();
    assert_eq!(part.commit().unwrap().read_all(150_000).unwrap(), all);
}

#[test]
fn a_part_with_a_hole_or_garbage_never_becomes_a_blob() {
    for garbage in [vec![0; 8192], b"garbage".to_vec()] {
        let (scratch, all, digest) = left();
        part_file(&scratch).write_all_at(&garbage, 40_000).unwrap();
        let store = scratch.reopened();
        let mut part = store.part(&digest).unwrap();
        part.rehash().unwrap();
        part.append(&[all.slice(100_000..)]).unwrap();
        assert!(!part.is_right());
        assert!(matches!(part.commit(), Err(Error::WrongDigest { .. })));
        assert!(store.blob(&digest).unwrap().is_none());
        // The caller begins again.
        store.part(&digest).unwrap().discard().unwrap();
        let mut part = store.part(&digest).unwrap();
        assert_eq!(part.len_bytes(), 0);
        part.append(&[all]).unwrap();
        part.commit().unwrap();
    }
}

#[test]
fn a_part_longer_than_the_whole_is_seen_and_never_becomes_a_blob() {
    let (scratch, all, digest) = left();
    let file = part_file(&scratch);
    file.write_all_at(&all[100_000..], 100_000).unwrap();
    file.write_all_at(b"more", 150_000).unwrap();
    let mut part = scratch.reopened().part(&digest).unwrap();
    assert!(Some(part.len_bytes()) > part.validators().unwrap().total_bytes);
    part.rehash().unwrap();
    assert!(matches!(part.commit(), Err(Error::WrongDigest { .. })));
    assert!(scratch.blobs().is_empty());
}

#[test]
fn a_whole_part_that_was_not_committed_needs_no_download() {
    let (scratch, all, digest) = left();
    part_file(&scratch).write_all_at(&all[100_000..], 100_000).unwrap();
    let mut part = scratch.reopened().part(&digest).unwrap();
    part.rehash().unwrap();
    assert!(part.is_right());
    part.commit().unwrap();
    assert_eq!(scratch.reopened().check(&digest, |_| true).unwrap(), Verdict::Sound);
}

#[tokio::test]
async fn bytes_behind_what_was_counted_are_not_read_and_do_not_get_into_the_blob() {
    let scratch = scratch();
    let all = bytes(50_000, 2);
    let digest = Digest::sha256(&all);
    let mut part = scratch.store.part(&digest).unwrap();
    part.append(&[all.slice(..20_000)]).unwrap();
    // A write that failed half way and could not be cut off again.
    part_file(&scratch).write_all_at(&[9; 100_000], 20_000).unwrap();
    for how in [ReadHow::Mapped, ReadHow::Copied] {
        assert_eq!(part.reader().read(19_990, 100, how).await.unwrap(), all[19_990..20_000]);
    }
    part.append(&[all.slice(20_000..)]).unwrap();
    assert_eq!(part.commit().unwrap().size_bytes(), 50_000);
    assert_eq!(scratch.reopened().check(&digest, |_| true).unwrap(), Verdict::Sound);
}

#[test]
fn a_part_that_shrinks_under_us_is_an_error_not_a_wrong_hash() {
    let (scratch, _, digest) = left();
    let mut part = scratch.reopened().part(&digest).unwrap();
    part_file(&scratch).set_len(10).unwrap();
    assert!(matches!(part.rehash(), Err(Error::TooShort { offset: 10, .. })));
}
