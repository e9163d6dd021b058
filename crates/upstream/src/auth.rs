//! What to show a registry so that it lets us in: from its challenge and our credential to an
//! `Authorization` header.

use crate::challenge::Challenge;
use crate::credentials::{Login, Resolved};
use crate::dance::Dance;
use crate::endpoint::Endpoint;
use crate::failure::{Failure, FailureKind, Trouble};
use crate::origin;
use crate::redirect::judge_realm;
use crate::token::{Token, TokenKey};
use crate::upstream::Shared;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use url::Url;

/// A header to send, and what is known of where it came from.
#[derive(Debug)]
pub(crate) struct Authorization {
    /// Marked as sensitive, so that it is never printed.
    pub(crate) header: HeaderValue,
    pub(crate) source: Source,
}

/// Where an `Authorization` came from: what may be done when it is refused.
#[derive(Debug)]
pub(crate) enum Source {
    /// A token from a token service.
    Token {
        key: Box<TokenKey>,
        token: Arc<Token>,
        /// Got for this very request.
        is_fresh: bool,
    },
    /// A login that may have ended; getting it again may help.
    ShortLived,
    /// A login that stays what it is.
    Lasting,
}

/// A credential as it bears on one request.
pub(crate) struct Bearing {
    /// Index of the credential, if one covers the name.
    pub(crate) credential: Option<usize>,
    pub(crate) resolved: Option<Resolved>,
    /// The scope to ask for.
    pub(crate) scope: Option<String>,
}

impl Bearing {
    /// What our credentials say for a name of the upstream at this endpoint.
    pub(crate) async fn of(
        shared: &Shared,
        endpoint: &Endpoint,
        credential: Option<usize>,
        scope: Option<String>,
    ) -> Result<Self, Failure> {
        let resolved = match credential {
            None => None,
            Some(index) => {
                let resolved = shared.credentials.resolve(index, &endpoint.authority).await;
                resolved.map_err(|trouble| {
                    let prefix = shared.credentials.scope(index);
                    unusable(endpoint, &prefix, &trouble)
                })?
            }
        };
        Ok(Self { credential, resolved, scope })
    }

    fn login(&self) -> Option<&Login> {
        self.resolved.as_ref().map(|resolved| &resolved.login)
    }
}

/// What to send before the registry has asked: a fixed token at once, else what its last challenge
/// asked for, else nothing.
pub(crate) async fn ahead(
    shared: &Shared,
    endpoint: &Endpoint,
    bearing: &Bearing,
) -> Result<Option<Authorization>, Failure> {
    if let Some(Login::Token(token)) = bearing.login() {
        return bearer(endpoint, token, Source::ShortLived).map(Some);
    }
    match endpoint.challenge() {
        Some(challenge) => answer(shared, endpoint, bearing, &challenge, None).await,
        None => Ok(None),
    }
}

/// Which of several challenges to meet: a token keeps the password from the registry itself.
pub(crate) fn choose<'a>(challenges: &'a [Challenge], bearing: &Bearing) -> Option<&'a Challenge> {
    let bearer = challenges.iter().find(|one| matches!(one, Challenge::Bearer { .. }));
    let can_basic = matches!(bearing.login(), Some(Login::Password { .. }));
    let basic = challenges.iter().find(|one| **one == Challenge::Basic).filter(|_| can_basic);
    bearer.or(basic)
}

/// Meets a challenge. `None` when we have nothing to meet it with.
async fn answer_once(
    shared: &Shared,
    endpoint: &Endpoint,
    bearing: &Bearing,
    challenge: &Challenge,
    rejected: Option<&Token>,
) -> Result<Option<Authorization>, Failure> {
    match (challenge, bearing.login()) {
        (_, Some(Login::Token(token))) => bearer(endpoint, token, Source::ShortLived).map(Some),
        (Challenge::Basic, Some(Login::Password { username, password })) => {
            let is_short_lived = bearing.resolved.as_ref().is_some_and(|r| r.is_short_lived);
            let source = if is_short_lived { Source::ShortLived } else { Source::Lasting };
            basic(endpoint, username, password, source).map(Some)
        }
        (Challenge::Basic, _) => Ok(None),
        (Challenge::Bearer { realm, service, .. }, login) => {
            let settings = &shared.settings;
            let realm = judge_realm(realm, &endpoint.url, settings)
                .map_err(|text| outside(endpoint, &text))?;
            let resolved = bearing.resolved.as_ref();
            let key = TokenKey {
                audience: origin::shown(&endpoint.url),
                realm: realm.to_string(),
                service: service.clone(),
                scope: bearing.scope.clone(),
                credential: bearing.credential.zip(resolved.map(|resolved| resolved.version)),
            };
            token(shared, endpoint, key, realm, login.cloned(), rejected).await.map(Some)
        }
    }
}

/// Meets a challenge; a login that may have ended, and that the token service does not take, is got
/// again once.
pub(crate) async fn answer(
    shared: &Shared,
    endpoint: &Endpoint,
    bearing: &Bearing,
    challenge: &Challenge,
    rejected: Option<&Token>,
) -> Result<Option<Authorization>, Failure> {
    let failure = match answer_once(shared, endpoint, bearing, challenge, rejected).await {
        Err(failure) if failure.kind() == FailureKind::Denied => failure,
        other => return other,
    };
    // A refusal that is only remembered names its end; it was acted upon when it was new.
    let is_new = failure.retry_after().is_none();
    let (Some(index), Some(resolved), true) = (bearing.credential, &bearing.resolved, is_new)
    else {
        return Err(failure);
    };
    if !resolved.is_short_lived {
        return Err(failure);
    }
    shared.credentials.forget(index, &endpoint.authority).await;
    let fresh = Bearing::of(shared, endpoint, bearing.credential, bearing.scope.clone()).await?;
    if fresh.resolved.as_ref().is_none_or(|fresh| fresh.version == resolved.version) {
        return Err(failure);
    }
    answer_once(shared, endpoint, &fresh, challenge, rejected).await
}

/// An anonymous token for a server that a redirect led to: its own scope, none of our credentials.
pub(crate) async fn answer_elsewhere(
    shared: &Shared,
    endpoint: &Endpoint,
    url: &Url,
    challenges: &[Challenge],
) -> Result<Option<Authorization>, Failure> {
    let bearer = challenges.iter().find_map(|one| match one {
        Challenge::Bearer { realm, service, scope, .. } => Some((realm, service, scope)),
        Challenge::Basic => None,
    });
    let Some((realm, service, scope)) = bearer else { return Ok(None) };
    let realm =
        judge_realm(realm, url, &shared.settings).map_err(|text| outside(endpoint, &text))?;
    let key = TokenKey {
        audience: origin::shown(url),
        realm: realm.to_string(),
        service: service.clone(),
        scope: scope.clone(),
        credential: None,
    };
    token(shared, endpoint, key, realm, None, None).await.map(Some)
}

/// A credential that cannot be had: who asks hears that and no more, operators hear all of it.
fn unusable(endpoint: &Endpoint, prefix: &str, trouble: &Trouble) -> Failure {
    let label = endpoint.label();
    let told = match trouble {
        Trouble::Told(text) => format!("{label}: credential for {prefix}: {text}"),
        Trouble::Inner(_) => {
            format!("{label}: the credential for {prefix} cannot be read; see the log of the plane")
        }
    };
    Failure::indeterminate(told)
        .with_detail(format!("{label}: credential for {prefix}: {}", trouble.detail()))
        .blameless()
}

fn outside(endpoint: &Endpoint, text: &str) -> Failure {
    Failure::indeterminate(format!("{} {text}", endpoint.label())).blameless()
}

async fn token(
    shared: &Shared,
    endpoint: &Endpoint,
    key: TokenKey,
    realm: Url,
    login: Option<Login>,
    rejected: Option<&Token>,
) -> Result<Authorization, Failure> {
    let client = shared.client(endpoint).await?;
    let dance = Dance {
        client,
        label: format!("{}: its token service {}", endpoint.label(), origin::authority(&realm)),
        realm,
        service: key.service.clone(),
        scope: key.scope.clone(),
        login,
        first_byte: shared.settings.timeouts.first_byte,
    };
    let got = shared.tokens.get(&key, rejected, || dance.dance()).await?;
    let (token, is_fresh) = (got.token, got.is_fresh);
    let source = Source::Token { key: Box::new(key), token: token.clone(), is_fresh };
    bearer(endpoint, &token.value, source)
}

fn bearer(
    endpoint: &Endpoint,
    token: &SecretString,
    source: Source,
) -> Result<Authorization, Failure> {
    let text = SecretString::from(format!("Bearer {}", token.expose_secret()));
    header(endpoint, &text, source)
}

fn basic(
    endpoint: &Endpoint,
    username: &str,
    password: &SecretString,
    source: Source,
) -> Result<Authorization, Failure> {
    let pair = SecretString::from(format!("{username}:{}", password.expose_secret()));
    let encoded = crate::base64::encode(pair.expose_secret().as_bytes());
    header(endpoint, &SecretString::from(format!("Basic {encoded}")), source)
}

fn header(
    endpoint: &Endpoint,
    text: &SecretString,
    source: Source,
) -> Result<Authorization, Failure> {
    let mut header = HeaderValue::from_str(text.expose_secret()).map_err(|_| {
        let label = endpoint.label();
        Failure::indeterminate(format!("{label}: the credential cannot stand in a header"))
            .blameless()
    })?;
    header.set_sensitive(true);
    Ok(Authorization { header, source })
}
