//! The well-known public registries, served without anything written.

use crate::{Document, Set, read_text};

/// Where these documents stand, in problems and elsewhere.
const SOURCE: &str = "built-in";

/// A public registry: its host names (the first is the name clients use), where it is, and where
/// its token service and its storage are. Storage hosts are what each registry redirected to when
/// this was written; a registry that moves needs an `Upstream` document until the next version.
struct Registry {
    hosts: &'static [&'static str],
    endpoint: &'static str,
    realms: &'static [&'static str],
    redirects: &'static [&'static str],
}

const REGISTRIES: [Registry; 9] = [
    Registry {
        hosts: &["docker.io", "index.docker.io", "registry-1.docker.io"],
        endpoint: "https://registry-1.docker.io",
        realms: &["https://auth.docker.io"],
        redirects: &[
            "https://*.r2.cloudflarestorage.com",
            "https://*.cloudflare.docker.com",
            "https://*.cloudfront.docker.com",
        ],
    },
    Registry {
        hosts: &["ghcr.io"],
        endpoint: "https://ghcr.io",
        realms: &[],
        redirects: &["https://pkg-containers.githubusercontent.com"],
    },
    Registry {
        hosts: &["quay.io"],
        endpoint: "https://quay.io",
        realms: &[],
        redirects: &["https://*.quay.io", "https://quayio-production-s3.s3.amazonaws.com"],
    },
    Registry {
        hosts: &["registry.k8s.io"],
        endpoint: "https://registry.k8s.io",
        realms: &["https://*.pkg.dev"],
        redirects: &[
            "https://*.pkg.dev",
            "https://*.amazonaws.com",
            "https://*.cloudfront.net",
            "https://storage.googleapis.com",
        ],
    },
    Registry {
        hosts: &["gcr.io"],
        endpoint: "https://gcr.io",
        realms: &[],
        redirects: &["https://*.pkg.dev", "https://storage.googleapis.com"],
    },
    Registry {
        hosts: &["mcr.microsoft.com"],
        endpoint: "https://mcr.microsoft.com",
        realms: &[],
        redirects: &["https://*.data.mcr.microsoft.com", "https://*.blob.core.windows.net"],
    },
    Registry {
        hosts: &["public.ecr.aws"],
        endpoint: "https://public.ecr.aws",
        realms: &[],
        redirects: &["https://*.cloudfront.net", "https://*.amazonaws.com"],
    },
    Registry {
        hosts: &["registry.gitlab.com"],
        endpoint: "https://registry.gitlab.com",
        realms: &["https://gitlab.com"],
        redirects: &["https://storage.googleapis.com", "https://*.gitlab-static.net"],
    },
    Registry {
        hosts: &["nvcr.io"],
        endpoint: "https://nvcr.io",
        realms: &["https://authn.nvidia.com"],
        redirects: &["https://*.ngc.nvidia.com", "https://*.cloudfront.net"],
    },
];

/// The names under which the public registries are served when nothing else is said.
pub const WELL_KNOWN_REGISTRIES: [&str; 9] = [
    "docker.io",
    "ghcr.io",
    "quay.io",
    "registry.k8s.io",
    "gcr.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "registry.gitlab.com",
    "nvcr.io",
];

/// Whether a document is one of these, rather than one that somebody wrote.
pub fn is_builtin(document: &Document) -> bool {
    document.place.source() == SOURCE
}

/// A `Repository` and an `Upstream` for each well-known public registry, both named as its host.
pub fn builtin() -> Set {
    let text: Vec<String> = REGISTRIES.iter().map(documents).collect();
    read_text(SOURCE, &text.join("---\n")).expect("the built-in documents are tested")
}

fn documents(registry: &Registry) -> String {
    let name = registry.hosts[0];
    format!(
        "apiVersion: lockgate.dev/v1alpha1\n\
         kind: Upstream\n\
         metadata: {{ name: {name} }}\n\
         spec:\n  \
           endpoints: [{{ url: \"{}\" }}]\n  \
           boundary: {{ realms: {:?}, redirects: {:?} }}\n\
         ---\n\
         apiVersion: lockgate.dev/v1alpha1\n\
         kind: Repository\n\
         metadata: {{ name: {name} }}\n\
         spec: {{ hosts: {:?}, remote: {{ upstream: {name} }} }}\n",
        registry.endpoint, registry.realms, registry.redirects, registry.hosts,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_well_known_registry_has_its_documents() {
        let set = builtin();
        assert_eq!(set.documents().len(), 2 * REGISTRIES.len());
        for (name, registry) in WELL_KNOWN_REGISTRIES.iter().zip(&REGISTRIES) {
            assert_eq!(*name, registry.hosts[0]);
            assert!(set.get(crate::Kind::Repository, name).is_some(), "{name}");
            assert!(set.get(crate::Kind::Upstream, name).is_some(), "{name}");
        }
    }
}
