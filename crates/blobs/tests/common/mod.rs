//! What the tests of the store share.
#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod contract;
pub(crate) mod objects;

use blobs::{Blob, Error, Options, PartReader, ReadHow, Store};
use bytes::Bytes;
use futures_util::StreamExt;
use oci::range::ByteRange;
use std::path::{Path, PathBuf};

/// A store in a directory of its own, which goes with it.
pub(crate) struct Scratch {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
}

pub(crate) fn scratch() -> Scratch {
    scratch_with(|_| {})
}

pub(crate) fn scratch_with(change: impl FnOnce(&mut Options)) -> Scratch {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    change(&mut options);
    let store = Store::open(options).unwrap();
    Scratch { dir, store }
}

impl Scratch {
    /// The store as the next process finds it.
    pub(crate) fn reopened(&self) -> Store {
        Store::open(Options::new(self.dir.path())).unwrap()
    }

    pub(crate) fn fills(&self) -> Vec<PathBuf> {
        files(&self.dir.path().join("fills"))
    }

    pub(crate) fn blobs(&self) -> Vec<PathBuf> {
        files(&self.dir.path().join("blobs"))
    }
}

/// All files below a directory, sorted.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn bytes(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // A multiplicative generator (Knuth, MMIX constants); good enough to tell places apart.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

pub(crate) async fn read(blob: &Blob, range: ByteRange, how: ReadHow) -> Result<Vec<u8>, Error> {
    let mut stream = blob.stream(range, how);
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        assert!(!bytes.is_empty() && bytes.len() <= 1 << 20);
        all.extend_from_slice(&bytes);
    }
    assert!(stream.next().await.is_none());
    Ok(all)
}

pub(crate) async fn read_part(
    reader: &PartReader,
    range: std::ops::Range<u64>,
    step: usize,
    how: ReadHow,
) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let max = step.min(usize::try_from(range.end - at).unwrap());
        let bytes = reader.read(at, max, how).await?;
        assert!(!bytes.is_empty() && bytes.len() <= max);
        at += bytes.len() as u64;
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

pub(crate) fn whole(blob: &Blob) -> ByteRange {
    ByteRange { start: 0, end: blob.size_bytes() }
}

/// A place below a prefix in the bucket of a server.
pub(crate) fn s3(server: &testkit::FakeS3) -> blobs::Place {
    use testkit::FakeS3;
    blobs::Place::S3 {
        bucket: FakeS3::BUCKET.into(),
        prefix: "some/prefix".into(),
        region: Some(FakeS3::REGION.into()),
        endpoint: Some(server.endpoint()),
        path_style: true,
        access_key_id: Some(FakeS3::ACCESS_KEY_ID.into()),
        secret_access_key: Some(FakeS3::SECRET_ACCESS_KEY.into()),
    }
}
