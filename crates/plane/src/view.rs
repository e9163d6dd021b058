//! Everything that resources determine, as one immutable value (contracts §6).
//!
//! A request takes the view once and uses no other. A new revision makes a whole new view beside
//! it; upstreams whose settings did not change are carried over with their tokens, limits and
//! health.

mod access;
mod upstreams;

use crate::freshness::Freshness;
use crate::routes::Routes;
use jiff::Timestamp;
use oci::{Digest, Name, NameError, Reference, Tag};
use policy::{Access, Action, Intent, NamePattern, Object, Principal};
use resources::v1alpha1::{Remote, RepositorySpec};
use resources::{Document, Problem, Problems, Set};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Metrics;
use upstream::Upstream;

/// What is in force.
pub struct View {
    pub(crate) revision: Digest,
    pub(crate) source: String,
    pub(crate) activated: Timestamp,
    pub(crate) set: Arc<Set>,
    pub(crate) routes: Routes,
    pub(crate) access: Access,
    pub(crate) repositories: Vec<Arc<Repository>>,
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// Counts views; a body that is being sent looks whether it moved.
    pub(crate) generation: u64,
}

/// A remote repository: names clients use, and the upstream behind them.
#[derive(Clone)]
pub(crate) struct Repository {
    name: Name,
    paths: Vec<Name>,
    hosts: Vec<String>,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) upstream_name: Arc<str>,
    prefix: Option<Name>,
    has_library: bool,
    pub(crate) freshness: Freshness,
    pub(crate) cache_share_bytes: Option<u64>,
    pub(crate) pins: Vec<NamePattern>,
}

impl View {
    /// Builds the view of a set. `before`: the view whose live state is carried over.
    pub(crate) fn build(
        set: Set,
        source: &str,
        at: Timestamp,
        before: Option<&View>,
        metrics: &Metrics,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let upstreams = upstreams::build(&set, before, metrics, &mut problems);
        let mut repositories = Vec::new();
        for (document, spec) in set.repositories() {
            match Repository::new(document, spec, &upstreams) {
                Ok(Some(repository)) => repositories.push(Arc::new(repository)),
                Ok(None) => {}
                Err(problem) => problems.push(*problem),
            }
        }
        let access = access::build(&set, &mut problems);
        Problems::check(problems)?;
        Ok(Self {
            revision: set.revision(),
            source: source.to_owned(),
            activated: at,
            routes: Routes::new(&repositories),
            set: Arc::new(set),
            access,
            repositories,
            upstreams,
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

    /// What is served: the first path of each repository, its hosts, and its upstream's name.
    pub fn served(&self) -> impl Iterator<Item = (&Name, &[String], &str)> {
        self.repositories.iter().map(|repository| {
            let path = repository.paths.first().unwrap_or(&repository.name);
            (path, repository.hosts.as_slice(), &*repository.upstream_name)
        })
    }

    /// Whether a client at `address` may pull `name`, written as clients write it. `is_loopback`: by
    /// a loopback listener.
    pub fn lets_pull(&self, name: &str, address: IpAddr, is_loopback: bool) -> bool {
        let Ok(located) = self.routes.locate(name, None, None) else { return false };
        let Ok(tag) = Tag::parse("latest") else { return false };
        let intent = Intent {
            action: Action::Pull,
            object: Object::Manifest(Reference::Tag(tag)),
            name: Some(located.name),
        };
        let principal = Principal::anonymous(address, is_loopback);
        let scope = located.repository.scope(&located.upstream_name);
        policy::may_ask(&self.access, &principal, &intent, scope.as_deref()).is_ok()
    }

    /// The repository a canonical name belongs to.
    pub(crate) fn repository_of(&self, name: &Name) -> Option<&Arc<Repository>> {
        let first = name.segments().next()?;
        self.repositories.iter().find(|repository| repository.name.as_str() == first)
    }
}

impl Repository {
    fn new(
        document: &Document,
        spec: &RepositorySpec,
        upstreams: &BTreeMap<String, Upstream>,
    ) -> Result<Option<Self>, Box<Problem>> {
        let at = |path: &str, message: String| {
            Box::new(Problem::new(document.place_of(path).clone(), path, message))
        };
        let Some(remote) = &spec.remote else { return Ok(None) };
        let name = Name::parse(document.name()).map_err(|e| at("metadata.name", e.to_string()))?;
        let parse = |path: &str, text: &str| Name::parse(text).map_err(|e| at(path, e.to_string()));
        let mut paths = Vec::new();
        match &spec.path {
            Some(path) => paths.push(parse("spec.path", path.as_str())?),
            None => paths.push(name.clone()),
        }
        for alias in &spec.aliases {
            paths.push(parse("spec.aliases", alias.as_str())?);
        }
        let mut pins = Vec::new();
        for pin in &spec.pins {
            let pattern = NamePattern::parse(pin.as_str());
            pins.push(pattern.map_err(|e| at("spec.pins", e.to_string()))?);
        }
        let prefix = match &remote.prefix {
            Some(text) if !text.as_str().trim_end_matches('/').is_empty() => {
                Some(parse("spec.remote.prefix", text.as_str().trim_end_matches('/'))?)
            }
            _ => None,
        };
        // An upstream that could not be built has its own problem in the list.
        let upstream = upstreams.get(remote.upstream.as_str()).cloned();
        let has_library = upstream
            .as_ref()
            .is_some_and(|upstream| upstream.settings().profile == upstream::Profile::DockerHub);
        Ok(Some(Self {
            name,
            paths,
            hosts: spec.hosts.iter().map(|host| host.as_str().to_owned()).collect(),
            upstream,
            upstream_name: remote.upstream.as_str().into(),
            has_library: has_library && prefix.is_none(),
            prefix,
            freshness: freshness(remote),
            cache_share_bytes: remote.cache_share.as_ref().map(resources::WireSize::bytes),
            pins,
        }))
    }

    /// The first segment of every canonical name in it: `metadata.name`.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Name> {
        self.paths.iter()
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }

    /// The canonical name and the upstream's, of the name `rest` below this repository.
    pub(crate) fn names(&self, rest: &str) -> Result<(Name, Name), NameError> {
        let library = self.has_library && !rest.contains('/');
        let below = if library { format!("library/{rest}") } else { rest.to_owned() };
        let canonical = Name::parse(&format!("{}/{below}", self.name))?;
        let below = Name::parse(&below)?;
        let upstream = match &self.prefix {
            Some(prefix) => prefix.join(&below)?,
            None => below,
        };
        Ok((canonical, upstream))
    }

    /// What the upstream calls a canonical name of this repository.
    pub(crate) fn upstream_name_of(&self, name: &Name) -> Option<Name> {
        let below = name.below(&self.name)?;
        match &self.prefix {
            Some(prefix) => prefix.join(&below).ok(),
            None => Some(below),
        }
    }

    /// The credential scope that the upstream would be asked with for a name of its own.
    pub(crate) fn scope(&self, upstream_name: &Name) -> Option<String> {
        self.upstream.as_ref()?.credential_scope(upstream_name)
    }

    /// Whether a pin written in the document covers this name and tag.
    pub(crate) fn pins(&self, name: &Name, tag: &str) -> bool {
        let Some(below) = name.below(&self.name) else { return false };
        let tagged = format!("{below}:{tag}");
        self.pins.iter().any(|pin| {
            if pin.as_str().contains(':') { pin.matches_text(&tagged) } else { pin.matches(&below) }
        })
    }

    #[cfg(test)]
    pub(crate) fn for_tests(name: &str, paths: &[&str], hosts: &[&str], library: bool) -> Self {
        Self {
            name: Name::parse(name).unwrap(),
            paths: paths.iter().map(|path| Name::parse(path).unwrap()).collect(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            upstream: None,
            upstream_name: "test".into(),
            prefix: None,
            has_library: library,
            freshness: Freshness::default(),
            cache_share_bytes: None,
            pins: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("name", &self.name).finish_non_exhaustive()
    }
}

fn freshness(remote: &Remote) -> Freshness {
    let mut freshness = Freshness::default();
    if let Some(spec) = &remote.freshness {
        if let Some(ttl) = &spec.tag_ttl {
            freshness.tag_ttl = ttl.get();
        }
        if let Some(more) = &spec.stale_while_revalidate {
            freshness.stale_while_revalidate = more.get();
        }
        if let Some(more) = &spec.stale_if_error {
            freshness.stale_if_error = more.get();
        }
        if let Some(ttl) = &spec.absent_ttl {
            freshness.absent_ttl = ttl.get().unwrap_or(Duration::from_secs(24 * 3600));
        }
    }
    if let Some(deleted) = &remote.on_upstream_delete {
        freshness.keep_deleted = match (&deleted.keep_for, deleted.refuse) {
            (Some(keep), _) => keep.get(),
            (None, _) => Some(Duration::ZERO),
        };
    }
    freshness
}
