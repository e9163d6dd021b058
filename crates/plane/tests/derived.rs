//! What is pushed by a virtual name and rests on what another member has: an image built from an
//! upstream's, a signature made twice. Clients do not send what they are told is there.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use plane::{Method, Refusal};
use serde_json::{Value, json};
use support::members::{access, documents, hosted, remote, seen, union};
use support::{Rig, Setup};
use testkit::{FakeRegistry, ImageSpec};

async fn plane(registry: &FakeRegistry) -> Rig {
    let all = [
        hosted("own"),
        remote("reg", &registry.url(), ""),
        union("all", &["own", "reg"], ", pushTo: own"),
        access(&[("'*'", "'**'")]),
    ];
    Rig::with(&documents(&all), Setup::default()).await
}

/// The upstream's manifest with an annotation more: other bytes, the same blobs.
fn derived(manifest: &[u8]) -> Value {
    let mut manifest: Value = serde_json::from_slice(manifest).unwrap();
    manifest["annotations"] = json!({ "made": "here" });
    manifest
}

#[tokio::test]
async fn what_another_member_holds_is_mounted_into_the_target() {
    let registry = FakeRegistry::start().await;
    let base = registry.image("team/app", "1", ImageSpec::layers([1000, 5000]));
    let rig = plane(&registry).await;
    let blob = |digest: &str| format!("/v2/all/team/app/blobs/{digest}");
    let blobs: Vec<&str> =
        [&base.config].into_iter().chain(&base.layers).map(|b| &*b.digest).collect();
    rig.manifest("/v2/all/team/app/manifests/1").await.unwrap();
    for digest in &blobs {
        rig.blob(&blob(digest)).await.unwrap();
    }
    rig.eventually("all of it is stored", async |rig| {
        let mut held = 0;
        for digest in &blobs {
            held += usize::from(rig.ask(Method::Head, &blob(digest)).await.is_ok());
        }
        held == blobs.len()
    })
    .await;
    registry.forget_requests();
    let made = rig.push_manifest("all/team/app", "mine", &derived(&base.manifest)).await.unwrap();
    rig.manifest(&format!("/v2/own/team/app/manifests/{made}")).await.unwrap();
    for digest in &blobs {
        rig.blob(&format!("/v2/own/team/app/blobs/{digest}")).await.unwrap();
    }
    // And an index of the upstream's image: the child comes along.
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": base.media_type, "digest": base.digest, "size": base.manifest.len(),
        }],
    });
    rig.push_manifest("all/team/app", "many", &index).await.unwrap();
    rig.manifest(&format!("/v2/own/team/app/manifests/{}", base.digest)).await.unwrap();
    assert_eq!(seen(&registry), [""; 0], "a push asks no upstream");
}

#[tokio::test]
async fn whoever_may_push_sends_what_only_the_upstream_has() {
    let registry = FakeRegistry::start().await;
    let base = registry.image("team/app", "1", ImageSpec::layers([1000]));
    let rig = plane(&registry).await;
    let layer = format!("/v2/all/team/app/blobs/{}", base.layers[0].digest);
    let refusal = rig.ask(Method::Head, &layer).await.unwrap_err();
    let Refusal::Absent { reason, .. } = &refusal else { panic!("{refusal:?}") };
    assert!(reason.contains("has to send it"), "{reason}");
    assert_eq!(seen(&registry), [""; 0], "a push asks no upstream");
    let refusal = rig.push_manifest("all/team/app", "mine", &derived(&base.manifest)).await;
    assert!(matches!(refusal, Err(Refusal::Invalid { .. })), "{refusal:?}");
    // A pull is answered as ever.
    rig.blob(&layer).await.unwrap();
}

#[tokio::test]
async fn nobody_gets_by_a_push_what_they_may_not_pull() {
    let registry = FakeRegistry::start().await;
    let base = registry.image("team/app", "1", ImageSpec::layers([1000]));
    let all = |rules: &[(&str, &str)]| {
        documents(&[
            hosted("own"),
            remote("reg", &registry.url(), ""),
            union("all", &["own", "reg"], ", pushTo: own"),
            access(rules),
        ])
    };
    let rig = Rig::with(&all(&[("'*'", "'**'")]), Setup::default()).await;
    rig.manifest("/v2/all/team/app/manifests/1").await.unwrap();
    let blobs = [&base.config, &base.layers[0]].map(|blob| blob.digest.clone());
    for digest in &blobs {
        rig.blob(&format!("/v2/all/team/app/blobs/{digest}")).await.unwrap();
    }
    let narrow = all(&[("'*'", "'own/**'")]);
    rig.plane.apply(support::set_of(&narrow), "test.yaml").await.unwrap();
    let refusal = rig.push_manifest("all/team/app", "mine", &derived(&base.manifest)).await;
    assert!(matches!(refusal, Err(Refusal::Invalid { .. })), "{refusal:?}");
    for digest in &blobs {
        let taken = rig.get(&format!("/v2/own/team/app/blobs/{digest}")).await;
        assert!(matches!(taken, Err(Refusal::Absent { .. })), "{taken:?}");
    }
}
