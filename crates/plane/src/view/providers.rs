//! `IdentityProvider` documents as providers. Asks nobody: keys are had when somebody shows a token.

use super::View;
use identity::{
    Algorithm, ClaimMapping, KeySource, Login, ProviderKind, ProviderSettings, Providers,
};
use policy::PrincipalKind;
use policy::cel::{CelError, Expect, Expression, Schema};
use resources::v1alpha1 as wire;
use resources::{Document, Problem, Set};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Metrics;

/// How far clocks may differ, if a document does not say.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// The providers of a set.
pub(super) fn build(
    set: &Set,
    before: Option<&View>,
    metrics: &Arc<Metrics>,
    problems: &mut Vec<Problem>,
) -> Providers {
    let mut all = Vec::new();
    for (document, spec) in set.identity_providers() {
        all.extend(convert(document, spec, problems));
    }
    Providers::build(all, before.map(|before| &before.providers), Some(metrics.clone()))
}

fn convert(
    document: &Document,
    spec: &wire::IdentityProviderSpec,
    problems: &mut Vec<Problem>,
) -> Option<ProviderSettings> {
    let algorithms = match spec.algorithms.as_slice() {
        [] => Algorithm::DEFAULT.to_vec(),
        named => named.iter().map(|it| algorithm(*it)).collect(),
    };
    Some(ProviderSettings {
        name: document.name().to_owned(),
        kind: kind(document, spec, problems)?,
        algorithms,
        clock_skew: spec.clock_skew.as_ref().map_or(CLOCK_SKEW, resources::WireDuration::get),
    })
}

fn kind(
    document: &Document,
    spec: &wire::IdentityProviderSpec,
    problems: &mut Vec<Problem>,
) -> Option<ProviderKind> {
    if let Some(it) = &spec.kubernetes {
        let url = it.discovery_url.as_ref().unwrap_or(&it.issuer);
        return Some(ProviderKind::Kubernetes {
            issuer: it.issuer.to_string(),
            audience: it.audience.to_string(),
            cluster: it.cluster.to_string(),
            keys: keys(it.jwks_file.as_deref(), url.as_str(), it.ca_file.as_deref()),
        });
    }
    if let Some(it) = &spec.oidc {
        let url = it.discovery_url.as_ref().unwrap_or(&it.issuer);
        return Some(ProviderKind::Oidc {
            issuer: it.issuer.to_string(),
            audiences: it.audiences.iter().map(ToString::to_string).collect(),
            kind: identity_kind(it.kind),
            keys: keys(it.jwks_file.as_deref(), url.as_str(), it.ca_file.as_deref()),
            claims: claims(document, "spec.oidc.claims", it.claims.as_ref(), problems)?,
            login: it.login.as_ref().map(|login| Login {
                client_id: login.client_id.to_string(),
                scopes: login.scopes.iter().map(ToString::to_string).collect(),
            }),
        });
    }
    if let Some(it) = &spec.spiffe {
        return Some(ProviderKind::Spiffe {
            trust_domain: it.trust_domain.to_string(),
            bundle_file: PathBuf::from(&it.bundle_file),
            audience: it.audience.as_ref().map(ToString::to_string),
        });
    }
    if let Some(it) = &spec.client_certificates {
        let path = "spec.clientCertificates.claims";
        return Some(ProviderKind::ClientCertificates {
            ca_file: PathBuf::from(&it.ca_file),
            kind: identity_kind(it.kind),
            cluster: it.cluster.as_ref().map(ToString::to_string),
            claims: claims(document, path, it.claims.as_ref(), problems)?,
        });
    }
    if let Some(it) = &spec.local {
        return Some(ProviderKind::Local { users_file: PathBuf::from(&it.users_file) });
    }
    spec.cluster_credential.as_ref().map(|it| ProviderKind::ClusterCredential {
        cluster: it.cluster.to_string(),
        secret_file: PathBuf::from(&it.secret_file),
    })
}

fn keys(file: Option<&str>, url: &str, ca_file: Option<&str>) -> KeySource {
    match file {
        Some(file) => KeySource::File(PathBuf::from(file)),
        None => KeySource::Discovery { url: url.to_owned(), ca_file: ca_file.map(PathBuf::from) },
    }
}

fn identity_kind(kind: Option<wire::IdentityKind>) -> PrincipalKind {
    match kind {
        None | Some(wire::IdentityKind::User) => PrincipalKind::User,
        Some(wire::IdentityKind::Node) => PrincipalKind::Node,
        Some(wire::IdentityKind::CI) => PrincipalKind::CI,
    }
}

fn claims(
    document: &Document,
    path: &str,
    spec: Option<&wire::ClaimMapping>,
    problems: &mut Vec<Problem>,
) -> Option<ClaimMapping> {
    let Some(spec) = spec else { return Some(ClaimMapping::default()) };
    let schema =
        if path.contains("Certificates") { Schema::certificate() } else { Schema::claims() };
    let mut compile = |field: &str, text: &resources::Expression, expect| {
        let compiled = Expression::compile(text.as_str(), &schema, expect);
        compiled.map_err(|error| problems.push(problem(document, field, &error))).ok()
    };
    let mut mapping = ClaimMapping::default();
    let mut is_whole = true;
    if let Some(text) = &spec.name {
        mapping.name = compile(&format!("{path}.name"), text, Expect::String);
        is_whole &= mapping.name.is_some();
    }
    if let Some(text) = &spec.groups {
        mapping.groups = compile(&format!("{path}.groups"), text, Expect::Strings);
        is_whole &= mapping.groups.is_some();
    }
    let mut attributes = BTreeMap::new();
    for (key, text) in &spec.attributes {
        match compile(&format!("{path}.attributes.{key}"), text, Expect::String) {
            Some(expression) => drop(attributes.insert(key.clone(), expression)),
            None => is_whole = false,
        }
    }
    mapping.attributes = attributes;
    is_whole.then_some(mapping)
}

fn problem(document: &Document, path: &str, error: &CelError) -> Problem {
    let place = document.place_in_text(path, error.line(), error.column());
    let problem = Problem::new(place, path, error.message());
    problem.with_nearest(error.nearest().map(str::to_owned))
}

fn algorithm(wire: wire::SignatureAlgorithm) -> Algorithm {
    use wire::SignatureAlgorithm as Wire;
    match wire {
        Wire::RS256 => Algorithm::RS256,
        Wire::RS384 => Algorithm::RS384,
        Wire::RS512 => Algorithm::RS512,
        Wire::PS256 => Algorithm::PS256,
        Wire::PS384 => Algorithm::PS384,
        Wire::PS512 => Algorithm::PS512,
        Wire::ES256 => Algorithm::ES256,
        Wire::ES384 => Algorithm::ES384,
        Wire::EdDSA => Algorithm::EdDSA,
    }
}
