//! Reading blobs and parts by mappings and by copies, from memory and from disk, while they grow.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Error, ReadHow, Store};
use bytes::Bytes;
use common::{bytes, files, read, read_part, scratch, scratch_with, whole};
use futures_util::StreamExt;
use oci::Digest;
use oci::range::ByteRange;
use std::path::Path;
use tokio::sync::watch;

const HOWS: [ReadHow; 2] = [ReadHow::Mapped, ReadHow::Copied];

/// Puts what is below a directory out of memory, where the file system can do that.
fn make_cold(dir: &Path) {
    for path in files(dir) {
        let file = std::fs::File::open(path).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

#[tokio::test]
async fn every_range_gives_its_bytes() {
    let scratch = scratch();
    let length = 9 << 20 | 333;
    let all = bytes(length, 1);
    let digest = Digest::sha256(&all);
    let blob = scratch.store.put(&digest, &all).unwrap();
    let end = length as u64;
    let ranges = [
        (0, 0),
        (0, 1),
        (end - 1, end),
        (4095, 4097),
        (1 << 20, 2 << 20),
        ((4 << 20) - 1, (4 << 20) + 1),
        (12345, end - 777),
        (0, end),
    ];
    for cold in [false, true] {
        for (start, end) in ranges {
            for how in HOWS {
                if cold {
                    make_cold(&scratch.dir.path().join("blobs"));
                }
                let read = read(&blob, ByteRange { start, end }, how).await.unwrap();
                assert!(read == all[start as usize..end as usize], "{start}..{end} {how:?} {cold}");
            }
        }
    }
}

#[tokio::test]
async fn a_range_past_the_end_stops_there() {
    let scratch = scratch();
    let blob = scratch.store.put(&Digest::sha256(b"abc"), b"abc").unwrap();
    for how in HOWS {
        let read = |start, end| read(&blob, ByteRange { start, end }, how);
        assert_eq!(read(1, u64::MAX).await.unwrap(), b"bc");
        assert_eq!(read(3, 9).await.unwrap(), b"");
        assert_eq!(read(7, 5).await.unwrap(), b"");
    }
}

#[tokio::test]
async fn mapped_frames_are_slices_of_one_mapping() {
    let scratch = scratch();
    let all = bytes(3 << 20, 2);
    let digest = Digest::sha256(&all);
    let blob = scratch.store.put(&digest, &all).unwrap();
    let again = scratch.store.cached(&digest).unwrap();
    let (mut one, mut two) =
        (blob.stream(whole(&blob), ReadHow::Mapped), again.stream(whole(&again), ReadHow::Mapped));
    let mut frames: Vec<Bytes> = Vec::new();
    while let Some(frame) = one.next().await {
        let (frame, other) = (frame.unwrap(), two.next().await.unwrap().unwrap());
        assert_eq!(frame.as_ptr(), other.as_ptr());
        frames.push(frame);
    }
    assert_eq!(frames.iter().map(Bytes::len).collect::<Vec<_>>(), [1 << 20; 3]);
    assert_eq!(frames[0].as_ptr().wrapping_add(1 << 20), frames[1].as_ptr());
    // The bytes outlive everything they came from.
    drop((one, two, blob, again));
    scratch.store.remove(&digest).unwrap();
    drop(scratch);
    assert_eq!(frames.concat(), all);
}

#[tokio::test]
async fn without_address_space_bytes_are_copied_and_the_idle_are_unmapped_first() {
    let scratch = scratch_with(|options| options.mapped_max_bytes = 3 << 20);
    let put = |seed| {
        let bytes = bytes(2 << 20, seed);
        (scratch.store.put(&Digest::sha256(&bytes), &bytes).unwrap(), bytes)
    };
    let ((one, one_bytes), (two, two_bytes)) = (put(3), put(4));
    let mut stream = one.stream(whole(&one), ReadHow::Mapped);
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first.len(), 1 << 20, "mapped");
    // No room beside it while it is read.
    let mut other = two.stream(whole(&two), ReadHow::Mapped);
    assert!(other.next().await.unwrap().unwrap().len() < 1 << 20, "copied");
    assert_eq!(read(&two, whole(&two), ReadHow::Mapped).await.unwrap(), two_bytes);
    assert!(scratch.store.is_read(one.digest()), "nor is it forgotten");
    drop((stream, first));
    assert_eq!(read(&one, whole(&one), ReadHow::Mapped).await.unwrap(), one_bytes);
    drop(one);
    let mut other = two.stream(whole(&two), ReadHow::Mapped);
    assert_eq!(other.next().await.unwrap().unwrap().len(), 1 << 20, "mapped in its place");
}

/// A part that holds `all`.
fn part_of(store: &Store, all: &Bytes) -> blobs::Part {
    let mut part = store.part(&Digest::sha256(all)).unwrap();
    part.append(std::slice::from_ref(all)).unwrap();
    part
}

#[tokio::test]
async fn a_part_is_read_anywhere_and_never_past_its_end() {
    let scratch = scratch();
    let length = (9u64 << 20) + 333;
    let all = bytes(length as usize, 5);
    let part = part_of(&scratch.store, &all);
    let reader = part.reader();
    for cold in [false, true] {
        for (start, end) in [(0, length), (0, 1), ((4 << 20) - 5, (4 << 20) + 5), (7 << 20, length)]
        {
            for how in HOWS {
                if cold {
                    make_cold(&scratch.dir.path().join("fills"));
                }
                let read = read_part(&reader, start..end, 1 << 20, how).await.unwrap();
                assert!(read == all[start as usize..end as usize], "{start}..{end} {how:?} {cold}");
            }
        }
    }
    for how in HOWS {
        let past = reader.read(length, 10, how).await;
        assert!(matches!(past, Err(Error::TooShort { .. })), "{how:?}");
        assert_eq!(reader.read(length - 3, 10, how).await.unwrap().len(), 3);
        assert!(reader.read(0, 0, how).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn readers_share_mapped_segments_and_copy_what_is_not_full() {
    let scratch = scratch();
    let all = bytes(5 << 20, 6);
    let part = part_of(&scratch.store, &all);
    let (one, two) = (part.reader(), part.reader());
    let read = |reader: blobs::PartReader, offset| async move {
        reader.read(offset, 1 << 20, ReadHow::Mapped).await.unwrap()
    };
    let (a, b) = (read(one.clone(), 1 << 20).await, read(two.clone(), 1 << 20).await);
    assert_eq!((a.as_ptr(), a.len()), (b.as_ptr(), 1 << 20));
    let (a, b) = (read(one, 4 << 20).await, read(two, 4 << 20).await);
    assert_ne!(a.as_ptr(), b.as_ptr());
}

#[tokio::test]
async fn a_reader_outlives_commit_discard_and_removal() {
    let scratch = scratch();
    let all = bytes(6 << 20, 7);
    let length = all.len() as u64;
    for discard in [true, false] {
        let part = part_of(&scratch.store, &all);
        let reader = part.reader();
        let digest = *part.digest();
        if discard {
            part.discard().unwrap();
        } else {
            part.commit().unwrap();
            scratch.store.remove(&digest).unwrap();
        }
        assert!(scratch.fills().is_empty() && scratch.blobs().is_empty());
        for how in HOWS {
            assert!(read_part(&reader, 0..length, 1 << 20, how).await.unwrap() == all);
        }
    }
}

/// Many read one part from different offsets while it is written, each its own way. What they get
/// does not depend on who is ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_read_while_one_writes() {
    let scratch = scratch();
    let all = bytes((10 << 20) + 4321, 8);
    let digest = Digest::sha256(&all);
    let mut part = scratch.store.part(&digest).unwrap();
    let (tell, told) = watch::channel(0u64);
    let mut readers = Vec::new();
    for number in 0..200u64 {
        let (reader, mut told, all) = (part.reader(), told.clone(), all.clone());
        readers.push(tokio::spawn(async move {
            let how = HOWS[number as usize % 2];
            let mut at = number * 54_321;
            let step = 100_000 + number as usize * 5000;
            while at < all.len() as u64 {
                let there = *told.wait_for(|there| *there > at).await.unwrap();
                let max = step.min((there - at) as usize);
                let bytes = reader.read(at, max, how).await.unwrap();
                assert!(!bytes.is_empty() && bytes.len() <= max);
                assert!(bytes == all[at as usize..at as usize + bytes.len()], "{number} {at}");
                at += bytes.len() as u64;
            }
        }));
    }
    let writer = tokio::task::spawn_blocking(move || {
        let mut at = 0;
        for chunk in all.chunks(256 << 10) {
            part.append(&[all.slice_ref(chunk)]).unwrap();
            at += chunk.len() as u64;
            tell.send_replace(at);
        }
        part.commit().unwrap()
    });
    let blob = writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(blob.digest(), &digest);
}

#[tokio::test]
async fn trimming_changes_nothing_that_can_be_read() {
    let scratch = scratch();
    let all = bytes(6 << 20, 9);
    let digest = Digest::sha256(&all);
    let blob = scratch.store.put(&digest, &all).unwrap();
    let mut stream = blob.stream(whole(&blob), ReadHow::Mapped);
    drop(blob);
    let first = stream.next().await.unwrap().unwrap();
    drop(stream);
    for _ in 0..2 {
        scratch.store.trim();
    }
    assert!(first == all[..first.len()]);
    let blob = scratch.store.cached(&digest).unwrap();
    assert!(read(&blob, whole(&blob), ReadHow::Mapped).await.unwrap() == all);
}
