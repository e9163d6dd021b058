//! An identity as it stands in a token.

use jiff::Timestamp;
use policy::{Action, Identity, NamePattern, PrincipalKind, TokenScope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An identity as it stands in a token.
#[derive(Serialize, Deserialize)]
pub(super) struct WireIdentity {
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

/// As it stands in a token.
pub(super) fn wire(identity: &Identity) -> WireIdentity {
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

/// From a token. `None`: it says something that we do not know, and so cannot keep to.
pub(super) fn read(wire: WireIdentity) -> Option<Identity> {
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
