//! Collection of hosted names: what nothing needs goes, what something needs stays, while pushes and
//! pulls run.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use catalog::Batch;
use oci::{Digest, EvidenceTag, Name, Tag};
use plane::{
    GcCounts, GcReport, GcRequest, GcSettings, JobState, KeepSettings, Method, PurgeTarget,
    Refusal, VerifyRequest,
};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use support::{Rig, Setup, hosted, image_manifest, index};

const DAY: Duration = Duration::from_secs(24 * 3600);
const STOP: Duration = Duration::from_secs(10);

/// Rounds come only when a test asks for them.
fn setup() -> Setup {
    Setup { gc: GcSettings { interval: DAY, ..GcSettings::default() }, ..Setup::default() }
}

async fn rig(spec: &str) -> Rig {
    Rig::with(&hosted(spec), setup()).await
}

async fn gc(rig: &Rig, request: GcRequest) -> GcReport {
    let job = rig.plane.gc(request).await.unwrap();
    let mut watch = rig.plane.job(&job.id).unwrap();
    let ended = watch.wait_for(|job| job.state.is_final()).await.unwrap().clone();
    assert_eq!(ended.state, JobState::Done, "{ended:?}");
    *ended.gc.unwrap()
}

fn at_once() -> GcRequest {
    GcRequest {
        untagged_for: Some("0s".to_owned()),
        blobs_unused_for: Some("0s".to_owned()),
        ..GcRequest::default()
    }
}

fn dry(request: GcRequest) -> GcRequest {
    GcRequest { dry_run: true, ..request }
}

async fn is_there(rig: &Rig, name: &str, reference: &str) -> bool {
    let path = format!("/v2/{name}/manifests/{reference}");
    match rig.ask(Method::Head, &path).await {
        Ok(_) => true,
        Err(Refusal::Absent { .. }) => false,
        Err(other) => panic!("{path}: {other}"),
    }
}

async fn has_blob(rig: &Rig, name: &str, digest: &Digest) -> bool {
    let path = format!("/v2/{name}/blobs/{digest}");
    match rig.ask(Method::Head, &path).await {
        Ok(_) => true,
        Err(Refusal::Absent { .. }) => false,
        Err(other) => panic!("{path}: {other}"),
    }
}

async fn delete(rig: &Rig, name: &str, reference: &str) {
    let path = format!("/v2/{name}/manifests/{reference}");
    rig.ask(Method::Delete, &path).await.unwrap();
}

/// An image with a layer and a config of its own, not pushed yet.
fn image(seed: &str) -> (Vec<u8>, Vec<u8>, serde_json::Value) {
    let (config, layer) = (format!("{{\"of\":\"{seed}\"}}"), format!("layer of {seed}"));
    let manifest = image_manifest(config.as_bytes(), &[layer.as_bytes()]);
    (config.into_bytes(), layer.into_bytes(), manifest)
}

async fn push(rig: &Rig, name: &str, reference: &str, seed: &str) -> (Digest, Digest) {
    let (config, layer, manifest) = image(seed);
    rig.push_blob(name, &config).await.unwrap();
    let layer = rig.push_blob(name, &layer).await.unwrap();
    (rig.push_manifest(name, reference, &manifest).await.unwrap(), layer)
}

/// Something that speaks of a manifest: a signature, say.
async fn push_referrer(rig: &Rig, name: &str, subject: &Digest, reference: Option<&Tag>) -> Digest {
    let (config, _, mut manifest) = image(&format!("of {subject} {reference:?}"));
    rig.push_blob(name, &config).await.unwrap();
    manifest["layers"] = json!([]);
    if reference.is_none() {
        manifest["subject"] = json!({
            "mediaType": testkit::OCI_MANIFEST, "digest": subject.to_string(), "size": 400,
        });
    }
    let digest = Digest::sha256(&serde_json::to_vec(&manifest).unwrap());
    let reference = reference.map_or_else(|| digest.to_string(), ToString::to_string);
    rig.push_manifest(name, &reference, &manifest).await.unwrap()
}

#[tokio::test]
async fn what_no_tag_leads_to_goes_after_its_last_use_and_blobs_with_it() {
    let rig = rig("untagged: { keepFor: 30d }").await;
    let (old, old_layer) = push(&rig, "team/app", "latest", "one").await;
    let (new, new_layer) = push(&rig, "team/app", "latest", "two").await;
    let orphan = rig.push_blob("team/app", b"nobody lists it").await.unwrap();
    let nothing = rig.plane.collect_round().await;
    assert_eq!(nothing.gone, GcCounts::default(), "all of it is young");
    assert_eq!((nothing.kept.untagged_manifests, nothing.kept.unlisted_blobs), (1, 1));

    rig.clock.advance(2 * DAY);
    let report = rig.plane.collect_round().await;
    assert_eq!(report.gone, GcCounts { blobs: 1, ..GcCounts::default() }, "{report:?}");
    assert!(!has_blob(&rig, "team/app", &orphan).await);
    assert!(has_blob(&rig, "team/app", &old_layer).await, "a manifest lists it");
    // Uses are written with a round, at the time it has then.
    rig.plane.collect_round().await;

    rig.clock.advance(31 * DAY);
    let report = rig.plane.collect_round().await;
    assert_eq!(report.gone, GcCounts { manifests: 1, blobs: 2, tags: 0 }, "{report:?}");
    assert!(!is_there(&rig, "team/app", &old.to_string()).await);
    assert!(!has_blob(&rig, "team/app", &old_layer).await);
    assert!(is_there(&rig, "team/app", &new.to_string()).await);
    assert!(has_blob(&rig, "team/app", &new_layer).await);
    // Its file goes after the grace.
    assert!(rig.catalog.blob_size(&old_layer).unwrap().is_some());
    rig.clock.advance(Duration::from_secs(400));
    rig.eventually("its bytes are gone", async |rig| {
        matches!(rig.catalog.blob_size(&old_layer), Ok(None))
    })
    .await;
    assert!(rig.catalog.blob_size(&new_layer).unwrap().is_some());
    assert!(report.freed_bytes > 0);
    assert!(rig.metric("lockgate_collected_blobs_total") >= 3.0);
}

#[tokio::test]
async fn a_pull_and_a_head_are_uses() {
    let rig = rig("untagged: { keepFor: 10d }").await;
    let (old, _) = push(&rig, "team/app", "latest", "one").await;
    push(&rig, "team/app", "latest", "two").await;
    let orphan = rig.push_blob("team/app", b"kept by a HEAD").await.unwrap();
    for _ in 0..3 {
        rig.clock.advance(9 * DAY);
        assert!(is_there(&rig, "team/app", &old.to_string()).await);
        // The second in one minute is not noted, and counts by the first.
        assert!(has_blob(&rig, "team/app", &orphan).await);
        rig.clock.advance(Duration::from_secs(20));
        assert!(has_blob(&rig, "team/app", &orphan).await);
        rig.clock.advance(DAY);
        assert_eq!(rig.plane.collect_round().await.gone, GcCounts::default());
    }
}

#[tokio::test]
async fn indexes_keep_their_children_and_subjects_their_referrers() {
    let rig = rig("untagged: { keepFor: 0s }").await;
    let (_, _, one) = image("amd64");
    let (_, _, two) = image("arm64");
    let (amd64, _) = push(&rig, "team/app", "child", "amd64").await;
    push(&rig, "team/app", "child", "arm64").await;
    let multi = rig.push_manifest("team/app", "multi", &index(&[&one, &two])).await.unwrap();
    delete(&rig, "team/app", "child").await;
    let signature = push_referrer(&rig, "team/app", &amd64, None).await;
    let of_signature = push_referrer(&rig, "team/app", &signature, None).await;
    let tag = Tag::evidence(&multi, EvidenceTag::Signature);
    let cosign = push_referrer(&rig, "team/app", &multi, Some(&tag)).await;
    rig.clock.advance(2 * DAY);
    assert_eq!(gc(&rig, at_once()).await.gone, GcCounts::default());
    for digest in [amd64, signature, of_signature, cosign] {
        assert!(is_there(&rig, "team/app", &digest.to_string()).await, "{digest}");
    }

    delete(&rig, "team/app", "multi").await;
    rig.clock.advance(2 * DAY);
    let would = gc(&rig, dry(at_once())).await;
    assert!(is_there(&rig, "team/app", tag.as_str()).await, "a dry run removes nothing");
    rig.clock.advance(2 * DAY);
    let report = gc(&rig, at_once()).await;
    assert_eq!(report.gone, GcCounts { tags: 1, manifests: 6, blobs: 7 }, "{report:#?}");
    assert_eq!((would.gone, would.freed_bytes), (report.gone, report.freed_bytes));
    assert_eq!(would.kept, report.kept);
    assert!(!is_there(&rig, "team/app", tag.as_str()).await);
    let why = |digest: Digest| {
        let line = report.lines.iter().find(|line| line.digest == digest && line.tag.is_none());
        line.map(|line| line.why.clone()).unwrap_or_default()
    };
    assert!(why(multi).starts_with("no tag leads to it"), "{}", why(multi));
    assert!(why(signature).starts_with("what it refers to is gone"), "{}", why(signature));
    assert!(rig.catalog.names(None, 10).unwrap().is_empty(), "nothing is left of the name");
}

#[tokio::test]
async fn pins_keep_what_they_name() {
    let rig = rig("untagged: { keepFor: 0s }, retention: [{ olderThan: 1d }]").await;
    let (by_digest, _) = push(&rig, "team/app", "a", "one").await;
    push(&rig, "team/app", "by-tag", "two").await;
    push(&rig, "team/app", "other", "three").await;
    rig.plane.pin(&format!("team/app@{by_digest}")).await.unwrap();
    rig.plane.pin("team/app:by-tag").await.unwrap();
    rig.clock.advance(3 * DAY);
    let report = gc(&rig, at_once()).await;
    assert_eq!(report.gone, GcCounts { tags: 2, manifests: 1, blobs: 2 }, "{report:#?}");
    assert_eq!(report.kept.pinned_tags, 1);
    assert!(is_there(&rig, "team/app", &by_digest.to_string()).await);
    assert!(is_there(&rig, "team/app", "by-tag").await);
    assert!(!is_there(&rig, "team/app", "other").await);
}

#[tokio::test]
async fn retention_takes_what_fulfils_every_condition() {
    let rule = "{ names: [\"app/**\", app], tags: [\"pr-*\"], keepLast: 2, olderThan: 10d, \
                notPulledFor: 5d }";
    let spec = format!("immutableTags: [\"pr-1\"], retention: [{rule}]");
    let rig = rig(&spec).await;
    for number in 0..6 {
        push(&rig, "team/app", &format!("pr-{number}"), &format!("pr {number}")).await;
        push(&rig, "team/other", &format!("pr-{number}"), &format!("pr {number}")).await;
        rig.clock.advance(4 * DAY);
    }
    push(&rig, "team/app", "v1", "release").await;
    assert!(is_there(&rig, "team/app", "pr-2").await, "and so it was pulled lately");
    let report = rig.plane.collect_round().await;
    // 0 to 3 are older than 10 days, 4 and 5 are the newest, 2 was pulled.
    assert_eq!(report.gone.tags, 3, "{report:#?}");
    let kept = report.kept;
    assert_eq!((kept.newest_tags, kept.young_tags, kept.used_tags), (2, 0, 1), "{kept:?}");
    for (tag, stays) in [
        ("pr-0", false),
        ("pr-1", false),
        ("pr-2", true),
        ("pr-3", false),
        ("pr-4", true),
        ("pr-5", true),
        ("v1", true),
    ] {
        assert_eq!(is_there(&rig, "team/app", tag).await, stays, "{tag}");
    }
    assert!(is_there(&rig, "team/other", "pr-0").await, "the rule does not name it");
    let line = report.lines.iter().find(|line| line.tag.as_deref() == Some("pr-0")).unwrap();
    assert!(line.why.starts_with("retention[0]: tags pr-*, keepLast 2, olderThan 10d"), "{line:?}");
}

#[tokio::test]
async fn a_blob_that_others_hold_keeps_its_bytes() {
    let rig = rig("untagged: { keepFor: 0s }").await;
    let (_, layer) = push(&rig, "team/one", "latest", "same").await;
    push(&rig, "team/two", "latest", "same").await;
    delete(&rig, "team/one", "latest").await;
    rig.clock.advance(3 * DAY);
    let would = gc(&rig, dry(at_once())).await;
    let report = gc(&rig, GcRequest { names: Some("team/one".to_owned()), ..at_once() }).await;
    assert_eq!((report.gone.manifests, report.gone.blobs, report.freed_bytes), (1, 2, 0));
    assert_eq!(would.freed_bytes, 0);
    assert!(!has_blob(&rig, "team/one", &layer).await);
    assert!(has_blob(&rig, "team/two", &layer).await);
    delete(&rig, "team/two", "latest").await;
    rig.clock.advance(3 * DAY);
    let would = gc(&rig, dry(at_once())).await;
    let report = gc(&rig, at_once()).await;
    assert!(report.freed_bytes > 0);
    assert_eq!(would.freed_bytes, report.freed_bytes);
}

#[tokio::test]
async fn an_image_in_two_names_is_freed_once() {
    let rig = rig("untagged: { keepFor: 0s }").await;
    for name in ["team/one", "team/two"] {
        push(&rig, name, "latest", "same").await;
        delete(&rig, name, "latest").await;
    }
    rig.clock.advance(3 * DAY);
    let would = gc(&rig, dry(at_once())).await;
    let report = gc(&rig, at_once()).await;
    assert_eq!(report.gone, GcCounts { tags: 0, manifests: 2, blobs: 4 });
    assert_eq!(would.freed_bytes, report.freed_bytes);
    let bytes: u64 = report.names[0].gone_bytes;
    assert_eq!(report.freed_bytes, bytes, "once, not once for each name");
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused() {
    let rig = rig("untagged: { keepFor: 0s }").await;
    for wrong in [
        GcRequest { repository: Some("nowhere".to_owned()), ..GcRequest::default() },
        GcRequest { repository: Some("docker.io".to_owned()), ..GcRequest::default() },
        GcRequest { names: Some("[".to_owned()), ..GcRequest::default() },
        GcRequest { untagged_for: Some("soon".to_owned()), ..GcRequest::default() },
        GcRequest { blobs_unused_for: Some("1y".to_owned()), ..GcRequest::default() },
    ] {
        assert!(rig.plane.gc(wrong.clone()).await.is_err(), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collection_while_pushes_run_loses_nothing() {
    let rig = Arc::new(rig("untagged: { keepFor: 0s }").await);
    rig.clock.advance(DAY);
    let mut pushers = Vec::new();
    for pusher in 0..4 {
        let rig = rig.clone();
        pushers.push(tokio::spawn(async move {
            let mut last = None;
            for round in 0..25 {
                let seed = format!("{pusher} {}", round % 5);
                // Blobs that collection took are pushed again, as a client does.
                for _ in 0..50 {
                    let (config, layer, manifest) = image(&seed);
                    rig.push_blob("team/app", &config).await.unwrap();
                    rig.push_blob("team/app", &layer).await.unwrap();
                    let tag = format!("p{pusher}");
                    match rig.push_manifest("team/app", &tag, &manifest).await {
                        Ok(digest) => {
                            last = Some((digest, Digest::sha256(&layer)));
                            break;
                        }
                        Err(Refusal::Invalid { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                let (digest, layer) = last.unwrap();
                assert!(is_there(&rig, "team/app", &format!("p{pusher}")).await);
                assert!(is_there(&rig, "team/app", &digest.to_string()).await);
                assert!(has_blob(&rig, "team/app", &layer).await, "a tagged layer is lost");
                rig.clock.advance(Duration::from_secs(90));
            }
            last.unwrap()
        }));
    }
    let collected = rig.clone();
    let collector = tokio::spawn(async move {
        let mut gone = 0;
        for _ in 0..40 {
            let report = gc(&collected, at_once()).await;
            gone += report.gone.manifests + report.gone.blobs;
            tokio::task::yield_now().await;
        }
        gone
    });
    for (pusher, task) in pushers.into_iter().enumerate() {
        let (digest, layer) = task.await.unwrap();
        assert!(is_there(&rig, "team/app", &format!("p{pusher}")).await);
        let bytes = rig.blob(&format!("/v2/team/app/blobs/{layer}")).await.unwrap().0;
        assert_eq!(Digest::sha256(&bytes), layer);
        rig.manifest(&format!("/v2/team/app/manifests/{digest}")).await.unwrap();
    }
    let gone = collector.await.unwrap();
    rig.clock.advance(DAY);
    let report = gc(&rig, at_once()).await;
    assert!(gone + report.gone.manifests > 0, "there was nothing to collect");
    assert_eq!((report.kept.manifests, report.kept.blobs), (4, 8), "{report:?}");
}

#[tokio::test]
async fn a_restart_forgets_no_use() {
    let rig = rig("untagged: { keepFor: 10d }").await;
    let (old, _) = push(&rig, "team/app", "latest", "one").await;
    push(&rig, "team/app", "latest", "two").await;
    rig.clock.advance(9 * DAY);
    assert!(is_there(&rig, "team/app", &old.to_string()).await);
    assert!(rig.plane.stop(STOP).await);
    let again = Rig::with(
        &hosted("untagged: { keepFor: 10d }"),
        Setup { dir: Some(rig.dir.clone()), ..setup() },
    )
    .await;
    // Its clock begins now; the use was nine days later.
    again.clock.advance(18 * DAY);
    assert_eq!(again.plane.collect_round().await.gone, GcCounts::default());
    again.clock.advance(3 * DAY);
    assert_eq!(again.plane.collect_round().await.gone.manifests, 1);
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_end() {
    let rig = rig("untagged: { keepFor: 30d }").await;
    let upload = rig.begin_upload("team/app").await;
    rig.plane.collect_round().await;
    let path = format!("/v2/team/app/blobs/uploads/{}", upload.id);
    assert!(rig.upload(Method::Get, &path, plane::Incoming::none()).await.is_ok());
    rig.clock.advance(2 * DAY);
    rig.plane.collect_round().await;
    let ended = rig.upload(Method::Get, &path, plane::Incoming::none()).await;
    assert!(matches!(ended, Err(Refusal::UploadUnknown)), "{ended:?}");
}

#[tokio::test]
async fn a_catalog_that_cannot_be_written_is_said_and_nothing_goes() {
    let rig = rig("untagged: { keepFor: 0s }").await;
    let (digest, _) = push(&rig, "team/app", "latest", "one").await;
    push(&rig, "team/app", "latest", "two").await;
    rig.clock.advance(2 * DAY);
    assert!(rig.catalog.close(STOP));
    for _ in 0..2 {
        let report = rig.plane.collect_round().await;
        assert!(!report.problems.is_empty() && report.gone == GcCounts::default());
    }
    let warnings = rig.plane.status().warnings;
    assert!(warnings.iter().any(|text| text.contains("failed 2 times")), "{warnings:?}");
    let file = rig.dir.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    assert!(file.exists());
}

/// Contents of the cache beside hosted ones, with the same bytes.
fn beside(rig: &Rig, name: &str, digest: &Digest, size_bytes: u64) -> Batch {
    let mut batch = Batch::new();
    let content = catalog::Content {
        is_manifest: false,
        size_bytes: Some(size_bytes),
        media_type: None,
        private_to: None,
        is_hosted: false,
        at: rig.clock.now(),
    };
    batch.put_content(&Name::parse(name).unwrap(), digest, content);
    batch
}

#[tokio::test]
async fn eviction_leaves_hosted_bytes_alone_and_a_cache_keeps_what_was_hosted() {
    let keep = KeepSettings {
        max_bytes: Some(1),
        grace: Duration::ZERO,
        reserve_bytes: 0,
        ..KeepSettings::default()
    };
    let spec = "untagged: { keepFor: 0s }";
    let rig = Rig::with(&hosted(spec), Setup { keep, ..setup() }).await;
    let (_, layer) = push(&rig, "team/app", "latest", "one").await;
    let size_bytes = rig.catalog.blob_size(&layer).unwrap().unwrap();
    rig.catalog.submit(beside(&rig, "quay.io/some/thing", &layer, size_bytes)).await.unwrap();
    // Everything is too much, and yet nothing of it may go.
    rig.clock.advance(3 * DAY);
    let orphan = rig.push_blob("team/app", b"to be collected").await.unwrap();
    rig.clock.advance(3 * DAY);
    gc(&rig, GcRequest { untagged_for: None, ..at_once() }).await;
    rig.eventually("housekeeping looked", async |rig| {
        rig.clock.advance(Duration::from_secs(400));
        matches!(rig.catalog.blob_size(&orphan), Ok(None))
    })
    .await;
    assert!(rig.blob(&format!("/v2/team/app/blobs/{layer}")).await.is_ok());

    delete(&rig, "team/app", "latest").await;
    rig.clock.advance(3 * DAY);
    let report = gc(&rig, at_once()).await;
    assert_eq!((report.gone.manifests, report.gone.blobs), (1, 2));
    let holders = rig.catalog.holders(&layer, 10).unwrap();
    assert_eq!(holders.len(), 1, "as content of the cache it stays until it is evicted");
    rig.eventually("it is evicted as any other", async |rig| {
        rig.clock.advance(Duration::from_secs(400));
        matches!(rig.catalog.blob_size(&layer), Ok(None))
    })
    .await;
}

#[tokio::test]
async fn damaged_hosted_bytes_are_put_aside_and_said() {
    let rig = rig("untagged: { keepFor: 30d }").await;
    let (_, layer) = push(&rig, "team/app", "latest", "one").await;
    let hex = layer.hex().clone();
    let file = rig.dir.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
    std::fs::write(&file, b"layer of 0ne").unwrap();
    let job = rig.plane.verify(VerifyRequest::Digest(layer)).await.unwrap();
    let mut watch = rig.plane.job(&job.id).unwrap();
    let ended = watch.wait_for(|job| job.state.is_final()).await.unwrap().clone();
    assert_eq!(ended.state, JobState::Failed);
    let problem = ended.items[1].problem.clone().unwrap();
    assert!(problem.contains("team/app") && problem.contains("push it again"), "{problem}");
    assert!(!file.exists());
    let aside = file.with_file_name(format!("{hex}.damaged"));
    assert_eq!(std::fs::read(&aside).unwrap(), b"layer of 0ne");
    let read = rig.blob(&format!("/v2/team/app/blobs/{layer}")).await.unwrap_err();
    assert!(read.contains("not in the store"), "{read}");
    rig.eventually("it is a warning", async |rig| {
        let warnings = rig.plane.status().warnings;
        warnings.iter().any(|text| text.starts_with("hosted content without bytes: 1"))
    })
    .await;
    rig.push_blob("team/app", b"layer of one").await.unwrap();
    let bytes = rig.blob(&format!("/v2/team/app/blobs/{layer}")).await.unwrap().0;
    assert_eq!(&bytes[..], b"layer of one");
}

#[tokio::test]
async fn a_purge_leaves_hosted_content_alone() {
    let rig = rig("quota: 1MiB").await;
    let (digest, layer) = push(&rig, "team/app", "latest", "one").await;
    let name = Name::parse("team/app").unwrap();
    let tag = PurgeTarget::Tag(name, Tag::parse("latest").unwrap());
    assert!(rig.plane.purge(tag).await.unwrap_err().to_string().contains("is hosted"));
    let purged = rig.plane.purge(PurgeTarget::Pattern("team/**".to_owned())).await.unwrap();
    assert_eq!((purged.contents, purged.tags, purged.hosted), (0, 0, 3), "{purged:?}");
    let purged = rig.plane.purge(PurgeTarget::Digest(layer)).await.unwrap();
    assert_eq!((purged.hosted, purged.shared, purged.blobs), (1, 1, 0), "{purged:?}");
    assert!(is_there(&rig, "team/app", &digest.to_string()).await);
    let stats = rig.plane.cache_stats().await.unwrap();
    let team = stats.repositories.iter().find(|usage| usage.repository == "team").unwrap();
    assert_eq!((team.hosted_blobs, team.quota_bytes), (3, Some(1 << 20)));
    assert!(team.hosted_bytes > 0 && team.bytes == team.hosted_bytes);
}
