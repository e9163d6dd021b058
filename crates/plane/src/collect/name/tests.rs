//! What happens between a mark and its removal.

use super::*;
use crate::clock::Clock;
use crate::view::{Hosted, Kind, Repository, Retention, Untagged};
use catalog::{Catalog, Content};
use telemetry::{Metrics, Registry};

const LONG: Duration = Duration::from_secs(40 * 24 * 3600);
const TERMS: Terms = Terms { untagged_for: None, blobs_unused_for: Duration::ZERO, is_dry: false };

fn shelf() -> (tempfile::TempDir, Arc<Shelf>) {
    let dir = tempfile::tempdir().unwrap();
    let store = blobs::Store::open(blobs::Options::new(dir.path())).unwrap();
    let metrics = Metrics::new(Registry::default(), "test", None);
    let shelf = Shelf::new(store, Catalog::in_memory().unwrap(), Clock::manual(), metrics);
    (dir, Arc::new(shelf))
}

fn hosted() -> Hosted {
    Hosted {
        immutable_tags: Vec::new(),
        quota_bytes: None,
        retention: Vec::new(),
        untagged: Untagged(Some(Duration::ZERO)),
        allows_sparse: false,
        manifest_max_bytes: 1 << 20,
        redirect: None,
    }
}

fn subject() -> Subject {
    let hosted = Arc::new(hosted());
    let mut repository = Repository::for_tests("team", &["team"], &[], false);
    repository.kind = Kind::Hosted(hosted.clone());
    let name = Name::parse("team/app").unwrap();
    let of = HostedName { repository: Arc::new(repository), hosted, name };
    Subject { of, pinned: Vec::new() }
}

/// A manifest without a tag, and a blob without a manifest, long ago.
async fn leave(shelf: &Arc<Shelf>, name: &Name) -> (Digest, Digest) {
    let (manifest, blob) = (Digest::sha256(b"manifest"), Digest::sha256(b"blob"));
    let mut batch = Batch::new();
    for (digest, is_manifest) in [(manifest, true), (blob, false)] {
        let at = shelf.clock.now();
        batch.put_blob(&digest, 5, is_manifest, at);
        let content = Content {
            is_manifest,
            size_bytes: Some(5),
            media_type: None,
            private_to: None,
            is_hosted: true,
            at,
        };
        batch.put_content(name, &digest, content);
    }
    shelf.catalog.submit(batch).await.unwrap();
    shelf.clock.advance(LONG);
    (manifest, blob)
}

async fn looked(shelf: &Arc<Shelf>, subject: &Subject, used: Vec<Digest>) -> Collection {
    let subject = subject.clone();
    let work = move |shelf: &Shelf| {
        look(shelf, &subject, TERMS, false, |of: &HashSet<Digest>| {
            used.iter().copied().filter(|digest| of.contains(digest)).collect()
        })
    };
    match shelf.blocking(work).await.unwrap().unwrap() {
        Looked::Found { collection, .. } => collection,
        Looked::Changing | Looked::Gone => panic!("there is something to see"),
    }
}

#[tokio::test]
async fn what_is_tagged_between_the_mark_and_the_removal_stays() {
    let ((_dir, shelf), subject) = (shelf(), subject());
    let (manifest, _) = leave(&shelf, &subject.of.name).await;
    let collection = looked(&shelf, &subject, Vec::new()).await;
    assert_eq!(collection.contents.len(), 2);
    let mut batch = Batch::new();
    let tag = Tag::parse("latest").unwrap();
    batch.move_tag(&subject.of.name, &tag, &manifest, shelf.clock.now());
    shelf.catalog.submit(batch).await.unwrap();
    assert_eq!(take(&shelf, collection, false).await, Err(WriteError::Conflict));
    let again = looked(&shelf, &subject, Vec::new()).await;
    assert_eq!(again.contents.len(), 1, "marked again, only the blob goes");
    take(&shelf, again, false).await.unwrap();
    assert!(shelf.catalog.content(&subject.of.name, &manifest).unwrap().is_some());
}

#[tokio::test]
async fn of_a_name_that_never_stands_still_what_is_dead_goes_all_the_same() {
    let ((_dir, shelf), subject) = (shelf(), subject());
    let (manifest, blob) = leave(&shelf, &subject.of.name).await;
    let collection = looked(&shelf, &subject, Vec::new()).await;
    let mut batch = Batch::new();
    let tag = Tag::parse("latest").unwrap();
    batch.move_tag(&subject.of.name, &tag, &manifest, shelf.clock.now());
    shelf.catalog.submit(batch).await.unwrap();
    take(&shelf, collection, true).await.unwrap();
    let content = |digest: &Digest| shelf.catalog.content(&subject.of.name, digest).unwrap();
    assert!(content(&manifest).is_some(), "it was tagged meanwhile");
    assert!(content(&blob).is_none());
}

#[tokio::test]
async fn what_is_used_between_the_mark_and_the_removal_stays() {
    let ((_dir, shelf), subject) = (shelf(), subject());
    let (manifest, blob) = leave(&shelf, &subject.of.name).await;
    let by_memory = looked(&shelf, &subject, vec![blob]).await;
    assert_eq!(by_memory.contents.len(), 1, "memory knows of a use");
    let collection = looked(&shelf, &subject, Vec::new()).await;
    let mut batch = Batch::new();
    batch.used(&[(subject.of.name.clone(), manifest)], shelf.clock.now());
    shelf.catalog.submit(batch).await.unwrap();
    assert_eq!(take(&shelf, collection, false).await, Err(WriteError::Conflict));
    let mut batch = Batch::new();
    batch.used(&[(subject.of.name.clone(), blob)], shelf.clock.now());
    shelf.clock.advance(LONG);
    let collection = looked(&shelf, &subject, Vec::new()).await;
    shelf.catalog.submit(batch).await.unwrap();
    take(&shelf, collection, false).await.unwrap();
    assert!(shelf.catalog.content(&subject.of.name, &manifest).unwrap().is_none());
    assert!(shelf.catalog.content(&subject.of.name, &blob).unwrap().is_some());
}

#[tokio::test]
async fn many_tags_go_in_several_writes() {
    let ((_dir, shelf), mut subject) = (shelf(), subject());
    let (manifest, _) = leave(&shelf, &subject.of.name).await;
    let rule = Retention {
        names: Vec::new(),
        tags: Vec::new(),
        keep_last: Some(3),
        older_than: None,
        not_pulled_for: None,
    };
    let hosted = Hosted { retention: vec![rule], ..hosted() };
    subject.of.hosted = Arc::new(hosted);
    let mut batch = Batch::new();
    for number in 0..DOOMED_MAX + 10 {
        let tag = Tag::parse(&format!("t{number}")).unwrap();
        batch.move_tag(&subject.of.name, &tag, &manifest, shelf.clock.now());
    }
    shelf.catalog.submit(batch).await.unwrap();
    let first = looked(&shelf, &subject, Vec::new()).await;
    assert_eq!(first.tags.len(), DOOMED_MAX);
    take(&shelf, first, false).await.unwrap();
    let second = looked(&shelf, &subject, Vec::new()).await;
    assert_eq!(second.tags.len(), 7, "of ten more, three are the newest");
    take(&shelf, second, false).await.unwrap();
    assert_eq!(shelf.catalog.tags(&subject.of.name, None, 10).unwrap().len(), 3);
}

#[test]
fn the_time_of_a_use_is_coarse_and_a_push_may_wait_for_nothing() {
    let now = Timestamp::from_second(1_000_000).unwrap();
    let seconds = |age: u64| {
        let since = unused_since(now, Duration::from_secs(age));
        now.as_second() - since.as_second()
    };
    assert_eq!([seconds(0), seconds(10), seconds(60), seconds(3600)], [0, 20, 120, 3660]);
}
