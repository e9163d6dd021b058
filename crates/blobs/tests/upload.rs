//! Upload sessions: begun, appended to, parked, taken up again, committed, ended.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Blob, Error, Store, Upload, UploadId, Verdict};
use bytes::Bytes;
use common::{Scratch, bytes, files, scratch};
use oci::{Algorithm, Digest};
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

const ABOUT: &str = "{\"name\": \"team/app\", \"who\": \"\u{fc}ml\u{e4}ut \\\"quoted\\\" \n\"}";

fn session_files(scratch: &Scratch) -> Vec<std::path::PathBuf> {
    files(&scratch.dir.path().join("uploads"))
}

fn take_up(store: &Store, id: &UploadId) -> Upload {
    store.upload(id).unwrap().unwrap()
}

fn check(scratch: &Scratch, blob: &Blob, all: &Bytes) {
    assert_eq!(blob.size_bytes(), all.len() as u64);
    assert_eq!(blob.read_all(all.len()).unwrap(), all);
    let store = scratch.reopened();
    assert_eq!(store.check(blob.digest(), |_| true).unwrap(), Verdict::Sound);
}

#[test]
fn what_is_appended_becomes_a_blob_and_nothing_is_left() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for length in [0, 1, 300_000] {
            let scratch = scratch();
            let all = bytes(length, 1);
            let digest = Digest::of(algorithm, &all);
            let mut upload = scratch.store.begin_upload(ABOUT).unwrap();
            upload.hash_with(algorithm);
            assert_eq!((upload.len_bytes(), upload.about()), (0, ABOUT));
            let chunks: Vec<Bytes> = all.chunks(1000).map(|c| all.slice_ref(c)).collect();
            upload.append(&chunks).unwrap();
            upload.append(&[]).unwrap();
            upload.append(&[Bytes::new()]).unwrap();
            assert_eq!(upload.len_bytes(), length as u64);
            let id = upload.id();
            let blob = upload.commit(&digest).unwrap();
            check(&scratch, &blob, &all);
            assert!(session_files(&scratch).is_empty());
            assert!(scratch.store.upload(&id).unwrap().is_none());
            assert!(!scratch.store.remove_upload(&id).unwrap());
        }
    }
}

#[test]
fn the_algorithm_may_come_with_the_digest_at_the_end() {
    let scratch = scratch();
    let all = bytes(700_000, 2);
    let mut upload = scratch.store.begin_upload("").unwrap();
    upload.append(&[all.slice(..400_000)]).unwrap();
    upload.hash_with(Algorithm::Sha512);
    upload.append(&[all.slice(400_000..)]).unwrap();
    upload.hash_with(Algorithm::Sha256);
    upload.hash_with(Algorithm::Sha256);
    let digest = Digest::of(Algorithm::Sha512, &all);
    check(&scratch, &upload.commit(&digest).unwrap(), &all);
}

#[test]
fn what_the_disk_was_set_to_write_early_is_as_right_as_the_rest() {
    let scratch = scratch();
    // Past two steps of writing early, in chunks that end nowhere near them, parked in between.
    let all = bytes(18 << 20, 10);
    let mut upload = scratch.store.begin_upload("").unwrap();
    for chunk in all.chunks(3_000_001) {
        upload.append(&[all.slice_ref(chunk)]).unwrap();
        let id = upload.id();
        upload.park();
        upload = take_up(&scratch.store, &id);
    }
    check(&scratch, &upload.commit(&Digest::sha256(&all)).unwrap(), &all);
}

#[test]
fn a_session_is_taken_up_by_the_next_process() {
    let scratch = scratch();
    let all = bytes(500_000, 3);
    let mut upload = scratch.store.begin_upload(ABOUT).unwrap();
    let id = upload.id();
    upload.append(&[all.slice(..200_000)]).unwrap();
    upload.park();

    let store = scratch.reopened();
    let mut upload = take_up(&store, &id);
    assert_eq!((upload.len_bytes(), upload.about()), (200_000, ABOUT));
    upload.append(&[all.slice(200_000..300_000)]).unwrap();
    upload.rehash().unwrap();
    upload.append(&[all.slice(300_000..)]).unwrap();
    check(&scratch, &upload.commit(&Digest::sha256(&all)).unwrap(), &all);
    assert!(scratch.reopened().upload(&id).unwrap().is_none());
}

#[test]
fn a_parked_session_goes_on_without_being_read_again() {
    let scratch = scratch();
    let all = bytes(500_000, 4);
    let mut upload = scratch.store.begin_upload("").unwrap();
    let id = upload.id();
    upload.append(&[all.slice(..200_000)]).unwrap();
    upload.park();
    // Nobody but a test writes there. Were it read again, it would hash to something else.
    let data = session_files(&scratch).into_iter().find(|p| p.extension().unwrap() == "data");
    let file = std::fs::OpenOptions::new().write(true).open(data.unwrap()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 0).unwrap();
    let mut upload = take_up(&scratch.store, &id);
    upload.append(&[all.slice(200_000..)]).unwrap();
    upload.commit(&Digest::sha256(&all)).unwrap();
}

#[test]
fn one_at_a_time_has_a_session_open() {
    let scratch = scratch();
    let store = &scratch.store;
    let upload = store.begin_upload("").unwrap();
    let id = upload.id();
    assert!(matches!(store.upload(&id), Err(Error::Busy { .. })));
    assert!(matches!(store.remove_upload(&id), Err(Error::Busy { .. })));
    assert!(store.uploads().unwrap()[0].is_open);
    drop(upload);
    assert!(!store.uploads().unwrap()[0].is_open);
    let upload = take_up(store, &id);
    assert!(matches!(store.upload(&id), Err(Error::Busy { .. })));
    upload.discard().unwrap();
    assert!(store.upload(&id).unwrap().is_none());
    assert!(session_files(&scratch).is_empty());
}

#[test]
fn sessions_are_listed_and_removed() {
    let scratch = scratch();
    let store = &scratch.store;
    let mut ids = Vec::new();
    for length in [0, 10, 20] {
        let mut upload = store.begin_upload(&format!("about {length}")).unwrap();
        upload.append(&[bytes(length, 5)]).unwrap();
        ids.push(upload.id());
    }
    let mut listed = store.uploads().unwrap();
    listed.sort_by_key(|upload| upload.len_bytes);
    for (upload, (id, length)) in listed.iter().zip(ids.iter().zip([0, 10, 20])) {
        assert_eq!((upload.id, upload.len_bytes, upload.is_open), (*id, length, false));
        assert_eq!(upload.about, format!("about {length}"));
        let file = scratch.dir.path().join(format!("uploads/{id}.data"));
        assert_eq!(upload.modified, file.metadata().unwrap().modified().unwrap());
    }
    assert!(store.remove_upload(&ids[1]).unwrap());
    assert!(!store.remove_upload(&ids[1]).unwrap());
    assert!(!store.remove_upload(&UploadId::parse(&"0".repeat(32)).unwrap()).unwrap());
    assert_eq!(store.uploads().unwrap().len(), 2);
    assert_eq!(session_files(&scratch).len(), 4);
    // Whoever has the name of one that is gone begins nothing.
    assert!(store.upload(&ids[1]).unwrap().is_none());
    assert_eq!(session_files(&scratch).len(), 4);
}

#[test]
fn with_the_wrong_digest_the_session_stays_for_another_try() {
    let scratch = scratch();
    let all = bytes(50_000, 6);
    let mut upload = scratch.store.begin_upload("").unwrap();
    upload.append(std::slice::from_ref(&all)).unwrap();
    for wrong in [Digest::sha256(b"else"), Digest::of(Algorithm::Sha512, b"else")] {
        let (session, error) = upload.commit(&wrong).unwrap_err();
        let Error::WrongDigest { wanted, found, .. } = error else { panic!("{error}") };
        assert_eq!((*wanted, *found), (wrong, Digest::of(wrong.algorithm(), &all)));
        upload = *session.unwrap();
    }
    assert!(scratch.blobs().is_empty());
    assert_eq!(upload.len_bytes(), 50_000);
    check(&scratch, &upload.commit(&Digest::sha256(&all)).unwrap(), &all);
}

#[test]
fn a_blob_that_is_there_already_is_taken() {
    let scratch = scratch();
    let all = bytes(50_000, 7);
    let digest = Digest::sha256(&all);
    let there = scratch.store.put(&digest, &all).unwrap();
    let push = || {
        let mut upload = scratch.store.begin_upload("").unwrap();
        upload.append(std::slice::from_ref(&all)).unwrap();
        upload.commit(&digest).unwrap()
    };
    check(&scratch, &push(), &all);
    assert!(session_files(&scratch).is_empty());
    assert_eq!(scratch.blobs().len(), 1);
    // One that was damaged, so that it has another length, is not.
    drop(there);
    std::fs::write(&scratch.blobs()[0], b"short").unwrap();
    let store = scratch.reopened();
    let mut upload = store.begin_upload("").unwrap();
    upload.append(std::slice::from_ref(&all)).unwrap();
    check(&scratch, &upload.commit(&digest).unwrap(), &all);
    assert!(session_files(&scratch).is_empty());
}

#[test]
fn two_sessions_of_the_same_bytes_end_as_one_blob() {
    let scratch = scratch();
    let all = bytes(300_000, 8);
    let digest = Digest::sha256(&all);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut upload = scratch.store.begin_upload("").unwrap();
                upload.append(std::slice::from_ref(&all)).unwrap();
                assert_eq!(upload.commit(&digest).unwrap().size_bytes(), 300_000);
            });
        }
    });
    assert_eq!(scratch.blobs().len(), 1);
    assert!(session_files(&scratch).is_empty());
    check(&scratch, &scratch.store.blob(&digest).unwrap().unwrap(), &all);
}

#[test]
fn on_a_full_disk_an_append_counts_whole_or_not_at_all() {
    let scratch = scratch();
    let all = bytes(100_000, 9);
    let mut upload = scratch.store.begin_upload("").unwrap();
    let id = upload.id();
    upload.append(&[all.slice(..40_000)]).unwrap();
    scratch.store.fail_writes_after_bytes(Some(25_000));
    let rest: Vec<Bytes> = (4..10).map(|i| all.slice(i * 10_000..(i + 1) * 10_000)).collect();
    let error = upload.append(&rest).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert_eq!(upload.len_bytes(), 40_000);
    drop(upload);
    assert_eq!(scratch.store.uploads().unwrap()[0].len_bytes, 40_000);
    scratch.store.fail_writes_after_bytes(None);
    let mut upload = take_up(&scratch.store, &id);
    upload.append(&rest).unwrap();
    check(&scratch, &upload.commit(&Digest::sha256(&all)).unwrap(), &all);
}

#[test]
fn what_is_kept_beside_a_session_is_bounded() {
    let scratch = scratch();
    let longest = "\u{1}".repeat(4096);
    let id = scratch.store.begin_upload(&longest).unwrap().id();
    assert_eq!(take_up(&scratch.reopened(), &id).about(), longest);
    assert_eq!(scratch.store.uploads().unwrap()[0].about, longest);
    let error = scratch.store.begin_upload(&"x".repeat(4097)).unwrap_err();
    assert!(matches!(error, Error::AboutTooLong { about_bytes: 4097, max_bytes: 4096 }));
    assert_eq!(session_files(&scratch).len(), 2);
}

#[test]
fn files_of_sessions_are_private_and_lie_where_the_layout_says() {
    let scratch = scratch();
    let upload = scratch.store.begin_upload(ABOUT).unwrap();
    let dir = scratch.dir.path().join("uploads");
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let names = ["data", "json"].map(|suffix| dir.join(format!("{}.{suffix}", upload.id())));
    assert_eq!(session_files(&scratch), names);
    for path in names {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let blob = {
        let mut upload = upload;
        upload.append(&[Bytes::from_static(b"abc")]).unwrap();
        upload.commit(&Digest::sha256(b"abc")).unwrap()
    };
    assert_eq!(scratch.blobs()[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(blob.size_bytes(), 3);
}

/// What may be done to a session on its way.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    /// An append that finds the disk full after so many bytes.
    Fail(usize, u64),
    Park,
    Restart,
    HashWith(Algorithm),
    Rehash,
    WrongDigest(Algorithm),
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::Sha256), Just(Algorithm::Sha512)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0..5000usize, 0..5).prop_map(Step::Append),
        // Enough chunks for more than one system call.
        1 => (250..600usize).prop_map(|count| Step::Append(vec![3; count])),
        1 => (2..5000usize, 0..5000u64).prop_map(|(length, limit)| Step::Fail(length, limit)),
        2 => Just(Step::Park),
        2 => Just(Step::Restart),
        1 => algorithm().prop_map(Step::HashWith),
        1 => Just(Step::Rehash),
        1 => algorithm().prop_map(Step::WrongDigest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_on_the_way_the_blob_is_what_was_appended(
        steps in prop::collection::vec(step(), 0..24),
        last in algorithm(),
    ) {
        let scratch = scratch();
        let mut store = scratch.store.clone();
        let mut upload = store.begin_upload(ABOUT).unwrap();
        let id = upload.id();
        let mut model: Vec<u8> = Vec::new();
        for (seed, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(lengths) => {
                    let chunks: Vec<Bytes> =
                        lengths.iter().map(|length| bytes(*length, seed as u64)).collect();
                    upload.append(&chunks).unwrap();
                    chunks.iter().for_each(|chunk| model.extend_from_slice(chunk));
                }
                Step::Fail(length, limit) => {
                    let half = bytes(length / 2, seed as u64);
                    let limit = limit.min(2 * half.len() as u64 - 1);
                    store.fail_writes_after_bytes(Some(limit));
                    let error = upload.append(&[half.clone(), half]).unwrap_err();
                    prop_assert!(error.is_no_space());
                    store.fail_writes_after_bytes(None);
                }
                Step::Park => {
                    upload.park();
                    upload = take_up(&store, &id);
                }
                Step::Restart => {
                    drop(upload);
                    store = scratch.reopened();
                    upload = take_up(&store, &id);
                }
                Step::HashWith(algorithm) => upload.hash_with(algorithm),
                Step::Rehash => upload.rehash().unwrap(),
                Step::WrongDigest(algorithm) => {
                    let wrong = Digest::of(algorithm, b"something else");
                    let (session, error) = upload.commit(&wrong).unwrap_err();
                    let Error::WrongDigest { found, .. } = error else { panic!("{error}") };
                    prop_assert_eq!(*found, Digest::of(algorithm, &model));
                    upload = *session.unwrap();
                }
            }
            prop_assert_eq!(upload.len_bytes(), model.len() as u64);
            prop_assert_eq!(upload.about(), ABOUT);
        }
        let digest = Digest::of(last, &model);
        let blob = upload.commit(&digest).unwrap();
        prop_assert_eq!(blob.read_all(model.len()).unwrap(), model);
        prop_assert!(session_files(&scratch).is_empty());
    }
}
