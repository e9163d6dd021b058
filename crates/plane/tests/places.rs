//! Where the store lies, as operators change it: by editing `Plane.spec.store` while it serves.

#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use plane::{JobState, MigrateRequest, MigrateTo};
use std::path::Path;
use support::*;

/// A hosted repository, open to everybody, with its blobs in `directory`.
fn documents_in(directory: Option<&Path>) -> String {
    let mut text = hosted("");
    if let Some(directory) = directory {
        text.push_str(&format!(
            "---\napiVersion: lockgate.dev/v1alpha1\nkind: Plane\nmetadata: {{ name: default }}\n\
             spec: {{ store: {{ file: {{ directory: \"{}\" }} }} }}\n",
            directory.display()
        ));
    }
    text
}

async fn apply(rig: &Rig, text: &str) -> Result<(), String> {
    rig.plane.apply(set_of(text), "test.yaml").await.map(drop).map_err(|error| error.to_string())
}

fn blobs_in(directory: &Path) -> usize {
    let Ok(shards) = std::fs::read_dir(directory.join("sha256")) else { return 0 };
    shards.flatten().filter_map(|shard| std::fs::read_dir(shard.path()).ok()).flatten().count()
}

async fn migrate(rig: &Rig, to: MigrateTo, remove_source: bool) -> (JobState, Option<String>) {
    let job = rig.plane.migrate(MigrateRequest { to, remove_source }).await.unwrap();
    let mut job = rig.plane.job(&job.id).unwrap();
    let ended = job.wait_for(|view| view.state.is_final()).await.unwrap();
    (ended.state, ended.items.first().and_then(|item| item.problem.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_place_takes_what_comes_and_the_old_one_is_still_read() {
    let rig = Rig::with(&documents_in(None), Setup::default()).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let first = rig.push_blob("team/app", b"one").await.unwrap();
    apply(&rig, &documents_in(Some(elsewhere.path()))).await.unwrap();
    let second = rig.push_blob("team/app", b"two").await.unwrap();
    assert_eq!(blobs_in(elsewhere.path()), 1);
    for (digest, bytes) in [(first, "one"), (second, "two")] {
        let (read, _) = rig.blob(&format!("/v2/team/app/blobs/{digest}")).await.unwrap();
        assert_eq!(read, bytes);
    }
    let places = rig.plane.places().await;
    assert_eq!(places.len(), 2, "{places:?}");
    assert!(places[0].is_written && places[0].url.starts_with("file://"), "{places:?}");

    // And back: what was written there is read there.
    apply(&rig, &documents_in(None)).await.unwrap();
    let (read, _) = rig.blob(&format!("/v2/team/app/blobs/{second}")).await.unwrap();
    assert_eq!(read, "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_reads_the_former_places_too() {
    let rig = Rig::with(&documents_in(None), Setup::default()).await;
    let elsewhere = tempfile::tempdir().unwrap();
    apply(&rig, &documents_in(Some(elsewhere.path()))).await.unwrap();
    let digest = rig.push_blob("team/app", b"there").await.unwrap();
    apply(&rig, &documents_in(None)).await.unwrap();
    let dir = rig.dir.clone();
    assert!(rig.plane.stop(std::time::Duration::from_secs(10)).await);
    drop(rig);
    let setup = Setup { dir: Some(dir), ..Setup::default() };
    let rig = Rig::with(&documents_in(None), setup).await;
    let (read, _) = rig.blob(&format!("/v2/team/app/blobs/{digest}")).await.unwrap();
    assert_eq!(read, "there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_cannot_be_used_is_refused_and_nothing_changes() {
    let rig = Rig::with(&documents_in(None), Setup::default()).await;
    let gone = Path::new("/nowhere-that-is/blobs");
    let refused = apply(&rig, &documents_in(Some(gone))).await.unwrap_err();
    assert!(refused.contains("spec.store") && refused.contains("nowhere-that-is"), "{refused}");
    let digest = rig.push_blob("team/app", b"here").await.unwrap();
    let (read, _) = rig.blob(&format!("/v2/team/app/blobs/{digest}")).await.unwrap();
    assert_eq!(read, "here");
    assert_eq!(rig.plane.places().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_are_brought_over_and_the_source_is_freed_when_asked() {
    let rig = Rig::with(&documents_in(None), Setup::default()).await;
    let mut digests = Vec::new();
    for number in 0..20u8 {
        digests.push(rig.push_blob("team/app", &[number; 5000]).await.unwrap());
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let spec = || resources::v1alpha1::StoreSpec {
        file: Some(resources::v1alpha1::FileStore {
            directory: elsewhere.path().display().to_string(),
        }),
        s3: None,
        gcs: None,
        azure: None,
    };
    let to = || MigrateTo::Place(Box::new(spec()));
    assert_eq!(migrate(&rig, to(), false).await, (JobState::Done, None));
    assert_eq!(blobs_in(elsewhere.path()), 20);
    // Blobs are not written there yet: nothing is taken away.
    let (state, problem) = migrate(&rig, to(), true).await;
    assert_eq!(state, JobState::Failed);
    assert!(problem.unwrap().contains("spec.store"), "says what to do");
    let here = rig.dir.path().join("blobs");
    assert_eq!(blobs_in(&here), 20);

    apply(&rig, &documents_in(Some(elsewhere.path()))).await.unwrap();
    let later = rig.push_blob("team/app", b"later").await.unwrap();
    assert_eq!(migrate(&rig, MigrateTo::Configured, true).await, (JobState::Done, None));
    assert_eq!((blobs_in(&here), blobs_in(elsewhere.path())), (0, 21));
    for digest in digests.into_iter().chain([later]) {
        rig.blob(&format!("/v2/team/app/blobs/{digest}")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changing_the_place_fails_no_request() {
    let rig = std::sync::Arc::new(Rig::with(&documents_in(None), Setup::default()).await);
    let digest = rig.push_blob("team/app", &[7; 300_000]).await.unwrap();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pulling = {
        let rig = rig.clone();
        tokio::spawn(async move {
            for number in 0..150u32 {
                let (read, _) = rig.blob(&format!("/v2/team/app/blobs/{digest}")).await.unwrap();
                assert_eq!(read.len(), 300_000);
                rig.push_blob("team/app", &number.to_be_bytes()).await.unwrap();
            }
        })
    };
    let places = [Some(one.path()), Some(two.path()), None];
    let mut turn = 0;
    while !pulling.is_finished() {
        apply(&rig, &documents_in(places[turn % 3])).await.unwrap();
        turn += 1;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    pulling.await.unwrap();
    for number in 0..150u32 {
        let digest = oci::Digest::sha256(&number.to_be_bytes());
        rig.blob(&format!("/v2/team/app/blobs/{digest}")).await.unwrap();
    }
}
