//! Parts: appended, parked, resumed, committed, discarded, and what a full disk does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Error, Part, Store, Validators, Verdict};
use bytes::Bytes;
use common::{bytes, scratch};
use oci::{Algorithm, Digest};
use proptest::prelude::*;

fn validators(total_bytes: u64) -> Validators {
    Validators { total_bytes: Some(total_bytes), etag: Some("\"v1\"".to_owned()) }
}

#[test]
fn appended_bytes_become_a_blob() {
    let scratch = scratch();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let all = bytes(700_001, 1);
        let digest = Digest::of(algorithm, &all);
        let mut part = scratch.store.part(&digest).unwrap();
        assert_eq!((part.digest(), part.len_bytes(), part.validators()), (&digest, 0, None));
        part.set_validators(validators(700_001)).unwrap();
        // More chunks than one system call takes, empty ones among them.
        let chunks: Vec<Bytes> = (0..1000).map(|n| all.slice(n * 700..(n + 1) * 700)).collect();
        part.append(&chunks).unwrap();
        assert!(!part.is_right());
        part.append(&[Bytes::new(), all.slice(700_000..), Bytes::new()]).unwrap();
        part.append(&[]).unwrap();
        assert_eq!(part.len_bytes(), 700_001);
        assert!(part.is_right());
        assert!(scratch.store.blob(&digest).unwrap().is_none(), "not before it is committed");
        let blob = part.commit().unwrap();
        assert_eq!(blob.read_all(1 << 20).unwrap(), all);
        assert!(scratch.store.cached(&digest).is_some());
        assert!(scratch.fills().is_empty());
        assert_eq!(scratch.reopened().check(&digest, |_| true).unwrap(), Verdict::Sound);
    }
}

#[test]
fn the_empty_blob_can_be_committed_too() {
    let scratch = scratch();
    let digest = Digest::sha256(b"");
    let part = scratch.store.part(&digest).unwrap();
    assert!(part.is_right());
    assert_eq!(part.commit().unwrap().size_bytes(), 0);
    assert!(scratch.fills().is_empty());
}

#[test]
fn one_writer_at_a_time() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    let mut part = scratch.store.part(&digest).unwrap();
    part.append(&[Bytes::from_static(b"ab")]).unwrap();
    assert!(matches!(scratch.store.part(&digest), Err(Error::Busy { .. })));
    assert!(matches!(scratch.store.remove_part(&digest), Err(Error::Busy { .. })));
    assert!(scratch.store.part(&Digest::sha256(b"other")).is_ok());
    assert!(scratch.store.parts().unwrap().is_empty(), "none is parked");
    part.park().unwrap();
    assert_eq!(scratch.store.parts().unwrap().len(), 1);
    assert_eq!(scratch.store.part(&digest).unwrap().len_bytes(), 2);
}

#[test]
fn a_parked_part_is_resumed_by_the_next_process() {
    let scratch = scratch();
    let all = bytes(500_000, 2);
    let digest = Digest::sha256(&all);
    let mut part = scratch.store.part(&digest).unwrap();
    part.set_validators(validators(500_000)).unwrap();
    part.append(&[all.slice(..300_000)]).unwrap();
    drop(part);

    let store = scratch.reopened();
    let parked = store.parts().unwrap();
    assert_eq!((parked.len(), parked[0].digest, parked[0].len_bytes), (1, digest, 300_000));
    let mut part = store.part(&digest).unwrap();
    assert_eq!(part.len_bytes(), 300_000);
    assert_eq!(part.validators(), Some(&validators(500_000)));
    assert!(!part.is_right());
    let early = part.append(&[all.slice(300_000..)]);
    assert!(matches!(early, Err(Error::NotRehashed { .. })));
    part.rehash().unwrap();
    part.append(&[all.slice(300_000..)]).unwrap();
    assert_eq!(part.commit().unwrap().read_all(500_000).unwrap(), all);
}

#[test]
fn what_was_not_rehashed_is_not_committed_even_if_it_is_right() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    let mut part = scratch.store.part(&digest).unwrap();
    part.append(&[Bytes::from_static(b"abc")]).unwrap();
    drop(part);
    let part = scratch.store.part(&digest).unwrap();
    assert!(matches!(part.commit(), Err(Error::NotRehashed { .. })));
    let mut part = scratch.store.part(&digest).unwrap();
    part.rehash().unwrap();
    assert!(part.is_right());
    part.commit().unwrap();
}

#[test]
fn wrong_bytes_never_become_a_blob_and_can_be_got_rid_of() {
    let scratch = scratch();
    let digest = Digest::sha256(b"right");
    let mut part = scratch.store.part(&digest).unwrap();
    part.append(&[Bytes::from_static(b"wrong")]).unwrap();
    assert_eq!(part.digest_so_far(), Digest::sha256(b"wrong"));
    assert!(!part.is_right());
    assert!(matches!(part.commit(), Err(Error::WrongDigest { .. })));
    assert!(scratch.blobs().is_empty());
    assert_eq!(scratch.store.part(&digest).unwrap().len_bytes(), 5);
    scratch.store.remove_part(&digest).unwrap();
    scratch.store.remove_part(&digest).unwrap();
    let mut part = scratch.store.part(&digest).unwrap();
    assert_eq!(part.len_bytes(), 0);
    part.append(&[Bytes::from_static(b"right")]).unwrap();
    part.commit().unwrap();
}

#[test]
fn discarded_and_empty_parts_leave_nothing() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    let mut part = scratch.store.part(&digest).unwrap();
    part.set_validators(validators(3)).unwrap();
    part.append(&[Bytes::from_static(b"a")]).unwrap();
    assert_eq!(scratch.fills().len(), 2);
    part.discard().unwrap();
    assert!(scratch.fills().is_empty());
    let mut part = scratch.store.part(&digest).unwrap();
    part.set_validators(validators(3)).unwrap();
    part.park().unwrap();
    assert!(scratch.fills().is_empty());
}

#[test]
fn a_full_disk_takes_all_of_an_append_or_nothing() {
    let scratch = scratch();
    let all = bytes(10_000, 3);
    let digest = Digest::sha256(&all);
    let mut part = scratch.store.part(&digest).unwrap();
    part.append(&[all.slice(..4000)]).unwrap();
    let (length, hash) = (part.len_bytes(), part.digest_so_far());
    // Full in the middle of the second chunk.
    scratch.store.fail_writes_after_bytes(Some(2500));
    let chunks = [all.slice(4000..6000), all.slice(6000..)];
    let error = part.append(&chunks).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert_eq!((part.len_bytes(), part.digest_so_far()), (length, hash));
    assert_eq!(scratch.fills()[0].metadata().unwrap().len(), 4000, "the space is given back");
    // The same chunks again, when there is space.
    scratch.store.fail_writes_after_bytes(None);
    part.append(&chunks).unwrap();
    assert_eq!(part.commit().unwrap().read_all(10_000).unwrap(), all);
}

#[test]
fn what_was_only_hashed_can_be_judged_but_not_kept() {
    let scratch = scratch();
    let all = bytes(10_000, 4);
    let digest = Digest::sha256(&all);
    let mut part = scratch.store.part(&digest).unwrap();
    part.append(&[all.slice(..4000)]).unwrap();
    scratch.store.fail_writes_after_bytes(Some(0));
    assert!(part.append(&[all.slice(4000..)]).unwrap_err().is_no_space());
    part.hash_only(&[all.slice(4000..7000)]);
    part.hash_only(&[all.slice(7000..)]);
    assert!(part.is_right());
    assert_eq!(part.len_bytes(), 4000);
    scratch.store.fail_writes_after_bytes(None);
    assert!(matches!(part.append(&[all.slice(..1)]), Err(Error::Incomplete { .. })));
    assert!(matches!(part.commit(), Err(Error::Incomplete { .. })));
    assert!(scratch.blobs().is_empty());
    // The kept prefix is good for a resumption.
    let mut part = scratch.store.part(&digest).unwrap();
    part.rehash().unwrap();
    part.append(&[all.slice(4000..)]).unwrap();
    part.commit().unwrap();
}

#[test]
fn a_blob_that_is_there_is_replaced_by_the_same() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    let before = scratch.store.put(&digest, b"abc").unwrap();
    let mut part = scratch.store.part(&digest).unwrap();
    part.append(&[Bytes::from_static(b"abc")]).unwrap();
    let after = part.commit().unwrap();
    for blob in [before, after] {
        assert_eq!(blob.read_all(3).unwrap(), "abc");
    }
    assert_eq!(scratch.blobs().len(), 1);
}

/// One thing that happens to a part.
#[derive(Clone, Debug)]
enum Step {
    /// The next bytes come in, in chunks of such lengths.
    Append(Vec<usize>),
    /// The disk becomes full in the middle of them; then there is space again.
    Full(Vec<usize>, u64),
    /// The download breaks; the same process resumes it.
    Park,
    /// The process is killed; the next one resumes it.
    Reopen,
    /// Hashed again although it need not be.
    Rehash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let chunks = || proptest::collection::vec(0usize..5000, 0..6);
    let step = prop_oneof![
        4 => chunks().prop_map(Step::Append),
        2 => (chunks(), 0u64..8000).prop_map(|(chunks, space)| Step::Full(chunks, space)),
        1 => Just(Step::Park),
        1 => Just(Step::Reopen),
        1 => Just(Step::Rehash),
    ];
    proptest::collection::vec(step, 0..24)
}

fn resumed(store: &Store, digest: &Digest) -> Part {
    let mut part = store.part(digest).unwrap();
    part.rehash().unwrap();
    part
}

fn cut(all: &Bytes, from: usize, lengths: &[usize]) -> Vec<Bytes> {
    let mut at = from;
    let mut chunks = Vec::new();
    for length in lengths {
        let end = (at + length).min(all.len());
        chunks.push(all.slice(at..end));
        at = end;
    }
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_it_came_in_it_hashes_as_if_at_once(steps in steps(), sha512 in any::<bool>()) {
        let scratch = scratch();
        let all = bytes(40_000, 5);
        let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let digest = Digest::of(algorithm, &all);
        let mut store = scratch.store.clone();
        let mut part = store.part(&digest).unwrap();
        let mut length = 0usize;
        for step in steps {
            match step {
                Step::Append(lengths) => {
                    let chunks = cut(&all, length, &lengths);
                    part.append(&chunks).unwrap();
                    length += chunks.iter().map(Bytes::len).sum::<usize>();
                }
                Step::Full(lengths, space) => {
                    let chunks = cut(&all, length, &lengths);
                    let wanted = chunks.iter().map(Bytes::len).sum::<usize>();
                    store.fail_writes_after_bytes(Some(space));
                    match part.append(&chunks) {
                        Ok(()) => length += wanted,
                        Err(error) => {
                            prop_assert!(error.is_no_space() && wanted as u64 > space);
                        }
                    }
                    store.fail_writes_after_bytes(None);
                }
                Step::Park => {
                    part.park().unwrap();
                    part = resumed(&store, &digest);
                }
                Step::Reopen => {
                    drop(part);
                    store = scratch.reopened();
                    part = resumed(&store, &digest);
                }
                Step::Rehash => part.rehash().unwrap(),
            }
            prop_assert_eq!(part.len_bytes(), length as u64);
            prop_assert_eq!(part.digest_so_far(), Digest::of(algorithm, &all[..length]));
        }
        part.append(&[all.slice(length..)]).unwrap();
        prop_assert!(part.is_right());
        let blob = part.commit().unwrap();
        prop_assert_eq!(blob.read_all(all.len()).unwrap(), all);
        prop_assert!(scratch.fills().is_empty());
    }
}
