//! Ranges of an object, gone on with where a body broke.

use super::ObjectPlace;
use super::trouble::{Trouble, remote};
use crate::error::Error;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::{GetOptions, GetRange};
use oci::Digest;
use std::ops::Range;
use std::path::Path;

/// Tries of one range after the first, each at the byte where the last one broke.
const RETRIES_MAX: u32 = 5;

impl ObjectPlace {
    /// A range of a blob of `size_bytes`; it lies inside.
    pub(super) async fn read_range(
        &self,
        digest: &Digest,
        size_bytes: u64,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let name = self.name(digest);
        let read = self.read_trying(digest, &name, size_bytes, range);
        match tokio::time::timeout(self.waits.transfer, read).await {
            Ok(read) => read,
            Err(elapsed) => Err(too_slow(&name, elapsed)),
        }
    }

    async fn read_trying(
        &self,
        digest: &Digest,
        name: &Path,
        size_bytes: u64,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let length = usize::try_from(range.end - range.start).unwrap_or_default();
        let mut read = BytesMut::with_capacity(length);
        let mut failures = 0;
        while read.len() < length {
            let left = range.start + read.len() as u64..range.end;
            let error = match self.read_some(digest, name, size_bytes, left, &mut read).await {
                Ok(()) if read.len() >= length => break,
                // The body ended early and clean.
                Ok(()) => unfit(name, Trouble::Unreachable, "the body ended early"),
                Err(error) => error,
            };
            if !error.may_pass() || failures == RETRIES_MAX {
                return Err(error);
            }
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                at = range.start + read.len() as u64,
                "reading an object is tried again"
            );
            tokio::time::sleep(self.waits.backoff * (1 << failures)).await;
            failures += 1;
        }
        Ok(read.freeze())
    }

    /// Appends what comes of a range, no more than it.
    async fn read_some(
        &self,
        digest: &Digest,
        name: &Path,
        size_bytes: u64,
        range: Range<u64>,
        read: &mut BytesMut,
    ) -> Result<(), Error> {
        let Ok(_permit) = self.transfers.acquire().await else {
            return Err(Error::Stopped { path: name.to_owned() });
        };
        let mut left = usize::try_from(range.end - range.start).unwrap_or_default();
        let start = range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let key = self.key(digest);
        let answer = self.soon("read", name, self.store.get_opts(&key, options)).await;
        let answer = answer.map_err(|error| match error {
            error if error.is_absent() => Error::Absent { path: name.to_owned() },
            error => error,
        })?;
        if answer.meta.size != size_bytes {
            let (found_bytes, wanted_bytes) = (answer.meta.size, size_bytes);
            return Err(Error::WrongSize { path: name.to_owned(), found_bytes, wanted_bytes });
        }
        if answer.range.start != start {
            return Err(unfit(
                name,
                Trouble::Other,
                "it sent another range than the one asked for",
            ));
        }
        let mut body = answer.into_stream();
        while left > 0 {
            let next = tokio::time::timeout(self.waits.stall, body.next()).await;
            match next.map_err(|elapsed| too_slow(name, elapsed))? {
                None => break,
                Some(Err(error)) => return Err(broken(name, error)),
                Some(Ok(bytes)) => {
                    let some = &bytes[..bytes.len().min(left)];
                    left -= some.len();
                    read.extend_from_slice(some);
                }
            }
        }
        self.prove();
        Ok(())
    }
}

/// An answer that is none to the request. It says nothing about the object, so it is no damage.
fn unfit(name: &Path, trouble: Trouble, why: &'static str) -> Error {
    Error::Remote { action: "read", path: name.to_owned(), trouble, source: why.into() }
}

fn too_slow(name: &Path, elapsed: tokio::time::error::Elapsed) -> Error {
    let (path, trouble) = (name.to_owned(), Trouble::TooSlow);
    Error::Remote { action: "read", path, trouble, source: Box::new(elapsed) }
}

/// A body that ends in an error was begun well; whatever it says, another try may end well too.
fn broken(name: &Path, error: object_store::Error) -> Error {
    match remote("read", name, error) {
        Error::Remote { action, path, trouble: Trouble::Other, source } => {
            Error::Remote { action, path, trouble: Trouble::Unreachable, source }
        }
        error => error,
    }
}
