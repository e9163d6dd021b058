//! Over an air gap: plane A writes what it holds and what its upstream has into a file, plane B takes
//! it, and everything has the digests it had.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod common;

use common::{REPOSITORY, Ran, Served, Setup, eventually, ran, text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use testkit::client::Request;
use testkit::{FakeRegistry, Image, ImageSpec, Index, OCI_MANIFEST, Referrers, sha256};

const SBOM: &str = "application/spdx+json";

/// A hosted repository, open to all.
fn hosted(name: &str, more: &str) -> String {
    format!(
        "apiVersion: lockgate.dev/v1alpha1\nkind: Repository\nmetadata: {{ name: {name} }}\n\
         spec: {{ path: {name}, hosted: {{ {more} }} }}\n---\n\
         apiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: {name} }}\n\
         spec: {{ allow: [{{ subjects: [{{ kind: Anonymous }}], actions: [Pull, Push, List, Referrers], \
         repositories: ['**'] }}] }}\n"
    )
}

/// A plane on the other side of the gap.
async fn other_side(more: &str) -> (Setup, Served) {
    let setup = Setup::new().await;
    setup.write("mirror.yaml", &hosted("mirror", more));
    let served = setup.serve().await;
    (setup, served)
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(ran.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
}

/// What the upstream has: a multi-platform image, an SBOM of one of its platforms, a signature of
/// the SBOM, and one of cosign under its tag.
struct Published {
    index: Index,
    sbom: Image,
    of_sbom: Image,
    cosign_tag: String,
    cosign: String,
}

fn publish(registry: &FakeRegistry) -> Published {
    let index = registry.index("app", "1", &[("linux", "amd64"), ("linux", "arm64")]);
    let sbom = registry.referrer("app", &index.images[0].digest, SBOM, "what is in it");
    let of_sbom = registry.referrer("app", &sbom.digest, "application/x.sig", "signed");
    let config = registry.blob("app", "{}");
    let layer = registry.blob("app", "a signature");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": layer, "size": 11 }],
    });
    let cosign_tag = format!("{}.sig", index.digest.replace(':', "-"));
    let bytes = manifest.to_string();
    let cosign = registry.manifest("app", cosign_tag.as_str(), OCI_MANIFEST, bytes);
    Published { index, sbom, of_sbom, cosign_tag, cosign }
}

async fn push_blob(served: &Served, name: &str, bytes: &str) -> String {
    let digest = sha256(bytes.as_bytes());
    let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
    let request = Request::new("POST", &path)
        .header("content-type", "application/octet-stream")
        .body(bytes.to_owned().into_bytes());
    let answer = request.send(served.address.as_str()).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    digest
}

/// Pushes an image of one config and these layers; its manifest's digest.
async fn push_image(served: &Served, name: &str, tag: &str, layers: &[&str]) -> String {
    let config = push_blob(served, name, "{\"os\":\"linux\"}").await;
    let mut entries = Vec::new();
    for layer in layers {
        let digest = push_blob(served, name, layer).await;
        entries.push(json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": digest, "size": layer.len() }));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 14 },
        "layers": entries,
    });
    let bytes = manifest.to_string();
    let digest = sha256(bytes.as_bytes());
    let request = Request::new("PUT", &format!("/v2/{name}/manifests/{tag}"))
        .header("content-type", OCI_MANIFEST)
        .body(bytes.into_bytes());
    let answer = request.send(served.address.as_str()).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    digest
}

/// The manifest under a reference has these bytes: that digest.
async fn expect_manifest(served: &Served, name: &str, reference: &str, digest: &str) -> Value {
    let answer = served.get(&format!("/v2/{name}/manifests/{reference}")).await;
    assert_eq!(answer.status, 200, "{name} {reference}: {}", answer.text());
    assert_eq!(sha256(&answer.body), digest, "{name} {reference}");
    answer.json()
}

async fn expect_blobs(served: &Served, name: &str, manifest: &Value) {
    let layers = manifest["layers"].as_array().unwrap();
    for blob in layers.iter().chain([&manifest["config"]]) {
        let digest = blob["digest"].as_str().unwrap();
        let answer = served.get(&format!("/v2/{name}/blobs/{digest}")).await;
        assert_eq!((answer.status, sha256(&answer.body).as_str()), (200, digest), "{name}");
    }
}

async fn referrers(served: &Served, name: &str, subject: &str) -> Vec<String> {
    let answer = served.get(&format!("/v2/{name}/referrers/{subject}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list = answer.json();
    let list = list["manifests"].as_array().unwrap().iter();
    list.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

/// Where a blob's bytes begin in an archive.
fn place(archive: &[u8], digest: &str) -> usize {
    let path = format!("blobs/{}", digest.replace(':', "/"));
    let header = archive.windows(path.len()).position(|at| at == path.as_bytes()).unwrap();
    assert_eq!(header % 512, 0);
    header + 512
}

fn flip(archive: &Path, digest: &str) {
    let mut bytes = std::fs::read(archive).unwrap();
    let at = place(&bytes, digest);
    bytes[at] ^= 1;
    std::fs::write(archive, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_and_all_that_refers_to_them_arrive_with_the_same_digests() {
    for kind in [Referrers::Api, Referrers::FallbackTag] {
        let a = Setup::new().await;
        a.registry.set_referrers(kind);
        let had = publish(&a.registry);
        a.write("team.yaml", &hosted("team", ""));
        let served = a.serve().await;
        let one = push_image(&served, "team/app", "one", &["base", "one"]).await;
        let two = push_image(&served, "team/app", "two", &["base", "two"]).await;
        let list = a.path("list.txt");
        std::fs::write(&list, format!("# what we run\n{REPOSITORY}/app:1\n")).unwrap();
        let archive = a.path("images.tar");
        let words =
            ["export", "team/app", "--from-file", text(&list), "-o", text(&archive), "--json"];
        let report = json_of(&a.ask(&words).await.expect(0));
        assert_eq!((&report["images"], &report["referrers"]), (&json!(3), &json!(3)), "{report}");
        assert!(!a.path("images.tar.partial").exists());
        // The same again is the same file, and a file that is there is left alone.
        let again = a.path("again.tar");
        let words = ["export", &format!("{REPOSITORY}/app:1"), "team/app", "-o", text(&again)];
        a.ask(&words).await.expect(0);
        assert!(std::fs::read(&archive).unwrap() == std::fs::read(&again).unwrap());
        let refused = a.ask(&words).await.expect(1);
        assert!(refused.stderr.contains("never replaced"), "{refused:?}");
        served.stop().await;

        let (b, served) = other_side("").await;
        let words = ["import", text(&archive), "--to", "mirror", "--dry-run", "--json"];
        let would = json_of(&b.ask(&words).await.expect(0));
        assert_eq!((&would["tags"], &would["tagsMoved"]), (&json!(4), &json!([])), "{would}");
        assert_eq!(served.status("/v2/mirror/team/app/manifests/one").await, 404);
        let words = ["import", text(&archive), "--to", "mirror", "--json"];
        let report = json_of(&b.ask(&words).await.expect(0));
        assert_eq!(report["verified"], 6, "{report}");
        assert_eq!((&report["images"], &report["referrers"]), (&json!(3), &json!(3)), "{report}");
        let name = format!("mirror/{REPOSITORY}/app");
        expect_manifest(&served, &name, "1", &had.index.digest).await;
        for image in had.index.images.iter().chain([&had.sbom, &had.of_sbom]) {
            let manifest = expect_manifest(&served, &name, &image.digest, &image.digest).await;
            expect_blobs(&served, &name, &manifest).await;
        }
        expect_manifest(&served, &name, &had.cosign_tag, &had.cosign).await;
        let of_image = referrers(&served, &name, &had.index.images[0].digest).await;
        assert_eq!(of_image, [had.sbom.digest.as_str()]);
        assert_eq!(
            referrers(&served, &name, &had.sbom.digest).await,
            [had.of_sbom.digest.as_str()]
        );
        assert_eq!(referrers(&served, &name, &had.index.digest).await, [had.cosign.as_str()]);
        for (tag, digest) in [("one", &one), ("two", &two)] {
            let manifest = expect_manifest(&served, "mirror/team/app", tag, digest).await;
            expect_blobs(&served, "mirror/team/app", &manifest).await;
        }
        // All is there: nothing is sent again.
        let report = json_of(&b.ask(&words).await.expect(0));
        assert_eq!((&report["bytesSent"], &report["verified"]), (&json!(0), &json!(6)), "{report}");
        served.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_platform_leaves_an_index_that_says_what_it_lacks() {
    let a = Setup::new().await;
    let had = publish(&a.registry);
    let served = a.serve().await;
    let reference = format!("{REPOSITORY}/app:1");
    let (archive, none) = (a.path("amd64.tar"), a.path("none.tar"));
    let words = ["export", &reference, "--platform", "linux/arm64", "--no-referrers", "--json"];
    let ran = a.ask(&[&words[..], &["-o", text(&archive)]].concat()).await.expect(0);
    assert!(ran.stderr.contains("sparseIndexes"), "{ran:?}");
    let report = json_of(&ran);
    assert_eq!((&report["manifests"], &report["referrers"]), (&json!(2), &json!(0)), "{report}");
    let words = ["export", &reference, "--platform", "plan9/mips", "-o", text(&none)];
    let refused = a.ask(&words).await.expect(1);
    assert!(refused.stderr.contains("it has linux/amd64, linux/arm64"), "{refused:?}");
    assert!(!none.exists());
    served.stop().await;

    let name = format!("mirror/{REPOSITORY}/app");
    let (b, served) = other_side("").await;
    let words = ["import", text(&archive), "--to", "mirror"];
    let refused = b.ask(&words).await.expect(1);
    assert!(
        refused.stderr.contains(&had.index.images[0].digest),
        "names what it lacks: {refused:?}"
    );
    assert_eq!(served.status(&format!("/v2/{name}/manifests/1")).await, 404);
    served.stop().await;
    let (b, served) = other_side("sparseIndexes: true").await;
    b.ask(&words).await.expect(0);
    expect_manifest(&served, &name, "1", &had.index.digest).await;
    let arm = &had.index.images[1];
    let manifest = expect_manifest(&served, &name, &arm.digest, &arm.digest).await;
    expect_blobs(&served, &name, &manifest).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_cannot_be_exported_is_told_and_no_file_is_made() {
    let a = Setup::new().await;
    let image = a.registry.image("a", "1", ImageSpec::layers([1000]));
    let served = a.serve().await;
    let archive = a.path("images.tar");
    let (good, bad) = (format!("{REPOSITORY}/a:1"), format!("{REPOSITORY}/a:2"));
    let words = ["export", &good, &bad, "nowhere.test/x:1", "-o", text(&archive)];
    let refused = a.ask(&words).await.expect(1);
    for told in [&format!("{bad} is not there"), "nowhere.test/x:1", "2 of 3 cannot be exported"] {
        assert!(refused.stderr.contains(told), "{told}: {refused:?}");
    }
    // The manifest is there and its layer is not.
    a.registry.delete_blob("a", &image.layers[0].digest);
    a.ask(&["export", &good, "-o", text(&archive)]).await.expect(1);
    assert!(!archive.exists() && !a.path("images.tar.partial").exists());
    a.ask(&["export", "a/b@sha256:1", "-o", text(&archive)]).await.expect(64);
    served.stop().await;
    let nobody = a.ask(&["export", &good, "-o", text(&archive)]).await.expect(2);
    assert!(nobody.stderr.contains("no plane answers"), "{nobody:?}");
}

/// An archive of one image in two names with many layers; the digest of the image.
async fn archive_of_team(layers: &[&str]) -> (Setup, PathBuf, String) {
    let a = Setup::new().await;
    a.write("team.yaml", &hosted("team", ""));
    let served = a.serve().await;
    let digest = push_image(&served, "team/app", "1", layers).await;
    assert_eq!(push_image(&served, "team/copy", "1", layers).await, digest);
    let archive = a.path("team.tar");
    a.ask(&["export", "team/app:1", "team/copy:1", "-o", text(&archive)]).await.expect(0);
    served.stop().await;
    (a, archive, digest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tampered_archive_is_refused_and_an_import_goes_on_where_it_stopped() {
    let layers = ["layer 1", "layer 2", "layer 3", "layer 4"];
    let (_a, archive, image) = archive_of_team(&layers).await;
    // Blobs go in the order of their digests: all others are sent before the last one is looked at.
    let mut digests: Vec<String> = layers.iter().map(|layer| sha256(layer.as_bytes())).collect();
    digests.push(sha256(b"{\"os\":\"linux\"}"));
    digests.sort_unstable();
    let (b, served) = other_side("").await;
    flip(&archive, &digests[4]);
    let words = ["import", text(&archive), "--to", "mirror", "--json"];
    for words in [&[&words[..], &["--dry-run"]].concat(), &words.to_vec()] {
        let refused = b.ask(words).await.expect(1);
        assert!(refused.stderr.contains(&digests[4]), "{refused:?}");
        assert!(refused.stderr.contains("tampered"), "{refused:?}");
        assert_eq!(served.status("/v2/mirror/team/app/manifests/1").await, 404);
    }
    let blob = |digest: &str| format!("/v2/mirror/team/app/blobs/{digest}");
    assert_eq!(served.status(&blob(&digests[4])).await, 404);
    flip(&archive, &digests[4]);
    let report = json_of(&b.ask(&words).await.expect(0));
    // Four were there; the other name mounts them all.
    assert_eq!(
        (&report["blobsSkipped"], &report["blobsPushed"]),
        (&json!(4), &json!(1)),
        "{report}"
    );
    assert_eq!(report["blobsMounted"], 5, "{report}");
    for name in ["mirror/team/app", "mirror/team/copy"] {
        let manifest = expect_manifest(&served, name, "1", &image).await;
        expect_blobs(&served, name, &manifest).await;
    }
    // A manifest is checked before anything is asked.
    flip(&archive, &image);
    let refused = b.ask(&words).await.expect(1);
    assert!(refused.stderr.contains(&image) && refused.stderr.contains("tampered"), "{refused:?}");
    flip(&archive, &image);
    let bytes = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    let refused = b.ask(&words).await.expect(1);
    assert!(refused.stderr.contains("cut short"), "{refused:?}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_killed_is_finished_by_the_next() {
    let big: Vec<String> = ["a", "b", "c"].iter().map(|text| text.repeat(8 << 20)).collect();
    let layers: Vec<&str> = big.iter().map(String::as_str).collect();
    let (_a, archive, image) = archive_of_team(&layers).await;
    let (b, served) = other_side("").await;
    let mut digests: Vec<String> = layers.iter().map(|layer| sha256(layer.as_bytes())).collect();
    digests.push(sha256(b"{\"os\":\"linux\"}"));
    digests.sort_unstable();
    let data = b.data();
    let words = ["import", text(&archive), "--to", "mirror", "--json", "--data-dir", text(&data)];
    let mut killed = b.command(&words).spawn().unwrap();
    let first = format!("/v2/mirror/team/app/blobs/{}", digests[0]);
    eventually("a blob is there", async || served.status(&first).await == 200).await;
    // It may be anywhere by now, also done.
    killed.kill().await.unwrap();
    let report = json_of(&ran(b.command(&words)).await.expect(0));
    assert!(report["blobsSkipped"].as_u64().unwrap() >= 1, "{report}");
    assert_eq!(report["verified"], 2, "{report}");
    let manifest = expect_manifest(&served, "mirror/team/app", "1", &image).await;
    expect_blobs(&served, "mirror/team/app", &manifest).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_the_planes_own_and_stops_only_its_name() {
    let (_a, archive, image) = archive_of_team(&["layer"]).await;
    let (b, served) = other_side("immutableTags: ['1']").await;
    push_image(&served, "mirror/team/app", "1", &["another"]).await;
    let would = b.ask(&["import", text(&archive), "--to", "mirror", "--dry-run"]).await.expect(0);
    assert!(would.stdout.contains("mirror/team/app:1 would move"), "{would:?}");
    let refused = b.ask(&["import", text(&archive), "--to", "mirror"]).await.expect(1);
    assert!(refused.stderr.contains("mirror/team/app: "), "{refused:?}");
    assert!(refused.stderr.contains("immutable"), "{refused:?}");
    expect_manifest(&served, "mirror/team/copy", "1", &image).await;
    // Not hosted here.
    let refused = b.ask(&["import", text(&archive)]).await.expect(1);
    assert!(refused.stderr.contains("team/copy: "), "{refused:?}");
    // Over TCP, as a client like any other.
    let plane = format!("http://{}", served.address);
    let words = ["import", text(&archive), "--to", "mirror/tcp", "--plane", &plane];
    let pushed = b.run(&words).await.expect(0);
    assert!(pushed.stdout.contains("2 of 2 found there"), "{pushed:?}");
    let again = b.path("again.tar");
    let name = "mirror/tcp/team/app";
    let words = ["export", name, "-o", text(&again), "--plane", &plane];
    b.run(&words).await.expect(0);
    let bytes = std::fs::read(&again).unwrap();
    assert!(place(&bytes, &image) > 512);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_push_and_not_pull_is_told_that_nothing_could_be_checked() {
    let (_a, archive, _) = archive_of_team(&["layer"]).await;
    let b = Setup::new().await;
    b.write("mirror.yaml", &hosted("mirror", "").replace("Pull, Push, List, Referrers", "Push"));
    let served = b.serve().await;
    let plane = format!("http://{}", served.address);
    let words = ["import", text(&archive), "--to", "mirror", "--plane", &plane];
    // The second finds it all there, and may not know.
    for _ in 0..2 {
        let refused = b.run(&words).await.expect(1);
        assert!(refused.stderr.contains("no AccessPolicy allows Pull"), "{refused:?}");
    }
    let words = ["import", text(&archive), "--to", "mirror", "--json"];
    let report = json_of(&b.ask(&words).await.expect(0));
    assert_eq!((&report["bytesSent"], &report["verified"]), (&json!(0), &json!(2)), "{report}");
    served.stop().await;
}
