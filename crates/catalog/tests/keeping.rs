//! Eviction and collection: what could go, what must not, and the way out.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use catalog::*;
use oci::{Digest, Reference};
use policy::NamePattern;
use std::collections::HashSet;
use support::*;

fn put(catalog: &Catalog, name_text: &str, word: &str, size: u64, second: i64) {
    write(catalog, |w| {
        w.put_blob(&digest(word), size, false, at(second));
        w.put_content(&name(name_text), &digest(word), blob(second));
    })
    .unwrap();
}

fn victims(catalog: &Catalog) -> Vec<Digest> {
    catalog.victims(None, 100).unwrap().into_iter().map(|victim| victim.digest).collect()
}

#[test]
fn victims_come_oldest_first_and_in_pages() {
    let catalog = Catalog::in_memory().unwrap();
    for (word, second) in [("c", 3), ("a", 1), ("b", 2)] {
        put(&catalog, "r/x", word, 10, second);
    }
    write(&catalog, |w| w.put_blob(&digest("m"), 1, true, at(1))).unwrap();
    let all = catalog.victims(None, 100).unwrap();
    let order: Vec<_> = all.iter().map(|victim| victim.digest).collect();
    assert_eq!(order, [digest("a"), digest("m"), digest("b"), digest("c")]);
    assert!(all[1].is_manifest);

    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let page = catalog.victims(cursor.as_ref(), 1).unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(last.cursor());
        paged.extend(page);
    }
    assert_eq!(paged, all);

    write(&catalog, |w| w.used(&[(name("r/x"), digest("a"))], at(9))).unwrap();
    assert_eq!(victims(&catalog).last(), Some(&digest("a")));
    write(&catalog, |w| w.condemn(&digest("m"), at(10))).unwrap();
    assert!(!victims(&catalog).contains(&digest("m")));
}

#[test]
fn victims_of_a_repository_know_who_else_holds_them() {
    let catalog = Catalog::in_memory().unwrap();
    put(&catalog, "r/x", "shared", 10, 1);
    put(&catalog, "r/y", "shared", 10, 2);
    put(&catalog, "q/x", "shared", 10, 3);
    put(&catalog, "r/x", "own", 20, 2);
    put(&catalog, "r-2/x", "foreign", 10, 1);
    write(&catalog, |w| w.put_content(&name("r/x"), &digest("absent"), blob(0))).unwrap();
    let rows = catalog.victims_of("r", None, 100).unwrap();
    let seen: Vec<_> =
        rows.iter().map(|v| (v.name.as_str(), v.digest, v.size_bytes, v.others)).collect();
    let (shared, own) = (digest("shared"), digest("own"));
    let mut expected = vec![("r/x", shared, 10, 2), ("r/x", own, 20, 0), ("r/y", shared, 10, 2)];
    assert_eq!(seen, expected);
    let rest = catalog.victims_of("r", Some(&rows[0].cursor()), 100).unwrap();
    assert_eq!(rest, rows[1..]);

    // Dropped from one name it is still held by the others; condemned it is nobody's victim.
    write(&catalog, |w| w.drop_content(&name("r/x"), &shared)).unwrap();
    expected.remove(0);
    expected[1].3 = 1;
    let rows = catalog.victims_of("r", None, 100).unwrap();
    let seen: Vec<_> =
        rows.iter().map(|v| (v.name.as_str(), v.digest, v.size_bytes, v.others)).collect();
    assert_eq!(seen, expected);
    write(&catalog, |w| w.condemn(&shared, at(9))).unwrap();
    assert_eq!(catalog.victims_of("r", None, 100).unwrap().len(), 1);
}

#[test]
fn a_catalog_that_knows_no_blob_says_so_and_the_length_of_one_it_knows() {
    let catalog = Catalog::in_memory().unwrap();
    write(&catalog, |w| w.put_content(&name("r/x"), &digest("absent"), blob(0))).unwrap();
    assert!(catalog.is_without_blobs().unwrap());
    put(&catalog, "r/x", "here", 10, 1);
    assert!(!catalog.is_without_blobs().unwrap());
    assert_eq!(catalog.blob_size(&digest("here")).unwrap(), Some(10));
    assert_eq!(catalog.blob_size(&digest("absent")).unwrap(), None);
}

#[test]
fn usage_counts_each_blob_once_and_each_content_in_full() {
    let catalog = Catalog::in_memory().unwrap();
    assert_eq!(catalog.usage().unwrap(), Usage::default());
    put(&catalog, "r/x", "shared", 10, 1);
    put(&catalog, "r/y", "shared", 10, 1);
    put(&catalog, "q/x", "shared", 10, 1);
    put(&catalog, "q/x", "own", 7, 1);
    write(&catalog, |w| w.put_content(&name("q/x"), &digest("absent"), blob(0))).unwrap();
    let of = |repository: &str, blobs, bytes| RepositoryUse {
        repository: repository.into(),
        blobs,
        bytes,
    };
    let mut usage = Usage {
        blobs: 2,
        bytes: 17,
        condemned_bytes: 0,
        held_bytes: 0,
        repositories: vec![of("q", 2, 17), of("r", 2, 20)],
    };
    assert_eq!(catalog.usage().unwrap(), usage);
    write(&catalog, |w| w.condemn(&digest("own"), at(2))).unwrap();
    usage.condemned_bytes = 7;
    usage.repositories[0] = of("q", 1, 10);
    assert_eq!(catalog.usage().unwrap(), usage);
}

#[test]
fn condemned_is_taken_back_by_content_and_by_bytes() {
    let catalog = Catalog::in_memory().unwrap();
    let d = digest("d");
    let row = |text: &str| catalog.content(&name(text), &d).unwrap().unwrap();
    put(&catalog, "r/x", "d", 10, 1);
    write(&catalog, |w| w.condemn(&d, at(2))).unwrap();
    assert_eq!((row("r/x").present, row("r/x").condemned_at), (true, Some(at(2))));
    assert_eq!(write(&catalog, |w| w.condemn(&d, at(3))), Err(WriteError::Conflict));
    assert_eq!(catalog.condemned(at(1), 9).unwrap(), []);
    assert_eq!(catalog.condemned(at(2), 9).unwrap(), [d]);

    // Another name wants it: kept, for the first name too.
    write(&catalog, |w| w.put_content(&name("q/x"), &d, blob(4))).unwrap();
    assert_eq!(row("r/x").condemned_at, None);
    assert_eq!(catalog.usage().unwrap().repositories.len(), 2);
    assert_eq!(write(&catalog, |w| w.blob_gone(&d)), Err(WriteError::Conflict));
    assert_eq!(write(&catalog, |w| w.begin_removal(&d)), Err(WriteError::Conflict));

    write(&catalog, |w| w.condemn(&d, at(5))).unwrap();
    write(&catalog, |w| w.put_blob(&d, 10, false, at(6))).unwrap();
    assert_eq!(row("r/x").condemned_at, None);
    write(&catalog, |w| w.condemn(&d, at(7))).unwrap();
    write(&catalog, |w| w.uncondemn(&d)).unwrap();
    write(&catalog, |w| w.uncondemn(&d)).unwrap();
    assert_eq!(row("r/x").condemned_at, None);
    assert_eq!(write(&catalog, |w| w.uncondemn(&digest("no"))), Err(WriteError::Conflict));
}

#[test]
fn once_removal_began_only_new_bytes_bring_it_back() {
    let catalog = Catalog::in_memory().unwrap();
    let d = digest("d");
    let present = |text: &str| catalog.content(&name(text), &d).unwrap().unwrap().present;
    put(&catalog, "r/x", "d", 10, 1);
    write(&catalog, |w| w.condemn(&d, at(2))).unwrap();
    write(&catalog, |w| w.begin_removal(&d)).unwrap();
    assert!(!present("r/x"));
    assert_eq!(write(&catalog, |w| w.uncondemn(&d)), Err(WriteError::Conflict));
    write(&catalog, |w| w.put_content(&name("q/x"), &d, blob(3))).unwrap();
    assert!(!present("q/x"), "its file may be unlinked already: to be fetched again");
    assert_eq!(catalog.condemned(at(9), 9).unwrap(), [d], "also after a crash in between");

    write(&catalog, |w| w.put_blob(&d, 10, false, at(4))).unwrap();
    assert!(present("r/x") && present("q/x"));
    assert_eq!(write(&catalog, |w| w.blob_gone(&d)), Err(WriteError::Conflict));

    write(&catalog, |w| w.condemn(&d, at(5))).unwrap();
    write(&catalog, |w| w.begin_removal(&d)).unwrap();
    write(&catalog, |w| w.blob_gone(&d)).unwrap();
    assert!(!present("r/x"));
    assert_eq!(catalog.usage().unwrap().blobs, 0);
    assert!(catalog.content(&name("r/x"), &d).unwrap().is_some(), "known without its bytes");

    put(&catalog, "r/x", "d", 10, 6);
    write(&catalog, |w| w.blob_lost(&d)).unwrap();
    assert!(!present("r/x"));
    assert_eq!(victims(&catalog), []);
}

#[test]
fn a_use_or_a_pin_that_comes_first_stops_a_condemnation() {
    let catalog = Catalog::in_memory().unwrap();
    put(&catalog, "r/x", "layer", 10, 1);
    let seen = catalog.victims(None, 1).unwrap().remove(0);
    write(&catalog, |w| w.used(&[(name("r/x"), digest("layer"))], at(5))).unwrap();
    let condemn =
        |last_used| write(&catalog, |w| w.condemn_unused(&digest("layer"), last_used, at(6)));
    assert_eq!(condemn(seen.last_used), Err(WriteError::Conflict));

    // index → image → layer, pinned at the top, by tag.
    write(&catalog, |w| {
        w.put_manifest(&manifest("index", vec![edge("image", Role::Child)]));
        w.put_manifest(&manifest("image", vec![edge("layer", Role::Layer)]));
        w.move_tag(&name("r/x"), &tag("t"), &digest("index"), at(1));
        w.pin(&name("r/x"), &Reference::Tag(tag("t")), at(1));
    })
    .unwrap();
    assert_eq!(condemn(at(5)), Err(WriteError::Conflict));
    write(&catalog, |w| w.unpin(&name("r/x"), &Reference::Tag(tag("t")))).unwrap();
    write(&catalog, |w| w.pin(&name("r/x"), &Reference::Digest(digest("image")), at(1))).unwrap();
    assert_eq!(condemn(at(5)), Err(WriteError::Conflict));
    write(&catalog, |w| w.unpin(&name("r/x"), &Reference::Digest(digest("image")))).unwrap();
    assert_eq!(condemn(at(5)), Ok(()));
}

#[test]
fn pins_reach_through_indexes_and_say_when_they_were_cut() {
    let catalog = Catalog::in_memory().unwrap();
    write(&catalog, |w| {
        w.put_manifest(&manifest(
            "index",
            vec![edge("one", Role::Child), edge("two", Role::Child), edge("loop", Role::Child)],
        ));
        let config = edge("config", Role::Config);
        w.put_manifest(&manifest("one", vec![config, edge("base", Role::Layer)]));
        w.put_manifest(&manifest("two", vec![edge("base", Role::Layer)]));
        // No hash allows such a loop, but a row might claim one.
        w.put_manifest(&manifest("loop", vec![edge("index", Role::Child)]));
        w.put_manifest(&manifest("extra", vec![edge("extra-layer", Role::Layer)]));
        w.move_tag(&name("r/x"), &tag("t"), &digest("index"), at(1));
        w.move_tag(&name("r/x"), &tag("e"), &digest("extra"), at(1));
        w.pin(&name("r/x"), &Reference::Tag(tag("t")), at(1));
        w.pin(&name("r/x"), &Reference::Tag(tag("unknown")), at(1));
        w.pin(&name("q/x"), &Reference::Digest(digest("lonely")), at(2));
    })
    .unwrap();
    let set = |words: &[&str]| words.iter().map(|word| digest(word)).collect::<HashSet<_>>();
    let mut reached = set(&["index", "one", "two", "loop", "config", "base", "lonely"]);
    let pinned = catalog.pinned_digests(&[], 1000).unwrap();
    assert_eq!(pinned.digests, reached);
    assert!(!pinned.cut);
    reached.extend(set(&["extra", "extra-layer"]));
    let also = [(name("r/x"), tag("e")), (name("r/x"), tag("nowhere"))];
    assert_eq!(catalog.pinned_digests(&also, 1000).unwrap().digests, reached);
    let cut = catalog.pinned_digests(&also, 4).unwrap();
    assert!(cut.cut);
    assert_eq!(cut.digests.len(), 4);

    let pins = catalog.pins().unwrap();
    assert_eq!(pins.len(), 3);
    let first =
        PinRow { name: name("q/x"), reference: Reference::Digest(digest("lonely")), at: at(2) };
    assert_eq!(pins[0], first);
}

#[test]
fn the_cache_is_listed_in_pages_and_by_filter() {
    let catalog = Catalog::in_memory().unwrap();
    for (place, word) in [("r/a", "1"), ("r/a", "2"), ("r/b/c", "1"), ("r-x/a", "1"), ("s/a", "3")]
    {
        put(&catalog, place, word, 10, 1);
    }
    write(&catalog, |w| {
        w.put_content(&name("r/a"), &digest("m"), Content { is_manifest: true, ..blob(1) });
        w.put_manifest(&manifest("m", vec![edge("1", Role::Layer)]));
        w.move_tag(&name("r/a"), &tag("t2"), &digest("m"), at(1));
        w.move_tag(&name("r/a"), &tag("t1"), &digest("m"), at(1));
        w.move_tag(&name("s/a"), &tag("elsewhere"), &digest("m"), at(1));
        w.pin(&name("r/a"), &Reference::Tag(tag("t1")), at(1));
    })
    .unwrap();
    let list = |filter: &CacheFilter| {
        let whole = catalog.cached(filter, None, 100).unwrap();
        let mut paged: Vec<CachedRow> = Vec::new();
        loop {
            let cursor = paged.last().map(CachedRow::cursor);
            let page = catalog.cached(filter, cursor.as_ref(), 1).unwrap();
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, whole, "pages add up");
        assert!(whole.is_sorted_by_key(|row| (row.name.clone(), row.digest.to_string())));
        whole
    };
    let places = |rows: &[CachedRow]| rows.iter().map(|r| r.name.to_string()).collect::<Vec<_>>();

    let all = list(&CacheFilter::default());
    assert_eq!(places(&all), ["r-x/a", "r/a", "r/a", "r/a", "r/b/c", "s/a"]);
    let shown = all.iter().find(|row| row.is_manifest).unwrap();
    assert_eq!(shown.tags, [tag("t1"), tag("t2")]);
    assert!(shown.pinned && !shown.present);
    let of = |word: &str| all.iter().find(|row| row.digest == digest(word)).unwrap();
    assert!(of("1").pinned && of("1").present, "a layer of what is pinned");
    assert!(!of("3").pinned);

    let repository = CacheFilter { repository: Some("r".into()), ..CacheFilter::default() };
    assert_eq!(places(&list(&repository)), ["r/a", "r/a", "r/a", "r/b/c"]);
    let within =
        CacheFilter { names: Some(NamePattern::parse("r/*").unwrap()), ..CacheFilter::default() };
    assert_eq!(places(&list(&within)), ["r/a", "r/a", "r/a"]);
    let below = CacheFilter {
        names: Some(NamePattern::parse("{r,s}/**").unwrap()),
        digest: Some(digest("1")),
        ..CacheFilter::default()
    };
    assert_eq!(places(&list(&below)), ["r/a", "r/b/c"]);
    let nothing =
        CacheFilter { names: Some(NamePattern::parse("zz/*").unwrap()), ..CacheFilter::default() };
    assert!(list(&nothing).is_empty());
}
