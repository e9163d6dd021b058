//! A verified identity: who somebody vouched for, and what the vouching says.
//!
//! `identity` (the crate) makes these from credentials; here is what decisions need of them.

use crate::{Action, NamePattern, PrincipalKind};
use jiff::Timestamp;
use oci::Name;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Attributes with a fixed meaning; others are free.
pub mod attribute {
    /// The cluster of a service account or node.
    pub const CLUSTER: &str = "cluster";
    /// The Kubernetes namespace.
    pub const NAMESPACE: &str = "namespace";
    /// The service account's own name.
    pub const SERVICE_ACCOUNT: &str = "serviceAccount";
    /// `spiffe://<trust domain>/<path>`.
    pub const SPIFFE_ID: &str = "spiffeId";
    /// The source repository of a CI job.
    pub const REPOSITORY: &str = "repository";
    /// The git ref of a CI job.
    pub const REF: &str = "ref";
    /// What the artifact is asked for; see [`Purpose`](crate::Purpose).
    pub const PURPOSE: &str = "purpose";
}

/// Who a provider vouched for. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    kind: PrincipalKind,
    provider: String,
    issuer: String,
    name: String,
    groups: Vec<String>,
    attributes: BTreeMap<String, String>,
    scope: Option<TokenScope>,
    expires: Option<Timestamp>,
    key: Arc<str>,
}

/// What a robot token may be used for: narrows what access allows, never widens it.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenScope {
    /// Any of these actions.
    pub actions: Vec<Action>,
    /// Under names that fit any of these; empty: all.
    pub repositories: Vec<NamePattern>,
}

impl TokenScope {
    /// Whether the token may be used for an action, under a name if there is one.
    pub fn covers(&self, action: Action, name: Option<&Name>) -> bool {
        self.actions.contains(&action)
            && (self.repositories.is_empty()
                || name.is_none_or(|name| self.repositories.iter().any(|it| it.matches(name))))
    }
}

impl Identity {
    /// An identity that `provider` (the name of an `IdentityProvider`) vouches for.
    pub fn new(kind: PrincipalKind, provider: &str, issuer: &str, name: &str) -> Self {
        Self {
            kind,
            provider: provider.to_owned(),
            issuer: issuer.to_owned(),
            name: name.to_owned(),
            groups: Vec::new(),
            attributes: BTreeMap::new(),
            scope: None,
            expires: None,
            key: format!("{}:{provider}:{name}", kind.as_str()).into(),
        }
    }

    /// With groups.
    #[must_use]
    pub fn with_groups(mut self, groups: Vec<String>) -> Self {
        self.groups = groups;
        self
    }

    /// With one attribute more; see [`attribute`].
    #[must_use]
    pub fn with_attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With attributes.
    #[must_use]
    pub fn with_attributes(mut self, attributes: BTreeMap<String, String>) -> Self {
        self.attributes.extend(attributes);
        self
    }

    /// Narrowed to what a robot token may be used for.
    #[must_use]
    pub fn with_scope(mut self, scope: Option<TokenScope>) -> Self {
        self.scope = scope;
        self
    }

    /// Good until then: the end of the credential that was shown.
    #[must_use]
    pub fn with_expires(mut self, expires: Option<Timestamp>) -> Self {
        self.expires = expires;
        self
    }

    /// What it is.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The `IdentityProvider` that vouched.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Who issued the credential: the `iss` of a token, else the provider's name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What it is called: `system:serviceaccount:shop:web`, `alice@corp.example`, a SPIFFE id, ….
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The groups it is in.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// All attributes.
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    /// One attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// What its robot token is narrowed to.
    pub fn scope(&self) -> Option<&TokenScope> {
        self.scope.as_ref()
    }

    /// When the credential that was shown ends.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// `<kind>:<provider>:<name>`: tells principals apart.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn shared_key(&self) -> Arc<str> {
        self.key.clone()
    }
}
