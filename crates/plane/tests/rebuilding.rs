//! The catalog is lost and the store is not: what was pushed is known again, and until then nobody is
//! told that it is not there.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use oci::{Digest, Name};
use plane::{Method, Refusal, What};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::{Rig, Setup, descriptor, hosted, image_manifest, index};

const PATIENCE: Duration = Duration::from_secs(30);

async fn rig_in(dir: &Arc<tempfile::TempDir>) -> Rig {
    let setup = Setup { dir: Some(dir.clone()), ..Setup::default() };
    Rig::with(&hosted(""), setup).await
}

async fn rig() -> Rig {
    Rig::with(&hosted(""), Setup::default()).await
}

/// Stops the plane and takes its catalog away.
async fn lose_catalog(rig: Rig) -> Arc<tempfile::TempDir> {
    assert!(rig.plane.stop(PATIENCE).await);
    let dir = rig.dir.clone();
    drop(rig);
    for file in ["catalog.sqlite", "catalog.sqlite-wal"] {
        let _ = std::fs::remove_file(dir.path().join(file));
    }
    dir
}

fn names_dir(rig: &Rig) -> PathBuf {
    rig.dir.path().join("blobs/names")
}

/// The document of `team/app`, as it lies there.
fn document(rig: &Rig) -> Option<Value> {
    let bytes = std::fs::read(names_dir(rig).join("team/app/_index.json")).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

fn document_tags(rig: &Rig) -> Vec<String> {
    let Some(document) = document(rig) else { return Vec::new() };
    let entries = document["manifests"].as_array().unwrap().iter();
    let tag = |entry: &Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned)
    };
    let mut tags: Vec<String> = entries.filter_map(tag).collect();
    tags.sort();
    tags
}

fn file_of(rig: &Rig, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    rig.dir.path().join("blobs/sha256").join(&hex[..2]).join(hex)
}

async fn digest_at(rig: &Rig, reference: &str) -> Result<Digest, Refusal> {
    let path = format!("/v2/team/app/manifests/{reference}");
    rig.manifest(&path).await.map(|(bytes, _)| Digest::sha256(&bytes))
}

fn is_cannot_tell<T>(answer: Result<T, Refusal>) -> bool {
    match answer {
        Err(Refusal::Indeterminate { reason, .. }) => {
            assert!(reason.contains("being rebuilt"), "{reason}");
            true
        }
        Err(refusal) => panic!("{refusal:?}"),
        Ok(_) => false,
    }
}

/// Whether all names are known: a list is given only then.
async fn is_whole(rig: &Rig) -> bool {
    !is_cannot_tell(rig.get("/v2/team/app/tags/list").await)
}

#[tokio::test]
async fn what_was_pushed_is_known_again_from_the_store_alone() {
    let first = rig().await;
    let one = first.push_image("team/app", "1", "one").await.unwrap();
    let two = first.push_image("team/app", "two", "two").await.unwrap();
    first.push_image("team/app", "latest", "two").await.unwrap();
    let image = |seed: &str| {
        let (config, layer) = (format!("{{\"seed\":\"{seed}\"}}"), format!("the layer of {seed}"));
        image_manifest(config.as_bytes(), &[layer.as_bytes()])
    };
    let (image_one, image_two) = (image("one"), image("two"));
    let all = index(&[&image_one, &image_two]);
    let all = first.push_manifest("team/app", "all", &all).await.unwrap();
    // One that refers to another and has no tag, as `oras attach` makes it.
    let mut attached = image_manifest(b"{}", &[b"evidence"]);
    attached["subject"] =
        descriptor(testkit::OCI_MANIFEST, &serde_json::to_vec(&image_one).unwrap());
    first.push_blob("team/app", b"{}").await.unwrap();
    first.push_blob("team/app", b"evidence").await.unwrap();
    let bytes = serde_json::to_vec(&attached).unwrap();
    let attached_digest = Digest::sha256(&bytes);
    first.push_manifest("team/app", &attached_digest.to_string(), &attached).await.unwrap();
    let used = first.catalog.hosted_use("team").unwrap();
    let entries = first.catalog.tag_entries(&Name::parse("team/app").unwrap(), None, 9).unwrap();

    let dir = lose_catalog(first).await;
    let second = rig_in(&dir).await;
    second
        .eventually("the catalog is whole", async |rig| {
            // Never absent on the way.
            !is_cannot_tell(digest_at(rig, "latest").await)
                && !is_cannot_tell(rig.get("/v2/team/app/tags/list").await)
        })
        .await;
    for (reference, digest) in [("1", one), ("two", two), ("latest", two), ("all", all)] {
        assert_eq!(digest_at(&second, reference).await.unwrap(), digest, "{reference}");
    }
    assert_eq!(digest_at(&second, &attached_digest.to_string()).await.unwrap(), attached_digest);
    let layer = Digest::sha256(b"the layer of one");
    let (bytes, _) = second.blob(&format!("/v2/team/app/blobs/{layer}")).await.unwrap();
    assert_eq!(&bytes[..], b"the layer of one");
    match second.get(&format!("/v2/team/app/referrers/{one}")).await.unwrap().what {
        What::Referrers { descriptors, .. } => assert_eq!(descriptors.len(), 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(second.catalog.hosted_use("team").unwrap(), used);
    let again = second.catalog.tag_entries(&Name::parse("team/app").unwrap(), None, 9).unwrap();
    for (before, after) in entries.iter().zip(&again) {
        assert_eq!((&before.tag, before.moved_at), (&after.tag, after.moved_at));
        assert_eq!(before.pushed_at, after.pushed_at);
    }
    // What nothing ever held is absent now, and pushes go on.
    assert!(matches!(digest_at(&second, "never").await, Err(Refusal::Absent { .. })));
    second.push_image("team/app", "3", "three").await.unwrap();
    let warnings = second.plane.status().warnings;
    let about = |it: &&String| it.contains("rebuilt") || it.contains("hosted");
    assert_eq!(warnings.iter().find(about), None, "{warnings:?}");
}

#[tokio::test]
async fn until_it_is_known_nothing_is_absent_and_nothing_changes() {
    let first = rig().await;
    let one = first.push_image("team/app", "1", "one").await.unwrap();
    let dir = lose_catalog(first).await;
    // A store that cannot be read: the names are a file.
    let (names, aside) = (dir.path().join("blobs/names"), dir.path().join("blobs/aside"));
    std::fs::rename(&names, &aside).unwrap();
    std::fs::write(&names, "").unwrap();
    let second = rig_in(&dir).await;
    second
        .eventually("it is told", async |rig| {
            rig.plane.status().warnings.iter().any(|it| it.contains("it does not go on"))
        })
        .await;
    assert!(second.plane.status().ready, "others are served");
    let path = format!("/v2/team/app/blobs/{one}");
    assert!(is_cannot_tell(digest_at(&second, "1").await));
    assert!(is_cannot_tell(digest_at(&second, &one.to_string()).await));
    assert!(is_cannot_tell(second.get(&path).await));
    assert!(is_cannot_tell(second.get("/v2/team/app/tags/list").await));
    assert!(is_cannot_tell(second.get("/v2/team/other/tags/list").await));
    assert!(is_cannot_tell(second.get(&format!("/v2/team/app/referrers/{one}")).await));
    assert!(is_cannot_tell(second.push_blob("team/app", b"x").await));
    assert!(is_cannot_tell(second.ask(Method::Delete, "/v2/team/app/manifests/1").await));
    let report = second.plane.collect_round().await;
    assert!(report.problems[0].contains("rebuilt"), "{:?}", report.problems);
    assert!(second.plane.purge(plane::PurgeTarget::Digest(one)).await.is_err());

    std::fs::remove_file(&names).unwrap();
    std::fs::rename(&aside, &names).unwrap();
    second.eventually("it is known again", async |rig| is_whole(rig).await).await;
    assert_eq!(digest_at(&second, "1").await.unwrap(), one);
    second.push_image("team/app", "2", "two").await.unwrap();
}

#[tokio::test]
async fn a_catalog_that_is_lost_while_the_plane_runs_comes_back_by_itself() {
    let rig = rig().await;
    let one = rig.push_image("team/app", "1", "one").await.unwrap();
    rig.eventually("the document is written", async |rig| document_tags(rig) == ["1"]).await;
    std::fs::remove_file(rig.dir.path().join("catalog.sqlite")).unwrap();
    rig.eventually("a fresh catalog is there", async |rig| rig.catalog.fresh_starts() > 1).await;
    rig.eventually("it is whole again", async |rig| {
        let warnings = rig.plane.status().warnings;
        !warnings.iter().any(|it| it.contains("being rebuilt"))
    })
    .await;
    assert_eq!(digest_at(&rig, "1").await.unwrap(), one);
    let name = Name::parse("team/app").unwrap();
    assert!(rig.catalog.name_change(&name).unwrap().is_some());
    assert_eq!(document_tags(&rig), ["1"]);
}

#[tokio::test]
async fn the_store_follows_pushes_moves_and_deletes() {
    let rig = rig().await;
    let one = rig.push_image("team/app", "1", "one").await.unwrap();
    rig.push_image("team/app", "latest", "one").await.unwrap();
    rig.eventually("two tags", async |rig| document_tags(rig) == ["1", "latest"]).await;
    let written = document(&rig).unwrap();
    let name = Name::parse("team/app").unwrap();
    let change = rig.catalog.name_change(&name).unwrap().unwrap();
    assert_eq!(written["annotations"]["dev.lockgate.change"], change.to_string());
    rig.push_image("team/app", "latest", "two").await.unwrap();
    rig.ask(Method::Delete, "/v2/team/app/manifests/1").await.unwrap();
    rig.eventually("a tag less, its manifest still there", async |rig| {
        let entries = document(rig).unwrap()["manifests"].as_array().unwrap().len();
        document_tags(rig) == ["latest"] && entries == 2
    })
    .await;
    rig.ask(Method::Delete, &format!("/v2/team/app/manifests/{one}")).await.unwrap();
    let two = digest_at(&rig, "latest").await.unwrap();
    rig.ask(Method::Delete, &format!("/v2/team/app/manifests/{two}")).await.unwrap();
    rig.eventually("no document", async |rig| document(rig).is_none()).await;
    // A stop leaves nothing unwritten.
    rig.push_image("team/app", "last", "one").await.unwrap();
    assert!(rig.plane.stop(PATIENCE).await);
    assert_eq!(document_tags(&rig), ["last"]);
}

#[tokio::test]
async fn a_start_writes_what_a_kill_left_unwritten_and_keeps_what_something_can_be_made_of() {
    let first = rig().await;
    first.push_image("team/app", "1", "one").await.unwrap();
    assert!(first.plane.stop(PATIENCE).await);
    let (dir, home) = (first.dir.clone(), names_dir(&first));
    drop(first);
    std::fs::remove_file(home.join("team/app/_index.json")).unwrap();
    // Names that the catalog does not know: of one there is something in the store, of one nothing.
    let setup = Setup { dir: Some(dir.clone()), ..Setup::default() };
    let store = blobs::Store::open(blobs::Options::new(dir.path())).unwrap();
    for (name, bytes) in [("team/there", &b"manifest"[..]), ("team/gone", b"nowhere")] {
        let digest = Digest::sha256(bytes);
        if name == "team/there" {
            store.put(&digest, bytes).unwrap();
        }
        let text = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\
             \"annotations\":{{\"dev.lockgate.name\":\"{name}\",\"dev.lockgate.change\":\"9\"}},\
             \"manifests\":[{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
             \"digest\":\"{digest}\",\"size\":7}}]}}"
        );
        store.put_document(&Name::parse(name).unwrap(), text.as_bytes()).unwrap();
    }
    let second = Rig::with(&hosted(""), setup).await;
    second
        .eventually("written, and tidied", async |rig| {
            document_tags(rig) == ["1"] && !home.join("team/gone").exists()
        })
        .await;
    assert!(home.join("team/there/_index.json").exists());
}

#[tokio::test]
async fn what_is_not_in_the_store_any_more_is_known_as_lost() {
    let first = rig().await;
    let one = first.push_image("team/app", "1", "one").await.unwrap();
    let two = first.push_image("team/app", "2", "two").await.unwrap();
    let layer = Digest::sha256(b"the layer of one");
    let files = [file_of(&first, &two), file_of(&first, &layer)];
    let dir = lose_catalog(first).await;
    files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let setup = Setup { dir: Some(dir.clone()), ..Setup::default() };
    // One document that cannot be read holds nobody else up.
    let store = blobs::Store::open(blobs::Options::new(dir.path())).unwrap();
    store.put_document(&Name::parse("team/broken").unwrap(), b"{").unwrap();
    let second = Rig::with(&hosted(""), setup).await;
    second.eventually("it is known", async |rig| is_whole(rig).await).await;
    assert_eq!(digest_at(&second, "1").await.unwrap(), one);
    for path in ["manifests/2".to_owned(), format!("blobs/{layer}")] {
        match second.get(&format!("/v2/team/app/{path}")).await {
            Err(Refusal::Indeterminate { reason, .. }) => {
                assert!(reason.contains("push it again"), "{reason}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    let lost = second.catalog.lost(None, 10).unwrap();
    assert_eq!(lost.len(), 2);
    // Pushing it again is all it takes.
    second.push_image("team/app", "2", "two").await.unwrap();
    assert_eq!(digest_at(&second, "2").await.unwrap(), two);
}

#[tokio::test]
async fn a_stand_in_in_memory_answers_and_takes_nothing_in_or_away() {
    let first = rig().await;
    let one = first.push_image("team/app", "1", "one").await.unwrap();
    assert!(first.plane.stop(PATIENCE).await);
    let before = document(&first);
    let dir = first.dir.clone();
    drop(first);
    let catalog = catalog::Catalog::in_memory().unwrap();
    let setup = Setup { dir: Some(dir), catalog: Some(catalog), ..Setup::default() };
    let second = Rig::with(&hosted(""), setup).await;
    second.eventually("it is known", async |rig| is_whole(rig).await).await;
    assert_eq!(digest_at(&second, "1").await.unwrap(), one);
    assert!(matches!(digest_at(&second, "2").await, Err(Refusal::Absent { .. })));
    match second.push_blob("team/app", b"x").await {
        Err(Refusal::Indeterminate { reason, .. }) => assert!(reason.contains("in memory")),
        other => panic!("{other:?}"),
    }
    assert!(!second.plane.collect_round().await.problems.is_empty());
    assert!(second.plane.purge(plane::PurgeTarget::Digest(one)).await.is_err());
    assert!(second.plane.stop(PATIENCE).await);
    assert_eq!(document(&second), before, "as the real catalog left it");
}
