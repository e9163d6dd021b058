//! What is shown to whom.

use crate::support::*;
use std::path::PathBuf;
use testkit::{Auth, FakeRegistry, ImageSpec, base64};
use upstream::{CredentialKind, FailureKind, PrefixCredential, Settings};

async fn registry(auth: Auth) -> FakeRegistry {
    let registry = FakeRegistry::builder().auth(auth).start().await;
    registry.image("corp/app", "1", ImageSpec::layers([1000]));
    registry.image("open/app", "1", ImageSpec::layers([1000]));
    registry
}

fn with(registry: &FakeRegistry, prefix: &str, kind: CredentialKind) -> upstream::Upstream {
    let credentials = vec![PrefixCredential { prefix: prefix.into(), kind }];
    build(Settings { credentials, ..settings(&[registry]) })
}

#[tokio::test]
async fn basic_is_shown_to_names_it_covers_and_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let registry = registry(Auth::basic("me", "hunter2")).await;
    let kind_of = password(directory.path(), "me", "hunter2").kind;
    let upstream = with(&registry, "corp/", kind_of);
    assert_eq!(upstream.credential_scope(&name("corp/app")).as_deref(), Some("corp/"));
    assert_eq!(upstream.credential_scope(&name("open/app")), None);
    for _ in 0..2 {
        upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await.unwrap();
    }
    assert_eq!(registry.count(|seen| seen.status == 401), 1, "the challenge is remembered");
    let refused = upstream.manifest(&name("open/app"), &reference("1"), WAITING).await;
    assert_eq!(kind(refused), FailureKind::Denied);
    let shown = registry
        .count(|seen| seen.path.contains("open/app") && seen.header("authorization").is_some());
    assert_eq!(shown, 0);
}

#[tokio::test]
async fn a_fixed_token_is_sent_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "opaque-token\n").unwrap();
    let registry = registry(Auth::none()).await;
    let upstream = with(&registry, "", CredentialKind::Bearer { token_file });
    assert_eq!(upstream.credential_scope(&name("corp/app")).as_deref(), Some("*"));
    upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await.unwrap();
    let shown = registry.requests().last().unwrap().header("authorization").map(str::to_owned);
    assert_eq!(shown.as_deref(), Some("Bearer opaque-token"));
}

#[tokio::test]
async fn a_credential_that_cannot_be_read_is_told_and_nobody_becomes_anonymous() {
    let registry = registry(Auth::none()).await;
    let password_file = PathBuf::from("/nonexistent/password");
    let kind_of = CredentialKind::Basic { username: "me".into(), password_file };
    let upstream = with(&registry, "", kind_of);
    for _ in 0..10 {
        let refused = upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await;
        let told = refused.clone().unwrap_err().to_string();
        assert!(told.contains("the credential for * cannot be read; see the log"), "{told}");
        assert!(!told.contains("/nonexistent"), "{told}");
        assert_eq!(kind(refused), FailureKind::Indeterminate);
    }
    assert_eq!(registry.requests().len(), 0);
    assert_eq!(upstream.health()[0].circuit, upstream::Circuit::Closed, "it is not to blame");
    let probes = upstream.probe().await;
    assert!(probes[0].problems[0].what.contains("/nonexistent/password"), "operators hear it");
}

#[tokio::test]
async fn a_wrong_password_is_told_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let registry = registry(Auth::basic("me", "hunter2")).await;
    let wrong = password(directory.path(), "me", "hunter3").kind;
    let upstream = with(&registry, "corp/", wrong);
    let refused = upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await;
    let told = refused.clone().unwrap_err().to_string();
    assert!(told.contains("refused the credential for corp/ (401)"), "{told}");
    assert_eq!(kind(refused), FailureKind::Denied);
    let stranger = upstream.manifest(&name("open/app"), &reference("1"), WAITING).await;
    assert!(!stranger.clone().unwrap_err().to_string().contains("credential"), "{stranger:?}");
    assert_eq!(kind(stranger), FailureKind::Denied);
}

#[tokio::test]
async fn docker_config_gives_passwords_and_identity_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let registry = registry(Auth::bearer().user("me", "hunter2").no_anonymous()).await;
    let entries = [
        format!(r#"{{"auth":"{}"}}"#, base64("me:hunter2")),
        r#"{"identitytoken":"hunter2"}"#.to_owned(),
    ];
    for (entry, method) in entries.iter().zip(["GET", "POST"]) {
        let text = format!(r#"{{"auths":{{"{}":{entry}}}}}"#, registry.host());
        std::fs::write(&file, text).unwrap();
        registry.forget_requests();
        let upstream = with(&registry, "", CredentialKind::DockerConfig { file: file.clone() });
        upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await.unwrap();
        assert_eq!(registry.count(|seen| seen.path == "/token" && seen.method == method), 1);
        assert_eq!(registry.count(|seen| seen.query.contains("hunter2")), 0);
    }
}

#[tokio::test]
async fn a_helpers_password_that_ended_is_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "old").unwrap();
    let script = format!(
        r#"echo "{{\"Username\":\"AWS\",\"Secret\":\"$(cat {})\"}}""#,
        secret.to_str().unwrap()
    );
    let registry = registry(Auth::basic("AWS", "old")).await;
    let args = vec!["-c".to_owned(), script];
    let upstream = with(&registry, "", CredentialKind::Exec { command: "sh".into(), args });
    upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await.unwrap();
    std::fs::write(&secret, "new").unwrap();
    registry.set_auth(Auth::basic("AWS", "new").refuse_with(403));
    upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_hides_things_from_strangers_is_asked_how_to_log_in() {
    let directory = tempfile::tempdir().unwrap();
    let auth = Auth::bearer().user("me", "hunter2");
    let registry = registry(auth).await;
    let hidden = testkit::Match::manifests().when(|seen| seen.header("authorization").is_none());
    registry.behave(hidden, testkit::Fault::status(404));
    let kind_of = password(directory.path(), "me", "hunter2").kind;
    let upstream = with(&registry, "", kind_of);
    upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await.unwrap();
}

#[tokio::test]
async fn a_helpers_password_that_the_token_service_refuses_is_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "old").unwrap();
    let path = secret.to_str().unwrap();
    let script = format!(
        r#"echo "{{\"Username\":\"u\",\"Secret\":\"$(cat {path})\"}}"; echo x >> {path}.runs"#
    );
    let registry = registry(Auth::bearer().user("u", "old").no_anonymous()).await;
    let args = vec!["-c".to_owned(), script];
    let upstream = with(&registry, "", CredentialKind::Exec { command: "sh".into(), args });
    upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await.unwrap();
    std::fs::write(&secret, "new").unwrap();
    registry.set_auth(Auth::bearer().user("u", "new").no_anonymous());
    upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await.unwrap();
    // A refusal that lasts does not run the program each time.
    registry.set_auth(Auth::bearer().no_anonymous());
    for _ in 0..6 {
        let refused = upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await;
        assert_eq!(kind(refused), FailureKind::Denied);
    }
    let runs = std::fs::read_to_string(directory.path().join("secret.runs")).unwrap();
    assert_eq!(runs.lines().count(), 2);
}

#[tokio::test]
async fn strangers_answers_are_nobodys_when_all_come_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let registry = registry(Auth::bearer().user("me", "hunter2")).await;
    let hidden = testkit::Match::manifests().when(|seen| seen.header("authorization").is_none());
    registry.behave(hidden, testkit::Fault::status(404));
    let kind_of = password(directory.path(), "me", "hunter2").kind;
    let upstream = with(&registry, "", kind_of);
    let pulls: Vec<_> = (0..8)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                upstream.manifest(&name("corp/app"), &reference("1"), WAITING).await
            })
        })
        .collect();
    for pull in pulls {
        pull.await.unwrap().unwrap();
    }
    assert_eq!(registry.count(|seen| seen.path == "/v2/"), 1);
}
