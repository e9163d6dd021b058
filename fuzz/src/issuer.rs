//! An issuer of tokens. Its key is made of a constant, so that an input means the same in each run.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use identity::{
    Algorithm, ClaimMapping, KeySource, Presented, ProviderKind, ProviderSettings, Providers,
};
use jiff::Timestamp;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use policy::{Identity, PrincipalKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// When everything happens, in seconds.
pub const NOW: i64 = 1_800_000_000;
/// The `iss` of honest tokens.
pub const ISSUER: &str = "https://issuer.example";
/// The `aud` of honest tokens.
pub const AUDIENCE: &str = "lockgate.example";

/// The same as a time.
pub fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

/// A key on P-256 whose private number is 32 times the same byte, as PKCS#8 (RFC 5208, RFC 5915).
pub fn key(byte: u8) -> EncodingKey {
    let mut der = vec![
        0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
        0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25,
        0x02, 0x01, 0x01, 0x04, 0x20,
    ];
    der.extend([byte; 32]);
    EncodingKey::from_ec_der(&der)
}

/// The issuer's own key.
pub fn honest() -> EncodingKey {
    key(0x11)
}

/// A key that nobody trusts.
pub fn strange() -> EncodingKey {
    key(0x22)
}

/// Base64 as tokens have it.
pub fn part(text: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// A token whose head and claims are any text.
pub fn sign(head: &str, claims: &str, key: &EncodingKey) -> Option<String> {
    let message = format!("{}.{}", part(head.as_bytes()), part(claims.as_bytes()));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), key, jsonwebtoken::Algorithm::ES256).ok()?;
    Some(format!("{message}.{signature}"))
}

/// Providers that trust the issuer's key, with the files that they read.
pub struct World {
    runtime: Runtime,
    dir: TempDir,
}

impl World {
    /// With the issuer's key in a file.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let jwk = Jwk::from_encoding_key(&honest(), jsonwebtoken::Algorithm::ES256).expect("a key");
        let keys = serde_json::json!({ "keys": [jwk] });
        std::fs::write(dir.path().join("keys"), keys.to_string()).expect("a file");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { runtime: runtime.expect("a runtime"), dir }
    }

    /// A file that providers read.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// The issuer as OpenID Connect.
    pub fn oidc(&self, kind: PrincipalKind, claims: ClaimMapping) -> ProviderSettings {
        let (issuer, audiences) = (ISSUER.to_owned(), vec![AUDIENCE.to_owned()]);
        let keys = KeySource::File(self.keys().to_owned());
        let kind = ProviderKind::Oidc { issuer, audiences, kind, keys, claims, login: None };
        settings("corp", kind)
    }

    /// The issuer as the API server of a cluster.
    pub fn kubernetes(&self) -> ProviderSettings {
        let kind = ProviderKind::Kubernetes {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            cluster: "prod".to_owned(),
            keys: KeySource::File(self.keys().to_owned()),
        };
        settings("prod", kind)
    }

    /// Who shows something.
    pub fn identify(&self, providers: &Providers, shown: &Presented<'_>) -> Option<Identity> {
        self.runtime.block_on(providers.identify(shown, now())).ok()
    }

    fn keys(&self) -> PathBuf {
        Path::new(self.dir.path()).join("keys")
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A provider that takes what is usual.
pub fn settings(name: &str, kind: ProviderKind) -> ProviderSettings {
    let algorithms = vec![Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA];
    ProviderSettings {
        name: name.to_owned(),
        kind,
        algorithms,
        clock_skew: Duration::from_secs(30),
    }
}

/// What holds of whoever was let in.
pub fn check(identity: &Identity) {
    let name = identity.name();
    assert!(!name.is_empty() && name.len() <= 1024, "a name of {} bytes", name.len());
    assert!(!name.contains(char::is_control), "{name:?}");
    assert!(identity.groups().len() <= 256);
    for group in identity.groups() {
        assert!(!group.is_empty() && group.len() <= 1024, "a group of {} bytes", group.len());
    }
    assert!(identity.key().ends_with(name) && identity.key() != "anonymous");
    assert_ne!(identity.kind(), PrincipalKind::Anonymous);
    assert!(identity.expires().is_some_and(|at| at.as_second() > NOW - 31), "it never ends");
}
