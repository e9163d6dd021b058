//! Hosted repositories: what is pushed is there, whole, until somebody takes it away; and what may
//! not be pushed or taken away is refused with the reason.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use oci::Digest;
use plane::{Incoming, Method, PushSettings, Refusal, What};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::{EVERYBODY, Rig, Setup, body, descriptor, documents, hosted, image_manifest, index};
use testkit::{FakeRegistry, Fault, Gate, Match};

async fn rig(spec: &str) -> Rig {
    Rig::with(&hosted(spec), Setup::default()).await
}

/// The text of a refusal of a kind.
macro_rules! refused {
    ($asked:expr, $kind:pat) => {
        match $asked {
            Err(refusal) => {
                assert!(matches!(refusal, $kind), "{refusal:?}");
                refusal.to_string()
            }
            Ok(served) => panic!("not refused: {served:?}"),
        }
    };
}

async fn delete(rig: &Rig, path: &str) -> Result<(), Refusal> {
    let served = rig.ask(Method::Delete, &format!("/v2/team/app/{path}")).await?;
    assert!(matches!(served.what, What::Deleted));
    Ok(())
}

async fn tags(rig: &Rig) -> Vec<String> {
    match rig.get("/v2/team/app/tags/list").await.unwrap().what {
        What::Tags { tags, .. } => tags.iter().map(ToString::to_string).collect(),
        other => panic!("no tags: {other:?}"),
    }
}

async fn tag_digest(rig: &Rig, tag: &str) -> Option<Digest> {
    match rig.manifest(&format!("/v2/team/app/manifests/{tag}")).await {
        Ok((bytes, _)) => Some(Digest::sha256(&bytes)),
        Err(Refusal::Absent { .. }) => None,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

#[tokio::test]
async fn what_is_pushed_is_there_until_it_is_deleted() {
    let rig = rig("").await;
    let first = rig.push_image("team/app", "1", "first").await.unwrap();
    let second = rig.push_image("team/app", "2", "second").await.unwrap();
    assert_eq!(tags(&rig).await, ["1", "2"]);
    assert_eq!(tag_digest(&rig, "1").await, Some(first));
    let layer = Digest::sha256(b"the layer of first");
    let path = format!("/v2/team/app/blobs/{layer}");
    assert_eq!(&rig.blob(&path).await.unwrap().0[..], b"the layer of first");
    assert!(rig.metric("lockgate_pushed_bytes_total") > 100.0);
    assert_eq!(rig.metric("lockgate_uploads_open"), 0.0);

    // A tag moves at once, and what it named stays.
    assert_eq!(rig.push_image("team/app", "1", "second").await.unwrap(), second);
    assert_eq!(tag_digest(&rig, "1").await, Some(second));
    assert_eq!(tag_digest(&rig, &first.to_string()).await, Some(first));

    refused!(delete(&rig, &format!("blobs/{layer}")).await, Refusal::Conflict(_));
    delete(&rig, &format!("manifests/{first}")).await.unwrap();
    assert_eq!(tag_digest(&rig, &first.to_string()).await, None);
    refused!(delete(&rig, &format!("manifests/{first}")).await, Refusal::Absent { .. });
    delete(&rig, &format!("blobs/{layer}")).await.unwrap();
    refused!(rig.get(&path).await, Refusal::Absent { .. });
    refused!(delete(&rig, &format!("blobs/{layer}")).await, Refusal::Absent { .. });

    // A tag goes alone; a manifest takes its tags with it.
    delete(&rig, "manifests/1").await.unwrap();
    refused!(delete(&rig, "manifests/1").await, Refusal::Absent { .. });
    assert_eq!(tag_digest(&rig, "2").await, Some(second));
    delete(&rig, &format!("manifests/{second}")).await.unwrap();
    assert_eq!(tag_digest(&rig, "2").await, None);

    // What was deleted can be pushed again.
    assert_eq!(rig.push_image("team/app", "1", "first").await.unwrap(), first);
    assert_eq!(&rig.blob(&path).await.unwrap().0[..], b"the layer of first");
}

#[tokio::test]
async fn immutable_tags_neither_move_nor_go() {
    let rig = rig("immutableTags: [\"v*\"]").await;
    let first = rig.push_image("team/app", "v1", "first").await.unwrap();
    assert_eq!(rig.push_image("team/app", "v1", "first").await.unwrap(), first, "the same again");
    let text = refused!(rig.push_image("team/app", "v1", "second").await, Refusal::Denied(_));
    for part in ["denied by team/immutableTags", "v1", &first.to_string(), "v*"] {
        assert!(text.contains(part), "{text}");
    }
    let by_parameter = rig.push_image("team/app", "latest?tag=v1", "second").await;
    refused!(by_parameter, Refusal::Denied(_));
    assert_eq!(tag_digest(&rig, "latest").await, None, "all or nothing");
    refused!(delete(&rig, "manifests/v1").await, Refusal::Denied(_));
    refused!(delete(&rig, &format!("manifests/{first}")).await, Refusal::Denied(_));
    assert_eq!(tag_digest(&rig, "v1").await, Some(first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_pushes_of_an_immutable_tag_one_wins() {
    let rig = Arc::new(rig("immutableTags: [\"v*\"]").await);
    for round in 0..8 {
        let tag = format!("v{round}");
        let pushes: Vec<_> = (0..4)
            .map(|seed| {
                let (rig, tag) = (rig.clone(), tag.clone());
                tokio::spawn(
                    async move { rig.push_image("team/app", &tag, &seed.to_string()).await },
                )
            })
            .collect();
        let mut won = Vec::new();
        for push in pushes {
            match push.await.unwrap() {
                Ok(digest) => won.push(digest),
                Err(refusal) => assert!(matches!(refusal, Refusal::Denied(_)), "{refusal:?}"),
            }
        }
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(tag_digest(&rig, &tag).await, Some(won[0]));
    }
}

/// A blob is deleted while a manifest that lists it is pushed: one of them is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_delete_takes_what_a_push_just_named() {
    let rig = Arc::new(rig("").await);
    let (image, path) = (image_manifest(b"{}", &[]), format!("blobs/{}", Digest::sha256(b"{}")));
    for round in 0..40 {
        rig.push_blob("team/app", b"{}").await.unwrap();
        let push = tokio::spawn({
            let (rig, image) = (rig.clone(), image.clone());
            async move { rig.push_manifest("team/app", "1", &image).await }
        });
        let deleted = delete(&rig, &path).await;
        let pushed = push.await.unwrap();
        let is_there = rig.get(&format!("/v2/team/app/{path}")).await.is_ok();
        assert_eq!(is_there, deleted.is_err(), "round {round}");
        match pushed {
            Ok(digest) => {
                assert!(is_there, "round {round}: {deleted:?}");
                delete(&rig, &format!("manifests/{digest}")).await.unwrap();
                delete(&rig, &path).await.unwrap();
            }
            Err(refusal) => assert!(matches!(refusal, Refusal::Invalid { .. }), "{refusal:?}"),
        }
    }
}

#[tokio::test]
async fn a_quota_holds_and_the_refusal_says_how_full_it_is() {
    let rig = rig("quota: 4KiB").await;
    let (half, other) = ([1; 2000], [2; 3000]);
    let digest = rig.push_blob("team/app", &half).await.unwrap();
    assert_eq!(rig.push_blob("team/app", &half).await.unwrap(), digest, "nothing new");
    let text = refused!(rig.push_blob("team/app", &other).await, Refusal::Denied(_));
    for part in ["denied by team/quota", "of 4KiB are used", "lockgate gc --dry-run"] {
        assert!(text.contains(part), "{text}");
    }
    // Of a body whose length is not said the end tells.
    let path = format!("/v2/team/app/blobs/uploads/?digest={}", Digest::sha256(&other));
    let streamed = rig.send(Method::Post, &path, support::streamed(&other)).await;
    refused!(streamed, Refusal::Denied(_));
    assert!(rig.store.uploads().unwrap().is_empty(), "nothing is left of what was refused");
    // The same bytes under another name count again; what is deleted counts no more.
    rig.push_blob("team/b", &half).await.unwrap();
    refused!(rig.push_blob("team/c", &half).await, Refusal::Denied(_));
    delete(&rig, &format!("blobs/{digest}")).await.unwrap();
    rig.push_blob("team/c", &half).await.unwrap();
}

#[tokio::test]
async fn manifests_are_checked() {
    let rig = rig("maxManifestSize: 64KiB").await;
    let (config, layer) = (b"{}".as_slice(), b"layer".as_slice());
    let put = async |manifest: &Value| rig.push_manifest("team/app", "1", manifest).await;
    let image = image_manifest(config, &[layer]);
    let text = refused!(put(&image).await, Refusal::Invalid { .. });
    assert!(text.contains(&Digest::sha256(layer).to_string()), "{text}");
    rig.push_blob("team/app", config).await.unwrap();
    // What another name has is not here.
    rig.push_blob("team/other", layer).await.unwrap();
    let text = refused!(put(&image).await, Refusal::Invalid { .. });
    assert!(text.contains("team/app lacks") && !text.contains(&Digest::sha256(config).to_string()));
    rig.push_blob("team/app", layer).await.unwrap();
    put(&image).await.unwrap();

    let mut wrong_size = image.clone();
    wrong_size["layers"][0]["size"] = json!(6);
    let text = refused!(put(&wrong_size).await, Refusal::Invalid { .. });
    assert!(text.contains("6 bytes of sha256:"), "{text}");
    let mut elsewhere = image.clone();
    elsewhere["layers"][0] = json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": Digest::sha256(b"elsewhere").to_string(), "size": 7,
        "urls": ["https://example.com/layer"],
    });
    put(&elsewhere).await.unwrap();
    let mut large = image.clone();
    large["annotations"] = json!({ "long": "x".repeat(64 << 10) });
    refused!(put(&large).await, Refusal::TooLarge { max_bytes: 65_536, .. });
    refused!(put(&json!({ "schemaVersion": 1, "fsLayers": [] })).await, Refusal::Invalid { .. });

    // By another digest than its own, with two spaces behind it.
    let bytes = serde_json::to_vec(&image).unwrap();
    let path = format!("/v2/team/app/manifests/{}", Digest::sha256(&bytes));
    let spoilt = rig.send(Method::Put, &path, body(&[&bytes[..], b"  "].concat())).await;
    assert!(refused!(spoilt, Refusal::Invalid { .. }).contains("the manifest hashes to"));
}

#[tokio::test]
async fn an_index_names_what_is_here_unless_it_may_be_sparse() {
    let (child, other) = (image_manifest(b"a", &[]), image_manifest(b"b", &[]));
    let both = index(&[&child, &other]);
    for sparse in [false, true] {
        let rig = rig(&format!("sparseIndexes: {sparse}")).await;
        rig.push_blob("team/app", b"a").await.unwrap();
        let digest = rig.push_manifest("team/app", "child", &child).await.unwrap();
        let pushed = rig.push_manifest("team/app", "both", &both).await;
        assert_eq!(pushed.is_ok(), sparse, "{pushed:?}");
        if !sparse {
            rig.push_manifest("team/app", "one", &index(&[&child])).await.unwrap();
        }
        let deleted = delete(&rig, &format!("manifests/{digest}")).await;
        assert_eq!(deleted.is_ok(), sparse, "{deleted:?}");
    }
}

#[tokio::test]
async fn a_subject_need_not_be_here_and_referrers_are_listed() {
    let rig = rig("").await;
    let subject = image_manifest(b"later", &[]);
    let mut referrer = image_manifest(b"{}", &[]);
    referrer["artifactType"] = json!("application/vnd.test");
    referrer["subject"] = descriptor(testkit::OCI_MANIFEST, &serde_json::to_vec(&subject).unwrap());
    rig.push_blob("team/app", b"{}").await.unwrap();
    let bytes = serde_json::to_vec(&referrer).unwrap();
    let path = format!("/v2/team/app/manifests/{}", Digest::sha256(&bytes));
    let served = rig.send(Method::Put, &path, body(&bytes)).await.unwrap();
    let of = Digest::sha256(&serde_json::to_vec(&subject).unwrap());
    match served.what {
        What::ManifestCreated { subject, .. } => assert_eq!(subject, Some(of)),
        other => panic!("{other:?}"),
    }
    match rig.get(&format!("/v2/team/app/referrers/{of}")).await.unwrap().what {
        What::Referrers { descriptors, .. } => {
            assert_eq!(descriptors.len(), 1);
            assert_eq!(descriptors[0].artifact_type.as_deref(), Some("application/vnd.test"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sha512_and_further_tags() {
    let rig = rig("").await;
    rig.push_blob("team/app", b"{}").await.unwrap();
    let bytes = serde_json::to_vec(&image_manifest(b"{}", &[])).unwrap();
    let digest = Digest::of(oci::Algorithm::Sha512, &bytes);
    let path = format!("/v2/team/app/manifests/{digest}?tag=a&tag=b&tag=a");
    match rig.send(Method::Put, &path, body(&bytes)).await.unwrap().what {
        What::ManifestCreated { digest: created, tags, .. } => {
            assert_eq!(created, digest);
            assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(tags(&rig).await, ["a", "b"]);
    match rig.get("/v2/team/app/manifests/b").await.unwrap().what {
        What::Manifest(content) => assert_eq!(content.digest, digest),
        other => panic!("{other:?}"),
    }
    let bad = format!("/v2/team/app/manifests/{digest}?tag=-no-tag");
    refused!(rig.send(Method::Put, &bad, body(&bytes)).await, Refusal::Query(_));
}

#[tokio::test]
async fn a_push_waits_for_no_upstream() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", testkit::ImageSpec::layers([1000]));
    let gate = Gate::new();
    let held = registry.behave(Match::any(), Fault::Hold(gate.clone()));
    let text = format!("{}---\n{}", documents(&registry.url(), ""), hosted(""));
    let rig = Arc::new(Rig::with(&text, Setup::default()).await);
    let path = support::through(&image.tag_path());
    let pull = tokio::spawn({
        let rig = rig.clone();
        async move { rig.manifest(&path).await.is_ok() }
    });
    registry.eventually("the pull hangs", |_| held.hits() > 0).await;
    let digest = rig.push_image("team/app", "1", "x").await.unwrap();
    assert_eq!(tag_digest(&rig, "1").await, Some(digest));
    let upload = format!("/v2/team/app/blobs/uploads/?mount={}&from=reg/a/b", image.config.digest);
    rig.upload(Method::Post, &upload, Incoming::none()).await.unwrap();
    assert!(!pull.is_finished());
    gate.open();
    pull.await.unwrap();
}

/// Gives the catalog something to do, so that what is written next has to wait.
fn occupy(rig: &Rig) {
    let mut batch = catalog::Batch::new();
    for number in 0..3000_u32 {
        let digest = Digest::sha256(&number.to_le_bytes());
        batch.put_blob(&digest, 1, false, rig.clock.now());
    }
    rig.catalog.submit(batch).forget();
}

#[tokio::test]
async fn a_catalog_that_is_slow_is_told_and_nothing_is_lost() {
    let pushes = PushSettings { patience: Duration::ZERO, ..PushSettings::default() };
    let rig = Rig::with(&hosted(""), Setup { pushes, ..Setup::default() }).await;
    occupy(&rig);
    let text = refused!(rig.push_blob("team/app", b"{}").await, Refusal::Indeterminate { .. });
    assert!(text.contains("the catalog cannot be written now"), "{text}");
    // The write goes on behind, and counts when it is there.
    let digest = Digest::sha256(b"{}");
    let path = format!("/v2/team/app/blobs/{digest}");
    rig.eventually("it is there", async |rig| rig.get(&path).await.is_ok()).await;
    let image = image_manifest(b"{}", &[]);
    occupy(&rig);
    refused!(rig.push_manifest("team/app", "1", &image).await, Refusal::Indeterminate { .. });
    rig.eventually("it is named", async |rig| tag_digest(rig, "1").await.is_some()).await;
    occupy(&rig);
    refused!(delete(&rig, "manifests/1").await, Refusal::Indeterminate { .. });
    rig.eventually("it is not named", async |rig| tag_digest(rig, "1").await.is_none()).await;

    rig.catalog.close(Duration::from_secs(5));
    refused!(rig.push_blob("team/app", b"x").await, Refusal::Indeterminate { .. });
    let unknown = rig.get("/v2/team/app/manifests/new").await;
    refused!(unknown, Refusal::Indeterminate { .. });
}

#[tokio::test]
async fn who_may_not_push_or_has_nowhere_to_is_told() {
    let registry = FakeRegistry::start().await;
    let text = documents(&registry.url(), "") + "---\n" + EVERYBODY;
    let rig = Rig::with(&text, Setup::default()).await;
    let text = refused!(rig.push_blob("reg/a/b", b"x").await, Refusal::Unsupported(_));
    assert!(text.contains("takes no pushes"), "{text}");
    let closed = hosted("").split("---").next().unwrap().to_owned();
    let rig = Rig::with(&closed, Setup::default()).await;
    let text = refused!(rig.push_blob("team/app", b"x").await, Refusal::Denied(_));
    assert!(text.contains("AccessPolicy"), "{text}");
}

/// What a client writes leads to one name, whichever way; a push goes where pulls of it are looked
/// for first.
#[tokio::test]
async fn a_virtual_name_takes_pushes_for_its_target() {
    let registry = FakeRegistry::start().await;
    registry.image("app", "old", testkit::ImageSpec::layers([100]));
    let text = format!(
        "{}---\napiVersion: lockgate.dev/v1alpha1\nkind: Repository\nmetadata: {{ name: all }}\n\
         spec:\n  aliases: [old/registry]\n  virtual:\n    members:\n      \
         - {{ repository: team, exclude: [\"no/**\"] }}\n      - {{ repository: reg }}\n    \
         pushTo: team\n---\n{}",
        documents(&registry.url(), ""),
        hosted("immutableTags: [v1]")
    );
    let rig = Rig::with(&text, Setup::default()).await;
    let digest = rig.push_image("all/app", "v1", "x").await.unwrap();
    assert_eq!(tag_digest(&rig, "v1").await, Some(digest), "under the member's own name");
    rig.manifest("/v2/all/app/manifests/v1").await.unwrap();
    rig.manifest("/v2/all/app/manifests/old").await.unwrap();
    let session = rig.begin_upload("old/registry/app").await;
    assert_eq!(session.name, "old/registry/app", "as the client wrote it");
    let path = format!("/v2/team/app/blobs/uploads/{}", session.id);
    rig.upload(Method::Get, &path, Incoming::none()).await.unwrap();
    let layer = Digest::sha256(b"the layer of x");
    let mount = format!("/v2/all/other/blobs/uploads/?mount={layer}&from=all/app");
    let served = rig.send(Method::Post, &mount, Incoming::none()).await.unwrap();
    assert!(matches!(served.what, What::BlobCreated { ref name, .. } if name == "all/other"));
    let text = refused!(rig.push_image("all/app", "v1", "y").await, Refusal::Denied(_));
    assert!(text.contains("denied by team/immutableTags"), "{text}");
    refused!(rig.push_blob("all/no/app", b"x").await, Refusal::Denied(_));
    let gone = rig.ask(Method::Delete, "/v2/all/app/manifests/old").await;
    refused!(gone, Refusal::Absent { .. });
}

#[tokio::test]
async fn what_came_as_a_blob_is_no_manifest() {
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let layer = rig.push_blob("team/app", b"layer").await.unwrap();
    rig.push_blob("team/app", b"{}").await.unwrap();
    // Bytes of some length are no manifest either, and nothing of the store is lost.
    let asked = rig.get(&format!("/v2/team/app/manifests/{layer}")).await;
    refused!(asked, Refusal::Absent { .. });
    let child = serde_json::to_vec(&image_manifest(b"{}", &[b"layer"])).unwrap();
    let child_digest = rig.push_blob("team/app", &child).await.unwrap();
    let asked = rig.get(&format!("/v2/team/app/manifests/{child_digest}")).await;
    refused!(asked, Refusal::Absent { .. });
    // An index of it would lead to layers that nothing holds.
    let entry = descriptor("application/vnd.oci.image.manifest.v1+json", &child);
    let listed = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    refused!(rig.push_manifest("team/app", "many", &listed).await, Refusal::Invalid { .. });
    let path = child_digest.to_string();
    rig.push_manifest("team/app", &path, &image_manifest(b"{}", &[b"layer"])).await.unwrap();
    rig.push_manifest("team/app", "many", &listed).await.unwrap();
    rig.manifest(&format!("/v2/team/app/manifests/{child_digest}")).await.unwrap();
}
