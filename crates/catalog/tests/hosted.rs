//! Pushes, deletes, adoption, and what is read about hosted content.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use catalog::*;
use oci::{Digest, MediaType, Reference, Tag};
use std::collections::HashSet;
use support::*;

const QUOTA: Option<u64> = Some(1000);

fn pushed_blob(name_text: &str, word: &str, size_bytes: u64, second: i64) -> PushedBlob {
    PushedBlob {
        name: name(name_text),
        digest: digest(word),
        size_bytes,
        media_type: None,
        quota_bytes: QUOTA,
        at: at(second),
    }
}

/// An image of 500 bytes with these layers.
fn pushed(name_text: &str, word: &str, layers: &[&str], tags: &[&str]) -> PushedManifest {
    let edges = layers.iter().map(|layer| edge(layer, Role::Layer)).collect();
    PushedManifest {
        name: name(name_text),
        manifest: manifest(word, edges),
        requires: layers.iter().map(|layer| digest(layer)).collect(),
        tags: tags.iter().map(|text| tag(text)).collect(),
        immutable: Vec::new(),
        quota_bytes: QUOTA,
        at: at(10),
    }
}

fn unbounded(name_text: &str, word: &str, layers: &[&str], tags: &[&str]) -> PushedManifest {
    PushedManifest { quota_bytes: None, ..pushed(name_text, word, layers, tags) }
}

fn push_blob(catalog: &Catalog, blob: &PushedBlob) -> Result<(), WriteError> {
    write(catalog, |w| w.push_blob(blob))
}

fn push(catalog: &Catalog, manifest: &PushedManifest) -> Result<(), WriteError> {
    write(catalog, |w| w.push_manifest(manifest))
}

fn used(catalog: &Catalog, repository: &str) -> (u64, u64) {
    let used = catalog.hosted_use(repository).unwrap();
    (used.rows, used.bytes)
}

fn tags(catalog: &Catalog, name_text: &str) -> Vec<String> {
    let tags = catalog.tags(&name(name_text), None, 100).unwrap();
    tags.iter().map(Tag::to_string).collect()
}

fn held(catalog: &Catalog) -> HashSet<Digest> {
    let rows = catalog.blob_rows(None, 1000).unwrap();
    rows.into_iter().filter(|row| row.is_held).map(|row| row.digest).collect()
}

fn condemned(catalog: &Catalog) -> HashSet<Digest> {
    catalog.condemned(at(10_000), 100).unwrap().into_iter().collect()
}

#[test]
fn a_push_is_content_with_its_bytes_and_its_tags_at_once() {
    let catalog = Catalog::in_memory().unwrap();
    let app = name("team/app");
    assert_eq!(catalog.name_change(&app).unwrap(), None);
    let layer = PushedBlob {
        media_type: Some(MediaType::OCTET_STREAM),
        ..pushed_blob("team/app", "layer", 100, 1)
    };
    push_blob(&catalog, &layer).unwrap();
    let row = catalog.content(&app, &digest("layer")).unwrap().unwrap();
    assert!(row.present && row.is_hosted && !row.is_manifest);
    assert_eq!((row.size_bytes, row.media_type), (Some(100), Some(MediaType::OCTET_STREAM)));
    let before = catalog.name_change(&app).unwrap().unwrap();

    push(&catalog, &pushed("team/app", "image", &["layer"], &["v1", "latest"])).unwrap();
    assert_eq!(tags(&catalog, "team/app"), ["latest", "v1"]);
    let row = catalog.content(&app, &digest("image")).unwrap().unwrap();
    assert!(row.present && row.is_hosted && row.is_manifest);
    assert_eq!(row.media_type, Some(MediaType::OCI_MANIFEST));
    assert_eq!(catalog.manifest(&digest("image")).unwrap().unwrap().edges.len(), 1);
    assert!(catalog.name_change(&app).unwrap().unwrap() > before);
    assert_eq!(used(&catalog, "team"), (2, 600));
    assert_eq!(catalog.names_of("team", None, 9).unwrap(), std::slice::from_ref(&app));
    assert_eq!(catalog.tags_naming(&app, &digest("image"), 9).unwrap(), [tag("latest"), tag("v1")]);

    // Again: nothing is counted twice, and the tag has not moved.
    let before = catalog.name_change(&app).unwrap().unwrap();
    let again = PushedManifest { at: at(20), ..pushed("team/app", "image", &["layer"], &["v1"]) };
    push(&catalog, &again).unwrap();
    push_blob(&catalog, &layer).unwrap();
    assert_eq!(used(&catalog, "team"), (2, 600));
    let entry = &catalog.tag_entries(&app, Some(&tag("latest")), 9).unwrap()[0];
    let expected = TagEntry {
        tag: tag("v1"),
        digest: digest("image"),
        moved_at: at(10),
        pushed_at: Some(at(10)),
        last_used: at(20),
    };
    assert_eq!(*entry, expected);
    assert!(catalog.name_change(&app).unwrap().unwrap() > before, "a mark of before is void");

    // Asked for as a blob, even pushed as one, it stays the manifest that others lead to.
    push_blob(&catalog, &pushed_blob("team/app", "image", 500, 21)).unwrap();
    assert!(catalog.content(&app, &digest("image")).unwrap().unwrap().is_manifest);
}

#[test]
fn a_manifest_needs_all_it_lists_under_its_own_name() {
    let catalog = Catalog::in_memory().unwrap();
    let app = name("team/app");
    push_blob(&catalog, &pushed_blob("team/app", "here", 10, 1)).unwrap();
    push_blob(&catalog, &pushed_blob("team/other", "elsewhere", 10, 1)).unwrap();
    let both = [digest("elsewhere"), digest("here"), digest("nowhere")];
    assert_eq!(catalog.missing(&app, &both).unwrap(), [digest("elsewhere"), digest("nowhere")]);
    let image = pushed("team/app", "image", &["here", "elsewhere"], &["v1"]);
    assert_eq!(push(&catalog, &image), Err(WriteError::Conflict));
    assert_eq!(catalog.content(&app, &digest("image")).unwrap(), None, "all or nothing");
    assert!(tags(&catalog, "team/app").is_empty());
    push(&catalog, &pushed("team/app", "image", &["here"], &["v1"])).unwrap();

    // Bytes that are lost or being removed are not here.
    write(&catalog, |w| w.blob_lost(&digest("here"))).unwrap();
    assert_eq!(catalog.missing(&app, &[digest("here")]).unwrap(), [digest("here")]);
    let again = pushed("team/app", "image", &["here"], &["v2"]);
    assert_eq!(push(&catalog, &again), Err(WriteError::Conflict));
    assert_eq!(catalog.lost(None, 9).unwrap(), [(app.clone(), digest("here"))]);
    assert_eq!(catalog.lost(Some(&(app.clone(), digest("here"))), 9).unwrap(), []);
    // Other bytes of the digest, by whatever way, and it is held again.
    write(&catalog, |w| w.put_blob(&digest("here"), 10, false, at(3))).unwrap();
    assert_eq!(catalog.lost(None, 9).unwrap(), []);
    assert!(held(&catalog).contains(&digest("here")));
    push(&catalog, &again).unwrap();
}

#[test]
fn what_a_push_needs_of_the_cache_becomes_hosted() {
    let catalog = Catalog::in_memory().unwrap();
    write(&catalog, |w| {
        w.put_blob(&digest("cached"), 30, false, at(1));
        w.put_content(&name("team/app"), &digest("cached"), blob(1));
        w.condemn(&digest("cached"), at(2));
    })
    .unwrap();
    assert_eq!(catalog.missing(&name("team/app"), &[digest("cached")]).unwrap(), []);
    push(&catalog, &pushed("team/app", "image", &["cached"], &["v1"])).unwrap();
    assert!(catalog.content(&name("team/app"), &digest("cached")).unwrap().unwrap().is_hosted);
    assert_eq!(used(&catalog, "team"), (2, 530));
    assert!(catalog.victims(None, 9).unwrap().is_empty());
}

#[test]
fn an_immutable_tag_stays_where_it_is() {
    let catalog = Catalog::in_memory().unwrap();
    let immutable = |word: &str, tags: &[&str]| PushedManifest {
        immutable: vec![tag("v1")],
        ..pushed("team/app", word, &[], tags)
    };
    push(&catalog, &immutable("one", &["v1", "latest"])).unwrap();
    push(&catalog, &immutable("one", &["v1"])).unwrap();
    assert_eq!(push(&catalog, &immutable("two", &["latest", "v1"])), Err(WriteError::Conflict));
    let latest = catalog.tag(&name("team/app"), &tag("latest")).unwrap().unwrap();
    assert_eq!(latest.digest, digest("one"));
    push(&catalog, &pushed("team/app", "two", &[], &["latest"])).unwrap();
}

#[test]
fn a_quota_counts_every_row_and_refuses_only_growth() {
    let catalog = Catalog::in_memory().unwrap();
    push_blob(&catalog, &pushed_blob("team/a", "layer", 400, 1)).unwrap();
    push_blob(&catalog, &pushed_blob("team/b", "layer", 400, 1)).unwrap();
    assert_eq!(used(&catalog, "team"), (2, 800));
    let third = pushed_blob("team/c", "layer", 400, 1);
    assert_eq!(push_blob(&catalog, &third), Err(WriteError::Conflict));
    assert_eq!(
        push(&catalog, &pushed("team/a", "image", &["layer"], &[])),
        Err(WriteError::Conflict)
    );
    push_blob(&catalog, &pushed_blob("other/c", "layer", 400, 1)).unwrap();
    push_blob(&catalog, &pushed_blob("team/c", "exact", 200, 1)).unwrap();

    // The quota is lowered: what is there may be pushed again, and nothing more.
    let again = PushedBlob { quota_bytes: Some(1), ..pushed_blob("team/a", "layer", 400, 2) };
    push_blob(&catalog, &again).unwrap();
    let one_more = PushedBlob { quota_bytes: Some(1), ..pushed_blob("team/a", "more", 1, 2) };
    assert_eq!(push_blob(&catalog, &one_more), Err(WriteError::Conflict));
    push_blob(&catalog, &PushedBlob { quota_bytes: None, ..one_more }).unwrap();
    // Cached content of the same repository is not its quota's.
    write(&catalog, |w| w.put_content(&name("team/a"), &digest("cached"), blob(1))).unwrap();
    assert_eq!(used(&catalog, "team"), (4, 1001));
}

#[test]
fn the_true_length_of_bytes_replaces_what_was_claimed() {
    let catalog = Catalog::in_memory().unwrap();
    let claimed = |size_bytes| Content { size_bytes, is_hosted: true, ..blob(1) };
    write(&catalog, |w| {
        w.put_content(&name("team/a"), &digest("d"), claimed(None));
        w.put_content(&name("team/b"), &digest("d"), claimed(Some(3)));
        w.put_content(&name("other/b"), &digest("d"), claimed(Some(3)));
    })
    .unwrap();
    assert_eq!(used(&catalog, "team"), (2, 3));
    write(&catalog, |w| w.put_blob(&digest("d"), 12, false, at(2))).unwrap();
    assert_eq!((used(&catalog, "team"), used(&catalog, "other")), ((2, 24), (1, 12)));
    write(&catalog, |w| w.put_content(&name("team/a"), &digest("d"), claimed(Some(5)))).unwrap();
    assert_eq!(used(&catalog, "team"), (2, 24), "bytes that are here are not claimed");
    write(&catalog, |w| w.delete_blob(&name("team/a"), &digest("d"), at(3))).unwrap();
    assert_eq!(used(&catalog, "team"), (1, 12));
}

#[test]
fn what_is_deleted_goes_when_nobody_else_holds_it() {
    let catalog = Catalog::in_memory().unwrap();
    let app = name("team/app");
    for place in ["team/app", "team/other"] {
        push_blob(&catalog, &pushed_blob(place, "layer", 10, 1)).unwrap();
    }
    push(&catalog, &pushed("team/app", "image", &["layer"], &["v1", "v2"])).unwrap();
    let delete =
        |tags: &[Tag]| write(&catalog, |w| w.delete_manifest(&app, &digest("image"), tags, at(20)));

    let before = catalog.name_change(&app).unwrap();
    write(&catalog, |w| w.delete_tag(&app, &tag("v2"))).unwrap();
    assert!(catalog.name_change(&app).unwrap() > before);
    let again = write(&catalog, |w| w.delete_tag(&app, &tag("v2")));
    assert_eq!(again, Err(WriteError::Conflict));
    assert_eq!(delete(&[]), Err(WriteError::Conflict), "a tag that nobody looked at");
    let as_blob = write(&catalog, |w| w.delete_blob(&app, &digest("image"), at(20)));
    assert_eq!(as_blob, Err(WriteError::Conflict));
    delete(&[tag("v1"), tag("v2")]).unwrap();
    assert!(tags(&catalog, "team/app").is_empty());
    assert_eq!(catalog.content(&app, &digest("image")).unwrap(), None);
    assert_eq!(condemned(&catalog), HashSet::from([digest("image")]));
    assert_eq!(delete(&[]), Err(WriteError::Conflict));

    write(&catalog, |w| w.delete_blob(&app, &digest("layer"), at(20))).unwrap();
    assert!(held(&catalog).contains(&digest("layer")), "the other name holds it");
    assert_eq!(catalog.name_change(&app).unwrap(), None, "it has nothing any more");
    write(&catalog, |w| w.pin(&name("x"), &Reference::Digest(digest("layer")), at(1))).unwrap();
    let other = name("team/other");
    write(&catalog, |w| w.delete_blob(&other, &digest("layer"), at(20))).unwrap();
    assert_eq!(condemned(&catalog), HashSet::from([digest("image")]), "pinned");
    assert_eq!((used(&catalog, "team"), held(&catalog).len()), ((0, 0), 0));
    assert_eq!(catalog.names(None, 9).unwrap(), []);
    let gone = write(&catalog, |w| w.delete_blob(&other, &digest("layer"), at(20)));
    assert_eq!(gone, Err(WriteError::Conflict));

    // Pushed again before it is unlinked: all is as it was.
    push(&catalog, &pushed("team/app", "image", &[], &["v1"])).unwrap();
    assert!(condemned(&catalog).is_empty());
    assert!(catalog.name_change(&app).unwrap() > before, "no number comes twice");
}

#[test]
fn hosted_content_is_nobodys_victim_and_is_not_forgotten() {
    let catalog = Catalog::in_memory().unwrap();
    let app = name("team/app");
    push_blob(&catalog, &pushed_blob("team/app", "layer", 10, 1)).unwrap();
    push(&catalog, &pushed("team/app", "image", &["layer"], &["v1"])).unwrap();
    write(&catalog, |w| w.put_content(&name("hub/app"), &digest("layer"), blob(1))).unwrap();
    assert!(catalog.victims(None, 9).unwrap().is_empty());
    assert!(catalog.victims_of("team", None, 9).unwrap().is_empty());
    let cached = catalog.victims_of("hub", None, 9).unwrap();
    assert_eq!((cached.len(), cached[0].others), (1, 1), "the row may go, the bytes are needed");
    for refused in [
        write(&catalog, |w| w.condemn(&digest("layer"), at(50))),
        write(&catalog, |w| w.condemn_unused(&digest("layer"), at(40), at(50))),
        write(&catalog, |w| w.drop_content(&app, &digest("layer"))),
        write(&catalog, |w| w.drop_name(&app)),
    ] {
        assert_eq!(refused, Err(WriteError::Conflict));
    }
    assert_eq!(catalog.hosted_holders(&digest("layer"), 9).unwrap(), std::slice::from_ref(&app));
    assert_eq!(catalog.holders(&digest("layer"), 9).unwrap().len(), 2);

    write(&catalog, |w| {
        w.blob_lost(&digest("layer"));
        w.blob_lost(&digest("image"));
        w.prune(at(1_000_000), 100);
    })
    .unwrap();
    assert!(catalog.content(&app, &digest("layer")).unwrap().is_some());
    assert_eq!(catalog.content(&name("hub/app"), &digest("layer")).unwrap(), None);
    assert_eq!(tags(&catalog, "team/app"), ["v1"]);
    assert_eq!(catalog.names(None, 9).unwrap(), [app], "a pruned name is no name");
    assert_eq!(catalog.lost(None, 9).unwrap().len(), 2);
    assert_eq!(catalog.lost(None, 1).unwrap().len(), 1);
}

#[test]
fn what_was_pushed_is_public_for_nobody() {
    let catalog = Catalog::in_memory().unwrap();
    push_blob(&catalog, &pushed_blob("team/app", "secret", 10, 1)).unwrap();
    assert!(!catalog.is_public_somewhere(&digest("secret")).unwrap());
    write(&catalog, |w| w.put_content(&name("hub/app"), &digest("secret"), blob(1))).unwrap();
    assert!(catalog.is_public_somewhere(&digest("secret")).unwrap());
}

#[test]
fn the_cache_is_adopted_and_disowned() {
    let catalog = Catalog::in_memory().unwrap();
    let (app, one) = (name("hub/app"), digest("one"));
    let adopt = |digest: &Digest| write(&catalog, |w| w.adopt(&app, digest, at(7)));
    assert_eq!(adopt(&one), Err(WriteError::Conflict), "not there");
    write(&catalog, |w| w.put_content(&app, &one, Content { is_manifest: true, ..blob(1) }))
        .unwrap();
    assert_eq!(adopt(&one), Err(WriteError::Conflict), "without its bytes");
    write(&catalog, |w| {
        w.put_blob(&one, 25, true, at(1));
        w.condemn(&one, at(2));
    })
    .unwrap();
    let before = catalog.name_change(&app).unwrap();
    adopt(&one).unwrap();
    let row = catalog.content(&app, &one).unwrap().unwrap();
    assert!(row.is_hosted && row.condemned_at.is_none());
    assert_eq!(row.last_used, at(7));
    assert_eq!(used(&catalog, "hub"), (1, 25));
    assert!(catalog.name_change(&app).unwrap() > before);
    // Fetched again as before, it stays hosted.
    write(&catalog, |w| w.put_content(&app, &one, blob(9))).unwrap();
    adopt(&one).unwrap();
    assert_eq!(used(&catalog, "hub"), (1, 25));

    write(&catalog, |w| w.disown(&app, &one)).unwrap();
    write(&catalog, |w| w.disown(&app, &one)).unwrap();
    assert_eq!((used(&catalog, "hub"), held(&catalog).len()), ((0, 0), 0));
    assert_eq!(catalog.victims(None, 9).unwrap().len(), 1);

    write(&catalog, |w| w.condemn(&one, at(20))).unwrap();
    write(&catalog, |w| w.begin_removal(&one)).unwrap();
    assert_eq!(adopt(&one), Err(WriteError::Conflict), "too late");
}

#[test]
fn what_changed_since_the_mark_stops_the_collection() {
    let catalog = Catalog::in_memory().unwrap();
    let app = name("team/app");
    let (recent, doomed) = (HashSet::new(), HashSet::from([tag("pr-1")]));
    let query = MarkQuery {
        untagged_since: at(100),
        blob_since: at(100),
        recent: &recent,
        doomed_tags: &doomed,
        limit: 100,
    };
    let collect =
        |marked: &Marked| write(&catalog, |w| w.collect(&marked.collection(&app, at(200))));
    for word in ["layer", "lonely", "base"] {
        push_blob(&catalog, &pushed_blob("team/app", word, 10, 1)).unwrap();
    }
    push(&catalog, &unbounded("team/app", "pr", &["layer", "base"], &["pr-1"])).unwrap();
    push(&catalog, &unbounded("team/app", "image", &["base"], &["v1"])).unwrap();
    let marked = catalog.mark(&app, &query).unwrap();
    let dead: HashSet<_> = marked.dead.iter().map(|dead| dead.digest).collect();
    assert_eq!(dead, HashSet::from([digest("pr"), digest("layer"), digest("lonely")]));
    assert_eq!(marked.dead_tags, [(tag("pr-1"), digest("pr"))]);

    // A push in between, of whatever manifest.
    push(&catalog, &unbounded("team/app", "image", &["lonely"], &[])).unwrap();
    assert_eq!(collect(&marked), Err(WriteError::Conflict));
    // A pull of what is to go, though nothing was pushed.
    let marked = catalog.mark(&app, &query).unwrap();
    write(&catalog, |w| w.used(&[(app.clone(), digest("pr"))], at(150))).unwrap();
    assert_eq!(collect(&marked), Err(WriteError::Conflict));
    let marked = catalog.mark(&app, &query).unwrap();
    assert_eq!(marked.dead_tags.len(), 1, "retention takes the tag, the pull keeps the rest");
    assert!(!marked.dead.iter().any(|dead| dead.is_manifest || dead.digest == digest("layer")));
    // A pin in between.
    write(&catalog, |w| w.pin(&app, &Reference::Tag(tag("v1")), at(160))).unwrap();
    assert_eq!(collect(&marked), Err(WriteError::Conflict));
    let marked = catalog.mark(&app, &query).unwrap();
    // A blob alone keeps only itself.
    write(&catalog, |w| w.used(&[(app.clone(), digest("lonely"))], at(150))).unwrap();
    collect(&marked).unwrap();
    assert_eq!(tags(&catalog, "team/app"), ["v1"]);
    assert!(catalog.content(&app, &digest("lonely")).unwrap().is_some());

    // Nothing went, nothing changed.
    let before = catalog.name_change(&app).unwrap();
    let marked = catalog.mark(&app, &query).unwrap();
    assert!(marked.is_empty());
    collect(&marked).unwrap();
    assert_eq!(catalog.name_change(&app).unwrap(), before);
    // A tag that the mark did not know of is never left naming nothing.
    let late = Marked {
        dead: vec![Dead {
            digest: digest("image"),
            is_manifest: true,
            size_bytes: 500,
            last_used: at(10_000),
            why: DeadWhy::Untagged,
        }],
        ..marked
    };
    assert_eq!(collect(&late), Err(WriteError::Conflict));
}

#[test]
fn lists_are_pages_in_order() {
    let catalog = Catalog::in_memory().unwrap();
    for place in ["team/b", "team/a", "team-x/a"] {
        for word in ["1", "2", "3"] {
            push_blob(&catalog, &pushed_blob(place, word, 10, 1)).unwrap();
        }
    }
    write(&catalog, |w| w.move_tag(&name("team/t"), &tag("dangling"), &digest("no"), at(5)))
        .unwrap();
    let names = [name("team/a"), name("team/b"), name("team/t")];
    assert_eq!(catalog.names_of("team", None, 9).unwrap(), names);
    assert_eq!(catalog.names_of("team", Some(&names[0]), 1).unwrap(), names[1..2]);
    let dangling = &catalog.tag_entries(&names[2], None, 9).unwrap()[0];
    assert_eq!((dangling.pushed_at, dangling.last_used), (None, at(5)));

    let all = catalog.contents(&names[0], None, 9).unwrap();
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by_key(|(digest, _)| digest.to_string()));
    assert_eq!(catalog.contents(&names[0], Some(&all[0].0), 1).unwrap(), all[1..2]);
    let blobs = catalog.blob_rows(None, 9).unwrap();
    assert_eq!(blobs.len(), 3);
    assert_eq!(catalog.blob_rows(Some(&blobs[1].digest), 9).unwrap(), blobs[2..]);
}

#[test]
fn a_refusal_can_say_what_could_go() {
    let catalog = Catalog::in_memory().unwrap();
    push_blob(&catalog, &pushed_blob("team/app", "layer", 7, 1)).unwrap();
    let free = |word: &str, tags: &[&str]| unbounded("team/app", word, &["layer"], tags);
    push(&catalog, &free("tagged", &["v1"])).unwrap();
    assert_eq!(catalog.untagged_bytes("team", 100).unwrap(), 0);
    push(&catalog, &free("old", &[])).unwrap();
    push(&catalog, &free("older", &[])).unwrap();
    let mut index = free("index", &["all"]);
    index.manifest.edges = vec![edge("child", Role::Child)];
    let mut referrer = free("signature", &[]);
    referrer.manifest.subject = Some(digest("tagged"));
    for needed in [free("child", &[]), index, referrer] {
        push(&catalog, &needed).unwrap();
    }
    // Two manifests of 500, and the layer they share, once.
    assert_eq!(catalog.untagged_bytes("team", 100).unwrap(), 1007);
    assert_eq!(catalog.untagged_bytes("team", 0).unwrap(), 0);
    assert_eq!(catalog.untagged_bytes("other", 100).unwrap(), 0);
}
