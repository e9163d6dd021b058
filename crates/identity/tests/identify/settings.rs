//! Settings of providers, and questions to them.

use crate::issuer::{AUDIENCE, now};
use identity::{
    Algorithm, ClaimMapping, IdentifyError, KeySource, Presented, ProviderKind, ProviderSettings,
    Providers,
};
use policy::cel::{Expect, Expression, Schema};
use policy::{Identity, PrincipalKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A directory for files that providers read.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, in one step.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let (part, path) = (self.path(".part"), self.path(name));
        std::fs::write(&part, content).unwrap();
        std::fs::rename(&part, &path).unwrap();
        path
    }
}

pub(crate) fn settings(name: &str, kind: ProviderKind) -> ProviderSettings {
    ProviderSettings {
        name: name.to_owned(),
        kind,
        algorithms: Algorithm::DEFAULT.to_vec(),
        clock_skew: Duration::from_secs(30),
    }
}

pub(crate) fn kubernetes(name: &str, issuer: &str, keys: &Path) -> ProviderSettings {
    settings(
        name,
        ProviderKind::Kubernetes {
            issuer: issuer.to_owned(),
            audience: AUDIENCE.to_owned(),
            cluster: name.to_owned(),
            keys: KeySource::File(keys.to_owned()),
        },
    )
}

pub(crate) fn oidc(name: &str, issuer: &str, keys: &Path) -> ProviderSettings {
    let (kind, claims) = (PrincipalKind::User, ClaimMapping::default());
    oidc_with(name, issuer, keys, kind, &[AUDIENCE], claims)
}

pub(crate) fn oidc_with(
    name: &str,
    issuer: &str,
    keys: &Path,
    kind: PrincipalKind,
    audiences: &[&str],
    claims: ClaimMapping,
) -> ProviderSettings {
    settings(
        name,
        ProviderKind::Oidc {
            issuer: issuer.to_owned(),
            audiences: audiences.iter().map(|it| (*it).to_owned()).collect(),
            kind,
            keys: KeySource::File(keys.to_owned()),
            claims,
            login: None,
        },
    )
}

/// A mapping over the root `claims`, or `certificate`.
pub(crate) fn mapping(
    schema: &Schema,
    name: Option<&str>,
    groups: Option<&str>,
    attributes: &[(&str, &str)],
) -> ClaimMapping {
    let text = |text: &str| Expression::compile(text, schema, Expect::String).unwrap();
    let texts = |text: &str| Expression::compile(text, schema, Expect::Strings).unwrap();
    ClaimMapping {
        name: name.map(text),
        groups: groups.map(texts),
        attributes: attributes.iter().map(|(key, it)| ((*key).to_owned(), text(it))).collect(),
    }
}

pub(crate) fn providers(all: Vec<ProviderSettings>) -> Providers {
    Providers::build(all, None, None)
}

pub(crate) async fn bearer(providers: &Providers, token: &str) -> Result<Identity, IdentifyError> {
    providers.identify(&Presented::Bearer(token), now()).await
}

pub(crate) async fn basic(
    providers: &Providers,
    username: &str,
    password: &str,
) -> Result<Identity, IdentifyError> {
    providers.identify(&Presented::Basic { username, password }, now()).await
}

/// What is said to whoever shows something wrong.
pub(crate) fn wrong(result: Result<Identity, IdentifyError>) -> String {
    match result {
        Err(IdentifyError::Wrong { reason }) => reason,
        other => panic!("not refused as wrong: {other:?}"),
    }
}

/// Who cannot tell.
pub(crate) fn cannot_tell(result: Result<Identity, IdentifyError>) -> String {
    match result {
        Err(IdentifyError::CannotTell { provider, .. }) => provider,
        other => panic!("not put off: {other:?}"),
    }
}

/// Asks again until the answer is as it must become; panics after ten seconds.
pub(crate) async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if ask().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within ten seconds: {what}");
}
