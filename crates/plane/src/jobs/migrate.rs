//! Bringing all blobs to another place while serving: copied with verification, gone on with after a
//! stop, and repeated until nothing new came meanwhile.
//!
//! What hosted names hold goes first. Each blob is hashed as it is read and has its name there only
//! when it is right; what is there already is compared, not sent again. So the job can be begun
//! again at any time, and a second run says whether the first one was whole.

use super::{Held, JobState, Reported};
use crate::admin::AdminError;
use crate::keep::Pace;
use crate::places::{place_of, told};
use crate::plane::Core;
use crate::shelf::Shelf;
use blobs::{Copied, OpenPlace, Place};
use catalog::BlobRow;
use futures_util::stream::{self, StreamExt};
use oci::Digest;
use resources::v1alpha1::StoreSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Blobs copied at a time.
const COPIED_AT_A_TIME: usize = 4;
/// Rows read at a time.
const PAGE: u32 = 500;
/// It works for one part in so many of the time, each of those that copy: others want disk and
/// network too.
const SHARE: u32 = 1;
/// Times it looks for what came meanwhile.
const PASSES_MAX: usize = 5;
/// Blobs that failed and are listed; all are counted.
const LISTED_MAX: usize = 100;
/// The longest document of a name that is copied.
const DOCUMENT_MAX_BYTES: usize = 256 << 20;

/// Where all blobs are to be brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MigrateRequest {
    /// The place.
    pub to: MigrateTo,
    /// Removes from the other places what is in this one, once all of it is and this one is written
    /// to.
    #[serde(default)]
    pub remove_source: bool,
}

/// A place to bring blobs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MigrateTo {
    /// The one that `Plane.spec.store` says.
    Configured,
    /// `blobs/` in the data directory.
    DataDir,
    /// Another, written as `Plane.spec.store` is.
    Place(Box<StoreSpec>),
}

/// The place that a request means.
pub(super) fn check(core: &Core, request: &MigrateRequest) -> Result<Place, AdminError> {
    match &request.to {
        MigrateTo::Configured => match &core.view().store {
            Some(store) => Ok(store.place.clone()),
            None => Ok(Place::DataDir),
        },
        MigrateTo::DataDir => Ok(Place::DataDir),
        MigrateTo::Place(spec) => place_of(spec).map_err(AdminError::Invalid),
    }
}

/// What is counted.
#[derive(Default)]
struct Counts {
    done_bytes: AtomicU64,
    copied: AtomicU64,
    there: AtomicU64,
    failed: AtomicU64,
}

/// Brings all of it over.
pub(super) async fn run(core: &Arc<Core>, job: &Arc<Held>, request: &MigrateRequest) {
    job.change(core, |view| {
        // It may be going on from an earlier process: it compares from the beginning.
        view.items.truncate(1);
        (view.total_bytes, view.done_bytes, view.held_bytes) = (0, 0, 0);
        view.items.iter_mut().for_each(|item| item.state = JobState::Running);
    });
    let problem = bring(core, job, request).await.err();
    if job.cancel.is_cancelled() {
        return;
    }
    job.change(core, |view| {
        view.state = if problem.is_some() { JobState::Failed } else { JobState::Done };
        let state = view.state;
        if let Some(item) = view.items.first_mut() {
            item.state = state;
            item.problem = problem;
        }
    });
}

async fn bring(core: &Arc<Core>, job: &Arc<Held>, request: &MigrateRequest) -> Result<(), String> {
    let place = check(core, request).map_err(|error| error.to_string())?;
    let to = core.shelf.blocking(move |shelf| {
        let open = shelf.store.open_place(place).map_err(|error| told(&error))?;
        open.probe().map_err(|error| told(&error))?;
        Ok::<_, String>(open)
    });
    let to =
        to.await.unwrap_or_else(|| Err("looking at the place panicked; see the log".into()))?;
    let counts = Arc::new(Counts::default());
    let mut known: BTreeSet<Digest> = BTreeSet::new();
    for pass in 0..PASSES_MAX {
        let new = everything(core, &known).await?;
        if new.is_empty() && pass > 0 {
            break;
        }
        let bytes: u64 = new.iter().map(|row| row.size_bytes).sum();
        job.change(core, |view| view.total_bytes += bytes);
        copy_all(core, job, &to, &counts, new.clone()).await;
        if job.cancel.is_cancelled() {
            return Ok(());
        }
        known.extend(new.into_iter().map(|row| row.digest));
    }
    copy_documents(core, &to).await?;
    let failed = counts.failed.load(Ordering::Relaxed);
    if failed > 0 {
        return Err(format!(
            "{failed} blobs could not be copied; what is there stays there: run it again"
        ));
    }
    let (copied, there) =
        (counts.copied.load(Ordering::Relaxed), counts.there.load(Ordering::Relaxed));
    tracing::info!(place = to.url(), copied, there, "all blobs are in the place");
    if request.remove_source {
        remove_elsewhere(core, job, &to, known).await?;
    }
    Ok(())
}

/// Blobs of the store that were not looked at yet, those of hosted names first.
async fn everything(core: &Arc<Core>, known: &BTreeSet<Digest>) -> Result<Vec<BlobRow>, String> {
    let known = known.clone();
    let read = core.shelf.blocking(move |shelf| {
        let (mut all, mut after): (Vec<BlobRow>, Option<Digest>) = (Vec::new(), None);
        loop {
            let rows = shelf.catalog.blob_rows(after.as_ref(), PAGE);
            let rows = rows.map_err(|error| error.to_string())?;
            let Some(last) = rows.last() else { break };
            after = Some(last.digest);
            all.extend(rows.into_iter().filter(|row| !known.contains(&row.digest)));
        }
        all.sort_by_key(|row| !row.is_held);
        Ok::<_, String>(all)
    });
    read.await.unwrap_or_else(|| Err("reading the catalog panicked; see the log".to_owned()))
}

async fn copy_all(
    core: &Arc<Core>,
    job: &Arc<Held>,
    to: &OpenPlace,
    counts: &Arc<Counts>,
    rows: Vec<BlobRow>,
) {
    let copies = rows.into_iter().map(|row| copy(core, job, to, counts, row));
    let mut copies = stream::iter(copies).buffer_unordered(COPIED_AT_A_TIME);
    while copies.next().await.is_some() {
        job.change(core, |view| {
            view.done_bytes = counts.done_bytes.load(Ordering::Relaxed).min(view.total_bytes);
        });
    }
}

async fn copy(
    core: &Arc<Core>,
    job: &Arc<Held>,
    to: &OpenPlace,
    counts: &Arc<Counts>,
    row: BlobRow,
) {
    if job.cancel.is_cancelled() {
        return;
    }
    let (to, counting, cancel) = (to.clone(), counts.clone(), job.cancel.clone());
    let digest = row.digest;
    let copied = core.shelf.blocking(move |shelf| {
        let mut pace = Pace::new(cancel, SHARE);
        shelf.store.copy_to(&digest, &to, |bytes| {
            counting.done_bytes.fetch_add(bytes, Ordering::Relaxed);
            pace.go_on(bytes)
        })
    });
    let problem = match copied.await {
        Some(Ok(Copied::Done)) => {
            counts.copied.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Some(Ok(Copied::AlreadyThere)) => {
            counts.there.fetch_add(1, Ordering::Relaxed);
            job.change(core, |view| view.held_bytes += row.size_bytes);
            return;
        }
        Some(Ok(Copied::Stopped)) => return,
        // Evicted or collected meanwhile: then it need not be there either.
        Some(Err(blobs::Error::Absent { .. })) if !row.is_held => return,
        Some(Err(error)) => told(&error),
        None => "copying it panicked; see the log".to_owned(),
    };
    counts.failed.fetch_add(1, Ordering::Relaxed);
    tracing::error!(%digest, problem, "a blob cannot be copied");
    job.change(core, |view| {
        if view.items.len() <= LISTED_MAX {
            let (reference, state) = (digest.to_string(), JobState::Failed);
            let digest = Some(digest);
            view.items.push(Reported { reference, digest, state, problem: Some(problem) });
        }
    });
}

/// The documents of hosted names, which lie beside the blobs.
async fn copy_documents(core: &Arc<Core>, to: &OpenPlace) -> Result<(), String> {
    let to = to.clone();
    let work = move |shelf: &Shelf| {
        for name in shelf.store.documents() {
            let name = name.map_err(|error| told(&error))?;
            let copied = shelf.store.copy_document_to(&name, DOCUMENT_MAX_BYTES, &to);
            copied.map_err(|error| format!("the document of {name}: {}", told(&error)))?;
        }
        Ok(())
    };
    let done = core.shelf.blocking(work).await;
    done.unwrap_or_else(|| Err("copying the documents of names panicked; see the log".to_owned()))
}

async fn remove_elsewhere(
    core: &Arc<Core>,
    job: &Arc<Held>,
    to: &OpenPlace,
    digests: BTreeSet<Digest>,
) -> Result<(), String> {
    if !core.shelf.store.is_first(to) {
        return Err(format!(
            "all blobs are in {}; nothing was removed elsewhere, because blobs are still written to \
             {}: set spec.store of Plane first, then run it again",
            to.url(),
            core.shelf.store.places().first().cloned().unwrap_or_default(),
        ));
    }
    let (to, cancel) = (to.clone(), job.cancel.clone());
    let work = move |shelf: &Shelf| {
        let mut removed = 0u64;
        for digest in digests {
            if cancel.is_cancelled() {
                break;
            }
            match shelf.store.remove_elsewhere(&digest, &to) {
                Ok(was_there) => removed += u64::from(was_there),
                Err(blobs::Error::Absent { .. }) => {}
                Err(error) => return Err(format!("{digest} elsewhere: {}", told(&error))),
            }
        }
        tracing::info!(removed, "removed what the place has from the others");
        Ok(())
    };
    let done = core.shelf.blocking(work).await;
    done.unwrap_or_else(|| Err("removing panicked; see the log".to_owned()))
}
