//! Writing a whole blob: small ones at once, large ones in parts, several of them under way.
//!
//! A large one leaves a file of what is finished until the store has confirmed the whole, and is
//! gone on with after a restart. Where the store has forgotten it, it begins again.

use super::ObjectPlace;
use super::sent::{SentParts, Upload};
use super::trouble::Trouble;
use crate::error::Error;
use bytes::Bytes;
use object_store::PutPayload;
use object_store::multipart::PartId;
use oci::Digest;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Longest blob that is written at once, and shortest part of a longer one (S3: 5 MiB at least,
/// some stores want all but the last of one length).
const PART_MIN_BYTES: u64 = 16 << 20;
/// Parts of one upload (S3, and less than Azure's 50,000).
const PARTS_MAX: u64 = 10_000;
/// Parts of one upload under way, as long as they are not long.
const IN_FLIGHT_MAX: u64 = 4;
/// Bytes of one upload in memory; parts longer than a fourth of it go one by one.
const IN_FLIGHT_BYTES: u64 = 64 << 20;
/// Tries of one part after the first.
const RETRIES_MAX: u32 = 3;

/// How sending ended when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The store has it.
    Done,
    /// The source wanted no more.
    Stopped,
}

/// Where the bytes come from. All functions block.
pub(crate) trait PartSource {
    /// The bytes of a range; ranges are asked for in order, each of them. Where they are not
    /// `wanted`, what is returned does not matter. `None`: no more is to be done.
    fn part(&mut self, range: Range<u64>, wanted: bool) -> Result<Option<Bytes>, Error>;

    /// All were asked for: whether they are right.
    fn finish(&mut self) -> Result<(), Error>;

    /// They will be asked for from the first again.
    fn restart(&mut self) -> Result<(), Error>;
}

impl ObjectPlace {
    /// Blocks: writes a blob and returns when the store has confirmed it. `notes` is the file
    /// for what is finished.
    pub(crate) fn send(
        self: &Arc<Self>,
        digest: &Digest,
        size_bytes: u64,
        notes: &Path,
        source: &mut dyn PartSource,
    ) -> Result<Sent, Error> {
        if size_bytes <= PART_MIN_BYTES {
            let _permit = self.part_permit(digest, 1)?;
            let Some(bytes) = source.part(0..size_bytes, true)? else { return Ok(Sent::Stopped) };
            source.finish()?;
            return self.put(digest, &bytes).map(|()| Sent::Done);
        }
        let part_bytes = part_bytes(size_bytes);
        if let Some(sent) = self.resume(digest, size_bytes, part_bytes, notes) {
            match self.send_parts(digest, sent, source) {
                // Forgotten, or not known by these parts any more (Azure drops them after a week).
                Err(Error::Remote {
                    trouble: Trouble::Absent | Trouble::Other,
                    source: why,
                    ..
                }) => {
                    tracing::info!(%digest, place = self.url, %why, "an upload cannot be gone on with; it begins again");
                    source.restart()?;
                }
                result => return result,
            }
        }
        let (key, name) = (self.key(digest), self.name(digest));
        let created = self.soon("begin", &name, self.multipart.create_multipart(&key));
        let id = self.runtime.block_on(created)?;
        let upload = Upload { place: self.url.clone(), id, size_bytes, part_bytes };
        let sent = SentParts::begin(notes, upload)?;
        self.send_parts(digest, sent, source)
    }

    /// What an earlier process left of the same upload; what it left of another is given up.
    fn resume(
        &self,
        digest: &Digest,
        size_bytes: u64,
        part_bytes: u64,
        notes: &Path,
    ) -> Option<SentParts> {
        let sent = SentParts::read(notes)?;
        let upload = &sent.upload;
        if upload.place != self.url {
            return None;
        }
        if (upload.size_bytes, upload.part_bytes) == (size_bytes, part_bytes) {
            return Some(sent);
        }
        self.abort(digest, &sent);
        None
    }

    fn send_parts(
        self: &Arc<Self>,
        digest: &Digest,
        mut sent: SentParts,
        source: &mut dyn PartSource,
    ) -> Result<Sent, Error> {
        let Upload { size_bytes, part_bytes, .. } = sent.upload;
        let count = usize::try_from(size_bytes.div_ceil(part_bytes)).unwrap_or(usize::MAX);
        let in_flight = (IN_FLIGHT_BYTES / part_bytes).clamp(1, IN_FLIGHT_MAX) as usize;
        let mut tasks = JoinSet::new();
        for part in 0..count {
            let start = part as u64 * part_bytes;
            let range = start..(start + part_bytes).min(size_bytes);
            if sent.has(part) {
                if source.part(range, false)?.is_none() {
                    return Ok(Sent::Stopped);
                }
                continue;
            }
            while tasks.len() >= in_flight {
                self.collect(digest, &mut tasks, &mut sent)?;
            }
            let permit = self.part_permit(digest, part_bytes.div_ceil(PART_MIN_BYTES))?;
            let Some(bytes) = source.part(range, true)? else { return Ok(Sent::Stopped) };
            let (place, digest, id) = (self.clone(), *digest, sent.upload.id.clone());
            let put = async move {
                let done = place.put_part(&digest, &id, part, bytes).await;
                drop(permit);
                done.map(|id| (part, id))
            };
            tasks.spawn_on(put, &self.runtime);
        }
        while !tasks.is_empty() {
            self.collect(digest, &mut tasks, &mut sent)?;
        }
        if let Err(error) = source.finish() {
            // Nothing of it may become the blob, so nothing of it is gone on with.
            self.abort(digest, &sent);
            sent.remove()?;
            return Err(error);
        }
        self.complete(digest, &sent, count)?;
        sent.remove()?;
        Ok(Sent::Done)
    }

    /// Waits for one part and notes it.
    fn collect(
        &self,
        digest: &Digest,
        tasks: &mut JoinSet<Result<(usize, PartId), Error>>,
        sent: &mut SentParts,
    ) -> Result<(), Error> {
        let stopped = || Error::Stopped { path: self.name(digest) };
        let done = self.runtime.block_on(tasks.join_next()).ok_or_else(stopped)?;
        let (part, id) = done.map_err(|_| stopped())??;
        sent.finished(part, id)
    }

    async fn put_part(
        &self,
        digest: &Digest,
        id: &String,
        part: usize,
        bytes: Bytes,
    ) -> Result<PartId, Error> {
        let (key, name) = (self.key(digest), self.name(digest));
        let mut failures = 0;
        loop {
            let payload = PutPayload::from_bytes(bytes.clone());
            let put = self.multipart.put_part(&key, id, part, payload);
            match self.within(self.waits.transfer, "write", &name, put).await {
                Err(error) if error.may_pass() && failures < RETRIES_MAX => {
                    tokio::time::sleep(self.waits.backoff * (1 << failures)).await;
                    failures += 1;
                }
                done => return done,
            }
        }
    }

    fn complete(&self, digest: &Digest, sent: &SentParts, count: usize) -> Result<(), Error> {
        let complete = async {
            let (key, name) = (self.key(digest), self.name(digest));
            let ids = sent.ids(count);
            let complete = self.multipart.complete_multipart(&key, &sent.upload.id, ids);
            let done = self.within(self.waits.transfer, "finish", &name, complete).await;
            // "No such upload" is also what the second try hears after a first whose answer was
            // lost, and the next process after one that was killed right here. The object decides.
            match (done, self.confirmed(digest, sent.upload.size_bytes).await) {
                (Ok(_), confirmed) => confirmed,
                (Err(_), Ok(())) => Ok(()),
                (Err(error), Err(_)) => Err(error),
            }
        };
        self.runtime.block_on(complete)
    }

    /// Gives an upload up. A failure is only told: stores have rules that remove what is left.
    fn abort(&self, digest: &Digest, sent: &SentParts) {
        let (key, name) = (self.key(digest), self.name(digest));
        let abort = self.multipart.abort_multipart(&key, &sent.upload.id);
        match self.runtime.block_on(self.soon("give up", &name, abort)) {
            Err(error) if !error.is_absent() => {
                tracing::warn!(%digest, error = &error as &dyn std::error::Error, "an upload in parts is left over");
            }
            _ => {}
        }
    }

    /// Blocks: gives up what a file tells of, if it was sent here, and removes the file.
    pub(crate) fn give_up(&self, digest: &Digest, notes: &Path) -> Result<bool, Error> {
        match SentParts::read(notes) {
            Some(sent) if sent.upload.place == self.url => {
                self.abort(digest, &sent);
                sent.remove().map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Blocks until there is room in memory for a part so many times the shortest.
    fn part_permit(
        &self,
        digest: &Digest,
        weight: u64,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, Error> {
        let weight =
            u32::try_from(weight).unwrap_or(u32::MAX).clamp(1, super::PARTS_HELD_MAX as u32);
        self.runtime
            .block_on(self.parts.clone().acquire_many_owned(weight))
            .map_err(|_| Error::Stopped { path: self.name(digest) })
    }
}

/// Length of all parts but the last.
fn part_bytes(size_bytes: u64) -> u64 {
    let least = size_bytes.div_ceil(PARTS_MAX).max(PART_MIN_BYTES);
    least.next_multiple_of(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_enough_and_long_enough() {
        assert_eq!(part_bytes(17 << 20), 16 << 20);
        for size_bytes in [160 << 30, 5 << 40, 5_497_558_138_881] {
            let part_bytes = part_bytes(size_bytes);
            assert!(part_bytes >= PART_MIN_BYTES && size_bytes.div_ceil(part_bytes) <= PARTS_MAX);
        }
    }
}
