//! Where answers may send us, and what goes along.

use crate::support::*;
use testkit::{Auth, FakeRegistry, Fault, ImageSpec, Match};
use upstream::{Boundary, FailureKind, OriginPattern, Settings};

struct Place {
    registry: FakeRegistry,
    storage: FakeRegistry,
    layer: String,
    directory: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let auth = Auth::basic("me", "hunter2");
        let registry = FakeRegistry::builder().auth(auth).start().await;
        let storage = FakeRegistry::start().await;
        let spec = || ImageSpec::layers([300_000]).seed(3);
        let layer = registry.image("a/b", "1", spec()).layers[0].digest.clone();
        storage.image("a/b", "1", spec());
        Self { registry, storage, layer, directory: tempfile::tempdir().unwrap() }
    }

    fn redirect(&self) {
        let presigned = format!("{}?signature=hunter2", self.storage.storage_url(&self.layer));
        let blobs = Match::blobs().with_header("authorization");
        self.registry.behave(blobs, Fault::Redirect(presigned));
    }

    fn upstream(&self, redirects: &[String]) -> upstream::Upstream {
        let redirects = redirects.iter().map(|text| OriginPattern::parse(text).unwrap()).collect();
        let boundary = Boundary { redirects, private_addresses: true, ..Boundary::default() };
        let credentials = vec![password(self.directory.path(), "me", "hunter2")];
        build(Settings { boundary, credentials, ..settings(&[&self.registry]) })
    }
}

#[tokio::test]
async fn credentials_stay_with_the_registry() {
    let place = Place::new().await;
    place.redirect();
    let upstream = place.upstream(&[place.storage.url()]);
    let bytes = blob(&upstream, "a/b", &place.layer).await.unwrap();
    assert!(is(&bytes, &place.layer));
    assert_eq!(place.storage.requests().len(), 1);
    assert_eq!(place.storage.count(|seen| seen.header("authorization").is_some()), 0);
    assert_eq!(place.storage.count(|seen| seen.header("referer").is_some()), 0);
}

#[tokio::test]
async fn a_break_in_storage_goes_on_by_way_of_the_registry() {
    let place = Place::new().await;
    place.redirect();
    place.storage.behave(Match::any().first(1), Fault::Truncate(100_000));
    let upstream = place.upstream(&[place.storage.url()]);
    let bytes = blob(&upstream, "a/b", &place.layer).await.unwrap();
    assert!(is(&bytes, &place.layer));
    assert_eq!(place.storage.bytes_sent_for(&place.layer), 300_000);
}

#[tokio::test]
async fn a_target_outside_the_boundary_is_not_asked() {
    let place = Place::new().await;
    place.redirect();
    let refused = blob(&place.upstream(&[]), "a/b", &place.layer).await;
    let failure = refused.clone().unwrap_err();
    assert!(failure.reason().contains("boundary.redirects"), "{failure}");
    assert!(failure.reason().contains(&place.storage.host()), "{failure}");
    // `kind` also sees to it that the query, which is secret, is not told.
    assert_eq!(kind(refused), FailureKind::Indeterminate);
    assert_eq!(place.storage.connections_accepted(), 0);
}

#[tokio::test]
async fn loops_and_nonsense_end() {
    let targets: Vec<fn(&Place) -> Fault> = vec![
        |_| Fault::RedirectLoop,
        |place| Fault::Redirect(format!("/v2/a/b/blobs/{}", place.layer)),
        |_| Fault::Redirect("file:///etc/passwd".into()),
        |_| Fault::Redirect("http://".into()),
        |place| Fault::Redirect(place.registry.url().replace("://", "://user:hunter2@")),
        |_| Fault::status(307).into(),
    ];
    for target in targets {
        let place = Place::new().await;
        let fault = target(&place);
        let blobs = Match::blobs().with_header("authorization");
        place.registry.behave(blobs, fault.clone());
        let refused = blob(&place.upstream(&[]), "a/b", &place.layer).await;
        assert_eq!(kind(refused), FailureKind::Indeterminate, "{fault:?}");
        assert!(place.registry.requests().len() <= 8, "{fault:?}");
    }
}

#[tokio::test]
async fn storage_that_refuses_head_has_the_blob_all_the_same() {
    for status in [403, 405] {
        let place = Place::new().await;
        place.redirect();
        place.storage.behave(Match::any().method("HEAD"), Fault::status(status));
        let upstream = place.upstream(&[place.storage.url()]);
        let head = upstream.head_blob(&name("a/b"), &digest(&place.layer), WAITING).await.unwrap();
        assert_eq!(head.size_bytes, None);
    }
}

#[tokio::test]
async fn storage_has_no_authority_over_absence_or_refusal() {
    for status in [401, 403, 404] {
        let place = Place::new().await;
        place.redirect();
        place.storage.behave(Match::any(), Fault::status(status).body("<Error/>"));
        let upstream = place.upstream(&[place.storage.url()]);
        let refused = blob(&upstream, "a/b", &place.layer).await;
        assert_eq!(kind(refused), FailureKind::Indeterminate, "{status}");
    }
}

#[tokio::test]
async fn a_private_endpoint_needs_to_be_allowed() {
    let place = Place::new().await;
    let boundary = Boundary::default();
    let upstream = build(Settings { boundary, ..settings(&[&place.registry]) });
    let refused = upstream.manifest(&name("a/b"), &reference("1"), WAITING).await;
    let failure = refused.clone().unwrap_err();
    assert!(failure.reason().contains("boundary.privateAddresses"), "{failure}");
    assert_eq!(kind(refused), FailureKind::Indeterminate);
    assert_eq!(place.registry.connections_accepted(), 0);
}

#[tokio::test]
async fn another_registry_behind_a_redirect_gets_an_anonymous_token_of_its_own() {
    let place = Place::new().await;
    let elsewhere = Auth::bearer();
    place.storage.set_auth(elsewhere.clone());
    let manifests = Match::manifests().with_header("authorization");
    place.registry.behave(manifests, Fault::RedirectBase(place.storage.url()));
    let upstream = place.upstream(&[place.storage.url()]);
    let answer = upstream.manifest(&name("a/b"), &reference("1"), WAITING).await.unwrap();
    assert_eq!(answer.endpoint, place.registry.url());
    assert_eq!(elsewhere.tokens_issued(), 1);
    let basic = |seen: &testkit::Seen| {
        seen.header("authorization").is_some_and(|value| value.starts_with("Basic"))
    };
    assert_eq!(place.storage.count(basic), 0);
}
