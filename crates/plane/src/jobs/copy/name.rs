//! One repository of the source: its tags beside those of the destination.

use super::Work;
use super::source::{Trouble, patiently};
use super::tree::{self, Errand};
use crate::candidates::HostedName;
use crate::jobs::moving::{MoveKind, MoveLine};
use crate::shelf::Shelf;
use futures_util::stream::{self, StreamExt};
use oci::{Digest, Name, Reference, Tag};
use parking_lot::Mutex;
use std::collections::HashSet;
use upstream::{Class, FailureKind};

/// Tags that are worked on at a time.
const TAGS_AT_A_TIME: usize = 4;
/// Tags of the destination read at a time.
const PAGE: u32 = 1000;

/// A repository that is copied.
pub(super) struct Named<'w> {
    /// Its name at the source.
    pub(super) from: &'w Name,
    pub(super) to: HostedName,
    /// Its tags at the source.
    pub(super) tags: HashSet<Tag>,
    /// The name for which downloads are begun: none of a repository.
    pub(super) staging: Name,
    /// Manifests that are there with all that refers to them.
    pub(super) finished: Mutex<HashSet<Digest>>,
    /// Blobs whose bytes are counted.
    pub(super) counted: Mutex<HashSet<Digest>>,
}

/// What became of a tag.
enum Became {
    Same,
    Moved,
    Differs { here: Digest, there: Digest },
}

/// Copies a repository; what fails is told.
pub(super) async fn copy(work: &Work<'_>, from: &Name) {
    let mut named = match named(work, from) {
        Ok(named) => named,
        Err(problem) => return work.moving.failed(from, None, problem),
    };
    let upstream = &work.source.upstream;
    let there = match patiently(|| upstream.tags(from, Class::Prefetch)).await {
        Ok(tags) => tags,
        Err(failure) => return work.moving.failed(from, None, failure.to_string()),
    };
    match only_here(work, &named.to.name, &there).await {
        Ok(count) => work.moving.tell(|report| report.only_here += count),
        Err(problem) => return work.moving.failed(from, None, problem),
    }
    named.tags = there.into_iter().collect();
    let each = named.tags.iter().cloned().map(|tag| one(work, &named, tag));
    stream::iter(each).buffer_unordered(TAGS_AT_A_TIME).collect::<Vec<()>>().await;
}

fn named<'w>(work: &Work<'_>, from: &'w Name) -> Result<Named<'w>, String> {
    let to = work.to.of(&work.moving.core.view(), from)?;
    // `metadata.name` has no underscore, so no repository is named so. One per name, because what a
    // download is begun for is what the source said of this name.
    let of = Digest::sha256(format!("{} {from}", work.source.label).as_bytes()).hex();
    let staging = Name::parse(&format!("copy__from/{}", &of[..32]));
    Ok(Named {
        from,
        to,
        tags: HashSet::new(),
        staging: staging.map_err(|error| error.to_string())?,
        finished: Mutex::default(),
        counted: Mutex::default(),
    })
}

/// How many tags the destination has that the source has not.
async fn only_here(work: &Work<'_>, name: &Name, there: &[Tag]) -> Result<u64, String> {
    let there: HashSet<Tag> = there.iter().cloned().collect();
    let name = name.clone();
    let count = move |shelf: &Shelf| -> Result<u64, catalog::Error> {
        let (mut count, mut after) = (0, None::<Tag>);
        loop {
            let page = shelf.catalog.tags(&name, after.as_ref().map(Tag::as_str), PAGE)?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some(last.clone());
            count += page.iter().filter(|tag| !there.contains(*tag)).count() as u64;
        }
    };
    match work.moving.core.shelf.blocking(count).await {
        Some(Ok(count)) => Ok(count),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("a read of the catalog panicked; see the log".to_owned()),
    }
}

async fn one(work: &Work<'_>, named: &Named<'_>, tag: Tag) {
    let became = match work.halted.get() {
        Some(why) => Err(Trouble::from(why.clone())),
        None => Box::pin(bring(work, named, &tag)).await,
    };
    match became {
        Ok(Became::Same) => work.moving.tell(|report| report.same += 1),
        Ok(Became::Moved) => work.moving.tell(|report| report.moved += 1),
        Ok(Became::Differs { here, there }) => work.moving.line(MoveLine {
            kind: MoveKind::Differs,
            name: named.from.to_string(),
            what: Some(tag.to_string()),
            here: Some(here),
            there: Some(there),
            why: None,
        }),
        Err(trouble) => {
            work.moving.failed(named.from, Some(tag.to_string()), trouble.text);
        }
    }
}

async fn bring(work: &Work<'_>, named: &Named<'_>, tag: &Tag) -> Result<Became, Trouble> {
    let there = digest_of(work, named, tag).await?;
    let here = work.moving.core.shelf.known_tag(&named.to.name, tag).await?;
    let (became, tags) = match here.map(|state| state.digest) {
        Some(here) if here == there => (Became::Same, Vec::new()),
        Some(here) if !work.is_update => return Ok(Became::Differs { here, there }),
        _ => (Became::Moved, vec![tag.clone()]),
    };
    if work.is_dry {
        return Ok(became);
    }
    // Also of what is the same: something may refer to it since, and an earlier copy may have been
    // stopped before it came to that.
    let mut visited = HashSet::new();
    tree::bring(work, named, Errand { digest: there, tags, depth: 0 }, &mut visited).await?;
    Ok(became)
}

/// What a tag names at the source. Not every registry answers HEAD, or says the digest.
async fn digest_of(work: &Work<'_>, named: &Named<'_>, tag: &Tag) -> Result<Digest, Trouble> {
    let (upstream, reference) = (&work.source.upstream, Reference::Tag(tag.clone()));
    let ask = || upstream.head_manifest(named.from, &reference, Class::Prefetch);
    match patiently(ask).await {
        Ok(head) if head.digest.is_some() => {
            head.digest.ok_or_else(|| "the source says no digest".to_owned().into())
        }
        Err(failure) if failure.kind() == FailureKind::Absent => Err(failure.into()),
        Ok(_) | Err(_) => {
            let ask = || upstream.manifest(named.from, &reference, Class::Prefetch);
            Ok(patiently(ask).await?.digest)
        }
    }
}
