//! The mark of one name: which of its hosted content nothing needs.
//!
//! Reachability from roots (McCarthy's mark, 1960), never counting: so manifests that keep each other
//! alive in a ring die with the ring. The manifests of the name are in memory; blobs are streamed, and
//! of the live ones only eight bytes each are kept. Two blobs with the same eight bytes keep each
//! other, which errs on the safe side.

use super::names;
use crate::columns::*;
use crate::hosted::{Dead, DeadWhy, Kept, MarkQuery, Marked};
use jiff::Timestamp;
use oci::{Digest, Name, Reference, Tag};
use rusqlite::{CachedStatement, Connection, Result, params};
use std::collections::{HashMap, HashSet};

pub(crate) const MANIFESTS: &str = "SELECT c.digest, c.last_used, c.size_bytes, c.is_hosted, \
    m.subject FROM content c LEFT JOIN manifest m ON m.digest = c.digest \
    WHERE c.name = $1 AND c.is_manifest = 1 ORDER BY c.digest";
pub(crate) const TAGS: &str = "SELECT tag, digest FROM tag WHERE name = $1 ORDER BY tag";
pub(crate) const PINS: &str = "SELECT reference FROM pin WHERE name = $1";
pub(crate) const LISTED: &str = "SELECT child FROM edge WHERE parent = $1";
pub(crate) const BLOBS: &str = "SELECT digest, last_used, size_bytes FROM content \
    WHERE name = $1 AND is_manifest = 0 AND is_hosted = 1 ORDER BY digest";

/// Names a manifest of the graph.
type Index = usize;

struct Node {
    digest: Digest,
    last_used: Timestamp,
    size_bytes: u64,
    is_hosted: bool,
    has_subject: bool,
    is_alive: bool,
}

/// The manifests of a name, and what leads from one to another beside what they list.
#[derive(Default)]
struct Graph {
    nodes: Vec<Node>,
    by_digest: HashMap<Digest, Index>,
    /// By subject, which need not be content of the name.
    referrers: HashMap<Digest, Vec<Index>>,
    /// Every tag that is there.
    tags: Vec<(Tag, Digest)>,
    /// Positions of those that retention takes.
    doomed: Vec<usize>,
    /// Tags that live as long as a manifest of the name, by that manifest.
    evidence: HashMap<Index, Vec<usize>>,
    /// The first bytes of what live manifests list beside manifests of the name.
    live_blobs: HashSet<[u8; 8]>,
}

pub(crate) fn mark(connection: &Connection, name: &Name, query: &MarkQuery<'_>) -> Result<Marked> {
    // One transaction: what is read belongs together.
    let read = connection.unchecked_transaction()?;
    let Some(change) = names::change(&read, name)? else { return Ok(Marked::default()) };
    let mut graph = Graph::load(&read, name)?;
    let roots = graph.roots(&read, name, query)?;
    let mut listed = prepare(&read, LISTED)?;
    graph.spread(&mut listed, roots.named)?;
    let named = graph.live_manifests();
    graph.spread(&mut listed, roots.used)?;

    let mut dead = graph.dead_manifests(&mut listed)?;
    let limit = query.limit as usize;
    let mut cut = dead.len() > limit;
    dead.truncate(limit);
    let dead_tags = graph.dead_tags(&dead);
    let manifests = graph.live_manifests();
    let tags = (graph.tags.len() - dead_tags.len()) as u64;
    let mut kept = Kept { tags, manifests, untagged: manifests - named, ..Kept::default() };
    // What dead manifests list goes after them, so not while some of them stay.
    if !cut {
        cut = dead_blobs(&read, name, query, &graph.live_blobs, (&mut dead, &mut kept))?;
    }
    Ok(Marked { change, dead, dead_tags, cut, kept })
}

/// The first bytes of a digest, to know a blob again.
fn prefix<const N: usize>(digest: &Digest) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    bytes
}

impl Graph {
    fn load(read: &Connection, name: &Name) -> Result<Self> {
        let mut graph = Self::default();
        let mut statement = prepare(read, MANIFESTS)?;
        let mut rows = statement.query(params![name.as_str()])?;
        while let Some(row) = rows.next()? {
            let (index, subject) = (graph.nodes.len(), optional_digest(row, 4)?);
            let node = Node {
                digest: digest(row, 0)?,
                last_used: time(row, 1)?,
                size_bytes: optional_number(row, 2)?.unwrap_or(0),
                is_hosted: flag(row, 3)?,
                has_subject: subject.is_some(),
                is_alive: false,
            };
            if let Some(subject) = subject {
                graph.referrers.entry(subject).or_default().push(index);
            }
            graph.by_digest.insert(node.digest, index);
            graph.nodes.push(node);
        }
        graph.tags =
            all(read, TAGS, params![name.as_str()], |row| Ok((tag(row, 0)?, digest(row, 1)?)))?;
        Ok(graph)
    }

    /// How many hosted manifests are alive.
    fn live_manifests(&self) -> u64 {
        self.nodes.iter().filter(|node| node.is_alive && node.is_hosted).count() as u64
    }

    /// Manifests that live by themselves. On the way, sets aside the tags that are no roots.
    fn roots(&mut self, read: &Connection, name: &Name, query: &MarkQuery<'_>) -> Result<Roots> {
        let pins = all(read, PINS, params![name.as_str()], |row| reference(row, 0))?;
        let pins: HashSet<Reference> = pins.into_iter().collect();
        // What is not hosted is not ours to judge: it lives until it is evicted, with all it needs.
        let is_used = |node: &Node| {
            !node.is_hosted
                || node.last_used > query.untagged_since
                || query.recent.contains(&node.digest)
        };
        let is_pinned = |node: &Node| pins.contains(&Reference::Digest(node.digest));
        let all = 0..self.nodes.len();
        let mut roots: Vec<Index> =
            all.clone().filter(|index| is_pinned(&self.nodes[*index])).collect();
        let used = all.filter(|index| is_used(&self.nodes[*index])).collect();
        let subjects = self.evidence_subjects();
        for (position, (tag, digest)) in self.tags.iter().enumerate() {
            let subject = subjects.get(evidence_stem(tag));
            // A pin wins over retention, and over the death of a subject.
            if pins.contains(&Reference::Tag(tag.clone())) {
                roots.extend(self.by_digest.get(digest));
            } else if query.doomed_tags.contains(tag) {
                self.doomed.push(position);
            } else if let Some(subject) = subject {
                self.evidence.entry(*subject).or_default().push(position);
            } else {
                roots.extend(self.by_digest.get(digest));
            }
        }
        Ok(Roots { named: roots, used })
    }

    /// Makes alive what the roots lead to.
    fn spread(&mut self, listed: &mut CachedStatement<'_>, roots: Vec<Index>) -> Result<()> {
        let mut open = roots;
        while let Some(index) = open.pop() {
            if std::mem::replace(&mut self.nodes[index].is_alive, true) {
                continue;
            }
            let next = self.next_of(listed, index)?;
            open.extend(next.manifests);
            self.live_blobs.extend(next.others.iter().map(prefix));
        }
        Ok(())
    }

    /// What a manifest that is alive keeps alive.
    fn next_of(&self, listed: &mut CachedStatement<'_>, index: Index) -> Result<Next> {
        let digest_here = self.nodes[index].digest;
        let mut next = Next::default();
        next.manifests.extend(self.referrers.get(&digest_here).into_iter().flatten());
        for position in self.evidence.get(&index).into_iter().flatten() {
            next.manifests.extend(self.by_digest.get(&self.tags[*position].1));
        }
        let mut rows = listed.query(params![digest_here.to_string()])?;
        while let Some(row) = rows.next()? {
            let child = digest(row, 0)?;
            match self.by_digest.get(&child) {
                Some(index) => next.manifests.push(*index),
                None => {
                    next.others.push(child);
                    // A child that is not here, or a layer, can be a subject all the same.
                    next.manifests.extend(self.referrers.get(&child).into_iter().flatten());
                }
            }
        }
        Ok(next)
    }

    /// In the order of what keeps what alive (Kahn's topological sort, 1962), so that whatever
    /// becomes alive again between two rounds finds all it needs. Rings come last.
    fn dead_manifests(&self, listed: &mut CachedStatement<'_>) -> Result<Vec<Dead>> {
        let is_dead = |index: &Index| !self.nodes[*index].is_alive;
        let dead: Vec<Index> = (0..self.nodes.len()).filter(is_dead).collect();
        let mut keepers: HashMap<Index, usize> = HashMap::new();
        for index in &dead {
            for next in self.next_of(listed, *index)?.manifests {
                *keepers.entry(next).or_default() += 1;
            }
        }
        let mut told = HashSet::new();
        let mut order: Vec<Index> =
            dead.iter().copied().filter(|index| !keepers.contains_key(index)).collect();
        told.extend(order.iter().copied());
        let mut done = 0;
        while let Some(index) = order.get(done).copied() {
            done += 1;
            for next in self.next_of(listed, index)?.manifests {
                let Some(count) = keepers.get_mut(&next) else { continue };
                *count -= 1;
                if *count == 0 && is_dead(&next) && told.insert(next) {
                    order.push(next);
                }
            }
        }
        order.extend(dead.into_iter().filter(|index| !told.contains(index)));
        Ok(order.into_iter().map(|index| self.nodes[index].dead()).collect())
    }

    /// The tags that go with these manifests, each with what it names.
    fn dead_tags(&self, dead: &[Dead]) -> Vec<(Tag, Digest)> {
        let told: HashSet<Digest> = dead.iter().map(|dead| dead.digest).collect();
        let dying = self.evidence.iter().filter(|(subject, _)| !self.nodes[**subject].is_alive);
        let mut positions: Vec<usize> = dying
            .flat_map(|(subject, positions)| positions.iter().map(move |at| (*subject, *at)))
            .filter(|(subject, position)| {
                let named = &self.tags[*position].1;
                told.contains(&self.nodes[*subject].digest) || told.contains(named)
            })
            .map(|(_, position)| position)
            .chain(self.doomed.iter().copied())
            .collect();
        positions.sort_unstable();
        positions.into_iter().map(|position| self.tags[position].clone()).collect()
    }

    /// Hosted manifests by the part of an evidence tag that names one as its subject.
    fn evidence_subjects(&self) -> HashMap<String, Index> {
        let stems = self.tags.iter().map(|(tag, _)| evidence_stem(tag)).collect::<HashSet<_>>();
        let subjects = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let tag = Tag::referrers_fallback(&node.digest);
            (node.is_hosted && stems.contains(tag.as_str()))
                .then(|| (tag.as_str().to_owned(), index))
        });
        subjects.collect()
    }
}

/// Manifests that live by themselves.
struct Roots {
    /// A tag or a pin names them.
    named: Vec<Index>,
    /// They were used lately, or are not hosted.
    used: Vec<Index>,
}

#[derive(Default)]
struct Next {
    /// Manifests of the name.
    manifests: Vec<Index>,
    /// Blobs, and what is not content of the name.
    others: Vec<Digest>,
}

impl Node {
    fn dead(&self) -> Dead {
        Dead {
            digest: self.digest,
            is_manifest: true,
            size_bytes: self.size_bytes,
            last_used: self.last_used,
            why: if self.has_subject { DeadWhy::SubjectGone } else { DeadWhy::Untagged },
        }
    }
}

/// The part of a tag that names the subject, if it is an evidence tag: the fallback of the referrers
/// API, and cosign's `.sig`, `.att` and `.sbom` after the same.
fn evidence_stem(tag: &Tag) -> &str {
    let text = tag.as_str();
    let suffix = [".sig", ".att", ".sbom"].into_iter().find_map(|end| text.strip_suffix(end));
    suffix.unwrap_or(text)
}

/// Adds the dead blobs, up to the limit, and counts the others; whether there are more.
fn dead_blobs(
    read: &Connection,
    name: &Name,
    query: &MarkQuery<'_>,
    live: &HashSet<[u8; 8]>,
    (dead, kept): (&mut Vec<Dead>, &mut Kept),
) -> Result<bool> {
    let mut statement = prepare(read, BLOBS)?;
    let mut rows = statement.query(params![name.as_str()])?;
    while let Some(row) = rows.next()? {
        let (digest, last_used) = (digest(row, 0)?, time(row, 1)?);
        let is_listed = live.contains(&prefix(&digest));
        if is_listed || last_used > query.blob_since || query.recent.contains(&digest) {
            kept.blobs += 1;
            kept.unlisted += u64::from(!is_listed);
            continue;
        }
        if dead.len() >= query.limit as usize {
            return Ok(true);
        }
        dead.push(Dead {
            digest,
            is_manifest: false,
            size_bytes: optional_number(row, 2)?.unwrap_or(0),
            last_used,
            why: DeadWhy::Unreferenced,
        });
    }
    Ok(false)
}
