//! What one document must fulfil beyond its schema: one of several, unique entries, pairs.

use crate::Problem;
use crate::document::{Document, Spec};
use crate::tree::Node;
use crate::v1alpha1::{PlaneSpec, RepositorySpec, UpstreamSpec};
use std::collections::BTreeSet;
use std::net::IpAddr;
use url::{Host, Url};

/// The one name a `Plane` may have.
const PLANE_NAME: &str = "default";

/// Adds what is wrong with a document that fits its schema.
pub(crate) fn check(document: &Document, node: &Node, problems: &mut Vec<Problem>) {
    let mut say = |path: &str, message: String| {
        problems.push(Problem::new(node.place_of(path).clone(), path, message));
    };
    match &document.spec {
        Spec::Upstream(spec) => check_upstream(spec, &mut say),
        Spec::Repository(spec) => check_repository(document.name(), spec, &mut say),
        Spec::Plane(spec) => check_plane(document.name(), spec, &mut say),
        Spec::AccessPolicy(_) => {}
    }
}

type Say<'a> = &'a mut dyn FnMut(&str, String);

fn check_upstream(spec: &UpstreamSpec, say: Say) {
    check_credentials(spec, say);
    if let Some(tls) = &spec.tls {
        match (&tls.cert_file, &tls.key_file) {
            (Some(_), None) => say("spec.tls", "certFile needs keyFile beside it".to_owned()),
            (None, Some(_)) => say("spec.tls", "keyFile needs certFile beside it".to_owned()),
            _ => {}
        }
    }
    let boundary = spec.boundary.as_ref();
    let may_be_private = boundary.and_then(|b| b.private_addresses).unwrap_or(false);
    let mut urls = BTreeSet::new();
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{index}].url");
        if !urls.insert(endpoint.url.as_str().trim_end_matches('/')) {
            say(&path, "the endpoint stands here twice".to_owned());
        }
        if !may_be_private && is_private(endpoint.url.as_str()) {
            say(
                &path,
                "a private or loopback address; if that is meant, set \
                 spec.boundary.privateAddresses: true"
                    .to_owned(),
            );
        }
    }
}

fn check_credentials(spec: &UpstreamSpec, say: Say) {
    let mut prefixes = BTreeSet::new();
    for (index, credential) in spec.credentials.iter().enumerate() {
        let path = format!("spec.credentials[{index}]");
        let ways = [
            credential.basic.is_some(),
            credential.bearer.is_some(),
            credential.docker_config.is_some(),
            credential.exec.is_some(),
            credential.ecr.is_some(),
            credential.gcp.is_some(),
            credential.azure.is_some(),
        ];
        if ways.iter().filter(|is_set| **is_set).count() != 1 {
            say(
                &path,
                "exactly one of basic, bearer, dockerConfig, exec, ecr, gcp, azure is needed"
                    .to_owned(),
            );
        }
        if !prefixes.insert(credential.prefix.as_str()) {
            let message = format!("the prefix {:?} stands here twice", credential.prefix.as_str());
            say(&format!("{path}.prefix"), message);
        }
    }
}

/// Whether a URL's host is an address that leads nowhere on the public network. Names are judged
/// when they are resolved; this only spares people the wait.
fn is_private(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(ip)) => ip.into(),
        Some(Host::Ipv6(ip)) => ip.into(),
        Some(Host::Domain(name)) => return name == "localhost" || name.ends_with(".localhost"),
        None => return false,
    };
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn check_repository(name: &str, spec: &RepositorySpec, say: Say) {
    if spec.path.is_none() && oci::Name::parse(name).is_err() {
        let message = "the name is no repository name; set spec.path to the one clients use";
        say("metadata.name", message.to_owned());
    }
    let Some(remote) = &spec.remote else {
        return say("spec.remote", "required field is missing".to_owned());
    };
    if let Some(on_delete) = &remote.on_upstream_delete {
        let ways = [on_delete.keep_for.is_some(), on_delete.refuse.is_some()];
        if ways.iter().filter(|is_set| **is_set).count() != 1 {
            say("spec.remote.onUpstreamDelete", "exactly one of keepFor, refuse is needed".into());
        }
        if on_delete.refuse == Some(false) {
            say(
                "spec.remote.onUpstreamDelete.refuse",
                "only `true` means something; to serve what was, set keepFor".to_owned(),
            );
        }
    }
}

fn check_plane(name: &str, _spec: &PlaneSpec, say: Say) {
    if name != PLANE_NAME {
        say("metadata.name", format!("there is one Plane, and it is named `{PLANE_NAME}`"));
    }
}
