//! Our own tokens: short-lived, signed with ES256, checked by any replica that has the keys (RFC 9068 for
//! the form, RFC 7638 for the names of keys).
//!
//! Keys lie in a directory, one PKCS#8 file each, named by the second of their making and by their
//! thumbprint. The newest one that others had time to learn of signs; old ones are kept for checking until
//! nothing that they signed can live.

mod key;
mod wire;

use crate::jwt::{Claims, TOKEN_MAX_BYTES, Unverified};
use crate::{Error, IdentifyError};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Header};
use key::SigningKey;
use parking_lot::{Mutex, RwLock};
use policy::Identity;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::{WireIdentity, read, wire};

/// The `iss` of all our tokens.
const ISSUER: &str = "https://lockgate.dev/token";
/// `typ` of tokens that are shown with requests, and of those that get new ones. Neither passes for the
/// other.
const ACCESS: &str = "at+jwt";
const REFRESH: &str = "rt+jwt";
/// A key signs for so long; then another does.
const SIGNS_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A new key is published for so long before it signs, so that replicas have it.
const LEARNED_IN: SignedDuration = SignedDuration::from_secs(600);
/// After another signs, a key still checks for so long: longer than any token lives.
const CHECKS_FOR: SignedDuration = SignedDuration::from_hours(48);
/// The directory is looked at this often, and at once for an unknown key, but not more often than a floor.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LOOK_FLOOR: Duration = Duration::from_secs(2);
/// Between two attempts to make a key.
const RETRY_EVERY: Duration = Duration::from_secs(60);
/// No token lives longer.
const LIFETIME_MAX: SignedDuration = SignedDuration::from_hours(24);
/// How far the clocks of replicas may differ (contracts §11).
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The keys that sign our tokens.
pub struct TokenKeys {
    dir: Option<PathBuf>,
    held: RwLock<Held>,
    /// Taken by whoever makes and removes keys; when that failed last.
    rotation: Mutex<Option<Instant>>,
}

struct Held {
    /// The oldest first.
    keys: Vec<Arc<SigningKey>>,
    looked: Option<Instant>,
}

/// A token, and how long it is good for.
#[derive(Debug)]
pub struct AccessToken {
    /// The token.
    pub text: SecretString,
    /// How long it is good for.
    pub lifetime: Duration,
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "taken apart as soon as it is made")]
pub enum TokenHolder {
    /// Nobody's.
    Anonymous {
        /// When it ends.
        expires: Timestamp,
    },
    /// Somebody's.
    Identity {
        /// Whose.
        identity: Identity,
        /// When it ends.
        expires: Timestamp,
    },
}

impl TokenKeys {
    /// The keys of a directory, which is made, with a first key, if it is not there.
    ///
    /// # Errors
    /// When the directory or a key cannot be used.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, Error> {
        key::make_directory(dir)?;
        let mut keys = key::read_all(dir)?;
        if keys.is_empty() {
            // Nobody else has tokens of ours yet: it signs at once.
            let made = now.checked_sub(LEARNED_IN).unwrap_or(now);
            key::write(dir, made)?;
            keys = key::read_all(dir)?;
        }
        let keys = Self::of(Some(dir.to_owned()), keys);
        keys.rotate(now);
        Ok(keys)
    }

    /// Keys that live as long as the process: where no directory can be written.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn in_memory(now: Timestamp) -> Result<Self, Error> {
        let key = SigningKey::generate(now)?;
        Ok(Self::of(None, vec![Arc::new(key)]))
    }

    fn of(dir: Option<PathBuf>, keys: Vec<Arc<SigningKey>>) -> Self {
        let held = RwLock::new(Held { keys, looked: None });
        Self { dir, held, rotation: Mutex::new(None) }
    }

    /// The public keys, as a JWK set (RFC 7517).
    pub fn jwks(&self) -> Value {
        self.look(false);
        let keys: Vec<Value> = self.held.read().keys.iter().map(|key| key.jwk()).collect();
        json!({ "keys": keys })
    }

    /// Whether a text claims to be one of our tokens.
    pub fn is_ours(&self, token: &str) -> bool {
        Unverified::read(token).is_ok_and(|said| said.issuer.as_deref() == Some(ISSUER))
    }

    /// A token that is shown with requests. `identity`: none, for nobody's.
    ///
    /// # Errors
    /// When the credential that was shown has ended, or nothing can be signed.
    pub fn issue(
        &self,
        identity: Option<&Identity>,
        service: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<AccessToken, IdentifyError> {
        let (text, lifetime) = self.sign(ACCESS, identity, service, now, lifetime)?;
        Ok(AccessToken { text, lifetime })
    }

    /// A token to come back with.
    ///
    /// # Errors
    /// When nothing can be signed.
    pub fn issue_refresh(
        &self,
        identity: &Identity,
        service: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<SecretString, IdentifyError> {
        // It outlives what a person logged in with; whoever has a token of their own comes back with that.
        let is_bound = identity.scope().is_some();
        let unbound = identity.clone().with_expires(identity.expires().filter(|_| is_bound));
        self.sign(REFRESH, Some(&unbound), service, now, lifetime).map(|(text, _)| text)
    }

    fn sign(
        &self,
        typ: &str,
        identity: Option<&Identity>,
        service: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<(SecretString, Duration), IdentifyError> {
        self.look(false);
        self.rotate(now);
        let wished = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::from_secs(300));
        let mut ends = now.checked_add(wished.min(LIFETIME_MAX)).unwrap_or(now);
        if let Some(bound) = identity.and_then(Identity::expires) {
            ends = ends.min(bound);
        }
        if ends <= now {
            return Err(IdentifyError::wrong(format!("the credential expired at {ends}")));
        }
        let key = self.signing_key(now).ok_or_else(|| unavailable("there is no key"))?;
        let header = Header {
            typ: Some(typ.to_owned()),
            kid: Some(key.kid().to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        let claims = json!({
            "iss": ISSUER,
            "aud": service,
            "sub": identity.map_or("anonymous", Identity::key),
            "iat": now.as_second(),
            "exp": ends.as_second(),
            "jti": random_id(),
            "lockgate": identity.map(wire),
        });
        let text = jsonwebtoken::encode(&header, &claims, key.encoding())
            .map_err(|error| unavailable(&error.to_string()))?;
        if text.len() > TOKEN_MAX_BYTES {
            return Err(IdentifyError::wrong(
                "the identity has too many groups or attributes for a token; map fewer of them",
            ));
        }
        let seconds = u64::try_from(ends.as_second() - now.as_second()).unwrap_or(0);
        Ok((SecretString::from(text), Duration::from_secs(seconds)))
    }

    /// Whose a token is that is shown with a request.
    ///
    /// # Errors
    /// When it is wrong, of another kind, or has ended.
    pub fn verify_access(
        &self,
        token: &str,
        service: &str,
        now: Timestamp,
    ) -> Result<TokenHolder, IdentifyError> {
        let (identity, expires) = self.verify(ACCESS, token, service, now)?;
        Ok(match identity {
            None => TokenHolder::Anonymous { expires },
            Some(identity) => TokenHolder::Identity { identity, expires },
        })
    }

    /// Whose a token is that is shown to get another one.
    ///
    /// # Errors
    /// When it is wrong, of another kind, or has ended.
    pub fn verify_refresh(
        &self,
        token: &str,
        service: &str,
        now: Timestamp,
    ) -> Result<Identity, IdentifyError> {
        let (identity, _) = self.verify(REFRESH, token, service, now)?;
        identity.ok_or_else(|| IdentifyError::wrong("the token is nobody's"))
    }

    fn verify(
        &self,
        typ: &str,
        token: &str,
        service: &str,
        now: Timestamp,
    ) -> Result<(Option<Identity>, Timestamp), IdentifyError> {
        let wrong = IdentifyError::wrong;
        let said = Unverified::read(token)?;
        if said.typ.as_deref() != Some(typ) || said.algorithm != Algorithm::ES256 {
            return Err(wrong("the token is of another kind than is needed here"));
        }
        let kid = said.kid.as_deref().unwrap_or_default();
        let known = |keys: &[Arc<SigningKey>]| keys.iter().find(|key| key.kid() == kid).cloned();
        let mut key = known(&self.held.read().keys);
        if key.is_none() {
            // Another replica may have made it.
            self.look(true);
            key = known(&self.held.read().keys);
        }
        let key =
            key.ok_or_else(|| wrong("the token was signed by a key that is not known here"))?;
        let claims = key.verify(token).ok_or_else(|| wrong("the token's signature is wrong"))?;
        let expires = judge(&claims, service, now)?;
        match claims.get("lockgate") {
            None | Some(Value::Null) => Ok((None, expires)),
            Some(value) => {
                let identity: WireIdentity = serde_json::from_value(value.clone())
                    .map_err(|_| wrong("the token is of another version of Lockgate"))?;
                let identity = read(identity).ok_or_else(|| {
                    wrong("the token says something that this version does not know")
                })?;
                Ok((Some(identity), expires))
            }
        }
    }

    /// The newest key that others had time to learn of.
    fn signing_key(&self, now: Timestamp) -> Option<Arc<SigningKey>> {
        let held = self.held.read();
        let is_learned =
            |key: &&Arc<SigningKey>| key.made().checked_add(LEARNED_IN).is_ok_and(|at| at <= now);
        let all = &held.keys;
        all.iter().rev().find(is_learned).or(all.first()).cloned()
    }

    /// Looks at the directory again, if it is time.
    fn look(&self, at_once: bool) {
        let Some(dir) = &self.dir else { return };
        let pause = if at_once { LOOK_FLOOR } else { LOOK_EVERY };
        let is_fresh = |held: &Held| held.looked.is_some_and(|at| at.elapsed() < pause);
        if is_fresh(&self.held.read()) {
            return;
        }
        let mut held = self.held.write();
        if is_fresh(&held) {
            return; // Somebody else just did.
        }
        held.looked = Some(Instant::now());
        match key::read_all(dir) {
            // A directory that is empty for a moment (a mounted secret that changes) ends nothing.
            Ok(keys) if !keys.is_empty() => held.keys = keys,
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the keys of tokens cannot be read again"),
        }
    }

    /// Makes the next key in time, and removes those that nothing needs any more.
    fn rotate(&self, now: Timestamp) {
        let Some(dir) = &self.dir else { return };
        if !needs_rotation(&self.held.read().keys, now) {
            return;
        }
        let Some(mut failed) = self.rotation.try_lock() else { return };
        if failed.is_some_and(|at| at.elapsed() < RETRY_EVERY) {
            return;
        }
        match rotated(dir, now) {
            Ok(keys) => (self.held.write().keys, *failed) = (keys, None),
            Err(error) => {
                // Shared and read only, perhaps: somebody else makes them.
                tracing::warn!(%error, "keys of tokens cannot be rotated; the old ones go on");
                *failed = Some(Instant::now());
            }
        }
    }
}

/// Whether the newest key has signed long enough. One from the future (a clock was wrong) is not waited for.
fn is_due(keys: &[Arc<SigningKey>], now: Timestamp) -> bool {
    let latest = now.checked_add(SKEW).unwrap_or(now);
    let newest = keys.iter().rev().find(|key| key.made() <= latest);
    newest.is_some_and(|key| key.made().checked_add(SIGNS_FOR).is_ok_and(|ends| ends <= now))
}

/// How many of the oldest keys have signed nothing that still lives.
fn ended(keys: &[Arc<SigningKey>], now: Timestamp) -> usize {
    let is_ended =
        |next: &Arc<SigningKey>| next.made().checked_add(CHECKS_FOR).is_ok_and(|ends| ends <= now);
    keys.iter().skip(1).take_while(|next| is_ended(next)).count()
}

fn needs_rotation(keys: &[Arc<SigningKey>], now: Timestamp) -> bool {
    is_due(keys, now) || ended(keys, now) > 0
}

fn rotated(dir: &Path, now: Timestamp) -> Result<Vec<Arc<SigningKey>>, Error> {
    let mut keys = key::read_all(dir)?;
    // Another replica may have made it.
    if is_due(&keys, now) {
        key::write(dir, now)?;
        keys = key::read_all(dir)?;
    }
    let needed = keys.split_off(ended(&keys, now));
    for key in &keys {
        key::remove(dir, key)?;
    }
    Ok(needed)
}

/// Judges times and audience; when it ends.
fn judge(claims: &Claims, service: &str, now: Timestamp) -> Result<Timestamp, IdentifyError> {
    let wrong = |reason: &str| IdentifyError::wrong(reason);
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(ISSUER) || text("aud") != Some(service) {
        return Err(wrong("the token is not for this service"));
    }
    let time = |name: &str| {
        let seconds = claims.get(name).and_then(Value::as_i64);
        seconds.and_then(|it| Timestamp::from_second(it).ok())
    };
    let expires = time("exp").ok_or_else(|| wrong("the token never ends"))?;
    if expires <= now {
        return Err(wrong(&format!("the token expired at {expires}; get a new one")));
    }
    let latest = now.checked_add(SKEW).unwrap_or(now);
    if time("iat").is_none_or(|at| at > latest) {
        return Err(wrong("the token is not good yet; is a clock wrong?"));
    }
    Ok(expires)
}

fn unavailable(reason: &str) -> IdentifyError {
    IdentifyError::CannotTell { provider: "tokens".to_owned(), reason: reason.to_owned() }
}

fn random_id() -> String {
    let mut bytes = [0; 12];
    // Only to tell tokens apart in somebody's log.
    let _ = SystemRandom::new().fill(&mut bytes);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
