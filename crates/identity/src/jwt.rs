//! Signed tokens (RFC 7519): what they say of themselves, which only chooses who is asked, and what they
//! say when a key has verified them.

use crate::IdentifyError;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longer than any honest token.
pub(crate) const TOKEN_MAX_BYTES: usize = 16 << 10;

/// Claims of a token.
pub(crate) type Claims = Map<String, Value>;

/// What a token says of itself before anything is verified: never to be believed.
#[derive(Debug)]
pub(crate) struct Unverified {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) audiences: Vec<String>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    iss: Option<Value>,
    #[serde(default)]
    sub: Option<Value>,
    #[serde(default)]
    aud: Option<Value>,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

/// Whether a text looks like a token at all.
pub(crate) fn looks_like_one(text: &str) -> bool {
    text.len() <= TOKEN_MAX_BYTES
        && text.split('.').count() == 3
        && text.split('.').next().is_some_and(|head| part::<Head>(head).is_some())
}

impl Unverified {
    /// Reads the head and the issuer.
    pub(crate) fn read(token: &str) -> Result<Self, IdentifyError> {
        let wrong = |reason: &str| IdentifyError::wrong(reason);
        if token.len() > TOKEN_MAX_BYTES {
            return Err(wrong("the token is longer than 16 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(head), Some(body), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("the token is no JWT"));
        };
        let head: Head = part(head).ok_or_else(|| wrong("the token's header cannot be read"))?;
        let said: Said = part(body).ok_or_else(|| wrong("the token's claims cannot be read"))?;
        if head.crit.is_some() {
            return Err(wrong("the token demands an extension that is not known (crit)"));
        }
        let algorithm = head.alg.parse().map_err(|_| {
            wrong(&format!("the token's algorithm {:?} is not taken", cut(&head.alg)))
        })?;
        let text = |value: Option<Value>| value.and_then(|it| it.as_str().map(str::to_owned));
        let audiences = match said.aud {
            Some(Value::Array(all)) => all.into_iter().filter_map(|it| text(Some(it))).collect(),
            other => text(other).into_iter().collect(),
        };
        Ok(Self {
            algorithm,
            kid: head.kid,
            typ: head.typ,
            issuer: text(said.iss),
            subject: text(said.sub),
            audiences,
        })
    }
}

fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

fn cut(text: &str) -> String {
    text.chars().take(32).collect()
}

/// A key that verifies, and what it may be used for.
pub(crate) struct Key {
    pub(crate) kid: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

impl Key {
    /// From a JWK (RFC 7517), if it is one for signatures that we know. Shared secrets never are.
    pub(crate) fn of(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let is_for_signatures = common
            .public_key_use
            .as_ref()
            .is_none_or(|it| matches!(it, PublicKeyUse::Signature) || is_spiffe(it));
        let may_verify = common
            .key_operations
            .as_ref()
            .is_none_or(|all| all.iter().any(|it| matches!(it, KeyOperations::Verify)));
        if !is_for_signatures || !may_verify {
            return None;
        }
        use Algorithm::*;
        let fit: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => &[ES256],
                EllipticCurve::P384 => &[ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                &[EdDSA]
            }
            _ => return None,
        };
        let named = common.key_algorithm.map(|it| it.to_string());
        let algorithms: Vec<Algorithm> = match named {
            Some(named) => fit.iter().copied().filter(|it| format!("{it:?}") == named).collect(),
            None => fit.to_vec(),
        };
        if algorithms.is_empty() {
            return None;
        }
        let decoding = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self { kid: common.key_id.clone(), algorithms, decoding })
    }

    /// Whether it could have signed a token with this algorithm.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// The claims, if this key signed the token. Times, issuer and audience are not looked at.
    pub(crate) fn verify(&self, token: &str, algorithm: Algorithm) -> Option<Claims> {
        if !self.fits(algorithm) {
            return None;
        }
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        // The clock is ours, so all of it is judged by `judge`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok()?;
        Some(decoded.claims)
    }
}

/// SPIFFE marks its keys by use (SPIFFE Trust Domain and Bundle §4.2.2).
fn is_spiffe(used: &PublicKeyUse) -> bool {
    matches!(used, PublicKeyUse::Other(text) if text == "jwt-svid")
}

/// What the claims of a token must be.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) audiences: &'a [String],
    pub(crate) skew: SignedDuration,
    pub(crate) now: Timestamp,
}

/// Judges a verified token's times, issuer and audience; when it ends.
pub(crate) fn judge(claims: &Claims, expected: &Expected<'_>) -> Result<Timestamp, IdentifyError> {
    let wrong = |reason: &str| IdentifyError::wrong(reason);
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if let Some(issuer) = expected.issuer
        && text("iss") != Some(issuer)
    {
        return Err(wrong("the token is of another issuer"));
    }
    let is_ours = match claims.get("aud") {
        Some(Value::String(audience)) => expected.audiences.contains(audience),
        Some(Value::Array(all)) => all.iter().any(|it| {
            it.as_str().is_some_and(|it| expected.audiences.iter().any(|ours| ours == it))
        }),
        _ => false,
    };
    if !is_ours {
        let wanted = expected.audiences.join(" or ");
        return Err(wrong(&format!("the token is not for us: its audience must be {wanted}")));
    }
    let time = |name: &str| -> Result<Option<Timestamp>, IdentifyError> {
        let Some(value) = claims.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|it| it.is_finite() && it.abs() < 1e11);
        let at = seconds.and_then(|it| Timestamp::from_second(it as i64).ok());
        at.map(Some).ok_or_else(|| wrong(&format!("the token's {name} is no time")))
    };
    let ends = time("exp")?.ok_or_else(|| wrong("the token never ends; exp is needed"))?;
    let later = |at: Timestamp| at.checked_add(expected.skew).unwrap_or(Timestamp::MAX);
    if later(ends) <= expected.now {
        return Err(wrong(&format!("the token expired at {ends}")));
    }
    for name in ["nbf", "iat"] {
        if time(name)?.is_some_and(|at| at > later(expected.now)) {
            return Err(wrong("the token is not good yet; is a clock wrong?"));
        }
    }
    Ok(ends)
}
