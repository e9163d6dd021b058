//! Everything that resources determine, as one immutable value (contracts §6).
//!
//! A request takes the view once and uses no other. A new revision makes a whole new view beside
//! it; upstreams whose settings did not change are carried over with their tokens, limits and
//! health.

mod access;
mod environments;
mod outranking;
mod policies;
mod providers;
mod repository;
mod rules;
mod store;
mod upstreams;
mod virtuals;

use crate::candidates::Asking;
use crate::places::StorePlace;
use crate::routes::Routes;
use identity::Providers;
use jiff::Timestamp;
use oci::{Digest, Name, Reference, Tag};
use policy::{Action, Caller, Governance, Object, Principal, Setting};
use resources::{Problems, Set};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use telemetry::Metrics;
use upstream::Upstream;

pub(crate) use repository::{Hosted, Kind, Remote, Repository};
pub(crate) use rules::Retention;
#[cfg(test)]
pub(crate) use rules::Untagged;
pub(crate) use virtuals::{Member, Virtual};

/// What is in force.
pub struct View {
    pub(crate) revision: Digest,
    pub(crate) source: String,
    pub(crate) activated: Timestamp,
    pub(crate) set: Arc<Set>,
    pub(crate) routes: Routes,
    /// Everything that decides.
    pub(crate) governance: Governance,
    /// Who vouches for those who ask.
    pub(crate) providers: Providers,
    pub(crate) repositories: Vec<Arc<Repository>>,
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// Where blobs are written; `None`: in the data directory.
    pub(crate) store: Option<StorePlace>,
    /// Counts views; a body that is being sent looks whether it moved.
    pub(crate) generation: u64,
}

impl View {
    /// Builds the view of a set. `before`: the view whose live state is carried over.
    pub(crate) fn build(
        set: Set,
        source: &str,
        at: Timestamp,
        before: Option<&View>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let upstreams = upstreams::build(&set, before, metrics, &mut problems);
        let mut repositories = Vec::new();
        for (document, spec) in set.repositories() {
            match Repository::new(document, spec, &upstreams, before) {
                Ok(repository) => repositories.push(Arc::new(repository)),
                Err(problem) => problems.push(*problem),
            }
        }
        let providers = providers::build(&set, before, metrics, &mut problems);
        let access = access::build(&set, &mut problems).with_providers(!providers.is_empty());
        let environments = environments::build(&set, &mut problems);
        let policies = policies::build(&set, &mut problems);
        let store = store::build(&set, before.is_none(), &mut problems);
        Problems::check(problems)?;
        Ok(Self {
            revision: set.revision(),
            source: source.to_owned(),
            activated: at,
            routes: Routes::new(&repositories),
            governance: Governance { access, environments, policies, revision: set.revision() },
            providers,
            set: Arc::new(set),
            repositories,
            upstreams,
            store,
            generation: before.map_or(1, |before| before.generation + 1),
        })
    }

    /// Builds the view of a set that nobody puts in force: to find what is wrong with it, or to ask
    /// its upstreams without a plane.
    pub fn check(set: Set) -> Result<Self, Problems> {
        let metrics = Metrics::new(telemetry::Registry::default(), "check", None);
        Self::build(set, "a check", Timestamp::now(), None, &metrics)
    }

    /// The clients of all upstreams, by name.
    pub fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.upstreams.values()
    }

    /// The digest of the documents in force.
    pub fn revision(&self) -> &Digest {
        &self.revision
    }

    /// Where they came from, in words.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The documents in force, built-in ones included.
    pub fn set(&self) -> &Set {
        &self.set
    }

    /// Whether a client at `address` may pull `name`, written as clients write it. `is_loopback`: by
    /// a loopback listener.
    pub fn lets_pull(&self, name: &str, address: IpAddr, is_loopback: bool) -> bool {
        self.lets(Action::Pull, name, address, is_loopback)
    }

    /// Whether a client at `address` may push to `name`, written as clients write it.
    pub fn lets_push(&self, name: &str, address: IpAddr, is_loopback: bool) -> bool {
        self.lets(Action::Push, name, address, is_loopback)
    }

    fn lets(&self, action: Action, name: &str, address: IpAddr, is_loopback: bool) -> bool {
        let Ok(found) = self.routes.locate(name, None, None) else { return false };
        let Ok(tag) = Tag::parse("latest") else { return false };
        let object = Object::Manifest(Reference::Tag(tag));
        let principal = Principal::anonymous(address, is_loopback);
        let caller = Caller::new(principal, Setting::default());
        let asking =
            Asking { governance: &self.governance, caller: &caller, now: Timestamp::now() };
        found.may_ask(asking, action, &object).is_ok()
    }

    /// The repository a canonical name belongs to.
    pub(crate) fn repository_of(&self, name: &Name) -> Option<&Arc<Repository>> {
        let first = name.segments().next()?;
        self.repositories.iter().find(|repository| repository.name().as_str() == first)
    }
}
