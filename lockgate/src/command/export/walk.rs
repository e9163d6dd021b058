//! Finds everything that belongs to what is asked: children, blobs, and whatever refers to any of
//! it. Level by level, so that many requests are under way and nothing recurses.

use super::asked::Asked;
use crate::archive::Root;
use crate::client::{Fetched, MANIFEST_BYTES_MAX, Registry};
use crate::exit::Failure;
use crate::output::warn;
use futures_util::stream::{self, StreamExt};
use oci::{
    Descriptor, Digest, EvidenceTag, Manifest, ManifestKind, MediaType, Name, Platform, Reference,
    Tag,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Manifests that are asked for at a time.
const ASKED_AT_A_TIME: usize = 8;
/// Indexes in indexes, and what refers to what refers to them.
const LEVELS_MAX: usize = 12;
/// What all manifests together may take: they are held until the archive is written.
const MANIFESTS_BYTES_MAX: u64 = 1 << 30;
/// An image's attestation in its index names the image by this (BuildKit).
const ATTESTATION_OF: &str = "vnd.docker.reference.digest";

/// How much of it is wanted.
pub(super) struct Choice {
    pub(super) platforms: Vec<Platform>,
    pub(super) with_referrers: bool,
}

/// Everything that goes into an archive.
#[derive(Default)]
pub(super) struct Selection {
    pub(super) roots: BTreeSet<Root>,
    pub(super) manifests: BTreeMap<Digest, Held>,
    pub(super) blobs: BTreeMap<Digest, Source>,
    /// Roots that somebody asked for, as (name, digest): all others refer to something.
    images: HashSet<(Name, Digest)>,
    /// Layers that their owner lets nobody distribute.
    pub(super) foreign_layers: BTreeSet<Digest>,
    /// Indexes of which not all children are exported.
    pub(super) sparse: BTreeSet<Digest>,
    manifests_bytes: u64,
}

/// A manifest of the archive.
pub(super) struct Held {
    pub(super) media_type: MediaType,
    pub(super) bytes: Vec<u8>,
}

/// Where a blob is to be had: under a name that may be pulled.
pub(super) struct Source {
    pub(super) name: Name,
    pub(super) size_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Asked,
    Child,
    Referrer,
    /// A tag that may exist.
    Evidence,
}

#[derive(Clone)]
struct Wanted {
    name: Name,
    reference: Reference,
    why: Why,
    /// Which line of what is asked it belongs to.
    line: usize,
}

/// A manifest and what refers to it.
type Visited = Option<(Fetched, Vec<Descriptor>)>;

/// Why lines of what is asked cannot be exported.
pub(super) type Problems = BTreeMap<usize, Failure>;

struct Walk<'w> {
    choice: &'w Choice,
    found: Selection,
    problems: Problems,
    seen: HashSet<(Name, Digest)>,
    next: Vec<Wanted>,
}

/// Finds it all. `told` hears how many manifests are known.
pub(super) async fn walk(
    registry: &Registry,
    asked: &[Asked],
    choice: &Choice,
    told: impl Fn(usize),
) -> (Selection, Problems) {
    let mut walk = Walk {
        choice,
        found: Selection::default(),
        problems: Problems::new(),
        seen: HashSet::new(),
        next: Vec::new(),
    };
    walk.begin(registry, asked).await;
    for level in 0.. {
        let wanted = walk.take_level();
        if wanted.is_empty() {
            break;
        }
        if level == LEVELS_MAX {
            for wanted in wanted {
                let text = format!("{}@{} lies too deep", wanted.name, wanted.reference);
                walk.problem(wanted.line, Failure::no(text));
            }
            break;
        }
        let mut visits = stream::iter(wanted)
            .map(async |wanted| {
                let visited = visit(registry, &wanted, choice.with_referrers).await;
                (wanted, visited)
            })
            .buffered(ASKED_AT_A_TIME);
        while let Some((wanted, visited)) = visits.next().await {
            match visited {
                Ok(visited) => walk.take(&wanted, visited),
                Err(failure) => walk.problem(wanted.line, failure),
            }
            told(walk.found.manifests.len());
        }
    }
    walk.found.drop_covered_roots();
    (walk.found, walk.problems)
}

async fn visit(
    registry: &Registry,
    wanted: &Wanted,
    with_referrers: bool,
) -> Result<Visited, Failure> {
    let Some(fetched) = registry.manifest(&wanted.name, &wanted.reference).await? else {
        return Ok(None);
    };
    let referrers = match with_referrers {
        true => registry.referrers(&wanted.name, &fetched.digest).await?,
        false => Vec::new(),
    };
    Ok(Some((fetched, referrers)))
}

impl Walk<'_> {
    async fn begin(&mut self, registry: &Registry, asked: &[Asked]) {
        for (line, asked) in asked.iter().enumerate() {
            let references = match asked.references(registry).await {
                Ok(references) => references,
                Err(failure) => {
                    self.problem(line, failure);
                    continue;
                }
            };
            let all_tags = asked.reference.is_none();
            for reference in references {
                // Referrers come by themselves, and every plane makes this index up.
                let is_fallback = matches!(&reference, Reference::Tag(tag)
                    if tag.evidence_of().is_some_and(|(_, kind)| kind == EvidenceTag::Referrers));
                if all_tags && is_fallback && self.choice.with_referrers {
                    continue;
                }
                self.want(&asked.name, reference, Why::Asked, line);
            }
        }
    }

    fn want(&mut self, name: &Name, reference: Reference, why: Why, line: usize) {
        self.next.push(Wanted { name: name.clone(), reference, why, line });
    }

    /// What is to be asked next, without what is known.
    fn take_level(&mut self) -> Vec<Wanted> {
        let mut level = std::mem::take(&mut self.next);
        let mut twice = HashSet::new();
        level.retain(|wanted| {
            let is_new = twice.insert((wanted.name.clone(), wanted.reference.clone()));
            let Reference::Digest(digest) = &wanted.reference else { return is_new };
            let is_seen = self.seen.contains(&(wanted.name.clone(), *digest));
            if is_seen || !is_new {
                self.found.note_root(wanted, digest);
            }
            is_new && !is_seen
        });
        level
    }

    fn take(&mut self, wanted: &Wanted, visited: Visited) {
        let (name, line) = (&wanted.name, wanted.line);
        let Some((fetched, referrers)) = visited else {
            return self.absent(wanted);
        };
        let digest = fetched.digest;
        self.found.note_root(wanted, &digest);
        if !self.seen.insert((name.clone(), digest)) {
            return;
        }
        let parsed = match Manifest::parse(&fetched.bytes, Some(&fetched.media_type)) {
            Ok(parsed) => parsed,
            Err(error) => {
                let text = format!("{name}@{digest} cannot be read");
                return self.problem(line, Failure::no(text).because(&error));
            }
        };
        match parsed.kind {
            ManifestKind::Schema1 => {
                let text = format!("{name}@{digest} is of Docker's schema 1");
                let hint = "its layers have no sizes, and current registries do not take it";
                return self.problem(line, Failure::no(text).hint(hint));
            }
            ManifestKind::Index => self.children(wanted, digest, &parsed),
            ManifestKind::Image | ManifestKind::Other => {
                for blob in parsed.blobs() {
                    self.found.note_blob(name, blob);
                }
            }
        }
        if !referrers.is_empty() {
            for kind in [EvidenceTag::Signature, EvidenceTag::Attestation, EvidenceTag::Sbom] {
                let tag = Reference::Tag(Tag::evidence(&digest, kind));
                self.want(name, tag, Why::Evidence, line);
            }
        }
        for referrer in referrers {
            self.want(name, Reference::Digest(referrer.digest), Why::Referrer, line);
        }
        self.hold(wanted, fetched);
    }

    fn children(&mut self, wanted: &Wanted, digest: Digest, index: &Manifest) {
        let chosen = chosen(index, &self.choice.platforms);
        if chosen.len() < index.manifests.len() {
            self.found.sparse.insert(digest);
        }
        if chosen.is_empty() && !index.manifests.is_empty() && wanted.why == Why::Asked {
            let has: Vec<String> = index
                .manifests
                .iter()
                .filter_map(|it| it.platform.as_ref())
                .map(ToString::to_string)
                .collect();
            let text = format!("{}:{} has none of the platforms", wanted.name, wanted.reference);
            return self.problem(
                wanted.line,
                Failure::no(text).hint(format!("it has {}", has.join(", "))),
            );
        }
        for child in chosen {
            self.want(&wanted.name, Reference::Digest(child), Why::Child, wanted.line);
        }
    }

    fn hold(&mut self, wanted: &Wanted, fetched: Fetched) {
        let bytes = fetched.bytes.len() as u64;
        let is_new = !self.found.manifests.contains_key(&fetched.digest);
        if is_new && self.found.manifests_bytes + bytes > MANIFESTS_BYTES_MAX {
            let hint = "make several archives";
            let text = "the manifests alone are more than 1 GiB";
            return self.problem(wanted.line, Failure::no(text).hint(hint));
        }
        if is_new {
            self.found.manifests_bytes += bytes;
            let held = Held { media_type: fetched.media_type, bytes: fetched.bytes };
            self.found.manifests.insert(fetched.digest, held);
        }
    }

    /// Something is not there: what was asked must be, and what others only list need not.
    fn absent(&mut self, wanted: &Wanted) {
        let (name, reference) = (&wanted.name, &wanted.reference);
        match (wanted.why, reference) {
            (Why::Asked, Reference::Tag(tag)) => {
                self.problem(wanted.line, Failure::no(format!("{name}:{tag} is not there")));
            }
            (Why::Asked, Reference::Digest(digest)) => {
                self.problem(wanted.line, Failure::no(format!("{name}@{digest} is not there")));
            }
            (Why::Evidence, _) => {}
            (Why::Child, _) => {
                warn(&format!("{name}@{reference} is not there, though an index lists it"));
            }
            (Why::Referrer, _) => {
                warn(&format!(
                    "{name}@{reference} is not there, though it is listed as a referrer"
                ));
            }
        }
    }

    /// The first problem of a line speaks for it.
    fn problem(&mut self, line: usize, failure: Failure) {
        self.problems.entry(line).or_insert(failure);
    }
}

/// The children of an index that are wanted: of one of the platforms, of none, or attestations of
/// one that is wanted.
fn chosen(index: &Manifest, platforms: &[Platform]) -> Vec<Digest> {
    let is_wanted = |child: &Descriptor| match &child.platform {
        Some(of) => platforms.is_empty() || platforms.iter().any(|wanted| wanted.matches(of)),
        None => true,
    };
    let direct: HashMap<String, Digest> = index
        .manifests
        .iter()
        .filter(|child| is_wanted(child))
        .map(|child| (child.digest.to_string(), child.digest))
        .collect();
    let attests = |child: &Descriptor| {
        child.annotations.get(ATTESTATION_OF).is_some_and(|of| direct.contains_key(of))
    };
    let all = index.manifests.iter();
    all.filter(|child| is_wanted(child) || attests(child)).map(|child| child.digest).collect()
}

impl Selection {
    fn note_root(&mut self, wanted: &Wanted, digest: &Digest) {
        let tag = match &wanted.reference {
            Reference::Tag(tag) => Some(tag.clone()),
            Reference::Digest(_) => None,
        };
        match wanted.why {
            Why::Child => return,
            Why::Asked => {
                let is_evidence = tag.as_ref().is_some_and(|tag| tag.evidence_of().is_some());
                if !is_evidence {
                    self.images.insert((wanted.name.clone(), *digest));
                }
            }
            Why::Referrer | Why::Evidence => {}
        }
        self.roots.insert(Root { name: Some(wanted.name.clone()), tag, digest: *digest });
    }

    fn note_blob(&mut self, name: &Name, blob: &Descriptor) {
        if blob.may_be_elsewhere() {
            self.foreign_layers.insert(blob.digest);
            return;
        }
        let source = Source { name: name.clone(), size_bytes: blob.size_bytes };
        self.blobs.entry(blob.digest).or_insert(source);
    }

    /// What stands under a tag needs no entry by its digest alone.
    fn drop_covered_roots(&mut self) {
        // Listed twice and not there.
        self.roots.retain(|root| self.manifests.contains_key(&root.digest));
        let tagged: HashSet<(Option<Name>, Digest)> = self
            .roots
            .iter()
            .filter(|root| root.tag.is_some())
            .map(|root| (root.name.clone(), root.digest))
            .collect();
        self.roots.retain(|root| {
            root.tag.is_some() || !tagged.contains(&(root.name.clone(), root.digest))
        });
        // A blob may be a manifest to somebody: it stands in the archive once.
        self.blobs.retain(|digest, _| !self.manifests.contains_key(digest));
        self.foreign_layers.retain(|digest| !self.blobs.contains_key(digest));
    }

    /// Whether somebody asked for a root: else it refers to something.
    pub(super) fn is_image(&self, root: &Root) -> bool {
        let name = root.name.clone();
        name.is_some_and(|name| self.images.contains(&(name, root.digest)))
    }

    /// All bytes of the manifests and blobs.
    pub(super) fn bytes(&self) -> u64 {
        let blobs = self.blobs.values().map(|blob| blob.size_bytes);
        blobs.fold(self.manifests_bytes, u64::saturating_add)
    }
}

const _: () = assert!(MANIFEST_BYTES_MAX < MANIFESTS_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_brings_its_attestation_along() {
        let digest = |text: &str| Digest::sha256(text.as_bytes()).to_string();
        let text = serde_json::json!({ "schemaVersion": 2, "manifests": [
            { "digest": digest("amd"), "size": 1, "platform": { "os": "linux", "architecture": "amd64" } },
            { "digest": digest("arm"), "size": 1, "platform": { "os": "linux", "architecture": "arm64" } },
            { "digest": digest("att"), "size": 1, "platform": { "os": "unknown", "architecture": "unknown" },
              "annotations": { ATTESTATION_OF: digest("arm") } },
            { "digest": digest("chart"), "size": 1 },
        ]});
        let index = Manifest::parse(text.to_string().as_bytes(), None).unwrap();
        assert_eq!(chosen(&index, &[]).len(), 4);
        let arm = chosen(&index, &["linux/arm64".parse().unwrap()]);
        let wanted = ["arm", "att", "chart"].map(|text| Digest::sha256(text.as_bytes()));
        assert_eq!(arm, wanted);
    }
}
