//! From what a client calls a thing to its one canonical name (contracts §1).
//!
//! A request is routed by `?ns=` at the root (containerd), by the host it was sent to, or by the
//! first segments of its path; a host of a repository is a path too, because most clients can only
//! write it there (`plane.example/mine.example/team/app`). All three lead to the same repository and the same canonical name;
//! everything behind this module knows only that name.

use crate::candidates::{self, Found};
use crate::refusal::Refusal;
use crate::view::Repository;
use oci::route::RouteError;
use policy::Denial;
use std::collections::HashMap;
use std::sync::Arc;

/// Docker Hub, which engines mean by a name without a registry.
const HUB: &str = "docker.io";

/// Every way to a repository.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    by_path: HashMap<String, Arc<Repository>>,
    /// Most segments of any path.
    path_segments_max: usize,
    by_host: HashMap<String, Arc<Repository>>,
    /// By `metadata.name`, as members of virtual repositories are named.
    by_name: HashMap<String, Arc<Repository>>,
}

impl Routes {
    pub(crate) fn new(repositories: &[Arc<Repository>]) -> Self {
        let mut routes = Self::default();
        for repository in repositories {
            routes.by_name.insert(repository.name().to_string(), repository.clone());
            for path in repository.paths() {
                let segments = path.segments().count();
                routes.path_segments_max = routes.path_segments_max.max(segments);
                routes.by_path.insert(path.to_string(), repository.clone());
            }
            for host in repository.hosts() {
                routes.by_host.insert(host.to_ascii_lowercase(), repository.clone());
            }
        }
        routes
    }

    /// Finds who may have a name: the repository itself, or members of a virtual one, each with the
    /// canonical name there. `name` is checked already.
    pub(crate) fn locate(
        &self,
        name: &str,
        host: Option<&str>,
        ns: Option<&str>,
    ) -> Result<Found, Refusal> {
        if let Some(ns) = ns.filter(|ns| !host.is_some_and(|host| host.eq_ignore_ascii_case(ns))) {
            let Some(repository) = self.host(ns) else {
                return Err(Denial::foreign_namespace(ns).into());
            };
            // With `override_path`, containerd sends both: `/v2/docker.io/library/x?ns=docker.io`.
            let rest = self.strip(repository, name).unwrap_or(name);
            return self.found(repository, rest, Some(ns.to_owned()));
        }
        if let Some(repository) = host.and_then(|host| self.host(host)) {
            return self.found(repository, name, None);
        }
        match self.path(name) {
            Some((repository, rest)) => self.found(repository, rest, None),
            None => Err(self.no_repository(name)),
        }
    }

    /// By host name, with its port or without.
    fn host(&self, host: &str) -> Option<&Arc<Repository>> {
        if self.by_host.is_empty() {
            return None;
        }
        // No copy for what is in lower case already: all of them, as a rule.
        let lower: std::borrow::Cow<'_, str> = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            host.to_ascii_lowercase().into()
        } else {
            host.into()
        };
        self.by_host.get(lower.as_ref()).or_else(|| {
            let (name, port) = lower.rsplit_once(':')?;
            let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            if is_port { self.by_host.get(name) } else { None }
        })
    }

    /// The longest path that the name begins with, and the rest; else the host that it begins with.
    fn path<'n>(&self, name: &'n str) -> Option<(&Arc<Repository>, &'n str)> {
        let slashes = name.match_indices('/').map(|(at, _)| at);
        let by_path = slashes.take(self.path_segments_max).filter_map(|end| {
            let repository = self.by_path.get(&name[..end])?;
            Some((repository, &name[end + 1..]))
        });
        by_path.last().or_else(|| {
            let (first, rest) = name.split_once('/')?;
            Some((self.host(first)?, rest))
        })
    }

    /// What is left of a name below a path or a host of this repository.
    fn strip<'n>(&self, repository: &Arc<Repository>, name: &'n str) -> Option<&'n str> {
        let below = |path: &str| name.strip_prefix(path)?.strip_prefix('/');
        repository.paths().find_map(|path| below(path.as_str())).or_else(|| {
            let (first, rest) = name.split_once('/')?;
            self.host(first).filter(|found| Arc::ptr_eq(found, repository)).map(|_| rest)
        })
    }

    /// A repository by its `metadata.name`.
    pub(crate) fn repository(&self, name: &str) -> Option<&Arc<Repository>> {
        self.by_name.get(name)
    }

    fn found(
        &self,
        repository: &Arc<Repository>,
        rest: &str,
        namespace: Option<String>,
    ) -> Result<Found, Refusal> {
        let mut found = candidates::of(self, repository, rest)
            .map_err(|error| Refusal::Route(RouteError::Name(error)))?;
        found.namespace = namespace;
        Ok(found)
    }

    fn no_repository(&self, name: &str) -> Refusal {
        let first = name.split('/').next().unwrap_or(name);
        if self.by_path.contains_key(name) || self.host(name).is_some() {
            return Refusal::NoRepository(format!(
                "{name} is a repository of this plane, not an image; name one below it: {name}/…"
            ));
        }
        let mut known: Vec<&str> = self.by_path.keys().map(String::as_str).collect();
        known.sort_unstable();
        let near = resources::nearest(first, known.iter().copied());
        let hint = match near {
            Some(near) => format!("did you mean {near}/…?"),
            // What docker makes of such a name, and what stands in the manifests of clusters.
            None if !first.contains(['.', ':']) && self.by_path.contains_key(HUB) => {
                let library = if name.contains('/') { "" } else { "library/" };
                format!("an image of Docker Hub is {HUB}/{library}{name} here")
            }
            None => {
                let shown = known.iter().take(6).copied().collect::<Vec<_>>().join(", ");
                let more = if known.len() > 6 { ", …" } else { "" };
                format!("names here begin with: {shown}{more}")
            }
        };
        Refusal::NoRepository(format!("no repository of this plane is named {first}; {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidates::Candidate;

    fn routes() -> Routes {
        let repository = |name: &str, paths: &[&str], hosts: &[&str], library: bool| {
            Arc::new(Repository::for_tests(name, paths, hosts, library))
        };
        Routes::new(&[
            repository(
                "docker.io",
                &["docker.io", "proxy/dockerhub"],
                &["docker.io", "hub.corp"],
                true,
            ),
            repository("quay.io", &["quay.io"], &["quay.io", "reg.corp:5000"], false),
            repository("proxy", &["proxy"], &[], false),
        ])
    }

    fn name(name: &str, host: Option<&str>, ns: Option<&str>) -> String {
        match routes().locate(name, host, ns) {
            Ok(found) => match &found.candidates[0] {
                Candidate::Remote(located) => {
                    format!("{} ({})", located.name, located.upstream_name)
                }
                Candidate::Hosted(hosted) => hosted.name.to_string(),
            },
            Err(refusal) => format!("! {refusal}"),
        }
    }

    #[test]
    fn every_way_leads_to_the_canonical_name() {
        let alpine = "docker.io/library/alpine (library/alpine)";
        for (asked, host, ns) in [
            ("docker.io/library/alpine", Some("127.0.0.1:5050"), None),
            ("docker.io/alpine", None, None),
            ("proxy/dockerhub/library/alpine", None, None),
            ("library/alpine", Some("docker.io"), None),
            ("library/alpine", Some("HUB.corp:8443"), None),
            ("alpine", Some("hub.corp"), None),
            ("library/alpine", Some("127.0.0.1:5050"), Some("docker.io")),
            ("docker.io/library/alpine", Some("127.0.0.1:5050"), Some("docker.io")),
            ("docker.io/library/alpine", Some("127.0.0.1:5050"), Some("127.0.0.1:5050")),
        ] {
            assert_eq!(name(asked, host, ns), alpine, "{asked} {host:?} {ns:?}");
        }
        assert_eq!(name("a/b", Some("reg.corp:5000"), None), "quay.io/a/b (a/b)");
        // The longest path wins, and a shorter one keeps what is left.
        assert_eq!(name("proxy/other/x", None, None), "proxy/other/x (other/x)");
    }

    #[test]
    fn a_host_is_a_path_where_no_path_is_named_so() {
        let here = Some("127.0.0.1:5050");
        for (asked, ns) in [
            ("hub.corp/library/alpine", None),
            ("hub.corp/alpine", None),
            // What `override_path` makes of the file that `client-config` prints.
            ("hub.corp/library/alpine", Some("hub.corp")),
            ("hub.corp/library/alpine", Some("docker.io")),
        ] {
            let found = name(asked, here, ns);
            assert_eq!(found, "docker.io/library/alpine (library/alpine)", "{asked} {ns:?}");
        }
        assert_eq!(name("reg.corp:5000/a/b", here, None), "quay.io/a/b (a/b)");
        assert!(name("reg.corp:5001/a/b", here, None).starts_with("! no repository"));
        // The host of another repository is a name like any other.
        let other = name("hub.corp/x", here, Some("quay.io"));
        assert_eq!(other, "quay.io/hub.corp/x (hub.corp/x)");
        let repository = |name: &str, hosts: &[&str]| {
            Arc::new(Repository::for_tests(name, &[name], hosts, false))
        };
        let routes = Routes::new(&[repository("a", &["b"]), repository("b", &[])]);
        let found = routes.locate("b/x", here, None).unwrap();
        assert_eq!(found.candidates[0].name().as_str(), "b/x", "a path comes first");
        assert!(name("hub.corp", here, None).contains("not an image"));
    }

    #[test]
    fn what_leads_nowhere_says_so() {
        assert!(name("library/alpine", None, Some("evil.example")).contains("no repository here"));
        assert!(name("library/alpine", Some("reg.corp:5001"), None).starts_with("! no repository"));
        let near = name("quay.oi/a", None, None);
        assert!(near.contains("did you mean quay.io/"), "{near}");
        let short = name("nginx", None, None);
        assert!(short.contains("docker.io/library/nginx here"), "{short}");
        let short = name("grafana/loki", None, None);
        assert!(short.contains("docker.io/grafana/loki here"), "{short}");
        assert!(!name("registry.corp.example/a", None, None).contains("Docker Hub"));
        let bare = name("docker.io", None, None);
        assert!(bare.contains("not an image"), "{bare}");
    }
}
