//! Stage 1, identify: who asks, and in which setting (contracts §2).
//!
//! The data directory's socket is the operator's. Else what the client shows is checked: one of our
//! own tokens, or what an `IdentityProvider` vouches for. Where providers exist and nothing is shown,
//! the client is asked for it; anonymous is then who says so with a token. Where none exists, everyone
//! is anonymous and only their address is known.

use crate::ask::{Ask, Credentials, Peer};
use crate::plane::Core;
use crate::refusal::Refusal;
use crate::view::View;
use identity::{Authorization, IdentifyError, Presented};
use policy::{Caller, Identity, Principal, Said};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Who asks, in which setting.
pub(crate) async fn identify(
    core: &Arc<Core>,
    view: &View,
    ask: &Ask<'_>,
) -> Result<Caller, Refusal> {
    let principal = principal(core, view, ask.peer, &ask.credentials).await?;
    let host = ask.host.map(without_port);
    let said = Said { host, environment: ask.wishes.environment, purpose: ask.wishes.purpose };
    Ok(view.governance.environments.settle(principal, said)?)
}

/// Who asks.
pub(crate) async fn principal(
    core: &Arc<Core>,
    view: &View,
    peer: Peer,
    credentials: &Credentials<'_>,
) -> Result<Principal, Refusal> {
    if peer.is_operator {
        return Ok(Principal::operator());
    }
    let by = |identity| Principal::identified(identity, peer.address, is_local(peer));
    match credentials.authorization {
        // Who has no way to find out who asks does not judge what is shown: clients send what their
        // configuration holds for the host.
        _ if view.providers.is_empty() => Ok(anonymous(peer)),
        Some(header) => match shown(core, view, header).await? {
            Some(identity) => Ok(by(identity)),
            None => Ok(anonymous(peer)),
        },
        None => match by_certificate(core, view, credentials).await? {
            Some(identity) => Ok(by(identity)),
            None => Err(Refusal::Unauthorized {
                reason: "say who asks: log in, or take an anonymous token".to_owned(),
            }),
        },
    }
}

/// What the header `Authorization` shows; `None`: an anonymous token.
async fn shown(
    core: &Arc<Core>,
    view: &View,
    header: &str,
) -> Result<Option<Arc<Identity>>, Refusal> {
    let now = core.shelf.clock.now();
    match Authorization::parse(header).map_err(|error| wrong(&error.to_string()))? {
        Authorization::Bearer(token) => Ok(core.tokens.bearer(view, token, now).await?),
        Authorization::Basic { username, password } => {
            let presented = Presented::Basic { username: &username, password: &password };
            Ok(Some(core.tokens.identified(view, &presented, now).await?))
        }
    }
}

/// Who the certificate of the connection belongs to. One that nobody vouches for says nothing: many
/// connections come through a mesh that has its own.
async fn by_certificate(
    core: &Arc<Core>,
    view: &View,
    credentials: &Credentials<'_>,
) -> Result<Option<Arc<Identity>>, Refusal> {
    if credentials.certificates.is_empty() {
        return Ok(None);
    }
    let presented = Presented::Certificate(credentials.certificates);
    match core.tokens.identified(view, &presented, core.shelf.clock.now()).await {
        Ok(identity) => Ok(Some(identity)),
        Err(IdentifyError::Wrong { reason }) => {
            tracing::debug!(%reason, "a client certificate identifies nobody");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn anonymous(peer: Peer) -> Principal {
    // An address that is not known lies in no network anybody would allow.
    let address = peer.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    Principal::anonymous(address, is_local(peer))
}

fn is_local(peer: Peer) -> bool {
    peer.is_loopback && peer.address.is_some()
}

/// The host alone; an address of six is written in brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn wrong(reason: &str) -> Refusal {
    Refusal::Unauthorized { reason: reason.to_owned() }
}

impl From<IdentifyError> for Refusal {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::Wrong { reason } => Self::Unauthorized { reason },
            IdentifyError::CannotTell { provider, reason } => Self::Indeterminate {
                reason: format!("identity provider {provider} cannot be asked: {reason}"),
                retry_after: None,
                is_rate_limit: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_port() {
        for (host, alone) in [
            ("dev.example:5050", "dev.example"),
            ("dev.example", "dev.example"),
            ("[::1]:5050", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(host), alone);
        }
    }
}
