//! One name: what of it goes, and taking that away.
//!
//! Marking and removing are two steps with pushes and pulls between them. What makes them fit is the
//! number of the name's last change: the catalog removes only what was marked under the number that
//! still stands, and nothing that was used since ([`catalog::Batch::collect`]). A name that never
//! stands still is collected too: then each thing is judged again where it is removed
//! ([`catalog::Batch::collect_judged`]).

#[cfg(test)]
mod tests;

use super::report::{GcKept, GoneContent, GoneTag, OfName};
use super::retention::{self, Tags};
use crate::candidates::HostedName;
use crate::clock;
use crate::keep::Keep;
use crate::shelf::Shelf;
use catalog::{Batch, Collection, Dead, DeadWhy, MarkQuery, Marked, TagEntry, WriteError};
use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Tags of one name that are held against retention rules, and the page they are read by.
const TAGS_MAX: usize = 500_000;
const TAGS_PAGE: u32 = 5_000;
/// Contents and tags taken from a name by one write: others wait for the writer meanwhile.
const DEAD_MAX: u32 = 2_000;
const DOOMED_MAX: usize = 2_000;
/// Contents of a name that a run which removes nothing looks at.
const DRY_MAX: u32 = 1_000_000;
/// How often a name that changes meanwhile is marked again before its things are judged one by one.
const TRIES: usize = 2;
/// A use is noted once a minute: it may have been so much later than it says.
const USE_COARSENESS: Duration = Duration::from_secs(60);

/// One hosted name, with what its repository says of it.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) of: HostedName,
    /// Tags of it that are pinned by command.
    pub(super) pinned: Vec<Tag>,
}

/// How long what nothing needs is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Manifests that no tag leads to; `None`: as the repository says.
    pub(super) untagged_for: Option<Duration>,
    /// Blobs that no manifest lists.
    pub(super) blobs_unused_for: Duration,
    /// Whether nothing is to be removed.
    pub(super) is_dry: bool,
}

/// What became of a name.
pub(super) enum Fate {
    /// This went, or would go.
    Looked(OfName),
    /// It changed again and again meanwhile, and nothing of it could be judged.
    Skipped(OfName),
}

/// Marks one name and takes away what goes.
pub(super) async fn collect(
    keep: &Arc<Keep>,
    shelf: &Arc<Shelf>,
    subject: &Subject,
    terms: Terms,
) -> Result<Fate, String> {
    let mut all = OfName::default();
    let mut tries = 0;
    loop {
        let (keep, asked) = (keep.clone(), subject.clone());
        let is_judged = tries >= TRIES;
        let unwritten = move |of: &HashSet<Digest>| keep.uses_unwritten(of);
        let look = move |shelf: &Shelf| look(shelf, &asked, terms, is_judged, unwritten);
        let looked = shelf.blocking(look).await;
        let looked = looked.ok_or("looking at it panicked; see the log")?;
        // Asked after the read: a fresh catalog does not know yet what its names need.
        if shelf.is_incomplete() {
            return Err("the catalog is being rebuilt from the store".to_owned());
        }
        let (of, collection, is_all) = match looked.map_err(|error| error.to_string())? {
            Looked::Gone => {
                all.kept = GcKept::default();
                return Ok(Fate::Looked(all));
            }
            Looked::Found { of, collection, is_all } => (of, collection, is_all),
            Looked::Changing if !is_judged => {
                tries += 1;
                continue;
            }
            Looked::Changing => return Ok(Fate::Skipped(all)),
        };
        all.kept = of.kept;
        if of.is_empty() || terms.is_dry {
            all.is_cut = !is_all;
            all.add(*of);
            return Ok(Fate::Looked(all));
        }
        match take(shelf, collection, is_judged).await {
            Ok(()) if is_judged => {
                let (wanted, name) = (of.len(), subject.of.name.clone());
                let gone = shelf.blocking(move |shelf| gone(shelf, &name, *of)).await;
                let gone = gone.ok_or("looking at it panicked; see the log")?;
                let is_moving = gone.len() < wanted;
                all.add(gone);
                // What lives again would be looked at for ever.
                if is_moving {
                    return Ok(Fate::Looked(all));
                }
            }
            Ok(()) => all.add(*of),
            Err(WriteError::Conflict) if !is_judged => {
                tries += 1;
                continue;
            }
            Err(WriteError::Conflict) => return Ok(Fate::Skipped(all)),
            Err(error) => return Err(error.to_string()),
        }
        if is_all {
            return Ok(Fate::Looked(all));
        }
    }
}

/// Removes what was marked. Goes on when whoever waits does not: memory must follow the catalog.
async fn take(
    shelf: &Arc<Shelf>,
    collection: Collection,
    is_judged: bool,
) -> Result<(), WriteError> {
    let shelf = shelf.clone();
    let work = tokio::spawn(async move {
        let mut batch = Batch::new();
        match is_judged {
            true => batch.collect_judged(&collection),
            false => batch.collect(&collection),
        }
        shelf.catalog.submit(batch).await?;
        let tags: Vec<Tag> = collection.tags.into_iter().map(|(tag, _)| tag).collect();
        let digests: Vec<Digest> = collection.contents.into_iter().map(|(it, _)| it).collect();
        shelf.withdraw(&collection.name, &tags, &digests);
        Ok(())
    });
    work.await.unwrap_or_else(|error| Err(WriteError::Refused(error.to_string())))
}

/// What of it is really gone. Blocks.
fn gone(shelf: &Shelf, name: &Name, mut of: OfName) -> OfName {
    let content = |digest: &Digest| shelf.catalog.content(name, digest);
    of.contents.retain(|it| matches!(content(&it.digest), Ok(None)));
    let tag = |tag: &Tag| shelf.catalog.tag(name, tag);
    of.tags.retain(|it| !matches!(tag(&it.tag), Ok(Some(row)) if row.digest == it.digest));
    of
}

/// What a look at a name found.
enum Looked {
    Found {
        of: Box<OfName>,
        collection: Collection,
        /// Nothing more goes than this.
        is_all: bool,
    },
    /// It was changed while it was looked at.
    Changing,
    /// Nothing is left of it.
    Gone,
}

/// What of a name goes now. `is_judged`: it is judged again when it is taken, so that a change
/// meanwhile does no harm. `unwritten`: which of these were used as only memory knows. Blocks.
fn look(
    shelf: &Shelf,
    subject: &Subject,
    terms: Terms,
    is_judged: bool,
    unwritten: impl Fn(&HashSet<Digest>) -> HashSet<Digest>,
) -> Result<Looked, catalog::Error> {
    let now = shelf.clock.now();
    let Some(change) = shelf.catalog.name_change(&subject.of.name)? else {
        return Ok(Looked::Gone);
    };
    let tags = tags_of(shelf, subject)?;
    let nothing = HashSet::new();
    let (mut of, mut marked) = mark(shelf, subject, terms, (now, &tags, &nothing))?;
    // What was used and is not in the catalog yet is looked for only where something would go.
    let contents = of.contents.iter().map(|gone| gone.digest);
    let wanted: HashSet<Digest> = contents.chain(of.tags.iter().map(|gone| gone.digest)).collect();
    if !wanted.is_empty() {
        let recent = unwritten(&wanted);
        if !recent.is_empty() {
            (of, marked) = mark(shelf, subject, terms, (now, &tags, &recent))?;
        }
    }
    // A tag that moved since it was held against the rules is another tag.
    if marked.change != change && !is_judged {
        return Ok(Looked::Changing);
    }
    let collection = marked.collection(&subject.of.name, now);
    let is_all = !of.is_cut;
    Ok(Looked::Found { of: Box::new(of), collection, is_all })
}

/// The tags that retention may take, if a rule speaks of the name at all: not those that belong to
/// something that is here, which go and stay with it.
fn tags_of(shelf: &Shelf, subject: &Subject) -> Result<Vec<TagEntry>, catalog::Error> {
    let mut tags: Vec<TagEntry> = Vec::new();
    let Some(below) = subject.of.below() else { return Ok(tags) };
    if !subject.of.hosted.retention.iter().any(|rule| rule.covers_name(&below)) {
        return Ok(tags);
    }
    let mut after: Option<Tag> = None;
    loop {
        let page = shelf.catalog.tag_entries(&subject.of.name, after.as_ref(), TAGS_PAGE)?;
        let Some(last) = page.last() else { return Ok(tags) };
        after = Some(last.tag.clone());
        for entry in page {
            let of = entry.tag.evidence_of().map(|(of, _)| of);
            let belongs = match of {
                Some(of) => shelf.catalog.content(&subject.of.name, &of)?.is_some(),
                None => false,
            };
            if !belongs {
                tags.push(entry);
            }
        }
        if tags.len() > TAGS_MAX {
            tracing::error!(
                name = %subject.of.name,
                "it has more than {TAGS_MAX} tags: retention leaves them alone"
            );
            return Ok(Vec::new());
        }
    }
}

fn mark(
    shelf: &Shelf,
    subject: &Subject,
    terms: Terms,
    (now, entries, recent): (Timestamp, &[TagEntry], &HashSet<Digest>),
) -> Result<(OfName, Marked), catalog::Error> {
    let HostedName { repository, hosted, name } = &subject.of;
    let (mut gone, mut kept) = (Vec::new(), GcKept::default());
    if let Some(below) = subject.of.below() {
        let is_pinned = |entry: &TagEntry| {
            subject.pinned.contains(&entry.tag) || repository.pins(name, entry.tag.as_str())
        };
        let tags = Tags { below: &below, entries, now, recent };
        (gone, kept) = retention::doomed(&hosted.retention, &tags, is_pinned);
    }
    let is_cut = !terms.is_dry && gone.len() > DOOMED_MAX;
    if is_cut {
        gone.truncate(DOOMED_MAX);
    }
    let doomed: HashSet<Tag> = gone.iter().map(|gone| gone.tag.clone()).collect();
    let untagged_for = terms.untagged_for.or(hosted.untagged.0);
    let query = MarkQuery {
        untagged_since: untagged_for.map_or(Timestamp::MIN, |age| unused_since(now, age)),
        blob_since: unused_since(now, terms.blobs_unused_for),
        recent,
        doomed_tags: &doomed,
        limit: if terms.is_dry { DRY_MAX } else { DEAD_MAX },
    };
    let marked = shelf.catalog.mark(name, &query)?;
    let mut rules: HashMap<Tag, String> =
        gone.into_iter().map(|gone| (gone.tag, gone.why)).collect();
    let tags = marked.dead_tags.iter().map(|(tag, digest)| {
        let why = rules.remove(tag).unwrap_or_else(|| "what it speaks of goes".to_owned());
        GoneTag { tag: tag.clone(), digest: *digest, why }
    });
    let tags = tags.collect();
    let contents = marked.dead.iter().map(gone_content).collect();
    kept = GcKept {
        tags: marked.kept.tags,
        manifests: marked.kept.manifests,
        untagged_manifests: marked.kept.untagged,
        blobs: marked.kept.blobs,
        unlisted_blobs: marked.kept.unlisted,
        ..kept
    };
    let of = OfName { tags, contents, kept, is_cut: is_cut || marked.cut };
    Ok((of, marked))
}

/// The time of a last use that is too long ago. Nothing is kept for no time at all.
fn unused_since(now: Timestamp, age: Duration) -> Timestamp {
    clock::before(now, age + age.min(USE_COARSENESS))
}

fn gone_content(dead: &Dead) -> GoneContent {
    GoneContent {
        digest: dead.digest,
        is_manifest: dead.is_manifest,
        size_bytes: dead.size_bytes,
        last_used: dead.last_used,
        why: match dead.why {
            DeadWhy::Untagged => "no tag leads to it",
            DeadWhy::SubjectGone => "what it refers to is gone, and no tag leads to it",
            DeadWhy::Unreferenced => "no manifest lists it",
        },
    }
}
