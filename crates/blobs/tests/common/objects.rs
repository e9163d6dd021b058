//! Blobs in a bucket that goes wrong on request.

use super::contract::Bench;
use super::s3;
use blobs::{Error, Trouble};
use bytes::Bytes;
use oci::Digest;
use testkit::FakeS3;

pub(crate) const ALWAYS: usize = usize::MAX;

pub(crate) fn bench() -> (Bench, FakeS3) {
    let server = FakeS3::start();
    (Bench::new(s3(&server), None), server)
}

pub(crate) fn key(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("some/prefix/blobs/{}/{}/{hex}", digest.algorithm(), &hex[..2])
}

/// A blob that lies in the bucket but is not open.
pub(crate) fn stored(server: &FakeS3, all: &Bytes) -> Digest {
    let digest = Digest::sha256(all);
    server.set(&key(&digest), all.clone());
    digest
}

pub(crate) fn trouble<T: std::fmt::Debug>(result: Result<T, Error>) -> Trouble {
    match result {
        Err(Error::Remote { trouble, .. }) => trouble,
        other => panic!("{other:?}"),
    }
}
