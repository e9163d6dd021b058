//! The blobs of a manifest: through the shared fills into the store, then a row of the destination.

use super::Work;
use super::name::Named;
use super::source::{Trouble, patiently, wait_of};
use crate::fill::{Boarding, FillFailure, FillReader, FillSource};
use crate::hosted;
use crate::jobs::moving::to_end;
use crate::jobs::prefetch::kept;
use crate::refusal::Refusal;
use catalog::Batch;
use futures_util::stream::{self, StreamExt};
use oci::{Descriptor, Manifest};
use std::collections::HashSet;
use std::time::Duration;
use upstream::{Class, FailureKind};

/// Blobs of one manifest that are brought at a time.
const BLOBS_AT_A_TIME: usize = 3;
/// Times a blob is looked for again that was taken away, or whose download was another's and ended.
const ATTEMPTS: usize = 20;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// How long a download that ends may take to end, and the wait where too many are under way.
const WAIT: Duration = Duration::from_secs(1);

/// Brings the blobs of a manifest that the destination lacks. All are tried before one that failed
/// is told.
pub(super) async fn bring_all(
    work: &Work<'_>,
    named: &Named<'_>,
    manifest: &Manifest,
) -> Result<(), Trouble> {
    let mut seen = HashSet::new();
    let wanted: Vec<Descriptor> = manifest
        .blobs()
        .filter(|blob| !blob.may_be_elsewhere() && seen.insert(blob.digest))
        .cloned()
        .collect();
    let each = wanted.into_iter().map(|blob| bring(work, named, blob));
    let mut results = stream::iter(each).buffer_unordered(BLOBS_AT_A_TIME);
    let mut trouble = None;
    while let Some(brought) = results.next().await {
        if let Err(this) = brought {
            trouble.get_or_insert(this);
        }
    }
    trouble.map_or(Ok(()), |trouble| {
        // A manifest whose blob is absent is itself not absent.
        Err(Trouble { is_absent: false, ..trouble })
    })
}

async fn bring(work: &Work<'_>, named: &Named<'_>, blob: Descriptor) -> Result<(), Trouble> {
    let (core, digest) = (work.moving.core, blob.digest);
    if let Some(row) = core.shelf.known_content(&named.to.name, &digest).await?
        && row.size_bytes.is_some()
    {
        return Ok(());
    }
    let is_counted = named.counted.lock().insert(digest);
    let size_bytes = if is_counted { blob.size_bytes } else { 0 };
    work.moving.more_bytes(size_bytes);
    for _ in 0..ATTEMPTS {
        if let Some(why) = work.halted.get() {
            return Err(why.clone().into());
        }
        if core.shelf.known_blob(&digest).await?.is_some() {
            // By another name: the source has to have it, too.
            has(work, named, &blob).await?;
            work.moving.done_bytes(size_bytes, true);
        } else {
            fetch(work, named, &blob, size_bytes).await?;
        }
        let (to, media_type, own) = (named.to.clone(), blob.media_type.clone(), core.clone());
        let keep = async move { hosted::keep(&own, &to, &digest, Some(media_type)).await };
        match to_end(keep).await {
            Ok(true) => {
                let mut batch = Batch::new();
                batch.drop_content(&named.staging, &digest);
                core.shelf.submit(batch);
                core.shelf.memory.forget_content(&named.staging, &digest);
                return Ok(());
            }
            Ok(false) => {}
            Err(refusal) => {
                // A blob is denied when the quota is used up: what follows would be, too.
                if let Refusal::Denied(denial) = &refusal {
                    let _ = work.halted.set(denial.to_string());
                }
                return Err(refusal.into());
            }
        }
    }
    Err(format!("{digest} was taken away again and again while it was copied").into())
}

/// That the source has a blob under this name.
async fn has(work: &Work<'_>, named: &Named<'_>, blob: &Descriptor) -> Result<(), Trouble> {
    let upstream = &work.source.upstream;
    patiently(|| upstream.head_blob(named.from, &blob.digest, Class::Prefetch)).await?;
    Ok(())
}

/// Downloads a blob into the store. `counted_bytes`: what it counts in the job's progress.
async fn fetch(
    work: &Work<'_>,
    named: &Named<'_>,
    blob: &Descriptor,
    counted_bytes: u64,
) -> Result<(), Trouble> {
    let core = work.moving.core;
    for _ in 0..ATTEMPTS {
        let (reader, is_own) =
            match core.fills.join_or_start(&blob.digest, source(work, named, blob)) {
                Boarding::Begun(reader) => (reader, true),
                Boarding::Joined(reader) => {
                    let is_own = reader.is_begun_for(&named.staging);
                    (reader, is_own)
                }
                Boarding::Unvouched(fill) => {
                    has(work, named, blob).await?;
                    fill.vouch(&named.staging);
                    continue;
                }
                Boarding::Parking(fill) => {
                    let _ = tokio::time::timeout(WAIT, fill.ended()).await;
                    continue;
                }
                Boarding::Full => {
                    tokio::time::sleep(WAIT).await;
                    continue;
                }
            };
        match follow(work, reader, counted_bytes).await {
            Ok(()) => return Ok(kept(core, &blob.digest).await?),
            Err(FillFailure::Stored) => return Ok(()),
            Err(FillFailure::Parked) => {}
            Err(FillFailure::Upstream(failure)) if failure.is_rate_limit() => {
                tokio::time::sleep(wait_of(&failure)).await;
            }
            Err(_) if !is_own => {}
            Err(failure) => {
                let is_absent = matches!(
                    &failure,
                    FillFailure::Upstream(failure) if failure.kind() == FailureKind::Absent
                );
                return Err(Trouble { text: failure.text(), is_absent });
            }
        }
    }
    Err(format!("the download of {} does not come to its end", blob.digest).into())
}

fn source(work: &Work<'_>, named: &Named<'_>, blob: &Descriptor) -> FillSource {
    FillSource {
        upstream: work.source.upstream.clone(),
        upstream_label: work.source.label.clone(),
        upstream_name: named.from.clone(),
        name: named.staging.clone(),
        private_to: work.source.upstream.credential_scope(named.from),
        media_type: Some(blob.media_type.clone()),
        class: Class::Prefetch,
    }
}

/// Waits for a download, and tells how far it is.
async fn follow(
    work: &Work<'_>,
    mut reader: FillReader,
    counted_bytes: u64,
) -> Result<(), FillFailure> {
    // It reads nothing: on a full disk nobody must wait for it.
    reader.step_aside();
    let mut told = 0;
    loop {
        let ended = tokio::time::timeout(TOLD_EVERY, reader.completed()).await;
        let so_far = match &ended {
            Ok(Ok(())) => counted_bytes,
            _ => reader.so_far().0.min(counted_bytes).max(told),
        };
        work.moving.done_bytes(so_far - told, false);
        told = so_far;
        if let Ok(ended) = ended {
            return ended;
        }
    }
}
