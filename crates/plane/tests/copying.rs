//! Moving in from another registry: all of it comes, byte for byte; what is there is not fetched
//! again; what differs is told and left alone.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use oci::Digest;
use plane::{CopyRequest, JobState, JobView, MoveKind, MoveReport, What};
use support::{Rig, Setup, hosted};
use testkit::{FakeRegistry, Fault, Gate, Image, ImageSpec, Index, Match, Referrers};

/// What the source holds.
struct Old {
    registry: FakeRegistry,
    one: Image,
    many: Index,
    signature: Image,
    of_signature: Image,
}

async fn old(referrers: Referrers) -> Old {
    let registry = FakeRegistry::start().await;
    registry.set_referrers(referrers);
    registry.set_page_size(2);
    let one = registry.image("apps/web", "1", ImageSpec::layers([3000, 70_000]));
    let many = registry.index("apps/web", "2", &[("linux", "amd64"), ("linux", "arm64")]);
    registry.move_tag("apps/web", "stable", &one.digest);
    registry.image("apps/deep/api", "1", ImageSpec::layers([500]).seed(7));
    registry.image("other/thing", "1", ImageSpec::layers([500]).seed(8));
    let signature = registry.referrer("apps/web", &one.digest, "application/x.sig", "signed");
    let of_signature =
        registry.referrer("apps/web", &signature.digest, "application/x.stamp", "stamped");
    Old { registry, one, many, signature, of_signature }
}

fn request(old: &Old, names: &[&str]) -> CopyRequest {
    CopyRequest {
        from: old.registry.url(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        to: "team/old".to_owned(),
        ..CopyRequest::default()
    }
}

async fn ended(rig: &Rig, id: &str) -> JobView {
    let mut job = rig.plane.job(id).unwrap();
    let ended = job.wait_for(|job| job.state.is_final()).await.unwrap();
    ended.clone()
}

async fn copy(rig: &Rig, request: CopyRequest) -> (JobView, MoveReport) {
    let job = rig.plane.copy(request, true).await.unwrap();
    let job = ended(rig, &job.id).await;
    let report = *job.moved.clone().unwrap();
    (job, report)
}

fn counts(report: &MoveReport) -> [u64; 5] {
    [report.same, report.moved, report.differs, report.only_here, report.failed]
}

async fn manifest(rig: &Rig, reference: &str) -> Option<Vec<u8>> {
    let path = format!("/v2/team/old/apps/web/manifests/{reference}");
    rig.manifest(&path).await.ok().map(|(bytes, _)| bytes.to_vec())
}

#[tokio::test]
async fn all_tags_platforms_and_referrers_come_byte_for_byte() {
    let old = old(Referrers::Api).await;
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let (_, report) =
        copy(&rig, CopyRequest { dry_run: true, ..request(&old, &["apps/**"]) }).await;
    assert_eq!(counts(&report), [0, 4, 0, 0, 0], "{report:?}");
    assert_eq!(manifest(&rig, "1").await, None, "a dry run copies nothing");

    let (job, report) = copy(&rig, request(&old, &["apps/**"])).await;
    assert_eq!(job.state, JobState::Done, "{job:?}");
    assert_eq!(counts(&report), [0, 4, 0, 0, 0], "{report:?}");
    assert_eq!((report.names_done, report.names_total), (2, 2));
    assert!(job.total_bytes > 70_000 && job.done_bytes == job.total_bytes, "{job:?}");
    assert_eq!(manifest(&rig, "1").await.unwrap(), old.one.manifest);
    assert_eq!(manifest(&rig, "2").await.unwrap(), old.many.manifest);
    for platform in &old.many.images {
        assert_eq!(manifest(&rig, &platform.digest).await.unwrap(), platform.manifest);
    }
    for (subject, referrer) in
        [(&old.one.digest, &old.signature), (&old.signature.digest, &old.of_signature)]
    {
        let served = rig.get(&format!("/v2/team/old/apps/web/referrers/{subject}")).await.unwrap();
        let What::Referrers { descriptors, .. } = served.what else { panic!("no referrers") };
        let listed: Vec<String> = descriptors.iter().map(|it| it.digest.to_string()).collect();
        assert_eq!(listed.join(" "), referrer.digest);
    }
    let layer = format!("/v2/team/old/apps/web/blobs/{}", old.one.layers[1].digest);
    assert_eq!(
        Digest::sha256(&rig.blob(&layer).await.unwrap().0).to_string(),
        old.one.layers[1].digest
    );
    assert!(rig.get("/v2/team/old/other/thing/manifests/1").await.is_err());

    // Again: nothing is fetched, and what refers to it since comes.
    old.registry.forget_requests();
    let late = old.registry.referrer("apps/web", &old.one.digest, "application/x.late", "late");
    let (job, report) = copy(&rig, request(&old, &["apps/web"])).await;
    assert_eq!(counts(&report), [3, 0, 0, 0, 0], "{job:?}");
    let fetched = old.registry.count(|seen| seen.method == "GET" && seen.path.contains("/blobs/"));
    assert_eq!(fetched, 1, "only the payload of what is new");
    assert_eq!(manifest(&rig, &late.digest).await.unwrap(), late.manifest);
}

#[tokio::test]
async fn a_source_without_the_referrers_api_brings_them_by_tags() {
    let old = old(Referrers::FallbackTag).await;
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let (job, report) = copy(&rig, request(&old, &["apps/web"])).await;
    assert!(report.is_even() && job.state == JobState::Done, "{job:?}");
    let path = format!("/v2/team/old/apps/web/referrers/{}", old.one.digest);
    let What::Referrers { descriptors, .. } = rig.get(&path).await.unwrap().what else {
        panic!("no referrers")
    };
    assert!(descriptors.iter().any(|it| it.digest.to_string() == old.signature.digest));
}

#[tokio::test]
async fn what_differs_is_left_alone_unless_told_otherwise_and_never_where_it_is_immutable() {
    let old = old(Referrers::Api).await;
    let rig = Rig::with(&hosted("immutableTags: [\"2\"]"), Setup::default()).await;
    let own = rig.push_image("team/old/apps/web", "1", "own").await.unwrap();
    rig.push_image("team/old/apps/web", "2", "own").await.unwrap();
    rig.push_image("team/old/apps/web", "mine", "own").await.unwrap();
    let (job, report) = copy(&rig, request(&old, &["apps/web"])).await;
    assert_eq!((job.state, counts(&report)), (JobState::Done, [0, 1, 2, 1, 0]), "{report:?}");
    let line = report.lines.iter().find(|line| line.what.as_deref() == Some("1")).unwrap();
    assert_eq!((line.kind, line.here), (MoveKind::Differs, Some(own)));
    assert_eq!(line.there.unwrap().to_string(), old.one.digest);
    assert_ne!(manifest(&rig, "1").await.unwrap(), old.one.manifest);

    let (job, report) =
        copy(&rig, CopyRequest { update: true, ..request(&old, &["apps/web"]) }).await;
    assert_eq!((job.state, counts(&report)), (JobState::Failed, [1, 1, 0, 1, 1]), "{report:?}");
    assert_eq!(manifest(&rig, "1").await.unwrap(), old.one.manifest);
    let why = report.lines[0].why.clone().unwrap();
    assert!(why.contains("tag 2") || why.contains(":2"), "{why}");
}

#[tokio::test]
async fn wrong_bytes_and_a_full_quota_fail_with_the_reason() {
    let old = old(Referrers::Off).await;
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let bad = Match::path(&old.one.layer_path(1));
    let rule = old.registry.behave(bad, Fault::FlipByte(5));
    let (job, report) = copy(&rig, request(&old, &["apps/web"])).await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!((report.moved, report.failed), (1, 2), "{report:?}");
    let why = report.lines[0].why.clone().unwrap();
    assert!(why.contains("hash to"), "{why}");
    assert_eq!(manifest(&rig, "1").await, None);
    old.registry.forget(&rule);
    let (_, report) = copy(&rig, request(&old, &["apps/web"])).await;
    assert_eq!(counts(&report), [1, 2, 0, 0, 0], "{report:?}");

    let rig = Rig::with(&hosted("quota: 10KiB"), Setup::default()).await;
    let (job, report) = copy(&rig, request(&old, &["apps/web"])).await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(report.failed, 3, "{report:?}");
    assert!(job.items[0].problem.as_ref().unwrap().contains("quota"), "{job:?}");
}

#[tokio::test]
async fn a_copy_that_the_process_did_not_finish_goes_on_with_the_next() {
    let old = old(Referrers::Api).await;
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let gate = Gate::new();
    old.registry.behave(Match::path(&old.one.layer_path(1)), Fault::HoldAt(1000, gate.clone()));
    let job = rig.plane.copy(request(&old, &["apps/**"]), true).await.unwrap();
    rig.eventually("the platforms are there", async |rig| manifest(rig, "2").await.is_some()).await;
    let Rig { plane, dir, catalog, store, .. } = rig;
    assert!(plane.stop(std::time::Duration::from_secs(10)).await);
    drop((plane, catalog, store));
    gate.open();
    let rig = Rig::with(&hosted(""), Setup { dir: Some(dir), ..Setup::default() }).await;
    let job = ended(&rig, &job.id).await;
    let report = job.moved.clone().unwrap();
    assert_eq!(job.state, JobState::Done, "{job:?}");
    assert_eq!(report.same + report.moved, 4, "{report:?}");
    assert!(report.same >= 1, "{report:?}");
    assert_eq!(manifest(&rig, "1").await.unwrap(), old.one.manifest);
}

#[tokio::test]
async fn too_many_requests_are_waited_out_and_names_need_no_list() {
    let old = old(Referrers::Api).await;
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let slow = Match::manifests().method("HEAD").first(1);
    old.registry.behave(slow, Fault::too_many_requests(1));
    old.registry.behave(Match::path_contains("_catalog"), Fault::status(404));
    let (job, _) = copy(&rig, request(&old, &["apps/**"])).await;
    let problem = job.items[0].problem.clone().unwrap();
    assert!(problem.contains("Name them instead"), "{problem}");
    let asked = CopyRequest { to: "nowhere".to_owned(), ..request(&old, &["apps/web"]) };
    assert!(rig.plane.copy(asked, true).await.is_err());
    // An address of its own is for the plane's machine.
    assert!(rig.plane.copy(request(&old, &["apps/web"]), false).await.is_err());
    let (job, report) = copy(&rig, request(&old, &["apps/web"])).await;
    assert_eq!((job.state, report.moved), (JobState::Done, 3), "{job:?}");
}
