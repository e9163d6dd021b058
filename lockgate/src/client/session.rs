//! Who a command is at a plane that it asks by URL: the token in LOCKGATE_TOKEN, else the login that
//! `lockgate login` kept, else nobody.
//!
//! It exists so that commands that run longer than an access token lives (`export`, `import`) get the next
//! one without knowing of it.

use super::tokens::{Grant, Refused, TokenEndpoint};
use crate::exit::Failure;
use crate::flags::PlaneFlags;
use crate::logins::{Entry, Logins, Server};
use jiff::Timestamp;
use secrecy::SecretString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use url::Url;

/// An access token is not used for so long before its end: it has to arrive, and clocks differ.
const SPARE: Duration = Duration::from_secs(30);

/// Who a command is.
#[derive(Clone)]
pub(super) enum Session {
    Nobody,
    /// A token that was given as it is.
    Given(SecretString),
    /// A login.
    Login(Arc<Kept>),
}

/// A login, and the access token that it last gave.
pub(super) struct Kept {
    entry: Entry,
    server: Server,
    endpoint: TokenEndpoint,
    access: Mutex<Option<Access>>,
}

struct Access {
    token: SecretString,
    until: Instant,
}

impl Session {
    /// At a plane. Asks nothing yet.
    pub(super) fn at(plane: &Url, ca_file: Option<&Path>) -> Result<Self, Failure> {
        if let Some(token) = PlaneFlags::token() {
            return Ok(Self::Given(token));
        }
        let server = Server::of(plane)?;
        let logins = Logins::read()?;
        let Some(entry) = logins.get(&server).filter(|entry| entry.is_for(plane)) else {
            return Ok(Self::Nobody);
        };
        let told = entry.login.as_ref().map(|login| login.token_endpoint.clone());
        let mut endpoint = plane.clone();
        endpoint.set_path("/token");
        let endpoint = told.filter(|url| url.origin() == plane.origin()).unwrap_or(endpoint);
        let endpoint = TokenEndpoint::at(&endpoint, ca_file)?;
        let (entry, access) = (entry.clone(), Mutex::new(None));
        Ok(Self::Login(Arc::new(Kept { entry, server, endpoint, access })))
    }

    /// The token to show with a request now.
    pub(super) async fn token(&self) -> Result<Option<SecretString>, Failure> {
        match self {
            Self::Nobody => Ok(None),
            Self::Given(token) => Ok(Some(token.clone())),
            Self::Login(kept) => kept.token().await.map(Some),
        }
    }
}

impl Kept {
    async fn token(&self) -> Result<SecretString, Failure> {
        let mut held = self.access.lock().await;
        if let Some(access) = held.as_ref().filter(|access| Instant::now() < access.until) {
            return Ok(access.token.clone());
        }
        let server = self.server.as_str();
        if self.entry.has_ended(Timestamp::now()) {
            return Err(self.entry.ended(server));
        }
        let secret = &self.entry.secret;
        let grant = match self.entry.is_identity_token() {
            true => Grant::Refresh { token: secret },
            false => Grant::Password { username: &self.entry.username, password: secret },
        };
        let granted = self.endpoint.grant(grant, false).await.map_err(|refused| match refused {
            Refused::Wrong(why) => self.entry.refused(server, &why),
            Refused::Other(failure) => failure,
        })?;
        let (token, lifetime) = granted.access();
        let until = Instant::now() + lifetime.saturating_sub(SPARE);
        *held = Some(Access { token: token.clone(), until });
        Ok(token)
    }
}
