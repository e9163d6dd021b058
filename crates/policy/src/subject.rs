//! Whom a document speaks of, by what a verified identity says.

use crate::identity::{Identity, attribute};
use crate::{Network, Principal, PrincipalKind, TextPattern};

/// Whom a rule speaks of.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Who.
    pub who: Who,
    /// Networks the client's address must lie in; empty: from anywhere.
    pub networks: Vec<Network>,
}

/// Who, by kind; a pattern that is left out fits everything.
#[derive(Clone, Debug, PartialEq)]
pub enum Who {
    /// Anyone, whoever they are.
    Anonymous,
    /// Anyone on a loopback listener: the built-in access when no `AccessPolicy` exists.
    Loopback,
    /// Anyone a provider vouches for.
    Authenticated,
    /// People of this name.
    User {
        /// Their name.
        name: Option<TextPattern>,
    },
    /// Whoever is in this group.
    Group {
        /// The group.
        name: TextPattern,
    },
    /// Kubernetes service accounts.
    ServiceAccount {
        /// Of this cluster.
        cluster: Option<TextPattern>,
        /// In this namespace.
        namespace: Option<TextPattern>,
        /// Of this name (without its namespace).
        name: Option<TextPattern>,
    },
    /// Nodes.
    Node {
        /// Of this cluster.
        cluster: Option<TextPattern>,
    },
    /// SPIFFE workloads.
    Workload {
        /// With this id.
        spiffe_id: Option<TextPattern>,
    },
    /// CI jobs.
    CI {
        /// Vouched for by this issuer.
        issuer: Option<TextPattern>,
        /// Of this source repository.
        repository: Option<TextPattern>,
        /// On this git ref.
        reference: Option<TextPattern>,
    },
}

impl Subject {
    /// A subject from anywhere.
    pub fn new(who: Who) -> Self {
        Self { who, networks: Vec::new() }
    }

    /// Whether it speaks of the principal.
    pub fn covers(&self, principal: &Principal) -> bool {
        self.is_from_there(principal) && self.who.covers(principal)
    }

    fn is_from_there(&self, principal: &Principal) -> bool {
        self.networks.is_empty()
            || principal
                .address()
                .is_some_and(|address| self.networks.iter().any(|net| net.contains(address)))
    }
}

impl Who {
    fn covers(&self, principal: &Principal) -> bool {
        match self {
            Self::Anonymous => return true,
            Self::Loopback => return principal.is_local(),
            _ => {}
        }
        let Some(identity) = principal.identity() else { return false };
        let is = |kind| identity.kind() == kind;
        match self {
            Self::Anonymous | Self::Loopback | Self::Authenticated => true,
            Self::User { name } => is(PrincipalKind::User) && fits(name, identity.name()),
            Self::Group { name } => identity.groups().iter().any(|group| name.matches(group)),
            Self::ServiceAccount { cluster, namespace, name } => {
                is(PrincipalKind::ServiceAccount)
                    && has(cluster, identity, attribute::CLUSTER)
                    && has(namespace, identity, attribute::NAMESPACE)
                    && has(name, identity, attribute::SERVICE_ACCOUNT)
            }
            Self::Node { cluster } => {
                is(PrincipalKind::Node) && has(cluster, identity, attribute::CLUSTER)
            }
            Self::Workload { spiffe_id } => {
                is(PrincipalKind::Workload) && has(spiffe_id, identity, attribute::SPIFFE_ID)
            }
            Self::CI { issuer, repository, reference } => {
                is(PrincipalKind::CI)
                    && fits(issuer, identity.issuer())
                    && has(repository, identity, attribute::REPOSITORY)
                    && has(reference, identity, attribute::REF)
            }
        }
    }
}

fn fits(pattern: &Option<TextPattern>, text: &str) -> bool {
    pattern.as_ref().is_none_or(|pattern| pattern.matches(text))
}

/// An attribute that is not there fits no pattern.
fn has(pattern: &Option<TextPattern>, identity: &Identity, name: &str) -> bool {
    pattern
        .as_ref()
        .is_none_or(|pattern| identity.attribute(name).is_some_and(|text| pattern.matches(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn text(pattern: &str) -> Option<TextPattern> {
        Some(TextPattern::parse(pattern).unwrap())
    }

    fn principal(identity: Identity) -> Principal {
        Principal::identified(Arc::new(identity), Some("10.1.2.3".parse().unwrap()), false)
    }

    fn web(cluster: &str) -> Principal {
        let name = "system:serviceaccount:shop-eu:web";
        let identity = Identity::new(PrincipalKind::ServiceAccount, "p", "iss", name)
            .with_attribute(attribute::CLUSTER, cluster)
            .with_attribute(attribute::NAMESPACE, "shop-eu")
            .with_attribute(attribute::SERVICE_ACCOUNT, "web");
        principal(identity)
    }

    fn account(cluster: &str, namespace: &str, name: Option<&str>) -> Subject {
        Subject::new(Who::ServiceAccount {
            cluster: text(cluster),
            namespace: text(namespace),
            name: name.and_then(text),
        })
    }

    #[test]
    fn service_accounts_are_told_by_cluster_namespace_and_name() {
        assert!(account("prod-eu", "shop-*", None).covers(&web("prod-eu")));
        assert!(account("prod-*", "shop-eu", Some("web")).covers(&web("prod-eu")));
        assert!(!account("prod-eu", "shop-*", None).covers(&web("prod-us")));
        assert!(!account("prod-eu", "shop", None).covers(&web("prod-eu")));
        assert!(!account("prod-eu", "shop-*", Some("we")).covers(&web("prod-eu")));
    }

    #[test]
    fn a_kind_is_not_another_and_anonymous_is_nobody() {
        let anonymous = Principal::anonymous("10.1.2.3".parse().unwrap(), true);
        let user = principal(Identity::new(PrincipalKind::User, "p", "iss", "web"));
        for subject in [
            Subject::new(Who::Authenticated),
            Subject::new(Who::Node { cluster: None }),
            Subject::new(Who::Workload { spiffe_id: None }),
            Subject::new(Who::CI { issuer: None, repository: None, reference: None }),
            Subject::new(Who::User { name: None }),
            Subject::new(Who::Group { name: TextPattern::parse("**").unwrap() }),
        ] {
            assert!(!subject.covers(&anonymous), "{subject:?}");
            let is_for_users = matches!(subject.who, Who::Authenticated | Who::User { .. });
            assert_eq!(subject.covers(&user), is_for_users, "{subject:?}");
        }
        assert!(Subject::new(Who::Anonymous).covers(&user), "what is open to all is open to some");
    }

    #[test]
    fn ci_jobs_are_told_by_issuer_repository_and_ref() {
        let job = Identity::new(PrincipalKind::CI, "gh", "https://token.example", "repo:corp/app")
            .with_attribute(attribute::REPOSITORY, "corp/app")
            .with_attribute(attribute::REF, "refs/tags/v1");
        let job = principal(job);
        let ci = |issuer: &str, repository: &str, reference: &str| {
            let (issuer, repository, reference) = (text(issuer), text(repository), text(reference));
            Subject::new(Who::CI { issuer, repository, reference }).covers(&job)
        };
        assert!(ci("https://token.example", "corp/*", "refs/tags/v*"));
        assert!(!ci("https://token.example", "*", "refs/**"), "a star stays in its segment");
        assert!(!ci("https://other.example", "corp/*", "refs/tags/v*"));
        assert!(!ci("https://token.example", "corp/*", "refs/heads/*"));
    }

    #[test]
    fn networks_narrow_any_subject() {
        let mut subject = Subject::new(Who::Authenticated);
        subject.networks = vec![Network::parse("10.2.0.0/16").unwrap()];
        assert!(!subject.covers(&web("prod-eu")));
        subject.networks = vec![Network::parse("10.1.0.0/16").unwrap()];
        assert!(subject.covers(&web("prod-eu")));
    }
}
