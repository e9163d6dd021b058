//! What was pulled outlives its upstream: adopted in place or elsewhere, with nothing missing.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use plane::{AdoptRequest, JobState, JobView, MoveKind, MoveReport, What};
use support::{EVERYBODY, Rig, Setup, documents, hosted, set_of, through};
use testkit::{FakeRegistry, ImageSpec};

async fn adopt(rig: &Rig, request: AdoptRequest) -> (JobView, MoveReport) {
    let job = rig.plane.adopt(request).await.unwrap();
    let mut job = rig.plane.job(&job.id).unwrap();
    let job = job.wait_for(|job| job.state.is_final()).await.unwrap().clone();
    let report = *job.moved.clone().unwrap();
    (job, report)
}

fn request(names: &str) -> AdoptRequest {
    AdoptRequest { names: names.to_owned(), ..AdoptRequest::default() }
}

#[tokio::test]
async fn what_was_pulled_goes_on_when_its_upstream_is_gone() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("apps/web", "1", ImageSpec::layers([3000, 50_000]));
    let index = registry.index("apps/web", "2", &[("linux", "amd64"), ("linux", "arm64")]);
    let signature = registry.referrer("apps/web", &image.digest, "application/x.sig", "signed");
    let rig = Rig::with(&documents(&registry.url(), ""), Setup::default()).await;
    // Only what names the rest: the adoption fetches it.
    rig.manifest(&through(&image.tag_path())).await.unwrap();
    rig.manifest(&through(&index.tag_path())).await.unwrap();
    let (job, report) = adopt(&rig, request("reg/**")).await;
    assert_eq!(job.state, JobState::Done, "{job:?}");
    assert!(report.is_even() && report.moved == 3, "{report:?}");
    let text = report.documents.unwrap();
    assert!(text.contains("hosted") && !text.contains("remote"), "{text}");
    registry.stop().await;

    let applied = rig.plane.apply(set_of(&format!("{text}\n---\n{EVERYBODY}")), "new.yaml").await;
    applied.unwrap();
    assert_eq!(rig.manifest(&through(&image.tag_path())).await.unwrap().0, image.manifest);
    assert_eq!(rig.manifest(&through(&index.tag_path())).await.unwrap().0, index.manifest);
    for image in &index.images {
        assert_eq!(rig.manifest(&through(&image.digest_path())).await.unwrap().0, image.manifest);
        rig.blob(&through(&image.layer_path(1))).await.unwrap();
    }
    rig.blob(&through(&image.layer_path(0))).await.unwrap();
    let What::Tags { tags, .. } = rig.get("/v2/reg/apps/web/tags/list").await.unwrap().what else {
        panic!("no tags")
    };
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1", "2"]);
    let path = format!("/v2/reg/apps/web/referrers/{}", image.digest);
    let What::Referrers { descriptors, .. } = rig.get(&path).await.unwrap().what else {
        panic!("no referrers")
    };
    assert_eq!(descriptors[0].digest.to_string(), signature.digest);
    rig.push_image("reg/apps/web", "3", "new").await.unwrap();
    assert!(rig.manifest("/v2/reg/apps/web/manifests/3").await.is_ok());
}

#[tokio::test]
async fn what_is_not_whole_stays_and_is_told() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("apps/web", "1", ImageSpec::layers([3000]));
    let other = registry.image("apps/web", "2", ImageSpec::layers([4000]).seed(2));
    let text = format!("{}---\n{}", documents(&registry.url(), ""), hosted(""));
    let rig = Rig::with(&text, Setup::default()).await;
    for image in [&image, &other] {
        rig.manifest(&through(&image.tag_path())).await.unwrap();
        rig.blob(&through(&image.config_path())).await.unwrap();
    }
    rig.blob(&through(&image.layer_path(0))).await.unwrap();
    rig.eventually("it is stored", async |rig| {
        let digest = image.layers[0].digest.parse().unwrap();
        rig.store.blob(&digest).is_ok_and(|blob| blob.is_some())
    })
    .await;
    let offline = || AdoptRequest {
        offline: true,
        into: Some("team/kept".to_owned()),
        ..request("reg/apps/*")
    };
    let (_, report) = adopt(&rig, AdoptRequest { dry_run: true, ..offline() }).await;
    assert_eq!((report.moved, report.incomplete), (1, 1), "{report:?}");
    assert!(rig.get("/v2/team/kept/apps/web/manifests/1").await.is_err());
    let (_, report) = adopt(&rig, offline()).await;
    assert_eq!((report.moved, report.incomplete), (1, 1), "{report:?}");
    let line = &report.lines[0];
    assert_eq!((line.kind, line.what.as_deref()), (MoveKind::Incomplete, Some("2")));
    assert!(line.why.as_ref().unwrap().contains(&other.layers[0].digest), "{line:?}");
    let (bytes, _) = rig.manifest("/v2/team/kept/apps/web/manifests/1").await.unwrap();
    assert_eq!(bytes, image.manifest);
    assert!(rig.get("/v2/team/kept/apps/web/manifests/2").await.is_err());

    let (job, _) = adopt(&rig, request("nothing/**")).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(rig.plane.adopt(AdoptRequest { into: Some("reg".into()), ..offline() }).await.is_err());
}
