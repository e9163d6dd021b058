//! An issuer of tokens, honest or not.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

/// When all tests take place.
pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const AUDIENCE: &str = "lockgate.example";

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

pub(crate) fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

/// A key with which tokens are signed, and what they say by default.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
    pub(crate) jwk: Value,
}

impl Issuer {
    pub(crate) fn ec(url: &str, kid: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::of(url, kid, Algorithm::ES256, EncodingKey::from_ec_der(&key.serialize_der()))
    }

    pub(crate) fn rsa(url: &str, kid: &str) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let key = EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap();
        Self::of(url, kid, Algorithm::RS256, key)
    }

    pub(crate) fn ed(url: &str, kid: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let public = BASE64_URL_SAFE_NO_PAD.encode(key.public_key_raw());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": public, "kid": kid });
        let key = EncodingKey::from_ed_der(&key.serialize_der());
        Self { url: url.into(), kid: kid.into(), algorithm: Algorithm::EdDSA, key, jwk }
    }

    fn of(url: &str, kid: &str, algorithm: Algorithm, key: EncodingKey) -> Self {
        let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        (jwk["kid"], jwk["use"]) = (json!(kid), json!("sig"));
        Self { url: url.into(), kid: kid.into(), algorithm, key, jwk }
    }

    /// The set of its only key.
    pub(crate) fn keys(&self) -> String {
        json!({ "keys": [self.jwk] }).to_string()
    }

    /// A token that is good in all ways.
    pub(crate) fn token(&self) -> String {
        self.token_with(|_, _| {})
    }

    /// One with some claims changed; null removes.
    pub(crate) fn token_saying(&self, claims: Value) -> String {
        self.token_with(|_, all| merge(all, &claims))
    }

    /// One whose head or claims are changed before it is signed, honestly otherwise.
    pub(crate) fn token_with(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut head = json!({ "typ": "JWT", "alg": self.algorithm, "kid": self.kid });
        let mut claims = json!({
            "iss": self.url,
            "sub": "somebody",
            "aud": AUDIENCE,
            "iat": NOW - 10,
            "nbf": NOW - 10,
            "exp": NOW + 600,
        });
        change(&mut head, &mut claims);
        sign(&head, &claims, &self.key, self.algorithm)
    }

    /// One of a Kubernetes service account.
    pub(crate) fn service_account(&self, namespace: &str, name: &str) -> String {
        self.token_saying(json!({
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "aud": [AUDIENCE],
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": name, "uid": "0f7a" },
                "pod": { "name": "web-1", "uid": "11aa" },
                "node": { "name": "node-7", "uid": "22bb" },
                "warnafter": NOW + 500,
            },
        }))
    }
}

/// Changes members of an object; null removes one.
pub(crate) fn merge(all: &mut Value, changes: &Value) {
    let all = all.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(all.remove(name)),
            value => drop(all.insert(name.clone(), value.clone())),
        }
    }
}

pub(crate) fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Signs whatever the head says.
pub(crate) fn sign(
    head: &Value,
    claims: &Value,
    key: &EncodingKey,
    algorithm: Algorithm,
) -> String {
    let text = format!("{}.{}", part(head), part(claims));
    let signature = jsonwebtoken::crypto::sign(text.as_bytes(), key, algorithm).unwrap();
    format!("{text}.{signature}")
}
