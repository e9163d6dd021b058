//! The tokens of one upstream: one for each realm, scope and credential, got once for all who
//! wait, renewed before they end, and not asked for again and again where the answer was no.

use crate::clock;
use crate::failure::{Failure, FailureKind};
use parking_lot::Mutex;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Tokens kept at most; a plane pulls from fewer repositories in the life of a token.
const TOKENS_MAX: usize = 4096;

/// What a token without `expires_in` lasts (Docker token specification).
pub(crate) const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);

/// A shorter life is taken for this, or every request would get a token of its own.
const LIFETIME_MIN: Duration = Duration::from_secs(1);

/// A longer life is taken for this: a token should not outlive the password it came from for long.
const LIFETIME_MAX: Duration = Duration::from_secs(60 * 60);

/// Share of its life after which a token is renewed while it is still used.
const RENEW_AT: f64 = 0.75;

/// Share of its life after which a token is not used any more: it has to arrive while it is good.
const USED_UNTIL: f64 = 0.9;

/// A wrong password is not tried again sooner; doubled each time. Registries lock accounts.
const DENIED_WAIT: Duration = Duration::from_secs(5);

/// Longest wait after a wrong password.
const DENIED_WAIT_MAX: Duration = Duration::from_secs(60);

/// A token service in trouble is not asked again sooner.
const TROUBLE_WAIT: Duration = Duration::from_millis(500);

/// After a renewal that did not help, refusals are taken at their word for this long.
const FRUITLESS_FOR: Duration = Duration::from_secs(30);

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    /// The registry that will see it: `scheme://host[:port]`.
    pub(crate) audience: String,
    /// URL of the token service.
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
    /// The credential it is got with, and which state of its secret.
    pub(crate) credential: Option<(usize, u64)>,
}

/// A token as it came from its service.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) value: SecretString,
    pub(crate) lifetime: Duration,
    /// When it was asked for; its life counts from here.
    pub(crate) asked: Instant,
}

/// A token and the time it is good for.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) value: SecretString,
    serial: u64,
    renew_at: Instant,
    used_until: Instant,
}

/// A token to use, and whether it was got just now.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) token: Arc<Token>,
    pub(crate) is_fresh: bool,
}

/// All tokens of an upstream.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    entries: Mutex<HashMap<TokenKey, Arc<Mutex<Entry>>>>,
}

type Outcome = Result<Arc<Token>, Failure>;

#[derive(Debug, Default)]
struct Entry {
    token: Option<Arc<Token>>,
    /// The last refusal, and until when it stands.
    refusal: Option<(Failure, Instant)>,
    refusals_in_a_row: u32,
    fruitless_until: Option<Instant>,
    flight: Option<watch::Receiver<Option<Outcome>>>,
    serial: u64,
}

impl Tokens {
    /// The token for `key`, got by `dance` where none is held. `rejected`: a token that the
    /// registry did not take; another one is wanted.
    pub(crate) async fn get<F>(
        &self,
        key: &TokenKey,
        rejected: Option<&Token>,
        dance: impl FnOnce() -> F,
    ) -> Result<Got, Failure>
    where
        F: Future<Output = Result<Issued, Failure>> + Send + 'static,
    {
        let entry = self.entry(key);
        let mut flight = {
            let now = clock::now();
            let mut state = entry.lock();
            if let Some(token) = state.usable(rejected, now) {
                if now >= token.renew_at && state.may_fly(now) {
                    take_off(&entry, &mut state, dance());
                }
                return Ok(Got { token, is_fresh: false });
            }
            if let Some((failure, until)) = &state.refusal
                && *until > now
            {
                let left = *until - now;
                return Err(failure.clone().with_retry_after(left));
            }
            match state.under_way() {
                Some(flight) => flight,
                None => take_off(&entry, &mut state, dance()),
            }
        };
        let landed = flight.wait_for(Option::is_some).await;
        let outcome = landed.ok().and_then(|outcome| outcome.clone());
        let outcome = outcome.unwrap_or_else(|| {
            Err(Failure::transient("the request for a token was aborted").blameless())
        });
        outcome.map(|token| Got { token, is_fresh: true })
    }

    /// A fresh token did not help either: the refusal is about more than the token.
    pub(crate) fn renewal_was_fruitless(&self, key: &TokenKey) {
        self.entry(key).lock().fruitless_until = Some(clock::now() + FRUITLESS_FOR);
    }

    /// Whether getting another token may help.
    pub(crate) fn may_renew(&self, key: &TokenKey) -> bool {
        self.entry(key).lock().fruitless_until.is_none_or(|until| until <= clock::now())
    }

    fn entry(&self, key: &TokenKey) -> Arc<Mutex<Entry>> {
        let mut entries = self.entries.lock();
        if entries.len() >= TOKENS_MAX && !entries.contains_key(key) {
            let now = clock::now();
            entries.retain(|_, entry| entry.lock().is_of_use(now));
            if entries.len() >= TOKENS_MAX {
                // All of use: the next requests get theirs again.
                entries.clear();
            }
        }
        entries.entry(key.clone()).or_default().clone()
    }
}

impl Entry {
    fn usable(&self, rejected: Option<&Token>, now: Instant) -> Option<Arc<Token>> {
        let token = self.token.as_ref().filter(|token| token.used_until > now)?;
        let is_rejected = rejected.is_some_and(|rejected| rejected.serial == token.serial);
        (!is_rejected).then(|| token.clone())
    }

    /// Whether a renewal may start: none is under way, and none failed just now.
    fn may_fly(&self, now: Instant) -> bool {
        self.under_way().is_none() && self.refusal.as_ref().is_none_or(|(_, until)| *until <= now)
    }

    /// The request for a token that is on its way. One whose task died is none.
    fn under_way(&self) -> Option<watch::Receiver<Option<Outcome>>> {
        self.flight.clone().filter(|flight| flight.has_changed().is_ok())
    }

    fn is_of_use(&self, now: Instant) -> bool {
        self.under_way().is_some()
            || self.token.as_ref().is_some_and(|token| token.used_until > now)
            || self.refusal.as_ref().is_some_and(|(_, until)| *until > now)
    }

    fn land(&mut self, result: Result<Issued, Failure>) -> Outcome {
        self.flight = None;
        match result {
            Ok(issued) => {
                self.serial += 1;
                let life = issued.lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX);
                let token = Arc::new(Token {
                    value: issued.value,
                    serial: self.serial,
                    renew_at: issued.asked + life.mul_f64(RENEW_AT),
                    used_until: issued.asked + life.mul_f64(USED_UNTIL),
                });
                self.token = Some(token.clone());
                self.refusal = None;
                self.refusals_in_a_row = 0;
                Ok(token)
            }
            Err(failure) => {
                let wait = match failure.kind() {
                    FailureKind::Denied => {
                        let doubled = DENIED_WAIT * 2u32.pow(self.refusals_in_a_row.min(8));
                        self.refusals_in_a_row += 1;
                        doubled.min(DENIED_WAIT_MAX)
                    }
                    _ => failure.retry_after().unwrap_or(TROUBLE_WAIT).min(DENIED_WAIT_MAX),
                };
                self.refusal = Some((failure.clone(), clock::now() + wait));
                Err(failure)
            }
        }
    }
}

/// Gets a token in a task of its own, so that nobody who stops waiting stops it for the others.
fn take_off<F>(
    entry: &Arc<Mutex<Entry>>,
    state: &mut Entry,
    dance: F,
) -> watch::Receiver<Option<Outcome>>
where
    F: Future<Output = Result<Issued, Failure>> + Send + 'static,
{
    let (sender, receiver) = watch::channel(None);
    state.flight = Some(receiver.clone());
    let entry = entry.clone();
    tokio::spawn(async move {
        let result = dance.await;
        let outcome = entry.lock().land(result);
        sender.send_replace(Some(outcome));
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::sync::atomic::{AtomicU32, Ordering};

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(scope: &str) -> TokenKey {
        TokenKey {
            audience: "https://r".into(),
            realm: "https://r/token".into(),
            service: None,
            scope: Some(scope.into()),
            credential: None,
        }
    }

    #[derive(Clone, Default)]
    struct Service(Arc<AtomicU32>);

    impl Service {
        fn asked(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }

        async fn issue(self, lifetime: Duration) -> Result<Issued, Failure> {
            let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
            let value = SecretString::from(format!("token-{count}"));
            Ok(Issued { value, lifetime, asked: clock::now() })
        }

        async fn refuse(self, failure: Failure) -> Result<Issued, Failure> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(failure)
        }
    }

    async fn get(tokens: &Tokens, service: &Service) -> Result<Got, Failure> {
        let service = service.clone();
        tokens.get(&key("a"), None, move || service.issue(MINUTE)).await
    }

    #[tokio::test]
    async fn one_dance_serves_all_and_outlives_who_began_it() {
        let (tokens, service) = (Arc::new(Tokens::default()), Service::default());
        let first = {
            let (tokens, service) = (tokens.clone(), service.clone());
            tokio::spawn(async move { get(&tokens, &service).await.map(|_| ()) })
        };
        tokio::task::yield_now().await;
        first.abort();
        let others = tokio::join!(get(&tokens, &service), get(&tokens, &service));
        assert!(others.0.unwrap().is_fresh && others.1.unwrap().is_fresh);
        assert!(!get(&tokens, &service).await.unwrap().is_fresh);
        assert_eq!(service.asked(), 1);
    }

    #[tokio::test]
    async fn a_token_is_renewed_ahead_without_anyone_waiting() {
        let (tokens, service) = (Tokens::default(), Service::default());
        get(&tokens, &service).await.unwrap();
        clock::advance(MINUTE.mul_f64(0.8));
        let old = get(&tokens, &service).await.unwrap();
        assert_eq!(old.token.value.expose_secret(), "token-1");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let new = get(&tokens, &service).await.unwrap();
        assert_eq!((new.token.value.expose_secret(), new.is_fresh), ("token-2", false));
        clock::advance(MINUTE);
        assert!(get(&tokens, &service).await.unwrap().is_fresh, "an ended token is not used");
    }

    #[tokio::test]
    async fn a_wrong_password_is_tried_less_and_less() {
        let (tokens, service) = (Tokens::default(), Service::default());
        let refused = async || {
            let service = service.clone();
            let denied = Failure::denied("wrong password");
            tokens.get(&key("a"), None, move || service.refuse(denied)).await.unwrap_err()
        };
        refused().await;
        assert_eq!(refused().await.kind(), FailureKind::Denied);
        assert!(refused().await.retry_after().is_some());
        assert_eq!(service.asked(), 1);
        clock::advance(DENIED_WAIT);
        refused().await;
        clock::advance(DENIED_WAIT);
        refused().await;
        assert_eq!(service.asked(), 2);
    }

    #[tokio::test]
    async fn a_rejected_token_is_replaced_once_for_all() {
        let (tokens, service) = (Tokens::default(), Service::default());
        let old = get(&tokens, &service).await.unwrap().token;
        let again = async || {
            let service = service.clone();
            tokens.get(&key("a"), Some(&old), move || service.issue(MINUTE)).await.unwrap()
        };
        let both = tokio::join!(again(), again());
        assert_eq!(both.0.token.serial, both.1.token.serial);
        assert_eq!(service.asked(), 2);
        assert!(!again().await.is_fresh, "another one is already there");
        assert!(tokens.may_renew(&key("a")));
        tokens.renewal_was_fruitless(&key("a"));
        assert!(!tokens.may_renew(&key("a")));
        clock::advance(FRUITLESS_FOR);
        assert!(tokens.may_renew(&key("a")));
    }

    #[tokio::test]
    async fn a_dance_that_dies_is_danced_again() {
        let (tokens, service) = (Tokens::default(), Service::default());
        let died = tokens.get(&key("a"), None, || async { panic!("on purpose") }).await;
        assert!(died.unwrap_err().is_transient());
        assert!(get(&tokens, &service).await.is_ok());
    }
}
