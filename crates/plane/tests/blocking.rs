//! A block: whatever was permitted before, to whomever, however it is asked for, nobody has it from now on.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself fails")]

mod support;

use plane::{Method, PrefetchRequest, Refusal};
use std::time::Duration;
use support::{Rig, Setup, collect, documents, set_of, through};
use testkit::{FakeRegistry, Fault, Gate, Image, ImageSpec, Match};

fn block(matches: &str) -> String {
    format!(
        "---\napiVersion: lockgate.dev/v1alpha1\nkind: Block\nmetadata: {{ name: poisoned }}\nspec:\n  \
         match: {{ {matches} }}\n  reason: CVE-2024-3094\n  owner: security@corp.example\n"
    )
}

/// Rules that do all they can to let it pass.
const LENIENT: &str = "---\napiVersion: lockgate.dev/v1alpha1\nkind: Plane\nmetadata: { name: default }\n\
    spec: { posture: Observe }\n\
    ---\napiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: { name: soft }\nspec:\n  \
    alreadyAdmitted: { mode: Audit, for: 1000d }\n  enforcement: [{ mode: Audit }]\n  \
    rules: [{ name: tag, tags: { deny: [nightly] } }]\n\
    ---\napiVersion: lockgate.dev/v1alpha1\nkind: Waiver\nmetadata: { name: all }\nspec:\n  \
    scope: { rules: [\"**\"], repositories: [\"**\"] }\n  reason: haste\n  requestedBy: a\n  \
    approvedBy: b\n  expires: 9999-01-01T00:00:00Z\n";

async fn apply(rig: &Rig, text: &str) {
    rig.plane.apply(set_of(text), "test.yaml").await.unwrap();
}

fn is_blocked<T: std::fmt::Debug>(answer: Result<T, Refusal>, what: &str) {
    match answer {
        Err(Refusal::Denied(denial)) => {
            let text = denial.message();
            assert!(text.starts_with("denied by poisoned/block"), "{what}: {text}");
            assert!(text.contains("CVE-2024-3094"), "{what}: {text}");
        }
        other => panic!("{what}: not blocked: {other:?}"),
    }
}

/// Everything an image is made of, as clients ask for it.
fn parts(image: &Image) -> [String; 4] {
    [image.tag_path(), image.digest_path(), image.config_path(), image.layer_path(0)]
        .map(|path| through(&path))
}

async fn pull(rig: &Rig, image: &Image) {
    for path in parts(image) {
        match rig.get(&path).await.unwrap().what {
            plane::What::Blob(answer) => drop(collect(answer.stream(None)).await.unwrap()),
            other => drop(other),
        }
    }
}

#[tokio::test]
async fn what_was_pulled_before_is_pulled_no_more() {
    for (lenient, matches) in [
        ("", "digests: [DIGEST]"),
        (LENIENT, "digests: [DIGEST]"),
        (LENIENT, "repositories: [\"reg/a/bad\"]"),
        (LENIENT, "tags: [\"poi*\"], repositories: [\"reg/**\"]"),
    ] {
        let registry = FakeRegistry::start().await;
        let bad = registry.image("a/bad", "poison", ImageSpec::layers([3000]));
        let good = registry.image("a/good", "good", ImageSpec::layers([4000]));
        let text = documents(&registry.url(), "");
        let rig = Rig::with(&(text.clone() + lenient), Setup::default()).await;
        pull(&rig, &bad).await;
        pull(&rig, &good).await;
        let matches = matches.replace("DIGEST", &format!("\"{}\"", bad.digest));
        apply(&rig, &(text.clone() + lenient + &block(&matches))).await;
        for path in parts(&bad) {
            is_blocked(rig.get(&path).await, &format!("{path} by {matches}"));
            is_blocked(rig.ask(Method::Head, &path).await, &format!("HEAD {path} by {matches}"));
        }
        pull(&rig, &good).await;
        apply(&rig, &(text + lenient)).await;
        pull(&rig, &bad).await;
    }
}

#[tokio::test]
async fn a_layer_that_another_image_has_too_is_still_served_for_that_one() {
    let registry = FakeRegistry::start().await;
    let bad = registry.image("a/b", "bad", ImageSpec::layers([3000, 500]).seed(1));
    let good = registry.image("a/b", "good", ImageSpec::layers([3000]).seed(1));
    assert_eq!(bad.layer_path(0), good.layer_path(0), "they share a layer");
    let text = documents(&registry.url(), "");
    let rig = Rig::with(&text, Setup::default()).await;
    pull(&rig, &bad).await;
    pull(&rig, &good).await;
    apply(&rig, &(text.clone() + &block(&format!("digests: [\"{}\"]", bad.digest)))).await;
    assert!(rig.get(&through(&good.layer_path(0))).await.is_ok());
    is_blocked(rig.get(&through(&bad.layer_path(1))).await, "the layer of the bad one alone");
}

#[tokio::test]
async fn a_layer_by_its_own_digest_is_blocked_wherever_it_is() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "v1", ImageSpec::layers([3000, 500]));
    let text = documents(&registry.url(), "");
    let rig = Rig::with(&text, Setup::default()).await;
    pull(&rig, &image).await;
    let layer = image.layer_path(0).rsplit('/').next().unwrap().to_owned();
    apply(&rig, &(text + &block(&format!("digests: [\"{layer}\"]")))).await;
    is_blocked(rig.get(&through(&image.layer_path(0))).await, "the layer");
    assert!(rig.get(&through(&image.layer_path(1))).await.is_ok(), "the other one");
}

#[tokio::test]
async fn a_frozen_upstream_gives_what_it_gave_before_and_nothing_new() {
    let registry = FakeRegistry::start().await;
    let old = registry.image("a/b", "old", ImageSpec::layers([3000]));
    let text = documents(&registry.url(), "");
    let rig = Rig::with(&text, Setup::default()).await;
    pull(&rig, &old).await;
    rig.clock.advance(Duration::from_secs(3600));
    let since = rig.clock.now();
    rig.clock.advance(Duration::from_secs(3600));
    let new = registry.image("a/b", "new", ImageSpec::layers([4000]));
    let frozen = block(&format!("upstreams: [up], firstSeenSince: {since}"));
    apply(&rig, &(text.clone() + &frozen)).await;
    pull(&rig, &old).await;
    is_blocked(rig.get(&through(&new.tag_path())).await, "the new one");
    is_blocked(rig.get(&through(&new.digest_path())).await, "the new one, once it is here");
    apply(&rig, &text).await;
    pull(&rig, &new).await;
}

#[tokio::test]
async fn a_download_under_way_ends_and_leaves_nothing() {
    let registry = FakeRegistry::start().await;
    let bad = registry.image("a/b", "bad", ImageSpec::layers([6 << 20]));
    let gate = Gate::new();
    registry.behave(Match::blobs(), Fault::HoldAt(1 << 20, gate.clone()));
    let text = documents(&registry.url(), "");
    let rig = Rig::with(&text, Setup::default()).await;
    rig.get(&through(&bad.tag_path())).await.unwrap();
    let layer = through(&bad.layer_path(0));
    let (going, _) = rig.blob_answer(&layer).await.unwrap();
    let held = tokio::spawn(collect(going.stream(None)));
    apply(&rig, &(text.clone() + &block(&format!("digests: [\"{}\"]", bad.digest)))).await;
    rig.eventually("the download ended", async |rig| {
        rig.metric("lockgate_fills_finished_total{result=\"failed\"}") == 1.0
    })
    .await;
    let cut = held.await.unwrap().unwrap_err();
    // Whichever noticed first: the download that ended, or the body that looked.
    assert!(cut.contains("blocked") || cut.contains("withdrawn"), "{cut}");
    gate.open();
    let parts = rig.dir.path().join("fills");
    rig.eventually("nothing of it is left", async |_| {
        std::fs::read_dir(&parts).unwrap().next().is_none()
    })
    .await;
    is_blocked(rig.get(&layer).await, "asked again");
    assert!(registry.bytes_sent_for(bad.layer_path(0).rsplit('/').next().unwrap()) < 6 << 20);
}

#[tokio::test]
async fn a_body_from_the_store_is_cut() {
    let registry = FakeRegistry::start().await;
    let bad = registry.image("a/b", "poison", ImageSpec::layers([6 << 20]));
    let good = registry.image("a/b", "good", ImageSpec::layers([5 << 20]));
    let text = documents(&registry.url(), "");
    let rig = Rig::with(&text, Setup::default()).await;
    for image in [&bad, &good] {
        pull(&rig, image).await;
    }
    for matches in [format!("digests: [\"{}\"]", bad.digest), "tags: [poison]".to_owned()] {
        let going = |image: &Image| through(&image.layer_path(0));
        let (cut, _) = rig.blob_answer(&going(&bad)).await.unwrap();
        let (whole, _) = rig.blob_answer(&going(&good)).await.unwrap();
        apply(&rig, &(text.clone() + &block(&matches))).await;
        let why = collect(cut.stream(None)).await.unwrap_err();
        assert!(why.contains("withdrawn"), "{matches}: {why}");
        assert_eq!(collect(whole.stream(None)).await.unwrap().len(), 5 << 20, "{matches}");
        apply(&rig, &text).await;
    }
}

#[tokio::test]
async fn nothing_blocked_is_fetched_ahead_or_pushed() {
    let registry = FakeRegistry::start().await;
    let bad = registry.image("a/b", "bad", ImageSpec::layers([3000]));
    let text =
        documents(&registry.url(), "") + &block("repositories: [\"reg/a/**\", \"team/bad\"]");
    let rig = Rig::with(&(text + "---\n" + &support::hosted("")), Setup::default()).await;
    is_blocked(rig.get(&through(&bad.tag_path())).await, "a pull");
    assert_eq!(registry.requests().len(), 0, "nobody was asked");
    let ahead = |reference: String| async {
        let request = PrefetchRequest { references: vec![reference], platforms: Vec::new() };
        let job = rig.plane.prefetch(request).await.unwrap();
        let mut changes = rig.plane.job(&job.id).unwrap();
        let ended = changes.wait_for(|view| view.state.is_final()).await.unwrap().clone();
        ended.items[0].problem.clone().unwrap_or_default()
    };
    let why = ahead("reg/a/b:bad".to_owned()).await;
    assert!(why.contains("denied by poisoned/block"), "{why}");
    assert_eq!(registry.requests().len(), 0, "nobody was asked");
    is_blocked(rig.push_image("team/bad", "v1", "x").await, "a push");
    assert!(rig.push_image("team/good", "v1", "x").await.is_ok());
}

#[tokio::test]
async fn the_parts_of_what_is_blocked_by_digest_are_not_fetched_ahead() {
    let registry = FakeRegistry::start().await;
    let bad = registry.image("a/b", "bad", ImageSpec::layers([3000]));
    let text = documents(&registry.url(), "") + &block(&format!("digests: [\"{}\"]", bad.digest));
    let rig = Rig::with(&text, Setup::default()).await;
    let request =
        PrefetchRequest { references: vec!["reg/a/b:bad".to_owned()], platforms: Vec::new() };
    let job = rig.plane.prefetch(request).await.unwrap();
    let mut changes = rig.plane.job(&job.id).unwrap();
    let ended = changes.wait_for(|view| view.state.is_final()).await.unwrap().clone();
    let why = ended.items[0].problem.clone().unwrap_or_default();
    assert!(why.contains("denied by poisoned/block"), "{why}");
    assert_eq!(registry.count(|seen| seen.path.contains("/blobs/")), 0);
}

#[tokio::test]
async fn what_is_said_to_the_plane_itself_is_nobody_elses_answer() {
    // A prefetch is judged by blocks alone; whoever administers, and asks next, by the rules as well.
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([3000]));
    let rule = "---\napiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: { name: p }\n\
                spec: { rules: [{ name: owner, labels: { require: { owner: '*' } } }] }\n";
    let other = "sha256:".to_owned() + &"0a".repeat(32);
    let text = documents(&registry.url(), "") + rule + &block(&format!("digests: [\"{other}\"]"));
    let rig = Rig::with(&text, Setup::default()).await;
    let request =
        PrefetchRequest { references: vec!["reg/a/b:1".to_owned()], platforms: Vec::new() };
    let job = rig.plane.prefetch(request).await.unwrap();
    let mut changes = rig.plane.job(&job.id).unwrap();
    let ended = changes.wait_for(|view| view.state.is_final()).await.unwrap().clone();
    assert_eq!(ended.items[0].problem, None);
    let operator = plane::Peer { is_operator: true, ..support::LOOPBACK };
    for path in parts(&image) {
        let answer = rig.ask_as(operator, Method::Get, &path).await;
        let Err(Refusal::Denied(denial)) = answer else { panic!("{path} is served: {answer:?}") };
        assert!(denial.message().contains("p/owner"), "{denial}");
    }
}

#[tokio::test]
async fn the_images_of_a_blocked_index_are_blocked_for_who_has_the_index_already() {
    for by in ["tags: [evil]", "digests: [INDEX]"] {
        let registry = FakeRegistry::start().await;
        let index = registry.index("a/b", "evil", &[("linux", "amd64"), ("linux", "arm64")]);
        let text = documents(&registry.url(), "");
        let rig = Rig::with(&text, Setup::default()).await;
        rig.get(&through(&index.tag_path())).await.unwrap();
        for image in &index.images {
            rig.get(&through(&image.digest_path())).await.unwrap();
            let layer = rig.blob(&through(&image.layer_path(0))).await.unwrap().0;
            assert!(!layer.is_empty());
        }
        let matches = by.replace("INDEX", &format!("\"{}\"", index.digest));
        apply(&rig, &(text + &block(&matches))).await;
        is_blocked(rig.get(&through(&index.tag_path())).await, by);
        for image in &index.images {
            is_blocked(rig.get(&through(&image.digest_path())).await, &format!("an image, {by}"));
            is_blocked(rig.get(&through(&image.layer_path(0))).await, &format!("a layer, {by}"));
        }
    }
}

#[tokio::test]
async fn who_pushed_it_gets_no_part_of_it_any_more() {
    let text = support::hosted("");
    let rig = Rig::with(&(text.clone() + &block("tags: [never]")), Setup::default()).await;
    let digest = rig.push_image("team/app", "v1", "x").await.unwrap();
    let layer = oci::Digest::sha256(b"the layer of x");
    let path = format!("/v2/team/app/blobs/{layer}");
    assert!(rig.get(&path).await.is_ok());
    apply(&rig, &(text + &block(&format!("digests: [\"{digest}\"]")))).await;
    is_blocked(rig.get(&path).await, "a layer of one's own");
    let mount = format!("/v2/team/other/blobs/uploads/?mount={layer}&from=team/app");
    let mounted = rig.send(Method::Post, &mount, plane::Incoming::none()).await.unwrap();
    assert!(matches!(mounted.what, plane::What::Upload(_)), "it is mounted nowhere: {mounted:?}");
}

#[tokio::test]
async fn a_blob_that_was_pushed_before_there_was_a_block_can_still_be_named() {
    let text = support::hosted("");
    let rig = Rig::with(&text, Setup::default()).await;
    let config = b"{}".to_vec();
    rig.push_blob("team/app", &config).await.unwrap();
    rig.push_blob("team/app", b"layer").await.unwrap();
    apply(&rig, &(text + &block("tags: [never]"))).await;
    let manifest = support::image_manifest(&config, &[b"layer"]);
    rig.push_manifest("team/app", "v1", &manifest).await.unwrap();
    assert!(rig.get("/v2/team/app/manifests/v1").await.is_ok());
}
