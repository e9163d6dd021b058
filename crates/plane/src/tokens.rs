//! Tokens: what clients get at `/token`, and what they show with each request.
//!
//! A token names a principal and permits nothing: access, environment and policies are judged anew with
//! each request (contracts §2). It is signed with our own keys, so that any replica can check it without
//! the catalog. What was checked once is remembered until it ends, because a signature costs more than
//! the rest of a warm request.

use crate::ask::{Credentials, Peer};
use crate::pipeline;
use crate::plane::Plane;
use crate::view::View;
use aws_lc_rs::digest::{SHA256, digest};
use identity::{IdentifyError, Presented, TokenHolder, TokenKeys};
use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use policy::{Identity, PrincipalKind};
use rustls_pki_types::CertificateDer;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;

/// How long an access token is good for, at most; its credential's own end comes first.
const ACCESS_LIFETIME: Duration = Duration::from_secs(300);
/// How long a refresh token is good for.
const REFRESH_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// How long what a provider said of a credential counts without asking again.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(60);
/// Checked tokens in memory; about 1 KiB each.
const REMEMBERED_MAX: u64 = 20_000;

/// Whom our tokens are for: the `aud` of all of them, and the `service` of the challenge.
pub(crate) const SERVICE: &str = "lockgate";

/// Our keys, and what was checked already.
pub(crate) struct Tokens {
    pub(crate) keys: TokenKeys,
    checked: Cache<[u8; 32], Checked>,
}

#[derive(Clone)]
struct Checked {
    /// The view it was checked under; another may have other providers.
    generation: u64,
    until: Timestamp,
    /// None: an anonymous token.
    identity: Option<Arc<Identity>>,
}

impl Tokens {
    pub(crate) fn new(keys: TokenKeys) -> Self {
        Self { keys, checked: Cache::new(REMEMBERED_MAX) }
    }

    /// Who shows this token: one of ours, or one of a provider's. `None`: an anonymous one.
    pub(crate) async fn bearer(
        &self,
        view: &View,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Identity>>, IdentifyError> {
        let key = fingerprint(token);
        if let Some(checked) = self.checked.get(&key)
            && checked.generation == view.generation
            && now < checked.until
        {
            return Ok(checked.identity);
        }
        let (identity, until) = if self.keys.is_ours(token) {
            self.own(view, token, now)?
        } else {
            let identity = view.providers.identify(&Presented::Bearer(token), now).await?;
            let until = remembered_until(&identity, now);
            (Some(Arc::new(identity)), until)
        };
        let checked = Checked { generation: view.generation, until, identity: identity.clone() };
        self.checked.insert(key, checked);
        Ok(identity)
    }

    fn own(
        &self,
        view: &View,
        token: &str,
        now: Timestamp,
    ) -> Result<(Option<Arc<Identity>>, Timestamp), IdentifyError> {
        match self.keys.verify_access(token, SERVICE, now)? {
            TokenHolder::Anonymous { expires } => Ok((None, expires)),
            TokenHolder::Identity { identity, expires } => {
                vouched(view, &identity)?;
                // What is got for this token ends with it: one that leaks is not exchanged for ever.
                let ends = identity.expires().map_or(expires, |it| it.min(expires));
                Ok((Some(Arc::new(identity.with_expires(Some(ends)))), expires))
            }
        }
    }

    /// Who shows this credential, as some provider says.
    pub(crate) async fn identified(
        &self,
        view: &View,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Arc<Identity>, IdentifyError> {
        // A password that is one of our own tokens: docker sends what a credential helper gave it.
        if let Presented::Basic { password, .. } = presented
            && self.keys.is_ours(password)
        {
            return self.bearer(view, password, now).await?.ok_or_else(anonymous_password);
        }
        view.providers.identify(presented, now).await.map(Arc::new)
    }
}

fn anonymous_password() -> IdentifyError {
    IdentifyError::Wrong { reason: "the password is a token of nobody".to_owned() }
}

/// That the provider still exists: a changed set of documents binds tokens that were given before.
fn vouched(view: &View, identity: &Identity) -> Result<(), IdentifyError> {
    if view.providers.has(identity.provider()) {
        return Ok(());
    }
    let provider = identity.provider();
    let reason = format!("identity provider {provider}, which vouched for this token, is gone");
    Err(IdentifyError::Wrong { reason })
}

fn remembered_until(identity: &Identity, now: Timestamp) -> Timestamp {
    let soon = now.saturating_add(REMEMBERED).unwrap_or(now);
    identity.expires().map_or(soon, |expires| expires.min(soon))
}

fn fingerprint(token: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    key
}

/// What a client shows to get a token.
#[derive(Clone, Copy)]
pub enum TokenGrantType<'a> {
    /// Nothing: the token is nobody's.
    Anonymous,
    /// A name with a password, a robot token, or a token of a provider.
    Basic {
        /// Name.
        username: &'a str,
        /// Password or token.
        password: &'a str,
    },
    /// A refresh token that was given before.
    Refresh {
        /// It.
        token: &'a str,
    },
    /// A provider's token (RFC 8693).
    Exchange {
        /// It.
        subject_token: &'a str,
    },
    /// The certificate of the connection.
    Certificate,
}

impl std::fmt::Debug for TokenGrantType<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic",
            Self::Refresh { .. } => "Refresh",
            Self::Exchange { .. } => "Exchange",
            Self::Certificate => "Certificate",
        })
    }
}

impl TokenGrantType<'_> {
    /// What is shown instead of a refresh token, and could be an access token of ours.
    fn shown(&self) -> Option<&str> {
        match self {
            Self::Basic { password, .. } => Some(password),
            Self::Exchange { subject_token } => Some(subject_token),
            Self::Anonymous | Self::Refresh { .. } | Self::Certificate => None,
        }
    }
}

/// A request for a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenAsk<'a> {
    /// What is shown.
    pub grant: TokenGrantType<'a>,
    /// Whether the client wants to come back without showing it again.
    pub wants_refresh: bool,
    /// Who asks, as far as the connection tells.
    pub peer: Peer,
    /// The certificates of the connection.
    pub certificates: &'a [CertificateDer<'static>],
}

/// A token, and one to come back with.
#[derive(Debug)]
pub struct TokenGrant {
    /// Shown with requests.
    pub access: SecretString,
    /// Shown here to get another one.
    pub refresh: Option<SecretString>,
    /// How long the access token is good for.
    pub expires_in: Duration,
    /// When it was made.
    pub issued_at: Timestamp,
}

/// Why there is no token. No policy is ever a reason.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefusal {
    /// What was shown is wrong.
    #[error("{reason}")]
    Wrong {
        /// In one line.
        reason: String,
    },
    /// It cannot be checked now.
    #[error("{reason}")]
    CannotTell {
        /// In one line.
        reason: String,
        /// When to ask again.
        retry_after: Option<Duration>,
    },
}

impl From<IdentifyError> for TokenRefusal {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::Wrong { reason } => Self::Wrong { reason },
            IdentifyError::CannotTell { provider, reason } => Self::CannotTell {
                reason: format!("identity provider {provider} cannot be asked: {reason}"),
                retry_after: None,
            },
        }
    }
}

impl Plane {
    /// Gives a token to whoever shows who they are. What they may do is not judged here.
    ///
    /// # Errors
    /// When what is shown is wrong, or cannot be checked now.
    pub async fn issue_token(&self, ask: TokenAsk<'_>) -> Result<TokenGrant, TokenRefusal> {
        let (core, now) = (&self.core, self.core.shelf.clock.now());
        let view = core.view();
        let identity = match ask.grant {
            TokenGrantType::Anonymous => None,
            TokenGrantType::Basic { username, password } => {
                let presented = Presented::Basic { username, password };
                Some(core.tokens.identified(&view, &presented, now).await?)
            }
            TokenGrantType::Exchange { subject_token } => {
                core.tokens.bearer(&view, subject_token, now).await?
            }
            TokenGrantType::Certificate => {
                let presented = Presented::Certificate(ask.certificates);
                Some(core.tokens.identified(&view, &presented, now).await?)
            }
            TokenGrantType::Refresh { token } => {
                let identity = core.tokens.keys.verify_refresh(token, SERVICE, now)?;
                vouched(&view, &identity)?;
                view.providers.revalidate(&identity, now).await?;
                Some(Arc::new(identity))
            }
        };
        let access = core.tokens.keys.issue(identity.as_deref(), SERVICE, now, ACCESS_LIFETIME)?;
        let is_own = ask.grant.shown().is_some_and(|shown| core.tokens.keys.is_ours(shown));
        let is_wanted = ask.wants_refresh && !is_own;
        let may_come_back = identity.as_deref().filter(|it| is_wanted && comes_back(it));
        let refresh = match (&ask.grant, may_come_back) {
            // The one that was shown is good until its end, and no longer.
            (TokenGrantType::Refresh { token }, _) => Some(SecretString::from((*token).to_owned())),
            (_, Some(identity)) => {
                Some(core.tokens.keys.issue_refresh(identity, SERVICE, now, REFRESH_LIFETIME)?)
            }
            (_, None) => None,
        };
        let (expires_in, access) = (access.lifetime, access.text);
        Ok(TokenGrant { access, refresh, expires_in, issued_at: now })
    }

    /// The public keys of our tokens, as a JWK set (RFC 7517).
    pub fn token_keys(&self) -> serde_json::Value {
        self.core.tokens.keys.jwks()
    }

    /// How people can log in by a browser.
    pub fn login_offers(&self) -> Vec<identity::LoginOffer> {
        self.core.view().providers.login_offers()
    }

    /// Who shows this, for what is not of the distribution API.
    pub(crate) async fn caller(
        &self,
        peer: Peer,
        credentials: &Credentials<'_>,
    ) -> Result<policy::Caller, crate::Refusal> {
        let view = self.core.view();
        let principal = pipeline::principal(&self.core, &view, peer, credentials).await?;
        Ok(view.governance.environments.settle(principal, policy::Said::default())?)
    }
}

/// Whether somebody may come back without showing a credential again. Service accounts and nodes get a
/// new one all the time, and must not outlive it.
fn comes_back(identity: &Identity) -> bool {
    matches!(identity.kind(), PrincipalKind::User | PrincipalKind::CI)
}
