//! Reading what the store has and holding it against its digests: disks rot, and no hit pays for
//! looking.

use super::{Held, JobState, Reported, parse_reference};
use crate::admin::AdminError;
use crate::candidates::Candidate;
use crate::keep::Pace;
use crate::plane::Core;
use crate::shelf::Shelf;
use crate::view::View;
use blobs::{Error, Verdict};
use catalog::CacheFilter;
use oci::{Digest, Manifest, Reference};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Blobs of one job.
const BLOBS_MAX: usize = 2_000_000;
/// Damaged blobs that are listed; all are counted.
const LISTED_MAX: usize = 100;
/// Rows read at a time.
const PAGE: u32 = 1000;
/// It reads for at most one part in so many of the time: others want the disk too.
const SHARE: u32 = 2;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// What is to be read and held against its digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VerifyRequest {
    /// Everything in the store.
    All,
    /// One blob or manifest.
    Digest(Digest),
    /// An image, as clients write it: its manifests and all they list, as far as the store has it.
    Reference(String),
    /// All that names of one `Repository` hold (`metadata.name`).
    Repository(String),
}

/// Whether the request can be read; gives the words for what it is about.
pub(super) fn check(view: &View, request: &VerifyRequest) -> Result<String, AdminError> {
    match request {
        VerifyRequest::All => Ok("the store".to_owned()),
        VerifyRequest::Digest(digest) => Ok(digest.to_string()),
        VerifyRequest::Reference(text) => parse_reference(view, text).map(|_| text.clone()),
        VerifyRequest::Repository(name) => {
            let is_known = view.repositories.iter().any(|known| known.name().as_str() == name);
            let unknown = || AdminError::NotFound(format!("there is no Repository {name:?}"));
            is_known.then(|| name.clone()).ok_or_else(unknown)
        }
    }
}

/// Reads all of it, one blob at a time.
pub(super) async fn run(core: &Arc<Core>, job: &Arc<Held>, request: &VerifyRequest) {
    job.change(core, |view| {
        // It may be going on from an earlier process: it begins again.
        view.items.truncate(1);
        (view.total_bytes, view.done_bytes) = (0, 0);
        if let Some(item) = view.items.first_mut() {
            item.state = JobState::Running;
        }
    });
    let problem = match wanted(core, request).await {
        Ok(wanted) => read_all(core, job, request, wanted).await,
        Err(problem) => Some(problem),
    };
    job.change(core, |view| {
        view.state = if problem.is_some() { JobState::Failed } else { JobState::Done };
        let state = view.state;
        if let Some(item) = view.items.first_mut() {
            item.state = state;
            item.problem = problem;
        }
    });
}

/// The digests, each once, with their lengths as far as they are known.
async fn wanted(core: &Arc<Core>, request: &VerifyRequest) -> Result<Vec<(Digest, u64)>, String> {
    let shelf = &core.shelf;
    let found = match request {
        VerifyRequest::All => shelf.blocking(of_store).await,
        VerifyRequest::Digest(digest) => {
            let digest = *digest;
            let size = move |shelf: &Shelf| shelf.catalog.blob_size(&digest).ok().flatten();
            let size_bytes = shelf.blocking(size).await.flatten();
            Some(Ok(vec![(digest, size_bytes.unwrap_or(0))]))
        }
        VerifyRequest::Repository(name) => {
            let name = name.clone();
            shelf.blocking(move |shelf| of_repository(shelf, name)).await
        }
        VerifyRequest::Reference(text) => Some(of_reference(core, text).await),
    };
    let mut found = found.ok_or_else(|| "looking for it panicked; see the log".to_owned())??;
    let mut seen = HashSet::new();
    found.retain(|(digest, _)| seen.insert(*digest));
    Ok(found)
}

fn of_store(shelf: &Shelf) -> Result<Vec<(Digest, u64)>, String> {
    let found: Result<Vec<_>, Error> = shelf.store.walk().take(BLOBS_MAX).collect();
    found.map_err(|error| error.to_string())
}

fn of_repository(shelf: &Shelf, name: String) -> Result<Vec<(Digest, u64)>, String> {
    let filter = CacheFilter { repository: Some(name), ..CacheFilter::default() };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let rows = shelf.catalog.cached(&filter, after.as_ref(), PAGE);
        let rows = rows.map_err(|error| error.to_string())?;
        let Some(last) = rows.last().filter(|_| found.len() < BLOBS_MAX) else { return Ok(found) };
        after = Some(last.cursor());
        let present = rows.iter().filter(|row| row.present);
        found.extend(present.map(|row| (row.digest, row.size_bytes.unwrap_or(0))));
    }
}

/// From what is known here; no upstream is asked.
async fn of_reference(core: &Arc<Core>, text: &str) -> Result<Vec<(Digest, u64)>, String> {
    let view = core.view();
    let (found, reference) = parse_reference(&view, text).map_err(|error| error.to_string())?;
    let top = match reference {
        Reference::Digest(digest) => digest,
        Reference::Tag(tag) => {
            let mut known = None;
            for candidate in &found.candidates {
                if known.is_none() {
                    known = match candidate {
                        Candidate::Remote(located) => core.shelf.tag(&located.name, &tag).await,
                        Candidate::Hosted(hosted) => {
                            let known = core.shelf.known_tag(&hosted.name, &tag).await;
                            known.map_err(|refusal| refusal.to_string())?
                        }
                    };
                }
            }
            known.ok_or_else(|| "the cache does not hold it".to_owned())?.digest
        }
    };
    let (mut found, mut waiting, mut seen) = (Vec::new(), vec![top], HashSet::from([top]));
    while let Some(digest) = waiting.pop() {
        let Some(content) = core.shelf.manifest(&digest).await else {
            found.push((digest, 0));
            continue;
        };
        found.push((digest, content.bytes.len() as u64));
        let parsed = Manifest::parse(&content.bytes, Some(&content.media_type));
        let parsed = parsed.map_err(|error| error.to_string())?;
        let blobs = parsed.blobs().filter(|blob| !blob.is_foreign);
        found.extend(blobs.map(|blob| (blob.digest, blob.size_bytes)));
        let children = parsed.manifests.iter().map(|child| child.digest);
        waiting.extend(children.filter(|child| seen.insert(*child)));
        if found.len() > BLOBS_MAX {
            return Err(format!("it has more than {BLOBS_MAX} blobs"));
        }
    }
    Ok(found)
}

/// Gives what is wrong, if something is.
async fn read_all(
    core: &Arc<Core>,
    job: &Arc<Held>,
    request: &VerifyRequest,
    wanted: Vec<(Digest, u64)>,
) -> Option<String> {
    let total_bytes = wanted.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
    job.change(core, |view| view.total_bytes = total_bytes);
    let (mut read, mut damaged, mut unreadable, mut done_bytes) = (0u64, 0u64, 0u64, 0u64);
    for (digest, size_bytes) in wanted {
        let problem = match read_one(core, job, digest, done_bytes).await {
            Ok(Verdict::Sound) => None,
            Ok(Verdict::Damaged) => {
                damaged += 1;
                Some(damage(core, digest).await)
            }
            Ok(Verdict::Stopped) => return Some("stopped".to_owned()),
            // Not fetched yet, or evicted meanwhile.
            Err(Error::Absent { .. }) if !matches!(request, VerifyRequest::Digest(_)) => None,
            Err(Error::Absent { .. }) => return Some("the store does not have it".to_owned()),
            Err(error) => {
                unreadable += 1;
                tracing::error!(%digest, error = &error as &dyn std::error::Error, "a blob cannot be checked");
                Some("it cannot be read; see the log".to_owned())
            }
        };
        read += 1;
        done_bytes = done_bytes.saturating_add(size_bytes);
        job.change(core, |view| {
            view.done_bytes = done_bytes;
            if problem.is_some() && view.items.len() <= LISTED_MAX {
                let (reference, state) = (digest.to_string(), JobState::Failed);
                view.items.push(Reported { reference, digest: Some(digest), state, problem });
            }
        });
    }
    (damaged + unreadable > 0).then(|| {
        format!("of {read} blobs, {damaged} were damaged and {unreadable} could not be read")
    })
}

/// What became of a damaged blob.
async fn damage(core: &Arc<Core>, digest: Digest) -> String {
    let holders = core.shelf.blocking(move |shelf| shelf.hosted_holders(&digest)).await;
    match holders {
        Some(Ok(holders)) if holders.is_empty() => {
            "damaged: removed, and fetched again when it is asked for".to_owned()
        }
        Some(Ok(holders)) => {
            let name = holders.first().map_or_else(String::new, |name| format!(" in {name}"));
            format!(
                "damaged: it is hosted{name}, so nobody can fetch it again. Its bytes are put aside \
                 as {}.damaged; push it again or restore the store from a backup",
                digest.hex()
            )
        }
        _ => format!("damaged: its bytes are put aside as {}.damaged", digest.hex()),
    }
}

async fn read_one(
    core: &Arc<Core>,
    job: &Arc<Held>,
    digest: Digest,
    done_bytes: u64,
) -> Result<Verdict, Error> {
    let (told_to, job) = (core.clone(), job.clone());
    let work = move |shelf: &Shelf| {
        let mut pace = Pace::new(job.cancel.clone(), SHARE);
        let (mut read_bytes, mut told) = (0u64, Instant::now());
        shelf.check_blob(&digest, |bytes| {
            read_bytes += bytes;
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                job.change(&told_to, |view| view.done_bytes = done_bytes + read_bytes);
            }
            pace.go_on(bytes)
        })
    };
    // A panic in there is logged by the runtime; the job says that it did not get to the end.
    core.shelf.blocking(work).await.unwrap_or(Ok(Verdict::Stopped))
}
