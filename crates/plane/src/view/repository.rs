//! A repository: names clients use, and what stands behind them.

use super::View;
use super::rules::{self, Retention, Untagged};
use super::virtuals::{self, Virtual};
use crate::freshness::Freshness;
use oci::{Name, NameError};
use policy::{NamePattern, TagPattern};
use resources::v1alpha1::{self as wire, RepositorySpec};
use resources::{Document, Problem};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use upstream::Upstream;

/// A tree of names clients use.
#[derive(Clone)]
pub(crate) struct Repository {
    name: Name,
    paths: Vec<Name>,
    hosts: Vec<String>,
    pub(crate) pins: Vec<NamePattern>,
    pub(crate) kind: Kind,
}

/// What stands behind a repository.
#[derive(Clone)]
pub(crate) enum Kind {
    /// An upstream, pulled through.
    Remote(Arc<Remote>),
    /// What is pushed here.
    Hosted(Arc<Hosted>),
    /// Other repositories, in order.
    Virtual(Arc<Virtual>),
}

/// What is pulled through, and how long an answer counts.
pub(crate) struct Remote {
    pub(crate) upstream: Option<Upstream>,
    pub(crate) upstream_name: Arc<str>,
    prefix: Option<Name>,
    has_library: bool,
    pub(crate) freshness: Freshness,
    pub(crate) cache_share_bytes: Option<u64>,
    /// How long a presigned URL of a blob is good for; `None`: blobs are sent, not redirected.
    pub(crate) redirect: Option<Duration>,
    /// The view since which the same upstream is asked the same. What was absent before does not
    /// count any more when somebody else is asked.
    pub(crate) epoch: u64,
}

/// What may be pushed, and how long it stays.
pub(crate) struct Hosted {
    /// Tags that cannot move once they were pushed.
    pub(crate) immutable_tags: Vec<TagPattern>,
    /// Most bytes, each content row counted in full.
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) retention: Vec<Retention>,
    pub(crate) untagged: Untagged,
    /// Whether an index may name manifests that are not here.
    pub(crate) allows_sparse: bool,
    pub(crate) manifest_max_bytes: u64,
    /// How long a presigned URL of a blob is good for; `None`: blobs are sent, not redirected.
    pub(crate) redirect: Option<Duration>,
}

/// Where in a document something is wrong, and what.
pub(super) type Wrong = Box<Problem>;

pub(super) fn wrong(document: &Document, path: &str, message: impl ToString) -> Wrong {
    Box::new(Problem::new(document.place_of(path).clone(), path, message.to_string()))
}

impl Repository {
    pub(super) fn new(
        document: &Document,
        spec: &RepositorySpec,
        upstreams: &BTreeMap<String, Upstream>,
        before: Option<&View>,
    ) -> Result<Self, Wrong> {
        let at = |path: &str, error: String| wrong(document, path, error);
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
        let kind = if let Some(remote) = &spec.remote {
            let mut remote = Remote::new(document, remote, upstreams)?;
            remote.epoch = epoch(&name, &remote, before);
            Kind::Remote(Arc::new(remote))
        } else if let Some(hosted) = &spec.hosted {
            Kind::Hosted(Arc::new(rules::hosted(document, hosted)?))
        } else if let Some(union) = &spec.r#virtual {
            Kind::Virtual(Arc::new(virtuals::build(document, union)?))
        } else {
            // Reading refused it already; this is for sets made in code.
            return Err(at("spec", "one of remote, hosted and virtual is needed".to_owned()));
        };
        let hosts = spec.hosts.iter().map(|host| host.as_str().to_owned()).collect();
        Ok(Self { name, paths, hosts, pins, kind })
    }

    /// The first segment of every canonical name in it: `metadata.name`.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// The name of its document.
    pub(crate) fn document_name(&self) -> &str {
        self.name.as_str()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Name> {
        self.paths.iter()
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }

    pub(crate) fn remote(&self) -> Option<&Arc<Remote>> {
        match &self.kind {
            Kind::Remote(remote) => Some(remote),
            _ => None,
        }
    }

    pub(crate) fn hosted(&self) -> Option<&Arc<Hosted>> {
        match &self.kind {
            Kind::Hosted(hosted) => Some(hosted),
            _ => None,
        }
    }

    /// The credential scope that the upstream would be asked with for a canonical name of this
    /// repository; only a remote one has any.
    pub(crate) fn scope_of(&self, name: &Name) -> Option<String> {
        let remote = self.remote()?;
        remote.scope(&remote.name_upstream(&name.below(&self.name)?)?)
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
        let remote = Remote {
            upstream: None,
            upstream_name: "test".into(),
            prefix: None,
            has_library: library,
            freshness: Freshness::default(),
            cache_share_bytes: None,
            redirect: None,
            epoch: 0,
        };
        Self {
            name: Name::parse(name).unwrap(),
            paths: paths.iter().map(|path| Name::parse(path).unwrap()).collect(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            pins: Vec::new(),
            kind: Kind::Remote(Arc::new(remote)),
        }
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Remote {
    fn new(
        document: &Document,
        remote: &wire::Remote,
        upstreams: &BTreeMap<String, Upstream>,
    ) -> Result<Self, Wrong> {
        let prefix = match &remote.prefix {
            Some(text) if !text.as_str().trim_end_matches('/').is_empty() => {
                let parsed = Name::parse(text.as_str().trim_end_matches('/'));
                Some(parsed.map_err(|e| wrong(document, "spec.remote.prefix", e))?)
            }
            _ => None,
        };
        // An upstream that could not be built has its own problem in the list.
        let upstream = upstreams.get(remote.upstream.as_str()).cloned();
        let has_library = upstream
            .as_ref()
            .is_some_and(|upstream| upstream.settings().profile == upstream::Profile::DockerHub);
        Ok(Self {
            upstream,
            upstream_name: remote.upstream.as_str().into(),
            has_library: has_library && prefix.is_none(),
            prefix,
            freshness: freshness(remote),
            cache_share_bytes: remote.cache_share.as_ref().map(resources::WireSize::bytes),
            redirect: rules::redirect(remote.redirect.as_ref()),
            epoch: 0,
        })
    }

    /// Whether both ask the same upstream, in the same way, for the same names.
    fn asks_as(&self, other: &Self) -> bool {
        let is_same_upstream = match (&self.upstream, &other.upstream) {
            (Some(one), Some(another)) => one.settings() == another.settings(),
            (one, another) => one.is_none() && another.is_none(),
        };
        is_same_upstream && self.prefix == other.prefix && self.has_library == other.has_library
    }

    /// What is below the repository, of what the client asked for below it: Docker Hub's official
    /// images have a `library/` that nobody writes.
    pub(crate) fn below(&self, rest: &str) -> Result<Name, NameError> {
        let library = self.has_library && !rest.contains('/');
        Name::parse(&if library { format!("library/{rest}") } else { rest.to_owned() })
    }

    /// What the upstream calls a name below the repository.
    pub(crate) fn name_upstream(&self, below: &Name) -> Option<Name> {
        match &self.prefix {
            Some(prefix) => prefix.join(below).ok(),
            None => Some(below.clone()),
        }
    }

    /// The credential scope that the upstream would be asked with for a name of its own.
    pub(crate) fn scope(&self, upstream_name: &Name) -> Option<String> {
        self.upstream.as_ref()?.credential_scope(upstream_name)
    }
}

/// Since when a remote repository asks whom it asks.
fn epoch(name: &Name, remote: &Remote, before: Option<&View>) -> u64 {
    let Some(before) = before else { return 1 };
    let mut known = before.repositories.iter().filter(|it| it.name() == name);
    match known.find_map(|repository| repository.remote()) {
        Some(known) if known.asks_as(remote) => known.epoch,
        _ => before.generation + 1,
    }
}

fn freshness(remote: &wire::Remote) -> Freshness {
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
