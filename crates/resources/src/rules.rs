//! What one document must fulfil beyond its schema: one of several, unique entries, pairs.

mod governance;
pub(crate) use governance::DEFAULT_ENVIRONMENT;
mod outranking;
mod repository;

use crate::Problem;
use crate::document::{Document, Spec};
use crate::tree::Node;
use crate::v1alpha1::{PlaneSpec, StoreSpec, UpstreamSpec};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use url::{Host, Url};

/// The one name a `Plane` may have.
const PLANE_NAME: &str = "default";

/// Adds what is wrong with a document that fits its schema.
pub(crate) fn check(document: &Document, node: &Node, problems: &mut Vec<Problem>) {
    let wrong = &mut Wrong { node, problems };
    match &document.spec {
        Spec::Upstream(spec) => check_upstream(spec, wrong),
        Spec::Repository(spec) => repository::check(document.name(), spec, wrong),
        Spec::Plane(spec) => check_plane(document.name(), spec, wrong),
        Spec::AccessPolicy(spec) => governance::check_access(spec, wrong),
        Spec::ArtifactPolicy(spec) => governance::check_policy(spec, wrong),
        Spec::Block(spec) => outranking::check_block(spec, wrong),
        Spec::Environment(spec) => governance::check_environment(document.name(), spec, wrong),
        Spec::IdentityProvider(spec) => governance::check_provider(spec, wrong),
        Spec::Signer(spec) => governance::check_signer(spec, wrong),
        Spec::Waiver(spec) => outranking::check_waiver(spec, wrong),
    }
}

/// Where what is wrong with a document is told.
struct Wrong<'a> {
    node: &'a Node,
    problems: &'a mut Vec<Problem>,
}

impl Wrong<'_> {
    fn say(&mut self, path: &str, message: impl Into<String>) {
        self.say_near(path, message, None);
    }

    fn say_near(&mut self, path: &str, message: impl Into<String>, nearest: Option<String>) {
        let place = self.node.place_of(path).clone();
        self.problems.push(Problem::new(place, path, message).with_nearest(nearest));
    }
}

fn check_upstream(spec: &UpstreamSpec, wrong: &mut Wrong) {
    check_credentials(spec, wrong);
    if let Some(tls) = &spec.tls {
        match (&tls.cert_file, &tls.key_file) {
            (Some(_), None) => wrong.say("spec.tls", "certFile needs keyFile beside it".to_owned()),
            (None, Some(_)) => wrong.say("spec.tls", "keyFile needs certFile beside it".to_owned()),
            _ => {}
        }
    }
    let boundary = spec.boundary.as_ref();
    let may_be_private = boundary.and_then(|b| b.private_addresses).unwrap_or(false);
    let mut urls = BTreeSet::new();
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{index}].url");
        if !urls.insert(endpoint.url.as_str().trim_end_matches('/')) {
            wrong.say(&path, "the endpoint stands here twice".to_owned());
        }
        if !may_be_private && is_private(endpoint.url.as_str()) {
            wrong.say(
                &path,
                "a private or loopback address; if that is meant, set \
                 spec.boundary.privateAddresses: true"
                    .to_owned(),
            );
        }
    }
}

fn check_credentials(spec: &UpstreamSpec, wrong: &mut Wrong) {
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
            wrong.say(
                &path,
                "exactly one of basic, bearer, dockerConfig, exec, ecr, gcp, azure is needed"
                    .to_owned(),
            );
        }
        if !prefixes.insert(credential.prefix.as_str()) {
            let message = format!("the prefix {:?} stands here twice", credential.prefix.as_str());
            wrong.say(&format!("{path}.prefix"), message);
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

fn check_plane(name: &str, spec: &PlaneSpec, wrong: &mut Wrong) {
    if name != PLANE_NAME {
        wrong.say("metadata.name", format!("there is one Plane, and it is named `{PLANE_NAME}`"));
    }
    if let Some(store) = &spec.store {
        check_store(store, wrong);
    }
}

fn check_store(store: &StoreSpec, wrong: &mut Wrong) {
    let ways =
        [store.file.is_some(), store.s3.is_some(), store.gcs.is_some(), store.azure.is_some()];
    if ways.iter().filter(|is_set| **is_set).count() != 1 {
        wrong.say("spec.store", "exactly one of file, s3, gcs, azure is needed");
    }
    if let Some(file) = &store.file
        && !Path::new(&file.directory).is_absolute()
    {
        let message = "write an absolute path: the blobs must not depend on where the process \
                       was started";
        wrong.say("spec.store.file.directory", message);
    }
    if let Some(s3) = &store.s3 {
        match (&s3.access_key_id_file, &s3.secret_access_key_file) {
            (Some(_), None) => {
                wrong.say("spec.store.s3", "accessKeyIdFile needs secretAccessKeyFile beside it");
            }
            (None, Some(_)) => {
                wrong.say("spec.store.s3", "secretAccessKeyFile needs accessKeyIdFile beside it");
            }
            _ => {}
        }
    }
}
