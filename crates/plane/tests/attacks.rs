//! Ways around a rule that people would try, each by name: what is refused by one way is refused by all.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself fails")]

mod support;

use oci::Digest;
use plane::{Method, Refusal, What};
use serde_json::{Value, json};
use support::{EVERYBODY, Rig, Setup, descriptor, hosted, image_manifest, index, set_of, through};
use testkit::{FakeRegistry, ImageSpec};

/// An artifact policy with these rules, for these names.
fn policy(names: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: {{ name: art }}\n\
         spec:\n  match: {{ repositories: [\"{names}\"], actions: [Pull, Push] }}\n  rules:\n{rules}"
    )
}

/// Every image names its owner in a label.
const OWNED: &str = "    - name: owned\n      deny: '!(\"owner\" in artifact.labels)'\n";

fn config(owner: Option<&str>, seed: &str) -> Vec<u8> {
    let labels = owner.map_or_else(|| json!({}), |owner| json!({ "owner": owner }));
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Labels": labels }, "seed": seed,
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    serde_json::to_vec(&config).unwrap()
}

/// An image that was pushed: its manifest, and the paths of what it is made of.
struct Pushed {
    name: String,
    manifest: Value,
    digest: Digest,
    config: Digest,
    layer: Digest,
}

impl Pushed {
    fn manifest_path(&self) -> String {
        format!("/v2/{}/manifests/{}", self.name, self.digest)
    }

    fn blob_path(&self, digest: &Digest) -> String {
        format!("/v2/{}/blobs/{digest}", self.name)
    }
}

async fn push(rig: &Rig, name: &str, tag: &str, owner: Option<&str>, seed: &str) -> Pushed {
    let (config_bytes, layer) = (config(owner, seed), format!("the layer of {seed}"));
    let config = rig.push_blob(name, &config_bytes).await.unwrap();
    let layer_digest = rig.push_blob(name, layer.as_bytes()).await.unwrap();
    let manifest = image_manifest(&config_bytes, &[layer.as_bytes()]);
    let digest = rig.push_manifest(name, tag, &manifest).await.unwrap();
    Pushed { name: name.to_owned(), manifest, digest, config, layer: layer_digest }
}

/// A plane where an image without an owner was pushed before there was a rule, and then the rule came. A
/// day and more has gone by: nobody has a lease.
async fn ruled(names: &str, rules: &str) -> (Rig, Pushed, Pushed) {
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let bad = push(&rig, "team/app", "bad", None, "bad").await;
    let good = push(&rig, "team/app", "good", Some("me"), "good").await;
    rig.clock.advance(std::time::Duration::from_secs(50 * 3600));
    apply(&rig, &(hosted("") + &policy(names, rules))).await;
    (rig, bad, good)
}

async fn apply(rig: &Rig, text: &str) {
    rig.plane.apply(set_of(text), "test.yaml").await.unwrap();
}

/// The answer is a refusal by the policy, and its text names rule and decision.
fn refused_by(answer: Result<plane::Served, Refusal>, rule: &str, what: &str) {
    match answer {
        Err(Refusal::Denied(denial)) => {
            let text = denial.message();
            assert!(text.contains(rule), "{what}: {text}");
            assert!(text.contains(&denial.id().to_string()), "{what}: {text}");
        }
        other => panic!("{what}: not refused: {other:?}"),
    }
}

#[tokio::test]
async fn no_way_of_asking_is_a_way_around() {
    let (rig, bad, good) = ruled("team/**", OWNED).await;
    for method in [Method::Head, Method::Get] {
        for path in ["/v2/team/app/manifests/bad".to_owned(), bad.manifest_path()] {
            refused_by(rig.ask(method, &path).await, "art/owned", &path);
        }
        assert!(rig.ask(method, "/v2/team/app/manifests/good").await.is_ok());
    }
    for digest in [&bad.layer, &bad.config] {
        refused_by(rig.get(&bad.blob_path(digest)).await, "art/owned", "a blob");
    }
    for digest in [&good.layer, &good.config] {
        assert!(rig.get(&good.blob_path(digest)).await.is_ok());
    }
}

#[tokio::test]
async fn a_blob_of_what_is_permitted_too_is_served_by_its_digest() {
    let (rig, bad, _) = ruled("team/**", OWNED).await;
    let layer = "the layer of bad";
    let config_bytes = config(Some("me"), "shares");
    rig.push_blob("team/app", &config_bytes).await.unwrap();
    let shares = image_manifest(&config_bytes, &[layer.as_bytes()]);
    refused_by(rig.get(&bad.blob_path(&bad.layer)).await, "art/owned", "before");
    // Whoever pushes it has the bytes, or the name would not take the manifest of what it may not read.
    rig.push_blob("team/app", layer.as_bytes()).await.unwrap();
    rig.push_manifest("team/app", "shares", &shares).await.unwrap();
    assert!(rig.get(&bad.blob_path(&bad.layer)).await.is_ok());
    refused_by(rig.get(&bad.blob_path(&bad.config)).await, "art/owned", "its config");
}

#[tokio::test]
async fn pushing_it_is_refused_too() {
    let (rig, ..) = ruled("team/**", OWNED).await;
    let (config_bytes, layer) = (config(None, "new"), b"a layer");
    rig.push_blob("team/app", &config_bytes).await.unwrap();
    rig.push_blob("team/app", layer).await.unwrap();
    let manifest = image_manifest(&config_bytes, &[layer]);
    let path = "/v2/team/app/manifests/new";
    let body = support::body(&serde_json::to_vec(&manifest).unwrap())
        .with_lines(Some(testkit::OCI_MANIFEST.to_owned()), None);
    refused_by(rig.send(Method::Put, path, body).await, "art/owned", "a push");
    let after = rig.get(path).await.unwrap_err();
    assert!(matches!(after, Refusal::Absent { .. }), "{after:?}");
}

#[tokio::test]
async fn the_bytes_of_a_refused_manifest_pushed_as_a_blob_open_nothing() {
    let (rig, bad, _) = ruled("team/**", OWNED).await;
    let bytes = serde_json::to_vec(&bad.manifest).unwrap();
    rig.push_blob("team/app", &bytes).await.unwrap();
    refused_by(rig.get(&bad.manifest_path()).await, "art/owned", "the manifest");
    refused_by(rig.get(&bad.blob_path(&bad.layer)).await, "art/owned", "its layer");
}

#[tokio::test]
async fn an_index_over_it_is_no_way_to_it() {
    let (rig, bad, good) = ruled("team/**", OWNED).await;
    let mixed = index(&[&bad.manifest, &good.manifest]);
    rig.push_manifest("team/app", "mixed", &mixed).await.unwrap();
    assert!(rig.get("/v2/team/app/manifests/mixed").await.is_ok(), "one of its images is good");
    refused_by(rig.get(&bad.manifest_path()).await, "art/owned", "the child");
    refused_by(rig.get(&bad.blob_path(&bad.layer)).await, "art/owned", "the child's layer");
    assert!(rig.get(&good.blob_path(&good.layer)).await.is_ok());
}

#[tokio::test]
async fn another_name_under_the_rule_is_no_way_to_it() {
    let (rig, bad, _) = ruled("team/app", OWNED).await;
    let mount = format!("/v2/team/other/blobs/uploads/?mount={}&from=team/app", bad.layer);
    match rig.ask(Method::Post, &mount).await {
        Ok(served) => assert!(matches!(served.what, What::Upload(_)), "mounted: {:?}", served.what),
        Err(Refusal::Denied(_)) => {}
        Err(other) => panic!("{other:?}"),
    }
    let elsewhere = format!("/v2/team/other/blobs/{}", bad.layer);
    assert!(rig.get(&elsewhere).await.is_err());
}

#[tokio::test]
async fn a_mount_of_what_the_name_has_is_no_ground() {
    let (rig, bad, _) = ruled("team/**", OWNED).await;
    let mount = format!("/v2/team/app/blobs/uploads/?mount={}&from=team/app", bad.layer);
    let _ = rig.ask(Method::Post, &mount).await;
    refused_by(rig.get(&bad.blob_path(&bad.layer)).await, "art/owned", "after a mount");
}

#[tokio::test]
async fn an_image_that_says_it_is_evidence_is_judged_as_an_image() {
    let (rig, bad, good) = ruled("team/**", OWNED).await;
    let (config_bytes, layer) = (config(None, "dressed"), b"dressed");
    rig.push_blob("team/app", &config_bytes).await.unwrap();
    rig.push_blob("team/app", layer).await.unwrap();
    let mut dressed = image_manifest(&config_bytes, &[layer]);
    let subject = serde_json::to_vec(&good.manifest).unwrap();
    dressed["subject"] = descriptor(testkit::OCI_MANIFEST, &subject);
    dressed["artifactType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json");
    for tag in ["dressed".to_owned(), format!("sha256-{}.sig", bad.digest.hex())] {
        let path = format!("/v2/team/app/manifests/{tag}");
        let body = support::body(&serde_json::to_vec(&dressed).unwrap())
            .with_lines(Some(testkit::OCI_MANIFEST.to_owned()), None);
        refused_by(rig.send(Method::Put, &path, body).await, "art/owned", &tag);
    }
}

#[tokio::test]
async fn a_tag_that_moves_is_judged_anew() {
    let (rig, bad, _) = ruled("team/**", OWNED).await;
    assert!(rig.get("/v2/team/app/manifests/good").await.is_ok());
    // The rule goes, the tag moves, the rule is back.
    apply(&rig, &hosted("")).await;
    rig.push_manifest("team/app", "good", &bad.manifest).await.unwrap();
    assert!(rig.get("/v2/team/app/manifests/good").await.is_ok());
    apply(&rig, &(hosted("") + &policy("team/**", OWNED))).await;
    refused_by(rig.get("/v2/team/app/manifests/good").await, "art/owned", "the moved tag");
}

#[tokio::test]
async fn a_pull_under_way_is_not_cut_and_a_new_one_is_refused() {
    let (rig, bad, _) = ruled("team/**", OWNED).await;
    let milder = "    - name: small\n      deny: artifact.sizeBytes > 1000000\n";
    apply(&rig, &(hosted("") + &policy("team/**", milder))).await;
    assert!(rig.get(&bad.manifest_path()).await.is_ok());
    apply(&rig, &(hosted("") + &policy("team/**", OWNED))).await;
    refused_by(rig.get(&bad.manifest_path()).await, "art/owned", "a new pull");
    assert!(rig.get(&bad.blob_path(&bad.layer)).await.is_ok(), "the lease of the pull under way");
    rig.clock.advance(std::time::Duration::from_secs(25 * 3600));
    refused_by(rig.get(&bad.blob_path(&bad.layer)).await, "art/owned", "after the lease");
}

#[tokio::test]
async fn the_first_rule_of_a_name_does_not_cut_a_pull_under_way() {
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let pulled = push(&rig, "team/app", "pulled", None, "pulled").await;
    let other = push(&rig, "team/app", "other", None, "other").await;
    rig.clock.advance(std::time::Duration::from_secs(50 * 3600));
    assert!(rig.get(&pulled.manifest_path()).await.is_ok(), "no rule speaks of it");
    apply(&rig, &(hosted("") + &policy("team/**", OWNED))).await;
    refused_by(rig.get(&pulled.manifest_path()).await, "art/owned", "a new pull");
    assert!(rig.get(&pulled.blob_path(&pulled.layer)).await.is_ok(), "the pull under way");
    refused_by(rig.get(&other.blob_path(&other.layer)).await, "art/owned", "not pulled");
}

const DEV_AND_PROD: &str = "---\napiVersion: lockgate.dev/v1alpha1\nkind: Environment\n\
    metadata: { name: prod }\nspec: { strictness: 100, listenerHosts: [prod.example] }\n\
    ---\napiVersion: lockgate.dev/v1alpha1\nkind: Environment\n\
    metadata: { name: dev }\nspec: { strictness: 10, networks: [127.0.0.0/8] }\n\
    ---\napiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: { name: strict }\n\
    spec:\n  match: { environments: [prod] }\n  rules:\n";

#[tokio::test]
async fn a_wish_raises_and_never_lowers() {
    let (mut rig, bad, _) = ruled("nothing/**", OWNED).await;
    apply(&rig, &format!("{}{DEV_AND_PROD}{OWNED}", hosted(""))).await;
    let path = bad.manifest_path();
    assert!(rig.get(&path).await.is_ok(), "dev has no rule");
    let prod = "prod.example";
    let by_host =
        rig.send_to(prod, support::LOOPBACK, Method::Get, &path, plane::Incoming::none()).await;
    refused_by(by_host, "strict/owned", "by the host of prod, from the network of dev");
    rig.environment = Some("prod".to_owned());
    refused_by(rig.get(&path).await, "strict/owned", "asked for");
    // The lease of dev says nothing in prod.
    refused_by(rig.get(&bad.blob_path(&bad.layer)).await, "strict/owned", "its layer");
    rig.environment = Some("dev".to_owned());
    let lowered =
        rig.send_to(prod, support::LOOPBACK, Method::Get, &path, plane::Incoming::none()).await;
    refused_by(lowered, "strict/owned", "a milder wish is not heard");
    rig.environment = Some("nowhere".to_owned());
    let unknown = rig.get(&path).await.unwrap_err();
    assert!(unknown.to_string().contains("nowhere"), "{unknown}");
}

#[tokio::test]
async fn what_cannot_be_found_out_is_not_good() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([100]));
    let text = support::documents(&registry.url(), "") + "---\n" + EVERYBODY;
    let signed = "    - name: signed\n      signatures: { anyOf: [me] }\n";
    let signer = "---\napiVersion: lockgate.dev/v1alpha1\nkind: Signer\nmetadata: { name: me }\n\
                  spec: { publicKey: { file: me.pem } }\n";
    let rules = policy("reg/**", signed);
    let rig = Rig::with(&format!("{text}{signer}{rules}"), Setup::default()).await;
    refused_by(rig.get(&through(&image.tag_path())).await, "art/signed", "nobody verifies");
    refused_by(rig.get(&through(&image.digest_path())).await, "art/signed", "by digest");
    let layer = through(&image.layer_path(0));
    assert!(rig.get(&layer).await.is_err(), "a layer nobody was permitted a manifest of");
}

#[tokio::test]
async fn listing_a_blob_of_others_is_no_ground_for_it() {
    let (rig, bad, _) = ruled("team/**", OWNED).await;
    let config_bytes = config(Some("me"), "laundry");
    rig.push_blob("team/app", &config_bytes).await.unwrap();
    let laundry = image_manifest(&config_bytes, &[b"the layer of bad"]);
    let path = "/v2/team/app/manifests/laundry";
    let body = support::body(&serde_json::to_vec(&laundry).unwrap())
        .with_lines(Some(testkit::OCI_MANIFEST.to_owned()), None);
    let refusal = rig.send(Method::Put, path, body).await.unwrap_err();
    assert!(refusal.to_string().contains(&bad.layer.to_string()), "{refusal}");
    assert!(matches!(refusal, Refusal::Invalid { .. }), "{refusal:?}");
    refused_by(rig.get(&bad.blob_path(&bad.layer)).await, "art/owned", "the layer");
}

#[tokio::test]
async fn a_refused_manifest_is_no_blob_of_an_index() {
    let (rig, bad, good) = ruled("team/**", OWNED).await;
    let mixed = index(&[&bad.manifest, &good.manifest]);
    rig.push_manifest("team/app", "mixed", &mixed).await.unwrap();
    assert!(rig.get("/v2/team/app/manifests/mixed").await.is_ok());
    refused_by(rig.get(&bad.blob_path(&bad.digest)).await, "art/owned", "the manifest as a blob");
    assert!(rig.get(&good.blob_path(&good.digest)).await.is_ok());
}

#[tokio::test]
async fn a_removed_tag_speaks_for_nothing() {
    let released = "    - { name: released, tags: { allow: [\"v*\"] } }\n";
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let app = push(&rig, "team/app", "v1", None, "app").await;
    rig.push_manifest("team/app", "other", &app.manifest).await.unwrap();
    apply(&rig, &(hosted("") + &policy("team/**", released))).await;
    assert!(rig.get("/v2/team/app/manifests/v1").await.is_ok());
    assert!(rig.get(&app.manifest_path()).await.is_ok());
    rig.ask(Method::Delete, "/v2/team/app/manifests/v1").await.unwrap();
    refused_by(rig.get(&app.manifest_path()).await, "art/released", "by digest");
    refused_by(rig.get("/v2/team/app/manifests/other").await, "art/released", "by another tag");
}

#[tokio::test]
async fn the_fallback_tag_tells_no_more_than_the_api() {
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let bad = push(&rig, "team/app", "bad", None, "bad").await;
    rig.push_blob("team/app", b"{}").await.unwrap();
    let mut sbom = image_manifest(b"{}", &[]);
    sbom["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
    sbom["layers"] = json!([descriptor("application/spdx+json", b"{}")]);
    sbom["artifactType"] = json!("application/spdx+json");
    sbom["subject"] =
        descriptor(testkit::OCI_MANIFEST, &serde_json::to_vec(&bad.manifest).unwrap());
    rig.push_manifest("team/app", "sbom", &sbom).await.unwrap();
    let fallback = format!("/v2/team/app/manifests/sha256-{}", bad.digest.hex());
    let api = format!("/v2/team/app/referrers/{}", bad.digest);
    assert!(rig.get(&fallback).await.is_ok() && rig.get(&api).await.is_ok());
    let of_images = policy("team/**", OWNED).replace("actions:", "artifacts: [Image], actions:");
    apply(&rig, &(hosted("") + &of_images)).await;
    refused_by(rig.get(&api).await, "art/owned", "the API");
    refused_by(rig.get(&fallback).await, "art/owned", "the tag");
}

#[tokio::test]
async fn hidden_tags_do_not_end_a_list() {
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    for tag in ["a-dev", "b-dev", "c", "d-dev", "e"] {
        push(&rig, "team/app", tag, None, tag).await;
    }
    let hidden = policy("team/**", "    - { name: no-dev, tags: { deny: [\"*-dev\"] } }\n")
        .replace("  rules:", "  hide: true\n  rules:");
    apply(&rig, &(hosted("") + &hidden)).await;
    let (mut seen, mut path) = (Vec::new(), "/v2/team/app/tags/list?n=1".to_owned());
    loop {
        let What::Tags { tags, more_after, .. } = rig.get(&path).await.unwrap().what else {
            panic!("no tags")
        };
        seen.extend(tags.iter().map(ToString::to_string));
        let Some(last) = more_after else { break };
        assert!(!last.as_str().contains("dev"), "{last} is told");
        path = format!("/v2/team/app/tags/list?n=1&last={last}");
    }
    assert_eq!(seen, ["c", "e"]);
}

#[tokio::test]
async fn an_index_of_images_under_a_tag_of_evidence_is_an_index() {
    let pinned = "    - { name: pinned, tags: { requireDigest: true } }\n";
    let rig = Rig::with(&hosted(""), Setup::default()).await;
    let app = push(&rig, "team/app", "v1", None, "app").await;
    let tag = format!("sha256-{}", "0".repeat(64));
    rig.push_manifest("team/app", &tag, &index(&[&app.manifest])).await.unwrap();
    apply(&rig, &(hosted("") + &policy("team/**", pinned))).await;
    let path = format!("/v2/team/app/manifests/{tag}");
    refused_by(rig.get(&path).await, "art/pinned", "the index");
}

#[tokio::test]
async fn a_config_of_another_name_is_not_read() {
    let (rig, bad, _) = ruled("team/app", OWNED).await;
    let labelled =
        "    - name: told\n      deny: 'true'\n      message: 'string(artifact.labels)'\n";
    let labelled = labelled.replace("string(artifact.labels)", "artifact.labels[\"owner\"]");
    apply(&rig, &(hosted("") + &policy("team/mine", &labelled))).await;
    let secret = config(Some("a secret"), "secret");
    rig.push_blob("team/theirs", &secret).await.unwrap();
    let manifest = image_manifest(&secret, &[]);
    let path = "/v2/team/mine/manifests/x";
    let body = support::body(&serde_json::to_vec(&manifest).unwrap())
        .with_lines(Some(testkit::OCI_MANIFEST.to_owned()), None);
    let refusal = rig.send(Method::Put, path, body).await.unwrap_err();
    assert!(!refusal.to_string().contains("a secret"), "{refusal}");
    assert!(matches!(refusal, Refusal::Invalid { .. }), "{refusal:?}");
    let _ = bad;
}

#[tokio::test]
async fn what_one_address_was_permitted_is_no_lease_of_another() {
    let rules = "    - name: here\n      deny: 'request.address != \"10.0.0.5\"'\n";
    let (rig, _, good) = ruled("team/**", rules).await;
    let at = |last: u8| plane::Peer {
        address: Some(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, last))),
        is_loopback: false,
        is_operator: false,
    };
    assert!(rig.ask_as(at(5), Method::Get, &good.manifest_path()).await.is_ok());
    assert!(rig.ask_as(at(5), Method::Get, &good.blob_path(&good.layer)).await.is_ok());
    let refused = rig.ask_as(at(9), Method::Get, &good.manifest_path()).await;
    refused_by(refused, "art/here", "the manifest");
    let refused = rig.ask_as(at(9), Method::Get, &good.blob_path(&good.layer)).await;
    refused_by(refused, "art/here", "the layer");
}
