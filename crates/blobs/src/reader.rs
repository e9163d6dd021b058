//! Reading a part while it grows, and after.

use crate::cache::OpenBlobs;
use crate::error::Error;
use crate::pread::{self, READ_BYTES};
use crate::segments::{SEGMENT_BYTES, Segments};
use crate::{ReadHow, map::Mapping};
use bytes::Bytes;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The file of a part, shared by its one writer and its readers.
#[derive(Debug)]
pub(crate) struct PartFile {
    file: File,
    path: PathBuf,
    /// Bytes that are there and will never change again; only the writer moves it, forward.
    written_bytes: AtomicU64,
    segments: Segments,
}

impl PartFile {
    pub(crate) fn new(
        file: File,
        path: PathBuf,
        written_bytes: u64,
        opens: Arc<OpenBlobs>,
    ) -> Self {
        let written_bytes = AtomicU64::new(written_bytes);
        Self { file, path, written_bytes, segments: Segments::new(opens) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Acquire)
    }

    /// The writer has written up to here.
    pub(crate) fn set_written_bytes(&self, bytes: u64) {
        self.written_bytes.store(bytes, Ordering::Release);
    }

    fn too_short(&self, offset: u64) -> Error {
        Error::TooShort { path: self.path.clone(), offset }
    }

    fn read_waiting(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let bytes = pread::read_waiting(&self.file, offset, length)
            .map_err(|error| Error::io("read", &self.path, error))?;
        if bytes.is_empty() && length > 0 { Err(self.too_short(offset)) } else { Ok(bytes) }
    }
}

/// Reads what a [`crate::Part`] has appended. Clones share the file and its mappings; it stays
/// readable after commit, discard and unlinking.
#[derive(Clone, Debug)]
pub struct PartReader {
    part: Arc<PartFile>,
}

impl PartReader {
    pub(crate) fn new(part: Arc<PartFile>) -> Self {
        Self { part }
    }

    /// Up to `max_bytes` from `offset` on; at least one, often fewer than wanted (a segment or a chunk
    /// ends). The caller knows that `offset` was appended; if it was not, [`Error::TooShort`].
    ///
    /// Waits for the disk on the blocking pool, and only if the bytes are not in memory.
    pub async fn read(&self, offset: u64, max_bytes: usize, how: ReadHow) -> Result<Bytes, Error> {
        let written_bytes = self.part.written_bytes();
        if offset >= written_bytes {
            return Err(self.part.too_short(offset));
        }
        let there = usize::try_from(written_bytes - offset).unwrap_or(usize::MAX);
        let max_bytes = max_bytes.min(there);
        if how == ReadHow::Mapped
            && let Some((segment, range)) = self.segment(offset, max_bytes, written_bytes)
            && make_present(&segment, &range).await
        {
            return Ok(segment.slice(range));
        }
        self.copy(offset, max_bytes.min(READ_BYTES)).await
    }

    /// The mapped segment that holds `offset`, if it is fully written, and the range in it.
    fn segment(
        &self,
        offset: u64,
        max_bytes: usize,
        written_bytes: u64,
    ) -> Option<(Mapping, Range<usize>)> {
        let index = offset / SEGMENT_BYTES;
        let start = index * SEGMENT_BYTES;
        if written_bytes - start < SEGMENT_BYTES {
            return None;
        }
        let segment = self.part.segments.get(&self.part.file, index)?;
        // Below the length of a segment, so they fit.
        let from = (offset - start) as usize;
        let until = from.saturating_add(max_bytes).min(SEGMENT_BYTES as usize);
        Some((segment, from..until))
    }

    async fn copy(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let read = pread::read_now(&self.part.file, offset, length)
            .map_err(|error| Error::io("read", &self.part.path, error))?;
        match read {
            Some(bytes) if bytes.is_empty() && length > 0 => Err(self.part.too_short(offset)),
            Some(bytes) => Ok(bytes),
            None => {
                let part = self.part.clone();
                let stopped = || Err(Error::Stopped { path: self.part.path.clone() });
                tokio::task::spawn_blocking(move || part.read_waiting(offset, length))
                    .await
                    .unwrap_or_else(|_| stopped())
            }
        }
    }
}

/// Brings a range into memory. `false`: that failed, and reading by copies will tell why or do.
async fn make_present(segment: &Mapping, range: &Range<usize>) -> bool {
    if segment.is_resident(range.clone()) {
        return true;
    }
    let (segment, range) = (segment.clone(), range.clone());
    let populated = tokio::task::spawn_blocking(move || segment.populate(range)).await;
    matches!(populated, Ok(Ok(())))
}
