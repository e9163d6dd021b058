//! What every test here needs: settings for a registry on this machine, names, and a whole blob.

use oci::{Digest, Name, Reference};
use std::path::Path;
use std::time::Duration;
use telemetry::Metrics;
use testkit::{FakeRegistry, Fault};
use upstream::{
    Boundary, Class, CredentialKind, Failure, FailureKind, Limits, PrefixCredential, Profile,
    Resume, Settings, Timeouts, Transfer, Upstream,
};
use url::Url;

pub(crate) const WAITING: Class = Class::Waiting;

/// Settings for these registries in order, private addresses allowed, generous waits.
pub(crate) fn settings(registries: &[&FakeRegistry]) -> Settings {
    let urls = registries.iter().map(|registry| Url::parse(&registry.url()).unwrap());
    Settings {
        name: "test".into(),
        endpoints: urls.collect(),
        credentials: Vec::new(),
        ca_file: None,
        client_cert: None,
        proxy: None,
        boundary: Boundary { private_addresses: true, ..Boundary::default() },
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        profile: Profile::Generic,
    }
}

/// The same, with waits short enough to run into.
pub(crate) fn hasty(registries: &[&FakeRegistry]) -> Settings {
    let timeouts = Timeouts {
        connect: Duration::from_millis(500),
        first_byte: Duration::from_millis(800),
        stall: Duration::from_millis(300),
    };
    Settings { timeouts, ..settings(registries) }
}

/// Settings fit for a fault: hasty for one that has to be waited out.
pub(crate) fn fit(fault: &Fault, registries: &[&FakeRegistry]) -> Settings {
    match fault {
        Fault::BlackHole | Fault::EndlessHeader | Fault::Stall(_) => hasty(registries),
        _ => settings(registries),
    }
}

pub(crate) fn build(settings: Settings) -> Upstream {
    let metrics = Metrics::new(Default::default(), "test", None);
    Upstream::new(settings, metrics.upstream("test")).unwrap()
}

/// An upstream of these registries.
pub(crate) fn upstream(registries: &[&FakeRegistry]) -> Upstream {
    build(settings(registries))
}

pub(crate) fn password(directory: &Path, username: &str, password: &str) -> PrefixCredential {
    let password_file = directory.join("password");
    std::fs::write(&password_file, password).unwrap();
    let kind = CredentialKind::Basic { username: username.into(), password_file };
    PrefixCredential { prefix: String::new(), kind }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::parse(text).unwrap()
}

/// The rest of a transfer.
pub(crate) async fn drain(transfer: &mut Transfer) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(piece) = transfer.next().await? {
        assert!(!piece.is_empty());
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// A whole blob, from its beginning.
pub(crate) async fn blob(
    upstream: &Upstream,
    repository: &str,
    blob: &str,
) -> Result<Vec<u8>, Failure> {
    let start = Resume::default();
    let mut transfer = upstream.blob(&name(repository), &digest(blob), start, WAITING).await?;
    drain(&mut transfer).await
}

/// Whether bytes are those of a digest.
pub(crate) fn is(bytes: &[u8], blob: &str) -> bool {
    Digest::sha256(bytes) == digest(blob)
}

/// The kind of a failure, and that it says nothing it must not.
#[track_caller]
pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, Failure>) -> FailureKind {
    let failure = result.unwrap_err();
    let told = format!("{failure:?} {failure}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(!told.contains('\n') && !told.contains("testkit-token"), "{told}");
    failure.kind()
}
