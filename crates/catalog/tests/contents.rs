//! Every verb, and every read that a request makes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use bytes::Bytes;
use catalog::*;
use oci::{Manifest, MediaType, Reference};
use std::collections::BTreeMap;
use std::time::Duration;
use support::*;

#[test]
fn tags_move_are_confirmed_and_go() {
    let catalog = Catalog::in_memory().unwrap();
    let (alpine, latest) = (name("docker.io/library/alpine"), tag("latest"));
    assert_eq!(catalog.tag(&alpine, &latest).unwrap(), None);

    write(&catalog, |b| b.move_tag(&alpine, &latest, &digest("one"), at(1))).unwrap();
    let row =
        TagRow { digest: digest("one"), checked_at: at(1), gone_since: None, moved_at: at(1) };
    assert_eq!(catalog.tag(&alpine, &latest).unwrap(), Some(row.clone()));

    // The same again is a confirmation, not a move.
    write(&catalog, |b| b.move_tag(&alpine, &latest, &digest("one"), at(2))).unwrap();
    write(&catalog, |b| b.touch_tag(&alpine, &latest, at(3))).unwrap();
    let row = TagRow { checked_at: at(3), ..row };
    assert_eq!(catalog.tag(&alpine, &latest).unwrap(), Some(row.clone()));

    // Gone: the first time counts, the digest stays known.
    write(&catalog, |b| b.tag_gone(&alpine, &latest, at(4))).unwrap();
    write(&catalog, |b| b.tag_gone(&alpine, &latest, at(5))).unwrap();
    let gone = TagRow { checked_at: at(5), gone_since: Some(at(4)), ..row };
    assert_eq!(catalog.tag(&alpine, &latest).unwrap(), Some(gone));
    assert!(catalog.tags(&alpine, None, 10).unwrap().is_empty());

    // Back, with another digest.
    write(&catalog, |b| b.move_tag(&alpine, &latest, &digest("two"), at(6))).unwrap();
    let row =
        TagRow { digest: digest("two"), checked_at: at(6), gone_since: None, moved_at: at(6) };
    assert_eq!(catalog.tag(&alpine, &latest).unwrap(), Some(row));

    write(&catalog, |b| b.remove_tag(&alpine, &latest)).unwrap();
    assert_eq!(catalog.tag(&alpine, &latest).unwrap(), None);
    // Neither of these makes a tag out of nothing.
    write(&catalog, |b| {
        b.touch_tag(&alpine, &latest, at(7));
        b.tag_gone(&alpine, &latest, at(7));
    })
    .unwrap();
    assert_eq!(catalog.tag(&alpine, &latest).unwrap(), None);
}

#[test]
fn lists_of_tags_and_names_are_pages_in_byte_order() {
    let catalog = Catalog::in_memory().unwrap();
    let a = name("a/b");
    write(&catalog, |b| {
        for text in ["v2", "V1", "_x", "v10", "v1"] {
            b.move_tag(&a, &tag(text), &digest("m"), at(1));
        }
        b.put_content(&name("z"), &digest("m"), blob(1));
        b.put_content(&name("a-b/c"), &digest("m"), blob(1));
        b.put_content(&name("a-b/c"), &digest("n"), blob(1));
        b.put_content(&a, &digest("m"), blob(1));
    })
    .unwrap();
    let texts = |tags: Vec<oci::Tag>| tags.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(catalog.tags(&a, None, 10).unwrap()), ["V1", "_x", "v1", "v10", "v2"]);
    assert_eq!(texts(catalog.tags(&a, Some("_x"), 2).unwrap()), ["v1", "v10"]);
    // A `last` that is no tag of the name is a place in the order all the same.
    assert_eq!(texts(catalog.tags(&a, Some("v11"), 9).unwrap()), ["v2"]);
    assert!(catalog.tags(&name("other"), None, 9).unwrap().is_empty());

    assert_eq!(catalog.names(None, 9).unwrap(), [name("a-b/c"), a.clone(), name("z")]);
    assert_eq!(catalog.names(None, 2).unwrap(), [name("a-b/c"), a.clone()]);
    assert_eq!(catalog.names(Some(&a), 9).unwrap(), [name("z")]);
    write(&catalog, |b| b.move_tag(&name("only/tags"), &tag("t"), &digest("m"), at(1))).unwrap();
    assert_eq!(catalog.names(Some(&a), 9).unwrap(), [name("only/tags"), name("z")]);
    assert!(catalog.names(None, 0).unwrap().is_empty());
}

#[test]
fn content_is_a_row_of_a_name_and_says_whether_the_bytes_are_there() {
    let catalog = Catalog::in_memory().unwrap();
    let (a, b) = (name("a/x"), name("b/x"));
    let content = Content { media_type: Some(MediaType::OCI_MANIFEST), ..blob(1) };
    write(&catalog, |w| w.put_content(&a, &digest("d"), content.clone())).unwrap();
    let row = ContentRow {
        is_manifest: false,
        size_bytes: Some(10),
        media_type: Some(MediaType::OCI_MANIFEST),
        private_to: None,
        is_hosted: false,
        since: at(1),
        last_used: at(1),
        present: false,
        condemned_at: None,
    };
    assert_eq!(catalog.content(&a, &digest("d")).unwrap(), Some(row.clone()));
    assert_eq!(catalog.content(&b, &digest("d")).unwrap(), None, "presence is not permission");

    // Bytes arrive; their true size replaces what was claimed. What is not said again stays known.
    write(&catalog, |w| {
        w.put_blob(&digest("d"), 12, false, at(2));
        let again = Content { media_type: None, size_bytes: None, ..blob(3) };
        w.put_content(&a, &digest("d"), again);
    })
    .unwrap();
    let row = ContentRow { size_bytes: Some(12), present: true, last_used: at(3), ..row };
    assert_eq!(catalog.content(&a, &digest("d")).unwrap(), Some(row.clone()));

    // An older use moves nothing back.
    write(&catalog, |w| w.used(&[(a.clone(), digest("d")), (b.clone(), digest("d"))], at(2)))
        .unwrap();
    assert_eq!(catalog.content(&a, &digest("d")).unwrap().unwrap().last_used, at(3));
    write(&catalog, |w| w.used(&[(a.clone(), digest("d"))], at(9))).unwrap();
    assert_eq!(catalog.content(&a, &digest("d")).unwrap().unwrap().last_used, at(9));
    assert_eq!(catalog.content(&b, &digest("d")).unwrap(), None, "use makes no row");
    assert_eq!(catalog.victims(None, 9).unwrap()[0].last_used, at(9));

    assert_eq!(catalog.holders(&digest("d"), 9).unwrap(), std::slice::from_ref(&a));
    write(&catalog, |w| w.drop_content(&a, &digest("d"))).unwrap();
    assert_eq!(catalog.content(&a, &digest("d")).unwrap(), None);
    assert!(catalog.holders(&digest("d"), 9).unwrap().is_empty());
}

#[test]
fn private_stays_private_until_it_is_seen_without_a_credential() {
    let catalog = Catalog::in_memory().unwrap();
    let a = name("a/x");
    let fetched = |scope: Option<&str>| Content { private_to: scope.map(str::to_owned), ..blob(1) };
    let scope = || catalog.content(&a, &digest("d")).unwrap().unwrap().private_to;
    write(&catalog, |w| w.put_content(&a, &digest("d"), fetched(Some("corp/")))).unwrap();
    assert_eq!(scope().as_deref(), Some("corp/"));
    assert!(!catalog.is_public_somewhere(&digest("d")).unwrap());
    write(&catalog, |w| w.put_content(&a, &digest("d"), fetched(Some("corp/team/")))).unwrap();
    assert_eq!(scope().as_deref(), Some("corp/team/"));
    write(&catalog, |w| w.put_content(&a, &digest("d"), fetched(None))).unwrap();
    assert_eq!(scope(), None);
    assert!(catalog.is_public_somewhere(&digest("d")).unwrap());
    write(&catalog, |w| w.put_content(&a, &digest("d"), fetched(Some("corp/")))).unwrap();
    assert_eq!(scope(), None, "public bytes are no secret any more");
}

#[test]
fn manifests_and_what_they_list() {
    let catalog = Catalog::in_memory().unwrap();
    let text = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.x.config+json","digest":"{c}","size":2}},
        "layers":[{{"mediaType":"a/z","digest":"{l}","size":7}},{{"mediaType":"a/y","digest":"{k}","size":8}},
        {{"mediaType":"a/z","digest":"{l}","size":7}}],
        "subject":{{"mediaType":"a/b","digest":"{s}","size":1}},"annotations":{{"k":"v"}}}}"#,
        c = digest("config"),
        l = digest("layer"),
        k = digest("another"),
        s = digest("subject"),
    );
    let read = Manifest::parse(text.as_bytes(), Some(&MediaType::OCI_MANIFEST)).unwrap();
    let row = ManifestRow::of(digest("image"), 99, MediaType::OCI_MANIFEST, &read);
    assert_eq!(row.artifact_type.as_deref(), Some("application/vnd.x.config+json"));
    assert_eq!(row.edges.len(), 4);
    write(&catalog, |w| w.put_manifest(&row)).unwrap();
    write(&catalog, |w| w.put_manifest(&row)).unwrap();
    let mut once = row.clone();
    once.edges.truncate(3);
    assert_eq!(catalog.manifest(&digest("image")).unwrap(), Some(once));
    assert_eq!(catalog.manifest(&digest("layer")).unwrap(), None);

    let a = name("a/x");
    assert!(catalog.listed_by(&a, &digest("layer"), 9).unwrap().is_empty(), "not of this name");
    let private = Content { is_manifest: true, private_to: Some("s".into()), ..blob(1) };
    let image = manifest("other", vec![edge("layer", Role::Layer)]);
    write(&catalog, |w| {
        w.put_content(&a, &digest("image"), private);
        w.put_manifest(&image);
        w.put_content(&a, &digest("other"), Content { is_manifest: true, ..blob(5) });
    })
    .unwrap();
    let listed = catalog.listed_by(&a, &digest("layer"), 9).unwrap();
    let latest_first: Vec<_> = listed.iter().map(|l| (l.manifest, l.is_public)).collect();
    assert_eq!(latest_first, [(digest("other"), true), (digest("image"), false)]);
    assert_eq!((listed[1].size_bytes, listed[1].role), (7, Role::Layer));
    assert_eq!(listed[1].media_type, MediaType::parse("a/z").unwrap());
    assert_eq!(catalog.listed_by(&a, &digest("layer"), 1).unwrap(), listed[..1]);
    assert_eq!(catalog.listed_by(&a, &digest("config"), 9).unwrap()[0].role, Role::Config);
    assert!(catalog.parents(&a, &digest("layer"), 9).unwrap().is_empty(), "as a layer alone");
    assert_eq!(catalog.parents_of(&digest("layer"), 9).unwrap().len(), 2);
    assert_eq!(catalog.parents_of(&digest("another"), 9).unwrap(), [digest("image")]);

    let referrers = catalog.referrers(&a, &digest("subject"), 9).unwrap();
    assert_eq!(referrers.len(), 1);
    assert_eq!(referrers[0].digest, digest("image"));
    assert_eq!(referrers[0].annotations, BTreeMap::from([("k".into(), "v".into())]));
    assert!(catalog.referrers(&name("b/x"), &digest("subject"), 9).unwrap().is_empty());
}

#[test]
fn answers_of_upstreams_are_kept_and_forgotten() {
    let catalog = Catalog::in_memory().unwrap();
    let a = name("a/x");
    let (tags, referrers) = (ListingKey::Tags, ListingKey::Referrers(digest("s")));
    write(&catalog, |w| {
        w.put_listing(&a, tags.clone(), Bytes::from_static(b"[1]"), at(1));
        w.put_listing(&a, referrers.clone(), Bytes::from_static(b"\x00\xff"), at(2));
    })
    .unwrap();
    write(&catalog, |w| w.put_listing(&a, tags.clone(), Bytes::from_static(b"[2]"), at(3)))
        .unwrap();
    let listing = catalog.listing(&a, &tags).unwrap().unwrap();
    assert_eq!(listing, Listing { body: Bytes::from_static(b"[2]"), at: at(3) });
    assert_eq!(catalog.listing(&a, &referrers).unwrap().unwrap().body[..], [0, 0xff]);
    assert_eq!(catalog.listing(&a, &ListingKey::Referrers(digest("t"))).unwrap(), None);
    write(&catalog, |w| w.remove_listings(&a)).unwrap();
    assert_eq!(catalog.listing(&a, &tags).unwrap(), None);
    assert_eq!(catalog.listing(&a, &referrers).unwrap(), None);
}

#[test]
fn a_name_is_dropped_with_all_it_holds_and_keeps_its_pins() {
    let catalog = Catalog::in_memory().unwrap();
    let (a, b) = (name("a/x"), name("a/y"));
    let pinned = Reference::Tag(tag("t"));
    write(&catalog, |w| {
        for name in [&a, &b] {
            w.put_content(name, &digest("d"), blob(1));
            w.move_tag(name, &tag("t"), &digest("d"), at(1));
            w.put_listing(name, ListingKey::Tags, Bytes::new(), at(1));
            w.pin(name, &pinned, at(1));
        }
    })
    .unwrap();
    write(&catalog, |w| w.drop_name(&a)).unwrap();
    assert_eq!(catalog.names(None, 9).unwrap(), std::slice::from_ref(&b));
    assert_eq!(catalog.tag(&a, &tag("t")).unwrap(), None);
    assert_eq!(catalog.listing(&a, &ListingKey::Tags).unwrap(), None);
    assert!(catalog.listing(&b, &ListingKey::Tags).unwrap().is_some());
    assert_eq!(catalog.pins().unwrap().len(), 2);
}

#[test]
fn revisions_and_jobs_are_remembered() {
    let catalog = Catalog::in_memory().unwrap();
    write(&catalog, |w| w.put_revision(&digest("r1"), "kind: A\n", "built-in", 3, at(1))).unwrap();
    write(&catalog, |w| w.put_revision(&digest("r2"), "kind: B\n", "directory d", 4, at(2)))
        .unwrap();
    write(&catalog, |w| w.put_revision(&digest("r1"), "kind: A\n", "rollback", 3, at(3))).unwrap();
    let revisions = catalog.revisions(9).unwrap();
    let first = RevisionRow {
        digest: digest("r1"),
        first_activated: at(1),
        last_activated: at(3),
        source: "rollback".into(),
        documents: 3,
        size_bytes: 8,
    };
    assert_eq!(revisions[0], first);
    assert_eq!(revisions[1].digest, digest("r2"));
    assert_eq!(catalog.revisions(1).unwrap().len(), 1);
    assert_eq!(catalog.revision_text(&digest("r2")).unwrap().as_deref(), Some("kind: B\n"));
    assert_eq!(catalog.revision_text(&digest("r3")).unwrap(), None);

    let job = |id: &str, state, second| JobRow {
        id: id.into(),
        kind: "prefetch".into(),
        spec_json: "{}".into(),
        state,
        progress_json: format!("{{\"at\":{second}}}"),
        created: at(1),
        updated: at(second),
    };
    write(&catalog, |w| w.put_job(&job("a", JobState::Queued, 1))).unwrap();
    write(&catalog, |w| w.put_job(&job("b", JobState::Running, 2))).unwrap();
    write(&catalog, |w| w.put_job(&job("a", JobState::Cancelled, 3))).unwrap();
    assert_eq!(catalog.job("a").unwrap(), Some(job("a", JobState::Cancelled, 3)));
    assert_eq!(catalog.job("c").unwrap(), None);
    let ids: Vec<_> = catalog.jobs(9).unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(ids, ["b", "a"]);
}

#[test]
fn what_nobody_holds_or_asked_for_is_pruned() {
    let catalog = Catalog::in_memory().unwrap();
    let a = name("a/x");
    write(&catalog, |w| {
        w.put_manifest(&manifest("old", vec![edge("layer", Role::Layer)]));
        w.put_content(&a, &digest("old"), Content { is_manifest: true, ..blob(1) });
        w.move_tag(&a, &tag("old"), &digest("old"), at(1));
        w.put_content(&a, &digest("stored"), blob(1));
        w.put_blob(&digest("stored"), 5, false, at(1));
        w.put_content(&a, &digest("recent"), blob(50));
        w.put_listing(&a, ListingKey::Tags, Bytes::new(), at(1));
    })
    .unwrap();
    write(&catalog, |w| w.prune(at(10), 100)).unwrap();
    assert_eq!(catalog.content(&a, &digest("old")).unwrap(), None);
    assert_eq!(catalog.tag(&a, &tag("old")).unwrap(), None);
    assert_eq!(catalog.manifest(&digest("old")).unwrap(), None);
    assert!(catalog.parents_of(&digest("layer"), 9).unwrap().is_empty());
    assert_eq!(catalog.listing(&a, &ListingKey::Tags).unwrap(), None);
    assert!(catalog.content(&a, &digest("stored")).unwrap().is_some());
    assert!(catalog.content(&a, &digest("recent")).unwrap().is_some());
}

#[tokio::test]
async fn tickets_can_be_awaited_dropped_and_used_as_a_barrier() {
    let catalog = Catalog::in_memory().unwrap();
    let mut batch = Batch::new();
    assert!(batch.is_empty());
    batch.move_tag(&name("a"), &tag("t"), &digest("d"), at(1));
    assert!(!batch.is_empty());
    drop(catalog.submit(batch));
    assert_eq!(catalog.submit(Batch::new()).await, Ok(()));
    assert!(catalog.tag(&name("a"), &tag("t")).unwrap().is_some());

    let mut batch = Batch::new();
    batch.remove_tag(&name("a"), &tag("t"));
    batch.blob_gone(&digest("unknown"));
    assert_eq!(catalog.submit(batch).await, Err(WriteError::Conflict));
    assert!(catalog.tag(&name("a"), &tag("t")).unwrap().is_some(), "all or nothing");
    assert_eq!(catalog.status(), Status { writable: true, ..Status::default() });

    assert!(
        tokio::task::spawn_blocking({
            let catalog = catalog.clone();
            move || catalog.close(Duration::from_secs(30))
        })
        .await
        .unwrap()
    );
    let mut batch = Batch::new();
    batch.unpin(&name("a"), &Reference::Tag(tag("t")));
    assert_eq!(catalog.submit(batch).await, Err(WriteError::Closed));
    assert_eq!(catalog.status().gaps, 1);
}

#[test]
fn what_came_as_a_blob_lists_nothing_and_only_indexes_are_parents() {
    let catalog = Catalog::in_memory().unwrap();
    let (here, there) = (name("a/x"), name("a/y"));
    let as_manifest = |second| Content { is_manifest: true, ..blob(second) };
    write(&catalog, |w| {
        w.put_manifest(&manifest("index", vec![edge("image", Role::Child)]));
        w.put_manifest(&manifest("newer", vec![edge("image", Role::Child)]));
        w.put_manifest(&manifest("wrapper", vec![edge("image", Role::Layer)]));
        for (second, word) in [(1, "index"), (2, "newer"), (3, "wrapper")] {
            w.put_content(&here, &digest(word), as_manifest(second));
            w.put_content(&there, &digest(word), blob(second));
        }
    })
    .unwrap();
    let listed = |name| -> Vec<_> {
        let rows = catalog.listed_by(name, &digest("image"), 9).unwrap();
        rows.into_iter().map(|row| row.manifest).collect()
    };
    assert_eq!(listed(&here), ["wrapper", "newer", "index"].map(digest));
    assert!(listed(&there).is_empty());
    assert_eq!(
        catalog.parents(&here, &digest("image"), 9).unwrap(),
        ["newer", "index"].map(digest)
    );
    assert_eq!(catalog.parents(&here, &digest("image"), 1).unwrap(), [digest("newer")]);
    assert!(catalog.parents(&there, &digest("image"), 9).unwrap().is_empty());
    // Asked for as a manifest there too, it is one.
    write(&catalog, |w| w.put_content(&there, &digest("index"), as_manifest(9))).unwrap();
    assert_eq!(listed(&there), [digest("index")]);
    assert_eq!(catalog.parents(&there, &digest("image"), 9).unwrap(), [digest("index")]);
}
