//! The mark and its collection, held against a naive reading of the rules over random graphs.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use catalog::*;
use oci::{Digest, Reference, Tag};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use support::*;

const MANIFESTS: usize = 7;
const BLOBS: usize = 4;
const SINCE: i64 = 100;

#[derive(Clone, Debug)]
struct Manifest {
    is_here: bool,
    is_hosted: bool,
    is_used: bool,
    subject: Option<usize>,
}

/// What is in the name. Numbers below `MANIFESTS` are manifests, the next are blobs.
#[derive(Clone, Debug)]
struct World {
    manifests: Vec<Manifest>,
    used_blobs: Vec<bool>,
    /// Who lists whom.
    edges: Vec<(usize, usize)>,
    /// The subject of an evidence tag, what the tag names, and whether retention takes it.
    tags: Vec<(Option<usize>, usize, bool)>,
    pinned_tags: Vec<usize>,
    pinned_digests: Vec<usize>,
    recent: Vec<usize>,
}

fn world(with_rings: bool) -> impl Strategy<Value = World> {
    let one = || 0..MANIFESTS;
    let any_of = || 0..MANIFESTS + BLOBS;
    let manifest = (
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.3, any_of()),
    );
    let manifest = manifest.prop_map(|(is_here, is_hosted, is_used, subject)| Manifest {
        is_here,
        is_hosted,
        is_used,
        subject,
    });
    let tag = (prop::option::weighted(0.5, one()), one(), prop::bool::weighted(0.2));
    (
        prop::collection::vec(manifest, MANIFESTS),
        prop::collection::vec(prop::bool::weighted(0.2), BLOBS),
        prop::collection::vec((one(), any_of()), 0..12),
        prop::collection::vec(tag, 0..6),
        prop::collection::vec(0..6usize, 0..2),
        prop::collection::vec(one(), 0..2),
        prop::collection::vec(any_of(), 0..2),
    )
        .prop_map(
            move |(manifests, used_blobs, edges, tags, pinned_tags, pinned_digests, recent)| {
                let mut world = World {
                    manifests,
                    used_blobs,
                    edges,
                    tags,
                    pinned_tags,
                    pinned_digests,
                    recent,
                };
                if !with_rings {
                    world.without_rings();
                }
                world
            },
        )
}

fn of(number: usize) -> Digest {
    digest(&number.to_string())
}

impl World {
    /// Whatever keeps another alive has the smaller number.
    fn without_rings(&mut self) {
        self.edges.retain(|(parent, child)| parent < child);
        self.tags.retain(|(subject, named, _)| subject.is_none_or(|subject| subject < *named));
        for (number, manifest) in self.manifests.iter_mut().enumerate() {
            manifest.subject = manifest.subject.filter(|subject| *subject < number);
        }
    }

    fn tag(&self, position: usize) -> Tag {
        match self.tags[position].0 {
            None => tag(&format!("v{position}")),
            Some(subject) => {
                let fallback = Tag::referrers_fallback(&of(subject));
                // Two tags of one subject differ in the end.
                let end = ["", ".sig", ".att", ".sbom"][position % 4];
                tag(&format!("{fallback}{end}"))
            }
        }
    }

    /// By tag: a later one of the same text takes its place.
    fn tags_there(&self) -> BTreeMap<Tag, usize> {
        (0..self.tags.len()).map(|position| (self.tag(position), position)).collect()
    }

    fn doomed(&self) -> HashSet<Tag> {
        let tags = self.tags_there().into_iter();
        tags.filter(|(_, position)| self.tags[*position].2).map(|(tag, _)| tag).collect()
    }

    fn is_here(&self, number: usize) -> bool {
        number >= MANIFESTS || self.manifests[number].is_here
    }

    fn is_pinned(&self, tag: &Tag) -> bool {
        self.pinned_tags.iter().any(|at| *at < self.tags.len() && self.tag(*at) == *tag)
    }

    fn write(&self) -> Catalog {
        let catalog = Catalog::in_memory().unwrap();
        let n = name("team/app");
        write(&catalog, |w| {
            for (number, node) in self.manifests.iter().enumerate() {
                let edges = self.edges.iter().filter(|(parent, _)| *parent == number);
                let edges = edges.map(|(_, child)| {
                    // A role is not what decides: a manifest may be listed as a layer.
                    let role = if *child < MANIFESTS && number % 3 != 0 {
                        Role::Child
                    } else {
                        Role::Layer
                    };
                    edge(&child.to_string(), role)
                });
                let mut row = manifest(&number.to_string(), edges.collect());
                row.subject = node.subject.map(of);
                w.put_manifest(&row);
                if node.is_here {
                    let used = if node.is_used { SINCE + 1 } else { SINCE };
                    w.put_blob(&of(number), 500, true, at(used));
                    let content =
                        Content { is_manifest: true, is_hosted: node.is_hosted, ..blob(used) };
                    w.put_content(&n, &of(number), content);
                }
            }
            for (number, is_used) in self.used_blobs.iter().enumerate() {
                let used = if *is_used { SINCE + 1 } else { SINCE };
                let digest = of(MANIFESTS + number);
                w.put_blob(&digest, 10, false, at(used));
                w.put_content(&n, &digest, Content { is_hosted: true, ..blob(used) });
            }
            for (tag, position) in self.tags_there() {
                w.move_tag(&n, &tag, &of(self.tags[position].1), at(1));
            }
            for pin in self.pinned_tags.iter().filter(|at| **at < self.tags.len()) {
                w.pin(&n, &Reference::Tag(self.tag(*pin)), at(1));
            }
            for pin in &self.pinned_digests {
                w.pin(&n, &Reference::Digest(of(*pin)), at(1));
            }
        })
        .unwrap();
        catalog
    }

    /// The subject of a tag, if the tag lives and dies with it.
    fn master(&self, position: usize) -> Option<usize> {
        let subject = self.tags[position].0?;
        let node = &self.manifests[subject];
        (node.is_here && node.is_hosted).then_some(subject)
    }

    /// Every "if this lives, that lives". What is listed and not here can live too, to keep its
    /// referrers; it keeps nothing else.
    fn keeps(&self) -> Vec<(usize, usize)> {
        let mut keeps = self.edges.clone();
        keeps.retain(|(parent, _)| self.is_here(*parent));
        for (number, node) in self.manifests.iter().enumerate().filter(|(_, node)| node.is_here) {
            keeps.extend(node.subject.map(|subject| (subject, number)));
        }
        for (tag, position) in self.tags_there() {
            let (_, named, is_doomed) = self.tags[position];
            if !is_doomed && !self.is_pinned(&tag) && self.is_here(named) {
                keeps.extend(self.master(position).map(|subject| (subject, named)));
            }
        }
        keeps
    }

    /// All that lives: round and round, until nothing is added.
    fn alive(&self) -> BTreeSet<usize> {
        let mut alive = BTreeSet::new();
        for (number, node) in self.manifests.iter().enumerate() {
            if node.is_here
                && (!node.is_hosted
                    || node.is_used
                    || self.recent.contains(&number)
                    || self.pinned_digests.contains(&number))
            {
                alive.insert(number);
            }
        }
        for (tag, position) in self.tags_there() {
            let (_, named, is_doomed) = self.tags[position];
            let is_root = self.is_pinned(&tag) || (!is_doomed && self.master(position).is_none());
            if is_root && self.is_here(named) {
                alive.insert(named);
            }
        }
        loop {
            let before = alive.len();
            for (keeper, kept) in self.keeps() {
                if alive.contains(&keeper) {
                    alive.insert(kept);
                }
            }
            if alive.len() == before {
                return alive;
            }
        }
    }

    fn dead(&self) -> (BTreeSet<Digest>, BTreeSet<Tag>) {
        let alive = self.alive();
        let manifests = (0..MANIFESTS).filter(|number| {
            let node = &self.manifests[*number];
            node.is_here && node.is_hosted && !alive.contains(number)
        });
        let blobs = (MANIFESTS..MANIFESTS + BLOBS).filter(|number| {
            let is_used = self.used_blobs[number - MANIFESTS] || self.recent.contains(number);
            !is_used && !alive.contains(number)
        });
        let tags = self.tags_there().into_iter().filter(|(tag, position)| {
            let orphaned = self.master(*position).is_some_and(|subject| !alive.contains(&subject));
            !self.is_pinned(tag) && (self.tags[*position].2 || orphaned)
        });
        (manifests.chain(blobs).map(of).collect(), tags.map(|(tag, _)| tag).collect())
    }
}

struct Run {
    catalog: Catalog,
    doomed: HashSet<Tag>,
    recent: HashSet<Digest>,
}

impl Run {
    fn of(world: &World) -> Self {
        let recent = world.recent.iter().map(|number| of(*number)).collect();
        Self { catalog: world.write(), doomed: world.doomed(), recent }
    }

    fn mark(&self, limit: u32) -> Marked {
        let query = MarkQuery {
            untagged_since: at(SINCE),
            blob_since: at(SINCE),
            recent: &self.recent,
            doomed_tags: &self.doomed,
            limit,
        };
        self.catalog.mark(&name("team/app"), &query).unwrap()
    }

    fn collect(&self, marked: &Marked) -> Result<(), WriteError> {
        write(&self.catalog, |w| w.collect(&marked.collection(&name("team/app"), at(999))))
    }

    fn judge(&self, marked: &Marked) -> Result<(), WriteError> {
        write(&self.catalog, |w| w.collect_judged(&marked.collection(&name("team/app"), at(999))))
    }

    fn rest(&self) -> (Vec<Digest>, Vec<(Tag, Digest)>) {
        let n = name("team/app");
        let contents = self.catalog.contents(&n, None, 1000).unwrap();
        let tags = self.catalog.tag_entries(&n, None, 1000).unwrap();
        (
            contents.into_iter().map(|(digest, _)| digest).collect(),
            tags.into_iter().map(|entry| (entry.tag, entry.digest)).collect(),
        )
    }
}

fn told(marked: &Marked) -> (BTreeSet<Digest>, BTreeSet<Tag>) {
    let digests = marked.dead.iter().map(|dead| dead.digest).collect();
    (digests, marked.dead_tags.iter().map(|(tag, _)| tag.clone()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn the_mark_finds_what_the_rules_say_and_collection_takes_it(world in world(true)) {
        let run = Run::of(&world);
        let before = run.rest();
        let marked = run.mark(1000);
        prop_assert!(!marked.cut);
        let (dead, dead_tags) = world.dead();
        prop_assert_eq!(told(&marked), (dead.clone(), dead_tags.clone()));

        run.collect(&marked).unwrap();
        let mut after = before;
        after.0.retain(|digest| !dead.contains(digest));
        after.1.retain(|(tag, _)| !dead_tags.contains(tag));
        prop_assert_eq!(run.rest(), after);
        // Once more finds nothing: nothing lived only by what went.
        prop_assert!(run.mark(1000).is_empty());
        if !marked.is_empty() {
            prop_assert_eq!(run.collect(&marked), Err(WriteError::Conflict));
        }
    }

    #[test]
    fn in_small_rounds_it_comes_to_the_same(world in world(true), limit in 1..4u32) {
        let (whole, small) = (Run::of(&world), Run::of(&world));
        whole.collect(&whole.mark(1000)).unwrap();
        for _ in 0..100 {
            let marked = small.mark(limit);
            prop_assert!(marked.dead.len() <= limit as usize);
            if marked.is_empty() {
                prop_assert!(!marked.cut);
                break;
            }
            small.collect(&marked).unwrap();
            prop_assert_eq!(marked.cut, !small.mark(1000).dead.is_empty());
            // No tag is left that names what went.
            let (contents, tags) = small.rest();
            for (tag, digest) in tags {
                let was_there = (0..MANIFESTS).any(|n| of(n) == digest && world.is_here(n));
                prop_assert!(!was_there || contents.contains(&digest), "{tag}");
            }
        }
        prop_assert_eq!(small.rest(), whole.rest());
    }

    /// Judged one by one, nothing that the mark keeps goes; and without rings and evidence tags that
    /// keep others, all that is dead goes.
    #[test]
    fn judged_one_by_one_nothing_else_goes(world in world(true), moved in 0..MANIFESTS) {
        let (whole, judged) = (Run::of(&world), Run::of(&world));
        let marked = judged.mark(1000);
        whole.collect(&whole.mark(1000)).unwrap();
        let n = name("team/app");
        judged.judge(&marked).unwrap();
        let (kept, tags) = whole.rest();
        let (rest, rest_tags) = judged.rest();
        prop_assert!(kept.iter().all(|digest| rest.contains(digest)));
        prop_assert!(tags.iter().all(|tag| rest_tags.contains(tag)));

        // What is named again after the mark stays, with all it lists.
        let again = Run::of(&world);
        let marked = again.mark(1000);
        if world.is_here(moved) {
            write(&again.catalog, |w| w.move_tag(&n, &tag("back"), &of(moved), at(998))).unwrap();
            prop_assert_eq!(again.collect(&marked), Err(WriteError::Conflict));
            again.judge(&marked).unwrap();
            let (rest, _) = again.rest();
            let mut open = vec![moved];
            let mut seen = BTreeSet::new();
            while let Some(here) = open.pop() {
                if !seen.insert(here) || !world.is_here(here) {
                    continue;
                }
                prop_assert!(rest.contains(&of(here)), "{here} is listed by {moved}");
                let lists = world.edges.iter().filter(|(parent, _)| *parent == here);
                open.extend(lists.map(|(_, child)| *child).filter(|_| here < MANIFESTS));
            }
        }
    }

    #[test]
    fn judged_one_by_one_all_goes_where_nothing_goes_round(world in world(false)) {
        let (whole, judged) = (Run::of(&world), Run::of(&world));
        whole.collect(&whole.mark(1000)).unwrap();
        for _ in 0..MANIFESTS {
            judged.judge(&judged.mark(1000)).unwrap();
        }
        prop_assert_eq!(judged.rest(), whole.rest());
    }

    #[test]
    fn what_keeps_others_goes_first(world in world(false)) {
        let marked = Run::of(&world).mark(1000);
        let place = |number: usize| marked.dead.iter().position(|dead| dead.digest == of(number));
        for (keeper, kept) in world.keeps() {
            if let (Some(first), Some(second)) = (place(keeper), place(kept)) {
                prop_assert!(first < second, "{keeper} keeps {kept}");
            }
        }
    }
}

#[test]
fn each_of_the_dead_says_why() {
    let catalog = Catalog::in_memory().unwrap();
    let n = name("team/app");
    let hosted = |is_manifest| Content { is_manifest, is_hosted: true, ..blob(1) };
    write(&catalog, |w| {
        for word in ["untagged", "signature"] {
            let mut row = manifest(word, vec![edge("layer", Role::Layer)]);
            row.subject = (word == "signature").then(|| digest("untagged"));
            w.put_manifest(&row);
            w.put_content(&n, &digest(word), hosted(true));
        }
        w.put_content(&n, &digest("layer"), hosted(false));
        w.move_tag(&n, &tag("sha256-nothex.sig"), &digest("elsewhere"), at(1));
    })
    .unwrap();
    let mark = |untagged_since| {
        let query = MarkQuery {
            untagged_since,
            blob_since: at(5),
            recent: &HashSet::new(),
            doomed_tags: &HashSet::new(),
            limit: 100,
        };
        catalog.mark(&n, &query).unwrap()
    };
    let whys: Vec<_> = mark(at(5)).dead.iter().map(|dead| (dead.digest, dead.why)).collect();
    let expected = [
        (digest("untagged"), DeadWhy::Untagged),
        (digest("signature"), DeadWhy::SubjectGone),
        (digest("layer"), DeadWhy::Unreferenced),
    ];
    assert_eq!(whys, expected);
    assert!(mark(jiff::Timestamp::MIN).is_empty(), "kept for ever");
    let nowhere = name("no/such");
    let none = HashSet::new();
    let query = MarkQuery {
        untagged_since: at(5),
        blob_since: at(5),
        recent: &HashSet::new(),
        doomed_tags: &none,
        limit: 9,
    };
    assert_eq!(catalog.mark(&nowhere, &query).unwrap(), Marked::default());
}
