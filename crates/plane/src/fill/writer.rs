//! The one task that writes a fill: upstream → hash and part file → those who wait.
//!
//! While one batch of bytes is hashed and written on the blocking pool, the next is gathered from
//! the network. A batch is published as soon as it is written, so the first byte of a blob leaves
//! when the upstream's arrives.

use super::gathered::Gathered;
use super::sink::{Sink, append, panicked};
use super::state::{Fill, FillFailure};
use super::{FillSource, Fills};
use crate::shelf::{ContentNote, Shelf};
use blobs::{Part, Validators};
use bytes::Bytes;
use catalog::Batch as Notes;
use futures_util::FutureExt;
use oci::Hasher;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use telemetry::FillResult;
use upstream::{FailureKind, Resume, Transfer};

/// Bytes hashed and written at a time.
const BATCH_BYTES: usize = 256 << 10;
/// Memory for the windows of all fills together, and the bounds of each one's share.
const WINDOWS_BYTES: usize = 64 << 20;
const WINDOW_MAX_BYTES: usize = 4 << 20;
const WINDOW_MIN_BYTES: usize = 512 << 10;
/// With more readers than this, small chunks are worth waiting for: waking them all costs more.
const PATIENT_READERS: usize = 4;
/// How long to wait for a batch to fill then.
const PATIENCE: Duration = Duration::from_millis(2);
/// A fill with less than this to go, or with most of it done, is finished even if nobody waits.
const FINISH_BYTES: u64 = 32 << 20;
/// But not if it has taken this long.
const FINISH_TIME: Duration = Duration::from_secs(600);
/// How long the writer of an unkept fill waits for its slowest readers, all in all.
const LAGGARD_TIME: Duration = Duration::from_secs(20);

/// How a fill ended, when not by being complete.
enum Ended {
    Failed(FillFailure),
    Parked,
    /// There was nothing to do.
    Stored,
}

impl From<FillFailure> for Ended {
    fn from(failure: FillFailure) -> Self {
        Self::Failed(failure)
    }
}

/// Runs a fill to its end, whatever that is.
pub(super) async fn run(fills: Fills, fill: Arc<Fill>, source: FillSource) {
    let shelf = fills.0.shelf.clone();
    let began = Instant::now();
    shelf.metrics.fill_started();
    let writer = Writer {
        fills: fills.clone(),
        fill: fill.clone(),
        source,
        shelf: shelf.clone(),
        began,
        validators: Mutex::new(None),
        patience: Mutex::new(LAGGARD_TIME),
    };
    // A panic must not leave the readers waiting for ever.
    let ended = std::panic::AssertUnwindSafe(writer.run()).catch_unwind().await;
    let digest = fill.digest;
    let upstream = &*writer.source.upstream_label;
    let result = match ended {
        Ok(Ok(kept)) => {
            let millis = began.elapsed().as_millis();
            tracing::info!(%digest, upstream, name = %writer.source.name, kept, millis, "download complete");
            if kept { FillResult::Complete } else { FillResult::Unkept }
        }
        Ok(Err(Ended::Parked)) => {
            fills.remove(&fill);
            fill.fail(FillFailure::Parked);
            tracing::info!(%digest, upstream, "download parked: nobody waits for it");
            FillResult::Parked
        }
        Ok(Err(Ended::Stored)) => {
            fills.remove(&fill);
            fill.fail(FillFailure::Stored);
            FillResult::Complete
        }
        Ok(Err(Ended::Failed(failure))) => {
            fills.remove(&fill);
            let is_mismatch = matches!(failure, FillFailure::Mismatch(_));
            let reason = failure.text();
            fill.fail(failure);
            if is_mismatch {
                shelf.note_mismatch(upstream, fill.initiator(), &digest);
                tracing::error!(%digest, upstream, reason, "download is not what was asked for; nothing of it is kept");
                FillResult::Mismatch
            } else {
                tracing::warn!(%digest, upstream, reason, "download failed");
                FillResult::Failed
            }
        }
        Err(_) => {
            fill.fail(FillFailure::Internal("the download was ended by a bug; see the log".into()));
            FillResult::Failed
        }
    };
    fills.remove(&fill);
    shelf.metrics.fill_finished(result);
}

struct Writer {
    fills: Fills,
    fill: Arc<Fill>,
    source: FillSource,
    shelf: Arc<Shelf>,
    began: Instant,
    /// To be kept beside the part, with the next bytes that are written.
    validators: Mutex<Option<Validators>>,
    /// What is left of the time that the slowest readers of a full disk may cost the others.
    patience: Mutex<Duration>,
}

impl Writer {
    /// `true`: the blob is in the store. `false`: all of it was passed on, and there was no space.
    async fn run(&self) -> Result<bool, Ended> {
        let stop = &self.fills.0.stop;
        let slot = tokio::select! {
            slot = self.fills.0.slots.acquire() => slot,
            () = stop.cancelled() => return Err(Ended::Parked),
            failure = self.fill.blocked() => return Err(failure.into()),
            () = self.unwanted() => return Err(Ended::Parked),
        };
        let Ok(_slot) = slot else { return Err(Ended::Parked) };
        let (sink, offset, transfer) = match self.open_part().await? {
            Some(part) => {
                let (part, transfer) = self.begin(part).await?;
                let offset = part.len_bytes();
                (Sink::Part(part), offset, transfer)
            }
            None => {
                // Said before readers are let in, so that their answers say it.
                self.fill.set_unkept();
                let transfer = self.ask(Resume { offset_bytes: 0, validators: None }).await?;
                self.found(transfer.total_bytes(), 0);
                let hasher = Hasher::new(self.fill.digest.algorithm());
                (Sink::Bare(Box::new(hasher)), 0, Some(transfer))
            }
        };
        let Some(mut transfer) = transfer else { return self.finish(sink, offset).await };
        let (sink, size_bytes) = self.copy(sink, offset, &mut transfer).await?;
        if let Some(total) = transfer.total_bytes().filter(|total| *total != size_bytes) {
            let upstream = &self.source.upstream_label;
            let text = format!("upstream {upstream} sent {size_bytes} bytes of a blob of {total}");
            return Err(self.spoilt(sink, FillFailure::Mismatch(text.into())).await);
        }
        self.finish(sink, size_bytes).await
    }

    /// Resolves when nobody wants it any more, and nobody can join it any more either.
    async fn unwanted(&self) {
        loop {
            self.fill.abandoned(self.fills.0.settings.linger).await;
            if self.fills.park_if_unwanted(&self.fill) {
                return;
            }
        }
    }

    /// Drops the part, so that nothing of it is resumed.
    async fn spoilt(&self, sink: Sink, failure: FillFailure) -> Ended {
        self.discard(sink).await;
        Ended::Failed(failure)
    }

    async fn discard(&self, sink: Sink) {
        if let Sink::Part(part) | Sink::Unkept(part) = sink {
            let _ = self.shelf.blocking(move |_| part.discard()).await;
        }
    }

    /// The part of this digest. `None`: there can be none now, since the disk is full or a fill
    /// that is not kept has it; the bytes are passed on all the same.
    async fn open_part(&self) -> Result<Option<Box<Part>>, Ended> {
        let digest = self.fill.digest;
        let opened = self.shelf.blocking(move |shelf| match shelf.open_blob(&digest, None) {
            // Another fill of it ended after this one's reader looked.
            Some(_) => None,
            None => Some(shelf.store.part(&digest)),
        });
        match opened.await {
            Some(None) => Err(Ended::Stored),
            Some(Some(Ok(part))) => Ok(Some(Box::new(part))),
            Some(Some(Err(blobs::Error::Busy { .. }))) => Ok(None),
            Some(Some(Err(error))) if error.is_no_space() => {
                self.shelf.set_full("a download cannot be begun");
                Ok(None)
            }
            Some(Some(Err(error))) => Err(self.trouble("takes no download", &error).into()),
            None => Err(panicked().into()),
        }
    }

    /// Trouble with the store: all of it in the log, to clients only that there is some.
    fn trouble(&self, what: &str, error: &blobs::Error) -> FillFailure {
        let digest = self.fill.digest;
        tracing::error!(%digest, error = error as &dyn std::error::Error, "the store {what}");
        FillFailure::Internal(format!("the store {what}; see the log of the plane").into())
    }

    /// Asks the upstream for what the part lacks, while the part's prefix is hashed again. No
    /// transfer: nothing is lacking.
    async fn begin(&self, part: Box<Part>) -> Result<(Box<Part>, Option<Transfer>), Ended> {
        let offset = part.len_bytes();
        if offset == 0 {
            let transfer = self.ask(Resume { offset_bytes: 0, validators: None }).await?;
            return self.answered(part, transfer).await;
        }
        let known = part.validators().cloned();
        if known.as_ref().and_then(|known| known.total_bytes) == Some(offset) {
            let part = self.rehashed(part).await?;
            if part.is_right() {
                self.fill.set_part(part.reader());
                self.found(Some(offset), offset);
                return Ok((part, None));
            }
            return self.afresh(part).await;
        }
        let validators = known
            .map(|known| upstream::Validators { total_bytes: known.total_bytes, etag: known.etag });
        let resume = Resume { offset_bytes: offset, validators };
        let (part, transfer) = tokio::join!(self.rehashed(part), self.ask(resume));
        let part = part?;
        match transfer {
            Ok(transfer) => self.answered(part, transfer).await,
            Err(FillFailure::Upstream(failure)) if failure.kind() == FailureKind::Changed => {
                self.afresh(part).await
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// The part is of no use: begins again with an empty one.
    async fn afresh(&self, part: Box<Part>) -> Result<(Box<Part>, Option<Transfer>), Ended> {
        let digest = self.fill.digest;
        let renewed = self
            .shelf
            .blocking(move |shelf| part.discard().and_then(|()| shelf.store.part(&digest)))
            .await;
        let part = match renewed {
            Some(Ok(part)) => Box::new(part),
            Some(Err(error)) => return Err(self.trouble("takes no download", &error).into()),
            None => return Err(panicked().into()),
        };
        let transfer = self.ask(Resume { offset_bytes: 0, validators: None }).await?;
        self.answered(part, transfer).await
    }

    async fn ask(&self, resume: Resume) -> Result<Transfer, FillFailure> {
        let FillSource { upstream, upstream_name, class, .. } = &self.source;
        let asked = upstream.blob(upstream_name, &self.fill.digest, resume, *class);
        tokio::select! {
            asked = asked => asked.map_err(FillFailure::Upstream),
            failure = self.fill.blocked() => Err(failure),
            () = self.fills.0.stop.cancelled() => Err(FillFailure::Parked),
        }
    }

    async fn rehashed(&self, mut part: Box<Part>) -> Result<Box<Part>, Ended> {
        let hashed = self.shelf.blocking(move |_| part.rehash().map(|()| part)).await;
        match hashed {
            Some(Ok(part)) => Ok(part),
            Some(Err(error)) => Err(self.trouble("cannot read a part", &error).into()),
            None => Err(panicked().into()),
        }
    }

    /// The upstream has it: from now on readers read.
    async fn answered(
        &self,
        part: Box<Part>,
        transfer: Transfer,
    ) -> Result<(Box<Part>, Option<Transfer>), Ended> {
        let validators = Validators {
            total_bytes: transfer.total_bytes(),
            etag: transfer.validators().etag.clone(),
        };
        // Written behind the first bytes, which must not wait for it.
        *self.validators.lock() = Some(validators);
        self.fill.set_part(part.reader());
        self.found(transfer.total_bytes(), part.len_bytes());
        Ok((part, Some(transfer)))
    }

    /// "Found" is what makes the row: who asks for it from now on need not ask the upstream.
    fn found(&self, total_bytes: Option<u64>, prefix_bytes: u64) {
        let mut notes = Notes::new();
        self.note_content(&mut notes, total_bytes);
        self.shelf.submit(notes);
        self.fill.begin(total_bytes, prefix_bytes);
    }

    /// Copies until the end of the transfer; how many bytes the blob has then.
    async fn copy(
        &self,
        mut sink: Sink,
        mut offset: u64,
        transfer: &mut Transfer,
    ) -> Result<(Sink, u64), Ended> {
        let total = transfer.total_bytes();
        let mut abandoned = Box::pin(self.unwanted());
        let mut batch = self.gather(transfer, offset, total, &mut abandoned).await?;
        loop {
            if let Some(failure) = self.fill.block() {
                return Err(self.spoilt(sink, failure).await);
            }
            let end = batch.end.take();
            let chunk = batch.merged();
            let length = chunk.len() as u64;
            let writing = self.write(sink, chunk, offset, total);
            if let Some(end) = end {
                sink = writing.await?;
                return match end {
                    Ok(()) => Ok((sink, offset + length)),
                    Err(FillFailure::Upstream(failure))
                        if failure.kind() == FailureKind::Changed =>
                    {
                        Err(self.spoilt(sink, FillFailure::Upstream(failure)).await)
                    }
                    Err(failure) => Err(failure.into()),
                };
            }
            let next = self.gather(transfer, offset + length, total, &mut abandoned);
            let (written, next) = tokio::join!(writing, next);
            (sink, batch) = (written?, next?);
            offset += length;
        }
    }

    /// Hashes, writes and publishes one chunk.
    async fn write(
        &self,
        sink: Sink,
        chunk: Bytes,
        offset: u64,
        total: Option<u64>,
    ) -> Result<Sink, Ended> {
        if chunk.is_empty() {
            return Ok(sink);
        }
        let end = offset + chunk.len() as u64;
        if total.is_some_and(|total| end > total) {
            let text = format!("upstream {} sent more than it said", self.source.upstream_label);
            return Err(self.spoilt(sink, FillFailure::Mismatch(text.into())).await);
        }
        let (held, validators) = (chunk.clone(), self.validators.lock().take());
        let written = self.shelf.blocking(move |shelf| append(shelf, sink, held, validators)).await;
        let sink = match written {
            Some(Ok(sink)) => sink,
            Some(Err(error)) => return Err(self.trouble("cannot be written", &error).into()),
            None => return Err(panicked().into()),
        };
        // The chunk that may be the last waits for the digest.
        let may_be_last = total.is_none_or(|total| end == total);
        let released = if may_be_last { offset } else { end };
        let kept = matches!(sink, Sink::Part(_));
        if !kept {
            self.fill.set_unkept();
            self.make_room(chunk.len()).await;
        }
        self.fill.publish(offset, chunk, released, kept);
        if kept {
            self.fill.shrink_window(self.window_bytes());
        }
        Ok(sink)
    }

    /// This fill's share of the memory for windows.
    fn window_bytes(&self) -> usize {
        let share = WINDOWS_BYTES / self.fills.count().max(1);
        share.clamp(WINDOW_MIN_BYTES, WINDOW_MAX_BYTES)
    }

    /// Waits, while nothing is kept, until the readers have taken enough of the window; who is too
    /// slow loses its place.
    async fn make_room(&self, bytes: usize) {
        let began = tokio::time::Instant::now();
        let deadline = began + *self.patience.lock();
        // Room for two chunks of the largest size: the one that waits for the digest, and this one.
        let max_bytes = self.window_bytes().max(6 * BATCH_BYTES);
        loop {
            self.fill.drop_taken();
            if self.fill.window_bytes() + bytes <= max_bytes {
                let mut patience = self.patience.lock();
                *patience = patience.saturating_sub(began.elapsed());
                return;
            }
            let waited = tokio::time::timeout_at(deadline, self.fill.advanced.notified()).await;
            if waited.is_err() {
                self.fill.shrink_window(max_bytes.saturating_sub(bytes));
                self.fill.give_up_laggards();
                *self.patience.lock() = LAGGARD_TIME;
                return;
            }
        }
    }

    /// The next bytes: what has arrived, up to a batch, and at least one chunk.
    async fn gather(
        &self,
        transfer: &mut Transfer,
        offset: u64,
        total: Option<u64>,
        abandoned: &mut Pin<Box<impl Future<Output = ()>>>,
    ) -> Result<Gathered, Ended> {
        let mut gathered = Gathered::default();
        let wanted = |offset: u64| {
            // Nearly done is soon done, and the next who asks has it; unless the upstream drips.
            self.began.elapsed() < FINISH_TIME
                && total
                    .is_some_and(|total| total - offset.min(total) <= FINISH_BYTES.max(total / 5))
        };
        let first = tokio::select! {
            biased;
            next = transfer.next() => next,
            // The caller sees to what is written.
            _ = self.fill.blocked() => return Ok(gathered),
            () = self.fills.0.stop.cancelled() => return Err(Ended::Parked),
            () = abandoned.as_mut(), if !wanted(offset) => return Err(Ended::Parked),
        };
        let mut bytes = gathered.take(first);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let patient = offset > 0 && self.fill.reader_count() > PATIENT_READERS;
        while bytes < BATCH_BYTES && gathered.end.is_none() {
            let next = if patient {
                tokio::time::timeout_at(deadline, transfer.next()).await.ok()
            } else {
                transfer.next().now_or_never()
            };
            let Some(next) = next else { break };
            bytes += gathered.take(next);
        }
        Ok(gathered)
    }

    /// All bytes are here: the digest decides.
    async fn finish(&self, sink: Sink, size_bytes: u64) -> Result<bool, Ended> {
        let found = sink.digest_so_far();
        if found != self.fill.digest {
            let (upstream, wanted) = (&self.source.upstream_label, self.fill.digest);
            let text =
                format!("upstream {upstream} sent bytes that hash to {found}, not to {wanted}");
            return Err(self.spoilt(sink, FillFailure::Mismatch(text.into())).await);
        }
        self.fill.complete(size_bytes);
        let Sink::Part(part) = sink else {
            self.discard(sink).await;
            return Ok(false);
        };
        match self.shelf.blocking(move |_| part.commit()).await {
            Some(Ok(_)) => {
                self.note(size_bytes);
                self.fill.forget_window();
                Ok(true)
            }
            Some(Err(error)) => {
                if error.is_no_space() {
                    self.shelf.set_full("a download cannot be committed");
                }
                let digest = self.fill.digest;
                tracing::error!(%digest, error = &error as &dyn std::error::Error, "a download was served and cannot be kept");
                Ok(false)
            }
            None => Err(panicked().into()),
        }
    }

    fn note(&self, size_bytes: u64) {
        let mut notes = Notes::new();
        self.shelf.note_blob(&mut notes, &self.fill.digest, size_bytes, false);
        self.note_content(&mut notes, Some(size_bytes));
        self.shelf.submit(notes);
    }

    fn note_content(&self, notes: &mut Notes, size_bytes: Option<u64>) {
        self.shelf.note_content(
            notes,
            ContentNote {
                name: self.fill.initiator(),
                digest: &self.fill.digest,
                is_manifest: false,
                size_bytes,
                media_type: self.source.media_type.as_ref(),
                private_to: self.source.private_to.as_deref(),
            },
        );
    }
}
