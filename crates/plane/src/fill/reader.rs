//! One who waits for a fill: reads at its own pace, from its own offset.

use super::state::{Fill, FillFailure, Phase, Place, Progress};
use crate::stream::StreamError;
use blobs::ReadHow;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::watch;

/// Most bytes taken from the part file at a time.
const READ_MAX_BYTES: u64 = 1 << 20;

/// A reader of a fill. While one lives, the fill is wanted.
#[derive(Debug)]
pub(crate) struct FillReader {
    fill: Arc<Fill>,
    place: Place,
    progress: watch::Receiver<Progress>,
    position: u64,
    /// Where to stop; `None`: at the end of the blob.
    end: Option<u64>,
}

impl FillReader {
    pub(super) fn new(fill: Arc<Fill>) -> Self {
        let progress = fill.subscribe();
        let place = fill.enter();
        Self { fill, place, progress, position: 0, end: None }
    }

    /// Whether its failures are the word of this name's own upstream.
    pub(crate) fn is_begun_for(&self, name: &oci::Name) -> bool {
        self.fill.initiator() == name
    }

    /// Another reader of the same fill, from the beginning.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.fill.clone())
    }

    /// It only holds the fill from now on and reads nothing: on a full disk nobody waits for it.
    pub(crate) fn step_aside(&self) {
        self.place.at(u64::MAX);
    }

    /// Reads only `start..end`.
    pub(crate) fn limit(&mut self, start: u64, end: u64) {
        self.position = start;
        self.end = Some(end);
        self.place.at(start);
    }

    /// Waits until the upstream has answered. Then the length of the blob is known, if the upstream
    /// tells it.
    pub(crate) async fn answered(&mut self) -> Result<Option<u64>, FillFailure> {
        let waited = self.progress.wait_for(|progress| !matches!(progress.phase, Phase::Starting));
        match waited.await {
            Ok(progress) => match &progress.phase {
                Phase::Failed(failure) => Err(failure.clone()),
                _ => Ok(progress.total_bytes),
            },
            Err(_) => Err(FillFailure::Internal("the download ended without a word".into())),
        }
    }

    /// Waits until all of it is there and right.
    pub(crate) async fn completed(&mut self) -> Result<(), FillFailure> {
        let ended =
            |progress: &Progress| matches!(progress.phase, Phase::Complete | Phase::Failed(_));
        match self.progress.wait_for(ended).await {
            Ok(progress) => match &progress.phase {
                Phase::Failed(failure) => Err(failure.clone()),
                _ => Ok(()),
            },
            Err(_) => Err(FillFailure::Internal("the download ended without a word".into())),
        }
    }

    /// Bytes that readers may have by now, of all that there will be.
    pub(crate) fn so_far(&self) -> (u64, Option<u64>) {
        (self.fill.released(), self.progress.borrow().total_bytes)
    }

    /// Whether it is known by now that nothing of it is kept.
    pub(crate) fn is_unkept(&self) -> bool {
        self.fill.is_unkept()
    }

    /// Whether its first byte can still be had.
    pub(crate) fn can_be_served(&self) -> bool {
        self.fill.can_serve_from(self.position)
    }

    /// The next bytes; `None` at the end. A failure here must break the client's connection.
    pub(crate) async fn next(&mut self, how: ReadHow) -> Result<Option<Bytes>, StreamError> {
        loop {
            let released = self.fill.released();
            let until = self.end.map_or(released, |end| end.min(released));
            if self.end == Some(self.position) {
                return Ok(None);
            }
            if self.position < until {
                let bytes = self.take(until, how).await?;
                self.position += bytes.len() as u64;
                self.place.at(self.position);
                return Ok(Some(bytes));
            }
            // Looked at after `released`: what is complete now had released everything before.
            let phase = self.progress.borrow_and_update().phase.clone();
            match phase {
                _ if self.fill.released() > self.position => {}
                Phase::Complete => return Ok(None),
                Phase::Failed(failure) => return Err(StreamError::Fill(failure.text())),
                Phase::Starting | Phase::Flowing => {
                    if self.progress.changed().await.is_err() {
                        return Err(StreamError::Fill("it ended without a word".to_owned()));
                    }
                }
            }
        }
    }

    async fn take(&self, until: u64, how: ReadHow) -> Result<Bytes, StreamError> {
        let wanted = until - self.position;
        if let Some(bytes) = self.fill.in_window(self.position, wanted) {
            return Ok(bytes);
        }
        if let Some((part, kept)) = self.fill.in_part() {
            let there = kept.min(until).saturating_sub(self.position).min(READ_MAX_BYTES);
            if there > 0 {
                let max = usize::try_from(there).unwrap_or(usize::MAX);
                let read = part.read(self.position, max, how).await.map_err(StreamError::Store)?;
                if !read.is_empty() {
                    return Ok(read);
                }
            }
        }
        Err(StreamError::Fill("the disk is full and this reader fell behind".to_owned()))
    }
}
