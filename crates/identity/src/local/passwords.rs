//! Passwords by argon2id (RFC 9106), which is slow on purpose: at most a few at once, and what was right
//! lately is remembered by a keyed hash.

use crate::IdentifyError;
use argon2::password_hash::{PasswordHash, PasswordVerifier, SaltString};
use argon2::{Argon2, PasswordHasher};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use moka::sync::Cache;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// At once; each takes some MiB and a core.
const AT_ONCE: usize = 2;
/// What was right counts without work for so long.
const REMEMBERED: Duration = Duration::from_secs(60);
const REMEMBERED_MAX: u64 = 10_000;
/// Wrong passwords of one name within a minute, before its next ones are refused unread.
const FAILURES_MAX: u32 = 10;
/// Longer ones are nobody's.
const PASSWORD_MAX_BYTES: usize = 1024;
/// Parameters beyond these are a file that wants to stop us.
const MEMORY_MAX_KIB: u32 = 256 << 10;
const PASSES_MAX: u32 = 16;

/// The checking of passwords.
pub(crate) struct Passwords {
    key: hmac::Key,
    right: Cache<Vec<u8>, ()>,
    failures: Cache<String, u32>,
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        let mut secret = [0; 32];
        // Without randomness nothing is remembered twice, and nothing else follows.
        let _ = SystemRandom::new().fill(&mut secret);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            right: Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED).build(),
            failures: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .time_to_live(REMEMBERED)
                .build(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Whether a password is a name's. `hash`: what is known of it; without one the work is done all the
    /// same, so that its time tells nothing.
    pub(crate) async fn check(
        &self,
        name: &str,
        password: &str,
        hash: Option<&str>,
    ) -> Result<(), IdentifyError> {
        let wrong = || IdentifyError::wrong("user name or password is wrong");
        if password.len() > PASSWORD_MAX_BYTES {
            return Err(wrong());
        }
        let mark = self.mark(name, password, hash);
        if self.right.contains_key(&mark) {
            return Ok(());
        }
        let failed = self.failures.get(name).unwrap_or(0);
        if failed >= FAILURES_MAX {
            return Err(IdentifyError::wrong("too many wrong passwords; wait a minute"));
        }
        let Ok(_turn) = self.turns.acquire().await else { return Err(wrong()) };
        let (text, password) = (hash.unwrap_or(DUMMY).to_owned(), password.to_owned());
        let checked = tokio::task::spawn_blocking(move || verify(&text, &password)).await;
        if checked.unwrap_or(false) && hash.is_some() {
            self.right.insert(mark, ());
            return Ok(());
        }
        self.failures.insert(name.to_owned(), failed + 1);
        Err(wrong())
    }

    fn mark(&self, name: &str, password: &str, hash: Option<&str>) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name, password, hash.unwrap_or_default()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().to_vec()
    }
}

/// Of nobody.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
    Ku41QbDxg7lYrKbqbFYGTzN6wGaKZLgTZHLrNBTNGnY";

fn verify(hash: &str, password: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    let bounded =
        |name: &str, max: u32| parsed.params.get_decimal(name).is_none_or(|value| value <= max);
    if parsed.algorithm.as_str() != "argon2id"
        || !bounded("m", MEMORY_MAX_KIB)
        || !bounded("t", PASSES_MAX)
        || !bounded("p", 8)
    {
        return false;
    }
    Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
}

/// The hash of a password, in PHC form.
pub(crate) fn hash_password(password: &str) -> Result<String, String> {
    if password.is_empty() || password.len() > PASSWORD_MAX_BYTES {
        return Err(format!("a password has 1 to {PASSWORD_MAX_BYTES} bytes"));
    }
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "no randomness".to_owned())?;
    let salt = SaltString::encode_b64(&bytes).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}
