//! The bytes of an object in order: ranges that grow, some read ahead of who takes them.

use super::ObjectPlace;
use crate::error::Error;
use crate::map::MapCharge;
use bytes::Bytes;
use oci::Digest;
use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// Length of the first range, so that the first byte comes soon and a small blob costs little.
const FIRST_BYTES: u64 = 512 << 10;
/// Length that ranges grow to; with [`AHEAD`] it bounds what one stream holds (12 MiB).
const RANGE_BYTES: u64 = 4 << 20;
/// Ranges under way or waiting behind the one that is handed out.
const AHEAD: usize = 2;
/// Longest piece handed out at a time.
const FRAME_BYTES: usize = 1 << 20;

/// A range under way. What it will hold is counted until it was handed out.
struct Read {
    task: JoinHandle<Result<Bytes, Error>>,
    charge: Option<MapCharge>,
}

/// Reads a range of an object from its beginning to its end.
pub(crate) struct ReadAhead {
    place: Arc<ObjectPlace>,
    digest: Digest,
    size_bytes: u64,
    /// What no read was begun for.
    left: Range<u64>,
    step_bytes: u64,
    reads: VecDeque<Read>,
    current: Bytes,
    charge: Option<MapCharge>,
}

impl ReadAhead {
    pub(crate) fn new(
        place: Arc<ObjectPlace>,
        digest: Digest,
        size_bytes: u64,
        range: Range<u64>,
    ) -> Self {
        Self {
            place,
            digest,
            size_bytes,
            left: range,
            step_bytes: FIRST_BYTES,
            reads: VecDeque::with_capacity(AHEAD),
            current: Bytes::new(),
            charge: None,
        }
    }

    /// The next bytes, `None` at the end. After an error it is over.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        while self.current.is_empty() {
            self.charge = None;
            self.begin();
            let Some(read) = self.reads.front_mut() else { return Poll::Ready(None) };
            let done = ready!(Pin::new(&mut read.task).poll(context));
            let charge = self.reads.pop_front().and_then(|read| read.charge);
            let stopped = || Err(Error::Stopped { path: self.place.name(&self.digest) });
            match done.unwrap_or_else(|_| stopped()) {
                Ok(bytes) => (self.current, self.charge) = (bytes, charge),
                Err(error) => {
                    self.stop();
                    return Poll::Ready(Some(Err(error)));
                }
            }
            self.begin();
        }
        let length = self.current.len().min(FRAME_BYTES);
        Poll::Ready(Some(Ok(self.current.split_to(length))))
    }

    /// Blocks: as [`Self::poll_next`].
    pub(crate) fn next_waiting(&mut self) -> Option<Result<Bytes, Error>> {
        let runtime = self.place.runtime.clone();
        runtime.block_on(std::future::poll_fn(|context| self.poll_next(context)))
    }

    /// Begins reads until enough are ahead. Where all streams together hold too much, one short
    /// read at a time has to do.
    fn begin(&mut self) {
        while self.reads.len() < AHEAD && !self.left.is_empty() {
            let left = self.left.end - self.left.start;
            let wanted = left.min(self.step_bytes);
            let charge = self.place.ahead.reserve(wanted);
            let length = match charge {
                Some(_) => wanted,
                None if self.reads.is_empty() && self.current.is_empty() => left.min(FIRST_BYTES),
                None => return,
            };
            let range = self.left.start..self.left.start + length;
            self.left.start += length;
            self.step_bytes = (self.step_bytes * 2).min(RANGE_BYTES);
            let (place, digest, size_bytes) = (self.place.clone(), self.digest, self.size_bytes);
            let task = self
                .place
                .runtime
                .spawn(async move { place.read_range(&digest, size_bytes, range).await });
            self.reads.push_back(Read { task, charge });
        }
    }

    fn stop(&mut self) {
        self.left.start = self.left.end;
        for read in self.reads.drain(..) {
            read.task.abort();
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectWaits;
    use crate::place::Place;
    use testkit::FakeS3;

    /// With the memory of all streams given out, one goes on in short ranges, one at a time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn without_room_to_read_ahead_it_goes_on_in_short_ranges() {
        let server = FakeS3::start();
        let place = Place::S3 {
            bucket: FakeS3::BUCKET.into(),
            prefix: String::new(),
            region: None,
            endpoint: Some(server.endpoint()),
            path_style: true,
            access_key_id: Some(FakeS3::ACCESS_KEY_ID.into()),
            secret_access_key: Some(FakeS3::SECRET_ACCESS_KEY.into()),
        };
        let place = Arc::new(ObjectPlace::open(&place, ObjectWaits::default()).unwrap());
        let all: Vec<u8> = (0..5u32 << 20).map(|at| (at / 7) as u8).collect();
        let digest = Digest::sha256(&all);
        server.set(place.key(&digest).as_ref(), all.clone());
        let size_bytes = all.len() as u64;
        let read = async || {
            let mut ahead = ReadAhead::new(place.clone(), digest, size_bytes, 0..size_bytes);
            let mut read = Vec::new();
            while let Some(bytes) = std::future::poll_fn(|context| ahead.poll_next(context)).await {
                read.extend_from_slice(&bytes.unwrap());
            }
            read
        };
        let taken = place.ahead.reserve(super::super::AHEAD_MAX_BYTES).unwrap();
        assert!(read().await == all);
        assert_eq!(server.count("GET", &digest.hex()), 10);
        drop(taken);
        assert!(read().await == all);
        assert_eq!(server.count("GET", &digest.hex()), 10 + 4, "0.5, 1, 2 and 1.5 MiB");
        assert_eq!(place.ahead.used_bytes(), 0);
    }
}
