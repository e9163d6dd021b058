//! What refers to an artifact: by the API, under the fallback tag and under the tags of cosign; from
//! upstream and hosted; for clients that know the API and for those that do not.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use oci::{Digest, EvidenceTag, Tag};
use plane::{Refusal, What};
use serde_json::{Value, json};
use std::time::Duration;
use support::members::{access, documents, hosted, referrers, remote, seen, union};
use support::{Rig, Setup, descriptor, image_manifest};
use testkit::{FakeRegistry, Fault, Image, ImageSpec, Match, OCI_INDEX, OCI_MANIFEST, Referrers};

const EVERYTHING: &[(&str, &str)] = &[("'*'", "'**'")];
const MINUTE: Duration = Duration::from_secs(60);

async fn plane(all: &[String]) -> Rig {
    Rig::with(&documents(all), Setup::default()).await
}

/// A registry with an image, behind `reg`.
async fn one(spec: &str) -> (FakeRegistry, Image, Rig) {
    let registry = FakeRegistry::start().await;
    let image = registry.image("team/app", "1", ImageSpec::layers([100]));
    let rig = plane(&[remote("reg", &registry.url(), spec), access(EVERYTHING)]).await;
    (registry, image, rig)
}

fn tag(subject: &str, kind: EvidenceTag) -> String {
    Tag::evidence(&subject.parse().unwrap(), kind).to_string()
}

/// Publishes what cosign does: a manifest under a tag made of the subject's digest.
fn sign(registry: &FakeRegistry, subject: &str, kind: EvidenceTag) -> String {
    let manifest = image_manifest(kind.suffix().as_bytes(), &[]).to_string();
    registry.manifest("team/app", tag(subject, kind).as_str(), OCI_MANIFEST, manifest)
}

/// The index that an old client pushes under the fallback tag.
fn fallback_index(entries: &[&str]) -> Value {
    let entry = |digest: &&str| {
        json!({
            "mediaType": OCI_MANIFEST, "digest": digest, "size": 7, "artifactType": "application/x.old",
        })
    };
    let manifests: Vec<Value> = entries.iter().map(entry).collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
}

/// What a client that knows no referrers API sees.
async fn by_tag(rig: &Rig, name: &str, subject: &str) -> Result<Vec<String>, Refusal> {
    let path = format!("/v2/{name}/manifests/{}", tag(subject, EvidenceTag::Referrers));
    let (bytes, _) = rig.manifest(&path).await?;
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(index["mediaType"], OCI_INDEX);
    let entries = index["manifests"].as_array().unwrap();
    Ok(entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect())
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort_unstable();
    all
}

#[tokio::test]
async fn all_ways_in_which_an_upstream_tells_are_one_list() {
    for how in [Referrers::Api, Referrers::FallbackTag, Referrers::Off] {
        let (registry, image, rig) = one("").await;
        registry.set_referrers(how);
        let subject = image.digest.as_str();
        let mut all = vec![
            sign(&registry, subject, EvidenceTag::Signature),
            sign(&registry, subject, EvidenceTag::Attestation),
            sign(&registry, subject, EvidenceTag::Sbom),
        ];
        let by_api = registry.referrer("team/app", subject, "application/x.sbom", "{}").digest;
        if how != Referrers::Off {
            all.push(by_api);
        }
        let all = sorted(all);
        assert_eq!(referrers(&rig, "reg/team/app", subject, "").await.unwrap(), all, "{how:?}");
        if how != Referrers::FallbackTag {
            assert_eq!(by_tag(&rig, "reg/team/app", subject).await.unwrap(), all, "{how:?}");
        }
    }
}

#[tokio::test]
async fn an_api_and_a_fallback_tag_that_both_exist_are_one_list() {
    let (registry, image, rig) = one("").await;
    let subject = image.digest.as_str();
    let new = registry.referrer("team/app", subject, "application/x.new", "{}").digest;
    let old = Digest::sha256(b"old").to_string();
    let index = fallback_index(&[&old, &new]).to_string();
    let fallback = tag(subject, EvidenceTag::Referrers);
    registry.manifest("team/app", fallback.as_str(), OCI_INDEX, index);
    let all = sorted(vec![old.clone(), new.clone()]);
    assert_eq!(referrers(&rig, "reg/team/app", subject, "").await.unwrap(), all);
    for (artifact_type, wanted) in [
        ("application/x.old", vec![old]),
        ("application/x.new", vec![new]),
        ("application/x.none", vec![]),
    ] {
        let query = format!("?artifactType={artifact_type}");
        let found = referrers(&rig, "reg/team/app", subject, &query).await.unwrap();
        assert_eq!(found, wanted, "{artifact_type}");
    }
    let path = format!("/v2/reg/team/app/referrers/{subject}?artifactType=a%2Fb");
    let What::Referrers { filter, .. } = rig.get(&path).await.unwrap().what else { panic!() };
    assert_eq!(filter.as_deref(), Some("a/b"), "that it is filtered is said");
}

#[tokio::test]
async fn each_is_remembered_for_itself_also_that_there_is_none() {
    for how in [Referrers::Api, Referrers::Off] {
        let (registry, image, rig) = one(", freshness: { absentTtl: 1h }").await;
        registry.set_referrers(how);
        let subject = image.digest.as_str();
        sign(&registry, subject, EvidenceTag::Signature);
        for _ in 0..5 {
            let found = referrers(&rig, "reg/team/app", subject, "").await.unwrap();
            assert_eq!(found.len(), 1);
        }
        let asked = |kind| format!("GET /v2/team/app/manifests/{}", tag(subject, kind));
        let mut wanted = EvidenceTag::ALL.map(asked).to_vec();
        wanted.push(format!("GET /v2/team/app/referrers/{subject}"));
        assert_eq!(sorted(seen(&registry)), sorted(wanted), "{how:?}: each is asked for once");

        // Later, what is known is asked about again, and what was absent is not yet.
        registry.forget_requests();
        rig.clock.advance(70 * MINUTE);
        referrers(&rig, "reg/team/app", subject, "").await.unwrap();
        let wanted = [
            format!("GET /v2/team/app/referrers/{subject}"),
            format!("HEAD /v2/team/app/manifests/{}", tag(subject, EvidenceTag::Signature)),
        ];
        assert_eq!(sorted(seen(&registry)), wanted, "{how:?}");
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_told_is_no_shorter_list() {
    for part in ["/referrers/", ".sig", ".att", ".sbom", "manifests/sha256-"] {
        let (registry, image, rig) = one("").await;
        let subject = image.digest.as_str();
        registry.referrer("team/app", subject, "application/x.sbom", "{}");
        registry.behave(Match::path_contains(part), Fault::status(500));
        let refusal = referrers(&rig, "reg/team/app", subject, "").await.unwrap_err();
        assert!(matches!(refusal, Refusal::Indeterminate { .. }), "{part}: {refusal:?}");
        let refusal = by_tag(&rig, "reg/team/app", subject).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Indeterminate { .. }), "{part}: {refusal:?}");
    }
}

/// Pushes an artifact that names its subject; its digest.
async fn attach(rig: &Rig, name: &str, subject: &str, artifact_type: &str) -> String {
    rig.push_blob(name, b"{}").await.unwrap();
    let mut manifest = image_manifest(b"{}", &[]);
    manifest["artifactType"] = json!(artifact_type);
    manifest["subject"] = json!({ "mediaType": OCI_MANIFEST, "digest": subject, "size": 7 });
    let digest = Digest::sha256(&serde_json::to_vec(&manifest).unwrap());
    rig.push_manifest(name, &digest.to_string(), &manifest).await.unwrap().to_string()
}

#[tokio::test]
async fn what_clients_of_either_kind_push_is_listed_once() {
    let rig = plane(&[hosted("own"), access(EVERYTHING)]).await;
    let image = rig.push_image("own/team/app", "1", "image").await.unwrap();
    let subject = image.to_string();
    let none = referrers(&rig, "own/team/app", &subject, "").await.unwrap();
    assert!(none.is_empty(), "{none:?}");
    let absent = by_tag(&rig, "own/team/app", &subject).await.unwrap_err();
    assert!(matches!(absent, Refusal::Absent { .. }), "{absent:?}");

    let new = attach(&rig, "own/team/app", &subject, "application/x.new").await;
    assert_eq!(by_tag(&rig, "own/team/app", &subject).await.unwrap(), [new.as_str()]);
    // An old client read that index, and pushes it back with one entry more.
    let old = rig.push_image("own/team/app", "old", "old").await.unwrap().to_string();
    let (bytes, _) = rig.manifest("/v2/own/team/app/manifests/old").await.unwrap();
    let mut index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] });
    let (attached, _) = rig.manifest(&format!("/v2/own/team/app/manifests/{new}")).await.unwrap();
    index["manifests"] =
        json!([descriptor(OCI_MANIFEST, &attached), descriptor(OCI_MANIFEST, &bytes)]);
    let fallback = tag(&subject, EvidenceTag::Referrers);
    let pushed = rig.push_manifest("own/team/app", &fallback, &index).await.unwrap();
    // And cosign its signature.
    let signature = tag(&subject, EvidenceTag::Signature);
    let signed = rig.push_image("own/team/app", &signature, "sig").await.unwrap().to_string();

    let all = sorted(vec![new.clone(), old.clone(), signed]);
    assert_eq!(referrers(&rig, "own/team/app", &subject, "").await.unwrap(), all);
    let filtered = referrers(&rig, "own/team/app", &subject, "?artifactType=application/x.new");
    assert_eq!(filtered.await.unwrap(), [new], "of two descriptions the API's counts");
    // A tag is served as it was pushed.
    let (bytes, _) = rig.manifest(&format!("/v2/own/team/app/manifests/{fallback}")).await.unwrap();
    assert_eq!(Digest::sha256(&bytes), pushed);
}

#[tokio::test]
async fn the_members_of_a_virtual_repository_are_one_list() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("team/app", "1", ImageSpec::layers([100]));
    let subject = image.digest.as_str();
    let theirs = registry.referrer("team/app", subject, "application/x.sbom", "{}").digest;
    for how in [Referrers::Api, Referrers::FallbackTag] {
        registry.clear();
        registry.set_referrers(how);
        let all = |access| {
            documents(&[
                hosted("own"),
                remote("reg", &registry.url(), ""),
                union("all", &["own", "reg"], ", pushTo: own"),
                access,
            ])
        };
        let rig = Rig::with(&all(access(EVERYTHING)), Setup::default()).await;
        // Of one member only: its tag is served as it is.
        assert_eq!(by_tag(&rig, "all/team/app", subject).await.unwrap(), [theirs.as_str()]);
        let ours = attach(&rig, "all/team/app", subject, "application/x.sig").await;
        let both = sorted(vec![theirs.clone(), ours.clone()]);
        assert_eq!(referrers(&rig, "all/team/app", subject, "").await.unwrap(), both, "{how:?}");
        assert_eq!(by_tag(&rig, "all/team/app", subject).await.unwrap(), both, "{how:?}");
        let own = referrers(&rig, "own/team/app", subject, "").await.unwrap();
        assert_eq!(own, [ours.as_str()], "a member has its own only");

        // Who may not use a member does not hear of it.
        let open = access(&[("Pull, Referrers, List", "'own/**'")]);
        rig.plane.apply(support::set_of(&all(open)), "test").await.unwrap();
        assert_eq!(referrers(&rig, "all/team/app", subject, "").await.unwrap(), [ours.as_str()]);
        match (how, by_tag(&rig, "all/team/app", subject).await) {
            (Referrers::Api, listed) => assert_eq!(listed.unwrap(), [ours.as_str()]),
            // The tag itself is there, at a member that is closed.
            (_, Err(refusal)) => assert!(refusal.to_string().contains("reg/team/app"), "{refusal}"),
            (_, Ok(listed)) => panic!("{listed:?}"),
        }
        rig.plane.apply(support::set_of(&all(access(EVERYTHING))), "test").await.unwrap();

        // One that cannot tell fails the list of whoever may use it.
        registry.behave(Match::any(), Fault::status(503));
        let other = Digest::sha256(b"other").to_string();
        let refusal = referrers(&rig, "all/team/app", &other, "").await.unwrap_err();
        assert!(refusal.to_string().contains("member reg of all"), "{refusal}");
        let refusal = by_tag(&rig, "all/team/app", &other).await.unwrap_err();
        assert!(refusal.to_string().contains("member reg of all"), "{refusal}");
    }
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let (registry, image, rig) = one("").await;
    let subject = image.digest.as_str();
    let mut wanted = Vec::new();
    for number in 0..250 {
        let artifact_type = format!("application/x.{number}.{}", "long".repeat(5000));
        wanted.push(registry.referrer("team/app", subject, &artifact_type, "{}").digest);
    }
    let wanted = sorted(wanted);
    let (mut found, mut pages, mut last) = (Vec::new(), 0, String::new());
    loop {
        let path = format!("/v2/reg/team/app/referrers/{subject}?last={last}");
        let What::Referrers { descriptors, more_after, .. } = rig.get(&path).await.unwrap().what
        else {
            panic!()
        };
        pages += 1;
        found.extend(descriptors.iter().map(|entry| entry.digest.to_string()));
        match more_after {
            Some(digest) => last = digest.to_string(),
            None => break,
        }
    }
    assert_eq!(found, wanted);
    assert_eq!(pages, 2, "5 MB of entries");
    let few = referrers(&rig, "reg/team/app", subject, "?n=3").await.unwrap();
    assert_eq!(few, wanted[..3]);
    let wrong = referrers(&rig, "reg/team/app", subject, "?last=x").await.unwrap_err();
    assert!(matches!(wrong, Refusal::Query(_)), "{wrong:?}");
}
