//! Resources coming into force, access, and presence that is no permission.

mod support;

use parking_lot::Mutex;
use plane::{Method, Peer, Refusal};
use std::sync::Arc;
use std::time::Duration;
use support::{LOOPBACK, Rig, Setup, collect, documents, set_of, through};
use telemetry::{AccessLog, CacheStatus, Format, Lines};
use testkit::{Auth, FakeRegistry, Fault, Gate, ImageSpec, Match, blob_path};

const REMOTE: Peer = Peer {
    address: Some(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3))),
    is_loopback: false,
    is_operator: false,
};

fn access(subject: &str, repositories: &str) -> String {
    format!(
        "---\napiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: p }}\n\
         spec:\n  allow:\n    - subjects: [{subject}]\n      actions: [Pull, List]\n      \
         repositories: {repositories}\n"
    )
}

#[tokio::test]
async fn by_default_loopback_pulls_and_nobody_else_does() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([100]));
    let rig = Rig::over(&registry).await;
    let path = through(&image.tag_path());
    let refusal = rig.ask_as(REMOTE, Method::Get, &path).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Denied(_)), "{refusal:?}");
    assert!(refusal.to_string().starts_with("denied by built-in/access: "), "{refusal}");
    assert_eq!(registry.requests().len(), 0, "a refusal costs no I/O");
    assert!(rig.manifest(&path).await.is_ok());
    let Refusal::Denied(denial) = refusal else { panic!("no denial") };
    let known = rig.plane.decision(&denial.id().to_string()).unwrap();
    assert_eq!((known.policy.as_str(), known.message), ("built-in", denial.message()));
    assert_eq!(known.request, "GET reg/a/b 1");
    assert!(rig.plane.decision("0").is_none());
    // On a hit too.
    assert!(rig.ask_as(REMOTE, Method::Get, &path).await.is_err());
    for method in [Method::Put, Method::Delete] {
        let refusal = rig.ask(method, &path).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Denied(_)), "{refusal:?}");
    }
    let operator = Peer { address: None, is_loopback: false, is_operator: true };
    let nothing = plane::Credentials::default();
    assert!(rig.plane.may_administer(operator, &nothing).await.is_ok());
    assert!(rig.plane.may_administer(LOOPBACK, &nothing).await.is_err());
    let foreign = rig.get("/v2/a/b/manifests/1?ns=evil.example").await.unwrap_err();
    assert!(foreign.to_string().contains("evil.example"), "{foreign}");
}

/// Where a test reads the access lines.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn access_lines_name_their_decision_and_an_upstream_that_was_asked() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([100]));
    let written = Written::default();
    let lines = Lines::new(written.clone(), 1 << 20).unwrap();
    let log = AccessLog::new(Format::Json, lines.clone());
    let setup = Setup { access_log: Some(log), ..Setup::default() };
    let rig = Rig::with(&documents(&registry.url(), ""), setup).await;
    let path = through(&image.tag_path());
    rig.ask_as(REMOTE, Method::Get, &path).await.unwrap_err();
    rig.get(&path).await.unwrap();
    rig.get(&path).await.unwrap();
    for _ in 0..2 {
        rig.get(&through("/v2/a/b/tags/list")).await.unwrap();
    }
    assert!(lines.flush(Duration::from_secs(60)));
    let text = String::from_utf8(written.0.lock().clone()).unwrap();
    let said: Vec<(bool, bool)> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: serde_json::Value| {
            (line.get("decision_id").is_some(), line.get("upstream").is_some())
        })
        .collect();
    let expected = [(true, false), (true, true), (true, false), (true, true), (true, false)];
    assert_eq!(said, expected, "{text}");
}

#[tokio::test]
async fn what_a_credential_fetched_needs_an_explicit_grant() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let registry = FakeRegistry::builder().auth(Auth::basic("puller", "secret")).start().await;
    let image = registry.image("corp/app", "1", ImageSpec::layers([3000]));
    let upstream = documents(&registry.url(), "").replacen(
        "spec:\n",
        &format!(
            "spec:\n  credentials: [{{ prefix: corp/, basic: {{ username: puller, passwordFile: {} }} }}]\n",
            password.display()
        ),
        1,
    );
    let rig = Rig::with(&upstream, Setup::default()).await;
    let refusal = rig.get(&through(&image.tag_path())).await.unwrap_err();
    assert!(refusal.to_string().contains("private-content"), "{refusal}");
    assert_eq!(registry.requests().len(), 0);

    let granted =
        upstream + &access("{ kind: Anonymous, networks: [127.0.0.0/8] }", "[\"reg/corp/**\"]");
    rig.plane.apply(set_of(&granted), "test.yaml").await.unwrap();
    assert!(rig.manifest(&through(&image.tag_path())).await.is_ok());
    assert!(rig.blob(&through(&image.layer_path(0))).await.is_ok());
    let refusal = rig.ask_as(REMOTE, Method::Get, &through(&image.tag_path())).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Denied(_)), "{refusal:?}");
}

#[tokio::test]
async fn a_digest_known_elsewhere_is_asked_for_at_its_own_upstream() {
    let registry = FakeRegistry::start().await;
    let digest = &registry.synthetic_blob("one", 4000, 7);
    registry.synthetic_blob("two", 4000, 7);
    let rig = Rig::over(&registry).await;
    let one = through(&blob_path("one", digest));
    rig.blob(&one).await.unwrap();
    rig.eventually("it is in the store", async |rig| {
        rig.blob(&one).await.unwrap().1 == CacheStatus::Hit
    })
    .await;
    let before = registry.bytes_sent_for(digest);
    let (_, status) = rig.blob(&through(&blob_path("two", digest))).await.unwrap();
    assert_eq!(status, CacheStatus::Revalidated);
    assert_eq!(registry.bytes_sent_for(digest), before, "found, without a download");
    let refusal = rig.get(&through(&blob_path("three", digest))).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_good_edit_applies_at_once_and_a_bad_one_changes_nothing() {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([100]));
    let text = documents(&registry.url(), "");
    let rig = Rig::with(&text, Setup::default()).await;
    let first = *rig.plane.view().revision();
    let bad = text.replace("kind: Repository", "kind: Repositry");
    assert!(rig.plane.apply(set_of(&bad), "test.yaml").await.is_err());
    assert_eq!(*rig.plane.view().revision(), first);
    let status = rig.plane.status();
    assert!(status.revision.problem.unwrap().contains("Repository"), "names the nearest");
    assert!(rig.manifest(&through(&image.tag_path())).await.is_ok());

    let aliased = text.replace("  hosts: [reg.example]\n", "  aliases: [old/name]\n");
    let applied = rig.plane.apply(set_of(&aliased), "test.yaml").await.unwrap();
    assert!(applied.changed && applied.revision != first);
    assert!(rig.plane.status().revision.problem.is_none());
    assert_eq!(rig.manifest("/v2/old/name/a/b/manifests/1").await.unwrap().1, CacheStatus::Hit);

    let back = rig.plane.rollback(&first.hex()[..12]).await.unwrap();
    assert_eq!((back.revision, back.changed), (first, true));
    // The poll of unchanged files does not undo it.
    assert!(!rig.plane.apply(set_of(&aliased), "test.yaml").await.unwrap().changed);
    assert!(rig.get("/v2/old/name/a/b/manifests/1").await.is_err());
    rig.eventually("all are kept", async |rig| rig.plane.revisions(9).await.unwrap().len() == 2)
        .await;
    let active: Vec<_> = rig.plane.revisions(9).await.unwrap();
    assert_eq!(active.iter().filter(|view| view.active).count(), 1);
    assert!(rig.plane.rollback("123").await.is_err());

    // A rollback survives a restart while the files stay the same.
    assert!(rig.plane.stop(Duration::from_secs(10)).await);
    let dir = Some(rig.dir.clone());
    let again = Rig::with(&aliased, Setup { dir, ..Setup::default() }).await;
    assert_eq!(*again.plane.view().revision(), first);
}

#[tokio::test]
async fn it_starts_with_the_last_good_set_even_without_a_catalog() {
    let registry = FakeRegistry::start().await;
    let rig = Rig::over(&registry).await;
    let good = *rig.plane.view().revision();
    assert!(rig.plane.stop(Duration::from_secs(10)).await);
    for file in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        let _ = std::fs::remove_file(rig.dir.path().join(file));
    }
    let dir = Some(rig.dir.clone());
    let again = Rig::with("kind: Nonsense\n", Setup { dir, ..Setup::default() }).await;
    assert_eq!(*again.plane.view().revision(), good);
    assert!(again.plane.status().revision.problem.is_some());
}

#[tokio::test]
async fn access_withdrawn_cuts_a_body_that_is_being_sent() {
    let registry = FakeRegistry::start().await;
    let digest = registry.synthetic_blob("a/b", 4 << 20, 1);
    let gate = Gate::new();
    registry.behave(Match::blobs(), Fault::HoldAt(1 << 20, gate.clone()));
    let text = documents(&registry.url(), "");
    let open = text.clone() + &access("{ kind: Anonymous }", "[\"reg/**\"]");
    let rig = Rig::with(&open, Setup::default()).await;
    let path = through(&blob_path("a/b", &digest));
    let (going, _) = rig.blob_answer(&path).await.unwrap();
    let (other, _) = rig.blob_answer(&path).await.unwrap();
    let closed = text.clone() + &access("{ kind: Anonymous }", "[\"elsewhere/**\"]");
    rig.plane.apply(set_of(&closed), "test.yaml").await.unwrap();
    gate.open();
    let cut = collect(going.stream(None)).await.unwrap_err();
    assert!(cut.contains("withdrawn"), "{cut}");
    rig.plane.apply(set_of(&open), "test.yaml").await.unwrap();
    assert_eq!(collect(other.stream(None)).await.unwrap().len(), 4 << 20);
}
