//! Committed blobs: put, found, listed, checked, removed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Error, ReadHow, Verdict};
use common::{bytes, read, scratch, scratch_with, whole};
use oci::{Algorithm, Digest};
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn what_is_put_is_found_by_the_next_process() {
    let scratch = scratch();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for length in [0, 1, 300_000] {
            let bytes = bytes(length, 1);
            let digest = Digest::of(algorithm, &bytes);
            assert!(scratch.store.blob(&digest).unwrap().is_none());
            assert!(scratch.store.cached(&digest).is_none());
            let blob = scratch.store.put(&digest, &bytes).unwrap();
            assert_eq!((blob.digest(), blob.size_bytes()), (&digest, length as u64));
            assert!(scratch.store.cached(&digest).is_some());
            let store = scratch.reopened();
            assert!(store.cached(&digest).is_none());
            let blob = store.blob(&digest).unwrap().unwrap();
            assert_eq!(blob.read_all(length).unwrap(), bytes);
            for how in [ReadHow::Mapped, ReadHow::Copied] {
                assert_eq!(read(&blob, whole(&blob), how).await.unwrap(), bytes);
            }
            assert!(store.cached(&digest).is_some());
        }
    }
}

#[test]
fn files_lie_where_the_layout_says_and_are_private() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    scratch.store.put(&digest, b"abc").unwrap();
    let hex = digest.hex();
    let path = scratch.dir.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
    assert_eq!(scratch.blobs(), [path.as_path()]);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    for dir in path.ancestors().skip(1).take(3) {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
    }
    assert_eq!(mode(&scratch.dir.path().join("fills")), 0o700);
}

#[test]
fn wrong_bytes_leave_nothing() {
    let scratch = scratch();
    let digest = Digest::sha256(b"right");
    let error = scratch.store.put(&digest, b"wrong").unwrap_err();
    assert!(
        matches!(error, Error::WrongDigest { found, .. } if *found == Digest::sha256(b"wrong"))
    );
    assert!(scratch.blobs().is_empty());
    assert!(scratch.store.blob(&digest).unwrap().is_none());
}

#[test]
fn a_blob_that_is_there_is_not_written_again() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    scratch.store.put(&digest, b"abc").unwrap();
    scratch.store.fail_writes_after_bytes(Some(0));
    scratch.store.put(&digest, b"abc").unwrap();
    scratch.reopened().put(&digest, b"abc").unwrap();
}

#[test]
fn a_damaged_blob_is_replaced() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    scratch.store.put(&digest, b"abc").unwrap();
    std::fs::write(&scratch.blobs()[0], b"a").unwrap();
    let store = scratch.reopened();
    assert_ne!(Digest::sha256(&std::fs::read(&scratch.blobs()[0]).unwrap()), digest);
    let blob = store.put(&digest, b"abc").unwrap();
    assert_eq!(blob.read_all(3).unwrap(), "abc");
    assert_eq!(store.check(&digest, |_| true).unwrap(), Verdict::Sound);
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let scratch = scratch_with(|options| options.fail_writes_after_bytes = Some(100));
    let bytes = bytes(1000, 2);
    let digest = Digest::sha256(&bytes);
    let error = scratch.store.put(&digest, &bytes).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert!(scratch.blobs().is_empty());
    scratch.store.fail_writes_after_bytes(None);
    scratch.store.put(&digest, &bytes).unwrap();
}

#[test]
fn too_much_for_memory_is_refused() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    let blob = scratch.store.put(&digest, b"abc").unwrap();
    let error = blob.read_all(2).unwrap_err();
    assert!(matches!(error, Error::TooLarge { size_bytes: 3, max_bytes: 2, .. }));
}

#[tokio::test]
async fn what_is_removed_is_not_found_and_its_readers_go_on() {
    let scratch = scratch();
    let store = &scratch.store;
    let bytes = bytes(5 << 20, 3);
    let digest = Digest::sha256(&bytes);
    assert_eq!(store.remove(&digest).unwrap(), None);
    let blob = store.put(&digest, &bytes).unwrap();
    assert_eq!(store.remove(&digest).unwrap(), Some(5 << 20));
    assert_eq!(store.remove(&digest).unwrap(), None);
    assert!(store.cached(&digest).is_none());
    assert!(store.blob(&digest).unwrap().is_none());
    assert!(scratch.blobs().is_empty());
    for how in [ReadHow::Mapped, ReadHow::Copied] {
        assert_eq!(read(&blob, whole(&blob), how).await.unwrap(), bytes);
    }
}

#[test]
fn who_reads_is_known_also_when_the_cache_let_go() {
    let scratch = scratch_with(|options| options.open_blobs_max = 1);
    let store = &scratch.store;
    let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
    let blob = store.put(&one, b"1").unwrap();
    assert!(store.is_read(&one));
    drop(store.put(&two, b"2").unwrap());
    assert!(!store.is_read(&two), "only the cache holds it");
    assert!(store.is_read(&one), "it is held, though the cache is full of another");
    assert!(store.cached(&one).is_some());
    let stream = blob.stream(whole(&blob), ReadHow::Copied);
    drop(blob);
    assert!(store.is_read(&one), "by the stream");
    drop(stream);
    assert!(!store.is_read(&one));
    assert!(store.cached(&one).is_none());
    assert!(store.blob(&one).unwrap().is_some());
}

#[test]
fn only_so_many_stay_open_and_the_used_ones_stay() {
    let scratch = scratch_with(|options| options.open_blobs_max = 4);
    let digests: Vec<Digest> = (0..8u8).map(|n| Digest::sha256(&[n])).collect();
    for (n, digest) in digests.iter().enumerate() {
        scratch.store.put(digest, &[n as u8]).unwrap();
        assert!(scratch.store.cached(&digests[0]).is_some(), "used each time");
    }
    let open = digests.iter().filter(|digest| scratch.store.cached(digest).is_some()).count();
    assert_eq!(open, 4);
    assert!(digests.iter().all(|digest| scratch.store.blob(digest).unwrap().is_some()));
}

#[test]
fn walk_sees_every_blob_and_nothing_else() {
    let scratch = scratch();
    let mut expected = Vec::new();
    for n in 0..40u8 {
        let bytes = vec![n; usize::from(n)];
        let algorithm = if n % 3 == 0 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let digest = Digest::of(algorithm, &bytes);
        scratch.store.put(&digest, &bytes).unwrap();
        expected.push((digest, u64::from(n)));
    }
    let blobs = scratch.dir.path().join("blobs");
    std::fs::write(blobs.join("sha256/stray"), "x").unwrap();
    let shard = scratch.blobs()[0].parent().unwrap().to_owned();
    std::fs::write(shard.join(".tmp-1-2-3"), "x").unwrap();
    // A right name in the wrong shard would not be found by its digest.
    let (digest, wrong) = (Digest::sha256(b"elsewhere"), blobs.join("sha256/zz"));
    std::fs::create_dir(&wrong).unwrap();
    std::fs::write(wrong.join(digest.hex()), "elsewhere").unwrap();
    let mut found: Vec<_> = scratch.store.walk().map(Result::unwrap).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_check_tells_right_from_rotten_from_absent() {
    let scratch = scratch();
    let bytes = bytes(1 << 20, 4);
    let digest = Digest::sha256(&bytes);
    let absent = scratch.store.check(&digest, |_| true);
    assert!(matches!(absent, Err(Error::Absent { .. })));
    scratch.store.put(&digest, &bytes).unwrap();
    assert_eq!(scratch.store.check(&digest, |_| true).unwrap(), Verdict::Sound);
    let mut rotten = bytes.to_vec();
    rotten[700_000] ^= 1;
    std::fs::write(&scratch.blobs()[0], rotten).unwrap();
    assert_eq!(scratch.store.check(&digest, |_| true).unwrap(), Verdict::Damaged);
}

#[test]
fn the_disk_is_described() {
    let disk = scratch().store.disk().unwrap();
    assert!(disk.free_bytes <= disk.total_bytes && disk.total_bytes > 0, "{disk:?}");
    assert!(disk.free_inodes <= disk.total_inodes || disk.total_inodes == 0, "{disk:?}");
}

#[test]
fn a_link_in_place_of_a_blob_is_not_followed() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    scratch.store.put(&digest, b"abc").unwrap();
    let path = &scratch.blobs()[0];
    let elsewhere = scratch.dir.path().join("elsewhere");
    std::fs::rename(path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, path).unwrap();
    assert!(scratch.reopened().blob(&digest).is_err());
}

/// Whoever comes first: what is open without having been asked for again is on disk too.
#[test]
fn the_cache_never_keeps_what_was_removed() {
    let scratch = scratch();
    let digest = Digest::sha256(b"abc");
    scratch.store.put(&digest, b"abc").unwrap();
    let path = scratch.blobs()[0].clone();
    let start = std::sync::Barrier::new(3);
    for _ in 0..100 {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                scratch.store.put(&digest, b"abc").unwrap();
            });
            scope.spawn(|| {
                start.wait();
                scratch.store.blob(&digest).unwrap();
            });
            scope.spawn(|| {
                start.wait();
                scratch.store.remove(&digest).unwrap();
            });
        });
        assert!(path.exists() || scratch.store.cached(&digest).is_none());
    }
}
