//! Fetching what will be asked for: by the same resolver and the same fills as a client's request,
//! in the plane's own name and with the lowest call on an upstream's budget.

use super::{Held, JobState, PrefetchRequest};
use crate::admin::AdminError;
use crate::candidates::{Candidate, Found, Located};
use crate::fill::FillReader;
use crate::govern;
use crate::hosted;
use crate::pipeline::{self, Brought};
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::view::View;
use futures_util::stream::{self, StreamExt};
use oci::{Descriptor, Digest, Manifest, Name, Platform, Reference, Tag};
use policy::SystemPermit;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use upstream::Class;

/// Blobs of a job that are fetched at a time.
const FETCHED_AT_A_TIME: usize = 3;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// How long a complete download may take to be committed.
const COMMIT_TIME: Duration = Duration::from_secs(60);
/// Indexes within indexes.
const DEPTH_MAX: usize = 3;

/// What a job counts: a blob that several of its images have, once.
#[derive(Default)]
struct Counts {
    blobs: HashSet<Digest>,
    done: AtomicU64,
}

/// Reads `docker.io/library/alpine:3` or `…@sha256:…` as a client would; without either, `latest`.
pub(crate) fn parse(view: &View, text: &str) -> Result<(Found, Reference), AdminError> {
    let wrong = |what: String| AdminError::Invalid(format!("reference {text:?}: {what}"));
    let (name, reference) = match text.split_once('@') {
        Some((name, digest)) => {
            // `name:tag@digest`: the digest decides.
            let name =
                name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |s| s.0);
            let digest = Digest::parse(digest).map_err(|error| wrong(error.to_string()))?;
            (name, Reference::Digest(digest))
        }
        None => match text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((name, tag)) => {
                let tag = Tag::parse(tag).map_err(|error| wrong(error.to_string()))?;
                (name, Reference::Tag(tag))
            }
            None => {
                let tag = Tag::parse("latest").map_err(|error| wrong(error.to_string()))?;
                (text, Reference::Tag(tag))
            }
        },
    };
    Name::parse(name).map_err(|error| wrong(error.to_string()))?;
    let found =
        view.routes.locate(name, None, None).map_err(|refusal| wrong(refusal.to_string()))?;
    if found.candidates.is_empty() {
        let text = format!("no member of {} is asked for this name", found.repository.name());
        return Err(wrong(text));
    }
    Ok((found, reference))
}

/// Whether a request can begin. A reference that leads nowhere is told with its item, so that a
/// list from a cluster is not refused whole for one image from elsewhere.
pub(super) fn check(request: &PrefetchRequest) -> Result<(), AdminError> {
    platforms(request).map(drop)
}

fn platforms(request: &PrefetchRequest) -> Result<Vec<Platform>, AdminError> {
    if request.platforms.is_empty() {
        return Ok(vec![own_platform()]);
    }
    let parse = |text: &String| text.parse().map_err(|error: oci::PlatformError| error.to_string());
    request.platforms.iter().map(parse).collect::<Result<_, _>>().map_err(AdminError::Invalid)
}

/// The platform this process runs on, in the words of image indexes.
fn own_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
}

/// Fetches all of it; what fails is told with the item.
pub(super) async fn run(core: &Arc<Core>, job: &Held, request: &PrefetchRequest) {
    let permit = SystemPermit::new();
    tracing::info!(decision = %permit.id(), "prefetch begins");
    let platforms = platforms(request).unwrap_or_default();
    let mut counts = Counts::default();
    // A job that goes on after a restart counts from the beginning: what it fetched is held now.
    job.change(core, |view| (view.total_bytes, view.done_bytes, view.held_bytes) = (0, 0, 0));
    for index in 0..request.references.len() {
        job.change(core, |view| view.items[index].state = JobState::Running);
        let fetched =
            item(core, job, (index, &request.references[index]), &platforms, &mut counts).await;
        job.change(core, |view| {
            let item = &mut view.items[index];
            match fetched {
                Ok(()) => item.state = JobState::Done,
                Err(problem) => {
                    item.state = JobState::Failed;
                    item.problem = Some(problem);
                }
            }
        });
    }
    job.change(core, |view| {
        let failed = view.items.iter().any(|item| item.state == JobState::Failed);
        view.state = if failed { JobState::Failed } else { JobState::Done };
        view.done_bytes = counts.done.load(Ordering::Relaxed);
    });
}

async fn item(
    core: &Arc<Core>,
    job: &Held,
    (index, text): (usize, &str),
    platforms: &[Platform],
    counts: &mut Counts,
) -> Result<(), String> {
    let view = core.view();
    let (found, reference) = parse(&view, text).map_err(|error| error.to_string())?;
    let located = match holder(core, found.candidates, &reference).await? {
        Holder::Remote(located) => located,
        Holder::Hosted(digest) => {
            job.change(core, |view| view.items[index].digest = Some(digest));
            return Ok(());
        }
    };
    let mut seen = HashSet::new();
    let mut blobs = Vec::new();
    let digest = manifests(core, &located, &reference, platforms, &mut seen, &mut blobs).await?;
    let mut total = 0;
    let mut fetches = Vec::new();
    for blob in blobs {
        let is_counted = counts.blobs.insert(blob.digest);
        total += if is_counted { blob.size_bytes } else { 0 };
        fetches.push((blob, is_counted));
    }
    job.change(core, |view| {
        view.items[index].digest = Some(digest);
        view.total_bytes += total;
    });
    let done = &counts.done;
    let fetches = fetches
        .into_iter()
        .map(|(blob, is_counted)| blob_of(core, job, &located, blob, is_counted.then_some(done)));
    let mut results = stream::iter(fetches).buffer_unordered(FETCHED_AT_A_TIME);
    let mut problem = None;
    while let Some(fetched) = results.next().await {
        if let Err(text) = fetched {
            problem.get_or_insert(text);
        }
    }
    problem.map_or(Ok(()), Err)
}

/// Who has what is to be fetched.
enum Holder {
    Remote(Located),
    /// It is hosted here: there is nothing to fetch.
    Hosted(Digest),
}

/// The candidate that clients get it from: as theirs, the search ends at one that cannot tell.
async fn holder(
    core: &Arc<Core>,
    candidates: Vec<Candidate>,
    reference: &Reference,
) -> Result<Holder, String> {
    let mut absent = None;
    for candidate in candidates {
        govern::may_fetch(core, &candidate, reference)?;
        let holder = match candidate {
            Candidate::Remote(located) => {
                let resolved = core.resolver.resolve(&located, reference, Class::Prefetch).await;
                resolved.map(|_| Holder::Remote(located))
            }
            Candidate::Hosted(hosted) => {
                let resolved = hosted::manifest(core, &hosted, reference).await;
                resolved.map(|resolved| Holder::Hosted(resolved.content.digest))
            }
        };
        match holder {
            Ok(holder) => return Ok(holder),
            Err(Refusal::Absent { reason, .. }) => absent = absent.or(Some(reason)),
            Err(refusal) => return Err(refusal.to_string()),
        }
    }
    Err(absent.unwrap_or_else(|| "nobody is asked for it".to_owned()))
}

/// Fetches a manifest and those of its children that are wanted; gathers their blobs.
async fn manifests(
    core: &Arc<Core>,
    located: &Located,
    reference: &Reference,
    platforms: &[Platform],
    seen: &mut HashSet<Digest>,
    blobs: &mut Vec<Descriptor>,
) -> Result<Digest, String> {
    let mut top = None;
    let candidate = Candidate::Remote(located.clone());
    let mut waiting = vec![(reference.clone(), 0usize)];
    while let Some((reference, depth)) = waiting.pop() {
        let resolved = core.resolver.resolve(located, &reference, Class::Prefetch).await;
        let resolved = resolved.map_err(|refusal: Refusal| refusal.to_string())?;
        let content = resolved.content;
        govern::may_fetch_parts(core, &candidate, &reference, &content).await?;
        top.get_or_insert(content.digest);
        let parsed = Manifest::parse(&content.bytes, Some(&content.media_type));
        let parsed = parsed.map_err(|error| error.to_string())?;
        blobs.extend(parsed.blobs().filter(|b| !b.is_foreign && seen.insert(b.digest)).cloned());
        let children = wanted(&parsed.manifests, platforms);
        if children.is_empty() && !parsed.manifests.is_empty() {
            let asked: Vec<String> = platforms.iter().map(ToString::to_string).collect();
            return Err(format!(
                "it has nothing for {}; name others by --platform",
                asked.join(", ")
            ));
        }
        if depth < DEPTH_MAX {
            let new = children.into_iter().filter(|child| seen.insert(*child));
            waiting.extend(new.map(|child| (Reference::Digest(child), depth + 1)));
        }
    }
    top.ok_or_else(|| "nothing was resolved".to_owned())
}

fn wanted(children: &[Descriptor], platforms: &[Platform]) -> Vec<Digest> {
    let fits = |child: &&Descriptor| match &child.platform {
        Some(has) => platforms.iter().any(|platform| platform.matches(has)),
        None => true,
    };
    children.iter().filter(fits).map(|child| child.digest).collect()
}

async fn blob_of(
    core: &Arc<Core>,
    job: &Held,
    located: &Located,
    blob: Descriptor,
    done: Option<&AtomicU64>,
) -> Result<(), String> {
    let media_type = Some(blob.media_type.clone());
    let begun = pipeline::fill(core, located, &blob.digest, media_type, Class::Prefetch).await;
    let mut reader = match begun.map_err(|refusal| refusal.to_string())? {
        Brought::Filling { reader, .. } => reader,
        Brought::Stored(_) => {
            tell(core, job, done, blob.size_bytes);
            if done.is_some() {
                job.change(core, |view| view.held_bytes += blob.size_bytes);
            }
            return Ok(());
        }
    };
    // It reads nothing: on a full disk nobody must wait for it.
    reader.step_aside();
    let mut told = 0;
    loop {
        let ended = tokio::time::timeout(TOLD_EVERY, reader.completed()).await;
        told = tell_so_far(core, job, done, &reader, told, blob.size_bytes);
        if let Ok(ended) = ended {
            let rest = blob.size_bytes.saturating_sub(told);
            tell(core, job, done, rest);
            ended.map_err(|failure| failure.text())?;
            return kept(core, &blob.digest).await;
        }
    }
}

/// Waits until a download that is complete is in the store: only then is it fetched for good.
pub(super) async fn kept(core: &Arc<Core>, digest: &Digest) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + COMMIT_TIME;
    while core.fills.is_running(digest) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    match core.shelf.blob(digest).await {
        Some(_) => Ok(()),
        None => Err("it was downloaded and not kept: the disk is full".to_owned()),
    }
}

fn tell_so_far(
    core: &Core,
    job: &Held,
    done: Option<&AtomicU64>,
    reader: &FillReader,
    told: u64,
    size_bytes: u64,
) -> u64 {
    let (so_far, _) = reader.so_far();
    let so_far = so_far.min(size_bytes).max(told);
    tell(core, job, done, so_far - told);
    so_far
}

/// Adds to what is done; `None`: another image of the job counts this blob.
fn tell(core: &Core, job: &Held, done: Option<&AtomicU64>, bytes: u64) {
    if let Some(done) = done.filter(|_| bytes > 0) {
        let now = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        job.change(core, |view| view.done_bytes = view.done_bytes.max(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_chosen_by_platform() {
        let child = |text: &str, platform: Option<&str>| Descriptor {
            media_type: oci::MediaType::OCI_MANIFEST,
            digest: Digest::sha256(text.as_bytes()),
            size_bytes: 1,
            platform: platform.map(|platform| platform.parse().unwrap()),
            artifact_type: None,
            annotations: Default::default(),
            is_foreign: false,
        };
        let children = [
            child("a", Some("linux/amd64")),
            child("b", Some("linux/arm64/v8")),
            child("c", Some("unknown/unknown")),
            child("d", None),
        ];
        let chosen = |platforms: &[&str]| {
            let platforms: Vec<Platform> = platforms.iter().map(|p| p.parse().unwrap()).collect();
            wanted(&children, &platforms).len()
        };
        assert_eq!(chosen(&["linux/arm64"]), 2);
        assert_eq!(chosen(&["linux/amd64", "linux/arm64/v8"]), 3);
        assert_eq!(chosen(&["linux/s390x"]), 1);
    }
}
