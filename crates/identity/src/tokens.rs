//! Our own tokens: short-lived, signed with ES256, checked by any replica that has the keys (RFC 9068 for
//! the form, RFC 7638 for the names of keys).
//!
//! Keys lie in a directory, one PKCS#8 file each, named by the second of their making and by their
//! thumbprint. The newest one that others had time to learn of signs; old ones are kept for checking until
//! nothing that they signed can live.

mod key;

use crate::jwt::{Claims, Unverified};
use crate::{Error, IdentifyError};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Header};
use key::SigningKey;
use parking_lot::RwLock;
use policy::{Action, Identity, NamePattern, PrincipalKind, TokenScope};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
/// How far the clocks of replicas may differ (contracts §11).
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The keys that sign our tokens.
pub struct TokenKeys {
    dir: Option<PathBuf>,
    held: RwLock<Held>,
}

struct Held {
    /// The oldest first.
    keys: Vec<Arc<SigningKey>>,
    looked: Instant,
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

/// An identity as it stands in a token.
#[derive(Serialize, Deserialize)]
struct WireIdentity {
    kind: String,
    provider: String,
    issuer: String,
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<WireScope>,
    /// The end of the credential that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct WireScope {
    actions: Vec<String>,
    repositories: Vec<String>,
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
        let keys = Self { dir: Some(dir.to_owned()), held: RwLock::new(Held::new(keys)) };
        keys.rotate(now);
        Ok(keys)
    }

    /// Keys that live as long as the process: where no directory can be written.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn in_memory(now: Timestamp) -> Result<Self, Error> {
        let key = SigningKey::generate(now)?;
        Ok(Self { dir: None, held: RwLock::new(Held::new(vec![Arc::new(key)])) })
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
        let mut ends = now.checked_add(wished).unwrap_or(now);
        if let Some(bound) = identity.and_then(Identity::expires) {
            ends = ends.min(bound);
        }
        if ends <= now {
            return Err(IdentifyError::wrong("the credential has ended"));
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
        let age = self.held.read().looked.elapsed();
        if age < if at_once { LOOK_FLOOR } else { LOOK_EVERY } {
            return;
        }
        let mut held = self.held.write();
        held.looked = Instant::now();
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
        let newest = self.held.read().keys.last().map(|key| key.made());
        let is_due = |made: Timestamp| made.checked_add(SIGNS_FOR).is_ok_and(|ends| ends <= now);
        if !newest.is_some_and(is_due) {
            return;
        }
        if let Err(error) = key::write(dir, now) {
            // Shared and read only, perhaps: somebody else makes them.
            tracing::warn!(%error, "a new key of tokens cannot be made; the old one goes on");
            return;
        }
        let Ok(keys) = key::read_all(dir) else { return };
        let is_needed = |index: usize| match keys.get(index + 1) {
            Some(next) => next.made().checked_add(CHECKS_FOR).is_ok_and(|ends| ends > now),
            None => true,
        };
        for (index, key) in keys.iter().enumerate().filter(|(index, _)| !is_needed(*index)) {
            if let Err(error) = key::remove(dir, key) {
                tracing::warn!(%error, index, "an old key of tokens cannot be removed");
            }
        }
        let mut held = self.held.write();
        held.keys =
            keys.iter().enumerate().filter(|(i, _)| is_needed(*i)).map(|it| it.1.clone()).collect();
    }
}

impl Held {
    fn new(keys: Vec<Arc<SigningKey>>) -> Self {
        Self { keys, looked: Instant::now() }
    }
}

/// Judges times and audience; when it ends.
fn judge(claims: &Claims, service: &str, now: Timestamp) -> Result<Timestamp, IdentifyError> {
    let wrong = IdentifyError::wrong;
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
        return Err(wrong("the token has ended; get a new one"));
    }
    let latest = now.checked_add(SKEW).unwrap_or(now);
    if time("iat").is_none_or(|at| at > latest) {
        return Err(wrong("the token is not good yet; is a clock wrong?"));
    }
    Ok(expires)
}

fn wire(identity: &Identity) -> WireIdentity {
    WireIdentity {
        kind: identity.kind().as_str().to_owned(),
        provider: identity.provider().to_owned(),
        issuer: identity.issuer().to_owned(),
        name: identity.name().to_owned(),
        groups: identity.groups().to_vec(),
        attributes: identity.attributes().clone(),
        scope: identity.scope().map(|scope| WireScope {
            actions: scope.actions.iter().map(|it| it.as_str().to_owned()).collect(),
            repositories: scope.repositories.iter().map(|it| it.as_str().to_owned()).collect(),
        }),
        expires: identity.expires(),
    }
}

/// `None`: it says something that we do not know, and so cannot keep to.
fn read(wire: WireIdentity) -> Option<Identity> {
    let kind = PrincipalKind::parse(&wire.kind)?;
    if matches!(kind, PrincipalKind::Operator | PrincipalKind::System | PrincipalKind::Anonymous) {
        return None;
    }
    let scope = match wire.scope {
        None => None,
        Some(scope) => {
            let action = |text: &String| Action::ALL.into_iter().find(|it| it.as_str() == text);
            let actions = scope.actions.iter().map(action).collect::<Option<_>>()?;
            let patterns = scope.repositories.iter().map(|text| NamePattern::parse(text).ok());
            Some(TokenScope { actions, repositories: patterns.collect::<Option<_>>()? })
        }
    };
    let identity = Identity::new(kind, &wire.provider, &wire.issuer, &wire.name);
    let identity = identity.with_groups(wire.groups).with_attributes(wire.attributes);
    Some(identity.with_scope(scope).with_expires(wire.expires))
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
