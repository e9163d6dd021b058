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
/// Whoever waits longer for their turn is told to come back.
const WAIT_MAX: Duration = Duration::from_secs(10);
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
const LANES_MAX: u32 = 8;

/// The checking of passwords.
pub(crate) struct Passwords {
    provider: String,
    key: hmac::Key,
    right: Cache<Vec<u8>, ()>,
    failures: Cache<String, u32>,
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new(provider: &str) -> Self {
        let mut secret = [0; 32];
        // Without randomness nothing is remembered twice, and nothing else follows.
        let _ = SystemRandom::new().fill(&mut secret);
        Self {
            provider: provider.to_owned(),
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
        self.judge_failures(name)?;
        let turn = tokio::time::timeout(WAIT_MAX, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(self.busy()) };
        // Many may have waited beside this one.
        if self.right.contains_key(&mark) {
            return Ok(());
        }
        self.judge_failures(name)?;
        let (text, password) = (hash.unwrap_or(DUMMY).to_owned(), password.to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also when whoever asked hangs up.
            let _turn = turn;
            verify(&text, &password)
        });
        match checked.await {
            Ok(true) if hash.is_some() => {
                self.right.insert(mark, ());
                Ok(())
            }
            Ok(_) => {
                let more = |held: Option<moka::Entry<String, u32>>| {
                    held.map_or(1, |held| held.into_value().saturating_add(1))
                };
                self.failures.entry_by_ref(name).and_upsert_with(more);
                Err(wrong())
            }
            Err(_) => Err(self.busy()),
        }
    }

    fn judge_failures(&self, name: &str) -> Result<(), IdentifyError> {
        if self.failures.get(name).unwrap_or(0) >= FAILURES_MAX {
            return Err(IdentifyError::wrong("too many wrong passwords; wait a minute"));
        }
        Ok(())
    }

    fn busy(&self) -> IdentifyError {
        let reason = "too many passwords are being checked".to_owned();
        IdentifyError::CannotTell { provider: self.provider.clone(), reason }
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
    let parsed = parsed(hash);
    parsed.is_ok_and(|it| Argon2::default().verify_password(password.as_bytes(), &it).is_ok())
}

/// What is wrong with a hash, if anything.
pub(super) fn check_hash(hash: &str) -> Result<(), String> {
    parsed(hash).map(drop)
}

/// A hash that is one, and not made to stop us.
fn parsed(hash: &str) -> Result<PasswordHash<'_>, String> {
    // What the library says could hold a part of it.
    let parsed = PasswordHash::new(hash).ok().filter(|it| it.hash.is_some() && it.salt.is_some());
    let parsed = parsed.ok_or_else(|| "its passwordHash is no PHC string".to_owned())?;
    if parsed.algorithm.as_str() != "argon2id" {
        return Err("its passwordHash is not argon2id".to_owned());
    }
    for (name, max) in [("m", MEMORY_MAX_KIB), ("t", PASSES_MAX), ("p", LANES_MAX)] {
        if parsed.params.get_decimal(name).is_some_and(|value| value > max) {
            return Err(format!("its passwordHash has {name} above {max}"));
        }
    }
    Ok(parsed)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Cheap, so that tests are quick.
    fn hash(password: &str) -> String {
        let cheap = argon2::Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cheap);
        let salt = SaltString::encode_b64(b"a salt of a test").unwrap();
        argon2.hash_password(password.as_bytes(), &salt).unwrap().to_string()
    }

    #[test]
    fn the_work_for_nobody_is_that_for_somebody() {
        let (nobody, made) = (parsed(DUMMY).unwrap(), hash_password("x").unwrap());
        let somebody = parsed(&made).unwrap();
        assert_eq!(nobody.params, somebody.params);
        assert_eq!(nobody.version, somebody.version);
        assert_eq!(nobody.hash.map(|it| it.len()), somebody.hash.map(|it| it.len()));
    }

    #[tokio::test]
    async fn guesses_at_once_count_like_guesses_one_by_one() {
        let (passwords, hash) = (Arc::new(Passwords::new("local")), hash("right"));
        let guesses: Vec<_> = (0..50)
            .map(|it| {
                let (passwords, hash) = (passwords.clone(), hash.clone());
                tokio::spawn(async move {
                    passwords.check("alice", &format!("guess {it}"), Some(&hash)).await
                })
            })
            .collect();
        let mut looked_at = 0;
        for guess in guesses {
            let told = guess.await.unwrap().unwrap_err().to_string();
            looked_at += usize::from(told.contains("is wrong"));
        }
        let most = FAILURES_MAX as usize + AT_ONCE;
        assert!((1..=most).contains(&looked_at), "{looked_at} guesses were looked at");
        // Another name is not stopped by it.
        passwords.check("bob", "right", Some(&hash)).await.unwrap();
    }

    #[tokio::test]
    async fn whoever_hangs_up_gives_their_turn_back() {
        let (passwords, hash) = (Arc::new(Passwords::new("local")), hash("right"));
        for _ in 0..20 {
            let (passwords, hash) = (passwords.clone(), hash.clone());
            let asked =
                tokio::spawn(async move { passwords.check("bob", "wrong", Some(&hash)).await });
            tokio::task::yield_now().await;
            asked.abort();
        }
        passwords.check("alice", "right", Some(&hash)).await.unwrap();
    }
}
