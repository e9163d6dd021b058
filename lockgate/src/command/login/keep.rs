//! The end of every login: what was shown goes to the plane, and what comes back is kept.

use super::{At, Grant};
use crate::client::tokens::{Refused, TokenEndpoint, end_of};
use crate::exit::Failure;
use crate::logins::{Entry, IDENTITY_TOKEN, Login, Logins, Server};
use crate::output::{self, relative, say};
use jiff::Timestamp;
use secrecy::SecretString;

/// The user name beside a token that is shown as a password: the plane does not look at it.
const TOKEN_USERNAME: &str = "token";

/// What is shown to the plane.
pub(super) enum Shown {
    /// A name, with a password or a robot token.
    Password { username: String, password: SecretString },
    /// A token of an identity provider.
    Token(SecretString),
}

/// Shows it to the plane and keeps what comes back; the registry it is kept for.
pub(super) async fn exchange(at: &At, shown: Shown) -> Result<Server, Failure> {
    let endpoint = TokenEndpoint::at(at.discovery.token_endpoint(), at.ca_file.as_deref())?;
    let grant = match &shown {
        Shown::Password { username, password } => Grant::Password { username, password },
        Shown::Token(token) => Grant::Exchange { subject_token: token },
    };
    let plane = &at.plane;
    let granted = endpoint.grant(grant, true).await.map_err(|refused| {
        let is_wrong = matches!(refused, Refused::Wrong(_));
        let failure = refused.failure(&format!("{plane} refuses the login"));
        match (is_wrong, &shown) {
            (true, Shown::Token(_)) => failure.hint(
                "an IdentityProvider must name the token's issuer and its audience (for --ci: --audience)",
            ),
            _ => failure,
        }
    })?;
    let server = Server::of(plane)?;
    let holder = granted.holder();
    let (username, secret) = match (granted.refresh(), shown) {
        (Some(refresh), _) => (IDENTITY_TOKEN.to_owned(), refresh),
        // Who has a token of their own all the time (a service account, a node) comes back with that.
        (None, Shown::Password { username, password }) => (username, password),
        (None, Shown::Token(token)) => (TOKEN_USERNAME.to_owned(), token),
    };
    let who = holder.as_ref().map_or_else(|| "somebody".to_owned(), |holder| holder.text());
    let expires = end_of(&secret);
    let login = Login {
        plane: plane.clone(),
        token_endpoint: at.discovery.token_endpoint().clone(),
        who: who.clone(),
        provider: holder.map(|holder| holder.provider),
        expires,
    };
    let entry = Entry { server: server.as_str().to_owned(), username, secret, login: Some(login) };
    Logins::change(|logins| logins.put(&server, entry))?;
    say(&format!(
        "{} at {plane}: you are {who}{}",
        output::paint(output::GREEN, "logged in"),
        until(expires)
    ));
    Ok(server)
}

fn until(expires: Option<Timestamp>) -> String {
    let Some(at) = expires else { return String::new() };
    format!(", until {at:.0} ({})", relative(at, Timestamp::now()))
}
