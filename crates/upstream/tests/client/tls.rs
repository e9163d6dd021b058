//! Trust in servers, and what we show them.

use crate::support::*;
use std::path::{Path, PathBuf};
use testkit::{FakeRegistry, ImageSpec, Issued, TestCa};
use upstream::{ExpiryKind, FailureKind, Settings};

fn write(directory: &Path, file: &str, text: &str) -> PathBuf {
    let path = directory.join(file);
    std::fs::write(&path, text).unwrap();
    path
}

fn identity(directory: &Path, issued: &Issued) -> (PathBuf, PathBuf) {
    (
        write(directory, "client.pem", &issued.cert_pem),
        write(directory, "client.key", &issued.key_pem),
    )
}

async fn pull(settings: Settings) -> Result<(), upstream::Failure> {
    let upstream = build(settings);
    upstream.manifest(&name("a/b"), &reference("1"), WAITING).await.map(|_| ())
}

#[tokio::test]
async fn an_extra_authority_is_trusted_and_an_unknown_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let ca = TestCa::new();
    let registry = FakeRegistry::builder().tls(&ca).start().await;
    registry.image("a/b", "1", ImageSpec::layers([100]));
    let ca_file = Some(write(directory.path(), "ca.pem", &ca.pem()));
    pull(Settings { ca_file: ca_file.clone(), ..settings(&[&registry]) }).await.unwrap();
    let refused = pull(settings(&[&registry])).await;
    assert!(refused.clone().unwrap_err().reason().contains("TLS"), "{refused:?}");
    assert_eq!(kind(refused), FailureKind::Indeterminate);
    registry.set_identity(&ca.expired_server(&["127.0.0.1"]));
    let refused = pull(Settings { ca_file, ..settings(&[&registry]) }).await;
    let told = refused.clone().unwrap_err().reason().to_lowercase();
    assert!(told.contains("expired"), "{told}");
    assert_eq!(kind(refused), FailureKind::Indeterminate);
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_told_when_it_runs_out() {
    let directory = tempfile::tempdir().unwrap();
    let ca = TestCa::new();
    let registry = FakeRegistry::builder().tls(&ca).require_client_cert(&ca).start().await;
    registry.image("a/b", "1", ImageSpec::layers([100]));
    let ca_file = Some(write(directory.path(), "ca.pem", &ca.pem()));
    let without = Settings { ca_file, ..settings(&[&registry]) };
    assert_eq!(kind(pull(without.clone()).await), FailureKind::Indeterminate);
    let client_cert = Some(identity(directory.path(), &ca.client("plane")));
    let with = Settings { client_cert, ..without };
    let upstream = build(with.clone());
    // A certificate is a credential like any other.
    let scope = upstream.credential_scope(&name("a/b"));
    assert_eq!(scope.as_deref(), Some("client certificate"));
    let pull_again = async || upstream.manifest(&name("a/b"), &reference("1"), WAITING).await;
    pull_again().await.unwrap();
    let expiries = build(with.clone()).expiries();
    assert_eq!(expiries.len(), 2);
    assert_eq!(expiries[0].what, ExpiryKind::ClientCertificate);
    assert_eq!(expiries[0].not_after.unwrap().to_string(), "2095-01-01T00:00:00Z");
    // A file that is no key is told; who has a key goes on with it.
    write(directory.path(), "client.key", "hunter2");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    pull_again().await.unwrap();
    let refused = pull(with).await;
    assert!(refused.clone().unwrap_err().reason().contains("tls.keyFile"), "{refused:?}");
    assert_eq!(kind(refused), FailureKind::Indeterminate);
}

#[tokio::test]
async fn a_renewed_authority_is_taken_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (TestCa::new(), TestCa::new());
    let registry = FakeRegistry::builder().tls(&new).start().await;
    registry.image("a/b", "1", ImageSpec::layers([100]));
    let ca_file = write(directory.path(), "ca.pem", &old.pem());
    let upstream = build(Settings { ca_file: Some(ca_file), ..settings(&[&registry]) });
    let pull = async || upstream.manifest(&name("a/b"), &reference("1"), WAITING).await;
    assert_eq!(kind(pull().await), FailureKind::Indeterminate);
    write(directory.path(), "ca.pem", &new.pem());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while pull().await.is_err() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
