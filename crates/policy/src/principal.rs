//! Who asks. Anonymous is a principal too.

use crate::identity::{Identity, attribute};
use jiff::Timestamp;
use oci::{Digest, Name};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

/// What vouches for a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalKind {
    /// Nobody vouches; only the address is known.
    Anonymous,
    /// The peer of the data directory's own socket: whoever may open it may administer.
    Operator,
    /// The plane itself: revalidation, prefetch, refill.
    System,
    /// A person.
    User,
    /// A Kubernetes service account.
    ServiceAccount,
    /// A node of a cluster, where no service account speaks for it.
    Node,
    /// A SPIFFE workload.
    Workload,
    /// A CI job.
    CI,
}

impl PrincipalKind {
    /// The name as documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "Anonymous",
            Self::Operator => "Operator",
            Self::System => "System",
            Self::User => "User",
            Self::ServiceAccount => "ServiceAccount",
            Self::Node => "Node",
            Self::Workload => "Workload",
            Self::CI => "CI",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        const ALL: [PrincipalKind; 8] = [
            PrincipalKind::Anonymous,
            PrincipalKind::Operator,
            PrincipalKind::System,
            PrincipalKind::User,
            PrincipalKind::ServiceAccount,
            PrincipalKind::Node,
            PrincipalKind::Workload,
            PrincipalKind::CI,
        ];
        ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Who asks, and from where. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    who: Who,
    address: Option<IpAddr>,
    is_local: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Who {
    Anonymous,
    Operator,
    System,
    Identified(Arc<Identity>),
}

impl Principal {
    /// Somebody at `address`. `is_local`: the connection came in on a loopback listener and
    /// nobody trusted says that the client is elsewhere.
    pub fn anonymous(address: IpAddr, is_local: bool) -> Self {
        Self { who: Who::Anonymous, address: Some(address), is_local }
    }

    /// Somebody a provider vouches for.
    pub fn identified(identity: Arc<Identity>, address: Option<IpAddr>, is_local: bool) -> Self {
        Self { who: Who::Identified(identity), address, is_local }
    }

    /// Whoever may open the data directory's socket.
    pub fn operator() -> Self {
        Self { who: Who::Operator, address: None, is_local: true }
    }

    /// The plane itself.
    pub fn system() -> Self {
        Self { who: Who::System, address: None, is_local: true }
    }

    /// A stable text that tells principals apart, for what only the same one may go on with: an
    /// upload session, a lease. Whoever is anonymous is the same principal from every address, since
    /// clients behind proxies come from several.
    pub fn key(&self) -> &str {
        match &self.who {
            Who::Anonymous => "anonymous",
            Who::Operator => "operator",
            Who::System => "system",
            Who::Identified(identity) => identity.key(),
        }
    }

    /// [`Principal::key`], cheap to keep.
    pub fn shared_key(&self) -> Arc<str> {
        static NOBODY: LazyLock<[Arc<str>; 3]> =
            LazyLock::new(|| ["anonymous".into(), "operator".into(), "system".into()]);
        match &self.who {
            Who::Anonymous => NOBODY[0].clone(),
            Who::Operator => NOBODY[1].clone(),
            Who::System => NOBODY[2].clone(),
            Who::Identified(identity) => identity.shared_key(),
        }
    }

    /// All that rules can see of who asks: two with one digest have the same answers. For what is
    /// remembered of rules that look at who asks; [`Principal::key`] says less.
    pub fn fingerprint(&self) -> Digest {
        let mut text = format!("{:?}|{:?}|{}", self.kind(), self.address, self.key());
        if let Some(identity) = self.identity() {
            // `Debug` of texts is quoted: no value can pass for another's end.
            let of_identity = (identity.issuer(), identity.groups(), identity.attributes());
            text.push_str(&format!("|{of_identity:?}"));
        }
        Digest::sha256(text.as_bytes())
    }

    /// What vouches for it.
    pub fn kind(&self) -> PrincipalKind {
        match &self.who {
            Who::Anonymous => PrincipalKind::Anonymous,
            Who::Operator => PrincipalKind::Operator,
            Who::System => PrincipalKind::System,
            Who::Identified(identity) => identity.kind(),
        }
    }

    /// What a provider vouched for.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match &self.who {
            Who::Identified(identity) => Some(identity),
            _ => None,
        }
    }

    /// The cluster it belongs to, as its credential says.
    pub fn cluster(&self) -> Option<&str> {
        self.identity()?.attribute(attribute::CLUSTER)
    }

    /// When its credential ends.
    pub fn expires(&self) -> Option<Timestamp> {
        self.identity()?.expires()
    }

    /// Where it is, if it came over a network.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether it came by a loopback listener (or the socket).
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Whether its token, if it is narrowed to something, covers an action.
    pub(crate) fn is_in_scope(&self, action: crate::Action, name: Option<&Name>) -> bool {
        let scope = self.identity().and_then(|identity| identity.scope());
        scope.is_none_or(|scope| scope.covers(action, name))
    }
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.who, self.address) {
            (Who::Anonymous, Some(address)) => write!(f, "anonymous at {address}"),
            (Who::Anonymous, None) => f.write_str("anonymous"),
            (Who::Operator, _) => f.write_str("operator"),
            (Who::System, _) => f.write_str("system"),
            (Who::Identified(identity), _) => match identity.attribute(attribute::CLUSTER) {
                // The name alone is the same in every cluster.
                Some(cluster) => write!(f, "{} of {cluster}", identity.name()),
                None => f.write_str(identity.name()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_principals_apart_and_not_their_addresses() {
        let here = Principal::anonymous("10.1.2.3".parse().unwrap(), false);
        let there = Principal::anonymous("fd00::1".parse().unwrap(), true);
        assert_eq!(here.key(), there.key());
        let keys =
            [here.key(), Principal::operator().key(), Principal::system().key()].map(str::to_owned);
        assert_eq!(keys, ["anonymous", "operator", "system"]);
        let web = |cluster: &str| {
            let name = "system:serviceaccount:shop:web";
            let identity = Identity::new(PrincipalKind::ServiceAccount, cluster, "iss", name)
                .with_attribute(attribute::CLUSTER, cluster);
            Principal::identified(Arc::new(identity), None, false)
        };
        assert_ne!(web("prod-eu").key(), web("prod-us").key());
        assert_eq!(web("prod-eu").to_string(), "system:serviceaccount:shop:web of prod-eu");
    }
}
