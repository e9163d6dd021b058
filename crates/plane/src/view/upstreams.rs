//! `Upstream` documents as the clients of `upstream`, carried over where nothing changed.

use super::View;
use resources::v1alpha1::{Credential, Profile as WireProfile, UpstreamSpec};
use resources::{Document, Problem, Set, WireDuration};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use telemetry::Metrics;
use upstream::{
    Boundary, CredentialKind, Limits, OriginPattern, PrefixCredential, Profile, Settings, Timeouts,
    Upstream,
};
use url::Url;

/// The clients of all upstreams of a set. What cannot be built is told in `problems`.
pub(super) fn build(
    set: &Set,
    before: Option<&View>,
    metrics: &Metrics,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Upstream> {
    let mut upstreams = BTreeMap::new();
    for (document, spec) in set.upstreams() {
        let name = document.name();
        let kept = |settings: &Settings| {
            let known = before?.upstreams.get(name)?;
            (known.settings() == settings).then(|| known.clone())
        };
        let built = settings(document, spec).and_then(|settings| match kept(&settings) {
            Some(upstream) => Ok(upstream),
            None => Upstream::new(settings, metrics.upstream(name))
                .map_err(|error| ("spec".to_owned(), error.to_string())),
        });
        match built {
            Ok(upstream) => {
                upstreams.insert(name.to_owned(), upstream);
            }
            Err((path, message)) => {
                problems.push(Problem::new(document.place_of(&path).clone(), path, message));
            }
        }
    }
    upstreams
}

/// The path of a field, and what is wrong with it.
type Wrong = (String, String);

fn settings(document: &Document, spec: &UpstreamSpec) -> Result<Settings, Wrong> {
    let mut endpoints = Vec::new();
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        endpoints
            .push(parse_url(endpoint.url.as_str(), || format!("spec.endpoints[{index}].url"))?);
    }
    let profile = match spec.profile {
        Some(WireProfile::DockerHub) => Profile::DockerHub,
        Some(WireProfile::Ecr) => Profile::Ecr,
        Some(WireProfile::Gcp) => Profile::Gcp,
        Some(WireProfile::Acr) => Profile::Acr,
        Some(WireProfile::Generic) => Profile::Generic,
        None => endpoints.last().map_or(Profile::Generic, Profile::of_host),
    };
    let mut credentials = Vec::new();
    for (index, credential) in spec.credentials.iter().enumerate() {
        let kind = kind(credential).ok_or_else(|| {
            let path = format!("spec.credentials[{index}]");
            (path, "names no way to log in".to_owned())
        })?;
        let prefix = credential.prefix.as_str().to_owned();
        credentials.push(PrefixCredential { prefix, kind });
    }
    let tls = spec.tls.as_ref();
    let client_cert = tls.and_then(|tls| {
        Some((PathBuf::from(tls.cert_file.as_ref()?), PathBuf::from(tls.key_file.as_ref()?)))
    });
    let proxy = match &spec.proxy {
        Some(url) => Some(parse_url(url.as_str(), || "spec.proxy".to_owned())?),
        None => None,
    };
    Ok(Settings {
        name: document.name().to_owned(),
        endpoints,
        credentials,
        ca_file: tls.and_then(|tls| tls.ca_file.as_ref()).map(PathBuf::from),
        client_cert,
        proxy,
        boundary: boundary(spec)?,
        timeouts: timeouts(spec),
        limits: limits(spec),
        profile,
    })
}

fn parse_url(text: &str, path: impl FnOnce() -> String) -> Result<Url, Wrong> {
    Url::parse(text).map_err(|error| (path(), error.to_string()))
}

fn kind(credential: &Credential) -> Option<CredentialKind> {
    if let Some(basic) = &credential.basic {
        let password_file = PathBuf::from(&basic.password_file);
        return Some(CredentialKind::Basic { username: basic.username.clone(), password_file });
    }
    if let Some(bearer) = &credential.bearer {
        return Some(CredentialKind::Bearer { token_file: PathBuf::from(&bearer.token_file) });
    }
    if let Some(config) = &credential.docker_config {
        return Some(CredentialKind::DockerConfig { file: PathBuf::from(&config.file) });
    }
    if let Some(exec) = &credential.exec {
        return Some(CredentialKind::Exec {
            command: exec.command.clone(),
            args: exec.args.clone(),
        });
    }
    let helper = |helper: &resources::v1alpha1::CloudHelper| helper.command.clone();
    if let Some(ecr) = &credential.ecr {
        return Some(CredentialKind::Ecr { command: helper(ecr) });
    }
    if let Some(gcp) = &credential.gcp {
        return Some(CredentialKind::Gcp { command: helper(gcp) });
    }
    let azure = credential.azure.as_ref()?;
    Some(CredentialKind::Azure { command: helper(azure) })
}

fn boundary(spec: &UpstreamSpec) -> Result<Boundary, Wrong> {
    let Some(wire) = &spec.boundary else {
        return Ok(Boundary {
            realms: Vec::new(),
            redirects: Vec::new(),
            private_addresses: false,
        });
    };
    let patterns = |field: &str, patterns: &[resources::UrlPattern]| {
        let parse = |(index, pattern): (usize, &resources::UrlPattern)| {
            OriginPattern::parse(pattern.as_str())
                .map_err(|error| (format!("spec.boundary.{field}[{index}]"), error.to_string()))
        };
        patterns.iter().enumerate().map(parse).collect::<Result<Vec<_>, Wrong>>()
    };
    Ok(Boundary {
        realms: patterns("realms", &wire.realms)?,
        redirects: patterns("redirects", &wire.redirects)?,
        private_addresses: wire.private_addresses.unwrap_or(false),
    })
}

fn timeouts(spec: &UpstreamSpec) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(wire) = &spec.timeouts else { return timeouts };
    let set = |target: &mut Duration, wire: &Option<WireDuration>| {
        if let Some(duration) = wire {
            *target = duration.get();
        }
    };
    set(&mut timeouts.connect, &wire.connect);
    set(&mut timeouts.first_byte, &wire.first_byte);
    set(&mut timeouts.stall, &wire.stall);
    timeouts
}

fn limits(spec: &UpstreamSpec) -> Limits {
    let mut limits = Limits::default();
    if let Some(wire) = &spec.limits {
        if let Some(connections) = wire.connections {
            limits.connections = usize::try_from(connections).unwrap_or(usize::MAX);
        }
        limits.requests_per_second = wire.requests_per_second;
    }
    limits
}
