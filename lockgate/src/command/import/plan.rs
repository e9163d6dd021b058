//! What is to be pushed, and in which order: blobs, children before the indexes that list them,
//! subjects before what refers to them, tags last.

use crate::archive::{Archive, Root};
use crate::client::MANIFEST_BYTES_MAX;
use crate::exit::Failure;
use oci::{Digest, Manifest, MediaType, Name, Tag};
use std::collections::{BTreeMap, BTreeSet};

/// What all manifests of an archive together may take: they are held until they are pushed.
const MANIFESTS_BYTES_MAX: u64 = 1 << 30;

/// A manifest of the archive, checked.
pub(super) struct Held {
    pub(super) media_type: MediaType,
    pub(super) bytes: Vec<u8>,
    /// Children of an index, those that the archive lacks too.
    children: Vec<Digest>,
    blobs: Vec<Digest>,
    subject: Option<Digest>,
}

/// What is pushed under one name.
#[derive(Default)]
pub(super) struct ForName {
    pub(super) blobs: BTreeSet<Digest>,
    /// In the order in which they can be pushed.
    pub(super) manifests: Vec<Digest>,
    pub(super) tags: BTreeMap<Tag, Digest>,
    /// What is in `index.json` for this name.
    pub(super) roots: BTreeSet<Digest>,
}

/// All of it.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) manifests: BTreeMap<Digest, Held>,
    pub(super) names: BTreeMap<Name, ForName>,
    /// Indexes that list what the archive lacks.
    pub(super) sparse: BTreeSet<Digest>,
    bytes: u64,
}

/// Reads an archive and finds what is to be done. `to` is put in front of every name.
pub(super) fn plan(archive: &mut Archive, to: Option<&Name>) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    for root in archive.roots()? {
        let name = target(archive, &root, to)?;
        plan.read(archive, &root)?;
        let of_name = plan.names.entry(name.clone()).or_default();
        of_name.roots.insert(root.digest);
        if let Some(tag) = root.tag
            && let Some(other) = of_name.tags.insert(tag.clone(), root.digest)
            && other != root.digest
        {
            let text = format!("{name}:{tag} is in it twice, as {other} and as {}", root.digest);
            return Err(archive.bad(&text));
        }
    }
    if plan.names.is_empty() {
        return Err(archive.bad("there is nothing in it"));
    }
    let Plan { manifests, names, sparse, .. } = &mut plan;
    for of_name in names.values_mut() {
        of_name.order(manifests);
        for digest in &of_name.manifests {
            let held = &manifests[digest];
            of_name.blobs.extend(&held.blobs);
            if held.children.iter().any(|child| !manifests.contains_key(child)) {
                sparse.insert(*digest);
            }
        }
    }
    Ok(plan)
}

/// The name that a root is pushed under.
fn target(archive: &Archive, root: &Root, to: Option<&Name>) -> Result<Name, Failure> {
    match (&root.name, to) {
        (Some(name), None) => Ok(name.clone()),
        // An archive of a tool that writes no names: what was given is the whole name.
        (None, Some(to)) => Ok(to.clone()),
        (Some(name), Some(to)) => to.join(name).map_err(|error| {
            Failure::usage(format!("--to {to} cannot stand before {name}")).because(&error)
        }),
        (None, None) => {
            let text = format!("it has no name for {}", root.digest);
            Err(archive.bad(&text).hint("give the whole name, such as `--to team/app`"))
        }
    }
}

impl Plan {
    /// Whether a manifest refers to another.
    pub(super) fn refers(&self, digest: &Digest) -> bool {
        self.manifests.get(digest).is_some_and(|held| held.subject.is_some())
    }

    /// Reads a root and all manifests below it.
    fn read(&mut self, archive: &mut Archive, root: &Root) -> Result<(), Failure> {
        let mut next = vec![root.digest];
        while let Some(digest) = next.pop() {
            if self.manifests.contains_key(&digest) {
                continue;
            }
            let Some(bytes) = archive.manifest(&digest, MANIFEST_BYTES_MAX)? else {
                // A child that was not exported is told by its index.
                if digest == root.digest {
                    return Err(archive.bad(&format!("it lacks {digest}, which its index names")));
                }
                continue;
            };
            self.bytes += bytes.len() as u64;
            if self.bytes > MANIFESTS_BYTES_MAX {
                return Err(archive.bad("its manifests are more than 1 GiB"));
            }
            let held = held(archive, &digest, bytes)?;
            next.extend(&held.children);
            self.manifests.insert(digest, held);
        }
        Ok(())
    }
}

fn held(archive: &Archive, digest: &Digest, bytes: Vec<u8>) -> Result<Held, Failure> {
    let parsed = Manifest::parse(&bytes, None).map_err(|error| {
        archive.bad(&format!("the manifest {digest} cannot be read")).because(&error)
    })?;
    let lacking = parsed
        .blobs()
        .find(|blob| !blob.may_be_elsewhere() && archive.place(&blob.digest).is_none());
    if let Some(blob) = lacking {
        let text = format!("it lacks the blob {}, which the manifest {digest} lists", blob.digest);
        return Err(archive.bad(&text));
    }
    let media_type = parsed.media_type.clone().unwrap_or(match parsed.manifests.is_empty() {
        true => MediaType::OCI_MANIFEST,
        false => MediaType::OCI_INDEX,
    });
    // A foreign layer that somebody put in goes along.
    let blobs = parsed.blobs().map(|blob| blob.digest);
    let blobs = blobs.filter(|digest| archive.place(digest).is_some()).collect();
    Ok(Held {
        media_type,
        bytes,
        children: parsed.manifests.iter().map(|child| child.digest).collect(),
        blobs,
        subject: parsed.subject.map(|subject| subject.digest),
    })
}

impl ForName {
    /// Depth first, without recursion: the archive may be a stranger's.
    fn order(&mut self, manifests: &BTreeMap<Digest, Held>) {
        let members = self.members(manifests);
        let mut begun = BTreeSet::new();
        let mut stack: Vec<(Digest, bool)> =
            members.iter().rev().map(|digest| (*digest, false)).collect();
        while let Some((digest, is_ready)) = stack.pop() {
            if is_ready {
                self.manifests.push(digest);
                continue;
            }
            if !begun.insert(digest) {
                continue;
            }
            stack.push((digest, true));
            let held = &manifests[&digest];
            let before = held.children.iter().chain(&held.subject);
            let before = before.filter(|it| members.contains(it) && !begun.contains(it));
            stack.extend(before.map(|it| (*it, false)));
        }
    }

    /// What the roots of the name lead to. A subject belongs to it only if it is a root itself.
    fn members(&self, manifests: &BTreeMap<Digest, Held>) -> BTreeSet<Digest> {
        let mut members = BTreeSet::new();
        let mut next: Vec<Digest> = self.roots.iter().copied().collect();
        while let Some(digest) = next.pop() {
            let Some(held) = manifests.get(&digest) else { continue };
            if members.insert(digest) {
                next.extend(&held.children);
            }
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> Digest {
        Digest::sha256(&number.to_be_bytes())
    }

    fn held(children: &[u32], subject: Option<u32>) -> Held {
        Held {
            media_type: MediaType::OCI_INDEX,
            bytes: Vec::new(),
            children: children.iter().map(|child| digest(*child)).collect(),
            blobs: Vec::new(),
            subject: subject.map(digest),
        }
    }

    fn ordered(roots: &[u32], all: &[(u32, Held)]) -> Vec<Digest> {
        let manifests: BTreeMap<Digest, Held> = all
            .iter()
            .map(|(number, it)| {
                let Held { media_type, bytes, children, blobs, subject } = it;
                let copy = Held {
                    media_type: media_type.clone(),
                    bytes: bytes.clone(),
                    children: children.clone(),
                    blobs: blobs.clone(),
                    subject: *subject,
                };
                (digest(*number), copy)
            })
            .collect();
        let roots = roots.iter().map(|root| digest(*root)).collect();
        let mut of_name = ForName { roots, ..ForName::default() };
        of_name.order(&manifests);
        of_name.manifests
    }

    #[test]
    fn children_and_subjects_come_first_whatever_their_digests() {
        // An index 1 of 2 and 3; 4 refers to 3, 5 to 4, 6 to the index; 7 is another name's.
        let all = [
            (1, held(&[2, 3, 99], None)),
            (2, held(&[], None)),
            (3, held(&[], None)),
            (4, held(&[], Some(3))),
            (5, held(&[], Some(4))),
            (6, held(&[], Some(1))),
            (7, held(&[], None)),
            (8, held(&[], Some(7))),
        ];
        let order = ordered(&[6, 5, 4, 8, 1], &all);
        let place = |number: u32| order.iter().position(|it| *it == digest(number));
        for (first, second) in [(2, 1), (3, 1), (3, 4), (4, 5), (1, 6)] {
            assert!(place(first) < place(second), "{first} comes before {second}");
        }
        assert_eq!((place(7), place(99), order.len()), (None, None, 7));
    }

    #[test]
    fn a_chain_of_any_length_needs_no_stack() {
        let all: Vec<(u32, Held)> =
            (0..100_000_u32).map(|number| (number, held(&[], number.checked_sub(1)))).collect();
        let roots: Vec<u32> = (0..100_000).collect();
        let order = ordered(&roots, &all);
        assert_eq!(order.len(), 100_000);
        assert_eq!((order[0], order[99_999]), (digest(0), digest(99_999)));
    }
}
